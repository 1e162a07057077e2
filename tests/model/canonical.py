"""One key for all states with the same future.

Equal up to names: ids and tokens are named by where they appear, versions count from the newest, and which replica is which
doesn't matter. Left out is what no decision reads while the clock stays within minutes: most dates of what happened before,
`calls`, texts, and whose hand wrote a document, unless it is in the middle of writing. When something was refused is read,
and counts from now, for the deadlines that are left tell what time it is.
"""

from typing import Any, Final

from tests.model.documents import Documents
from tests.model.state import Replica, State
from vault_plugin.core.credential import Credential
from vault_plugin.core.states import State as Known

#: Replies after which the clocks decide nothing any more in this verb: the call has been made.
CALLED: Final = frozenset({"pair", "assertion", "rejected", "silence", "done"})
LETTERS: Final = "PQ"

#: Who drew an id and as his how manyth, or -1 and the hash of a name that nobody drew.
Drawn = tuple[int, int]


def drawn(name: str) -> Drawn:
    """Take an id apart."""
    who = LETTERS.find(name[:1]) if name[1:].isdigit() else -1
    return (who, int(name[1:])) if who >= 0 else (-1, len(name))


class Canonical:
    """Makes keys."""

    def __init__(self, documents: Documents, *, pardons: bool) -> None:
        """Make keys for states with these documents; `pardons`: whether an excuse changes a verdict."""
        self._documents = documents
        self._pardons = pardons
        self._fixed: dict[int, tuple[Any, ...]] = {}
        self._alike: dict[tuple[Any, ...], int] = {}
        self._ids: dict[int, tuple[Drawn, ...]] = {}
        self._by: dict[int, str] = {}

    def key(self, state: State) -> tuple[Any, ...]:
        """Return the key of this state."""
        locals_ = [self._alone(state, who) for who in (0, 1)]
        first, second = (self._alike.setdefault(each, len(self._alike)) for each in locals_)
        order = (0, 1) if first <= second else (1, 0)
        return _Naming(self, state, order).key(pardons=self._pardons)

    def _alone(self, state: State, who: int) -> tuple[Any, ...]:
        """Return what tells a replica from the other, as far as that can be said without names."""
        replica = state.replicas[who]
        facts = self._documents.facts(state.credential[1])
        return (
            replica.verb,
            replica.asleep,
            tuple((instant, reply[0]) for instant, reply in replica.heard),
            tuple(self.fixed(reply[2]) for _, reply in replica.heard if reply[0] == "document"),
            replica.seen[0] == facts.attempt,
            replica.pair >= 0,
            replica.published,
            bool(facts.attempt) and self.author(state.credential[1]) == LETTERS[who],
        )

    def fixed(self, number: int) -> tuple[Any, ...]:
        """Return the part of a document that holds no name."""
        known = self._fixed.get(number)
        if known is None:
            known = self._fixed[number] = self._look(number)
        return known

    def ids(self, number: int) -> tuple[Drawn, ...]:
        """Return the ids in a document: its own, its attempt's and its sessions'."""
        self.fixed(number)
        return self._ids[number]

    def author(self, number: int) -> str:
        """Return the letter of the replica whose entry stands in it, or an empty text."""
        self.fixed(number)
        return self._by[number]

    def _look(self, number: int) -> tuple[Any, ...]:
        document, facts = self._documents.document(number), self._documents.facts(number)
        if not isinstance(document, Credential):
            self._ids[number], self._by[number] = (drawn(document.write_id),), ""
            return (facts.generation,)
        entry = document.attempt
        names = (document.write_id, document.session, *((entry.id, entry.session) if entry else ()))
        self._ids[number] = tuple(map(drawn, names))
        self._by[number] = entry.instance[0] if entry else ""
        held: tuple[Any, ...] = ()
        if entry:
            judged = tuple((failure.rung, failure.verdict) for failure in entry.rejections)
            held = (entry.purpose, entry.ladder, entry.generation, entry.before, entry.renewed, entry.climbed, judged)
        tried = tuple(failure.rung for failure in document.failures)
        error, pair = document.last_error, document.pair
        ends = (document.since, error.at if error else None, document.tried_at) if document.state is Known.BLOCKED else ()
        failed = (document.failures[-1].at if document.failures else None, max(filter(None, ends), default=None))
        doubts = (facts.refused, facts.doubtful, pair is not None and (pair.restored, pair.presented))
        rest = (*doubts, facts.assertion, document.requested, tried, error.verdict if error else None, failed)
        return (document.state, document.generation, *rest, held)


class _Naming:
    """Names what appears in one state, in the order in which it appears."""

    def __init__(self, canonical: Canonical, state: State, order: tuple[int, int]) -> None:
        self._canonical = canonical
        self._documents = canonical._documents
        self._state = state
        self._order = order
        self._ids: dict[Drawn, int] = {}
        nothing = 1 << 30
        self._serials = tuple(each.serial if each.verb else nothing for each in state.replicas)
        self._pairs: dict[int, int] = {-1: -1}

    def key(self, *, pardons: bool) -> tuple[Any, ...]:
        state = self._state
        credential = self._document(state.credential[1])
        token = self._document(state.token[1])
        replicas = tuple(self._replica(who) for who in self._order)
        flying = tuple((cas - self._newest(number), self._document(number)) for _, cas, number in state.flying)
        return (
            state.left,
            credential,
            token,
            replicas,
            flying,
            self._veeam(),
            state.grant,
            pardons and state.excused,
        )

    def _newest(self, number: int) -> int:
        is_credential = isinstance(self._documents.document(number), Credential)
        return (self._state.credential if is_credential else self._state.token)[0]

    def _replica(self, who: int) -> tuple[Any, ...]:
        state, replica = self._state, self._state.replicas[who]
        facts = self._documents.facts(state.credential[1])
        watched = bool(facts.attempt) and replica.seen[0] == facts.attempt
        newest = state.token[0]
        return (
            replica.verb,
            self._heard(replica),
            watched and 1 + (state.instant > replica.seen[1]),
            self._document(replica.document) if replica.document >= 0 else (),
            replica.published,
            replica.token_version - newest if replica.token_version >= 0 else 0,
            self._pair(replica.pair),
            replica.spending,
            self._document(replica.body) if replica.body >= 0 else (),
        )

    def _heard(self, replica: Replica) -> tuple[Any, ...]:
        called = any(reply[0] in CALLED for _, reply in replica.heard)
        now = -1 if called else replica.asleep
        newest = (self._state.credential if replica.verb == "step" else self._state.token)[0]
        told: list[Any] = [now]
        for instant, reply in replica.heard:
            kind = reply[0]
            what: Any = reply
            if kind == "document":
                what = (reply[1] - self._newest(reply[2]), self._document(reply[2]))
            elif kind == "written":
                what = reply[1] - newest
            elif kind == "pair":
                what = self._pair(reply[1])
            told.append((kind, what, 0 if called else instant))
        return tuple(told)

    def _document(self, number: int) -> tuple[Any, ...]:
        canonical = self._canonical
        written, *ids = canonical.ids(number)
        by = canonical.author(number)
        author = self._order.index(LETTERS.index(by)) if by else -1
        named = [self._id(each) for each in ids]
        pair = self._pair(self._documents.facts(number).pair)
        return (canonical.fixed(number), author, self._own(written), pair, *named)

    def _own(self, each: Drawn) -> int:
        """Return the place of an id among those that a replica drew in the verb that it is in, or 0."""
        who, place = each
        if who < 0 or place <= self._serials[who]:
            return 0
        return (place - self._serials[who]) * 2 + self._order[who]

    def _id(self, each: Drawn) -> int:
        return -self._own(each) or self._ids.setdefault(each, len(self._ids))

    def _pair(self, number: int) -> int:
        return self._pairs.setdefault(number, len(self._pairs))

    def _veeam(self) -> tuple[Any, ...]:
        """Return what Veeam knows of the pairs that anybody still knows."""
        state, sessions = self._state, dict[int, int]()
        rows = []
        for number in list(self._pairs):
            if number >= 0:
                session, parent, spent = state.pairs[number]
                place = sessions.setdefault(session, len(sessions))
                known = (number in state.stored, number in state.settled)
                rows.append((place, state.sessions[session], spent, self._pairs.get(parent, -2), *known))
        return tuple(rows)
