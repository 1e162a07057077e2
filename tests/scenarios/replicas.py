"""Two replicas of the service on one clock: each dies, loses answers and is overtaken in the middle of what it does."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from tests.fakes.clock import FakeClock
from tests.fakes.memory_store import MemoryStore
from tests.scenarios.direct import App, DirectMicrosoft, DirectVeeam, Unreachable
from tests.scenarios.stage import ORGANIZATION, Specs
from tests.simulators.http import Request, Response
from tests.simulators.microsoft import MicrosoftSimulator
from tests.simulators.veeam import VeeamSimulator
from vault_plugin.core.credential import Credential, Purpose, Rung
from vault_plugin.core.documents import Document
from vault_plugin.core.errors import AuthorizationServerUnavailable, StoreError, StoreUnavailable, VersionConflict
from vault_plugin.core.lifecycle import sign_in as signing_in
from vault_plugin.core.lifecycle.adopt import adopt
from vault_plugin.core.lifecycle.attempt import Step
from vault_plugin.core.lifecycle.gather import Seen, credential_of
from vault_plugin.core.lifecycle.publish import publish
from vault_plugin.core.lifecycle.requests import Asked, given_up, handle
from vault_plugin.core.lifecycle.rotate import step
from vault_plugin.core.policy import Do
from vault_plugin.core.ports import D, Stored, World
from vault_plugin.core.published import Action
from vault_plugin.core.published import Request as Wish
from vault_plugin.core.sign_in import LastPoll, SignIn, SignInState
from vault_plugin.core.states import Reason
from vault_plugin.core.tenants import Allowed, ServerSpec, TenantSpec
from vault_plugin.core.timing import Policy

TENANT = "acme"
#: Longer than any deadline.
LONG = timedelta(minutes=3)
ASKED: tuple[Action, ...] = ("revoke", "rotate")
AUTHORITY = "https://login.example"


class Died(BaseException):
    """The process is gone."""


@dataclass(frozen=True)
class Trouble:
    """What goes wrong at the `at`-th call (a write, or an HTTP call) of a piece of work; 0: nothing.

    `die before`, `die after`; `down`: not sent; `lose`: done, and the answer is lost; `late`: a write that lands when
    nobody expects it any more; `overtaken before`, `overtaken after`: time passes, and the other replica works;
    `revoke after`, `rotate after`: the other replica handles such a request.
    """

    at: int = 0
    what: str = ""


@dataclass
class Shared:
    """What both replicas share: clock, Vault, Microsoft and Veeam."""

    clock: FakeClock = field(default_factory=FakeClock)
    store: MemoryStore = field(default_factory=MemoryStore)
    specs: Specs = field(default_factory=Specs)
    microsoft_down: bool = False
    veeam_down: bool = False
    #: Writes under way that nobody waits for any more.
    late: list[Callable[[], object]] = field(default_factory=list)
    #: Told of each request just before Microsoft or Veeam acts on it.
    watch: Callable[[Request], None] = lambda _: None

    def __post_init__(self) -> None:
        self.microsoft, self.veeam = MicrosoftSimulator(self.clock.now), VeeamSimulator(self.clock.now)
        self.specs.servers["vbr"] = ServerSpec(url="https://vbr.example")
        self.specs.tenants[TENANT] = TenantSpec(server="vbr", organization=ORGANIZATION, authority=AUTHORITY)
        self._ids = itertools.count(1)

    def new_id(self) -> str:
        return f"id-{next(self._ids)}"

    def land(self) -> None:
        """Let every late write arrive; check-and-set decides."""
        late, self.late = self.late, []
        for write in late:
            try:
                write()
            except VersionConflict:
                continue

    def read(self, model: Any) -> Any:
        return self.store.read(model, TENANT).document


class Replica:
    """One process, with its memory: what it has seen of the journal, what it has written, what it knows of polls."""

    def __init__(self, shared: Shared, instance: str) -> None:
        self.shared, self.instance = shared, instance
        self.other: Replica | None = None
        self.deaths = 0
        self._trouble, self._calls = Trouble(), 0
        self._busy = False
        self._begin()

    def _begin(self) -> None:
        """Begin with nothing in memory."""
        shared = self.shared
        self.last: LastPoll | None = None
        self.seen = Seen("", timedelta(0))
        self._seen_at = shared.clock.monotonic()
        self.published = -1
        self.world = World(
            store=Vault(self),
            specs=shared.specs,
            microsoft=DirectMicrosoft(shared.microsoft, self.wire),
            veeam=DirectVeeam(shared.veeam, self.wire),
            clock=shared.clock,
            policy=Policy(),
            allowed=Allowed(authorities=frozenset({AUTHORITY})),
            instance=self.instance,
            new_id=shared.new_id,
        )

    # --- work --------------------------------------------------------------------------------------------------------

    def work(self, what: Callable[[], object], trouble: Trouble = Trouble()) -> None:
        """Do a piece of work with this trouble; Vault's trouble ends it, a death ends the process, which starts again."""
        if self._busy:
            return
        self._busy, self._trouble, self._calls = True, trouble, 0
        try:
            what()
        except StoreError:
            pass
        except Died:
            self.deaths += 1
            self._begin()
        finally:
            self._busy, self._trouble = False, Trouble()

    def rotate(self) -> Step | None:
        """Do what is next for the credential, as `scheduler.rotations` does, and publish."""
        self.look()
        standing = self.shared.read(Credential)
        generation = standing.generation if standing else 0
        done = adopt(self.world, TENANT, self.seen) if self._approved() else None
        if done is None:
            done = step(self.world, TENANT, self.seen)
            if done.action.do is Do.ATTEMPT and done.action.purpose is Purpose.SIGN_IN and done.called is None:
                done = adopt(self.world, TENANT, self.seen) or done
        entry = done.credential.attempt
        assert done.action.reason is not Reason.IN_FLIGHT or (entry and entry.instance != self.instance), "its own attempt"
        won = done.called in (Rung.REFRESH, Rung.EXCHANGE) and done.error is None
        assert not won or self.shared.read(Credential).generation > generation, "a pair was neither stored nor superseded"
        self.publish()
        return done

    def poll(self) -> None:
        self.last = signing_in.poll(self.world, TENANT, self.last).last

    def handle(self, action: Action, request_id: str) -> None:
        wish = Wish(action=action, claimed_by="alice")
        asked = Asked(TENANT, request_id, self.shared.clock.now(), wish)
        try:
            handle(self.world, asked)
        except AuthorizationServerUnavailable as error:  # nobody waits for so long
            given_up(self.world, asked, error)

    def publish(self) -> None:
        held = credential_of(self.world.store.read(Credential, TENANT), self.shared.clock.now())
        if held.generation > self.published:
            publish(self.world, TENANT, held)
            self.published = held.generation

    def look(self) -> None:
        """Watch the journal on this replica's own clock."""
        credential = self.shared.read(Credential)
        attempt = credential.attempt if credential else None
        now = self.shared.clock.monotonic()
        if attempt is None or attempt.id != self.seen.attempt_id:
            self._seen_at = now
        self.seen = Seen(attempt.id if attempt else "", now - self._seen_at)

    def _approved(self) -> bool:
        sign_in = self.shared.read(SignIn)
        return sign_in is not None and sign_in.state is SignInState.APPROVED

    # --- trouble -----------------------------------------------------------------------------------------------------

    def trouble(self) -> str:
        """Count a call; return what goes wrong with it."""
        self._calls += 1
        return self._trouble.what if self._calls == self._trouble.at else ""

    def overtaken(self, after: timedelta) -> None:
        """Let the other replica watch, and then work for as long as it has something to do at once."""
        other = self.other
        if other is None:
            return
        other.work(other.rotate)
        self.shared.clock.advance(after)
        for _ in range(5):
            other.work(other.rotate)

    def meanwhile(self, what: str, when: str) -> None:
        """Let happen what the trouble says."""
        if what == f"die {when}":
            raise Died
        if what == f"overtaken {when}":
            self.overtaken(LONG)
        for action in ASKED:
            if what == f"{action} {when}" and self.other is not None:
                self.other.work(partial(self.other.handle, action, self.shared.new_id()))

    def wire(self, app: App, request: Request) -> Response:
        """Send a request to a simulator, as far as the trouble lets it come."""
        what = self.trouble()
        down = self.shared.veeam_down if app is self.shared.veeam else self.shared.microsoft_down
        if what == "overtaken before":
            self.overtaken(timedelta(seconds=4))  # within the deadline: beyond it nothing helps (DESIGN 5.3)
        elif what == "die before":
            raise Died
        if down or what == "down":
            raise Unreachable(sent=False)
        self.shared.watch(request)
        response = app(request)
        self.meanwhile(what, "after")
        if what == "lose":
            raise Unreachable(sent=True)
        return response


class Vault:
    """Implements `vault_plugin.core.ports.Store` for one replica: the shared store, with its trouble in between."""

    def __init__(self, replica: Replica) -> None:
        self._replica, self._store = replica, replica.shared.store

    def read(self, model: type[D], name: str, *, patient: bool = False) -> Stored[D]:
        return self._store.read(model, name)

    def write(self, name: str, document: Document, *, cas: int, give_up_after: timedelta | None = None) -> int:
        what = self._replica.trouble()
        self._replica.meanwhile(what, "before")
        unclear = what in ("down", "lose", "late") and give_up_after is not None
        if unclear and what == "late":
            self._replica.shared.late.append(lambda: self._store.write(name, document, cas=cas))
        if unclear and what != "lose":
            raise StoreUnavailable("no answer")
        version = self._store.write(name, document, cas=cas)
        self._replica.meanwhile(what, "after")
        if unclear:
            raise StoreUnavailable("no answer")
        return version

    def answers(self) -> bool:
        return True

    def names(self, model: type[Document]) -> Sequence[str]:
        return self._store.names(model)

    def destroy(self, model: type[Document], name: str, versions: Sequence[int]) -> None:
        if self._replica.trouble().startswith("die"):
            raise Died
        self._store.destroy(model, name, versions)
