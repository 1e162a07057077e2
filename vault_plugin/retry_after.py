"""How long an answer asks to wait: its ``Retry-After`` header, of Microsoft and of Veeam alike. Pure."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

#: What is obeyed at a time. Less would be no pause, and more would let one answer decide over a token's whole life.
SHORTEST: Final = timedelta(seconds=1)
LONGEST: Final = timedelta(minutes=5)

_SECONDS: Final = re.compile(r"([0-9]+)(\.[0-9]*)?s?")
#: The three forms of an HTTP date (RFC 9110 section 5.6.7) begin with the name of a day. The parser takes much more.
_DATE: Final = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? [0-9A-Za-z :+-]{18,40}")
#: Between two values, where the header came twice: before a number or a day. The comma within a date stands before neither.
_BETWEEN: Final = re.compile(r",(?=[ \t]*(?:[0-9]+(?:\.[0-9]*)?s?[ \t]*(?:,|$)|Mon|Tue|Wed|Thu|Fri|Sat|Sun))")
_FAR: Final = 9
"""So many digits are more than thirty years."""


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Return the pause that a ``Retry-After`` asks for (RFC 9110 section 10.2.3), between a second and five minutes.

    It is a number of seconds or an HTTP date; a date that has passed asks for the shortest pause. Of several, as a header
    that came twice is read, the longest counts. Nothing is returned for any other text: the caller then waits as it would
    without the header. `now` is best the time of the answer's own clock (its ``Date``), since the date that it names is by
    that clock.
    """
    pauses = [_pause(text.strip(" \t"), now) for text in _BETWEEN.split(value or "")]
    readable = [pause for pause in pauses if pause is not None]
    return max(SHORTEST, min(max(readable), LONGEST)) if len(readable) == len(pauses) else None


def _pause(text: str, now: datetime) -> timedelta | None:
    if (number := _SECONDS.fullmatch(text)) is not None:
        digits = number[1].lstrip("0")
        return LONGEST if len(digits) > _FAR else timedelta(seconds=float(text.removesuffix("s")))
    return None if (at := http_date(text)) is None else at - now


def http_date(text: str) -> datetime | None:
    """Return the time that an HTTP date names, or nothing. It is in UTC, also where it doesn't say so."""
    if _DATE.fullmatch(text) is None:
        return None
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at
