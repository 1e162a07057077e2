"""Keeps every credential planned in its server's lane, and does what is due."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import structlog

from scheduler.called import report
from scheduler.held import DELETED
from scheduler.lanes import Lanes, Ran, ran_of
from scheduler.metrics import Metrics
from scheduler.planned import TURNS, Memory, Mood, Planned
from scheduler.publisher import Publisher
from scheduler.renewals import Renewals
from vault_plugin.core.capacity import demand
from vault_plugin.core.credential import AT_MICROSOFT, AT_VEEAM, Credential, Purpose
from vault_plugin.core.deleted import DeletedCredential
from vault_plugin.core.errors import AuthorizationServerError, ConfigurationError, DocumentMalformed, StoreError
from vault_plugin.core.ladder import keeps_failing
from vault_plugin.core.lanes import Entry
from vault_plugin.core.lifecycle.adopt import adopt
from vault_plugin.core.lifecycle.attempt import Step
from vault_plugin.core.lifecycle.gather import Seen, assuming, credential_of, view_of
from vault_plugin.core.lifecycle.rotate import step
from vault_plugin.core.policy import Do, next_action
from vault_plugin.core.ports import World
from vault_plugin.core.sign_in import SignIn
from vault_plugin.core.states import Reason
from vault_plugin.core.tenants import TenantSpec
from vault_plugin.core.timing import backoff

log = structlog.get_logger()

STORE_RETRY = timedelta(seconds=5)
BROKEN_RETRY = timedelta(minutes=5)
UNJUDGED_RETRY = timedelta(seconds=30)
HELD_RETRY = timedelta(minutes=1)
NO_EXPIRY = timedelta(days=1)
ASK_AGAIN = timedelta(seconds=1)


class Rotations:
    """Thread-safe."""

    def __init__(self, world: World, metrics: Metrics, memory: Memory, lanes: Lanes, publisher: Publisher) -> None:
        """Begin with nothing planned; what the lanes let begin is done here."""
        self._world = world
        self._metrics = metrics
        self._memory = memory
        self._lanes = lanes
        self._publisher = publisher
        self._held = publisher.held
        #: For whom a step is being done.
        self._claimed: set[str] = set()
        self._lock = threading.Lock()
        self._renewals = Renewals(world.clock, lanes.may_call, self._renew, self._put_off)
        lanes.begin(self._work)

    # --- planning ----------------------------------------------------------------------------------------------------

    def load(
        self, name: str, *, assumed: TenantSpec | None = None, remember: bool = False, not_before: datetime | None = None
    ) -> Credential:
        """Read a credential and plan what is next for it.

        `assumed` stands for a tenant's document that is yet to be read: at worst the plan is too early or, for consumers
        slower than assumed, corrected when the document is read. `remember`: its calls go into the lane's memory.

        Raises:
            StoreError: Vault's trouble.
        """
        world = self._world
        credential = credential_of(world.store.read(Credential, name), world.clock.now())
        if isinstance(credential, DeletedCredential):
            self._deleted(name, credential)
            return credential
        self._held.release(f"{Credential.kind}/{name}", DELETED)
        if remember and credential.binding is not None:
            lane = self._lanes.of(credential.binding.server)
            for begun in credential.calls:
                lane.remember(begun)
        self._plan(name, credential, not_before=not_before, assumed=assumed)
        return credential

    def _deleted(self, name: str, credential: DeletedCredential) -> None:
        """Plan nothing for what somebody deleted: it is read again by itself."""
        self._held.deleted(name, credential)
        planned = self._memory.update(name, state=credential.state, next_at=None, demand=0.0, attempt_id="", waits_turn=False)
        if planned.server:
            self._lanes.of(planned.server).drop(name)

    def sign_in_approved(self, name: str, server: str) -> None:
        """Exchange a sign-in's assertion as soon as the lane has a place."""
        self._memory.update(name, server=server, sign_in_waits=True)
        now = self._world.clock.now()
        self._lanes.of(server).put(Entry(name, now, now, urgent=True))

    def poke(self, name: str, *, first: bool = False) -> None:
        """Look at a credential again at once, `first` of those that are due: something that it depends on changed."""
        planned = self._memory.get(name)
        now = self._world.clock.now()
        if planned.server:
            entry = Entry(name, now, now - NO_EXPIRY if first else now, urgent=planned.sign_in_waits)
            self._lanes.of(planned.server).put(entry)
        else:
            self._publisher.tell(name)

    def logged_out(self, name: str) -> None:
        """Note that a session was ended at Veeam outside a lane: it is a call like any other."""
        server = self._memory.get(name).server
        if server:
            self._lanes.of(server).remember(self._world.clock.now())

    def _plan(
        self,
        name: str,
        credential: Credential,
        *,
        not_before: datetime | None = None,
        assumed: TenantSpec | None = None,
    ) -> None:
        world = self._world
        now, monotonic = world.clock.now(), world.clock.monotonic()
        before, planned = self._memory.mood_of(name), self._memory.saw(name, credential, monotonic)
        seen = self._seen(planned)
        view = assuming(world, name, credential, seen, assumed) if assumed else view_of(world, name, credential, seen)
        action = next_action(view, now, world.policy)
        at = now if action.do is Do.ATTEMPT else action.at
        if action.ladder and action.ladder[0] in AT_MICROSOFT:
            at = self._renewals.begin_at(name, now)
        if at is not None and not_before is not None:
            at = max(at, not_before)
        pair = credential.pair
        wanted = demand(pair.life, view.reread, world.policy) if pair and view.tenant else 0.0
        self._memory.update(name, next_at=at, demand=wanted, waits_turn=action.reason in TURNS)
        if not planned.server:
            return
        if before != (mood := self._memory.mood_of(name)):
            self._wake(planned.server, but=name, mood=mood)
        lane, failing = self._lanes.of(planned.server), keeps_failing(credential, view.facts)
        if planned.sign_in_waits:  # whatever else there is to do, it comes after the exchange that a person waits for
            lane.put(Entry(name, not_before or now, now, urgent=not failing, retrying=failing))
        elif at is None:
            lane.drop(name)
        else:
            expires_at = (view.facts.dead_since(credential) or pair.expires_at) if pair else now + NO_EXPIRY
            shares = failing or action.shares
            lane.put(Entry(name, at, expires_at, retrying=shares and action.reason is not Reason.REQUESTED))

    def _wake(self, server: str, *, but: str, mood: Mood) -> None:
        """Look at everybody anew whom the server rejected or failed: it accepts again, or it is probed by turns from now on."""
        now, waiting = self._world.clock.now(), self._memory.waiting(server)
        log.warning("server_rejects_everyone" if mood.rejects else "server_recovered", server=server, waiting=len(waiting))
        for name, planned in waiting:
            if name != but:
                self._lanes.of(server).put(Entry(name, now, planned.expires_at or now))

    # --- working -----------------------------------------------------------------------------------------------------

    def _work(self, entry: Entry) -> Ran:
        """Do one step for one credential, on a thread of its lane."""
        waited = max(self._world.clock.now() - entry.due_at, timedelta(0)).total_seconds()
        ran = self._guarded(entry, self._step)
        if ran.called:
            self._metrics.lane_wait.labels(self._memory.get(entry.name).server).observe(waited)
        return ran

    def _renew(self, entry: Entry) -> None:
        """Do one step at Microsoft, beside the lane."""
        self._guarded(entry, lambda name, planned: step(self._world, name, self._seen(planned), AT_MICROSOFT))

    def _put_off(self, entry: Entry) -> None:
        self._again(entry, self._memory.get(entry.name), STORE_RETRY)

    def _go_to_microsoft(self, name: str, credential: Credential) -> None:
        """Queue a renewal. The pair that works meanwhile stays planned at Veeam."""
        now, pair = self._world.clock.now(), credential.pair
        due_at = view_of(self._world, name, credential, self._seen(self._memory.get(name))).due_at(self._world.policy)
        lane, begin_at = self._lanes.of(self._memory.get(name).server), self._renewals.begin_at(name, now)
        if begin_at > now:
            lane.put(Entry(name, begin_at, pair.expires_at if pair else now + NO_EXPIRY))
            return
        if pair is not None and due_at is not None and due_at > now:
            lane.put(Entry(name, due_at, pair.expires_at))
        self._renewals.put(Entry(name, now, pair.expires_at if pair else now))

    @contextmanager
    def _claim(self, name: str) -> Iterator[bool]:
        """Keep a lane's thread and a renewal's from taking up the same attempt: one instance does so at once."""
        with self._lock:
            free = name not in self._claimed
            self._claimed.add(name)
        try:
            yield free
        finally:
            if free:
                self._claimed.discard(name)

    def _guarded(self, entry: Entry, do: Callable[[str, Planned], Step]) -> Ran:
        """Do a step and what follows from it; whatever goes wrong, the credential is planned again."""
        name, planned, ran = entry.name, self._memory.get(entry.name), Ran(called=False)
        try:
            with self._claim(name) as claimed:
                if not claimed:
                    return ran  # whoever is at it plans it anew
                done = do(name, planned)
            ran = ran_of(done)
            self._after(name, planned, done)
        except (StoreError, ConfigurationError) as error:
            log.warning("step_failed", tenant=name, reason=error.reason, error=str(error), remedy=error.remedy())
            self._again(entry, planned, self._wait_after(name, error))
        except Exception:
            log.exception("step_broke", tenant=name)
            self._again(entry, planned, BROKEN_RETRY)
            return Ran(called=True)  # perhaps: better a place too many than one too few
        return ran

    def _wait_after(self, name: str, error: StoreError | ConfigurationError) -> timedelta:
        """Return how long to wait: not long in an outage, longer for an object that is held back alone."""
        wait = BROKEN_RETRY if isinstance(error, DocumentMalformed) else STORE_RETRY
        if isinstance(error, StoreError) and self._held.takes(error, f"{Credential.kind}/{name}"):
            return max(wait, self._held.left(error.path))
        return wait

    def _seen(self, planned: Planned) -> Seen:
        unchanged_for = self._world.clock.monotonic() - planned.attempt_seen_at
        return Seen(planned.attempt_id, unchanged_for, planned.set_back)

    def _again(self, entry: Entry, planned: Planned, after: timedelta) -> None:
        at = self._world.clock.now() + after
        self._lanes.of(planned.server).put(Entry(entry.name, at, entry.expires_at, entry.urgent, entry.retrying))

    def _step(self, name: str, planned: Planned) -> Step:
        world, seen = self._world, self._seen(planned)
        done = self._adopt(name, seen) if planned.sign_in_waits else None
        if done is not None and done.action.do is not Do.HOLD:
            return done
        if done is not None:  # the exchange has to wait: the pair that stands is looked after meanwhile
            other = step(world, name, seen, AT_VEEAM)
            return done if other.called is None else other
        done = step(world, name, seen, AT_VEEAM)
        if done.action.do is Do.ATTEMPT and done.action.purpose is Purpose.SIGN_IN and done.called is None:
            return adopt(world, name, seen) or done
        return done

    def _adopt(self, name: str, seen: Seen) -> Step | None:
        """Go on with an approved sign-in. One that can't be read alone waits, and the pair that stands is looked after."""
        world, path = self._world, f"{SignIn.kind}/{name}"
        try:
            done = adopt(world, name, seen)
            if done is None or (done.credential.attempt is None and done.called is not None):
                stored = world.store.read(SignIn, name)
                waits = stored.document is not None and stored.document.assertion is not None
                self._memory.update(name, sign_in_waits=waits)
                if stored.gone:
                    self._publisher.saw_gone(name)
                else:
                    self._publisher.saw(name, stored.document)
        except StoreError as error:
            if error.path != path or not self._held.takes(error):
                raise
            return None
        return done

    def _after(self, name: str, planned: Planned, done: Step) -> None:
        """Publish, plan and tell."""
        if isinstance(done.credential, DeletedCredential):
            self._deleted(name, done.credential)
            self._publisher.tell(name)
            return
        if done.elsewhere and done.action.ladder[0] in AT_MICROSOFT:
            self._go_to_microsoft(name, done.credential)
            return
        now = self._world.clock.now()
        credential, error = done.credential, done.error
        if done.called is not None:
            report(self._metrics, name, done)
        # Nothing was called and nothing is to be called elsewhere: whatever the reason, asking again at once brings nothing.
        not_before = now + ASK_AGAIN if done.called is None and not done.elsewhere else None
        if isinstance(error, AuthorizationServerError) and error.retryable:
            pair = credential.pair
            wait = backoff(now, pair.expires_at, pair.life) if pair else UNJUDGED_RETRY
            self._renewals.hold(name, max(wait, error.retry_after or timedelta(0)))
        if done.superseded:
            self.load(name, not_before=now + ASK_AGAIN)
            return
        if credential.generation > planned.published:
            credential = self._publisher.publish(name, credential, done) or credential
        if planned.sign_in_waits and self._memory.get(name).sign_in_waits:
            held = done.action.do is Do.HOLD and done.action.at is None  # until something changes: whoever changes it looks
            wait = HELD_RETRY if held else self._world.policy.exchange_retry_after[len(credential.failures)]
            not_before = done.action.at or now + wait
        self._plan(name, credential, not_before=not_before)
        self._publisher.tell(name, credential if done.called else None)

    def stop(self) -> None:
        """Begin no renewal more and wait for those under way."""
        self._renewals.stop()
