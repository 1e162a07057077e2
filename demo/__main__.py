"""``python -m demo``: a real OpenBao, both simulators, the service and a real consumer, on free loopback ports.

With ``SERVER=vault`` it is a real HashiCorp Vault. Registers, adds a server and two tenants, signs one in, shows a consumer's
file change as short-lived tokens rotate, kills the service in the middle, and says at the end what was seen. Exit status 0 if
all of it was.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from demo.stage import Stage
from tests.agent import Agent
from tests.servers.binary import COMMANDS, server, server_name

TOKEN_LIFE = 20
ORGANIZATION = "contoso.onmicrosoft.com"


class Missed(Exception):
    """The demo didn't see what it had to see."""


def say(text: str) -> None:
    """Print a line for the reader."""
    print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def expect(what: str, *, seen: bool) -> None:
    """Fail if something wasn't seen."""
    if not seen:
        raise Missed(what)


def follow(stage: Stage, consumer: Agent, *, rotations: int, within: float) -> list[int]:
    """Watch the consumer's file each second: return the generations seen, and refuse a token that Veeam would refuse."""
    seen: list[int] = []
    reads = 0
    deadline = time.monotonic() + within
    while time.monotonic() < deadline and len(seen) <= rotations:
        time.sleep(1.0)
        content = consumer.read()
        if content is None:
            continue
        reads += 1
        generation, token = content
        expect(f"the consumer's token of generation {generation} is refused by Veeam", seen=stage.accepted(token))
        if not seen or generation != seen[-1]:
            seen.append(generation)
            print(f"   consumer's file: generation {generation}, accepted by Veeam ({reads} reads so far)", flush=True)
    expect(f"{rotations} rotations in {within:.0f} s; saw generations {seen}", seen=len(seen) > rotations)
    return seen


def play(directory: Path, *, manual: bool) -> list[str]:
    """Play the demo and return what was seen."""
    seen = []
    with ExitStack() as stack:
        say(f"Starting a real {server_name()}, and Microsoft and VB365 as simulators")
        stage = Stage(directory, token_life=TOKEN_LIFE, organization=ORGANIZATION)
        stack.callback(stage.close)
        print(f"   {server_name()} {stage.vault.url}   Microsoft {stage.microsoft}   VB365 {stage.veeam}")

        say("Registering: mount, policies, a role for the service")
        stage.register()
        stage.vb365("register", "--auth", "approle", "--check")

        say("An admin adds the server, an operator two tenants")
        stage.vb365("server", "set", "vbr1", "--url", stage.veeam, "--ca-file", stage.ca, "--throttle", "none")
        for tenant in ("acme", "globex"):
            options = ("--organization", ORGANIZATION, "--authority", stage.microsoft, "--consumer-reread", "2s")
            stage.vb365("tenant", "set", tenant, "--server", "vbr1", *options)

        say("Starting the service")
        stage.start_service()
        print(f"   ready: http://{stage.http}/readyz")

        say("Signing acme in" + (": open the link and enter the code" if manual else "; the approval is clicked for you"))
        began = time.monotonic()
        stage.sign_in("acme", approve=not manual)
        seen.append(f"one sign-in by device code, {time.monotonic() - began:.1f} s from asking to a token in Vault")

        say(f"A consumer: {COMMANDS[server()]} agent renders a file, with a token that may read this one path")
        consumer = stage.consumer("acme")
        stack.callback(consumer.close)
        before = follow(stage, consumer, rotations=2, within=60)

        say("kill -9 of the service, and a new start")
        stage.kill_service()
        stage.start_service()
        after = follow(stage, consumer, rotations=2, within=60)
        generations = sorted({*before, *after})
        seen.append(
            f"the consumer's file changed through generations {generations[0]} to {generations[-1]}, each accepted by Veeam"
        )
        seen.append("the service was killed and took its work up again; nobody signed in twice")

        say("What operators see")
        stage.vb365("status")
        again = stage.presented_twice()
        expect(f"{again} refresh tokens presented twice", seen=again == 0)
        seen.append("no refresh token was presented to Veeam twice")
        denied = stage.denied("acme")
        expect(f"the consumer could read {denied}", seen=not denied)
        seen.append("the consumer's token reads tokens/acme and nothing else (everything else: 403)")

        say("Stopping the service")
        expect("a clean stop", seen=stage.stop_service() == 0)
        seen.append("a clean stop on SIGTERM")
    return seen


def main() -> int:
    """Play, and say what was seen."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--manual", action="store_true", help="you click on Microsoft's (simulated) page yourself")
    options = parser.parse_args()
    began = time.monotonic()
    os.environ.setdefault("COLUMNS", "140")
    with tempfile.TemporaryDirectory(prefix="vb365-demo-") as directory:
        try:
            seen = play(Path(directory), manual=options.manual)
        except (Missed, RuntimeError) as error:
            print(f"\nThe demo failed: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    say(f"Seen in {time.monotonic() - began:.0f} s")
    for line in seen:
        print(f"   - {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
