"""The service's own Vault token: got by token, AppRole, Kubernetes or JWT auth, renewed at half its period.

Files (secret id, JWT) are read anew at each login: Kubernetes rotates them. Only a token that we obtained is revoked at stop.
"""

import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from vault_plugin.core.errors import ConfigurationError, StoreDenied
from vault_plugin.core.secret import Secret
from vault_plugin.vault.answers import Outcome, error_of, outcome_of
from vault_plugin.vault.connection import Connection, NoAnswer

Method = Literal["token", "approle", "kubernetes", "jwt"]

KUBERNETES_JWT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


@dataclass(frozen=True)
class LoginSettings:
    """How to log in. `mount` defaults to the method's name."""

    method: Method = "token"
    mount: str = ""
    role: str = ""
    role_id: str = ""
    secret_id_file: Path | None = None
    jwt_file: Path | None = None


class Login:
    """Keeps a live token in the connection. Thread-safe; waits for nothing but Vault's answer."""

    def __init__(self, connection: Connection, settings: LoginSettings) -> None:
        """Take the connection whose token is kept alive."""
        self._connection = connection
        self._settings = settings
        self._own = False
        self._renew_at: timedelta | None = None
        self._lock = threading.Lock()

    def ensure(self, monotonic: timedelta) -> None:
        """Log in if there is no token, renew it if half its period is over, log in again if it is dead.

        Raises:
            StoreDenied: Vault refuses what we have; the remedy says what to check.
            StoreUnavailable: try again.
            ConfigurationError: a file is missing.
        """
        with self._lock:
            if self._connection.token is None:
                self._log_in(monotonic)
            elif self._renew_at is None:
                self._look_up(monotonic)
            elif monotonic >= self._renew_at:
                self._renew(monotonic)

    def alive(self) -> bool:
        """Ask Vault whether our token lives.

        Raises:
            StoreUnavailable: nobody knows.
        """
        return self._self("GET", "auth/token/lookup-self", "looking at our own token") is not None

    def again(self, monotonic: timedelta, dead: Secret | None) -> bool:
        """Log in anew, unless another thread has replaced the `dead` token already; tell whether. Raises as `ensure`."""
        with self._lock:
            if self._connection.token != dead:
                return False
            self._log_in(monotonic)
            return True

    def revoke(self) -> None:
        """Revoke the token if we obtained it; best effort."""
        with self._lock:
            if self._own and self._connection.token is not None:
                try:
                    self._connection.request("POST", "auth/token/revoke-self")
                except NoAnswer:
                    return
                self._connection.token = None

    def _look_up(self, monotonic: timedelta) -> None:
        body = self._self("GET", "auth/token/lookup-self", "looking at our own token")
        if body is None:
            self._log_in(monotonic)
            return
        data = body.get("data", {})
        self._plan(monotonic, int(data.get("ttl", 0)), renewable=bool(data.get("renewable")))

    def _renew(self, monotonic: timedelta) -> None:
        body = self._self("POST", "auth/token/renew-self", "renewing our token")
        if body is None:
            self._log_in(monotonic)
            return
        auth = body.get("auth") or {}
        self._plan(monotonic, int(auth.get("lease_duration", 0)), renewable=bool(auth.get("renewable")))

    def _self(self, method: str, path: str, doing: str) -> dict[str, Any] | None:
        """Ask about our own token; None means that it is dead."""
        try:
            answer = self._connection.request(method, path)
        except NoAnswer as error:
            raise error_of(error, doing) from None
        outcome = outcome_of(answer)
        if outcome is Outcome.OK:
            return dict(answer.body)
        if outcome is Outcome.ASK_SELF or (outcome is Outcome.FAULT and path.endswith("renew-self")):
            return None
        raise error_of(answer, doing)

    def _log_in(self, monotonic: timedelta) -> None:
        settings = self._settings
        if settings.method == "token":
            msg = "permission denied: the Vault token is missing, dead, or without rights"
            remedy = "If it is dead, log in again: vault login, VAULT_TOKEN (the service: another VB365_VAULT_AUTH)."
            raise StoreDenied(msg, reason="TokenDead", remedy=f"{remedy} If not: {StoreDenied.default_remedy}")
        mount = settings.mount or settings.method
        doing = f"logging in at auth/{mount}"
        try:
            answer = self._connection.request("POST", f"auth/{mount}/login", body=self._proof(), anonymous=True)
        except NoAnswer as error:
            raise error_of(error, doing) from None
        auth = answer.body.get("auth")
        if outcome_of(answer) is Outcome.OK and isinstance(auth, dict) and isinstance(auth.get("client_token"), str):
            self._connection.token = Secret(auth["client_token"])
            self._own = True
            self._plan(monotonic, int(auth.get("lease_duration", 0)), renewable=bool(auth.get("renewable")))
            return
        if outcome_of(answer) is Outcome.UNCLEAR:
            raise error_of(answer, doing)
        msg = f"{doing}: refused: {'; '.join(answer.errors)[:200] or answer.status}"
        remedy = "Check the role, and VB365_VAULT_JWT_FILE. vb365 register mends the role."
        if settings.method == "approle":
            new = "vb365 register --auth approle --new-secret-id makes a new one."
            remedy = f"Check the role id, and VB365_VAULT_SECRET_ID_FILE. {new}"
        raise StoreDenied(msg, reason="LoginRefused", remedy=remedy)

    def _proof(self) -> dict[str, str]:
        settings = self._settings
        if settings.method == "approle":
            return {"role_id": settings.role_id, "secret_id": _file(settings.secret_id_file)}
        jwt = settings.jwt_file or (KUBERNETES_JWT if settings.method == "kubernetes" else None)
        return {"role": settings.role, "jwt": _file(jwt)}

    def _plan(self, monotonic: timedelta, ttl: int, *, renewable: bool) -> None:
        """Renew at half the period. A token that can't be renewed is looked at again before it ends."""
        if ttl <= 0:  # a root token lives for ever
            self._renew_at = monotonic + timedelta(days=1)
            return
        share = ttl / 2 if renewable else ttl * 0.9
        self._renew_at = monotonic + timedelta(seconds=share)


def _file(path: Path | None) -> str:
    if path is None:
        msg = "no file for the login is set"
        raise ConfigurationError(msg)
    try:
        return path.read_text().strip()
    except OSError as error:
        msg = f"{path} can't be read: {error.strerror}"
        raise ConfigurationError(msg, remedy="Mount or write the file; it is read at each login.") from None
