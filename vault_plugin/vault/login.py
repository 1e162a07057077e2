"""The service's own Vault token: got by token, AppRole, Kubernetes or JWT auth, renewed at half its period.

Files (secret id, JWT) are read anew at each login: Kubernetes rotates them. Only a token that we obtained is ever revoked.

A *definite* refusal of a login isn't repeated before the file has changed: with AppRole each try counts towards Vault's user
lockout, which five of them set off for every replica, and which only 15 minutes without one reset. So AppRole tries again
after two hours, and Kubernetes and JWT, which no lockout binds, after 30 seconds. And a login that changes nothing proves
that rights are missing, not that the token is dead.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from vault_plugin.core.errors import ConfigurationError, StoreDenied
from vault_plugin.core.secret import Secret
from vault_plugin.vault import refusals
from vault_plugin.vault.answer import Answer, NoAnswer
from vault_plugin.vault.answers import Outcome, definite, error_of, outcome_of
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import printing
from vault_plugin.vault.pacing import answered

Method = Literal["token", "approle", "kubernetes", "jwt", "none"]

KUBERNETES_JWT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
#: A refusal is repeated after so long, though the file is the same.
REPEATED_AFTER = {"approle": timedelta(hours=2), "kubernetes": timedelta(seconds=30), "jwt": timedelta(seconds=30)}
#: And one that reached no role (no such namespace or mount) after so long: no lockout counts it.
NO_ROLE_AFTER = timedelta(seconds=30)
#: A login whose token isn't known to live either changed nothing: it isn't repeated before so long.
REPEATED_USELESS_AFTER = timedelta(seconds=60)


@dataclass(frozen=True)
class LoginSettings:
    """How to log in. `mount` defaults to the method's name. `none`: an agent or proxy before Vault adds the token."""

    method: Method = "token"
    mount: str = ""
    role: str = ""
    role_id: str = ""
    secret_id_file: Path | None = None
    jwt_file: Path | None = None

    @property
    def at(self) -> str:
        """Return where the method is mounted."""
        return self.mount or self.method

    @property
    def file(self) -> Path | None:
        """Return the file that proves who we are."""
        if self.method == "approle":
            return self.secret_id_file
        return self.jwt_file or (KUBERNETES_JWT if self.method == "kubernetes" else None)


@dataclass(frozen=True)
class _Refused:
    """A definite refusal: of what, until when (monotonic) it isn't repeated, and what was said of it."""

    proof: Secret
    until: timedelta
    error: StoreDenied


class Login:
    """Keeps a live token in the connection. Thread-safe; waits for nothing but Vault's answer."""

    def __init__(self, connection: Connection, settings: LoginSettings) -> None:
        """Take the connection whose token is kept alive."""
        self._connection = connection
        self._settings = settings
        self._own = False
        self._renew_at: timedelta | None = None
        #: When a login last brought a token for which ``lookup-self`` is denied as for the one before: rights are missing.
        self._useless_at: timedelta | None = None
        self._refused: _Refused | None = None
        self._lock = threading.Lock()

    def ensure(self, monotonic: timedelta) -> None:
        """Log in if there is no token, renew it if half its period is over, log in again if it is dead.

        Raises:
            StoreDenied: Vault refuses what we have; the remedy says what to check.
            StoreUnavailable: try again.
            ConfigurationError: a file is missing.
        """
        with self._lock:
            if self._connection.token is None and self._settings.method != "none":
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
        return self._self(self._connection.auth.token.lookup_self, "looking at our own token") is not None

    def replaced(self, monotonic: timedelta, denied: Secret | None) -> Literal["", "by another", "anew"]:
        """Tell how a token that was denied was replaced, by another thread or by a login of this one: the request may go again.

        Else rights are missing: the token lives, or the login before it changed nothing. Raises as `ensure`.
        """
        if self._connection.token != denied:
            return "by another"  # another thread has logged in meanwhile
        if self.alive():
            return ""
        with self._lock:
            if self._connection.token != denied:
                return "by another"
            if self._useless_at is not None and monotonic - self._useless_at < REPEATED_USELESS_AFTER:
                return ""
            self._log_in(monotonic)
            self._useless_at = None if self.alive() else monotonic
            return "anew"

    def doubt(self) -> str:
        """Return what to set if the file's token isn't for whom `vb365 register` makes roles, as far as can be seen here."""
        if self._settings.method not in ("kubernetes", "jwt"):
            return ""
        try:
            proof = Secret(_file(self._settings.file))
        except ConfigurationError:
            return ""
        fits = refusals.AUDIENCE in refusals.audiences(proof)
        return "" if fits else refusals.shown_to(self._settings.method, proof)

    def revoke(self) -> None:
        """Revoke the token if we obtained it; best effort."""
        with self._lock:
            if self._own and self._connection.token is not None:
                if not self._end(self._connection.token):
                    return
                self._connection.token = None

    def _end(self, token: Secret) -> bool:
        """Revoke a token; tell whether Vault answered."""
        try:
            self._connection.post("/v1/auth/token/revoke-self", token=token)
        except NoAnswer:
            return False
        return True

    def _look_up(self, monotonic: timedelta) -> None:
        answer = self._self(self._connection.auth.token.lookup_self, "looking at our own token")
        if answer is None:
            self._log_in(monotonic)
            return
        self._plan(monotonic, answer.data.get("ttl"), renewable=answer.data.get("renewable"))

    def _renew(self, monotonic: timedelta) -> None:
        if self._settings.method == "none":
            self._look_up(monotonic)
            return
        answer = self._self(self._connection.auth.token.renew_self, "renewing our token", refused_is_dead=True)
        if answer is None:
            self._log_in(monotonic)
            return
        auth = answer.body.get("auth") or {}
        self._plan(monotonic, auth.get("lease_duration"), renewable=auth.get("renewable"))

    def _self(self, ask: Callable[[], Answer], doing: str, *, refused_is_dead: bool = False) -> Answer | None:
        """Ask about our own token; None means that it is dead."""
        answer = answered(ask, doing, self._connection.patience)
        outcome = outcome_of(answer)
        if outcome is Outcome.OK:
            return answer
        if outcome is Outcome.ASK_SELF or (outcome is Outcome.FAULT and refused_is_dead):
            return None
        raise error_of(answer, doing)

    def _log_in(self, monotonic: timedelta) -> None:
        settings, connection = self._settings, self._connection
        if settings.method in ("token", "none"):
            raise refusals.without_login(settings.method)
        proof = Secret(_file(settings.file))
        refused = self._refused
        if refused and refused.proof == proof and monotonic < refused.until:
            raise refused.error
        doing = f"logging in at auth/{settings.at}"
        answer = answered(lambda: self._sent(proof), doing, connection.patience)
        auth = answer.body.get("auth")
        if outcome_of(answer) is Outcome.OK and isinstance(auth, dict) and isinstance(auth.get("client_token"), str):
            replaced, own = connection.token, self._own
            connection.token = Secret(auth["client_token"])
            self._own, self._refused = True, None
            self._plan(monotonic, auth.get("lease_duration"), renewable=auth.get("renewable"))
            if replaced is not None and own:
                self._end(replaced)  # it may have lacked rights only: it must not live on
            return
        if definite(answer):
            after = NO_ROLE_AFTER if outcome_of(answer) is Outcome.MISSING else REPEATED_AFTER[settings.method]
            error = refusals.of_login(answer, settings.method, settings.at, settings.role, proof)
            self._refused = _Refused(proof, monotonic + after, error)
            raise error
        raise error_of(answer, doing)

    def _sent(self, proof: Secret) -> Answer:
        """Send the login; hvac keeps nothing of it."""
        settings, auth = self._settings, self._connection.auth
        answer: Answer
        if settings.method == "approle":
            answer = auth.approle.login(settings.role_id, proof.reveal(), use_token=False, mount_point=settings.at)
        elif settings.method == "kubernetes":
            answer = auth.kubernetes.login(settings.role, proof.reveal(), use_token=False, mount_point=settings.at)
        else:
            answer = auth.jwt.jwt_login(settings.role, proof.reveal(), use_token=False, path=settings.at)
        return answer

    def _plan(self, monotonic: timedelta, ttl: Any, *, renewable: Any) -> None:  # noqa: ANN401 - whatever Vault says
        """Renew at half the period. A token that can't be renewed is looked at again before it ends."""
        seconds = ttl if isinstance(ttl, int) else 0
        if seconds <= 0:  # a root token lives for ever
            self._renew_at = monotonic + timedelta(days=1)
            return
        share = seconds / 2 if renewable else seconds * 0.9
        self._renew_at = monotonic + timedelta(seconds=share)


def _file(path: Path | None) -> str:
    if path is None:
        msg = "no file for the login is set"
        raise ConfigurationError(msg)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        msg = f"{path} can't be read: {error.strerror}"
        raise ConfigurationError(msg, remedy="Mount or write the file; it is read at each login.") from None
    except ValueError:
        msg = f"{path} isn't text"
        raise ConfigurationError(msg, remedy="Write the file again; it is read at each login.") from None
    if not text.strip():
        msg = f"{path} is empty"
        raise ConfigurationError(msg, remedy="Write the file again; it is read at each login.")
    return printing(str(path), text)
