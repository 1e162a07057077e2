"""Each rule of DESIGN 5.2 and 5.3, taken away from the real code by replacing one function; and where that shows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from tests.model import programs
from tests.model.variants import (
    FALSELY,
    KEEP_ALIVE,
    PUBLISHING,
    RESTORED,
    SICK,
    SICK_TO_ONE,
    SILENT,
    SMALL,
    TWICE_REFUSED,
    UNCLEAR,
    Budget,
    Variant,
)
from vault_plugin.core import ladder
from vault_plugin.core.credential import Credential, Purpose, Rung
from vault_plugin.core.errors import VersionConflict
from vault_plugin.core.lifecycle import attempt, gather, latest, publish, verdicts
from vault_plugin.core.lifecycle.verdicts import Judged
from vault_plugin.core.pair import TokenPair
from vault_plugin.core.states import Event, Reason
from vault_plugin.vault.store import KvStore


@dataclass(frozen=True)
class Mutation:
    """A rule, what stands in its place, and the violation that it then comes to in this variant."""

    rule: str
    owner: Any
    name: str
    instead: Any
    variant: Variant
    finds: str

    @contextmanager
    def made(self) -> Iterator[None]:
        """Take the rule away for a while."""
        original = getattr(self.owner, self.name)
        setattr(self.owner, self.name, self.instead)
        try:
            yield
        finally:
            setattr(self.owner, self.name, original)

    def __str__(self) -> str:
        return self.rule


ALIVE: Final = Variant("reuse, assertion alive", budget=SMALL)
ASLEEP: Final = Variant("reuse, assertion alive, Veeam silent", budget=SILENT)
UNANSWERED: Final = Variant("reuse, assertion renewable, Microsoft silent", "reuse", "renewable", budget=SILENT)
FORGETFUL: Final = Variant("reuse, assertion alive, Vault unclear", budget=UNCLEAR)
AWAKE: Final = Variant(
    "reuse, assertion dead, no sleep before the call", "reuse", "dead", sleeps_before_call=False, budget=SMALL
)
ALONE: Final = Variant(
    "single, assertion dead, nobody else accepted", "single", "dead", sleeps_before_call=False, budget=TWICE_REFUSED
)
AT_ONCE: Final = Variant("reuse, assertion dead, no deadline passes", "reuse", "dead", budget=Budget(unclear=0, deadlines=0))


def _lost_without_looking(self: KvStore, path: str, cas: int, write_id: str, turn: int) -> Any:
    raise VersionConflict(path)


def _impatient(world: Any, name: str, version: int, current: Credential, change: Any) -> Any:
    """Offer a change for as long as a deadline."""
    while True:
        wanted = change(current)
        if wanted is None:
            return current, False
        try:
            world.store.write(name, wanted, cas=version, give_up_after=timedelta(seconds=18))
        except VersionConflict:
            stored = world.store.read(Credential, name, patient=True)
            version, current = stored.version, stored.document
        else:
            return wanted, True


def _one_offer(world: Any, name: str, version: int, current: Credential, change: Any) -> Any:
    wanted = change(current)
    try:
        world.store.write(name, wanted, cas=version)
    except VersionConflict:
        return current, False
    return wanted, True


class _Unwritten:
    """A store into which nothing is written."""

    def write(self, name: str, document: Any, *, cas: int, give_up_after: Any = None) -> int:
        return cas


def _no_journal(purposes: frozenset[Purpose]) -> Callable[..., Any]:
    begin = attempt._begin

    def begun(world: Any, name: str, version: int, credential: Any, action: Any, grant: Any) -> Any:
        if action.purpose in purposes:
            run = begin(replace(world, store=_Unwritten()), name, version, credential, action, grant)
            return replace(run, credential=credential)
        return begin(world, name, version, credential, action, grant)

    return begun


def _in_any_order(world: Any, name: str, document: Any, _replaces: Any, *, patience: timedelta, rank: int) -> bool:
    return latest.write_latest(world, name, document, latest.replaces_always, patience=patience)


def _of_another_session(_rung: Any, session: str, current: Credential) -> bool:
    return session != current.session


def _on_anybodys_verdict(_name: Any, rejections: Any, *_: Any) -> Any:
    return Judged(Event.GRANT_REJECTED, Reason.GRANT_REJECTED, rejections[-1])


def _while_no_grant_stands(name: str, rejections: Any, entry: Any, credential: Credential, *rest: Any) -> Any:
    return _judge(name, rejections, entry.replace(renewed=False), credential.replace(assertion=None), *rest)


def _at_once(pair: TokenPair, now: Any, _policy: Any, _accepted_at: Any) -> TokenPair:
    return pair.replace(refused_at=pair.refused_at or now, refusals=pair.refusals + 1, confirmed=True)


def _whoever_is_accepted(pair: TokenPair, now: Any, policy: Any, _accepted_at: Any) -> TokenPair:
    return _refused(pair, now, policy, now)


def _never_again(credential: Credential, now: Any, facts: Any) -> Any:
    refused = credential.pair is not None and credential.pair.refused_at is not None
    return tuple(rung for rung in _full_ladder(credential, now, facts) if not (refused and rung is Rung.REFRESH))


def _restored_or_not(pair: TokenPair) -> bool:
    return pair.doubtful or pair.refused_at is not None


def _in_a_hurry(credential: Credential, now: Any, facts: Any, **_: Any) -> Any:
    return _wanted(credential, now, facts, hurried=True)


def _cheapest_first(credential: Credential, now: Any, facts: Any) -> Any:
    held = credential.replace(pair=credential.pair.replace(doubtful=False)) if credential.pair else credential
    return tuple(sorted(_full_ladder(held, now, facts), key=list(Rung).index))


_full_ladder, _wanted, _refused, _judge = ladder.full_ladder, ladder.wanted, TokenPair.refused, verdicts.judge

MUTATIONS: Final = (
    Mutation("read back the write id before any verdict", KvStore, "_lost", _lost_without_looking, FORGETFUL, "lost"),
    Mutation("look at the clocks just before the call", attempt, "_in_time", lambda *_: True, AWAKE, "V3"),
    Mutation("offer a pair until it is stored or superseded", attempt, "offer", _impatient, FORGETFUL, "V5"),
    Mutation("a lost race is no verdict on a pair", attempt, "offer", _one_offer, ALIVE, "V5b"),
    Mutation("never log out a refresh of the stored session", attempt, "_useless", lambda *_: True, AWAKE, "V1"),
    Mutation("log out only what an exchange began", attempt, "_useless", _of_another_session, ALIVE, "shown"),
    Mutation("take over by a new session first", ladder, "taken_over", _cheapest_first, ALIVE, "V3"),
    Mutation("a doubtful refresh stays last after a lost answer", ladder, "full_ladder", _cheapest_first, ASLEEP, "V3"),
    Mutation("a doubtful refresh goes first only when it hurries", ladder, "wanted", _in_a_hurry, UNANSWERED, "V3"),
    Mutation(
        "take over only what was seen unchanged for the lease",
        gather,
        "unchanged_for",
        lambda *_: timedelta(hours=1),
        AT_ONCE,
        "V3",
    ),
    Mutation("record the attempt before the call", attempt, "_begin", _no_journal(frozenset(Purpose)), AT_ONCE, "V3"),
    Mutation("publish over a lower generation only", publish, "write_latest", _in_any_order, PUBLISHING, "published"),
    Mutation(
        "keep-alive takes the journal", attempt, "_begin", _no_journal(frozenset({Purpose.KEEP_ALIVE})), KEEP_ALIVE, "grant"
    ),
    Mutation("publish what stands", programs, "publish", lambda *_: True, PUBLISHING, "unpublished"),
    Mutation("a person only on Microsoft's verdict", attempt, "judge", _on_anybodys_verdict, SICK, "asked"),
    Mutation("nobody is asked while a grant stands", attempt, "judge", _while_no_grant_stands, SICK_TO_ONE, "asked"),
    Mutation("a refusal is confirmed before a person is asked", TokenPair, "refused", _at_once, FALSELY, "V4"),
    Mutation("only a server that accepts others confirms", TokenPair, "refused", _whoever_is_accepted, ALONE, "V2"),
    Mutation("a refused refresh stays the last rung", ladder, "full_ladder", _never_again, FALSELY, "abandoned"),
    Mutation("a restored refresh goes last", TokenPair, "refresh_goes_last", property(_restored_or_not), RESTORED, "V3"),
)
