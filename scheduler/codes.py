"""Requests for a device code: they wait for Microsoft beside the mailbox, and nothing else of the tenant's with them."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from scheduler.timers import Timers
from vault_plugin.core.errors import AuthorizationServerUnavailable, StoreError
from vault_plugin.core.handled import Handled
from vault_plugin.core.lifecycle.requests import STALE_AFTER
from vault_plugin.core.ports import Clock, Letter
from vault_plugin.core.timing import ZERO
from vault_plugin.vault.mailbox import Received

log = structlog.get_logger()

ASKING: Final = "asking Microsoft for a code"
WAITING: Final = "Waiting"
#: Between two questions that brought no verdict, if Microsoft asks for no longer pause; doubled each time up to the longest.
PAUSE: Final = timedelta(seconds=5)
LONGEST_PAUSE: Final = timedelta(minutes=1)
NOT_LEADING_RETRY: Final = timedelta(seconds=2)


class Codes:
    """Thread-safe. One job a tenant; between two questions to Microsoft it holds no thread.

    The letters stay in the mailbox until they are answered: whoever leads after a crash finds them there.
    """

    def __init__(
        self,
        clock: Clock,
        timers: Timers,
        may_call: Callable[[], bool],
        answer: Callable[[Received, AuthorizationServerUnavailable | None], None],
        decided: Callable[[Received], bool],
        told: Callable[[str, Handled], None],
    ) -> None:
        """`answer` answers a letter; with an error, by giving up. `told` is told of those that wait, and why.

        `decided` tells whether an outcome stands already, so that Microsoft isn't asked.
        """
        self._clock = clock
        self._timers = timers
        self._may_call = may_call
        self._answer = answer
        self._decided = decided
        self._told = told
        self._letters: dict[str, dict[str, Received]] = {}
        #: How often Microsoft gave no verdict in a row, and until when (monotonic) it isn't asked, by tenant.
        self._tries: dict[str, int] = {}
        self._not_before: dict[str, timedelta] = {}
        #: For whom a thread is at work, and who is to be looked at once more.
        self._working: set[str] = set()
        self._again: set[str] = set()
        self._lock = threading.Lock()

    def __contains__(self, letter: object) -> bool:
        """Tell whether this letter is here."""
        return isinstance(letter, Letter) and letter.id in self._letters.get(letter.name, {})

    def ids(self, name: str) -> frozenset[str]:
        """Return the ids of a tenant's letters that wait here."""
        return frozenset(self._letters.get(name, {}))

    def take(self, one: Received) -> None:
        """Take a letter over: it is answered as soon as Microsoft gives a verdict."""
        name = one.letter.name
        with self._lock:
            waiting = self._letters.setdefault(name, {})
            first = not waiting
            waiting[one.letter.id] = one
        self._tell(one, ASKING)
        if first:
            self._at(name, self._left(name))

    def _tell(self, one: Received, text: str) -> None:
        self._told(
            one.letter.name,
            Handled(id=one.letter.id, action="sign-in", at=self._clock.now(), outcome=WAITING, text=text),
        )

    def _at(self, name: str, wait: timedelta) -> None:
        self._timers.at(self._clock.now() + max(wait, ZERO), f"code:{name}", self._work, "microsoft", name)

    def look_again(self, name: str) -> None:
        """Look whether a letter was answered by another one: a cancel, or a revocation."""
        if name in self._letters:
            self._at(name, ZERO)

    def _work(self, name: str) -> None:
        """Answer a tenant's letters, and plan what is left of them. One thread a tenant."""
        with self._lock:
            self._again.add(name)
            if name in self._working:
                return
            self._working.add(name)
        while name in self._again:
            self._again.discard(name)
            self._round(name)
            with self._lock:
                if name not in self._again:
                    self._working.discard(name)
        with self._lock:
            left = bool(self._letters.get(name))
            if not left:
                self._letters.pop(name, None)
        if left:
            self._at(name, max(self._left(name), NOT_LEADING_RETRY))

    def _round(self, name: str) -> None:
        if not self._may_call():
            return
        answered = set[str]()
        try:
            while (one := self._next(name, answered)) is not None:
                answered.add(one.letter.id)
                if self._left(name) <= ZERO or self._decided(one):
                    self._answer(one, None)
                    self._forget(one)
        except AuthorizationServerUnavailable as error:
            self._wait(name, error)
        except StoreError as error:
            log.warning("request_put_off", tenant=name, reason=error.reason, error=str(error))
            self._leave(name)
        except Exception:
            log.exception("request_broke", tenant=name)
            self._leave(name)

    def _left(self, name: str) -> timedelta:
        """Return how long Microsoft isn't to be asked."""
        return self._not_before.get(name, ZERO) - self._clock.monotonic()

    def _next(self, name: str, besides: set[str]) -> Received | None:
        """Return the oldest letter that wasn't looked at yet; some come while others are answered."""
        with self._lock:
            return next((one for key, one in self._letters.get(name, {}).items() if key not in besides), None)

    def _forget(self, one: Received) -> None:
        with self._lock:
            self._letters.get(one.letter.name, {}).pop(one.letter.id, None)
        if self._left(one.letter.name) <= ZERO:
            self._tries.pop(one.letter.name, None)
            self._not_before.pop(one.letter.name, None)

    def _leave(self, name: str) -> None:
        """Leave the letters to the next look into the mailbox."""
        with self._lock:
            self._letters.pop(name, None)

    def _wait(self, name: str, error: AuthorizationServerUnavailable) -> None:
        """Ask again after the pause that is asked for, or give up whatever would be too old by then."""
        tries = self._tries[name] = self._tries.get(name, 0) + 1
        pause = max(min(PAUSE * (1 << min(tries - 1, 10)), LONGEST_PAUSE), error.retry_after or ZERO)
        self._not_before[name] = self._clock.monotonic() + pause
        log.warning("code_not_given", tenant=name, reason=error.reason, error=str(error), again_in=pause.total_seconds())
        what_to_do = "" if error.remedy() == error.default_remedy else f". {error.remedy()}"
        again_at = self._clock.now() + pause
        for one in list(self._letters.get(name, {}).values()):
            if again_at < one.created_at + STALE_AFTER:
                self._tell(one, f"{error}; it is asked again{what_to_do}")
                continue
            try:
                self._answer(one, error)
            except Exception:
                log.exception("request_put_off", tenant=name)
                self._leave(name)
                return
            self._forget(one)
