"""What monitoring reads."""

from datetime import UTC, datetime, timedelta

from prometheus_client import generate_latest

from scheduler.metrics import Metrics
from scheduler.planned import Planned
from vault_plugin.core.states import State

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_another_clocks_offset_is_shown_as_far_as_its_date_tells() -> None:
    """Whole seconds; a date without a zone tells nothing."""
    metrics = Metrics()
    metrics.vault_answered(0.02, NOW + timedelta(seconds=90.4), NOW)
    metrics.told_time("https://vbr:4443", NOW - timedelta(minutes=5), NOW)
    metrics.told_time("vault", NOW.replace(tzinfo=None), NOW)

    value = metrics.registry.get_sample_value
    assert value("vb365_clock_offset_seconds", {"of": "vault"}) == 90
    assert value("vb365_clock_offset_seconds", {"of": "https://vbr:4443"}) == -300
    assert value("vb365_vault_request_seconds_bucket", {"le": "0.05"}) == 1


def test_credentials_are_shown_while_somebody_follows_them() -> None:
    """A standby speaks of none; a revoked one has no expiry that an alert could wait for."""
    metrics = Metrics()
    active = Planned(server="vbr", state=State.ACTIVE, expires_at=NOW, next_at=NOW - timedelta(minutes=20))
    metrics.follow(lambda: [("acme", active), ("gone", Planned(server="vbr", state=State.REVOKED))])

    value = metrics.registry.get_sample_value
    assert value("vb365_token_expiry_timestamp_seconds", {"tenant": "acme"}) == NOW.timestamp()
    assert value("vb365_credential_state", {"tenant": "acme", "state": "active"}) == 1
    assert value("vb365_credential_state", {"tenant": "gone", "state": "revoked"}) == 1
    assert value("vb365_token_expiry_timestamp_seconds", {"tenant": "gone"}) is None
    metrics.forget()
    assert "acme" not in generate_latest(metrics.registry).decode()
