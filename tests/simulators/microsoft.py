"""Microsoft's token endpoint, as the research says it behaves: device code, refresh, and its ways to say no."""

import base64
import hashlib
import json
import secrets
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.simulators import microsoft_pages
from tests.simulators.http import Request, Response, json_response

DEVICE_CODE_GRANTS = {"urn:ietf:params:oauth:grant-type:device_code", "device_code"}

#: error, and text, of each AADSTS code that the simulator can say.
ERRORS = {
    70016: ("authorization_pending", "OAuth 2.0 device flow error. Authorization is pending. Continue polling."),
    70018: ("bad_verification_code", "Invalid verification code."),
    70020: ("expired_token", "The provided value for the input parameter 'device_code' is not valid; it is expired."),
    65004: ("authorization_declined", "User declined to consent to access the app."),
    70000: ("invalid_grant", "Provided grant is invalid or malformed."),
    50173: ("invalid_grant", "The provided grant has expired due to it being revoked."),
    50196: ("invalid_grant", "The server terminated an operation because it encountered a client request loop."),
    70043: ("invalid_grant", "The refresh token has expired or is invalid due to sign-in frequency checks."),
    700082: ("invalid_grant", "The refresh token has expired due to inactivity."),
    50076: ("invalid_grant", "Due to a configuration change, you must use multi-factor authentication."),
    50078: ("invalid_grant", "Presented multi-factor authentication has expired."),
    53003: ("invalid_grant", "Access has been blocked by Conditional Access policies."),
    530035: ("invalid_grant", "Access has been blocked by security defaults."),
    530036: ("invalid_grant", "Refresh token invalid due to authentication flow policy."),
    65001: ("invalid_grant", "The user or administrator has not consented to use the application."),
    700007: ("invalid_grant", "The grant was issued for a different client id."),
    700016: ("unauthorized_client", "Application was not found in the directory."),
    7000218: ("invalid_client", "The request body must contain 'client_assertion' or 'client_secret'."),
    90002: ("invalid_request", "Tenant not found."),
    90014: ("invalid_request", "The required field is missing."),
    70003: ("unsupported_grant_type", "The app requested an unsupported grant type."),
}
SUBERRORS = {53003: "message_only", 50076: "basic_action", 50078: "basic_action", 65001: "consent_required"}


@dataclass
class DeviceCode:
    """A device authorization."""

    tenant: str
    client_id: str
    scope: str
    user_code: str
    created_at: datetime
    expires_at: datetime
    interval: float
    #: When a poll was answered last: nothing is forgiven to who asks again before the interval is over.
    answered_at: datetime | None = None
    answer: str = ""  # approved, declined, redeemed
    account: str = ""


@dataclass
class Grant:
    """What a person gave: refresh tokens of one family."""

    tenant: str
    client_id: str
    scope: str
    account: str
    revoked_by: int = 0
    spent: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Presented:
    """A secret that was presented to the token endpoint."""

    at: datetime
    tenant: str
    grant: str
    sha256: str
    outcome: str


class MicrosoftSimulator:
    """An app for `http.Server`. Attributes are settings that a test changes. Thread-safe."""

    def __init__(self, now: Callable[[], datetime], prefix: str = "simtok") -> None:
        self.now = now
        self.prefix = prefix
        self.base_url = "https://localhost"
        self.interval = 5
        self.code_life = 900
        self.access_life = 3599
        self.slow_down = True
        #: How often somebody asked too early.
        self.slowed_down = 0
        #: "entra": old refresh tokens live on; "single": they die; "family": reuse kills the whole grant.
        self.rotation = "entra"
        self.omit_on_refresh: set[str] = set()
        #: What becomes of a token answer before it is sent, by the grant that it answers: "device_code", "refresh_token".
        self.alter: Callable[[str, dict[str, object]], dict[str, object]] = lambda _grant, tokens: tokens
        #: What an error says otherwise than it usually does, by its number: ``{424242: {"suberror": "bad_token"}}``.
        self.says: dict[int, dict[str, object]] = {}
        self.unknown_tenants: set[str] = set()
        #: Domains that were moved, and to whose directory.
        self.moved: dict[str, str] = {}
        self.public_client = True
        self.auto_approve: float | None = None
        self.blocked: dict[str, int] = {}
        self.presented: list[Presented] = []
        self.issued: set[str] = set()
        self.codes: dict[str, DeviceCode] = {}
        self.grants: dict[str, Grant] = {}
        self._lock = threading.RLock()

    def __call__(self, request: Request) -> Response:
        """Answer a request."""
        with self._lock:
            if request.path.startswith(("/device", "/_sim/")):
                return microsoft_pages.answer(self, request)
            tenant, _, rest = request.path.strip("/").partition("/")
            if rest == "v2.0/.well-known/openid-configuration":
                return self._discovery(tenant)
            if request.method == "POST" and rest == "oauth2/v2.0/devicecode":
                return self._device_code(tenant, request.form())
            if request.method == "POST" and rest == "oauth2/v2.0/token":
                return self._token(tenant, request.form())
        return Response(404)

    # --- what tests and people do ------------------------------------------------------------------------------------

    def pending(self) -> list[DeviceCode]:
        """Return the codes that wait for a person."""
        return [code for code in self.codes.values() if not code.answer and code.expires_at > self.now()]

    def approve(self, user_code: str, account: str = "admin@contoso.onmicrosoft.com") -> None:
        """Sign in with this code as this account."""
        with self._lock:
            code = self._code(user_code)
            code.answer, code.account = "approved", account

    def decline(self, user_code: str) -> None:
        """Say no."""
        with self._lock:
            self._code(user_code).answer = "declined"

    def revoke(self, tenant: str, code: int = 50173) -> None:
        """Kill every grant of a tenant with this AADSTS code."""
        with self._lock:
            for grant in self.grants.values():
                if grant.tenant == tenant:
                    grant.revoked_by = code

    def _code(self, user_code: str) -> DeviceCode:
        wanted = user_code.strip().upper()
        return next(code for code in self.codes.values() if code.user_code == wanted and not code.answer)

    # --- endpoints ---------------------------------------------------------------------------------------------------

    def _device_code(self, tenant: str, form: dict[str, str]) -> Response:
        if tenant in self.unknown_tenants:
            return self.error(90002)
        if not form.get("client_id") or not form.get("scope"):
            return self.error(90014)
        device_code = self._secret("dc")
        alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
        user_code = "".join(secrets.choice(alphabet) for _ in range(9))
        now = self.now()
        expires_at = now + timedelta(seconds=self.code_life)
        self.codes[device_code] = DeviceCode(
            tenant, form["client_id"], form["scope"], user_code, now, expires_at, self.interval
        )
        uri = f"{self.base_url}/device"
        message = f"To sign in, use a web browser to open the page {uri} and enter the code {user_code} to authenticate."
        content = {
            "user_code": user_code,
            "device_code": device_code,
            "verification_uri": uri,
            "expires_in": self.code_life,
            "interval": self.interval,
            "message": message,
        }
        return json_response(200, content)

    def _token(self, tenant: str, form: dict[str, str]) -> Response:
        if "client_secret" in form or not self.public_client:
            return self.error(7000218, status=401)
        if form.get("grant_type") in DEVICE_CODE_GRANTS:
            return self._poll(tenant, form)
        if form.get("grant_type") == "refresh_token":
            return self._refresh(tenant, form)
        return self.error(70003)

    def _poll(self, tenant: str, form: dict[str, str]) -> Response:
        presented = form.get("device_code") or form.get("code") or ""
        code = self.codes.get(presented)
        if code is None or code.tenant != tenant or code.client_id != form.get("client_id"):
            return self._note(tenant, "device_code", presented, 70018)
        now = self.now()
        if self.auto_approve is not None and not code.answer:
            age = (now - code.created_at).total_seconds()
            if age >= self.auto_approve:
                code.answer, code.account = "approved", f"admin@{tenant}"
        answered_at, code.answered_at = code.answered_at, now
        if self.slow_down and answered_at is not None and (now - answered_at).total_seconds() < code.interval:
            code.interval += 5
            self.slowed_down += 1
            return json_response(400, {"error": "slow_down", "error_description": "polling too fast"})
        if code.answer == "redeemed":
            return self._note(tenant, "device_code", presented, 70018)
        if code.answer == "declined":
            return self._note(tenant, "device_code", presented, 65004)
        if now >= code.expires_at:
            return self._note(tenant, "device_code", presented, 70020)
        if not code.answer:
            return self._note(tenant, "device_code", presented, 70016)
        if tenant in self.blocked:
            return self._note(tenant, "device_code", presented, self.blocked[tenant])
        code.answer = "redeemed"
        grant = Grant(tenant, code.client_id, code.scope, code.account)
        self.presented.append(Presented(now, tenant, "device_code", _sha(presented), "ok"))
        return json_response(200, self.alter("device_code", self._tokens(grant, code.scope)))

    def _refresh(self, tenant: str, form: dict[str, str]) -> Response:
        token = form.get("refresh_token", "")
        grant = self.grants.get(token)
        if grant is None or grant.tenant != tenant:
            return self._note(tenant, "refresh_token", token, 70000)
        if grant.client_id != form.get("client_id"):
            return self._note(tenant, "refresh_token", token, 700007)
        if self.rotation == "family" and token in grant.spent:
            grant.revoked_by = 50173
        if grant.revoked_by:
            return self._note(tenant, "refresh_token", token, grant.revoked_by)
        if self.rotation == "single" and token in grant.spent:
            return self._note(tenant, "refresh_token", token, 70000)
        if tenant in self.blocked:
            return self._note(tenant, "refresh_token", token, self.blocked[tenant])
        asked = form.get("scope") or grant.scope
        if not set(asked.split()) <= set(grant.scope.split()):
            return self._note(tenant, "refresh_token", token, 65001)
        grant.spent.add(token)
        self.presented.append(Presented(self.now(), tenant, "refresh_token", _sha(token), "ok"))
        tokens = self._tokens(grant, asked)
        kept = {name: value for name, value in tokens.items() if name not in self.omit_on_refresh}
        return json_response(200, self.alter("refresh_token", kept))

    def _discovery(self, tenant: str) -> Response:
        base = f"{self.base_url}/{tenant}"
        content = {
            "issuer": f"{base}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            "jwks_uri": f"{base}/discovery/v2.0/keys",
        }
        return json_response(200, content)

    # --- tokens and errors -------------------------------------------------------------------------------------------

    def _tokens(self, grant: Grant, scope: str) -> dict[str, object]:
        scopes = scope.split()
        now = int(self.now().timestamp())
        claims = {
            "aud": grant.client_id,
            "iss": f"{self.base_url}/{grant.tenant}/v2.0",
            "iat": now,
            "exp": now + self.access_life,
            "tid": _tenant_id(self.moved.get(grant.tenant, grant.tenant)),
            "oid": str(uuid.uuid5(uuid.NAMESPACE_DNS, grant.account)),
            "sub": "sub",
            "preferred_username": grant.account,
        }
        tokens: dict[str, object] = {
            "token_type": "Bearer",
            "scope": " ".join(word for word in scopes if word not in {"offline_access", "openid", "profile"}),
            "expires_in": self.access_life,
            "ext_expires_in": self.access_life,
            "access_token": self._jwt(claims),
        }
        if "offline_access" in scopes:
            refresh_token = self._secret("rt")
            self.grants[refresh_token] = grant
            tokens["refresh_token"] = refresh_token
        if "openid" in scopes:
            tokens["id_token"] = self._jwt(claims)
        tokens["foci"] = "1"
        return tokens

    def _secret(self, kind: str) -> str:
        value = f"{self.prefix}-ms-{kind}-{secrets.token_urlsafe(48)}"
        self.issued.add(value)
        return value

    def _jwt(self, claims: dict[str, object]) -> str:
        parts = [{"typ": "JWT", "alg": "none"}, {**claims, "jti": f"{self.prefix}-{secrets.token_hex(12)}"}]
        head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
        token = f"{head}.{body}.{self.prefix}{secrets.token_urlsafe(16)}"
        self.issued.add(token)
        return token

    def _note(self, tenant: str, grant: str, presented: str, code: int) -> Response:
        self.presented.append(Presented(self.now(), tenant, grant, _sha(presented), str(code)))
        return self.error(code)

    def error(self, code: int, status: int = 400) -> Response:
        """Return an error in Microsoft's form."""
        error, text = ERRORS.get(code, ("invalid_grant", "Something."))
        trace, stamp = str(uuid.uuid4()), self.now().strftime("%Y-%m-%d %H:%M:%SZ")
        content: dict[str, object] = {
            "error": error,
            "error_description": f"AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {trace} Timestamp: {stamp}",
            "error_codes": [code],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": trace,
            "error_uri": f"{self.base_url}/error?code={code}",
        }
        if code in SUBERRORS:
            content["suberror"] = SUBERRORS[code]
        return json_response(status, {**content, **self.says.get(code, {})})


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _tenant_id(tenant: str) -> str:
    """Return the GUID of a tenant that is asked for by it, or by a name."""
    try:
        return str(uuid.UUID(tenant))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, tenant))
