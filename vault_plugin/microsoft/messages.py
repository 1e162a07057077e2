"""Messages to and from Microsoft's token endpoint: build and parse, no I/O.

An answer is judged by its JSON ``error``, not by its status; empty and non-JSON bodies are met in the field.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from vault_plugin.core.credential import Assertion
from vault_plugin.core.errors import AuthorizationServerError, AuthorizationServerUnavailable
from vault_plugin.core.ports import Approved, DeviceAuthorization, Ended, Pending, PollResult
from vault_plugin.core.secret import Secret
from vault_plugin.core.sign_in import INTERVAL_RANGE, LIFE_RANGE, clamp
from vault_plugin.core.states import Reason
from vault_plugin.core.tenants import Binding
from vault_plugin.microsoft.verdicts import row_of

DEVICE_CODE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
#: RFC 8628 section 3.2: "If no value is provided, clients MUST use 5 as the default."
DEFAULT_INTERVAL: Final = 5
DEFAULT_LIFE: Final = 900
#: Both names of each pair: RFC 8628's and Microsoft's.
PENDING: Final = {"authorization_pending"}
DECLINED: Final = {"access_denied", "authorization_declined"}
EXPIRED: Final = {"expired_token", "code_expired"}
SPENT: Final = {"bad_verification_code", "invalid_grant"}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, parsed as far as it goes: `body` is the JSON object, or empty."""

    status: int
    body: Mapping[str, Any] = field(repr=False)
    retry_after: timedelta | None = None

    @property
    def error(self) -> str:
        """Return the OAuth error, or an empty text."""
        value = self.body.get("error")
        return value if isinstance(value, str) else ""

    @property
    def codes(self) -> tuple[int, ...]:
        """Return Microsoft's AADSTS numbers, from ``error_codes`` or the description."""
        listed = self.body.get("error_codes")
        if isinstance(listed, list):
            return tuple(code for code in listed if isinstance(code, int) and not isinstance(code, bool))
        description = self.body.get("error_description")
        if isinstance(description, str) and description.startswith("AADSTS"):
            digits = description[len("AADSTS") :].partition(":")[0]
            return (int(digits),) if digits.isdecimal() else ()
        return ()

    def text(self, name: str) -> str:
        """Return a text field, or an empty text."""
        value = self.body.get(name)
        return value if isinstance(value, str) else ""


def parse(status: int, content: bytes, retry_after: str | None = None) -> Answer:
    """Read an answer of any form."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    wait = timedelta(seconds=int(retry_after)) if retry_after and re.fullmatch(r"\d{1,6}", retry_after) else None
    return Answer(status, body if isinstance(body, dict) else {}, wait)


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
    device_code, user_code = answer.text("device_code"), answer.text("user_code")
    uri = answer.text("verification_uri") or answer.text("verification_url")
    if answer.error or not (device_code and user_code and uri):
        raise error_of(answer, "asking for a device code")
    message = answer.text("message") or f"To sign in, open {uri} and enter the code {user_code}."
    return DeviceAuthorization(
        device_code=Secret(device_code),
        user_code=user_code,
        verification_uri=uri,
        message=message,
        interval=clamp(_length(answer.body.get("interval"), DEFAULT_INTERVAL), INTERVAL_RANGE),
        expires_in=clamp(_length(answer.body.get("expires_in"), DEFAULT_LIFE), LIFE_RANGE),
    )


def poll_result(answer: Answer, now: datetime) -> PollResult:
    """Read the answer to one poll (RFC 8628 section 3.5 and Microsoft's names for it).

    Raises:
        AuthorizationServerUnavailable: no verdict; poll again.
    """
    if not answer.error and answer.text("access_token"):
        merged = dict(answer.body)
        tenant_id, account = identity(merged)
        return Approved(assertion_of(merged, now, signed_in_at=now, account=account), tenant_id, account)
    if answer.error in PENDING:
        return Pending()
    if answer.error == "slow_down":
        return Pending(slow_down=True)
    code = answer.codes[0] if answer.codes else None
    trace_id = answer.text("trace_id")
    again = "Ask again: vb365 sign-in NAME."
    if answer.error in DECLINED:
        return Ended(Reason.DECLINED, "the person declined at Microsoft's page", again, code, trace_id)
    if answer.error in EXPIRED:
        text = "the code expired before anybody signed in"
        return Ended(Reason.EXPIRED, text, again, code, trace_id, spent=True)
    error = error_of(answer, "polling")
    if isinstance(error, AuthorizationServerUnavailable):
        raise error
    reasons = {"TenantAdminRequired": Reason.BLOCKED_BY_TENANT_POLICY, "ClientRejected": Reason.MISCONFIGURED}
    outcome = reasons.get(type(error).__name__, Reason.GRANT_REJECTED)
    return Ended(outcome, str(error), error.remedy(), error.code, error.trace_id, spent=answer.error in SPENT)


def renewed(answer: Answer, old: Assertion, now: datetime) -> Assertion:
    """Merge a refresh answer over the stored JSON: what is missing keeps its old value.

    Raises:
        AuthorizationServerError: an error, or not a token answer.
    """
    if answer.error or not answer.text("access_token"):
        raise error_of(answer, "renewing the assertion")
    merged = {**json.loads(old.json_text.reveal()), **answer.body}
    return assertion_of(merged, now, signed_in_at=old.signed_in_at, account=old.account)


def assertion_of(merged: dict[str, Any], now: datetime, *, signed_in_at: datetime, account: str) -> Assertion:
    """Return the assertion for this token JSON. `expires_in` counts from `now`, the time before sending."""
    return Assertion(
        json_text=Secret(json.dumps(merged)),
        obtained_at=now,
        expires_at=now + _length(merged.get("expires_in"), 0),
        refreshable=bool(merged.get("refresh_token")) and isinstance(merged.get("refresh_token"), str),
        signed_in_at=signed_in_at,
        account=account,
    )


def identity(tokens: Mapping[str, Any]) -> tuple[str, str]:
    """Return tenant id and account as the tokens say, unverified: they came over TLS from the authority itself."""
    for name in ("id_token", "access_token"):
        claims = _claims(tokens.get(name))
        tenant_id = claims.get("tid")
        account = claims.get("preferred_username") or claims.get("upn") or claims.get("unique_name")
        if isinstance(tenant_id, str):
            return tenant_id, account if isinstance(account, str) else ""
    return "", ""


def error_of(answer: Answer, doing: str) -> AuthorizationServerError:
    """Return the error that this answer means. Carries code and trace id, never the description."""
    no_verdict = answer.status == 429 or answer.status >= 500 or not answer.error  # noqa: PLR2004 - RFC 6585
    row = row_of(answer.error, answer.codes)
    code = answer.codes[0] if answer.codes else None
    verdict: type[AuthorizationServerError] = row.verdict
    text = f"{doing}: {row.text}"
    if no_verdict and code is None:
        verdict, text = AuthorizationServerUnavailable, f"{doing}: Microsoft answered status {answer.status}"
    throttled = verdict is AuthorizationServerUnavailable and answer.status == 429  # noqa: PLR2004 - RFC 6585
    number = f" (AADSTS{code})" if code is not None else ""
    return verdict(
        f"{text}{number}",
        reason="Throttled" if throttled else row.reason if verdict is row.verdict else "Unavailable",
        remedy=row.remedy,
        code=code,
        error=answer.error,
        trace_id=answer.text("trace_id"),
        retry_after=answer.retry_after,
        confirm=row.confirm,
    )


def _length(value: object, default: int) -> timedelta:
    """Read seconds that may be a number or text."""
    try:
        seconds = float(str(value)) if value is not None and not isinstance(value, bool) else float(default)
        return timedelta(seconds=min(max(seconds, 0), 10 * 365 * 86400))
    except (ValueError, OverflowError):
        return timedelta(seconds=default)


def _claims(token: object) -> Mapping[str, Any]:
    """Return the claims of a JWT without checking it, or nothing."""
    if not isinstance(token, str) or token.count(".") != 2:  # noqa: PLR2004 - RFC 7519: three parts
        return {}
    payload = token.split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
