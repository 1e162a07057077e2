"""Metrics for Prometheus. Labels are names of tenants and servers and words of ours, never anything that was received."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from vault_plugin.core.credential import Credential
from vault_plugin.core.states import State


class Metrics:
    """All metrics of one service, in a registry of its own."""

    def __init__(self) -> None:
        """Make the metrics."""
        self.registry = CollectorRegistry()
        reg = self.registry
        self.token_expiry = Gauge(
            "vb365_token_expiry_timestamp_seconds", "When the stored access token expires", ["tenant"], registry=reg
        )
        self.next_rotation = Gauge(
            "vb365_next_rotation_timestamp_seconds", "When the next rotation is planned", ["tenant"], registry=reg
        )
        self.state = Gauge(
            "vb365_credential_state", "1 for the state that the credential is in", ["tenant", "state"], registry=reg
        )
        self.rotations = Counter(
            "vb365_rotations_total", "Calls of attempts, by rung and outcome", ["rung", "outcome"], registry=reg
        )
        self.lane_wait = Histogram(
            "vb365_lane_wait_seconds", "From due to called", ["server"], registry=reg,
            buckets=(0.1, 1, 5, 15, 60, 300, 900, 3600),
        )  # fmt: skip
        self.lane_due = Gauge("vb365_lane_due", "Credentials that are due and wait for a place", ["server"], registry=reg)
        self.lane_closed = Gauge("vb365_lane_closed", "1 while an outage closes the lane", ["server"], registry=reg)
        self.lane_capacity = Gauge(
            "vb365_lane_capacity_ratio", "Calls wanted to calls admitted; above 1 tokens come late", ["server"], registry=reg
        )
        self.pending_sign_ins = Gauge("vb365_pending_sign_ins", "Sign-ins that wait for a person", registry=reg)
        self.requests = Counter("vb365_requests_total", "Requests handled", ["action", "outcome"], registry=reg)
        self.requests_dropped = Counter("vb365_requests_dropped_total", "Requests that were none", registry=reg)
        self.vault_requests = Counter("vb365_vault_requests_total", "Requests to Vault", ["kind"], registry=reg)
        self.vault_up = Gauge("vb365_vault_up", "0 while a round of ours gets no answer from Vault", registry=reg)
        self.vault_events = Counter("vb365_vault_writes_total", "Turns that writes took", ["event"], registry=reg)
        self.last_sweep = Gauge("vb365_last_sweep_timestamp_seconds", "When the sweep last ran", registry=reg)
        self.leader = Gauge("vb365_leader", "1 while this instance leads", registry=reg)
        self.clock_steps = Counter("vb365_clock_steps_total", "Times that the wall clock was set", registry=reg)
        self.published = Counter("vb365_tokens_published_total", "Tokens published", registry=reg)

    def credential(self, name: str, credential: Credential, next_at: float | None) -> None:
        """Show what stands."""
        for state in State:
            self.state.labels(name, state.value).set(credential.state is state)
        if credential.pair is not None:
            self.token_expiry.labels(name).set(credential.pair.expires_at.timestamp())
        if next_at is not None:
            self.next_rotation.labels(name).set(next_at)
