"""``python -m bench.simulator``: the VB365 simulator in a process of its own, so that its CPU time isn't ours.

``POST /_bench/set`` changes its delay, what a token lives, and whether the token endpoint fails.
"""

import argparse
import json
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.documents import organization, refresh_token
from tests.simulators.http import Request, Response, Server, json_response
from tests.simulators.tls import Authority
from tests.simulators.veeam import VeeamSimulator


class Slow:
    """The simulator behind a delay."""

    def __init__(self, veeam: VeeamSimulator) -> None:
        """Begin without delay."""
        self.veeam = veeam
        self.delay = 0.0
        self.fails = False

    def __call__(self, request: Request) -> Response:
        """Answer a request."""
        if request.path == "/_bench/set":
            return self._set(json.loads(request.body))
        if self.delay:
            time.sleep(self.delay)
        if self.fails and request.path.endswith("/token"):
            return json_response(500, {"message": "Internal server error"})
        return self.veeam(request)

    def _set(self, wanted: dict[str, float]) -> Response:
        self.delay = wanted.get("delay", self.delay)
        self.fails = bool(wanted.get("fails", self.fails))
        self.veeam.token_life = int(wanted.get("token_life", self.veeam.token_life))
        return json_response(200, {})


def main() -> int:
    """Serve until SIGTERM; names of known sessions come on stdin, one a line."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulator", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="where ca.pem is written")
    options = parser.parse_args()
    veeam = VeeamSimulator(lambda: datetime.now(UTC))
    for line in sys.stdin:
        name = line.strip()
        veeam.organizations.add(organization(name))
        veeam.hold(organization(name), refresh_token(name))
    authority = Authority(options.dir)
    server = Server(Slow(veeam), authority.context())
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    print(json.dumps({"url": server.url, "ca": str(authority.ca_file)}), flush=True)
    stop.wait()
    server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
