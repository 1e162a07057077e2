"""Which server is under test (``SERVER``: ``openbao`` or ``vault``), and where its binary is.

``python -m tests.servers.binary`` finds it, builds it where it must be built, and prints its path last.

HashiCorp doesn't publish Vault where packages come from, so it is built by Go as a tool of ``tests/servers/vault/go.mod``. It is
for tests only: its licence (BUSL 1.1) doesn't let it be a part of ours.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final, Literal

Kind = Literal["openbao", "vault"]

MODULE: Final = Path(__file__).parent / "vault"
#: The command of each server, as its people call it.
COMMANDS: Final[dict[Kind, str]] = {"openbao": "bao", "vault": "vault"}
#: Without most of the plugins: what we need is there (approle, cert, jwt, userpass; kv), Kubernetes auth isn't.
TAGS: Final = "minimal"
PACKAGE: Final = "github.com/hashicorp/vault"
MISSING: Final = (
    "no HashiCorp Vault to test with. Provide one of: VB365_TEST_VAULT, the path of a vault binary; "
    "a vault on the PATH; Go 1.25.3 or newer, to build it (about six minutes and 5 GB, once)"
)


def server() -> Kind:
    """Return which server is under test.

    Raises:
        RuntimeError: ``SERVER`` names another.
    """
    named = os.environ.get("SERVER") or "openbao"
    for kind in COMMANDS:
        if kind == named:
            return kind
    raise RuntimeError(f"SERVER is {named!r}: it must be openbao or vault")


def server_name() -> str:
    """Return the name of the server under test, for people."""
    return {"openbao": "OpenBao", "vault": "HashiCorp Vault"}[server()]


def binary() -> str:
    """Return the path of the binary of the server under test; it is server, agent and command line in one.

    Raises:
        RuntimeError: there is none, and none can be built.
    """
    return _vault() if server() == "vault" else _bao()


@cache
def _bao() -> str:
    """Return ``bao``: beside this Python, or on the PATH."""
    found = shutil.which("bao", path=str(Path(sys.executable).parent)) or shutil.which("bao")
    if found is None:
        raise RuntimeError("bao isn't installed: make dev")
    return found


@cache
def _vault() -> str:
    """Return the ``vault`` that is named, else that on the PATH, else the one that was built, or is now."""
    named = os.environ.get("VB365_TEST_VAULT")
    if named:
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise RuntimeError(f"VB365_TEST_VAULT names {named}, which isn't a binary")
        return str(Path(named).resolve())
    found = shutil.which("vault")
    if found is not None:
        return found
    place = built()
    if not place.exists():
        _build(place)
    return str(place)


def built() -> Path:
    """Return where the built one stands or will stand: outside the checkout, by what it is made of."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256((MODULE / "go.sum").read_bytes()).hexdigest()
    return home / "vb365-tests" / f"vault-{digest[:16]}" / "vault"


def _build(place: Path) -> None:
    """Build it, unless another process does so meanwhile; whoever finds it finds all of it."""
    go = shutil.which("go")
    if go is None:
        raise RuntimeError(MISSING)
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.exists():
            return
        _say("building HashiCorp Vault by Go, once: about six minutes on two idle cores")
        unfinished = place.with_name(f"unfinished-{os.getpid()}")
        command = [go, "build", "-mod=readonly", "-trimpath", f"-tags={TAGS}", "-o", str(unfinished), PACKAGE]
        done = subprocess.run(command, cwd=MODULE, env=os.environ | {"GOWORK": "off"}, stdout=sys.stderr, check=False)
        if done.returncode:
            unfinished.unlink(missing_ok=True)
            raise RuntimeError(f"go build ended with {done.returncode}. {MISSING}")
        unfinished.rename(place)
        _say(f"built: {place}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Print the path, last."""
    try:
        print(binary())
    except RuntimeError as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
