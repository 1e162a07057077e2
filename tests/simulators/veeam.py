"""VB365's token endpoint and the calls around it, versions 4 to 8, with a switch for everything that isn't known of a real one."""

import base64
import hashlib
import json
import secrets
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.simulators.http import Request, Response, json_response

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SETTINGS = {
    "antiforgery_always_off", "assertion_once", "check_assertion_age", "error_shape", "old_access", "operators_only",
    "other_sessions", "refresh_life", "refresh_tokens", "reject_assertions", "sick", "throttle", "throttle_logouts", "token_life",
}  # fmt: skip
WINDOWS = (("second", 1), ("minute", 60), ("hour", 3600))


@dataclass
class Session:
    """A login: its access tokens with their expiry, and its refresh tokens."""

    organization: str
    version: int
    antiforgery: bool
    access: dict[str, datetime] = field(default_factory=dict)
    current_refresh: str = ""
    spent: set[str] = field(default_factory=set)
    refresh_until: datetime | None = None
    dead: bool = False


@dataclass(frozen=True)
class Presented:
    """A secret that was presented to the token endpoint, and what was given for it."""

    at: datetime
    grant: str
    organization: str
    sha256: str
    outcome: str
    given_sha256: str = ""


class VeeamSimulator:
    """An app for `http.Server`. Attributes are settings that a test changes. Thread-safe."""

    def __init__(self, now: Callable[[], datetime], prefix: str = "simtok") -> None:
        self.now = now
        self.prefix = prefix
        self.versions = {"v4", "v5", "v6", "v7", "v8"}
        self.organizations = {"contoso.onmicrosoft.com"}
        self.token_life = 3600
        #: "reuse": a refresh token works for ever; "single": once; "family": reuse kills the session.
        self.refresh_tokens = "single"
        self.refresh_life: int | None = None
        #: What a refresh does to the session's old access tokens: "alive" or "dies".
        self.old_access = "alive"
        #: What a login does to the access tokens of the organization's other sessions: "alive" or "dies".
        self.other_sessions = "alive"
        #: What VB365 calls an organization by now, and its id, where they aren't as they were at first.
        self.renamed: dict[str, str] = {}
        self.organization_ids: dict[str, object] = {}
        #: Tokens are known, and may not ask for their organization.
        self.denies_organization = False
        #: API calls are for restore operators only: every token is refused.
        self.operators_only = False
        self.assertion_once = False
        self.check_assertion_age = True
        self.reject_assertions = False
        #: It answers "Invalid credential" to everybody, whatever is presented.
        self.sick = False
        #: Nobody documents whether the assertion must hold a refresh token.
        self.wants_refresh_token = True
        self.antiforgery_always_off = False
        #: "" as the version does; "empty", "html", "oauth", "rest".
        self.error_shape = ""
        self.throttle: dict[str, int] = {}
        #: Logouts are counted with the calls to the token endpoint (a rule that contains its path).
        self.throttle_logouts = False
        self.passwords = {"admin": "admin"}
        self.presented: list[Presented] = []
        self.issued: set[str] = set()
        self.sessions: list[Session] = []
        self.throttled = 0
        self._used_assertions: set[str] = set()
        #: The session of each refresh token that was ever given.
        self._by_refresh: dict[str, Session] = {}
        self._windows: dict[tuple[str, str], tuple[datetime, int]] = defaultdict(lambda: (datetime.min, 0))
        self._lock = threading.RLock()

    def __call__(self, request: Request) -> Response:
        """Answer a request."""
        with self._lock:
            if request.path.startswith("/_sim/"):
                return self._control(request)
            version, _, rest = request.path.strip("/").lower().partition("/")
            if version not in self.versions:
                return Response(404)
            number = int(version[1:])
            if request.method == "POST" and rest == "token":
                return self._throttled(request) or self._token(number, request.form())
            if request.method == "GET" and rest == "health" and number >= 8:
                return json_response(200, {"status": "Healthy"})
            return self._api(number, request, rest)

    # --- for tests ---------------------------------------------------------------------------------------------------

    def accepts(self, access_token: str) -> bool:
        """Tell whether an API call with this token would be served now."""
        with self._lock:
            return self._session_of(access_token) is not None

    def hold(
        self, organization: str, refresh_token: str, version: int = 8, *, access: str = "", until: datetime = datetime.min
    ) -> None:
        """Know a session that was begun before, by its refresh token, and by an access token that lives until then."""
        with self._lock:
            session = self._session(organization, version, antiforgery=False)
            session.current_refresh = refresh_token
            if access:
                session.access[access] = until
            self._by_refresh[refresh_token] = session

    def revoke_all(self) -> None:
        """End every session, as a restart may."""
        with self._lock:
            for session in self.sessions:
                session.dead = True

    # --- the token endpoint ------------------------------------------------------------------------------------------

    def _token(self, version: int, form: dict[str, str]) -> Response:
        grant = form.get("grant_type", "password")
        if self.sick:
            return self._sick(version, grant, form)
        off = self.antiforgery_always_off or version < 8 or form.get("disable_antiforgery_token", "").lower() == "true"
        if grant == JWT_BEARER:
            return self._exchange(version, form, antiforgery=not off)
        if grant == "refresh_token":
            return self._refresh(version, form, antiforgery=not off)
        if grant == "password":
            if self.passwords.get(form.get("username", "")) != form.get("password"):
                return self.error(version, "Invalid credential")
            return self._pair(self._session("", version, antiforgery=not off), version)
        return self.error(version, "unsupported_grant_type")

    def _sick(self, version: int, grant: str, form: dict[str, str]) -> Response:
        kind, text = ("assertion", form.get("assertion", "")) if grant == JWT_BEARER else (grant, form.get("refresh_token", ""))
        session = self._by_refresh.get(text)
        organization = form.get("client_id", "") or (session.organization if session else "")
        self.presented.append(Presented(self.now(), kind, organization, _sha(text), "rejected"))
        return self.error(version, "Invalid credential")

    def _exchange(self, version: int, form: dict[str, str], *, antiforgery: bool) -> Response:
        text, organization = form.get("assertion", ""), form.get("client_id", "")
        try:
            assertion = json.loads(text)
        except ValueError:
            assertion = None
        good = isinstance(assertion, dict) and assertion.get("access_token")
        good = good and (assertion.get("refresh_token") or not self.wants_refresh_token)
        good = good and organization in self.organizations and not self.reject_assertions
        if good and self.check_assertion_age:
            good = self._alive(str(assertion["access_token"]))
        if good and self.assertion_once:
            good = _sha(text) not in self._used_assertions
        if not good:
            self.presented.append(Presented(self.now(), "assertion", organization, _sha(text), "rejected"))
            return self.error(version, "Invalid credential")
        self._used_assertions.add(_sha(text))
        if self.other_sessions == "dies":
            for other in self.sessions:
                if other.organization == organization:
                    other.access.clear()
        session = self._session(organization, version, antiforgery=antiforgery)
        return self._pair(session, version, ("assertion", text))

    def _alive(self, jwt: str) -> bool:
        """Tell whether a Microsoft access token (whose claims the server reads) isn't expired."""
        try:
            payload = jwt.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except (IndexError, ValueError):
            return True  # opaque: the server can't know
        return bool(claims.get("exp", 0) > self.now().timestamp())

    def _refresh(self, version: int, form: dict[str, str], *, antiforgery: bool) -> Response:
        token = form.get("refresh_token", "")
        session = self._by_refresh.get(token)
        refused = session is None or session.dead
        if session is not None and not refused:
            late = session.refresh_until is not None and self.now() > session.refresh_until
            reused = token in session.spent and self.refresh_tokens != "reuse"
            if reused and self.refresh_tokens == "family":
                session.dead = True
            refused = late or reused or (session.antiforgery and antiforgery)
        if refused or session is None:
            organization = session.organization if session else ""
            self.presented.append(Presented(self.now(), "refresh_token", organization, _sha(token), "rejected"))
            return self.error(version, "invalid_grant")
        session.spent.add(token)
        if self.old_access == "dies":
            session.access.clear()
        return self._pair(session, version, ("refresh_token", token))

    def _session(self, organization: str, version: int, *, antiforgery: bool) -> Session:
        session = Session(organization, version, antiforgery)
        self.sessions.append(session)
        return session

    def _pair(self, session: Session, version: int, given_for: tuple[str, str] | None = None) -> Response:
        now = self.now()
        access, refresh = (f"{self.prefix}-vb-{kind}-{secrets.token_urlsafe(60)}" for kind in ("at", "rt"))
        self.issued |= {access, refresh}
        session.access = {token: until for token, until in session.access.items() if until > now}
        session.access[access] = now + timedelta(seconds=self.token_life)
        session.current_refresh = refresh
        self._by_refresh[refresh] = session
        if self.refresh_life is not None:
            session.refresh_until = now + timedelta(seconds=self.refresh_life)
        if given_for is not None:
            grant, text = given_for
            self.presented.append(Presented(now, grant, session.organization, _sha(text), "ok", _sha(refresh)))
        content: dict[str, object] = {
            "access_token": access,
            "token_type": "bearer",
            "expires_in": self.token_life,
            "refresh_token": refresh,
            ".issued": now.isoformat(),
            ".expires": session.access[access].isoformat(),
        }
        if version < 8:
            content["userName"] = session.organization
        cookie = {"Set_Cookie": "sim-antiforgery=1; Path=/; Secure"} if session.antiforgery else {}
        return json_response(200, content, **cookie)

    def _throttled(self, request: Request) -> Response | None:
        """Count in fixed windows that begin at a window's first request, as WebApiThrottle does."""
        now = self.now()
        for period, length in WINDOWS:
            limit = self.throttle.get(period, 0)
            if not limit:
                continue
            began, count = self._windows[request.client, period]
            if began == datetime.min or began + timedelta(seconds=length) < now:
                began, count = now, 0
            if count >= limit:
                left = 1 if length == 1 else max(0, length - round((now - began).total_seconds()))
                self.throttled += 1
                text = f"API calls quota exceeded! maximum admitted {limit} per {period.capitalize()}."
                return Response(429, json.dumps(text).encode(), {"Retry-After": str(left)})
            self._windows[request.client, period] = (began, count + 1)
        return None

    # --- the calls around it -----------------------------------------------------------------------------------------

    def _api(self, version: int, request: Request, rest: str) -> Response:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        session = self._session_of(token) if kind.lower() == "bearer" else None
        if (
            self.operators_only
            or session is None
            or (session.antiforgery and "sim-antiforgery" not in request.headers.get("cookie", ""))
        ):
            return Response(401)
        if request.method == "POST" and rest == "token/logout" and version >= 7:
            if self.throttle_logouts and (refused := self._throttled(request)) is not None:
                return refused
            session.dead = True
            return Response(204 if version >= 8 else 200)
        if request.method == "GET" and rest == "organization" and session.organization:
            return self._organization(session.organization)
        if request.method == "GET" and rest == "serviceinstance":
            return json_response(200, {"installationId": "00000000-0000-0000-0000-000000000000", "version": "8.0.0.1"})
        if request.method == "GET" and rest == "restoresessions":
            return json_response(200, {"offset": 0, "limit": 30, "results": []})
        return Response(404)

    def _organization(self, name: str) -> Response:
        if self.denies_organization:
            return json_response(403, {"message": "Access denied", "errorCode": "ResourceAccessDenied", "stackTrace": None})
        shown: dict[str, object] = {"name": self.renamed.get(name, name), "type": "Office365", "isBackedup": True}
        known = self.organization_ids.get(name, str(uuid.uuid5(uuid.NAMESPACE_DNS, name)))
        return json_response(200, shown if known is None else shown | {"id": known})

    def _session_of(self, token: str) -> Session | None:
        now = self.now()
        for session in self.sessions:
            if not session.dead and session.access.get(token, now) > now:
                return session
        return None

    def error(self, version: int, text: str) -> Response:
        """Return a refusal in the version's form, or in the one that is set."""
        shape = self.error_shape or ("oauth" if version < 6 else "rest")
        if shape == "empty":
            return Response(400)
        if shape == "html":
            return Response(400, b"<html><body>Bad Request</body></html>", {"Content-Type": "text/html"})
        if shape == "oauth":
            return json_response(400, {"error": "Authorization Error", "error_description": text})
        content: dict[str, object] = {"message": text}
        if version >= 7:
            content |= {"errorCode": None}
        if version >= 8:
            content |= {"stackTrace": None}
        return json_response(400, content)

    def _control(self, request: Request) -> Response:
        if request.path == "/_sim/state":
            presented = [{**vars(p), "at": p.at.isoformat()} for p in self.presented]
            return json_response(200, {"presented": presented, "throttled": self.throttled, "sessions": len(self.sessions)})
        if request.path == "/_sim/accepts":
            return json_response(200, {"accepted": self.accepts(str(json.loads(request.body)["access_token"]))})
        for name, value in json.loads(request.body).items():
            if name == "revoke_all":
                self.revoke_all()
            elif name in {"organizations", "versions"}:
                setattr(self, name, set(value))
            elif name in SETTINGS:
                setattr(self, name, value)
            else:
                return json_response(400, {"error": f"unknown setting {name}"})
        return json_response(200, {})


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
