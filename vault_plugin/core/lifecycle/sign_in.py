"""Signing in (DESIGN 7): ask for a code, poll once, cancel. What was approved is then taken over by `adopt`.

A poll is a rotation in small: the next poll time is written with `cas` first (the claim against a second replica, and the
proof that Vault takes the answer), then one call; what came back is offered until it is stored or superseded.
"""

import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import AuthorizationServerUnavailable, StoreError, VersionConflict
from vault_plugin.core.handled import Handled, keep_handled
from vault_plugin.core.lifecycle.gather import refusal
from vault_plugin.core.lifecycle.identity import not_expected
from vault_plugin.core.lifecycle.latest import replaces_always, write_latest
from vault_plugin.core.lifecycle.verdicts import THROTTLED
from vault_plugin.core.ports import Approved, Ended, Pending, PollResult, World
from vault_plugin.core.published import Prompt
from vault_plugin.core.secret import Secret
from vault_plugin.core.sign_in import LONGEST_PAUSE, LastPoll, SignIn, SignInState, grown
from vault_plugin.core.states import Reason
from vault_plugin.core.tenants import TenantSpec, bind, changed_fields
from vault_plugin.core.timing import ZERO

PATIENCE = timedelta(seconds=10)
AGAIN = "Ask again: vb365 sign-in NAME."
#: What Microsoft says when the code expires, other than by a verdict.
NOBODY = Ended(Reason.EXPIRED, "the code expired before anybody signed in", AGAIN)
TOO_SOON = Ended(
    Reason.EXPIRED,
    "the code expired, and Microsoft wanted to be asked more seldom instead of saying whether somebody signed in",
    AGAIN,
)
PERHAPS_LOST = (
    "It is asked again. If somebody has signed in just now, that may have been lost with this answer: then the sign-in ends, "
    "and says so. If it stays, look at Microsoft's service health (https://status.cloud.microsoft)."
)


@dataclass(frozen=True)
class Polled:
    """What a poll did: the sign-in that stands now, and what came of the call."""

    sign_in: SignIn | None
    #: What this process knows of the newest poll now.
    last: LastPoll | None = None
    #: Somebody deleted it: it has ended as if it were cancelled.
    gone: bool = False
    #: Why there was no verdict.
    error: AuthorizationServerUnavailable | None = None
    #: Microsoft was asked; without `error`, it has answered.
    asked: bool = False


def start(world: World, name: str, tenant: TenantSpec, request: Handled, *, claimed_by: str, why: str) -> SignIn:
    """Show a code: the pending one's if there is one for the same binding, else a new one.

    Raises:
        AuthorizationServerError: Microsoft gave no code.
        StoreError: Vault's trouble; the request stays in the mailbox.
    """
    now = world.clock.now()
    credential = world.store.read(Credential, name).document
    stored = world.store.read(SignIn, name)
    old, binding = stored.document, bind(name, tenant)
    waiting = old is not None and old.waits(now)
    if old is not None and waiting and not changed_fields(old.binding, binding):
        joined = old.replace(handled=keep_handled(old.handled, request.replace(outcome="Joined")))
        world.store.write(name, joined, cas=stored.version, give_up_after=PATIENCE)
        return joined
    asked_at = world.clock.now()
    code = world.microsoft.request_device_code(binding)
    expires_at = asked_at + code.expires_in
    sign_in = SignIn(
        id=world.new_id(),
        binding=binding,
        expected_account=tenant.expected_account,
        asked_at_generation=credential.generation if credential else 0,
        claimed_by=claimed_by,
        why=why,
        device_code=code.device_code,
        user_code=Secret(code.user_code),
        verification_uri=code.verification_uri,
        message=Secret(code.message),
        interval=code.interval,
        next_poll_at=min(world.clock.now() + code.interval, expires_at),
        started_at=asked_at,
        expires_at=expires_at,
        handled=keep_handled(old.handled if old else (), request.replace(outcome="CodeShown")),
    )
    world.store.write(name, sign_in, cas=stored.version, give_up_after=PATIENCE)
    show(world, name, sign_in)
    return sign_in


def show(world: World, name: str, sign_in: SignIn) -> None:
    """Show the code to operators while the sign-in is pending; empty the prompt when it isn't."""
    prompt = Prompt()
    if sign_in.state is SignInState.PENDING and sign_in.user_code and sign_in.message:
        binding = sign_in.binding
        prompt = Prompt(
            sign_in_id=sign_in.id,
            user_code=sign_in.user_code.reveal(),
            verification_uri=sign_in.verification_uri,
            message=sign_in.message.reveal(),
            expires_at=sign_in.expires_at,
            tenant=name,
            organization=binding.organization,
            scope=binding.scope,
            client_id=binding.client_id,
            claimed_by=sign_in.claimed_by,
            why=sign_in.why,
        )
    write_latest(world, name, prompt, replaces_always, patience=PATIENCE)


def hide(world: World, name: str) -> None:
    """Empty the prompt of a sign-in whose document is gone."""
    write_latest(world, name, Prompt(), lambda old: bool(old.sign_in_id or old.user_code), patience=PATIENCE)


def poll_at(world: World, sign_in: SignIn, last: LastPoll | None, now: datetime) -> datetime:
    """Return when this process may ask Microsoft next: when the code expires, whatever else is waited for.

    Where that poll brought no word on the code, there is one more, an interval after it, if that is short.
    """
    last = sign_in.knows(last, world.instance)
    if last is None:
        return sign_in.poll_at(now, world.policy.microsoft_timeout)
    wait = last.next_at - world.clock.monotonic()
    return now + max(wait if last.final else min(wait, sign_in.expires_at - now), ZERO)


def taken_up(world: World, sign_in: SignIn) -> LastPoll | None:
    """Return what is known of this instance's own newest poll after a restart: no answer comes any more to who made it."""
    if sign_in.state is not SignInState.PENDING or sign_in.polled_by != world.instance:
        return None
    pause = sign_in.pause(world.clock.now(), sign_in.interval)
    return LastPoll(sign_in.id, world.clock.monotonic() + pause, sign_in.interval, doubt=True)


def poll(world: World, name: str, last: LastPoll | None = None) -> Polled:
    """Ask Microsoft once, if it is time. `last` is what this process knows of the newest poll, if that was its own.

    Raises:
        StoreError: Vault's trouble, before anything was sent.
    """
    stored = world.store.read(SignIn, name)
    now = world.clock.now()
    sign_in = stored.document
    if sign_in is None or sign_in.state is not SignInState.PENDING or sign_in.device_code is None:
        return Polled(sign_in, gone=stored.gone)
    last = sign_in.knows(last, world.instance)
    if poll_at(world, sign_in, last, now) > now:
        return Polled(sign_in, last)
    tenant = world.specs.tenant(name)
    if tenant is None or changed_fields(sign_in.binding, bind(name, tenant)) or refusal(world, name, sign_in.binding):
        text = "the tenant's configuration changed while the sign-in was pending"
        ended = sign_in.ended(Reason.CONFIGURATION_CHANGED, now, text, f"Sign in again: vb365 sign-in {name}.")
        world.store.write(name, ended, cas=stored.version, give_up_after=PATIENCE)
        return Polled(ended)
    final = now >= sign_in.expires_at
    more = sign_in.interval <= LONGEST_PAUSE and (last is None or not last.final)
    claimed = sign_in.claimed(last, instance=world.instance, now=now, call=world.policy.microsoft_timeout)
    version = world.store.write(name, claimed, cas=stored.version, give_up_after=PATIENCE)
    try:
        answer = world.microsoft.poll(claimed.binding, sign_in.device_code, world.clock.now())
    except AuthorizationServerUnavailable as error:
        if not final or more:
            known, told = _after_trouble(world, claimed, last, error, final=final)
            return Polled(claimed, known, error=told, asked=True)
        answer = _unknown(error)
    if isinstance(answer, Pending) and final and not (more and answer.slow_down):
        answer = TOO_SOON if answer.slow_down else NOBODY
    return _answered(world, name, version, claimed, answer, final=final)


def _after_trouble(
    world: World, claimed: SignIn, last: LastPoll | None, error: AuthorizationServerUnavailable, *, final: bool
) -> tuple[LastPoll, AuthorizationServerUnavailable]:
    """Return what is known after a poll without a verdict, and what is told of it.

    `Retry-After` is obeyed up to the last poll. What may have brought the approval isn't told as nothing to do.
    """
    unanswered = 0 if error.answered else (last.unanswered if last else 0) + 1
    wait = max(grown(claimed.interval, unanswered), error.retry_after or ZERO)
    lost = error.sent and not error.error and error.reason != THROTTLED  # else Microsoft's word on this poll is known
    known = _polled(world, claimed, wait, final=final, doubt=claimed.doubt or lost, unanswered=unanswered)
    return known, error.instead(PERHAPS_LOST) if known.doubt and error.remedy() == error.default_remedy else error


def _polled(
    world: World, sign_in: SignIn, wait: timedelta, *, final: bool, doubt: bool = False, unanswered: int = 0
) -> LastPoll:
    """Return what is known after a poll. After the `final` one, when the code expired, only the interval is waited for."""
    pause = sign_in.interval if final else sign_in.pause(world.clock.now(), wait)
    return LastPoll(sign_in.id, world.clock.monotonic() + pause, sign_in.interval, doubt, unanswered, final)


def _unknown(error: AuthorizationServerUnavailable) -> Ended:
    """Return the end of a sign-in whose last poll brought no verdict: nobody knows whether somebody signed in."""
    text = f"the code expired, and Microsoft's answer to the last question whether somebody signed in is missing: {error}"
    return Ended(Reason.EXPIRED, text, AGAIN, error.code, error.trace_id)


def _answered(world: World, name: str, version: int, sign_in: SignIn, answer: PollResult, *, final: bool) -> Polled:
    """Store what Microsoft's answer means. The tokens of an approval are offered until stored or superseded."""
    if isinstance(answer, Pending):
        if answer.slow_down:
            sign_in = sign_in.slowed()
            with contextlib.suppress(StoreError):  # the next claim stores it
                world.store.write(name, sign_in, cas=version, give_up_after=PATIENCE)
        wait = max(sign_in.interval, answer.retry_after or ZERO)
        return Polled(sign_in, _polled(world, sign_in, wait, final=final), asked=True)
    current = sign_in
    while True:
        after = _after(world, name, current, answer)
        try:
            world.store.write(name, after, cas=version)
        except VersionConflict:
            stored = world.store.read(SignIn, name, patient=True)
            standing, version = stored.document, stored.version
            if standing is None or standing.id != sign_in.id or not _still_counts(standing, answer):
                # A newer sign-in stands, or this one is over: what came late is dropped.
                return Polled(standing, gone=stored.gone, asked=True)
            current = standing
        else:
            return Polled(after, asked=True)


def _after(world: World, name: str, current: SignIn, answer: Approved | Ended) -> SignIn:
    """Return the sign-in with Microsoft's answer taken in."""
    if isinstance(answer, Approved):
        return not_expected(world, name, current, answer) or current.approved(answer.assertion, answer.tenant_id)
    return _ended(current, answer, world)


#: Ends that an approval takes back which was under way.
OVERTAKEN = frozenset({Reason.CANCELLED, Reason.EXPIRED, Reason.APPROVAL_LOST})


def _still_counts(standing: SignIn, answer: Approved | Ended) -> bool:
    """Tell whether an answer still counts for what somebody else wrote meanwhile: a request that joined, a claim, a cancel.

    An approval does so, too, where another instance has taken the code for expired or its answer for lost meanwhile.
    """
    if standing.state is SignInState.PENDING:
        return True
    return isinstance(answer, Approved) and standing.outcome in OVERTAKEN


def _ended(sign_in: SignIn, answer: Ended, world: World) -> SignIn:
    now = world.clock.now()
    if answer.spent and sign_in.doubt:
        text = "the code was used, but Microsoft's answer was lost on its way, or before the service could store it"
        remedy = "Nobody's fault and nothing is lost but this sign-in. Sign in once more: vb365 sign-in NAME."
        return sign_in.ended(Reason.APPROVAL_LOST, now, text, remedy, code=answer.code, trace_id=answer.trace_id)
    return sign_in.ended(answer.outcome, now, answer.text, answer.remedy, code=answer.code, trace_id=answer.trace_id)


def cancel(world: World, name: str, sign_in_id: str, request: Handled, *, approved_too: bool = False) -> bool:
    """End the sign-in with this id if it is still pending (or not handed over yet); tell whether it was.

    A poll that is under way is finished first: an approval that it brings is kept.
    """
    stored = world.store.read(SignIn, name)
    sign_in = stored.document
    open_states = {SignInState.PENDING, SignInState.APPROVED} if approved_too else {SignInState.PENDING}
    if sign_in is None or sign_in.state not in open_states or sign_in.id != sign_in_id:
        return False
    outcome = Reason.REVOKED if approved_too else Reason.CANCELLED
    ended = sign_in.ended(outcome, world.clock.now(), "ended by an operator")
    ended = ended.replace(handled=keep_handled(sign_in.handled, request))
    end(world, name, stored.version, ended)
    return True


def end(world: World, name: str, version: int, ended: SignIn) -> None:
    """Write a sign-in that is over, and clear away what it leaves."""
    tidy(world, name, world.store.write(name, ended, cas=version, give_up_after=PATIENCE), ended)


def tidy(world: World, name: str, version: int, sign_in: SignIn) -> None:
    """Clear away what a sign-in that ended leaves: the shown code, and the older versions that hold secrets.

    Whoever finds it `untidy` after a crash does it again.
    """
    show(world, name, sign_in)
    world.store.destroy(SignIn, name, range(max(1, version - 2), version))
    with contextlib.suppress(VersionConflict):  # tidied by somebody else, or a newer sign-in stands
        world.store.write(name, sign_in.replace(untidy=False), cas=version, give_up_after=PATIENCE)
