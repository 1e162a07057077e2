"""Messages to and from Microsoft's token endpoint: build and parse, no I/O.

An answer is judged by its JSON ``error``, not by its status; empty and non-JSON bodies are met in the field.
"""

import json
from datetime import datetime, timedelta
from typing import Any, Final

from vault_plugin.core.credential import Assertion
from vault_plugin.core.errors import AuthorizationServerError, AuthorizationServerUnavailable, ClientRejected, GrantRejected
from vault_plugin.core.ports import Approved, DeviceAuthorization, Ended, Pending, PollResult
from vault_plugin.core.secret import Secret
from vault_plugin.core.sign_in import INTERVAL_RANGE, LIFE_RANGE, clamp
from vault_plugin.core.states import Reason
from vault_plugin.core.tenants import Binding
from vault_plugin.microsoft.answer import SERVER_ERROR, TOO_MANY_REQUESTS, Answer, parse
from vault_plugin.microsoft.granted import assertion_of, identity, lacks, merged, seconds, tenant_ids, usable
from vault_plugin.microsoft.judge import judged, row_of_code
from vault_plugin.microsoft.verdicts import UNKNOWN

__all__ = [
    "Answer",
    "assertion_of",
    "device_authorization",
    "device_code_form",
    "error_of",
    "identity",
    "parse",
    "poll_form",
    "poll_result",
    "refresh_form",
    "renewed",
]

DEVICE_CODE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
#: RFC 8628 section 3.2: "If no value is provided, clients MUST use 5 as the default."
DEFAULT_INTERVAL: Final = timedelta(seconds=5)
DEFAULT_LIFE: Final = timedelta(seconds=900)
#: Both names of each pair, RFC 8628's and Microsoft's, and the number that says the same whatever the name.
PENDING: Final[frozenset[str | int]] = frozenset({"authorization_pending", 70016})
DECLINED: Final[frozenset[str | int]] = frozenset({"access_denied", "authorization_declined", 65004})
EXPIRED: Final[frozenset[str | int]] = frozenset({"expired_token", "code_expired", 70019, 70020})
#: Numbers and suberrors that may stand beside it without saying anything else.
BESIDE_DECLINED: Final[frozenset[str | int]] = frozenset({65004, 70018, "consent_required", "basic_action"})
#: What Microsoft may answer about a code that was redeemed, and what may stand beside it.
SPENT: Final = frozenset({"bad_verification_code", "invalid_grant"})
BESIDE_SPENT: Final[frozenset[str | int]] = frozenset({70000, 70018, 54005, 90120, "bad_token"})
#: Words that mean just this: a new number beside them doesn't change it.
PLAIN: Final = frozenset({"authorization_declined", "bad_verification_code"})
LONGEST_LINE: Final = 1000

_REACH: Final = (
    "a proxy, a captive portal or a filter. Let the service reach the tenant's authority (vb365 tenant show NAME) without it, "
    "or by a proxy that lets it pass (HTTPS_PROXY)."
)
NOT_MICROSOFT: Final = f"Something between this service and Microsoft answers in its place: {_REACH}"
FAILING: Final = (
    f"See Microsoft's service health. If it is well, something between this service and Microsoft answers: {_REACH}"
)
MIXED: Final = "Microsoft's answer holds tokens of two Microsoft 365 tenants; none of them was kept"
MOVED: Final = (
    "Nothing of that answer was kept. Check the tenant's organization, cloud and authority: vb365 tenant show NAME. If the "
    "organization's name belongs to another directory now, sign in again: vb365 sign-in NAME."
)


def device_code_form(binding: Binding) -> dict[str, str]:
    """Return the device authorization request (RFC 8628 section 3.1)."""
    return {"client_id": binding.client_id, "scope": binding.scope}


def poll_form(binding: Binding, device_code: Secret) -> dict[str, str]:
    """Return the device access token request (RFC 8628 section 3.4)."""
    return {"grant_type": DEVICE_CODE_GRANT, "client_id": binding.client_id, "device_code": device_code.reveal()}


def refresh_form(binding: Binding, assertion: Assertion) -> dict[str, str]:
    """Return the refresh request (RFC 6749 section 6) with the *original* scope, never the answer's."""
    stored = json.loads(assertion.json_text.reveal())
    return {
        "grant_type": "refresh_token",
        "client_id": binding.client_id,
        "scope": binding.scope,
        "refresh_token": str(stored["refresh_token"]),
    }


def device_authorization(answer: Answer) -> DeviceAuthorization:
    """Read a device authorization answer (RFC 8628 section 3.2), interval and life clamped to sane bounds.

    Raises:
        AuthorizationServerError: an error, or not such an answer.
    """
    device_code, user_code = answer.text("device_code"), _line(answer.text("user_code"))
    uri = _line(answer.text("verification_uri")) or _line(answer.text("verification_url"))
    if answer.error or not (usable(device_code) and user_code and uri):
        raise error_of(answer, "asking for a device code")
    message = _line(answer.text("message")) or f"To sign in, open {uri} and enter the code {user_code}."
    return DeviceAuthorization(
        device_code=Secret(device_code),
        user_code=user_code,
        verification_uri=uri,
        message=message,
        interval=clamp(_length(answer.body.get("interval"), DEFAULT_INTERVAL), INTERVAL_RANGE),
        expires_in=clamp(_length(answer.body.get("expires_in"), DEFAULT_LIFE), LIFE_RANGE),
    )


def poll_result(answer: Answer, now: datetime, scope: str = "") -> PollResult:
    """Read the answer to one poll (RFC 8628 section 3.5 and Microsoft's names for it). `scope` is what was asked for.

    Raises:
        AuthorizationServerUnavailable: no verdict; poll again.
    """
    if not answer.error and usable(answer.body.get("access_token")):
        return _approved(dict(answer.body), now, scope)
    said: set[str | int] = {answer.error, *answer.codes}
    if said & PENDING:
        return Pending(retry_after=answer.retry_after)
    if answer.error == "slow_down":
        return Pending(slow_down=True, retry_after=answer.retry_after)
    error = error_of(answer, "polling")
    if isinstance(error, AuthorizationServerUnavailable):
        raise error
    again = "Ask again: vb365 sign-in NAME."
    if said & DECLINED and _only(answer, BESIDE_DECLINED):
        return Ended(Reason.DECLINED, "the person declined at Microsoft's page", again, error.code, error.trace_id)
    if said & EXPIRED and isinstance(error, GrantRejected):
        text = "the code expired before anybody signed in"
        return Ended(Reason.EXPIRED, text, again, error.code, error.trace_id)
    reasons = {"TenantAdminRequired": Reason.BLOCKED_BY_TENANT_POLICY, "ClientRejected": Reason.MISCONFIGURED}
    outcome = reasons.get(type(error).__name__, Reason.GRANT_REJECTED)
    spent = answer.error in SPENT and isinstance(error, GrantRejected) and _only(answer, BESIDE_SPENT)
    return Ended(outcome, str(error), error.remedy(), error.code, error.trace_id, spent=spent)


def _approved(tokens: dict[str, Any], now: datetime, scope: str) -> Approved | Ended:
    if len(tenant_ids(tokens)) > 1:
        return Ended(Reason.WRONG_TENANT, MIXED, "Sign in again: vb365 sign-in NAME.")
    tenant_id, account = identity(tokens)
    held = assertion_of(tokens, now, signed_in_at=now, account=account, lacks=lacks(scope, tokens))
    return Approved(held, tenant_id, account)


def _only(answer: Answer, these: frozenset[str | int]) -> bool:
    """Tell whether no number and no suberror but these is given: any other says something else of the person or the tenant."""
    others = {*answer.codes, answer.suberror} - these - {""}
    if answer.error in PLAIN:
        return not any(row_of_code(code, answer.error) for code in others if isinstance(code, int))
    return not others


def renewed(answer: Answer, old: Assertion, now: datetime, binding: Binding | None = None) -> Assertion:
    """Merge a refresh answer over the stored JSON: what is missing or unusable keeps its old value.

    Raises:
        AuthorizationServerError: an error, not a token answer, or another tenant's than the one that signed in.
    """
    if answer.error or not usable(answer.body.get("access_token")):
        raise error_of(answer, "renewing the assertion")
    stored = json.loads(old.json_text.reveal())
    signed_in = {binding.tenant_id.casefold()} if binding is not None and binding.tenant_id else tenant_ids(stored)
    if signed_in and not tenant_ids(answer.body) <= signed_in:
        msg = "renewing the assertion: Microsoft's answer is for another Microsoft 365 tenant than the one that signed in"
        raise ClientRejected(msg, reason="WrongTenant", remedy=MOVED)
    tokens = merged(stored, answer.body)
    said = lacks(binding.scope if binding else "", tokens) if "scope" in answer.body else old.lacks
    return assertion_of(tokens, now, signed_in_at=old.signed_in_at, account=old.account, lacks=said)


def error_of(answer: Answer, doing: str) -> AuthorizationServerError:
    """Return the error that this answer means. Carries code and trace id, never the description."""
    throttled = answer.status == TOO_MANY_REQUESTS
    if not answer.error and not answer.codes and not throttled:
        return _no_verdict(answer, doing)
    row, code = judged(answer.error, answer.codes, answer.suberror, failing=throttled or answer.status >= SERVER_ERROR)
    number = f" (AADSTS{code})" if code is not None else ""
    throttled = throttled and row.verdict is AuthorizationServerUnavailable
    text = f"Microsoft throttles this (status {answer.status})" if throttled else row.text
    if row is UNKNOWN and answer.word:
        text = f"{text}: {answer.word}"
    return row.verdict(
        f"{doing}: {text}{number}",
        reason="Throttled" if throttled else row.reason,
        remedy=row.remedy,
        code=code,
        error=answer.error,
        trace_id=answer.trace_id,
        retry_after=answer.retry_after,
        confirm=row.confirm,
    )


def _no_verdict(answer: Answer, doing: str) -> AuthorizationServerUnavailable:
    """Return the error for an answer without one: of something in front of Microsoft, or with nothing usable in it."""
    status = f"status {answer.status}"
    if answer.foreign:
        text, reason = f"{answer.foreign} ({status}) came instead of Microsoft's JSON", "NotMicrosoft"
    elif answer.status >= SERVER_ERROR:
        text, reason = f"Microsoft answered {status}", "Unavailable"
    else:
        text, reason = f"the answer has nothing usable in it ({status})", "AnswerUnusable"
    remedy = "" if reason == "Unavailable" else FAILING if answer.status >= SERVER_ERROR else NOT_MICROSOFT
    return AuthorizationServerUnavailable(f"{doing}: {text}", reason=reason, remedy=remedy, retry_after=answer.retry_after)


def _line(text: str) -> str:
    """Return what people are shown of Microsoft's, if it is a line of printing characters and no longer than a message is."""
    return text if text.isprintable() and len(text) <= LONGEST_LINE else ""


def _length(value: object, default: timedelta) -> timedelta:
    """Read seconds that may be a number or text; what is none at all is the default, and zero is very little."""
    length = seconds(value)
    return length if length is not None else timedelta(0) if value in (0, "0") else default
