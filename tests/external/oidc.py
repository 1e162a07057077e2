"""Starts npm's oidc-provider under Microsoft's paths, and signs in at its pages as a person would."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urljoin

import requests
import trustme

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests" / "oidc_provider"
INSTALLED = ROOT / ".cache" / "oidc_provider"


def environment() -> dict[str, str]:
    """Return this process's environment with the locked Node.js, beside this Python, before any other."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def tool(name: str) -> str:
    """Return the path of ``node`` or ``npm``.

    Raises:
        RuntimeError: it is missing; run ``make dev``.
    """
    found = shutil.which(name, path=environment()["PATH"])
    if found is None:
        raise RuntimeError(f"{name} isn't installed: make dev, or leave this test out with -m 'not external'")
    return found


def install() -> Path:
    """Install the locked packages once, and return the folder.

    Raises:
        RuntimeError: Node.js or npm is missing, or the registry is out of reach.
    """
    INSTALLED.mkdir(parents=True, exist_ok=True)
    lock = (SOURCE / "package-lock.json").read_text()
    done = INSTALLED / "installed"
    for name in ("package.json", "package-lock.json", "server.mjs"):
        shutil.copy(SOURCE / name, INSTALLED / name)
    if not done.exists() or done.read_text() != lock:
        command = [tool("npm"), "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
        made = subprocess.run(
            command, cwd=INSTALLED, env=environment(), capture_output=True, text=True, timeout=300, check=False
        )
        if made.returncode:
            raise RuntimeError(f"npm ci failed: {made.stderr[-500:]}")
        done.write_text(lock)
    return INSTALLED


class OidcProvider:
    """The running server; `url` is the authority's origin."""

    def __init__(self, directory: Path, organization: str, client_id: str, scopes: list[str]) -> None:
        """Start it with a certificate of its own CA."""
        folder = install()
        authority = trustme.CA()
        leaf = authority.issue_cert("localhost")
        self.ca = directory / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        certificate, key = directory / "cert.pem", directory / "key.pem"
        leaf.cert_chain_pems[0].write_to_path(str(certificate))
        leaf.private_key_pem.write_to_path(str(key))
        command = [tool("node"), "server.mjs", str(certificate), str(key), organization, client_id, *scopes]
        with (directory / "oidc.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"oidc-provider didn't start: {(directory / 'oidc.log').read_text()[-1000:]}")
        self.url = f"https://localhost:{json.loads(line)['port']}"

    def close(self) -> None:
        """Stop it: it ends when its standard input does."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._process.wait(10)

    def sign_in(self, verification_uri: str, user_code: str, account: str) -> str:
        """Enter the code, log in, consent; return the last page."""
        person, page = self._enter(verification_uri, user_code)
        page = _submit(person, page, confirm="yes")
        page = _submit(person, page, prompt="login", login=account, password="any")
        page = _submit(person, page, prompt="consent")
        return page.text

    def decline(self, verification_uri: str, user_code: str) -> str:
        """Enter the code and say no at the page that asks whether it is ours; return the last page."""
        person, page = self._enter(verification_uri, user_code)
        return _submit(person, page, abort="yes").text

    def _enter(self, verification_uri: str, user_code: str) -> tuple[requests.Session, requests.Response]:
        person = requests.Session()
        person.verify = str(self.ca)
        person.trust_env = False
        page = person.get(verification_uri, timeout=10)
        return person, _submit(person, page, user_code=user_code)


def _submit(person: requests.Session, page: requests.Response, **fields: str) -> requests.Response:
    """Send the page's form with its hidden fields and these."""
    action = re.search(r'<form[^>]*action="([^"]+)"', page.text)
    assert action, page.text[:500]
    hidden = dict(re.findall(r'<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"', page.text))
    return person.post(urljoin(page.url, action[1]), data=hidden | fields, timeout=10)
