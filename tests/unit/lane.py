"""A lane that a test plays: with a clock that it moves, calls that it answers, and looks that bring what it wants."""

from datetime import UTC, datetime, timedelta

from vault_plugin.core.lanes import Call, Entry, Lane
from vault_plugin.core.tenants import Throttle

SECOND = timedelta(seconds=1)
START = datetime(2026, 11, 25, 12, tzinfo=UTC)
NO_THROTTLE = Throttle(per_second=0, per_minute=0, per_hour=0)


class Play:
    """A lane with a clock that the test moves."""

    def __init__(self, throttle: Throttle = NO_THROTTLE) -> None:
        self.lane = Lane(throttle)
        self.at = timedelta(0)
        #: When one looked; and how often it was told that the server is back.
        self.looks: list[timedelta] = []
        self.back = 0

    def put(self, name: str, due: float = 0, expires: float = 3600, *, urgent: bool = False, retrying: bool = False) -> None:
        self.lane.put(Entry(name, START + due * SECOND, START + expires * SECOND, urgent, retrying))

    def begin(self) -> Call | None:
        return self.lane.begin(START + self.at, self.at)

    def look(self, *, trouble: bool = False, latency: float = 0.0) -> bool:
        """Look if that is due: the server answers, or doesn't. Tell whether it was due."""
        look = self.lane.look(START + self.at, self.at)
        if look is None:
            return False
        self.looks.append(self.at)
        self.at += latency * SECOND
        self.back += self.lane.looked(look, trouble=trouble)
        return True

    def wait(self) -> timedelta | None:
        return self.lane.wake_in(START + self.at, self.at)

    def next(self, latency: float = 0.0, *, outage: bool = False, throttled: bool = False, sent: bool = True) -> str:
        """Wait for the next call, make it, and return for whom it was."""
        call = self.begin()
        while call is None:
            self.look()
            wait = self.wait()
            assert wait is not None
            assert wait >= timedelta(0)
            self.at += wait
            call = self.begin()
        assert call.entry is not None
        name = call.entry.name
        self.at += latency * SECOND
        self.back += self.lane.end(call, self.at, outage=outage, throttled=throttled, sent=sent)
        return name

    def hang_for(self, time: timedelta, *, again_after: float = 0, urgent: bool = False) -> list[str]:
        """Let one hang while a hundred are due; return for whom calls were made, one at a time."""
        self.put("hangs", expires=1, urgent=urgent)
        for number in range(100):
            self.put(f"t{number}", expires=1000 + number)
        made = []
        while self.at < time:
            call = self.begin()
            if call is None:
                self.look()
                wait = self.wait()
                assert wait is not None
                self.at += max(wait, 0.001 * SECOND)
                continue
            assert call.entry is not None
            name = call.entry.name
            made.append(name)
            if name == "hangs":
                self.at += 35 * SECOND
                self.put("hangs", due=self.at / SECOND + again_after, expires=1, urgent=urgent)
            self.lane.end(call, self.at, outage=name == "hangs")
        return made
