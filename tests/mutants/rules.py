"""The rules, and the text that holds each: where the code moves on, its line here must follow."""

from itertools import pairwise
from typing import Final

from tests.mutants.runner import Mutant
from tests.unit.test_questions import APART
from vault_plugin.core.policy import QUESTIONS

LEADING: Final = ("tests/scenarios/test_leading.py",)
GUARDS: Final = ("tests/scenarios/test_guards.py",)
LEASE: Final = ("tests/unit/test_lease.py", "tests/unit/test_lease_guards.py")
TAKEN_OVER: Final = ("tests/scenarios/test_take_over.py",)
POLLS: Final = ("tests/scenarios/test_polls.py",)
ANSWERS: Final = ("tests/scenarios/test_poll_answers.py",)
CODES: Final = ("tests/scenarios/test_codes.py",)
WHOLE: Final = ("tests/unit/test_whole_answers.py",)
RECOVERED: Final = ("tests/scenarios/test_recovered.py",)
SILENT: Final = ("tests/scenarios/test_silent_microsoft.py",)
CLOCK: Final = ("tests/scenarios/test_clock_and_losses.py",)
REFUSALS: Final = ("tests/scenarios/test_refusals.py",)
ATTEMPT, ADOPT = "vault_plugin/core/lifecycle/attempt.py", "vault_plugin/core/lifecycle/adopt.py"

RULES: Final = (
    Mutant(
        "a refusal counts only if another tenant was accepted between two",
        "vault_plugin/core/pair.py", "confirmed = self.confirmed or (others and", "confirmed = self.confirmed or (True and", REFUSALS,
    ),
    Mutant(
        "two refusals at once are one",
        "vault_plugin/core/pair.py", "and now - first >= policy.confirm_refusal_after", "", REFUSALS,
    ),
    Mutant(
        "while a grant of Microsoft's stands, Veeam's word asks nobody",
        "vault_plugin/core/lifecycle/verdicts.py", " or (not dead and _stands(credential.assertion, now))", "", REFUSALS,
    ),
    Mutant(
        "a refused refresh token is presented again",
        "vault_plugin/core/ladder.py", "    if pair is not None:", "    if pair is not None and pair.refused_at is None:", REFUSALS,
    ),
    Mutant(
        "who is blocked is retried by what is left of the token's life",
        "vault_plugin/core/policy.py", "if pair is not None and last < pair.expires_at:", "if False:", REFUSALS,
    ),
    Mutant(
        "from v7 on a bare message of somebody else isn't Veeam's",
        "vault_plugin/veeam/forms.py", "if answer.bare or REFUSAL.search(message) else Form.FRONT", "if True else Form.FRONT", ("tests/unit/test_veeam_words.py",),
    ),
    Mutant(
        "a page in its place doesn't say that a server is back",
        "vault_plugin/veeam/messages.py", "if page and not pages:", "if False:", ("tests/unit/test_veeam_pages.py",),
    ),
    Mutant(
        "a 404 where the proof's call was answered before ends no doubt",
        "vault_plugin/core/lifecycle/prove.py", "error.reason != REDIRECTED and not answered", "error.reason != REDIRECTED",
        ("tests/scenarios/test_dead_tokens.py",),
    ),
    Mutant(
        "another name without an id blocks nobody whose id is known",
        "vault_plugin/core/lifecycle/prove.py", "    if known:\n", "    if False:\n", ("tests/scenarios/test_identity.py",),
    ),
    Mutant(
        "a lane begins nothing while this instance doesn't lead",
        "scheduler/lanes.py", "if self._stopped or not self._may_call():", "if self._stopped:", LEADING,
    ),
    Mutant(
        "nothing is polled while this instance doesn't lead",
        "scheduler/sign_ins.py", "if not self._may_call():", "if False:", LEADING,
    ),
    Mutant(
        "no code is asked for while this instance doesn't lead",
        "scheduler/codes.py", "if not self._may_call():", "if False:", CODES,
    ),
    Mutant(
        "a wait never reaches past a sign-in's last poll",
        "vault_plugin/core/sign_in.py", "return left if left < wait + self.interval else wait", "return wait", POLLS,
    ),
    Mutant(
        "a known verdict stands whatever answer was lost before",
        "vault_plugin/core/lifecycle/sign_in.py", "if answer.spent and sign_in.doubt:", "if sign_in.doubt:", POLLS,
    ),
    Mutant(
        "a last poll without a word on the code is made once more",
        "vault_plugin/core/lifecycle/sign_in.py", "more = sign_in.interval <= LONGEST_PAUSE and (last is None or not last.final)", "more = False", ANSWERS,
    ),
    Mutant(
        "a pending answer's pause is obeyed",
        "vault_plugin/core/lifecycle/sign_in.py", "wait = max(sign_in.interval, answer.retry_after or ZERO)",
        "wait = sign_in.interval", ANSWERS,
    ),
    Mutant(
        "no interval of polls is cut short",
        "vault_plugin/core/sign_in.py", "(timedelta(seconds=1), LIFE_RANGE[1])", "(timedelta(seconds=1), timedelta(seconds=60))",
        ANSWERS,
    ),
    Mutant(
        "the bare word of an error is no verdict",
        "vault_plugin/microsoft/answer.py", "and any(body.get(name) for name in _BESIDE)", "and True", ANSWERS,
    ),
    Mutant(
        "Microsoft's pause holds back no refresh that is due",
        "scheduler/rotations.py", "self._renewals.hold(name, max(", "not_before = now + (max(", ("tests/scenarios/test_microsofts_pace.py",),
    ),
    Mutant(
        "one identity belongs to one organization",
        "scheduler/identities.py", "if any(apart(*other) for other in self._others(name, identity)):", "if False:",
        ("tests/scenarios/test_shared_identity.py",),
    ),
    Mutant(
        "nothing is renewed at Microsoft while this instance doesn't lead",
        "scheduler/renewals.py", "if self._may_call():", "if True:", LEADING,
    ),
    Mutant(
        "whoever a sick server failed is woken when it recovers",
        "vault_plugin/core/policy.py", "credential.rejected is not None or credential.failing_since is not None",
        "credential.rejected is not None", RECOVERED,
    ),
    Mutant(
        "failures of before a recovery make nobody wait for a share",
        "vault_plugin/core/ladder.py", "return facts.recovered_at is None or failures[-1].at > facts.recovered_at", "return True",
        RECOVERED,
    ),
    Mutant(
        "who failed while others were accepted isn't woken",
        "vault_plugin/core/facts.py", "failing = _standing(self.failing, name, credential.failing_since if had else None, accepted_at)",
        "failing = _standing(self.failing, name, credential.failing_since if had else None, None)", RECOVERED,
    ),
    Mutant(
        "who is asked for waits for no share",
        "scheduler/rotations.py", "shares and action.reason is not Reason.REQUESTED", "shares", RECOVERED,
    ),
    Mutant(
        "no letter is opened while this instance doesn't lead",
        "scheduler/term.py", "return self._leads() and self._health.guarded", "return self._health.guarded", LEADING,
    ),
    Mutant(
        "journals refill a lane after a restart",
        "scheduler/rotations.py", "lane.remember(begun)", "pass", LEADING,
    ),
    Mutant(
        "the call of a journal counts as late as it may have come",
        "scheduler/lanes.py", "min(now, at + longest)", "at", LEADING,
    ),
    Mutant(
        "a logout occupies a place in its lane",
        "scheduler/term.py", "self._rotations.logged_out(name)", "pass", LEADING,
    ),
    Mutant(
        "the sweep publishes what is missing",
        "scheduler/term.py", "self._publisher.publish_missing()", "pass", LEADING,
    ),
    Mutant(
        "a start publishes what a crash left unpublished",
        "scheduler/reading.py", "self._publisher.publish(name, credential)", "pass", LEADING,
    ),
    Mutant(
        "every tenant is read again within ten minutes",
        "scheduler/term.py", "settings.reread_after / 2, rounds", "settings.reread_after * 2, rounds", LEADING,
    ),
    Mutant(
        "a round reads its share of the tenants again",
        "scheduler/reading.py", "for name in self._specs.oldest(", "for name in [] and self._specs.oldest(", LEADING,
    ),
    Mutant(
        "the lease counts from before its write",
        "scheduler/leadership.py", "lease.renewed(version, begun,", "lease.renewed(version, self._clock.monotonic(),", LEASE,
    ),
    Mutant(
        "a term ends when somebody else has led",
        "scheduler/leadership.py", "if held and not self._lease.holds:", "if False:", LEASE,
    ),
    Mutant(
        "a leader stops before another may begin",
        "vault_plugin/core/lease.py", "now - self.renewed_at < LEADS_FOR)", "now - self.renewed_at < TAKEN_AFTER * 2)", LEASE,
    ),
    Mutant(
        "the logout of a superseded pair occupies a place",
        "scheduler/lanes.py", "if ran.logged_out:", "if False:", GUARDS,
    ),
    Mutant(
        "a pair made for another server is dropped when a grant is adopted",
        "vault_plugin/core/lifecycle/grant.py", "pair=current.pair if same else None", "pair=current.pair", GUARDS,
    ),
    Mutant(
        "a renewal asks for the scope that was signed in for",
        "vault_plugin/microsoft/messages.py",
        '"scope": binding.scope,\n        "refresh_token"', '"scope": stored.get("scope", binding.scope),\n        "refresh_token"',
        GUARDS,
    ),
    Mutant(
        "the whole of an answer is bounded in time",
        "vault_plugin/answering.py", "None if seconds is None else time.monotonic() + seconds", "None", WHOLE,
    ),
    Mutant(
        "the whole of an answer over TLS is bounded in time",
        "vault_plugin/timed.py",
        "class _SecureConnection(_Connection, HTTPSConnection):\n    pass",
        "class _SecureConnection(_Connection, HTTPSConnection):\n    response_class = HTTPSConnection.response_class", WHOLE,
    ),
    Mutant(
        "Microsoft's trouble is not met again at once",
        "scheduler/rotations.py", "if isinstance(error, AuthorizationServerError) and error.retryable:", "if False:", GUARDS,
    ),
    Mutant(
        "a revocation overtakes a sign-in that is approved",
        ADOPT, "if credential.state is State.REVOKED and", "if False and", GUARDS,
    ),
    Mutant(
        "nothing is sent after the deadline of the boot-time clock",
        ATTEMPT, "return wall and world.clock.boottime()", "return wall or world.clock.boottime()", GUARDS,
    ),
    Mutant(
        "a request speaks of the documents as they are now",
        "scheduler/mail.py", "self._reread(letter.name)", "pass", GUARDS,
    ),
    Mutant(
        "a refresh that was taken over goes last, whatever became of the attempt that took over",
        "vault_plugin/core/credential.py", "pair = pair.replace(doubtful=True)", "pass", TAKEN_OVER,
    ),
    Mutant(
        "a sign-in's exchange that another instance makes is waited for",
        ADOPT, "if entry and entry.instance != world.instance and left > ZERO:", "if False:", TAKEN_OVER,
    ),
    Mutant(
        "the journal of a sign-in that is over is left to whoever may be calling",
        ADOPT, "if entry.instance != world.instance and unchanged_for(credential, seen) < entry.lease:", "if False:", TAKEN_OVER,
    ),
    Mutant(
        "a grant that was adopted before a crash is not exchanged again",
        ADOPT, "if credential.sign_in_id == sign_in.id:  #", "if False:  #", TAKEN_OVER,
    ),
    Mutant(
        "the secrets of a sign-in that is over are destroyed",
        "vault_plugin/core/lifecycle/sign_in.py",
        "world.store.destroy(SignIn, name, range(max(1, version - 2), version))", "pass", TAKEN_OVER,
    ),
    Mutant(
        "a sign-in whose tenant was changed before the exchange sends nothing",
        ADOPT, "if tenant is not None and (changed :=", "if False and (changed :=", TAKEN_OVER,
    ),
    Mutant(
        "a late renewal of an old grant isn't stored over a new sign-in's",
        ATTEMPT, "or current.sign_in_id != run.grant.sign_in_id or newer:", "or newer:", TAKEN_OVER,
    ),
    Mutant(
        "a late renewal brings no revoked grant back",
        ATTEMPT, "if current.state is State.REVOKED or current.sign_in_id", "if current.sign_in_id", TAKEN_OVER,
    ),
    Mutant(
        "a pair is stored though somebody wrote before the credential was deleted",
        ATTEMPT, "return run.credential if is_deleted(current) else current", "return current",
        ("tests/scenarios/test_deleted.py",),
    ),
    Mutant(
        "no older generation is published over a newer",
        "vault_plugin/core/lifecycle/latest.py", "(known[1] < rank or not rank)", "True",
        ("tests/scenarios/test_publication.py",),
    ),
    Mutant(
        "a journal counts once though a start reads it twice",
        "scheduler/reading.py",
        "credential = self._rotations.load(name, remember=name not in self._remembered)",
        "credential = self._rotations.load(name, remember=True)", LEADING,
    ),
    Mutant(
        "a clock that is set back makes no rotation late",
        "vault_plugin/core/policy.py", "or at - self.set_back", "or at", LEADING,
    ),
    Mutant(
        "by how much the clock was set back is known for as long as the pair stands",
        "scheduler/planned.py", "set_back=max(planned.set_back - step, ZERO)", "set_back=ZERO", LEADING,
    ),
    Mutant(
        "a doubted refresh token is presented one time before a silent Microsoft",
        "vault_plugin/core/ladder.py", "return not pair.presented if pair.doubted", "return True if pair.doubted", SILENT,
    ),
    Mutant(
        "a call that nobody looked at doesn't use it up",
        ATTEMPT, "current if looked_at(error) else", "current if True else", SILENT,
    ),
    Mutant(
        "a refresh that was refused in an earlier attempt makes the others' tokens doubtful",
        ATTEMPT, "refused = pair is not None and pair.refused_at", "refused = bool(run.attempt.rejections) and pair and pair.refused_at",
        SILENT,
    ),
    Mutant(
        "a pair is as old as the clock that was set back makes it",
        "vault_plugin/core/timing.py", "at = issued_at - set_back", "at = issued_at", ("tests/unit/test_planned.py",),
    ),
    Mutant(
        "a clock that nobody saw being set hides no loss",
        "vault_plugin/core/timing.py", "return at if at <= now else", "return at if True else", CLOCK,
    ),
    Mutant(
        "a loss that was found is not forgotten when the clock is set back",
        "scheduler/term.py", "self._proving.clock_stepped(step)", "pass", CLOCK,
    ),
)  # fmt: skip


def mutants() -> list[Mutant]:
    """Return every rule of the table, and each pair of questions whose order can be seen."""
    return [*RULES, *_orders()]


def _orders() -> list[Mutant]:
    """Return a swap of each two neighbours among the questions."""
    asked, line = "tests/unit/test_questions.py", "for question in QUESTIONS:"
    swaps = []
    for at, names in enumerate(pairwise(question.__name__ for question in QUESTIONS)):
        if names not in APART:
            swapped = f"(*QUESTIONS[:{at}], QUESTIONS[{at + 1}], QUESTIONS[{at}], *QUESTIONS[{at + 2}:])"
            rule = f"the question {names[0]} is asked before {names[1]}"
            swaps.append(Mutant(rule, "vault_plugin/core/policy.py", line, f"for question in {swapped}:", (asked,)))
    return swaps
