"""A term of leadership with the product's own parts and both simulators, on one thread and a clock that the test moves.

There is no server, no socket and no thread: timers are played, executors do at once what they are given, and the store is in
memory. So a test sees each call that is made, and when.
"""

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import parse_qs

import pytest

from scheduler.health import Health
from scheduler.held import HeldBack
from scheduler.metrics import Metrics
from scheduler.settings import Settings
from scheduler.specs import SpecCache
from scheduler.term import Term
from tests.fakes.clock import FakeClock
from tests.fakes.memory_store import MemoryStore
from tests.fakes.one_thread import AtOnce, PlayedTimers
from tests.scenarios.direct import App, DirectMicrosoft, DirectVeeam
from tests.simulators.http import Request, Response
from tests.simulators.microsoft import MicrosoftSimulator
from tests.simulators.veeam import VeeamSimulator
from vault_plugin.core.credential import Assertion, Credential
from vault_plugin.core.documents import Document
from vault_plugin.core.pair import TokenPair
from vault_plugin.core.ports import Letter, World
from vault_plugin.core.published import Action, Prompt, Token
from vault_plugin.core.published import Request as Wish
from vault_plugin.core.secret import Secret
from vault_plugin.core.states import Reason, State
from vault_plugin.core.tenants import Allowed, ServerSpec, TenantSpec, Throttle, bind
from vault_plugin.core.timing import Policy
from vault_plugin.vault.mailbox import Mailbox, Received

AUTHORITY = "https://login.example"
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


class Letters:
    """Stands for the mailbox: what was posted, in order."""

    def __init__(self) -> None:
        self.posted: list[Received] = []

    def waiting(
        self, besides: Any, known: Callable[[], Sequence[str]] = tuple, taken_over: Any = ()
    ) -> Iterator[tuple[str, list[Letter]]]:
        for name in dict.fromkeys(one.letter.name for one in self.posted if one.letter not in taken_over):
            if name not in besides:
                yield name, [one.letter for one in self.posted if one.letter.name == name and one.letter not in taken_over]

    def oldest(self, letters: Sequence[Letter]) -> list[Received]:
        return [one for one in self.posted if one.letter in letters]

    def kinds(self) -> set[str]:
        return {Wish.kind} if self.posted else set()

    def delete(self, letter: Letter) -> None:
        self.posted = [one for one in self.posted if one.letter != letter]


class PlayedTerm:
    """What a term needs, the term, and verbs to play with. It leads until `leads` is set to false."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.store, self.letters = FakeClock(), MemoryStore(), Letters()
        self.leads = True
        self.microsoft, self.veeam = MicrosoftSimulator(self.clock.others), VeeamSimulator(self.clock.others)
        #: Each request that was made: when, and `microsoft` or `veeam` with the end of its path.
        self.calls: list[tuple[datetime, str]] = []
        #: Told of each request before it is served; what it returns is the answer, if it returns one.
        self.instead: Callable[[str, Request], Response | None] = lambda _call, _request: None
        self._ids = itertools.count(1)
        self.timers = PlayedTimers(self.clock)
        for name, module in list(sys.modules.items()):
            if name.startswith("scheduler.") and name != "scheduler.timers":
                monkeypatch.setattr(module, "ThreadPoolExecutor", AtOnce, raising=False)
        monkeypatch.setattr("scheduler.term.Timers", lambda _: self.timers)
        self.term = self._made()

    def _made(self) -> Term:
        metrics, held = Metrics(), HeldBack(self.store.answers, self.clock)
        specs = SpecCache(self.store, self.clock, held)
        world = World(
            store=self.store,
            specs=specs,
            microsoft=DirectMicrosoft(self.microsoft, self._wire),
            veeam=DirectVeeam(self.veeam, self._wire),
            clock=self.clock,
            policy=Policy(),
            allowed=Allowed(authorities=frozenset({AUTHORITY})),
            instance="me:1",
            new_id=lambda: f"id-{next(self._ids)}",
        )
        mailbox, health = cast("Mailbox", self.letters), Health(metrics, held)
        return Term(Settings(), world, specs, mailbox, health, lambda: self.leads)

    def _wire(self, app: App, request: Request) -> Response:
        whose = "microsoft" if app is self.microsoft else "veeam"
        call = f"{whose} {request.path.rsplit('/', 1)[-1]}"
        self.calls.append((self.clock.now(), call))
        return self.instead(call, request) or app(request)

    # --- what stands before ------------------------------------------------------------------------------------------

    def tenant(self, name: str, **more: Any) -> TenantSpec:
        """Write a tenant of an organization of its own, and its server without a throttle, if there is none yet."""
        if self.stands(ServerSpec, "vbr") is None:
            self.server("vbr", throttle=Throttle(per_second=0, per_minute=0, per_hour=0))
        organization = f"{name}.onmicrosoft.com"
        self.veeam.organizations.add(organization)
        spec = TenantSpec(server="vbr", organization=organization, authority=AUTHORITY, **more)
        self.write(name, spec)
        return spec

    def server(self, name: str, **more: Any) -> None:
        self.write(name, ServerSpec(url=f"https://{name}.example", **more))

    def credential(
        self, name: str, *, age: timedelta = timedelta(0), grant_age: timedelta = timedelta(0), **more: Any
    ) -> Credential:
        """Write a tenant with a pair that Veeam knows, of this age, and a grant whose Microsoft tokens are of that age."""
        spec, now = self.tenant(name), self.clock.now()
        access, refresh = f"simtok-at-{name}", f"simtok-rt-{name}"
        self.veeam.hold(spec.organization, refresh, access=access, until=now - age + HOUR)
        pair = TokenPair(
            access_token=Secret(access), refresh_token=Secret(refresh), issued_at=now - age, expires_at=now - age + HOUR
        )
        grant = Assertion(
            json_text=Secret('{"access_token": "simtok-ms", "refresh_token": "simtok-ms-rt"}'),
            obtained_at=now - grant_age, expires_at=now - grant_age + HOUR, refreshable=True, signed_in_at=now - grant_age,
        )  # fmt: skip
        fields: dict[str, Any] = {
            "since": now - HOUR, "state": State.ACTIVE, "reason": Reason.REFRESHED, "generation": 1, "proved": 1,
            "proved_at": now, "binding": bind(name, spec), "assertion": grant, "pair": pair,
        }  # fmt: skip
        held = Credential(**(fields | more))
        self.write(name, held)
        return held

    def write(self, name: str, document: Document) -> None:
        """Write as another client does."""
        self.store.write(name, document, cas=self.store.read(type(document), name).version)

    # --- verbs -------------------------------------------------------------------------------------------------------

    def lead(self) -> None:
        """Begin the term."""
        self.term.load()
        self.term.begin()
        self.play(timedelta(0))

    def play(self, length: timedelta) -> None:
        self.timers.play(length)

    def again(self) -> None:
        """End the term and begin another, as a new process does: nothing is known but what stands."""
        self.close()
        self.leads = True
        self.term = self._made()
        self.lead()

    def renewals_wait(self, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
        """Let renewals wait for one of Microsoft's threads; return what then runs them, oldest first."""
        waiting: list[Callable[[], object]] = []
        monkeypatch.setattr(
            self.term._rotations._renewals._threads,
            "submit",
            lambda work, *args: waiting.append(lambda: work(*args)),
            raising=True,
        )
        return waiting

    @contextmanager
    def met(self, error: Exception, model: type[Document]) -> Iterator[None]:
        """Let each write of this kind meet an error."""
        write = self.store.write

        def failing(name: str, document: Document, *, cas: int, give_up_after: timedelta | None = None) -> int:
            if isinstance(document, model):
                raise error
            return write(name, document, cas=cas, give_up_after=give_up_after)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(self.store, "write", failing)
            yield

    def ask(self, name: str, action: Action, request_id: str) -> None:
        """Post a request."""
        wish = Wish(action=action, claimed_by="alice")
        self.letters.posted.append(Received(Letter(name, request_id), self.clock.now(), wish))

    def approve(self, name: str) -> None:
        """Let the person sign in with the code that is shown."""
        prompt = self.stands(Prompt, name)
        assert prompt is not None
        self.microsoft.approve(prompt.user_code, f"admin@{name}.onmicrosoft.com")

    # --- what stands, and what was done ------------------------------------------------------------------------------

    def stands(self, model: Any, name: str) -> Any:
        return self.store.read(model, name).document

    def generation(self, name: str) -> int:
        """Return the generation that consumers read."""
        token: Token | None = self.stands(Token, name)
        return token.generation if token else 0

    def made(self, *calls: str) -> list[datetime]:
        """Return when these calls were made."""
        return [at for at, call in self.calls if call in calls]

    def close(self) -> None:
        self.leads = False
        self.term.end()


def form_of(request: Request) -> dict[str, str]:
    """Return the form that was sent."""
    return {key: values[-1] for key, values in parse_qs(request.body.decode()).items()}
