"""What operators are told: nothing is left for them to fill in."""

from datetime import timedelta
from typing import Any

from tests.unit.test_policy import HOUR, NOW, POLICY, credential, failure, view
from vault_plugin.core.lifecycle.status import SignInSeen, status_of
from vault_plugin.core.policy import View, next_action
from vault_plugin.core.published import RequestStatus, SignInStatus, Status
from vault_plugin.core.states import State
from vault_plugin.core.tenants import Binding, TenantSpec

BINDING = Binding(authority="https://a", client_id="c", scope="s", organization="o", server="vbr9")


def status(held: View, seen: SignInSeen | None = None) -> Status:
    return status_of(held, next_action(held, NOW, POLICY), seen or SignInSeen(), NOW, POLICY, timedelta(0))


def test_remedies_and_texts_name_the_tenant_and_the_server() -> None:
    """In the status itself, in the last error, in the sign-in and in the outcomes of requests."""
    error = failure().replace(text="no answer", remedy="vb365 server show SERVER (VAULT_NAMESPACE)")
    ended: dict[str, Any] = {"id": "s", "state": "ended", "started_at": NOW, "expires_at": NOW, "ended_at": NOW}
    seen = SignInSeen(
        SignInStatus(**ended, outcome="Expired", remedy="vb365 sign-in NAME"),
        (RequestStatus(id="1", action="sign-in", outcome="Failed", text="Sign in: vb365 sign-in NAME", at=NOW),),
    )

    told = status(view(credential(state=State.NEEDS_SIGN_IN, last_error=error)), seen)

    assert told.last_error is not None
    assert told.last_error.remedy == "vb365 server show vbr (VAULT_NAMESPACE)"
    assert told.sign_in is not None
    assert told.remedy == told.sign_in.remedy == "vb365 sign-in acme"
    assert told.requests[0].text == "Sign in: vb365 sign-in acme"
    assert status(view(credential(state=State.REVOKED))).remedy == "Sign in: vb365 sign-in acme."


def test_a_tenant_that_is_gone_is_told_with_the_server_it_was_bound_to() -> None:
    """And how to finish."""
    told = status(view(credential(binding=BINDING), tenant=None))

    assert (told.reason, told.server) == ("TenantRemoved", "vbr9")
    assert "vb365 tenant remove acme" in told.remedy


def test_consumers_that_read_too_rarely_are_told_of_with_a_remedy() -> None:
    """A life that is measured after the tenant was written; a paused tenant or an error has its own text."""
    slow = TenantSpec(server="vbr", consumer_reread=5 * HOUR)

    told = status(view(credential(), tenant=slow))

    assert told.text == "consumers that read every 300 min may hold an expired token: tokens live 60 min"
    assert "vb365 tenant set acme --consumer-reread" in told.remedy
    assert status(view(credential(), tenant=slow.replace(consumer_reread=HOUR / 2))).text == ""
    assert "resume" in status(view(credential(), tenant=slow.replace(paused=True))).remedy
    assert status(view(credential(last_error=failure()), tenant=slow)).text == failure().text
