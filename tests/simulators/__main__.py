"""``python -m tests.simulators --dir DIR``: both simulators over HTTPS until a signal, for the demo and for trying the product."""

import argparse
import json
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from tests.simulators.http import Server
from tests.simulators.microsoft import MicrosoftSimulator
from tests.simulators.tls import Authority
from tests.simulators.veeam import VeeamSimulator


def now() -> datetime:
    """Return the wall time."""
    return datetime.now(UTC)


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulators", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="where ca.pem is written")
    parser.add_argument("--microsoft-port", type=int, default=0)
    parser.add_argument("--veeam-port", type=int, default=0)
    parser.add_argument("--token-life", type=int, default=3600, help="seconds that a Veeam access token lives")
    parser.add_argument("--interval", type=int, default=5, help="Microsoft's polling interval in seconds")
    parser.add_argument("--organization", action="append", help="an organization that VB365 knows (may be repeated)")
    parser.add_argument("--auto-approve", type=float, default=None, help="sign in by itself after so many seconds")
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    authority = Authority(options.dir)
    microsoft, veeam = MicrosoftSimulator(now), VeeamSimulator(now)
    microsoft.interval, microsoft.auto_approve = options.interval, options.auto_approve
    veeam.token_life = options.token_life
    veeam.organizations = set(options.organization or ["contoso.onmicrosoft.com"])
    servers = [
        Server(microsoft, authority.context(), options.microsoft_port),
        Server(veeam, authority.context(), options.veeam_port),
    ]
    microsoft.base_url = servers[0].url
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    ready = {"microsoft": servers[0].url, "veeam": servers[1].url, "ca": str(authority.ca_file)}
    print(json.dumps(ready), flush=True)
    stop.wait()
    for server in servers:
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
