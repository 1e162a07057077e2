"""A state of the whole: Vault, Veeam, Microsoft, two replicas, and what may still go wrong."""

from typing import NamedTuple

from tests.model.programs import Heard, Job
from tests.model.variants import Budget


class Replica(NamedTuple):
    """A process, as far as it knows."""

    #: The verb that it is in the middle of, or empty.
    verb: str = ""
    heard: tuple[Heard, ...] = ()
    #: The instant at which it looked at its clocks before it fell asleep, or -1.
    asleep: int = -1
    serial: int = 0
    seen: tuple[str, int] = ("", 0)
    #: What it is publishing, and what it knows to be published.
    document: int = -1
    published: int = 1
    token_version: int = -1
    #: The body that it sent last in this verb.
    body: int = -1
    #: The generation that its attempt spends.
    spending: int = -1
    #: The pair that it got in this verb, or -1.
    pair: int = -1


class Pair(NamedTuple):
    """A pair that Veeam gave."""

    session: int
    #: The pair whose refresh token brought this one, or -1.
    parent: int
    spent: bool = False


class State(NamedTuple):
    """Everything. Equal states have equal futures."""

    instant: int
    #: Version and document.
    credential: tuple[int, int]
    token: tuple[int, int]
    replicas: tuple[Replica, Replica]
    left: Budget
    #: Copies of writes that may still land: path, cas, document.
    flying: tuple[tuple[str, int, int], ...] = ()
    #: Why each session at Veeam is dead, or empty.
    sessions: tuple[str, ...] = ("",)
    pairs: tuple[Pair, ...] = (Pair(0, -1),)
    #: Newest refresh token of Microsoft's grant, and whether the grant is dead.
    grant: tuple[int, bool] = (0, False)
    #: Pairs that stood in the store once.
    stored: frozenset[int] = frozenset({0})
    #: Pairs whose refresh token stood in the store as accepted once.
    settled: frozenset[int] = frozenset()
    #: A process died with a pair in hand, or an answer was lost: the pair in flight may be lost with it.
    excused: bool = False

    def lives(self, pair: int) -> bool:
        """Tell whether Veeam serves this pair's access token."""
        return not self.sessions[self.pairs[pair].session]

    def with_replica(self, who: int, replica: Replica) -> "State":
        """Return the state with this replica changed."""
        first, second = self.replicas
        return self._replace(replicas=(replica, second) if who == 0 else (first, replica))


def job_of(who: int, replica: Replica) -> Job:
    """Return the verb that a replica is in the middle of."""
    return Job(replica.verb, who, replica.serial, replica.seen, replica.document, replica.token_version)
