"""What can happen next in a state: a replica's call is answered, or it dies, or time passes, or a late copy lands."""

from collections.abc import Iterator
from itertools import product
from typing import Final, NamedTuple

from tests.model import invariants
from tests.model.canonical import CALLED
from tests.model.documents import BASE, CREDENTIAL, TOKEN, Documents, first_credential, first_token, refreshing
from tests.model.programs import Call, Programs, Reply, Run
from tests.model.state import Pair, Replica, State, job_of
from tests.model.variants import Variant
from vault_plugin.core.credential import Credential
from vault_plugin.core.handled import Handled

NAMES: Final = ("P1", "P2")
IRREVERSIBLE: Final = frozenset({"refresh", "exchange", "reassert"})


class Move(NamedTuple):
    """One thing that happens, the state after it, and what it broke."""

    words: str
    state: State
    broken: tuple[str, ...] = ()


class Moves:
    """The moves of one variant."""

    def __init__(self, variant: Variant, programs: Programs) -> None:
        """Explore this variant with these programs."""
        self.variant = variant
        self.programs = programs
        self.documents: Documents = programs.documents
        #: How often something was seen that the model must have reached to mean anything.
        self.reached: dict[str, int] = {}

    def start(self) -> State:
        """Return the first state: a stored, published pair, two replicas that know nothing yet."""
        variant, grant = self.variant, self.variant.grant
        first = first_credential(
            exchangeable=grant == "alive", refreshable=grant != "dead", idle=variant.idle, hurried=variant.hurried
        )
        if variant.in_flight:
            first = refreshing(first)
        credential, token = self.documents.of(first), self.documents.of(first_token())
        state = State(0, (1, credential), (1, token), (Replica(), Replica()), variant.budget)
        if variant.restored:  # the pair that stood there since is known to nobody but Veeam and the consumers
            pairs, both = (Pair(0, -1, spent=True), Pair(0, 0)), frozenset({0, 1})
            state = state._replace(pairs=pairs, stored=both, settled=frozenset({0}))
        return state

    def after(self, state: State) -> list[Move]:
        """Return everything that can happen now."""
        # P1 and P2 are alike, unless an attempt of one stands: who acts first is called P1.
        alike = state.replicas == (Replica(), Replica()) and not self.documents.facts(state.credential[1]).attempt
        who = (0,) if alike else (0, 1)
        calling = () if self.variant.sleeps_before_call else tuple(one for one in who if self._about_to_call(state, one))
        moves = [
            move
            for one in who
            if not calling or one in calling or self._looks(state, one)
            for move in self._goes_on(state, one)
        ]
        if not moves and not state.flying:
            return []
        moves += [move for one in (0, 1) for move in self._dies(state, one)]
        moves += self._time_passes(state)
        if not calling:
            moves += self._lands(state)
            moves += self._is_asked(state)
        return moves

    def _looks(self, state: State, who: int) -> bool:
        """Tell whether the replica reads next: that disturbs nobody."""
        replica = state.replicas[who]
        call = self._run(state, who).call if replica.verb else None
        return not replica.verb or (call is not None and call.kind == "read")

    def _about_to_call(self, state: State, who: int) -> bool:
        """Tell whether the replica has just recorded its attempt, and calls next."""
        replica = state.replicas[who]
        call = self._run(state, who).call if replica.verb else None
        return call is not None and call.kind in IRREVERSIBLE and replica.heard[-1][0] == state.instant

    # --- a replica ---------------------------------------------------------------------------------------------------

    def _run(self, state: State, who: int) -> Run:
        replica = state.replicas[who]
        now = replica.asleep if replica.asleep >= 0 else state.instant
        return self.programs.run(job_of(who, replica), replica.heard, now)

    def _goes_on(self, state: State, who: int) -> Iterator[Move]:
        replica = state.replicas[who]
        if replica.verb:
            yield from self._hears(state, who)
            return
        if self.variant.publishes and replica.published < self.documents.facts(state.credential[1]).generation:
            yield from self._hears(state.with_replica(who, replica._replace(verb="sweep")), who)
        yield from self._hears(state.with_replica(who, replica._replace(verb="step")), who)

    def _hears(self, state: State, who: int) -> Iterator[Move]:
        """Let the call that the replica has come to be made and answered, in every way that is possible."""
        run = self._run(state, who)
        call = run.call
        if call is None:
            yield self._settled(f"{NAMES[who]} gives up", state, who, ())
            return
        replica = state.replicas[who]
        now = replica.asleep if replica.asleep >= 0 else state.instant
        if call.kind == "write":
            begun = self._begins(call, replica)
            if begun and not state.left.starts:
                return
            if begun:
                state = state._replace(left=state.left._replace(starts=state.left.starts - 1))
            if call.path == CREDENTIAL and call.number != replica.body:
                facts = self.documents.facts(call.number)
                spending = facts.generation if facts.attempt and not facts.climbed else replica.spending
                replica = replica._replace(spending=spending)
            replica = replica._replace(body=call.number)
        for words, after, reply, broken in self._answers(state, who, call):
            pair = reply[1] if reply[0] == "pair" else replica.pair
            heard = (*replica.heard, (now, reply))
            moved = after.with_replica(who, replica._replace(heard=heard, asleep=-1, pair=pair))
            move = self._settled(f"{NAMES[who]} {words}", moved, who, broken)
            if move is not None and not self._stuck(move.state, who):
                yield move

    def _begins(self, call: Call, replica: Replica) -> bool:
        """Tell whether this write begins an attempt or takes one over."""
        if call.path != CREDENTIAL or call.number == replica.body:
            return False
        facts = self.documents.facts(call.number)
        return facts.begins and bool(facts.attempt) and replica.pair < 0

    def _stuck(self, state: State, who: int) -> bool:
        """Tell whether the replica would begin an attempt and may not: then it better had not looked."""
        replica = state.replicas[who]
        if state.left.starts or not replica.verb:
            return False
        call = self._run(state, who).call
        return call is not None and call.kind == "write" and self._begins(call, replica)

    def _settled(self, words: str, state: State, who: int, broken: tuple[str, ...]) -> Move:
        """Note what the verb concluded; if it is over, put the replica to rest."""
        run = self._run(state, who)
        replica = state.replicas[who]
        found = list(broken)
        for event in run.reported:
            self._reach(event)
        path = TOKEN if replica.verb in ("publish", "sweep") else CREDENTIAL
        stands = state.token[1] if path == TOKEN else state.credential[1]
        if run.lost and stands == replica.body:
            found.append("lost")
        if run.call is not None:
            return Move(words, state, tuple(found))
        found += invariants.ended(state, who, run.raised, self.documents)
        if run.superseded:
            self._reach("superseded")
        return Move(words, state.with_replica(who, self._rested(state, replica, run)), tuple(found))

    def _rested(self, state: State, replica: Replica, run: Run) -> Replica:
        """Return the replica after its verb ended, with what `scheduler.rotations` would keep in memory."""
        rested = Replica(
            serial=replica.serial + run.drawn,
            seen=replica.seen,
            published=replica.published,
            token_version=run.token_version,
        )
        if run.raised:
            return rested
        facts = self.documents.facts(run.credential)
        if replica.verb in ("publish", "sweep"):
            return rested._replace(published=facts.generation)
        if run.superseded:
            return rested
        since = replica.seen[1] if replica.seen[0] == facts.attempt else state.instant
        rested = rested._replace(seen=(facts.attempt, since if facts.attempt else 0))
        if self.variant.publishes and facts.generation > replica.published:
            return rested._replace(verb="publish", document=run.credential)
        return rested

    def _dies(self, state: State, who: int) -> Iterator[Move]:
        replica = state.replicas[who]
        if not state.left.crashes:
            return
        drawn = self._run(state, who).drawn if replica.verb else 0
        reborn = Replica(serial=replica.serial + drawn)
        if replica == reborn:
            return
        in_hand = replica.pair >= 0 and replica.pair not in state.stored
        left = state.left._replace(crashes=state.left.crashes - 1)
        after = state._replace(left=left, excused=state.excused or in_hand)
        yield Move(f"{NAMES[who]} dies and starts again", after.with_replica(who, reborn))

    # --- the world around --------------------------------------------------------------------------------------------

    def _time_passes(self, state: State) -> Iterator[Move]:
        if not state.left.deadlines:
            return
        choices = [(False, True) if self._may_sleep(state, who) else (False,) for who in (0, 1)]
        left = state.left._replace(deadlines=state.left.deadlines - 1)
        for asleep in product(*choices):
            after, words = state._replace(instant=state.instant + 1, left=left), "the deadline passes"
            for who in (0, 1):
                if asleep[who]:
                    after = after.with_replica(who, after.replicas[who]._replace(asleep=state.instant))
                    words += f", {NAMES[who]} asleep before its call"
            yield Move(words, after)

    def _may_sleep(self, state: State, who: int) -> bool:
        replica = state.replicas[who]
        if not replica.verb or replica.asleep >= 0:
            return False
        call = self._run(state, who).call
        if call is None or call.kind in ("read", "logout"):
            return False
        if call.kind == "write":  # once the call was made, the clocks decide nothing any more
            return all(reply[0] not in CALLED for _, reply in replica.heard)
        return self.variant.sleeps_before_call

    def _lands(self, state: State) -> Iterator[Move]:
        for place, (path, cas, number) in enumerate(state.flying):
            rest = state._replace(flying=state.flying[:place] + state.flying[place + 1 :])
            version = (rest.token if path == TOKEN else rest.credential)[0]
            if version == cas:
                after, broken = self._written(rest, path, number)
                yield Move("a late copy of a write lands", after, broken)
            else:
                yield Move("a late copy of a write is refused", rest)

    def _is_asked(self, state: State) -> Iterator[Move]:
        if not state.left.requests:
            return
        left = state.left._replace(requests=state.left.requests - 1)
        credential = self.documents.document(state.credential[1])
        assert isinstance(credential, Credential)
        request = Handled(id=f"r{left.requests}", action="rotate", at=BASE, outcome="Accepted")
        asked = self.documents.of(credential.asked(request).replace(write_id=request.id))
        after, broken = self._written(state._replace(left=left), CREDENTIAL, asked)
        yield Move("an operator asks for a rotation", after, broken)

    # --- answers -----------------------------------------------------------------------------------------------------

    def _answers(self, state: State, who: int, call: Call) -> Iterator[tuple[str, State, Reply, tuple[str, ...]]]:
        if call.kind == "read":
            yield from self._reads(state, who, call)
        elif call.kind == "write":
            yield from self._writes(state, call)
        elif call.kind == "logout":
            yield self._logs_out(state, call)
        else:
            yield from self._calls(state, call)

    def _reads(self, state: State, who: int, call: Call) -> Iterator[tuple[str, State, Reply, tuple[str, ...]]]:
        version, number = state.token if call.path == TOKEN else state.credential
        yield f"reads {call.path}", state, ("document", version, number), ()
        if state.left.unclear and state.replicas[who].heard:
            left = state.left._replace(unclear=state.left.unclear - 1)
            yield f"can't read {call.path}", state._replace(left=left), ("unclear",), ()

    def _writes(self, state: State, call: Call) -> Iterator[tuple[str, State, Reply, tuple[str, ...]]]:
        version = (state.token if call.path == TOKEN else state.credential)[0]
        what = self._described(call)
        if version != call.cas:
            yield f"{what}: refused, somebody wrote", state, ("conflict",), ()
            return
        after, broken = self._written(state, call.path, call.number)
        yield what, after, ("written", version + 1), broken
        if not state.left.unclear:
            return
        left = state.left._replace(unclear=state.left.unclear - 1)
        yield f"{what}: APPLIED, ANSWER LOST", after._replace(left=left), ("unclear",), broken
        yield f"{what}: not applied, answer unclear", state._replace(left=left), ("unclear",), ()
        flying = tuple(sorted((*state.flying, (call.path, call.cas, call.number))))
        yield f"{what}: UNDER WAY, answer unclear", state._replace(left=left, flying=flying), ("unclear",), ()

    def _described(self, call: Call) -> str:
        facts = self.documents.facts(call.number)
        if call.path == TOKEN:
            return f"publishes generation {facts.generation}"
        if not facts.attempt:
            return f"writes concluded ({facts.state.value}, generation {facts.generation})"
        return f"writes {'climb' if facts.climbed else 'started'}"

    def _written(self, state: State, path: str, number: int) -> tuple[State, tuple[str, ...]]:
        """Let a document stand, and see what that breaks."""
        facts = self.documents.facts(number)
        if path == TOKEN:
            falls = facts.generation < self.documents.facts(state.token[1]).generation
            return state._replace(token=(state.token[0] + 1, number)), ("published",) if falls else ()
        old = self.documents.facts(state.credential[1])
        stored, settled = state.stored | {facts.pair}, state.settled
        parent = state.pairs[facts.pair].parent
        if parent >= 0:
            settled |= {parent}
        broken = tuple(invariants.written(old, facts))
        return state._replace(credential=(state.credential[0] + 1, number), stored=stored, settled=settled), broken

    def _logs_out(self, state: State, call: Call) -> tuple[str, State, Reply, tuple[str, ...]]:
        self._reach("logout")
        shown = self.documents.facts(state.token[1]).pair
        if self.variant.publishes and state.pairs[shown].session == state.pairs[call.number].session:
            self._reach("logout of the session that consumers still read")
        dead = self._killed(state, state.pairs[call.number].session, "logout")
        return f"logs out pair {call.number}", dead, ("done",), ()

    def _calls(self, state: State, call: Call) -> Iterator[tuple[str, State, Reply, tuple[str, ...]]]:
        """Send what can't be taken back."""
        words = f"sends {call.kind}" + (f" of pair {call.number}" if call.kind == "refresh" else "")
        after, reply = self._veeam(state, call) if call.kind != "reassert" else self._microsoft(state, call)
        shown = f" -> pair {reply[1]}" if reply[0] == "pair" else f" -> {reply[0]}"
        again = call.kind == "refresh" and call.number in state.settled
        broken = ("V3",) if again else ()
        self._reach(f"{call.kind} {reply[0]}")
        yield words + shown, after, reply, broken
        if state.left.false_refusals and call.kind != "reassert" and reply[0] == "pair":
            left = state.left._replace(false_refusals=state.left.false_refusals - 1)
            yield f"{words} -> rejected, FALSELY", state._replace(left=left), ("rejected",), broken
        if state.left.silences:
            left = state.left._replace(silences=state.left.silences - 1)
            lost = after._replace(left=left, excused=True)
            yield f"{words}{shown}, ANSWER LOST", lost, ("silence",), broken
            yield f"{words}, which never arrives", state._replace(left=left), ("silence",), broken

    def _veeam(self, state: State, call: Call) -> tuple[State, Reply]:
        number = len(state.pairs)
        if self.variant.sick:
            return state, ("rejected",)
        if call.kind == "exchange":
            session = len(state.sessions)
            return state._replace(sessions=(*state.sessions, ""), pairs=(*state.pairs, Pair(session, -1))), ("pair", number)
        session, _, spent = state.pairs[call.number]
        if state.sessions[session]:
            return state, ("rejected",)
        if spent and self.variant.reuse != "reuse":
            return (self._killed(state, session, "family") if self.variant.reuse == "family" else state), ("rejected",)
        pairs = list(state.pairs)
        pairs[call.number] = pairs[call.number]._replace(spent=True)
        return state._replace(pairs=(*pairs, Pair(session, call.number))), ("pair", number)

    def _microsoft(self, state: State, call: Call) -> tuple[State, Reply]:
        newest, dead = state.grant
        if self.variant.grant == "rejected" or dead:
            return state, ("rejected",)
        if not self.variant.strict:  # Entra-like: every refresh token works on, so one number is as good as another
            return state, ("assertion", 1)
        if call.number != newest:
            return state._replace(grant=(newest, True)), ("rejected",)
        return state._replace(grant=(newest + 1, False)), ("assertion", newest + 1)

    def _killed(self, state: State, session: int, why: str) -> State:
        sessions = tuple(why if place == session and not dead else dead for place, dead in enumerate(state.sessions))
        return state._replace(sessions=sessions)

    def _reach(self, what: str) -> None:
        self.reached[what] = self.reached.get(what, 0) + 1
