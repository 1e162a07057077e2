"""A whole term at a server that answers with trouble: all are well soon after it is, and the broken ones still wait."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.scenarios.term import HOUR, MINUTE, PlayedTerm, form_of
from tests.simulators.http import Request, Response, json_response
from vault_plugin.core.credential import Credential
from vault_plugin.core.tenants import Throttle

ELEVEN = tuple(f"t{number:02}" for number in range(11))
#: Answers that say nothing about what was presented.
TROUBLES = {
    "500": json_response(500, {"message": "An unexpected error has occurred.", "errorCode": "Unknown"}),
    "its proxy is away": json_response(400, {"message": "The proxy is offline", "errorCode": "ProxyOffline"}),
    "a gateway's 401": json_response(401, {"message": "Unauthorized"}),
    "a redirect": Response(302, b"", {"Location": "https://login.example/"}),
    "a page": Response(200, b"<html>Maintenance</html>"),
}


class Trouble:
    """What the server answers instead, to whom: everybody, or some."""

    def __init__(self, played: PlayedTerm) -> None:
        self.played = played
        self.answer: Response | None = None
        self.whom: tuple[str, ...] = ()
        played.instead = self.instead

    def instead(self, call: str, request: Request) -> Response | None:
        if self.answer is None or call != "veeam token":
            return None
        return self.answer if not self.whom or self.name_of(request) in self.whom else None

    def name_of(self, request: Request) -> str:
        """Return whose grant or refresh token it is."""
        form = form_of(request)
        shown = form.get("client_id") or next(
            session.organization
            for session in self.played.veeam.sessions
            if form["refresh_token"] in {session.current_refresh, *session.spent}
        )
        return shown.partition(".")[0]


@pytest.fixture
def trouble(played: PlayedTerm) -> Iterator[Trouble]:
    made = Trouble(played)
    yield made
    assert not made.played.timers.broke


def all_new(played: PlayedTerm, names: tuple[str, ...], within: timedelta) -> timedelta:
    """Play until everybody has a new token; return how long that took."""
    begun, before = played.clock.monotonic(), {name: played.generation(name) for name in names}
    while waiting := [name for name in names if played.generation(name) == before[name]]:
        assert played.clock.monotonic() - begun < within, waiting
        played.play(MINUTE / 12)
    return played.clock.monotonic() - begun


@pytest.mark.parametrize("answer", TROUBLES.values(), ids=TROUBLES)
def test_all_are_well_soon_after_the_server_is(played: PlayedTerm, trouble: Trouble, answer: Response) -> None:
    """One call in two minutes while nobody is accepted, and everybody at the lane's own pace from the first acceptance on."""
    for number, name in enumerate(ELEVEN):
        played.credential(name, age=3 * number * MINUTE)
    played.server("vbr", throttle=Throttle())
    played.lead()
    trouble.answer = answer
    played.play(2 * HOUR)
    trouble.answer = None
    before = len(played.made("veeam token"))

    taken = all_new(played, ELEVEN, within=20 * MINUTE)

    calls = len(played.made("veeam token")) - before
    assert taken <= 2 * MINUTE + calls * MINUTE / 5
    assert calls <= 2 * len(ELEVEN)


def test_who_fails_while_others_are_accepted_is_not_woken_by_them(played: PlayedTerm, trouble: Trouble) -> None:
    """It is these tenants' own trouble: they are tried by their backoff, and in their share of the lane."""
    broken = ELEVEN[:4]
    for number, name in enumerate(ELEVEN):
        played.credential(name, age=4 * number * MINUTE)
    played.server("vbr", throttle=Throttle())
    played.lead()
    trouble.answer, trouble.whom = TROUBLES["500"], broken
    played.play(4 * HOUR)
    before = len(played.made("veeam token"))

    played.play(4 * HOUR)

    healthy = 7 * 4 * 60 / 36
    assert len(played.made("veeam token")) - before <= healthy + 4 * 4 * 4 * 1.2, "every 15 minutes, each of four"
    assert {name for name in ELEVEN if played.stands(Credential, name).failing_since is not None} == set(broken)


def test_who_is_asked_for_waits_for_no_share(played: PlayedTerm, trouble: Trouble) -> None:
    """Four broken ones have one call in two minutes; an operator wants them now."""
    broken = ELEVEN[:4]
    for name in ELEVEN:
        played.credential(name, age=36 * MINUTE)
    played.server("vbr", throttle=Throttle())
    played.lead()
    trouble.answer, trouble.whom = TROUBLES["500"], broken
    played.play(2 * HOUR)
    trouble.answer = None
    for name in broken:
        played.ask(name, "rotate", "r1")

    assert all_new(played, broken, within=3 * MINUTE) <= MINUTE
