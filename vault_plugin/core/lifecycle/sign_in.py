"""Signing in (DESIGN 7): ask for a code, poll once, cancel. What was approved is then taken over by `adopt`.

A poll is a rotation in small: the next poll time is written with `cas` first (the claim against a second replica, and the
proof that Vault takes the answer), then one call; what came back is offered until it is stored or superseded.
"""

import contextlib
from dataclasses import dataclass
from datetime import timedelta

from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import AuthorizationServerUnavailable, VersionConflict
from vault_plugin.core.handled import Handled, keep_handled
from vault_plugin.core.lifecycle.gather import refusal
from vault_plugin.core.lifecycle.latest import replaces_always, write_latest
from vault_plugin.core.ports import Approved, Ended, Pending, PollResult, World
from vault_plugin.core.published import Prompt
from vault_plugin.core.secret import Secret
from vault_plugin.core.sign_in import SignIn, SignInState
from vault_plugin.core.states import Reason
from vault_plugin.core.tenants import TenantSpec, bind, changed_fields

PATIENCE = timedelta(seconds=10)


@dataclass(frozen=True)
class Polled:
    """What a poll did: the sign-in that stands now, and whether Microsoft's answer to it is known."""

    sign_in: SignIn | None
    known: bool = True
    #: Somebody deleted it: it has ended as if it were cancelled.
    gone: bool = False
    #: Don't ask again before this has passed.
    wait: timedelta = timedelta(0)
    error: AuthorizationServerUnavailable | None = None


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
        next_poll_at=asked_at + code.interval,
        started_at=asked_at,
        expires_at=asked_at + code.expires_in,
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


def poll(world: World, name: str, *, known: bool) -> Polled:
    """Ask Microsoft once, if it is time. `known`: this process knows the answer to the poll before.

    Raises:
        StoreError: Vault's trouble, before anything was sent.
    """
    stored = world.store.read(SignIn, name)
    now = world.clock.now()
    sign_in = stored.document
    if sign_in is None or sign_in.state is not SignInState.PENDING or sign_in.device_code is None:
        return Polled(sign_in, gone=stored.gone)
    if sign_in.poll_at(now) > now:
        return Polled(sign_in, known=known)
    tenant = world.specs.tenant(name)
    if tenant is None or changed_fields(sign_in.binding, bind(name, tenant)) or refusal(world, name, sign_in.binding):
        text = "the tenant's configuration changed while the sign-in was pending"
        ended = sign_in.ended(Reason.CONFIGURATION_CHANGED, now, text, f"Sign in again: vb365 sign-in {name}.")
        world.store.write(name, ended, cas=stored.version, give_up_after=PATIENCE)
        return Polled(ended)
    last = now >= sign_in.expires_at
    claimed = sign_in.claimed(instance=world.instance, known=known, now=now)
    version = world.store.write(name, claimed, cas=stored.version, give_up_after=PATIENCE)
    try:
        answer = world.microsoft.poll(claimed.binding, sign_in.device_code, world.clock.now())
    except AuthorizationServerUnavailable as error:
        if not last:
            wait = error.retry_after or timedelta(0)
            return Polled(claimed, known=not error.sent, wait=wait, error=error)
        answer = _expired()
    if isinstance(answer, Pending) and last:
        answer = _expired()
    return _answered(world, name, version, claimed, answer)


def _expired() -> Ended:
    return Ended(Reason.EXPIRED, "the code expired before anybody signed in", "Ask again: vb365 sign-in NAME.")


def _answered(world: World, name: str, version: int, sign_in: SignIn, answer: PollResult) -> Polled:
    """Store what Microsoft's answer means. The tokens of an approval are offered until stored or superseded."""
    now = world.clock.now()
    if isinstance(answer, Pending):
        if answer.slow_down:
            sign_in = sign_in.slowed(now)
            world.store.write(name, sign_in, cas=version, give_up_after=PATIENCE)
        return Polled(sign_in)
    current = sign_in
    while True:
        after = _after(world, name, current, answer)
        try:
            world.store.write(name, after, cas=version)
        except VersionConflict:
            stored = world.store.read(SignIn, name, patient=True)
            standing, version = stored.document, stored.version
            if standing is None or standing.id != sign_in.id or not _still_counts(standing, answer):
                return Polled(
                    standing, gone=stored.gone
                )  # a newer sign-in stands, or this one is over: what came late is dropped
            current = standing
        else:
            return Polled(after)


def _after(world: World, name: str, current: SignIn, answer: Approved | Ended) -> SignIn:
    """Return the sign-in with Microsoft's answer taken in."""
    if isinstance(answer, Approved):
        return _not_expected(world, name, current, answer) or current.approved(answer.assertion, answer.tenant_id)
    return _ended(current, answer, world)


def _still_counts(standing: SignIn, answer: Approved | Ended) -> bool:
    """Tell whether an answer still counts for what somebody else wrote meanwhile: a request that joined, a claim, a cancel."""
    if standing.state is SignInState.PENDING:
        return True
    return isinstance(answer, Approved) and standing.outcome is Reason.CANCELLED


def _ended(sign_in: SignIn, answer: Ended, world: World) -> SignIn:
    now = world.clock.now()
    in_time = now < sign_in.expires_at - sign_in.interval
    if answer.spent and sign_in.doubt and (in_time or answer.outcome is not Reason.EXPIRED):
        text = "the code was used, but the service died before it could store Microsoft's answer"
        remedy = "Nobody's fault and nothing is lost but this sign-in. Sign in once more: vb365 sign-in NAME."
        return sign_in.ended(Reason.APPROVAL_LOST, now, text, remedy)
    return sign_in.ended(answer.outcome, now, answer.text, answer.remedy, code=answer.code, trace_id=answer.trace_id)


def _not_expected(world: World, name: str, sign_in: SignIn, answer: Approved) -> SignIn | None:
    """Return the sign-in ended, if somebody else signed in than was expected: the tokens are dropped."""
    if ended := wrong_account(world, name, sign_in, answer.account):
        return ended
    now = world.clock.now()
    credential = world.store.read(Credential, name, patient=True).document
    bound = credential.binding if credential else None
    known = bound.tenant_id if bound and bound.organization == sign_in.binding.organization else ""
    if known and answer.tenant_id and known != answer.tenant_id:
        text = "signed in to another Microsoft 365 tenant than before"
        return sign_in.ended(Reason.WRONG_TENANT, now, text, f"Sign in again: vb365 sign-in {name}.")
    return None


def wrong_account(world: World, name: str, sign_in: SignIn, account: str) -> SignIn | None:
    """Return the sign-in ended if somebody else has signed in than the tenant expects now, though the code was made before."""
    wanted = (world.specs.tenant(name) or sign_in).expected_account
    if not wanted or wanted.casefold() == account.casefold():
        return None
    text = f"signed in as {account or 'an account that the tokens do not name'}; expected was {wanted}"
    return sign_in.ended(Reason.WRONG_ACCOUNT, world.clock.now(), text, f"Sign in again as {wanted}: vb365 sign-in {name}.")


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
