"""The rungs by which a new pair can be got, in the order in which they are tried. Pure (DESIGN 5.2)."""

from datetime import datetime

from vault_plugin.core.credential import AT_VEEAM, FAILURES_KEPT, Credential, Rung, grant_is_dead
from vault_plugin.core.facts import UNKNOWN, ServerFacts
from vault_plugin.core.pair import TokenPair


def full_ladder(credential: Credential, now: datetime, facts: ServerFacts) -> tuple[Rung, ...]:
    """Return the rungs that can work, in order: cheapest first.

    A refresh goes last where it kills what consumers hold, where somebody may still sleep on the same refresh token, and
    where Veeam has refused it; only a grant that Microsoft has called dead goes behind it.
    """
    rungs = []
    assertion, pair = credential.assertion, credential.pair
    if assertion is not None and assertion.expires_at > now:
        rungs.append(Rung.EXCHANGE)
    if assertion is not None and assertion.refreshable and not _renewed_in_vain(credential, now):
        rungs.append(Rung.REASSERT)
    if pair is not None:
        doubtful = pair.doubtful or facts.dead_since(credential) is not None
        last = facts.wants_new_session or doubtful or pair.refresh_goes_last
        rungs.insert(len(rungs) if last else 0, Rung.REFRESH)
        if grant_is_dead(credential.last_error) and not doubtful:
            rungs.sort(key=lambda rung: rung is Rung.REASSERT)
    return tuple(rungs)


def _renewed_in_vain(credential: Credential, now: datetime) -> bool:
    """Tell whether Veeam has rejected the assertion as it is, while that lives: another renewal would bring nothing new."""
    assertion, rejected = credential.assertion, credential.rejected
    return (
        assertion is not None
        and rejected is not None
        and assertion.expires_at > now
        and rejected.since <= assertion.obtained_at <= rejected.at
    )


def stuck(credential: Credential, facts: ServerFacts = UNKNOWN) -> bool:
    """Tell whether the last three answers were errors without a verdict, and the newest came since the server recovered."""
    failures = credential.failures
    if len(failures) < FAILURES_KEPT or any(failure.verdict for failure in failures):
        return False
    return facts.recovered_at is None or failures[-1].at > facts.recovered_at


def keeps_failing(credential: Credential, facts: ServerFacts = UNKNOWN) -> bool:
    """Tell whether those were Veeam's: then it waits for the share of its lane that such credentials have."""
    return stuck(credential, facts) and all(failure.rung in AT_VEEAM for failure in credential.failures)


def wanted(credential: Credential, now: datetime, facts: ServerFacts, *, hurried: bool) -> tuple[Rung, ...]:
    """Return the rungs to try now; `hurried`: less than half of the overlap is left.

    Then a rung whose last three answers were errors without a verdict lets the next one try first. So does Microsoft if it
    gives no answer and the refresh token was refused before; or, one time, if that is doubted.
    """
    pair, rungs = credential.pair, full_ladder(credential, now, facts)
    if not hurried or not rungs:
        return rungs
    if stuck(credential, facts) and {failure.rung for failure in credential.failures} == {rungs[0]}:
        onward = (*rungs[1:], rungs[0])
        once = pair is not None and pair.presented  # what is doubted goes first one time, for whatever reason
        return tuple(sorted(onward, key=lambda rung: rung is Rung.REFRESH)) if once else onward
    if pair is not None and rungs[0] is Rung.REASSERT and _silent(credential) and _may_go_first(pair):
        return (Rung.REFRESH, *(rung for rung in rungs if rung is not Rung.REFRESH))
    return rungs


def _may_go_first(pair: TokenPair) -> bool:
    return not pair.presented if pair.doubted else pair.refused_at is not None


def _silent(credential: Credential) -> bool:
    """Tell whether the newest renewal brought nothing."""
    begun, assertion = credential.renewal_begun_at, credential.assertion
    return begun is not None and (assertion is None or assertion.obtained_at < begun)


def probe(credential: Credential, now: datetime, facts: ServerFacts) -> tuple[Rung, ...]:
    """Return the one rung by which a server that rejects everybody is probed: a new session while a grant stands."""
    rungs = full_ladder(credential, now, facts)
    dead = grant_is_dead(credential.last_error)
    wanted = (Rung.EXCHANGE, *(() if dead or _silent(credential) else (Rung.REASSERT,)), Rung.REFRESH)
    return tuple(rung for rung in wanted if rung in rungs)[:1]


def taken_over(credential: Credential, now: datetime, facts: ServerFacts) -> tuple[Rung, ...]:
    """Return the rungs left to somebody who takes over the recorded attempt.

    A refresh whose outcome is unknown goes on beside it, by a new session, while the assertion lives: whoever still
    sleeps on the old refresh token can't collide with that. Only then is the same refresh token tried again. An assertion
    that expired while nobody went on is renewed anew.
    """
    attempt = credential.attempt
    possible = full_ladder(credential, now, facts)
    if attempt is None:
        return possible
    expired = Rung.EXCHANGE not in possible
    left = (Rung.REASSERT if rung is Rung.EXCHANGE and expired else rung for rung in attempt.ladder)
    rungs = tuple(rung for rung in dict.fromkeys(left) if rung in possible)
    if attempt.rung is Rung.REFRESH and not attempt.climbed:
        return (*(rung for rung in rungs if rung is not Rung.REFRESH), Rung.REFRESH)
    return rungs or possible
