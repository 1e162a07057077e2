"""Prove a new access token before anybody reads it, and see what became of the old one (DESIGN 5.3).

What is unknown of a server is measured, once a day and after each sign-in, with two calls that the token endpoint's throttle
doesn't count.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from vault_plugin.core.credential import Credential, Failure, Probe, Rung
from vault_plugin.core.deleted import is_deleted
from vault_plugin.core.errors import BackupServerError, BackupServerUnavailable, EndpointRefused, TokenRejected
from vault_plugin.core.facts import ServerFacts
from vault_plugin.core.findings import Unproved
from vault_plugin.core.lifecycle.attempt import Step
from vault_plugin.core.lifecycle.gather import credential_of, facts_of, view_of
from vault_plugin.core.lifecycle.latest import offer
from vault_plugin.core.lifecycle.verdicts import failure_of
from vault_plugin.core.names import LONGEST, is_tenant_id
from vault_plugin.core.ports import Organization, World
from vault_plugin.core.proofs import Verdict
from vault_plugin.core.states import Reason, State
from vault_plugin.core.tenants import Binding
from vault_plugin.core.timing import Policy

PATIENCE: Final = timedelta(seconds=10)
#: States without an attempt under way, in which a pair may stand.
WAITS: Final = frozenset({State.ACTIVE, State.BLOCKED, State.NEEDS_SIGN_IN})
#: The reason of an `EndpointRefused` that points elsewhere.
REDIRECTED: Final = "Redirected"
_CHECK: Final = "Check what answers GET /Organization there: vb365 server show SERVER. It is asked again with the next token."
REMEDIES: Final = {
    Reason.NOT_PROVED: "Check on the VB365 server that restore operators aren't the only ones admitted to the REST API.",
    Reason.WRONG_ORGANIZATION: (
        "Check the tenant's organization: vb365 tenant show NAME. If it was added to VB365 anew, begin anew: "
        "vb365 tenant revoke NAME, then vb365 sign-in NAME."
    ),
}


def proof_due(credential: Credential, facts: ServerFacts, now: datetime, policy: Policy) -> bool:
    """Tell whether this generation's token must be proved: after a sign-in, after one that wasn't, and daily for a server."""
    if credential.pair is None or credential.state is State.REVOKED or credential.generation <= credential.proved:
        return False
    if credential.disproved == credential.generation or credential.pair.expires_at <= now + policy.margin:
        return False
    replaces_dead = credential.findings.dead == credential.generation - 1 > 0
    open_still = credential.distrusted or credential.findings.unproved is not None
    return credential.reason is Reason.SIGNED_IN or open_still or replaces_dead or _is_overdue(facts, now, policy)


def _is_overdue(facts: ServerFacts, now: datetime, policy: Policy) -> bool:
    return facts.proved_at is None or now - facts.proved_at >= policy.proof_after


def prove(world: World, name: str, credential: Credential, done: Step | None = None) -> Credential:
    """Prove the stored pair's access token if a proof is due; return the credential that stands now.

    `done` is the step that brought the pair, if it was just now: then the old token is looked at, too. A server that
    doesn't answer, or doesn't serve the call, proves nothing, which is noted: freshness doesn't wait for a measurement, unless
    the token before was proved not to work (`Credential.distrusted`): then ask again until there is an answer.

    Raises:
        StoreError: Vault's trouble.
    """
    binding, pair, now = credential.binding, credential.pair, world.clock.now()
    server = world.specs.server(binding.server) if binding else None
    due = proof_due(credential, facts_of(world, credential), now, world.policy)
    if not due or binding is None or pair is None or server is None:
        return credential
    try:
        seen = world.veeam.organization(server, pair.access_token)
    except TokenRejected as error:
        failure = failure_of(error, (done.called if done else None) or Rung.REFRESH, now)
        return _disproved(world, name, credential, failure, Reason.NOT_PROVED)
    except BackupServerUnavailable:
        return credential
    except BackupServerError as error:
        unserved = not credential.distrusted and _is_unserved(world, credential, error)
        text = str(error).partition(": ")[2] or str(error)
        why = Unproved(generation=credential.generation, text=text, remedy=error.remedy())
        return _unproved(world, name, credential, why, ask=not unserved)
    return _seen(world, name, credential, seen, done)


def _seen(world: World, name: str, credential: Credential, seen: Organization | None, done: Step | None) -> Credential:
    """Note what it means that the token works, for this organization or for one that isn't told."""
    binding = credential.binding
    if binding is None or (seen is None and _of_another(credential)):
        return credential  # it works, and nobody says for whom
    own = is_own(credential, binding, seen) if seen else True
    if seen is not None and own is None:
        why = Unproved(generation=credential.generation, text=_of_nobody(seen), remedy=_CHECK)
        return _unproved(world, name, credential, why, ask=True)
    if seen is not None and not own:
        rung = (done.called if done else None) or Rung.REFRESH
        text = f"the new token is for {(seen.name or seen.id)[:LONGEST]}, not for {binding.organization}"
        failure = Failure(at=world.clock.now(), rung=rung, reason=Reason.WRONG_ORGANIZATION, text=text)
        return _disproved(world, name, credential, failure, Reason.WRONG_ORGANIZATION)
    return _note(world, name, credential, seen, _probe(world, credential, done))


def _is_unserved(world: World, credential: Credential, error: BackupServerError) -> bool:
    """Tell whether the server doesn't serve the question, and never did.

    A redirect, and a 404 where it was answered before, are of somebody in front whose server is away: that passes.
    """
    answered = facts_of(world, credential).proved_at is not None
    return isinstance(error, EndpointRefused) and error.reason != REDIRECTED and not answered


def _of_nobody(seen: Organization) -> str:
    """Say what an answer tells that fits to nothing that is known."""
    said = f"no id, and calls the organization {seen.name[:LONGEST]}" if seen.name else "an id that isn't known, and no name"
    return f"VB365 says {said}"


def _of_another(credential: Credential) -> bool:
    """Tell whether a token of it was for another organization, and none was proved to be for its own since."""
    return credential.distrusted and credential.findings.disproved_by != Reason.NOT_PROVED


def is_own(credential: Credential, binding: Binding, seen: Organization) -> bool | None:
    """Tell whether this is the credential's organization; None if nothing that was said could tell.

    The id of the first proof decides. A name may change at VB365, so that where an id is known and none is said, another
    name tells nothing; it decides only where no id is known.
    """
    known, called = credential.findings.organization_id, credential.findings.organization_name
    if known and seen.id:
        return seen.id.casefold() == known.casefold()
    if known:
        return True if seen.name.casefold() in {called.casefold(), binding.organization.casefold()} else None
    if is_tenant_id(binding.organization):
        return True
    return seen.name.casefold() == binding.organization.casefold() if seen.name else None


def _probe(world: World, credential: Credential, done: Step | None) -> Probe | None:
    """Look whether the access token before still works. A session that was dead anyhow tells nothing."""
    now, old = world.clock.now(), done.before if done else None
    server = world.specs.server(credential.binding.server) if credential.binding else None
    if server is None or done is None or done.called is None or old is None or old.refused_at is not None:
        return None
    if old.expires_at <= now + server.call_timeout:
        return None
    try:
        world.veeam.organization(server, old.access_token)
    except TokenRejected:
        return Probe(at=now, rung=done.called, old_alive=False)
    except BackupServerError:
        return None
    return Probe(at=now, rung=done.called, old_alive=True)


def _note(world: World, name: str, credential: Credential, seen: Organization | None, probe: Probe | None) -> Credential:
    whose = (seen.id, seen.name) if seen else None

    def change(current: Credential) -> Credential | None:
        if current.state not in WAITS or current.generation != credential.generation:
            return None
        generation, known = current.generation, current.probes
        return current.replace(
            proved=generation,
            proved_at=world.clock.now(),
            findings=current.findings.proved(generation, whose),
            probes=(*(old for old in known if old.rung is not probe.rung), probe) if probe else known,
        )

    return _store(world, name, change)


def _unproved(world: World, name: str, credential: Credential, why: Unproved, *, ask: bool) -> Credential:
    """Note why this token wasn't proved, unless that is known; not to `ask`: this generation's is asked for no more."""

    def change(current: Credential) -> Credential | None:
        if current.state not in WAITS or current.generation != credential.generation:
            return None
        findings = current.findings.replace(unproved=why, unverified=0)
        wanted = current.replace(findings=findings, proved=current.proved if ask else current.generation)
        return wanted if wanted != current else None

    return _store(world, name, change)


def _disproved(world: World, name: str, credential: Credential, failure: Failure, reason: Reason) -> Credential:
    shown = failure.replace(reason=reason, remedy=REMEDIES[reason])

    def change(current: Credential) -> Credential | None:
        proved, now_bound = credential.binding, current.binding
        elsewhere = proved is None or now_bound is None or proved.token_for != now_bound.token_for
        if elsewhere or current.state is State.REVOKED:
            return None
        return current.disproven(credential.generation, shown, reason, world.clock.now())

    return _store(world, name, change)


def _store(world: World, name: str, change: Callable[[Credential], Credential | None]) -> Credential:
    """Write what was found into whatever stands by now, unless it says nothing of that; return what stands."""
    stored = world.store.read(Credential, name)
    current = credential_of(stored, world.clock.now())
    if is_deleted(current):
        return current
    return offer(world, name, stored.version, current, change, give_up_after=PATIENCE)[0]


def examine(world: World, name: str, credential: Credential) -> Verdict:
    """Tell whether the published token still works, by one call that the throttle doesn't count.

    Raises:
        StoreError: Vault's trouble.
    """
    binding, pair, view = credential.binding, credential.pair, view_of(world, name, credential)
    server = world.specs.server(binding.server) if binding else None
    silent = view.tenant is None or view.tenant.paused or view.refused or view.changed
    if pair is None or server is None or silent or credential.distrusted or is_deleted(credential):
        return Verdict.GONE
    if pair.expires_at <= world.clock.now():
        return Verdict.GONE
    try:
        world.veeam.organization(server, pair.access_token)
    except TokenRejected:
        return Verdict.DEAD
    except BackupServerError as error:
        return Verdict.UNSERVED if _is_unserved(world, credential, error) else Verdict.UNKNOWN
    return Verdict.ALIVE


def found_dead(world: World, name: str, credential: Credential, lost_before: datetime | None) -> Credential:
    """Note that this token is dead, whatever goes on meanwhile: it is due by a new session, its refresh token doubtful.

    Raises:
        StoreError: Vault's trouble.
    """
    generation = credential.generation

    def change(current: Credential) -> Credential | None:
        if current.pair is None or current.state is State.REVOKED or is_deleted(current):
            return None
        pair = current.pair.replace(doubtful=True) if current.generation == generation else current.pair
        found = current.findings.found_dead(generation, world.clock.now(), lost_before)
        return current.replace(pair=pair, findings=found)

    return _store(world, name, change)
