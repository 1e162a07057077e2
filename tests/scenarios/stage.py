"""The core with real clients and real HTTPS against both simulators, a store in memory and a clock that the test moves."""

import itertools
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tests.fakes.clock import FakeClock
from tests.fakes.memory_store import MemoryStore
from tests.secrecy import MARKER
from tests.simulators.http import Server
from tests.simulators.microsoft import MicrosoftSimulator
from tests.simulators.tls import Authority
from tests.simulators.veeam import VeeamSimulator
from vault_plugin.core.credential import Credential
from vault_plugin.core.facts import UNKNOWN, ServerFacts
from vault_plugin.core.lifecycle import sign_in as signing_in
from vault_plugin.core.lifecycle.adopt import adopt
from vault_plugin.core.lifecycle.attempt import Step
from vault_plugin.core.lifecycle.prove import prove
from vault_plugin.core.lifecycle.publish import publish
from vault_plugin.core.lifecycle.requests import Asked, handle
from vault_plugin.core.lifecycle.rotate import step
from vault_plugin.core.lifecycle.status import seen, write_status
from vault_plugin.core.ports import World
from vault_plugin.core.published import Prompt, Request, Status, Token
from vault_plugin.core.sign_in import LastPoll, SignIn, SignInState
from vault_plugin.core.tenants import Allowed, ServerSpec, TenantSpec
from vault_plugin.core.timing import Policy
from vault_plugin.microsoft.client import MicrosoftClient
from vault_plugin.veeam.client import VeeamClient

ORGANIZATION = "contoso.onmicrosoft.com"


def goes_on(done: Step) -> bool:
    """Tell whether the ladder has another rung that can be tried at once."""
    attempt = done.credential.attempt
    return attempt is not None and attempt.climbed and not done.superseded


class Specs:
    """Implements `vault_plugin.core.ports.Specs` with dictionaries."""

    def __init__(self) -> None:
        self.tenants: dict[str, TenantSpec] = {}
        self.servers: dict[str, ServerSpec] = {}

    def tenant(self, name: str) -> TenantSpec | None:
        return self.tenants.get(name)

    def server(self, name: str) -> ServerSpec | None:
        return self.servers.get(name)

    def problem(self, name: str) -> str:
        return ""


class Scene:
    """One tenant `acme` on server `vbr`, and verbs to play with."""

    def __init__(self, authority: Authority) -> None:
        self.clock = FakeClock()
        self.microsoft, self.veeam = MicrosoftSimulator(self.clock.others), VeeamSimulator(self.clock.others)
        self.microsoft_server = Server(self.microsoft, authority.shared_context)
        self.veeam_server = Server(self.veeam, authority.shared_context)
        self.microsoft.base_url = self.microsoft_server.url
        self.specs = Specs()
        self.specs.servers["vbr"] = ServerSpec(url=self.veeam_server.url, ca_pem=authority.pem)
        self.specs.tenants["acme"] = TenantSpec(server="vbr", organization=ORGANIZATION, authority=self.microsoft_server.url)
        self.store = MemoryStore()
        #: When the server accepted something of another tenant last.
        self.others_accepted_at: datetime | None = None
        #: What is known of the newest poll.
        self.last: LastPoll | None = None
        ids = itertools.count(1)
        self.world = World(
            store=self.store,
            specs=self.specs,
            microsoft=MicrosoftClient(str(authority.ca_file)),
            veeam=VeeamClient(),
            clock=self.clock,
            policy=Policy(),
            allowed=Allowed(authorities=frozenset({self.microsoft_server.url})),
            instance="host:1",
            new_id=lambda: f"id-{next(ids)}",
            facts=self.facts,
        )

    def facts(self, server: str) -> ServerFacts:
        """Fold what every credential of this server tells, and what it accepted of tenants that aren't played."""
        facts = replace(UNKNOWN, accepted_at=self.others_accepted_at)
        for name in self.store.names(Credential):
            held = self.store.read(Credential, name).document
            if held is not None and held.binding is not None and held.binding.server == server:
                facts = facts.learn(name, held)
        return facts

    def close(self) -> None:
        self.microsoft_server.close()
        self.veeam_server.close()

    def replica(self, instance: str = "other:1") -> World:
        """Return the world as another replica sees it."""
        return replace(self.world, instance=instance, versions={})

    # --- verbs -------------------------------------------------------------------------------------------------------

    def ask(self, action: Any, request_id: str = "r1", **more: Any) -> str:
        """Post a request and have it handled; return its outcome."""
        request = Request(action=action, claimed_by="alice", **more)
        return handle(self.world, Asked("acme", request_id, self.clock.now(), request)).outcome

    def approve(self) -> None:
        """Let the person sign in with the code that is shown."""
        self.microsoft.approve(self.document(Prompt).user_code, f"admin@{ORGANIZATION}")

    def poll(self, *, known: bool = True) -> signing_in.Polled:
        """Poll at the next time that is allowed; not `known`: as who knows nothing of the poll before."""
        sign_in, last = self.document(SignIn), self.last if known else None
        if sign_in.state is SignInState.PENDING:
            self.clock.advance(signing_in.poll_at(self.world, sign_in, last, self.clock.now()) - self.clock.now())
        polled = signing_in.poll(self.world, "acme", last)
        self.last = polled.last
        return polled

    def complete(self) -> Step | None:
        return adopt(self.world, "acme")

    def approved(self, request_id: str = "r1") -> None:
        """Play a sign-in up to Microsoft's approval."""
        assert self.ask("sign-in", request_id) == "CodeShown"
        self.approve()
        self.poll()

    def signed_in(self) -> Credential:
        """Play a whole sign-in, and publish."""
        self.approved()
        self.complete()
        self.prove()
        self.publish()
        return self.credential()

    def publish(self) -> bool:
        return publish(self.world, "acme", self.credential())

    def prove(self, done: Step | None = None) -> Credential:
        return prove(self.world, "acme", self.credential(), done)

    def step(self, world: World | None = None) -> Step:
        return step(world or self.world, "acme")

    def rotate(self) -> Step:
        """Go up the ladder as far as it goes at once."""
        done = self.step()
        while goes_on(done):
            done = self.step()
        return done

    def refused_again(self) -> Step:
        """Have the refresh token refused once more, later, by a server that has accepted another tenant meanwhile."""
        self.clock.advance(self.world.policy.confirm_refusal_after)
        self.others_accepted_at = self.clock.now()
        self.clock.advance(timedelta(minutes=16))
        return self.rotate()

    def until_due(self) -> None:
        """Let time pass until the pair is due."""
        pair = self.credential().pair
        assert pair is not None
        self.clock.advance(pair.life * 0.68)

    # --- what stands -------------------------------------------------------------------------------------------------

    def document(self, model: Any) -> Any:
        return self.store.read(model, "acme").document

    def credential(self) -> Credential:
        document = self.store.read(Credential, "acme").document
        assert document is not None
        return document

    def token(self) -> str:
        """Return the access token that consumers read."""
        token = self.store.read(Token, "acme").document
        assert token is not None
        assert token.access_token is not None
        return token.access_token.reveal()

    def status(self) -> Status:
        """Write the status and return it; it may hold no token and no code."""
        credential = self.store.read(Credential, "acme").document or Credential(since=self.clock.now())
        write_status(self.world, "acme", credential, seen(self.document(SignIn)))
        status = self.store.read(Status, "acme").document
        assert status is not None
        text = status.model_dump_json(context={"reveal_secrets": True})
        assert MARKER not in text
        prompt = self.document(Prompt)
        assert not (prompt and prompt.user_code) or prompt.user_code not in text
        return status

    def presented_twice_with_success(self) -> list[str]:
        """Return the refresh tokens (hashed) that were presented again after Veeam had accepted them."""
        good = Counter(p.sha256 for p in self.veeam.presented if p.grant == "refresh_token" and p.outcome == "ok")
        return [sha for sha, count in good.items() if count > 1]

    def presented_again(self) -> list[str]:
        """Return the refresh tokens (hashed) that Veeam has seen more than once."""
        seen = Counter(p.sha256 for p in self.veeam.presented if p.grant == "refresh_token")
        return [sha for sha, count in seen.items() if count > 1]
