"""What is explored: how the other sides behave, and how much may go wrong."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple


class Budget(NamedTuple):
    """How often each thing may still happen."""

    crashes: int = 1
    #: Answers of Veeam or Microsoft that don't arrive, whether or not the request did.
    silences: int = 1
    #: Writes or reads that Vault answers unclearly: landed, not landed, or landing later.
    unclear: int = 1
    #: Deadlines that pass while somebody is in the middle of something.
    deadlines: int = 2
    #: Attempts that are begun, taken-over ones included.
    starts: int = 3
    #: Rotations that an operator asks for.
    requests: int = 0
    #: Refusals of Veeam's that are its own trouble: what was sent is as good as before.
    false_refusals: int = 0


@dataclass(frozen=True)
class Variant:
    """One world to explore."""

    name: str
    #: A spent refresh token at Veeam: "reuse" allowed, "single" rejected, "family" rejected and its session killed.
    reuse: str = "reuse"
    #: Beside the refresh token at Veeam: the assertion is "alive" (rung 2 works) or "renewable" (rung 3 works), or Microsoft
    #: has "rejected" the grant and will say so, or it is "dead": expired and without a refresh token of Microsoft's.
    grant: str = "alive"
    #: Others may act, and the deadline may pass, between a process's last look at its clocks and its call.
    sleeps_before_call: bool = True
    #: Veeam rejects whatever it is sent.
    sick: bool = False
    #: It accepts another tenant's calls all the time: what it refuses twice is refused, an instant later at the soonest.
    others: bool = False
    #: What stands comes from a snapshot, and every leader knows: Veeam gave a newer pair of the same session since.
    restored: bool = False
    #: So was an attempt to refresh, of which nobody knows what became.
    in_flight: bool = False
    #: Microsoft kills a grant of which a spent refresh token is presented.
    strict: bool = False
    #: The pair isn't due and its refresh token was rejected; the assertion is idle: a keep-alive is next.
    idle: bool = False
    #: Less than half of the overlap is left.
    hurried: bool = False
    #: Tokens are published, by whoever rotated and by the sweep.
    publishes: bool = False
    budget: Budget = field(default_factory=Budget)

    @property
    def grant_lives(self) -> bool:
        """Tell whether a pair can be got without a person, whatever becomes of the refresh token."""
        return self.grant in ("alive", "renewable")

    def __str__(self) -> str:
        return self.name


REUSES: Final = ("reuse", "single", "family")

#: An answer of Veeam or Microsoft may be lost: room for a third attempt. Or one of Vault's: room for two.
SILENT: Final = Budget(unclear=0, deadlines=1)
UNCLEAR: Final = Budget(silences=0, deadlines=1, starts=2)
SMALL: Final = Budget(unclear=0, deadlines=1, starts=2)
#: Room for a take-over that is refused, and for a second refusal.
TWICE_REFUSED: Final = Budget(crashes=0, silences=0, unclear=0, deadlines=2)


def _ladder(reuse: str) -> tuple[Variant, ...]:
    dead = f"{reuse:6} assertion dead"
    awake, others = f"{dead}, no sleep before the call", f"{dead}, others accepted"
    died, silent = TWICE_REFUSED._replace(crashes=1), TWICE_REFUSED._replace(silences=1)
    return (
        Variant(f"{reuse:6} assertion alive, Veeam silent", reuse, budget=SILENT),
        Variant(f"{reuse:6} assertion alive, Vault unclear", reuse, budget=UNCLEAR),
        Variant(f"{reuse:6} assertion renewable, Microsoft silent", reuse, "renewable", budget=SMALL),
        *(_late(reuse) if reuse == "reuse" else ()),
        Variant(f"{dead}, Veeam silent", reuse, "dead", budget=SILENT),
        Variant(f"{dead}, Vault unclear", reuse, "dead", budget=UNCLEAR),
        Variant(f"{awake}, Veeam silent", reuse, "dead", sleeps_before_call=False, budget=SILENT),
        Variant(f"{awake}, Vault unclear", reuse, "dead", sleeps_before_call=False, budget=UNCLEAR),
        Variant(f"{others}, one dies", reuse, "dead", others=True, budget=died),
        Variant(f"{others}, no sleep, one dies", reuse, "dead", sleeps_before_call=False, others=True, budget=died),
        Variant(f"{others}, no sleep, Veeam silent", reuse, "dead", sleeps_before_call=False, others=True, budget=silent),
        Variant(f"{reuse:6} grant rejected by Microsoft", reuse, "rejected", budget=SMALL),
    )


def _late(reuse: str) -> tuple[Variant, ...]:
    """Return what goes on when less than half of the overlap is left. The two stricter servers take minutes each."""
    late = f"{reuse:6} assertion renewable, it hurries"
    return (
        Variant(f"{late}, Microsoft silent", reuse, "renewable", hurried=True, budget=SILENT),
        Variant(f"{late}, no sleep", reuse, "renewable", sleeps_before_call=False, hurried=True, budget=SILENT),
    )


def _large(reuse: str) -> tuple[Variant, ...]:
    """Return the research's budget: everything at once."""
    awake = f"{reuse:6} assertion dead, no sleep before the call, all at once"
    return (
        *(_late(reuse) if reuse != "reuse" else ()),
        Variant(f"{reuse:6} assertion alive, all at once", reuse),
        Variant(f"{reuse:6} assertion renewable, Microsoft silent", reuse, "renewable", budget=SILENT),
        Variant(f"{reuse:6} assertion dead, all at once", reuse, "dead", others=True),
        Variant(awake, reuse, "dead", sleeps_before_call=False, others=True),
    )


LADDER: Final = tuple(variant for reuse in REUSES for variant in _ladder(reuse))
#: Where a spent refresh token is never refused, nothing is confirmed.
REJECTED: Final = tuple(
    Variant(f"{reuse:6} grant rejected by Microsoft, others accepted", reuse, "rejected", others=True, budget=TWICE_REFUSED)
    for reuse in ("single", "family")
)
#: Minutes.
LARGE: Final = (*(variant for reuse in REUSES for variant in _large(reuse)), *REJECTED)

KEEP_ALIVE: Final = Variant(
    "keep-alive beside a rotation by rung 3, strict Microsoft",
    "single",
    "renewable",
    sleeps_before_call=False,
    strict=True,
    idle=True,
    budget=Budget(crashes=0, silences=0, deadlines=0, requests=1),
)
SICK: Final = Variant(
    "Veeam rejects everything, the grant lives",
    "single",
    "renewable",
    sleeps_before_call=False,
    sick=True,
    budget=Budget(silences=0, unclear=0, deadlines=1, starts=2),
)
SICK_TO_ONE: Final = Variant(
    "Veeam rejects one tenant and accepts others, the grant lives",
    "single",
    "alive",
    sleeps_before_call=False,
    sick=True,
    others=True,
    budget=Budget(silences=0, unclear=0, deadlines=1),
)
FALSELY: Final = Variant(
    "Veeam falsely refuses once, the assertion dead",
    "family",
    "dead",
    sleeps_before_call=False,
    others=True,
    budget=Budget(silences=0, unclear=0, deadlines=1, false_refusals=1),
)
RESTORED: Final = Variant("restored snapshot, assertion alive, Veeam silent", "family", restored=True, budget=SMALL)
RESTORED_REFUSED: Final = Variant(
    "restored snapshot, assertion alive, Veeam refuses falsely once",
    "family",
    restored=True,
    budget=Budget(crashes=0, silences=0, unclear=0, deadlines=1, starts=2, false_refusals=1),
)
RESTORED_RENEWABLE: Final = Variant(
    "restored snapshot, assertion renewable, Microsoft silent", "family", "renewable", restored=True, budget=SMALL
)
RESTORED_IN_FLIGHT: Final = Variant(
    "restored snapshot with an attempt in it, Veeam silent", "family", restored=True, in_flight=True, budget=SILENT
)
PUBLISHING: Final = Variant(
    "publication, one dies",
    publishes=True,
    budget=Budget(silences=0, unclear=0, deadlines=0, starts=2, requests=1),
)
PUBLISHING_LATE: Final = Variant(
    "publication, Vault unclear",
    publishes=True,
    budget=Budget(crashes=0, silences=0, deadlines=1, starts=2),
)
ALONGSIDE: Final = (KEEP_ALIVE, SICK, SICK_TO_ONE, FALSELY, PUBLISHING, PUBLISHING_LATE)
SNAPSHOTS: Final = (RESTORED, RESTORED_REFUSED, RESTORED_RENEWABLE, RESTORED_IN_FLIGHT)
