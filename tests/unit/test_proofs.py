"""Which token is proved next, and what follows: one dead may be its consumer's doing, two are the server's."""

from datetime import UTC, datetime, timedelta

from vault_plugin.core.proofs import A_WINDOW, AGAIN_AFTER, GIVEN_UP_AFTER, WINDOW, Found, Proofs, Shown, Verdict

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
START = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def shown(*names: str) -> list[Shown]:
    """Return published tokens, each issued a minute before the next."""
    return [Shown(name, NOON - MINUTE * (len(names) - place)) for place, name in enumerate(names)]


class Server:
    """Proofs of a server whose tokens are dead or alive, asked as the edge does."""

    def __init__(self, *names: str, dead: str = "") -> None:
        self.proofs, self.tokens, self.dead, self.now = Proofs(), shown(*names), set(dead), START
        self.asked: list[str] = []

    def run(self, verdict: Verdict | None = None) -> list[Found]:
        """Prove until there is nothing to prove now; return what followed."""
        found = []
        while (name := self.proofs.next(self.tokens, self.now)) is not None:
            self.asked.append(name)
            token = next(each for each in self.tokens if each.name == name)
            said = verdict or (Verdict.DEAD if name in self.dead else Verdict.ALIVE)
            answer = self.proofs.answered(token, said, self.now)
            if answer.dead:
                found.append(answer)
                self.tokens.remove(token)
        return found


def test_one_answer_ends_a_doubt_where_nothing_was_lost() -> None:
    """After an outage the newest token of before is asked, and nobody else."""
    server = Server(*"abcd")
    server.proofs.doubt(NOON, NOON, START)
    assert server.run() == []
    assert server.asked == ["d"]
    assert server.proofs.wake_in(START) is None


def test_two_dead_tokens_make_everybody_due() -> None:
    """All that was issued before the outage's end."""
    server = Server(*"abcd", dead="abcd")
    server.proofs.doubt(NOON, NOON, START)
    assert server.run() == [Found(dead=True), Found(dead=True, lost_before=NOON)]
    assert server.asked == ["d", "c"]
    assert server.proofs.wake_in(START) is None


def test_a_consumer_that_ends_its_own_session_makes_its_own_tenant_due() -> None:
    """However often, and whoever is asked beside it."""
    server = Server(*"abcd", dead="b")
    server.proofs.report("b", NOON, START)
    assert server.run() == [Found(dead=True)]
    assert server.asked == ["b", "a"], "the second witness was issued no later than the first"


def test_a_token_issued_after_the_loss_is_no_witness_of_before() -> None:
    """Where a is the only one of before, it is asked; d, issued after it, would say that all is well."""
    server = Server(*"abcd", dead="ab")
    server.proofs.doubt(NOON, NOON - MINUTE * 3, START)
    assert server.run()[-1].lost_before == NOON
    assert server.asked == ["b", "a"]


def test_reports_wait_until_the_doubt_is_settled_and_go_first_then() -> None:
    """In the order in which they came; what was issued by then is the better witness."""
    server = Server(*"abcd", dead="abcd")
    for name in "cab":
        server.proofs.report(name, NOON, START)
    assert server.run() == [Found(dead=True), Found(dead=True, lost_before=NOON, reported=("a",))]
    assert server.asked == ["c", "b"]


def test_a_reported_token_that_works_is_left_alone() -> None:
    """One call, and no doubt of the others."""
    server = Server(*"ab")
    server.proofs.report("a", NOON, START)
    assert server.run() == []
    assert server.asked == ["a"]


def test_six_proofs_a_minute_and_no_more() -> None:
    """Whatever is reported and doubted; the window is sliding."""
    names = "abcdefghij"
    server = Server(*names)
    for name in names:
        server.proofs.report(name, NOON, START)
    server.run()
    assert len(server.asked) == A_WINDOW
    assert server.proofs.wake_in(START) == WINDOW
    server.now += WINDOW - timedelta(seconds=1)
    server.run()
    assert len(server.asked) == A_WINDOW
    server.now += timedelta(seconds=1)
    server.run()
    assert server.asked == list(names)


def test_a_tenants_report_is_taken_once_a_minute_and_few_wait() -> None:
    """The others lie where they are: nothing is forgotten, and nothing grows."""
    proofs = Proofs()
    proofs.report("a", NOON, START)
    assert not proofs.room_for("a", START + WINDOW - timedelta(seconds=1))
    assert proofs.room_for("a", START + WINDOW)
    for name in "bcdef":
        proofs.report(name, NOON, START)
    assert not proofs.room_for("g", START)


def test_a_token_that_is_known_to_be_dead_needs_no_proof() -> None:
    """It counts as the tenant's one of this minute all the same."""
    proofs = Proofs()
    proofs.report("a", NOON, START, known=True)
    assert proofs.wake_in(START) is None
    assert not proofs.room_for("a", START)


def test_silence_says_nothing_and_is_asked_again_others_first() -> None:
    """For ten minutes; then nobody doubts any more."""
    server = Server(*"abc", dead="abc")
    server.proofs.doubt(NOON, NOON, START)
    assert server.proofs.next(server.tokens, server.now) == "c"
    server.proofs.answered(server.tokens[2], Verdict.UNKNOWN, server.now)
    assert server.proofs.next(server.tokens, server.now) is None
    assert server.proofs.wake_in(server.now) == AGAIN_AFTER
    server.now += AGAIN_AFTER
    assert server.proofs.next(server.tokens, server.now) == "b"
    server.now += GIVEN_UP_AFTER
    assert server.proofs.next(server.tokens, server.now) is None
    assert server.proofs.wake_in(server.now) is None


def test_an_outage_that_is_over_is_asked_about_at_once() -> None:
    """Though a proof went unanswered while it lasted; and what was found meanwhile counts."""
    server = Server(*"abc", dead="abc")
    server.proofs.report("b", NOON, START)
    token = next(each for each in server.tokens if each.name == server.proofs.next(server.tokens, START))
    server.proofs.answered(token, Verdict.UNKNOWN, START)
    server.proofs.doubt(NOON + MINUTE, NOON + MINUTE, START)
    assert server.run()[-1].lost_before == NOON + MINUTE


def test_who_cant_be_asked_is_no_witness_and_ends_no_doubt() -> None:
    """Paused, or changed since the sign-in: another is asked."""
    server = Server(*"abc", dead="ab")
    server.proofs.doubt(NOON, NOON, START)
    assert server.proofs.next(server.tokens, START) == "c"
    server.proofs.answered(server.tokens[2], Verdict.GONE, START)
    assert server.run()[-1].lost_before == NOON
    assert server.asked == ["b", "a"]


def test_a_server_that_doesnt_serve_the_question_is_left_alone() -> None:
    """Nobody's token can be proved there."""
    server = Server(*"abc", dead="abc")
    server.proofs.report("a", NOON, START)
    server.proofs.report("b", NOON, START)
    assert server.run(Verdict.UNSERVED) == []
    assert server.asked == ["a"]


def test_what_was_issued_after_the_doubt_is_not_asked() -> None:
    """It is of a session that was begun since."""
    server = Server(*"ab", dead="ab")
    server.proofs.doubt(server.tokens[1].issued_at, NOON, START)
    assert server.run() == [Found(dead=True)]
    assert server.asked == ["a"]


def test_a_death_that_couldnt_be_noted_is_proved_once_more() -> None:
    """Vault was away."""
    server = Server(*"ab", dead="ab")
    server.proofs.again("a", NOON, START)
    assert server.proofs.next(server.tokens, START) is None
    server.now += AGAIN_AFTER
    assert len(server.run()) == 2


def test_what_was_noted_before_the_clock_was_set_back_is_moved_along() -> None:
    """Else what is issued by the right clock would seem to be of before, and what is found would lie in the future."""
    server = Server(*"ab", dead="a")
    server.proofs.doubt(NOON + MINUTE * 60, NOON + MINUTE * 60, START)
    server.proofs.report("a", NOON + MINUTE * 60, START)
    server.proofs.set_back(MINUTE * 60 + timedelta(seconds=90))
    assert server.run() == [Found(dead=True)], "b was issued since: it would have been asked first, and said that all is well"
    assert server.asked == ["a"]
