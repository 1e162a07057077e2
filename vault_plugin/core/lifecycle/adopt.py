"""Handing an approved sign-in's grant over to the credential (DESIGN 7): the exchange is an attempt like any other."""

import contextlib
import json

from vault_plugin.core.credential import Assertion, Credential, Purpose, Rung, grant_is_dead
from vault_plugin.core.deleted import is_deleted
from vault_plugin.core.errors import StoreError
from vault_plugin.core.lifecycle.attempt import Step, attempt
from vault_plugin.core.lifecycle.gather import NOT_SEEN, Seen, anew, credential_of, refusal, unchanged_for
from vault_plugin.core.lifecycle.grant import Grant
from vault_plugin.core.lifecycle.identity import elsewhere, wrong_account
from vault_plugin.core.lifecycle.sign_in import PATIENCE, end
from vault_plugin.core.policy import Action, Do
from vault_plugin.core.ports import Identity, World
from vault_plugin.core.scopes import OFFLINE_ACCESS
from vault_plugin.core.secret import Secret
from vault_plugin.core.sign_in import SignIn, SignInState
from vault_plugin.core.states import Event, Reason, State
from vault_plugin.core.tenants import BOUND, bind, changed_fields
from vault_plugin.core.timing import ZERO, lasts


def adopt(world: World, name: str, seen: Seen = NOT_SEEN) -> Step | None:
    """Exchange the approved sign-in's assertion at Veeam and make it the credential's; None if there is nothing to do.

    The old pair serves on until the new one stands, and stays if Veeam refuses the new grant.

    Raises:
        StoreError: Vault's trouble, before anything was sent.
    """
    stored = world.store.read(SignIn, name)
    sign_in = stored.document
    held = world.store.read(Credential, name)
    credential = credential_of(held, world.clock.now())
    if sign_in is None or sign_in.state is not SignInState.APPROVED or sign_in.assertion is None:
        return _orphan(world, name, held.version, credential, seen)
    if is_deleted(credential):  # it waits until that is undeleted, or the tenant is revoked
        return Step(Action(Do.HOLD, Reason.DOCUMENT_DELETED), credential)
    if held.document is None:
        credential = anew(world, name)
    if credential.sign_in_id == sign_in.id:  # adopted before a crash
        _close(world, name, stored.version, sign_in, credential)
        return None
    if ended := _over(world, name, sign_in, credential):
        end(world, name, stored.version, ended)
        return None
    if hold := _hold(world, name, sign_in, credential, seen):
        return Step(hold, credential)
    action = Action(Do.ATTEMPT, Reason.APPROVED, ladder=(Rung.EXCHANGE,), purpose=Purpose.SIGN_IN)
    grant = Grant(_refreshable(sign_in, credential), sign_in.binding, sign_in.id)
    done = attempt(world, name, held.version, credential, action, grant)
    refused = done.error is not None and done.error.reason and done.credential.attempt is None
    if done.credential.sign_in_id == sign_in.id or (refused and _judged(done)):
        with contextlib.suppress(StoreError):  # the call was made: whoever comes again finds it adopted, and closes it
            _close(world, name, stored.version, sign_in, done.credential)
    return done


def _refreshable(sign_in: SignIn, credential: Credential) -> Assertion | None:
    """Return the sign-in's assertion, with the stored refresh token if it brought none and that is the same person's.

    Nothing never replaces a stored token (DESIGN 7); but a grant that Microsoft has called dead isn't kept, nor one of whom
    no token names: nobody knows that it is the same person's.
    """
    new, old = sign_in.assertion, credential.assertion
    if new is None or old is None or new.refreshable or not old.refreshable or grant_is_dead(credential.last_error):
        return new
    bound, asked = credential.binding, sign_in.binding
    if bound is None or bound.replace(tenant_id="") != asked.replace(tenant_id=""):
        return new
    person = Identity.of(asked.tenant_id, new.account)
    if person is None or person != Identity.of(bound.tenant_id, old.account):
        return new
    kept = json.loads(old.json_text.reveal())["refresh_token"]
    text = Secret(json.dumps({**json.loads(new.json_text.reveal()), "refresh_token": kept}))
    return new.replace(json_text=text, refreshable=True, lacks=tuple(word for word in new.lacks if word != OFFLINE_ACCESS))


def _over(world: World, name: str, sign_in: SignIn, credential: Credential) -> SignIn | None:
    """Return the sign-in ended, if it is nobody's wish any more."""
    now, tenant = world.clock.now(), world.specs.tenant(name)
    if credential.state is State.REVOKED and credential.generation > sign_in.asked_at_generation:
        return sign_in.ended(Reason.REVOKED, now, "the tenant was revoked meanwhile")
    if sign_in.assertion is not None:
        account = sign_in.assertion.account
        wrong = wrong_account(world, name, sign_in, account)
        if ended := wrong or elsewhere(world, name, sign_in, sign_in.binding.tenant_id, account):
            return ended
    if tenant is not None and (changed := changed_fields(sign_in.binding, bind(name, tenant))):
        text = f"changed since the sign-in was asked for: {', '.join(changed)} (of {', '.join(BOUND)})"
        return sign_in.ended(Reason.CONFIGURATION_CHANGED, now, text, f"Sign in again: vb365 sign-in {name}.")
    return None


def _hold(world: World, name: str, sign_in: SignIn, credential: Credential, seen: Seen) -> Action | None:
    """Return why the exchange has to wait, or None."""
    now, tenant = world.clock.now(), world.specs.tenant(name)
    if tenant is None or tenant.paused:
        return Action(Do.HOLD, Reason.TENANT_REMOVED if tenant is None else Reason.PAUSED)
    entry, error = credential.attempt, credential.last_error
    left = entry.lease - unchanged_for(credential, seen) if entry else ZERO
    if entry and entry.instance != world.instance and left > ZERO:
        return Action(Do.HOLD, Reason.IN_FLIGHT, at=now + left)
    wait = world.policy.exchange_retry_after[len(credential.failures)]
    since = sign_in.assertion.obtained_at if sign_in.assertion else sign_in.started_at
    if error and error.at >= since and lasts(error.at + wait, wait, now):
        return Action(Do.HOLD, Reason.BACKING_OFF, at=error.at + wait)
    if text := refusal(world, name, sign_in.binding):
        return Action(Do.HOLD, Reason.CONFIGURATION_REFUSED, text=text)
    return None


def _judged(done: Step) -> bool:
    error = done.credential.last_error
    return error is not None and bool(error.verdict)


def _orphan(world: World, name: str, version: int, credential: Credential, seen: Seen) -> Step | None:
    """End a sign-in's attempt whose sign-in is over, so that rotation can go on."""
    entry = credential.attempt
    if entry is None or entry.purpose is not Purpose.SIGN_IN:
        return None
    if entry.instance != world.instance and unchanged_for(credential, seen) < entry.lease:
        return None
    reason = Reason.RETRYING if entry.before is State.ACTIVE else entry.before_reason
    freed = credential.concluded(Event.DEFERRED, reason, credential.last_error, world.clock.now())
    world.store.write(name, freed, cas=version, give_up_after=PATIENCE)
    return Step(Action(Do.HOLD, Reason.RETRYING), freed)


def _close(world: World, name: str, version: int, sign_in: SignIn, credential: Credential) -> None:
    """End the sign-in whose grant Veeam has judged."""
    accepted = credential.sign_in_id == sign_in.id and credential.state is not State.BLOCKED
    error = credential.last_error
    if accepted or error is None:
        ended = sign_in.ended(Reason.SIGNED_IN, world.clock.now())
    else:
        ended = sign_in.ended(Reason.REJECTED_BY_VEEAM, world.clock.now(), error.text, error.remedy, code=error.code)
    end(world, name, version, ended)
