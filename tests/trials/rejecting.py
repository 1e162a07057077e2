"""``python -m tests.trials.rejecting``: VB365 refuses everybody for an hour, and then is well.

Nobody may be asked to sign in, and each tenant must have a new token within 75 s of the recovery; under a throttle 12 s more
for each call that they need.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.servers.node import VaultServer
from tests.simulators.tls import Authority
from tests.trials.outage import Script, Trial

#: A minute until the next probe, and what is called for everybody after it.
WITHIN = 75
PACE = 12


@dataclass(frozen=True)
class Seen:
    """What an hour of refusals cost."""

    asked: list[str]
    states: Counter[str]
    #: Calls to the token endpoint in the hour after everybody was rejected first.
    calls: int
    #: Seconds from the recovery to the last tenant's new token, and how many calls that took.
    seconds: float
    needed: int
    allowed: float

    def wrong(self) -> bool:
        """Tell whether it is more than was promised."""
        return bool(self.asked) or self.seconds > self.allowed

    def __str__(self) -> str:
        told = ", ".join(f"{reason} {count}" for reason, count in sorted(self.states.items()))
        return (
            f"asked: {' '.join(self.asked) or 'nobody'}; while it was sick: {told}; {self.calls} calls meanwhile\n"
            f"all have a new token {self.seconds:.1f} s after the recovery (allowed: {self.allowed:.0f}), by {self.needed} calls"
        )


def play(trial: Trial, sick_for: int, say: Callable[[str], None], *, throttled: bool = False) -> Seen:
    """Let VB365 refuse everybody, and be well again."""
    veeam, deployment, names = trial.deployment.veeam, trial.deployment, trial.names
    veeam.sick = True
    begun, quiet_from = time.monotonic(), 0
    while time.monotonic() < begun + sick_for:
        time.sleep(min(20, sick_for / 20))
        statuses = [deployment.status(name) for name in names]
        states = Counter(f"{status['state']}/{status['reason']}" for status in statuses)
        say(f"{time.monotonic() - begun:6.0f} s  {dict(states)}  {len(veeam.presented)} calls so far")
        if not quiet_from and all("RejectsEveryone" in state for state in states):
            quiet_from = len(veeam.presented)
    asked = [status["tenant"] for status in statuses if status["state"] == "needs_sign_in"]
    before = {name: deployment.generation(name) for name in names}
    at = len(veeam.presented)
    veeam.sick = False
    ended = time.monotonic()
    waits, last = set(names), 0.0
    while waits and time.monotonic() < ended + 600:
        for name in list(waits):
            if deployment.generation(name) > before[name]:
                waits.discard(name)
                last = time.monotonic() - ended
        time.sleep(0.2)
    needed = len(veeam.presented) - at
    allowed = WITHIN + (PACE * needed if throttled else 0)
    return Seen(asked, states, at - quiet_from if quiet_from else -1, float("inf") if waits else last, needed, allowed)


def main() -> int:
    """Play it, and tell whether the promise held."""
    parser = argparse.ArgumentParser(prog="python -m tests.trials.rejecting", description=__doc__)
    parser.add_argument("--tenants", type=int, default=20)
    parser.add_argument("--life", type=int, default=900, help="seconds that tokens live")
    parser.add_argument("--sick", type=int, default=3600, help="seconds for which VB365 refuses everybody")
    parser.add_argument("--throttle", default="none", help="none, or 1/5/1500")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        vault = VaultServer(directory / "vault")
        try:
            script = Script(options.tenants, token_life=options.life)
            trial = Trial(script, vault, Authority(directory), directory)
            try:
                throttled = options.throttle != "none"
                if throttled:
                    second, minute, _ = options.throttle.split("/")
                    trial.deployment.veeam.throttle = {"second": int(second), "minute": int(minute)}
                    trial.deployment.ok("server", "set", "vbr", "--throttle", options.throttle)
                    trial.deployment.stop()  # a lane that learns of the throttle late would be refused, and halve its rate
                    trial.deployment.start()
                seen = play(trial, options.sick, lambda text: print(text, flush=True), throttled=throttled)
            finally:
                trial.close()
        finally:
            vault.stop()
    print(seen)
    return int(seen.wrong())


if __name__ == "__main__":
    sys.exit(main())
