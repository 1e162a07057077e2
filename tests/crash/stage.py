"""One mount, both simulators, a tenant that may be signed in already, and the victim: what one run plays with."""

import itertools
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.crash.forked import Forked
from tests.crash.record import Line, lines_of
from tests.fakes.clock import FakeClock
from tests.scenarios.stage import Specs
from tests.secrecy import MARKER
from tests.servers.node import VaultServer, clean_environment
from tests.service.deployment import ORGANIZATION, Deployment, now
from tests.simulators.tls import Authority
from vault_plugin.core.credential import Credential
from vault_plugin.core.lifecycle import sign_in as signing_in
from vault_plugin.core.lifecycle.adopt import adopt
from vault_plugin.core.lifecycle.publish import publish
from vault_plugin.core.lifecycle.requests import Asked, handle
from vault_plugin.core.ports import Letter, World
from vault_plugin.core.published import Prompt, Request, Token
from vault_plugin.core.sign_in import SignIn
from vault_plugin.core.tenants import Allowed, ServerSpec, TenantSpec
from vault_plugin.core.timing import Policy
from vault_plugin.microsoft.client import MicrosoftClient
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read
from vault_plugin.vault.login import Login, LoginSettings
from vault_plugin.vault.mailbox import Mailbox
from vault_plugin.vault.store import KvStore
from vault_plugin.veeam.client import VeeamClient

TENANT = "acme"
QUICK = {"VB365_MAILBOX_INTERVAL": "0.2", "VB365_SWEEP_INTERVAL": "1s", "VB365_LIST_INTERVAL": "60s"}
#: So often a consumer reads, in seconds.
REREAD = 0.25


class Stage(Deployment):
    """A deployment whose service is the victim, and whose documents can be read as what they are."""

    def __init__(self, vault: VaultServer, mount: str, authority: Authority, directory: Path) -> None:
        super().__init__(vault, mount, authority, directory)
        self.settings |= QUICK
        self.veeam.refresh_tokens = "family"
        self.record = directory / "record"
        connection = Connection(read({"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token}))
        self.store = KvStore(connection, Login(connection, LoginSettings(method="token")), mount)
        self.mailbox = Mailbox(self.store)
        specs = Specs()
        specs.servers["vbr"] = ServerSpec.model_validate(
            {"url": self.veeam_server.url, "ca_pem": authority.pem, "throttle": "none", "connect_timeout": 1, "read_timeout": 2}
        )
        specs.tenants[TENANT] = TenantSpec(server="vbr", organization=ORGANIZATION, authority=self.microsoft_server.url)
        self.store.write("vbr", specs.servers["vbr"], cas=0)
        self.store.write(TENANT, specs.tenants[TENANT], cas=0)
        self._specs = specs

    def close(self) -> None:
        """Stop everything and leave the mount's server as it was."""
        super().close()
        self.store.connection.close()
        self.vault.api("DELETE", f"sys/mounts/{self.mount}")
        self.vault.api("DELETE", f"sys/auth/approle-{self.mount}")

    def signed_in(self, ago: timedelta) -> None:
        """Sign in and publish with the real verbs, as if it had been so long ago."""
        clock, ids = FakeClock(now() - ago), itertools.count(1)
        world = World(
            store=self.store,
            specs=self._specs,
            microsoft=MicrosoftClient(str(self.ca)),
            veeam=VeeamClient(),
            clock=clock,
            policy=Policy(),
            allowed=Allowed(authorities=frozenset({self.microsoft_server.url})),
            instance="before:0",
            new_id=lambda: f"before-{next(ids)}",
        )
        handle(world, Asked(TENANT, "before", clock.now(), Request(action="sign-in", claimed_by="alice")))
        self.enter()
        clock.advance(self.microsoft.interval)
        signing_in.poll(world, TENANT)
        adopt(world, TENANT)
        publish(world, TENANT, self.credential())

    # --- the victim --------------------------------------------------------------------------------------------------

    def begin(self, last: str = "") -> None:
        """Start the service. It dies at the place `last`."""
        environment = clean_environment() | self.settings
        environment.pop("REQUESTS_CA_BUNDLE", None)
        self.process = Forked(self.record, last, environment, self.directory / "service.log")

    def died(self) -> bool:
        """Tell whether the process is gone; fail if it went by anything but SIGKILL."""
        assert self.process is not None
        status = self.process.poll()
        assert status in (None, -9), f"the service ended by itself with {status}\n{self.log()[-2000:]}"
        return status is not None

    def lines(self) -> Sequence[Line]:
        """Return what was recorded."""
        return lines_of(self.record)

    # --- people ------------------------------------------------------------------------------------------------------

    def post(self, action: Any, request_id: str) -> None:
        """Post a request."""
        self.mailbox.post(Letter(TENANT, request_id), Request(action=action, claimed_by="alice"))

    def enter(self, *, decline: bool = False) -> None:
        """Let the person enter the code that the prompt shows, if it shows one that waits."""
        waiting = {code.user_code for code in self.microsoft.pending()}
        shown = self.read(Prompt) if waiting else None
        if shown is None or shown.user_code not in waiting:
            return
        if decline:
            self.microsoft.decline(shown.user_code)
        else:
            self.microsoft.approve(shown.user_code, f"admin@{ORGANIZATION}")

    # --- what stands -------------------------------------------------------------------------------------------------

    def read(self, model: Any) -> Any:
        """Return the document of this kind, or None."""
        return self.store.read(model, TENANT).document

    def credential(self) -> Credential:
        credential = self.read(Credential)
        assert isinstance(credential, Credential)
        return credential

    def sign_in_record(self) -> SignIn:
        sign_in = self.read(SignIn)
        assert isinstance(sign_in, SignIn)
        return sign_in

    def read_state(self) -> str:
        """Return state and reason, for a message."""
        credential = self.read(Credential)
        return f"{credential.state} {credential.reason}" if credential else "nothing stored"

    def mail_waits(self) -> bool:
        """Tell whether a request is in the mailbox."""
        return bool(self.store.keys(f"requests/{TENANT}"))

    def older_secrets(self) -> list[str]:
        """Return the paths of which an older version than the newest can be read and holds a secret."""
        found = []
        for model in (Credential, SignIn, Token, Prompt):
            path = f"{model.kind}/{TENANT}"
            version = self.store.read(model, TENANT).version
            answer = self.vault.request("GET", f"{self.mount}/data/{path}?version={version - 1}")
            if version > 1 and answer.ok and MARKER in answer.text:
                found.append(path)
        return found


class Consumer(threading.Thread):
    """Reads the token all the time, and asks the server whether it is accepted."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(daemon=True)
        self._stage = stage
        self._stop_it = threading.Event()
        self.reads = 0
        self.troubles: list[str] = []

    def run(self) -> None:
        while not self._stop_it.wait(REREAD):
            self.look()

    def look(self) -> None:
        """Read once."""
        token = self._stage.read(Token)
        if token is None or token.access_token is None:
            return
        self.reads += 1
        at = time.strftime("%X")
        if not self._stage.veeam.accepts(token.access_token.reveal()):
            self.troubles.append(f"{at}: generation {token.generation} isn't accepted")
        if token.expires_at is None or token.expires_at <= now():
            self.troubles.append(f"{at}: generation {token.generation} is expired")

    def stop(self) -> None:
        self._stop_it.set()
        self.join()
