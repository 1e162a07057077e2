"""What every command needs: Vault's settings from flags and environment, the output's form, and the store."""

import getpass
import os
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vault_plugin.core.errors import ConfigurationError, DocumentMalformed, NotFound, StoreDenied, VersionConflict
from vault_plugin.core.names import check_mount, check_name, is_name
from vault_plugin.core.ports import D, Letter, Stored
from vault_plugin.core.published import Action, Request, Status
from vault_plugin.core.secret import Secret
from vault_plugin.core.tenants import ServerSpec, TenantSpec
from vault_plugin.vault import environment, ids
from vault_plugin.vault.answer import Answer, NoAnswer
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.login import Login, LoginSettings, Method
from vault_plugin.vault.mailbox import Mailbox
from vault_plugin.vault.store import KvStore

Form = Literal["table", "json"]
WRITE_PATIENCE = timedelta(seconds=10)
#: So many documents are read at a time.
READERS = 8


@dataclass
class Options:
    """The flags that every command takes; empty means: from the environment."""

    address: str = ""
    namespace: str = ""
    ca_cert: str = ""
    tls_skip_verify: bool = False
    mount: str = ""
    form: str = ""
    #: The names that the command was given, for the remedy of an error.
    tenant: str = ""
    server: str = ""


_options: ContextVar[Options] = ContextVar("options")


def begin(options: Options) -> None:
    """Take the flags that stand before the command."""
    _options.set(options)


def given() -> Options:
    """Return the flags."""
    return _options.get(Options())


def form() -> Form:
    """Return the form of the output.

    Raises:
        ConfigurationError: VB365_FORMAT is something else.
    """
    chosen = given().form or os.environ.get("VB365_FORMAT", "") or "table"
    if chosen not in ("table", "json"):
        raise ConfigurationError(f"format {chosen!r} isn't known", remedy="Use --format table or --format json.")
    return "json" if chosen == "json" else "table"


def mount_path() -> str:
    """Return the mount.

    Raises:
        NameRefused: it could not stand in a policy.
    """
    return check_mount(given().mount or os.environ.get("VB365_MOUNT", "") or "vb365")


def _choose(value: str) -> str:
    if value:
        given().form = value
    return value


Format = Annotated[
    str,
    typer.Option("--format", help="table or json [env: VB365_FORMAT]", callback=_choose, expose_value=True, show_default=False),
]


def remember_tenant(value: str) -> str:
    """Take the name of the tenant that the command is about."""
    given().tenant = value
    return value


def remember_server(value: str) -> str:
    """Take the name of the server that the command is about."""
    given().server = value
    return value


TenantName = Annotated[str, typer.Argument(metavar="NAME", help="the tenant's name", callback=remember_tenant)]
ServerName = Annotated[str, typer.Argument(metavar="NAME", help="the server's name", callback=remember_server)]


class Session:
    """One command's connection to Vault."""

    @cached_property
    def settings(self) -> environment.VaultSettings:
        """Return Vault's settings: flags before ``BAO_*`` before ``VAULT_*`` before ``~/.vault-token``."""
        options = given()
        settings = environment.read(os.environ)
        if options.address:
            named = environment.read({**os.environ, "VAULT_AGENT_ADDR": "", "BAO_AGENT_ADDR": "", "BAO_ADDR": options.address})
            settings = replace(settings, address=named.address, proxies=named.proxies)
        settings = replace(
            settings,
            namespace=environment.namespace_of("--namespace", options.namespace) or settings.namespace,
            ca_cert=options.ca_cert or settings.ca_cert,
            skip_verify=options.tls_skip_verify or settings.skip_verify,
        )
        return settings if settings.token else replace(settings, token=_token_file())

    @cached_property
    def connection(self) -> Connection:
        """Return the connection."""
        return Connection(self.settings)

    @property
    def mount(self) -> str:
        """Return the mount."""
        return mount_path()

    @cached_property
    def store(self) -> KvStore:
        """Return the store, with a token.

        Raises:
            ConfigurationError: there is no token.
        """
        method: Method = "none" if os.environ.get("VB365_VAULT_AUTH") == "none" else "token"
        if self.settings.token is None and method == "token":
            remedy = "Log in first: vault login (or set VAULT_TOKEN; or VB365_VAULT_AUTH=none if an agent adds the token)."
            raise ConfigurationError("no Vault token", remedy=remedy)
        return KvStore(self.connection, Login(self.connection, LoginSettings(method)), self.mount)

    # --- reading and writing -----------------------------------------------------------------------------------------

    def tenant(self, name: str) -> Stored[TenantSpec]:
        """Return the tenant, which must exist."""
        return self._existing(TenantSpec, name, "tenant")

    def server(self, name: str) -> Stored[ServerSpec]:
        """Return the server, which must exist."""
        return self._existing(ServerSpec, name, "server")

    def _existing(self, model: type[D], name: str, what: str) -> Stored[D]:
        stored = self.store.read(model, check_name(name, what))
        if stored.document is None:
            raise NotFound(f"there is no {what} {name}", remedy=f"List them: vb365 {what} list.")
        return stored

    def every(self, model: type[D]) -> list[tuple[str, D | DocumentMalformed]]:
        """Return all documents of a kind by name; in the place of one that can't be read stands the error."""

        def read(name: str) -> tuple[str, D | DocumentMalformed | None]:
            try:
                return name, self.store.read(model, name).document
            except DocumentMalformed as error:
                return name, error

        names = sorted(name for name in self.store.names(model) if is_name(name))
        with ThreadPoolExecutor(READERS) as pool:
            return [(name, found) for name, found in pool.map(read, names) if found is not None]

    def to_write(self, model: type[D], name: str) -> tuple[Stored[D], str]:
        """Return what stands there for a command that writes it, and what is wrong with it: then it counts as nothing.

        Raises:
            DocumentMalformed: a newer version of this program wrote it.
        """
        try:
            return self.store.read(model, name), ""
        except DocumentMalformed as error:
            if error.reason == "NewerSchema":
                raise
            answer = self.store.raw(f"{model.kind}/{name}")
            return Stored(int(answer.data["metadata"]["version"]), None), str(error)

    def save(self, name: str, document: TenantSpec | ServerSpec, version: int) -> None:
        """Write a spec if nobody else did since it was read."""
        try:
            self.store.write(name, document, cas=version, give_up_after=WRITE_PATIENCE)
        except VersionConflict:
            remedy = "Nothing was changed. Look at it and run the command again."
            raise ConfigurationError(f"{document.kind}/{name} was changed by somebody else meanwhile", remedy=remedy) from None

    def delete(self, kind: str, name: str) -> bool:
        """Delete a spec with all its versions; tell whether we may."""
        try:
            self.store.forget(f"{kind}/{name}")
        except StoreDenied:
            return False
        return True

    def post(self, name: str, action: Action, **more: str) -> str:
        """Put a request into the mailbox, in the name of whoever's token this is, and return its id."""
        request_id = ids.request_id(str(self._self.get("entity_id") or ""))
        request = Request(action=action, claimed_by=self._who(), **more)
        Mailbox(self.store).post(Letter(name, request_id), request)
        return request_id

    def status(self, name: str) -> Status | None:
        """Return the tenant's status, or None if the service hasn't written one."""
        return self.store.read(Status, name).document

    @cached_property
    def _self(self) -> Mapping[str, Any]:
        """Return what Vault says of our token: nothing where it may not ask."""
        try:
            answer: Answer = self.connection.auth.token.lookup_self()
        except NoAnswer:
            return {}
        return answer.data

    def _who(self) -> str:
        """Return who asks, as far as the token and this machine say. A claim: the audit log, or the id, holds the proof."""
        local = f"{_user()}@{socket.gethostname()}"
        name = str(self._self.get("display_name") or "")
        return f"{name} ({local})"[:200] if name else local[:200]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _token_file() -> Secret | None:
    """Return the token that ``vault login`` left, if there is one.

    Raises:
        ConfigurationError: it holds something that is no token.
    """
    try:
        path = Path.home() / ".vault-token"
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, RuntimeError):
        return None
    except ValueError:
        raise ConfigurationError(f"{path} isn't text", remedy="Log in again: vault login.") from None
    return environment.token_of(str(path), text)


def pause(seconds: float) -> None:
    """Wait between two looks; Ctrl-C ends it."""
    threading.Event().wait(seconds)
