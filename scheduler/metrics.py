"""Metrics for Prometheus. Labels are names of tenants and servers and words of ours, never anything that was received."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from scheduler.lanes import LaneState
from scheduler.planned import Planned

Credentials = Callable[[], Iterable[tuple[str, Planned]]]


class Metrics:
    """All metrics of one service, in a registry of its own."""

    def __init__(self) -> None:
        """Make the metrics."""
        self.registry = CollectorRegistry()
        reg = self.registry
        self._of_credentials = OfCredentials()
        reg.register(self._of_credentials)
        self.rotations = Counter(
            "vb365_rotations_total", "Calls of attempts, by rung and outcome", ["rung", "outcome"], registry=reg
        )
        self.lane_wait = Histogram(
            "vb365_lane_wait_seconds", "From due to called", ["server"], registry=reg,
            buckets=(0.1, 1, 5, 15, 60, 300, 900, 3600),
        )  # fmt: skip
        self.lane_due = Gauge("vb365_lane_due", "Credentials that are due and wait for a place", ["server"], registry=reg)
        self.lane_closed = Gauge("vb365_lane_closed", "1 while an outage closes the lane", ["server"], registry=reg)
        self.lane_shared = Gauge(
            "vb365_lane_shared", "1 while the rate is halved: somebody shares our address", ["server"], registry=reg
        )
        self.lane_capacity = Gauge(
            "vb365_lane_capacity_ratio", "Calls wanted to calls admitted; above 1 tokens come late", ["server"], registry=reg
        )
        self.pending_sign_ins = Gauge("vb365_pending_sign_ins", "Sign-ins that wait for a person", registry=reg)
        self.requests = Counter("vb365_requests_total", "Requests handled", ["action", "outcome"], registry=reg)
        self.requests_dropped = Counter("vb365_requests_dropped_total", "Requests that were none", registry=reg)
        self.reports = Counter("vb365_reports_total", "Consumers' reports, by what became of them", ["outcome"], registry=reg)
        self.proofs = Counter("vb365_proofs_total", "Proofs of published tokens, by verdict", ["verdict"], registry=reg)
        self.vault_requests = Counter("vb365_vault_requests_total", "Requests to Vault", ["kind"], registry=reg)
        self.vault_seconds = Histogram(
            "vb365_vault_request_seconds", "From a request to Vault to its answer", registry=reg,
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10),
        )  # fmt: skip
        self.clock_offset = Gauge(
            "vb365_clock_offset_seconds", "By how much another's clock is ahead of ours, by its Date", ["of"], registry=reg
        )
        self.vault_up = Gauge("vb365_vault_up", "0 while a round of ours gets no answer from Vault", registry=reg)
        self.vault_events = Counter("vb365_vault_writes_total", "Turns that writes took", ["event"], registry=reg)
        self.last_sweep = Gauge("vb365_last_sweep_timestamp_seconds", "When the sweep last ran", registry=reg)
        self.leader = Gauge("vb365_leader", "1 while this instance leads", registry=reg)
        self.clock_steps = Counter("vb365_clock_steps_total", "Times that the wall clock was set", registry=reg)
        self.published = Counter("vb365_tokens_published_total", "Tokens published", registry=reg)

    def told_time(self, whose: str, then: datetime | None, now: datetime) -> None:
        """Take in what time another's answer says it is; a ``Date`` counts whole seconds."""
        if then is not None and then.tzinfo is not None:
            self.clock_offset.labels(whose).set(round((then - now).total_seconds()))

    def vault_answered(self, seconds: float, then: datetime | None, now: datetime) -> None:
        """Take in an answer of Vault's."""
        self.vault_seconds.observe(seconds)
        self.told_time("vault", then, now)

    def lane(self, server: str, state: LaneState) -> None:
        """Show how a lane is."""
        self.lane_due.labels(server).set(state.waiting)
        self.lane_closed.labels(server).set(state.closed)
        self.lane_shared.labels(server).set(state.shared)

    def follow(self, credentials: Credentials) -> None:
        """Show these credentials from now on."""
        self._of_credentials.credentials = credentials

    def forget(self) -> None:
        """Show what an instance shows that never led: what this one saw last would stand for ever."""
        self._of_credentials.credentials = None
        for gauge in (self.lane_due, self.lane_closed, self.lane_shared, self.lane_capacity, self.clock_offset):
            gauge.clear()
        self.pending_sign_ins.set(0)
        self.last_sweep.set(0)


class OfCredentials(Collector):
    """One line a tenant and metric, made when somebody asks: what is known of ten thousand is kept once."""

    def __init__(self) -> None:
        """Begin with none."""
        self.credentials: Credentials | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield expiry, next rotation and state of each credential."""
        expiry = GaugeMetricFamily(
            "vb365_token_expiry_timestamp_seconds", "When the stored access token expires", labels=["tenant"]
        )
        rotation = GaugeMetricFamily(
            "vb365_next_rotation_timestamp_seconds", "When the next rotation is planned", labels=["tenant"]
        )
        state = GaugeMetricFamily(
            "vb365_credential_state", "1 for the state that the credential is in", labels=["tenant", "state"]
        )
        for name, planned in self.credentials() if self.credentials else ():
            if planned.expires_at is not None:
                expiry.add_metric([name], planned.expires_at.timestamp())
            if planned.next_at is not None:
                rotation.add_metric([name], planned.next_at.timestamp())
            if planned.state is not None:
                state.add_metric([name, planned.state.value], 1)
        yield from (expiry, rotation, state)
