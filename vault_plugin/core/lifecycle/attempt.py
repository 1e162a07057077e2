"""One attempt at a rotation, in two writes and one irreversible call between them (DESIGN 5.3).

A verdict on one rung is stored before the next rung is tried, so going on with the ladder is the same as taking up an
attempt after a crash. The rules:

* the first write is the lock, the proof that Vault takes writes, and the journal entry; it may be given up;
* just before the call, wall and boot-time clock must leave room before the deadline, else nothing is sent;
* what came back is offered until it is stored or superseded, past the deadline and whatever happened meanwhile;
* superseded means that a higher generation, or `revoked`, stands in the store; only then is a pair dropped, and it is
  logged out only if our own exchange began its session and another one is stored: nobody was ever shown anything of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from vault_plugin.core.credential import (
    AT_VEEAM,
    Assertion,
    Attempt,
    Credential,
    Failure,
    Purpose,
    Rung,
)
from vault_plugin.core.deleted import is_deleted
from vault_plugin.core.errors import (
    AuthorizationServerError,
    BackupServerError,
    Error,
    StoreUnavailable,
)
from vault_plugin.core.lifecycle.gather import facts_of
from vault_plugin.core.lifecycle.grant import Grant, adopted
from vault_plugin.core.lifecycle.latest import offer
from vault_plugin.core.lifecycle.verdicts import VERDICTS, WHEN_WELL, buries, confirmed, failure_of, judge, looked_at
from vault_plugin.core.pair import TokenPair
from vault_plugin.core.policy import Action
from vault_plugin.core.ports import TokenAnswer, World
from vault_plugin.core.states import Event, Reason, State
from vault_plugin.core.tenants import ServerSpec
from vault_plugin.core.timing import call_timeout

Change = Callable[[Credential], Credential | None]

ACCEPTED_BY = {Rung.REFRESH: Reason.REFRESHED, Rung.EXCHANGE: Reason.REEXCHANGED}


@dataclass(frozen=True)
class Step:
    """What a step did: the decision, the credential that stands now, and the error that was met, if one was."""

    action: Action
    credential: Credential
    error: Error | None = None
    #: The rung that was tried, if a call was made.
    called: Rung | None = None
    #: A pair was got but something newer stood in the store.
    superseded: bool = False
    #: The rung that is next can't be called from here.
    elsewhere: bool = False
    #: The superseded pair's session was ended at Veeam.
    logged_out: bool = False
    #: A new session was begun where the refresh of the one before was refused, in this attempt or in an earlier one.
    refused: bool = False
    #: The pair that stood before the attempt.
    before: TokenPair | None = None


@dataclass(frozen=True)
class Run:
    """An attempt that this process began: what stands in the store, and until when it may call."""

    name: str
    version: int
    credential: Credential
    #: The pair as it stood before the entry was written.
    before: TokenPair | None
    attempt: Attempt
    grant: Grant
    server: ServerSpec
    timeout: timedelta
    boot_deadline: timedelta


def attempt(world: World, name: str, version: int, credential: Credential, action: Action, grant: Grant) -> Step:
    """Record the attempt, make one call, store what came of it."""
    run = _begin(world, name, version, credential, action, grant)
    if not _in_time(world, run):
        error = StoreUnavailable("the attempt was recorded too late to call; it is taken up again", reason="TooLate")
        return Step(action, run.credential, error)
    sent_at = world.clock.now()
    try:
        answer = _call(world, run, sent_at)
    except (AuthorizationServerError, BackupServerError) as error:
        return _failed(world, run, action, error)
    if isinstance(answer, Assertion):
        return _renewed(world, run, action, answer)
    return _paired(world, run, action, answer, sent_at)


def _begin(world: World, name: str, version: int, credential: Credential, action: Action, grant: Grant) -> Run:
    """Write the journal entry: a new attempt, or the take-over of the recorded one under an id of its own."""
    now = world.clock.now()
    old = credential.attempt
    server = world.specs.server(grant.binding.server)
    if server is None:
        msg = f"servers/{grant.binding.server} vanished"
        raise StoreUnavailable(msg)
    to_veeam = action.ladder[0] is not Rung.REASSERT
    expires_at = credential.pair.expires_at if credential.pair else None
    configured = server.call_timeout if to_veeam else world.policy.microsoft_timeout
    timeout = call_timeout(configured, expires_at, now) if to_veeam else configured
    lease = world.policy.lease(timeout)
    entry = Attempt(
        id=world.new_id(),
        instance=world.instance,
        purpose=action.purpose,
        ladder=action.ladder,
        generation=credential.generation,
        session=credential.session,
        before=old.before if old else credential.state,
        before_reason=old.before_reason if old else credential.reason,
        before_since=old.before_since if old else credential.since,
        started_at=now,
        deadline=now + lease,
        renewed=old.renewed if old else False,
        rejections=old.rejections if old else (),
    )
    boot_deadline = world.clock.boottime() + lease
    started = credential.started(entry, now, veeam_call=to_veeam)
    version = world.store.write(name, started, cas=version, give_up_after=lease - timeout)
    return Run(name, version, started, credential.pair, entry, grant, server, timeout, boot_deadline)


def _in_time(world: World, run: Run) -> bool:
    wall = world.clock.now() + run.timeout <= run.attempt.deadline
    return wall and world.clock.boottime() + run.timeout <= run.boot_deadline


def _call(world: World, run: Run, now: datetime) -> TokenAnswer | Assertion:
    pair, assertion = run.credential.pair, run.grant.assertion
    rung = run.attempt.rung
    if rung is Rung.REFRESH and pair is not None:
        return world.veeam.refresh(run.server, pair.refresh_token, run.timeout)
    if rung is Rung.EXCHANGE and assertion is not None:
        return world.veeam.exchange(run.server, run.grant.binding.organization, assertion.json_text, run.timeout)
    if rung is Rung.REASSERT and assertion is not None:
        return world.microsoft.refresh(run.grant.binding, assertion, now)
    msg = f"{rung} without what it needs"
    raise AssertionError(msg)


def _paired(world: World, run: Run, action: Action, answer: TokenAnswer, sent_at: datetime) -> Step:
    """Offer the pair until it is stored or superseded."""
    pair = TokenPair(
        access_token=answer.access_token,
        refresh_token=answer.refresh_token,
        token_type=answer.token_type,
        issued_at=sent_at,
        expires_at=sent_at + answer.expires_in,
    )
    entry = run.attempt
    rung = entry.rung
    session = entry.session if rung is Rung.REFRESH else entry.id
    signed_in = entry.purpose is Purpose.SIGN_IN
    reason = Reason.SIGNED_IN if signed_in else Reason.REASSERTED if entry.renewed else ACCEPTED_BY[rung]

    def change(current: Credential) -> Credential | None:
        current = _known(run, current)
        if current.state is State.REVOKED or current.generation > entry.generation:
            return None
        if signed_in:
            current = adopted(current, run.grant)
        return current.accepted(pair, session=session, reason=reason, now=world.clock.now())

    stands, stored = offer(world, run.name, run.version, run.credential, change)
    if stored:
        return Step(action, stands, called=rung, refused=_began_anew(run), before=run.before)
    useless = _useless(rung, session, stands)
    if useless:
        _logout(world, run, pair)
    return Step(action, stands, called=rung, superseded=True, logged_out=useless)


def _began_anew(run: Run) -> bool:
    """Tell whether this is a new session at the server that had refused the refresh of the one before."""
    pair, bound = run.before, run.credential.binding
    refused = pair is not None and pair.refused_at is not None and run.attempt.rung is not Rung.REFRESH
    return refused and bound is not None and bound.server == run.grant.binding.server


def _known(run: Run, current: Credential) -> Credential:
    """Return what stands; where that was deleted, what this process knew last: nobody else has what it got meanwhile."""
    return run.credential if is_deleted(current) else current


def _useless(rung: Rung, session: str, current: Credential) -> bool:
    """Tell whether nobody can hold anything of a superseded pair's session: an exchange of ours began it, and it isn't stored.

    A refresh's session is the one that consumers' tokens are of, though another may be stored by now.
    """
    return rung is not Rung.REFRESH and session != current.session


def _logout(world: World, run: Run, pair: TokenPair) -> None:
    """End the session of a superseded pair, best effort: it expires by itself."""
    try:
        world.veeam.logout(run.server, pair.access_token)
    except BackupServerError:
        return


def _renewed(world: World, run: Run, action: Action, assertion: Assertion) -> Step:
    """Offer the renewed assertion; an exchange is next, unless it was only to keep the grant alive."""
    entry = run.attempt

    def change(current: Credential) -> Credential | None:
        current = _known(run, current)
        held = current.assertion
        newer = held is not None and held != run.grant.assertion and held.obtained_at > assertion.obtained_at
        if current.state is State.REVOKED or current.sign_in_id != run.grant.sign_in_id or newer:
            return None
        current = current.replace(assertion=assertion)
        if current.attempt is None or current.attempt.id != entry.id:
            return current
        if entry.purpose is Purpose.KEEP_ALIVE:
            return current.concluded(Event.DEFERRED, Reason.KEPT_ALIVE, None, world.clock.now())
        rest = tuple(rung for rung in entry.ladder[1:] if rung is Rung.REFRESH)
        onward = entry.replace(ladder=(Rung.EXCHANGE, *rest), renewed=True, climbed=True)
        return current.replace(attempt=onward)

    return _settled(world, run, action, change)


def _failed(world: World, run: Run, action: Action, error: AuthorizationServerError | BackupServerError) -> Step:
    """Store what the error means: the next rung, a verdict, or nothing."""
    now = world.clock.now()
    entry = run.attempt
    failure = failure_of(error, entry.rung, now)
    unsure = bool(failure.verdict) and not confirmed(error, run.credential, now, world.policy)
    unjudged = {"verdict": "", "answered": True} if unsure else {}
    failure = failure.replace(climbed=bool(entry.rejections), **unjudged)

    def change(current: Credential) -> Credential | None:
        if current.attempt is None or current.attempt.id != entry.id:
            return None
        if not failure.verdict:
            passing = unsure or (error.retryable and error.remedy() == error.default_remedy)
            stands = current if looked_at(error) else current.not_presented(run.before)
            return stands.deferred(failure, Reason.RETRYING, now, passing=passing)
        return _rejected(world, run, current, failure)

    return _settled(world, run, action, change, error)


def _rejected(world: World, run: Run, current: Credential, failure: Failure) -> Credential:
    """Return what stands after a verdict: the attempt at its next rung, or at its end."""
    entry, now, facts = run.attempt, failure.at, facts_of(world, current)
    if entry.rung is Rung.REFRESH and current.pair is not None:
        accepted_at = world.facts(current.binding.server).accepted_at if current.binding else None
        current = current.replace(pair=current.pair.refused(now, world.policy, accepted_at))
    rejections, rest = (*entry.rejections, failure), entry.ladder[1:]
    if rest:
        return current.replace(attempt=entry.replace(ladder=rest, climbed=True, rejections=rejections))
    works = entry.before is State.ACTIVE and entry.purpose is not Purpose.ROTATION
    if entry.purpose is Purpose.SIGN_IN and (not works or buries(current, run.grant.binding)):
        current = adopted(current, run.grant)  # nothing better is stored: the new grant is tried again
    if failure.rung in AT_VEEAM and not works:
        current = current.rejected_again(now)
    judged = judge(run.name, rejections, entry, current, facts, now)
    if works:  # the pair that stands still does
        shown = judged.failure
        if entry.purpose is Purpose.SIGN_IN and judged.reason is Reason.SERVER_REJECTS_EVERYONE:
            shown = shown.replace(remedy=WHEN_WELL)
        return current.concluded(Event.DEFERRED, VERDICTS[failure.verdict][1], shown, now)
    if judged.event is Event.DEFERRED:
        at_veeam = [each for each in rejections if each.rung in AT_VEEAM]  # what the next try, which is one at Veeam, waits for
        ended = current.deferred((at_veeam or [failure])[-1].replace(at=now), judged.reason, now)
        return ended if entry.before is State.NEEDS_SIGN_IN else ended.replace(last_error=judged.failure)
    return current.concluded(judged.event, judged.reason, judged.failure, now)


def _settled(world: World, run: Run, action: Action, change: Change, error: Error | None = None) -> Step:
    stands, stored = offer(world, run.name, run.version, run.credential, change)
    return Step(action, stands, error, called=run.attempt.rung, superseded=not stored)
