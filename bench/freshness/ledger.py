"""What consumers get: how long they hold an expired token, worst and on average over every phase of their re-reading."""

from dataclasses import dataclass, field
from datetime import timedelta

from bench.freshness.agenda import CLEAR, Spells

#: How often consumers read again. The documented interval is 5 minutes; Vault Agent's default is 285 s.
REREADS = tuple(timedelta(seconds=s) for s in (30, 285, 300, 3600))
#: How often a read that failed is made again: the longest pause of Vault Agent's.
AGAIN = timedelta(minutes=1)
#: So many phases of a consumer are looked at where Vault is away while it reads.
PHASES = 24


@dataclass
class Gap:
    """Time without a valid token: the sum of the means, and the longest."""

    total: float = 0.0
    worst: float = 0.0

    def add(self, mean: float, worst: float) -> None:
        """Add one token's."""
        self.total += mean
        self.worst = max(self.worst, worst)


@dataclass
class Ledger:
    """Told of every token when it can be read. Tenants that the server always refuses aren't counted."""

    since: timedelta
    until: timedelta
    vault: Spells = CLEAR
    ignored: frozenset[str] = frozenset()
    #: Consumers get their own tokens, at their own reads: what Vault holds is what they hold.
    own_reads: bool = False
    #: Tokens as they stand in Vault, without a consumer.
    stored: Gap = field(default_factory=Gap)
    held: dict[timedelta, Gap] = field(default_factory=lambda: {reread: Gap() for reread in REREADS})
    rotations: int = 0
    least_left: float = float("inf")
    sum_left: float = 0.0
    counted: int = 0
    people: int = 0
    #: Since when each tenant's token can be read, and when it expires.
    _tokens: dict[str, tuple[timedelta, timedelta]] = field(default_factory=dict)

    def begin(self, name: str, issued: timedelta, expires: timedelta) -> None:
        """Take what can be read at the beginning."""
        self._tokens[name] = issued, expires

    def published(self, name: str, at: timedelta, expires: timedelta) -> None:
        """Note a new token that can be read from this time."""
        self.rotations += 1
        read_from, before = self._tokens[name]
        self._tokens[name] = at, expires
        if name in self.ignored or at < self.since:
            return
        left = (before - at).total_seconds()
        self.least_left = min(self.least_left, left)
        self.sum_left += left
        self.counted += 1
        self._gap(before, at, at - read_from)

    def end(self) -> None:
        """Count those that are expired at the end."""
        for name, (_, expires) in self._tokens.items():
            late = (self.until - max(expires, self.since)).total_seconds()
            if name not in self.ignored and late > 0:
                for gap in (self.stored, *self.held.values()):
                    gap.add(late, late)

    def _gap(self, expires: timedelta, new_at: timedelta, offered_for: timedelta) -> None:
        """Count how long the old token is held past its expiry, until the new one was read."""
        late = (new_at - max(expires, self.since)).total_seconds()
        if late > 0:
            self.stored.add(late, late)
        for reread, gap in self.held.items():
            every = reread.total_seconds()
            if self.own_reads:
                gap.add(max(0.0, late), max(0.0, late))
                continue
            if late + every <= 0 and not self.vault.meets(new_at, new_at + reread):
                continue
            # A consumer reads the new token `wait` after it came. Those that would read later than a whole interval after
            # the old one came have never held that.
            least = max(0.0, every - offered_for.total_seconds())
            if self.vault.meets(new_at, new_at + reread):
                waits = [least + (every - least) * phase / PHASES for phase in range(PHASES + 1)]
                lates = [self._late(expires, new_at + timedelta(seconds=wait)) for wait in waits]
                gap.add(sum(lates) / len(lates) * (every - least) / every, max(lates))
            elif (first := max(least, -late)) < every:
                gap.add((late * (every - first) + (every**2 - first**2) / 2) / every, late + every)

    def _late(self, expires: timedelta, read: timedelta) -> float:
        """Return how late a read is; one that falls into an outage of Vault is made again every minute."""
        while self.vault.over(read) is not None:
            read += AGAIN
        return max(0.0, (read - expires).total_seconds())

    def share(self, gap: Gap, tenants: int) -> float:
        """Return the share of time that this gap makes."""
        healthy = tenants - len(self.ignored)
        return gap.total / (healthy * (self.until - self.since).total_seconds())
