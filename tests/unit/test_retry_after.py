"""``Retry-After``: both forms, the bounds, and whatever else a server may write there."""

from datetime import UTC, datetime, timedelta

import pytest

from vault_plugin.retry_after import LONGEST, SHORTEST, retry_after

NOW = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("value", "pause"),
    [
        ("1", SECOND),
        ("17", 17 * SECOND),
        (" 60\t", 60 * SECOND),
        ("1.5", 1.5 * SECOND),
        ("0007", 7 * SECOND),
        ("300", LONGEST),
        ("60s", 60 * SECOND),
        # A header that came twice: the longest counts.
        ("60, 60", 60 * SECOND),
        ("5, 10", 10 * SECOND),
        ("10,5 , 7", 10 * SECOND),
        ("60, 86400", LONGEST),
        # Within bounds, whatever is asked.
        ("0", SHORTEST),
        ("0.0", SHORTEST),
        ("301", LONGEST),
        ("86400", LONGEST),
        ("9" * 400, LONGEST),
        ("000000000000000000000000000002", 2 * SECOND),
    ],
)
def test_a_number_of_seconds(value: str, pause: timedelta) -> None:
    """It is obeyed between a second and five minutes."""
    assert retry_after(value, NOW) == pause


@pytest.mark.parametrize(
    ("value", "pause"),
    [
        ("Sun, 06 Nov 1994 08:50:07 GMT", 30 * SECOND),
        ("Sun, 06 Nov 1994 08:49:37 GMT", SHORTEST),
        ("Sun, 06 Nov 1994 08:00:00 GMT", SHORTEST),
        ("Thu, 01 Jan 1970 00:00:00 GMT", SHORTEST),
        ("Mon, 07 Nov 1994 08:49:37 GMT", LONGEST),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST),
        # The two obsolete forms, which a recipient must take (RFC 9110 section 5.6.7).
        ("Sunday, 06-Nov-94 08:50:07 GMT", 30 * SECOND),
        ("Sun Nov  6 08:50:07 1994", 30 * SECOND),
        # No zone, and the zone that says that there is none, are UTC, too.
        ("Sun, 06 Nov 1994 08:50:07", 30 * SECOND),
        ("Sun, 06 Nov 1994 08:50:07 -0000", 30 * SECOND),
        ("Sun, 06 Nov 1994 08:50:07 +0000", 30 * SECOND),
        ("Sun, 06 Nov 1994 10:50:07 +0200", 30 * SECOND),
        # Twice, and beside a number.
        ("Sun, 06 Nov 1994 08:50:07 GMT, Sun, 06 Nov 1994 08:49:47 GMT", 30 * SECOND),
        ("Sun, 06 Nov 1994 08:50:07 GMT, 20", 30 * SECOND),
        ("60, Sun, 06 Nov 1994 08:50:07 GMT", 60 * SECOND),
    ],
)
def test_a_date(value: str, pause: timedelta) -> None:
    """Its distance from now counts, within the same bounds."""
    assert retry_after(value, NOW) == pause


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        "-5",
        "+5",
        "nan",
        "NaN",
        "inf",
        "1e3",
        "1_0",
        "0x10",
        "12 s",
        "5, soon",
        "5,",
        ", 5",
        "5 10",
        "60ss",
        "soon",
        "\u0663\u0664",  # digits, but not of HTTP
        "Sun, 99 Nov 1994 08:50:07 GMT",
        "Sun, 06 Nov 1994 25:61:07 GMT",
        "Sun, 06 Foo 1994 08:50:07 GMT",
        "Sunday in the morning, at about nine o'clock",
        "1994-11-06T08:50:07Z",
        "Sun, " + "0" * 100_000,
    ],
)
def test_anything_else_asks_for_nothing(value: str | None) -> None:
    """Then the caller waits as it would without the header."""
    assert retry_after(value, NOW) is None
