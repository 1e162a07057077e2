"""The bench's floor: one connection a tenant, however many threads work and however often it rotates."""

import json
import threading
from datetime import UTC, datetime

from bench.documents import organization, refresh_token
from bench.floor import Floor
from tests.simulators.http import Request, Response, Server, json_response
from tests.simulators.tls import Authority
from tests.simulators.veeam import VeeamSimulator

NAMES = [f"t{number}" for number in range(6)]
KINDS = ("credentials", "tokens", "status")


class Vault:
    """A KV mount with check-and-set, and nothing in it but each path's version."""

    def __init__(self) -> None:
        self.versions = {f"/{kind}/{name}": int(kind != "status") for name in NAMES for kind in KINDS}
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response:
        with self._lock:
            if request.method == "POST":
                if json.loads(request.body)["options"]["cas"] != self.versions[request.path]:
                    return Response(400)
                self.versions[request.path] += 1
                return json_response(200, {"data": {"version": self.versions[request.path]}})
            return json_response(200, {"data": {"metadata": {"version": self.versions[request.path]}}})


def test_each_tenant_keeps_its_two_connections(authority: Authority) -> None:
    """From the first stretch to the last, the status that is written beside the rotations included."""
    simulated, kv = VeeamSimulator(lambda: datetime.now(UTC)), Vault()
    for name in NAMES:
        simulated.organizations.add(organization(name))
        simulated.hold(organization(name), refresh_token(name))
    vault, veeam = Server(kv), Server(simulated, authority.shared_context)
    floor = Floor(
        {
            "vault": vault.url,
            "token": "root",
            "veeam": veeam.url,
            "ca": str(authority.ca_file),
            "documents": {kind: {} for kind in (*KINDS, "started")},
            "names": NAMES,
            "concurrency": 4,
        }
    )
    assert (vault.connections, veeam.connections) == (len(NAMES), len(NAMES))

    rotations = sum(int(floor.run(0.5)["rotations"]) for _ in range(2))

    assert rotations > 0
    assert (vault.connections, veeam.connections) == (len(NAMES), len(NAMES))
    written = {kind: sum(kv.versions[f"/{kind}/{name}"] for name in NAMES) for kind in KINDS}
    assert written == {"credentials": len(NAMES) + 2 * rotations, "tokens": len(NAMES) + rotations, "status": rotations}
    assert len(simulated.presented) == rotations
    vault.close()
    veeam.close()
