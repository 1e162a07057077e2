"""The simulation's light record and the real document give the policy the same answers."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from bench.freshness.record import Fault, Grant, Pair, Record, Try
from vault_plugin.core.credential import (
    Assertion,
    Attempt,
    Credential,
    Failure,
    Probe,
    Purpose,
    Rung,
)
from vault_plugin.core.facts import UNKNOWN, ServerFacts
from vault_plugin.core.ladder import keeps_failing
from vault_plugin.core.pair import TokenPair
from vault_plugin.core.policy import Action, Do, View, next_action
from vault_plugin.core.secret import Secret
from vault_plugin.core.states import Event, Reason, State
from vault_plugin.core.tenants import TenantSpec
from vault_plugin.core.timing import Policy

START = datetime(2026, 11, 25, 12, tzinfo=UTC)
LIFE = timedelta(hours=1)
TENANT = TenantSpec(server="veeam")
SECRET = Secret("x")
NEW_SESSIONS = ServerFacts(
    probes={rung: Probe(at=START, rung=rung, old_alive=rung is Rung.EXCHANGE) for rung in (Rung.REFRESH, Rung.EXCHANGE)}
)


class Twins:
    """One history, kept twice."""

    def __init__(self, rnd: random.Random, facts: ServerFacts) -> None:
        self.rnd, self.facts, self.now = rnd, facts, START
        self.document = Credential(since=START, state=State.ACTIVE, reason=Reason.REFRESHED, generation=1)
        self.document = self.document.replace(pair=_pair(START), assertion=_assertion(START))
        self.record = Record("t", Pair(START, START + LIFE, 1), Grant(START, START + LIFE), START)
        self.number = 0

    def ask(self, instance: str) -> Action:
        """Ask both, after a random time unchanged."""
        unchanged = timedelta(seconds=self.rnd.choice([0, 30, 300]))
        one, other = (
            View("t", TENANT, "", (), credential, instance, unchanged, self.facts)
            for credential in (self.document, self.record.shown)
        )
        found = next_action(one, self.now, Policy())
        assert next_action(other, self.now, Policy()) == found
        assert keeps_failing(self.record.shown) == keeps_failing(self.document)
        assert self.record.failing_since == self.document.failing_since
        return found

    def begin(self, action: Action, instance: str) -> None:
        """Record an attempt in both."""
        self.number += 1
        lease = timedelta(seconds=53)
        old = self.document.attempt
        entry = Attempt(
            id=str(self.number),
            instance=instance,
            purpose=action.purpose,
            ladder=action.ladder,
            generation=self.document.generation,
            before=old.before if old else self.document.state,
            before_since=old.before_since if old else self.document.since,
            started_at=self.now,
            deadline=self.now + lease,
        )
        light = Try(self.number, instance, action.ladder, self.record.generation, lease, action.purpose)
        self.document = self.document.started(entry, self.now, veeam_call=True)
        self.record.started(light, self.now, veeam_call=True)
        assert self.record.calls == self.document.calls

    def end(self) -> None:
        """End or climb in both, as the rung may; or leave the attempt as a crash does."""
        attempt, now = self.document.attempt, self.now
        assert attempt is not None
        outcome = self.rnd.choice(["new", "new", "faulty", "faulty", "silent", "rejected", "crash"])
        rung, rest = attempt.rung, attempt.ladder[1:]
        if outcome == "new" and rung is Rung.REASSERT:
            self._renewed(attempt)
        elif outcome == "new":
            self.document = self.document.accepted(_pair(now), session="", reason=Reason.REFRESHED, now=now)
            self.record.accepted(Pair(now, now + LIFE, self.number), now)
        elif outcome in ("faulty", "silent"):
            answered = outcome == "faulty"
            failure = Failure(at=now, rung=rung, reason="x", text="x", answered=answered)
            self.document = self.document.deferred(failure, Reason.RETRYING, now)
            self.record.deferred(Fault(now, rung, answered=answered))
        elif outcome == "rejected" and rest and rung is not Rung.REASSERT:
            pair = self.document.pair
            if rung is Rung.REFRESH and pair is not None:
                self.document = self.document.replace(pair=pair.refused(now, Policy(), None))
            self.document = self.document.replace(attempt=attempt.replace(ladder=rest, climbed=True))
            self.record.climbed(rest, now if rung is Rung.REFRESH else None)

    def _renewed(self, attempt: Attempt) -> None:
        now = self.now
        self.document = self.document.replace(assertion=_assertion(now))
        self.record.assertion = Grant(now, now + LIFE)
        if attempt.purpose is Purpose.KEEP_ALIVE:
            self.document = self.document.concluded(Event.DEFERRED, Reason.KEPT_ALIVE, None, now)
            self.record.kept_alive()
        else:
            ladder = (Rung.EXCHANGE, *(rung for rung in attempt.ladder[1:] if rung is Rung.REFRESH))
            self.document = self.document.replace(attempt=attempt.replace(ladder=ladder, climbed=True))
            self.record.climbed(ladder)


def _pair(at: datetime) -> TokenPair:
    return TokenPair(access_token=SECRET, refresh_token=SECRET, issued_at=at, expires_at=at + LIFE)


def _assertion(at: datetime) -> Assertion:
    return Assertion(json_text=SECRET, obtained_at=at, expires_at=at + LIFE, refreshable=True, signed_in_at=START)


@pytest.mark.parametrize("facts", [UNKNOWN, NEW_SESSIONS], ids=["refreshing", "new sessions"])
@pytest.mark.parametrize("seed", range(15))
def test_the_policy_cannot_tell_the_record_from_the_document(seed: int, facts: ServerFacts) -> None:
    """Over random histories of rotations, failures, climbs, crashes, take-overs and keep-alives."""
    rnd = random.Random(seed)
    twins = Twins(rnd, facts)
    seen = set()
    for _ in range(250):
        instance = rnd.choice("aab")
        action = twins.ask(instance)
        seen.add(action.reason)
        if action.do is Do.ATTEMPT:
            twins.begin(action, instance)
            twins.ask(rnd.choice("ab"))
            twins.now += timedelta(seconds=rnd.choice([0.3, 1, 35]))
            twins.end()
            twins.now += timedelta(seconds=rnd.choice([1, 20, 900, 4 * 86400]))
        else:
            at = max(twins.now, action.at or twins.now)
            twins.now = rnd.choice([at, twins.now + timedelta(seconds=rnd.random() * 900)])

    assert {Reason.DUE, Reason.NOT_DUE, Reason.BACKING_OFF, Reason.TAKEN_OVER, Reason.CLIMBED} <= seen
