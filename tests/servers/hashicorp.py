"""A proxy before OpenBao that plays HashiCorp's rules, so that a machine without Go holds them, too.

What it plays was compared with Vault 1.21.0, community edition; docs/servers.md lists it. It doesn't play what a real Vault does
with a path that holds ``%2e%2e``, with documents that are too large for its storage, when it is sealed, and in a cluster.
"""

import json
from dataclasses import replace
from typing import Any, Final

from tests.servers.json_limits import refusal
from tests.simulators.http import Request, Response
from tests.vault.proxy import LossyProxy

#: Paths that Vault answers itself, wherever a request comes in: no header forwards them, so none is refused.
OWN_PATHS: Final = tuple(
    f"/v1/sys/{path}" for path in ("health", "seal-status", "leader", "init", "seal", "unseal", "host-info")
)
#: Headers that do nothing: there is one namespace, and no standby that answers reads itself.
UNHEEDED: Final = {"x-vault-namespace", "x-vault-index", "x-vault-inconsistent"}
DENIED: Final = "permission denied"
DEAD: Final = f"2 errors occurred:\n\t* {DENIED}\n\t* invalid token\n\n"


class HashiCorpProxy(LossyProxy):
    """Answers as HashiCorp Vault does, where it differs from the OpenBao behind. It knows `LossyProxy`'s tricks, too."""

    def _forward(self, request: Request) -> Response:
        answer = _refused(request) or self._let_through(request)
        namespace = request.headers.get("x-vault-namespace")
        return replace(answer, headers=answer.headers | ({"X-Vault-Namespace": namespace} if namespace else {}))

    def _let_through(self, request: Request) -> Response:
        """Forward without what Vault takes no notice of, and say in its words what comes back."""
        known = {name: value for name, value in request.headers.items() if name not in UNHEEDED}
        answer = super()._forward(replace(request, headers=known))
        if request.path == "/v1/sys/health":
            return replace(answer, body=_health(answer.body))
        return _denied(answer) if answer.status == 403 and _shows_a_token(request) else answer


def _refused(request: Request) -> Response | None:
    """Return the refusal of what OpenBao would take, in the order in which Vault looks."""
    text = refusal(request.body)
    if text is not None:
        return _errors(500, text)
    if request.path in OWN_PATHS:
        return None
    if request.path.startswith("/v1/sys/namespaces"):
        return _errors(404, "enterprise-only feature")
    if request.headers.get("x-vault-forward"):
        return _errors(400, "forwarding via header X-Vault-Forward disabled in configuration")
    if request.headers.get("x-vault-inconsistent") == "forward-active-node":
        return _errors(400, "forwarding via header X-Vault-Inconsistent=forward-active-node disabled in configuration")
    return None


def _shows_a_token(request: Request) -> bool:
    """Tell whether it has a token that is looked at: a login proves itself otherwise."""
    if request.path.startswith("/v1/auth/") and "/login" in request.path:
        return False
    return bool(request.headers.get("x-vault-token") or request.headers.get("authorization"))


def _denied(answer: Response) -> Response:
    """Say of a dead token what Vault says of it. Of missing rights both say the same, and that is another text."""
    try:
        errors = json.loads(answer.body).get("errors")
    except ValueError:
        return answer
    return _errors(403, DEAD) if errors == [DENIED] else answer


def _health(body: bytes) -> bytes:
    """Return OpenBao's health with Vault's fields, in Vault's order."""
    found: dict[str, Any] = json.loads(body)
    if found.get("replication_performance_mode") == "primary":
        found["replication_performance_mode"] = "disabled"
    made: dict[str, Any] = {}
    for name, value in found.items():
        made[name] = value
        if name == "standby":
            made["performance_standby"] = False
        if name == "version":
            made["enterprise"] = False
    made |= {"echo_duration_ms": 0, "clock_skew_ms": 0, "replication_primary_canary_age_ms": 0, "removed_from_cluster": False}
    return _written(made)


def _errors(status: int, text: str) -> Response:
    return Response(status, _written({"errors": [text]}), {"Content-Type": "application/json"})


def _written(content: object) -> bytes:
    """Write JSON as both servers do."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
