"""One runner a server: begins what its lane lets begin, on bounded threads of its own. A hanging server delays nobody else."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from scheduler.places import placed
from scheduler.ran import Ran, ran_of
from scheduler.timers import Timers
from vault_plugin.core.errors import BackupServerUnavailable
from vault_plugin.core.lanes import IN_FLIGHT, Call, Entry, Lane, Look
from vault_plugin.core.lifecycle.verdicts import THROTTLED
from vault_plugin.core.ports import Clock
from vault_plugin.core.tenants import ServerSpec

__all__ = ["LaneRunner", "LaneState", "Lanes", "Ran", "ran_of"]

log = structlog.get_logger()

#: So many threads of a lane may wait for Vault to take what they got, beside those that call.
OFFERING = 30


Work = Callable[[Entry], Ran]
#: Ask a server whether it answers; raises `BackupServerUnavailable`.
Alive = Callable[[ServerSpec], None]
#: Is told which server answers again after it was away, and when that began whose answer says so.
Recovered = Callable[[str, datetime], None]
#: Ask for `LaneRunner.tick` at this wall time.
Wake = Callable[[str, datetime], None]


class LaneRunner:
    """Thread-safe. `work` is called on the lane's threads, at most once at a time for one name."""

    def __init__(  # noqa: PLR0913 - what a lane needs of its surroundings, by keyword
        self,
        name: str,
        server: ServerSpec,
        clock: Clock,
        *,
        work: Work,
        wake: Wake,
        may_call: Callable[[], bool],
        alive: Alive,
        on_recovery: Recovered,
    ) -> None:
        """Begin with an empty lane. Nothing begins while `may_call()` is false; whoever makes it true ticks."""
        self.name = name
        self._server = server
        self._lane = Lane(server.throttle)
        self._clock = clock
        self._work = work
        self._wake = wake
        self._may_call = may_call
        self._alive = alive
        self._on_recovery = on_recovery
        #: When a tick was asked for last; asking again for a later one would only cost.
        self._awake_at: datetime | None = None
        self._lock = threading.RLock()
        self._pool = ThreadPoolExecutor(IN_FLIGHT + OFFERING, thread_name_prefix=f"lane-{name}")
        self._stopped = False

    def configure(self, server: ServerSpec) -> None:
        """Take over what an admin changed."""
        with self._lock:
            self._server = server
            self._lane.configure(server.throttle)

    def put(self, entry: Entry) -> None:
        """Plan a credential, in place of what was planned for it."""
        with self._lock:
            self._lane.put(entry)
            self._ask(max(entry.due_at, self._clock.now()))

    def drop(self, name: str) -> None:
        """Plan nothing for this credential."""
        with self._lock:
            self._lane.drop(name)

    def remember(self, begun: datetime) -> None:
        """Take a call from a journal into the lane's memory. Its answer's time is unknown: as late as may be."""
        longest = self._server.call_timeout
        with self._lock:
            now = self._clock.monotonic()
            at = now - (self._clock.now() - begun)
            self._lane.remember(min(now, at + longest))

    def tick(self, *, woken: bool = False) -> None:
        """Begin what may begin now, and ask to be woken for the rest. `woken`: this is what was asked for."""
        with self._lock:
            if woken or (self._awake_at is not None and self._awake_at <= self._clock.now()):
                self._awake_at = None
            for call in self._begin():
                self._pool.submit(self._run, call)

    def _begin(self) -> list[Call]:
        """Occupy a place for each call that may begin now."""
        begun: list[Call] = []
        if self._stopped or not self._may_call():
            return begun
        while (call := self._lane.begin(self._clock.now(), self._clock.monotonic())) is not None:
            begun.append(call)
        look = self._lane.look(self._clock.now(), self._clock.monotonic())
        if look is not None:  # on a thread of its own, which a stop doesn't wait for: there is one at a time
            threading.Thread(target=self._look, args=(look, self._server), name=f"look-{self.name}", daemon=True).start()
        wait = self._lane.wake_in(self._clock.now(), self._clock.monotonic())
        if wait is not None:
            self._ask(self._clock.now() + wait)
        return begun

    def _look(self, look: Look, server: ServerSpec) -> None:
        """Ask whether the server answers again, and go on with what that lets begin."""
        trouble: BackupServerUnavailable | None = None
        try:
            self._alive(server)
        except BackupServerUnavailable as error:
            trouble = error
        except Exception:
            log.exception("look_broke", server=self.name)
            trouble = BackupServerUnavailable("nobody knows")
        with self._lock:
            recovered = self._lane.looked(
                look,
                trouble=trouble is not None,
                throttled=trouble is not None and trouble.reason == THROTTLED,
                retry_after=trouble.retry_after if trouble else None,
            )
            if recovered:
                self._tell_recovery(look.begun)
            self.tick()

    def _tell_recovery(self, begun: timedelta) -> None:
        """Have it told, outside the lock, that the server is back: what began so long ago was answered."""
        if not self._stopped:
            self._pool.submit(self._on_recovery, self.name, self._clock.now() - (self._clock.monotonic() - begun))

    def delay(self) -> timedelta:
        """Return about how long a credential that becomes due now would wait."""
        with self._lock:
            return self._lane.delay(self._clock.now(), self._clock.monotonic())

    def state(self) -> "LaneState":
        """Return what operators are told of the lane."""
        with self._lock:
            now, monotonic = self._clock.now(), self._clock.monotonic()
            lane = self._lane
            waiting = lane.waiting(now)
            closed = lane.outage is not None and (waiting > 0 or lane.closed_for(now, monotonic) > timedelta(0))
            return LaneState(waiting, closed, lane.shared(monotonic))

    def stop(self) -> None:
        """Begin nothing more and wait for what runs."""
        with self._lock:
            self._stopped = True
        self._pool.shutdown(wait=True)

    def _ask(self, when: datetime) -> None:
        if self._awake_at is None or when < self._awake_at:
            self._awake_at = when
            self._wake(self.name, when)

    def _run(self, call: Call) -> None:
        """Work, and go on with what its answer lets begin: another thread would have to be woken for it."""
        following: Call | None = call
        while following is not None:
            following = self._worked(following)

    def _worked(self, call: Call) -> Call | None:
        ran, left = Ran(called=True), list[Call]()

        def give_up() -> None:
            """End the call before what it brought is stored."""
            with self._lock:
                if not left:
                    left.append(call)
                    self._ended(call, Ran(called=True))
                    for other in self._begin():
                        self._pool.submit(self._run, other)

        try:
            if call.entry is not None:
                with placed(give_up):
                    ran = self._work(call.entry)
        finally:
            with self._lock:
                if not left:
                    self._ended(call, ran)
        with self._lock:
            begun = self._begin()
            for other in begun[1:]:
                self._pool.submit(self._run, other)
        return begun[0] if begun else None

    def _ended(self, call: Call, ran: Ran) -> None:
        now = self._clock.monotonic()
        if ran.called:
            outcome = {"outage": ran.outage, "throttled": ran.throttled, "sent": ran.sent}
            if self._lane.end(call, now, retry_after=ran.retry_after, **outcome):
                self._tell_recovery(call.begun)
        else:
            self._lane.cancel(call)
        if ran.logged_out:
            self._lane.remember(now)


@dataclass(frozen=True)
class LaneState:
    """How a lane is."""

    waiting: int
    closed: bool
    shared: bool


class Lanes:
    """The runner of each server, made when it is first asked for. Thread-safe."""

    def __init__(
        self,
        servers: Callable[[str], ServerSpec | None],
        clock: Clock,
        timers: Timers,
        may_call: Callable[[], bool],
        alive: Alive,
    ) -> None:
        """`servers` tells how a server is set up, `alive` whether it answers. Nothing begins while `may_call()` is false."""
        self._servers = servers
        self._clock = clock
        self._timers = timers
        self.may_call = may_call
        self._alive = alive
        self._work: Work | None = None
        self.on_recovery: Recovered = lambda _name, _before: None
        self._runners: dict[str, LaneRunner] = {}
        self._lock = threading.Lock()

    def begin(self, work: Work) -> None:
        """Take what is done for an entry whose turn has come."""
        self._work = work

    def of(self, name: str) -> LaneRunner:
        """Return the runner of this server, as the server is set up now."""
        server = self._servers(name)
        with self._lock:
            runner = self._runners.get(name)
            if runner is None:
                shown = server or ServerSpec(url="https://unknown.invalid")
                runner = LaneRunner(
                    name, shown, self._clock, work=self._do, wake=self._wake, may_call=self.may_call,
                    alive=self._alive, on_recovery=self._recovered,
                )  # fmt: skip
                self._runners[name] = runner
            elif server is not None:
                runner.configure(server)
            return runner

    def all(self) -> list[LaneRunner]:
        """Return the runners."""
        with self._lock:
            return list(self._runners.values())

    def tick(self) -> None:
        """Begin whatever may begin, whoever was asked to be woken and wasn't."""
        for runner in self.all():
            runner.tick()

    def stop(self) -> None:
        """Begin no call more and wait for those under way."""
        for runner in self.all():
            runner.stop()

    def _do(self, entry: Entry) -> Ran:
        return self._work(entry) if self._work is not None else Ran(called=False)

    def _recovered(self, name: str, before: datetime) -> None:
        log.info("server_back", server=name)
        try:
            self.on_recovery(name, before)
        except Exception:
            log.exception("recovery_broke", server=name)

    def _wake(self, name: str, when: datetime) -> None:
        self._timers.at(when, f"lane:{name}", self._tick, "lanes", name)

    def _tick(self, name: str) -> None:
        self.of(name).tick(woken=True)
