"""Play one kind of work, kill the service at a place, start it again, and look at the invariants."""

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from tests.crash.kinds import KINDS, Kind, lost_and_asked_again
from tests.crash.record import beside_the_table, settled_between, written
from tests.crash.stage import Consumer, Stage
from tests.servers.node import VaultServer, fresh_mount
from tests.simulators.tls import Authority
from vault_plugin.core.sign_in import SignIn
from vault_plugin.core.states import State

AT_ONCE = 2
#: So long may a life of the service take to get its work done, in seconds.
PATIENCE = 60.0
#: A life is over when nothing more happens for so long.
QUIET = 1.5
LOOK = 0.1
#: The lease is written when a service starts, whatever its work: killed there in one kind only.
AT_START = "write service #1"
#: Written best effort, in turns that depend on threads: the same number needn't be reached in every run.
BEST_EFFORT = ("write status", "Veeam organization")


@dataclass
class Run:
    """One run: where the process was killed, how it ended, and which invariants didn't hold."""

    kind: str
    kills: tuple[str, ...]
    outcome: str = ""
    seconds: float = 0.0
    reached: bool = True
    asks: int = 1
    problems: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)


class Presented(Protocol):
    """A refresh token that a simulator was presented with."""

    @property
    def at(self) -> datetime: ...
    @property
    def grant(self) -> str: ...
    @property
    def sha256(self) -> str: ...


def play(stage: Stage, kind: Kind, kills: Sequence[str]) -> Run:
    """Play one run to its end. Each kill is one life of the service; the last life isn't killed."""
    run = Run(kind.name, tuple(kills))
    kind.prepare(stage)
    consumer = Consumer(stage)
    if kind.name != "revoke":
        consumer.start()
    began = time.monotonic()
    try:
        for last in (*kills, ""):
            stage.begin(last)
            died = _live(stage, kind, run, quiet=not kills or bool(last))
            run.reached &= died or not last
            stage.kill()
            if last and not died:
                break
    except AssertionError as error:
        run.problems.append(str(error))
    finally:
        stage.kill()
        if consumer.is_alive():
            consumer.stop()
    run.seconds = time.monotonic() - began
    run.problems += consumer.troubles
    run.places = [line.place for line in stage.lines() if line.place]
    if not run.problems:
        _judge(stage, kind, run)
    return run


def _live(stage: Stage, kind: Kind, run: Run, *, quiet: bool) -> bool:
    """Let the service live until it dies (then tell so) or has done its work, and, if `quiet`, does nothing more."""
    deadline = time.monotonic() + PATIENCE
    steps, since, done = -1, time.monotonic(), False
    while time.monotonic() < deadline:
        if stage.died():
            return True
        if kind.person and not done:
            stage.enter(decline=kind.person == "decline")
            run.asks += lost_and_asked_again(stage, run.asks)
        done = done or kind.done(stage)
        if done:
            before, steps = steps, sum("write service" not in line.place for line in stage.lines())
            since = since if steps == before else time.monotonic()
            if not quiet or time.monotonic() - since > QUIET:
                return False
        time.sleep(LOOK)
    raise AssertionError(f"not done within {PATIENCE:.0f} s: {stage.read_state()}\n{stage.log()[-1500:]}")


# --- the invariants --------------------------------------------------------------------------------------------------


def _judge(stage: Stage, kind: Kind, run: Run) -> None:
    credential, lines = stage.credential(), stage.lines()
    problems = run.problems
    problems += beside_the_table(lines)
    problems += _again("Veeam", stage.veeam.presented, stage) + _again("Microsoft", stage.microsoft.presented, stage)
    before = 1 if kind.name != "sign-in" else 0
    if credential.generation != before + kind.pairs:
        problems.append(f"generation {credential.generation} after {before}")
    states = {line.state for line in written(lines)}
    problems += [f"it was {state}" for state in states & {State.BLOCKED, State.NEEDS_SIGN_IN}]
    if run.asks > 1 and not any(in_the_window(run.places, kill) for kill in run.kills):
        problems.append("the approval was lost where it needn't be")
    if not kind.person and not stage.sign_in_record().id.startswith("before"):
        problems.append("a person was asked")
    problems += _gone(stage) if credential.state is State.REVOKED else _serves(stage)
    run.outcome = "completed" if credential.reason is kind.reason else f"completed by {credential.reason}"
    if run.asks > 1:
        run.outcome = "ApprovalLost, asked once more"


def in_the_window(places: Sequence[str], kill: str) -> bool:
    """Tell whether a death here loses an approval: handed out, and not stored. RFC 8628 leaves no way back."""
    at = places.index(kill)
    polls = "Microsoft poll"
    return f"after {polls}" in kill or ("before write sign-ins" in kill and f"after {polls}" in places[at - 1])


def _again(who: str, presented: Iterable[Presented], stage: Stage) -> list[str]:
    """Return the refresh tokens that were presented again although the store knew their outcome."""
    wrong, seen, lines = [], dict[str, float](), stage.lines()
    for one in presented:
        at = one.at.timestamp()
        if one.grant != "refresh_token":
            continue
        if one.sha256 in seen and settled_between(lines, seen[one.sha256], at):
            wrong.append(f"{who} was presented {one.sha256[:8]} again, and its outcome was stored")
        seen[one.sha256] = at
    return wrong


def _serves(stage: Stage) -> list[str]:
    """Look at the token that consumers read at the end, and at what a sign-in leaves."""
    look = Consumer(stage)
    look.look()
    left = [path for path in stage.older_secrets() if path.startswith(SignIn.kind)]
    assertion = stage.sign_in_record().assertion is not None
    return look.troubles + [f"an older version of {path} can be read" for path in left] + ["an assertion is left"] * assertion


def _gone(stage: Stage) -> list[str]:
    """Look whether anything secret is left, in Vault or at Veeam."""
    credential = stage.credential()
    problems = [f"an older version of {path} can be read" for path in stage.older_secrets()]
    if credential.pair or credential.assertion or stage.sign_in_record().assertion:
        problems.append("a secret is left")
    if not all(session.dead for session in stage.veeam.sessions):
        problems.append("a session lives on at Veeam")
    return problems


# --- every place -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Harness:
    """One server for all runs, two runs at a time."""

    vault: VaultServer
    authority: Authority

    def run(self, kind: Kind, *kills: str) -> Run:
        """Play one run on a mount of its own."""
        with tempfile.TemporaryDirectory() as directory:
            stage = Stage(self.vault, fresh_mount(), self.authority, Path(directory))
            try:
                return play(stage, kind, kills)
            finally:
                stage.close()

    def places(self, kinds: Iterable[Kind] = tuple(KINDS.values())) -> list[tuple[Kind, str]]:
        """Play each kind without a kill and return every place that it comes by."""
        found: list[tuple[Kind, str]] = []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for run in pool.map(self.run, kinds):
                assert not run.problems, f"{run.kind} without a kill: {run.problems}"
                kind = KINDS[run.kind]
                found += [(kind, place) for place in run.places if "write service" not in place and kind.kills_at(place)]
                found += [(kind, place) for place in run.places if AT_START in place and run.kind == "refresh"]
        return found

    def everywhere(self, told: Callable[[Run], None] = lambda _: None) -> list[Run]:
        """Kill once at each place of each kind."""
        runs = []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for run in pool.map(lambda at: self.run(*at), self.places()):
                told(run)
                runs.append(run)
        return runs


def table(runs: Sequence[Run]) -> str:
    """Return one line a run."""
    rows = [(run.kind, ", then ".join(run.kills), run.outcome or "; ".join(run.problems), run.seconds) for run in runs]
    wide = max(len(place) for _, place, _, _ in rows)
    return "\n".join(f"{kind:<14} {place:<{wide}}  {seconds:5.1f} s  {outcome}" for kind, place, outcome, seconds in rows)
