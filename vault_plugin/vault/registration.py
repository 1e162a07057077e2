"""``vb365 register``: make the mount, the policies and the service's role exist. Idempotent; reads before it writes.

Every object is an `Item`: where it stands, what must stand there, and how what stands is compared.
"""

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from vault_plugin.core.errors import ConfigurationError, StoreDenied, StoreUnavailable
from vault_plugin.core.secret import Secret
from vault_plugin.vault import policies
from vault_plugin.vault.answers import Outcome, error_of, outcome_of
from vault_plugin.vault.connection import Answer, Connection, NoAnswer

AuthMethod = Literal["approle", "kubernetes", "jwt"]

PERIOD: Final = 3600
WRAP_TTL: Final = "5m"
#: Vault upgrades a new KV v2 mount for a moment.
CONFIG_TRIES: Final = 30


@dataclass(frozen=True)
class Plan:
    """What is to be registered."""

    mount: str = "vb365"
    auth: AuthMethod | None = None
    auth_mount: str = ""
    enable_auth: bool = False
    groups: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()
    service_account: str = "vb365"
    service_account_namespace: str = "vb365"
    audience: str = "vault"

    @property
    def role(self) -> str:
        """Return the name of the service's role."""
        return f"{policies.prefix_of(self.mount)}-service"

    @property
    def at(self) -> str:
        """Return where the auth method is mounted."""
        return self.auth_mount or self.auth or ""


@dataclass(frozen=True)
class Item:
    """One object in Vault: the path and body that make it, and what of it differs from what stands."""

    title: str
    path: str
    body: Mapping[str, Any]
    differs: Callable[[Answer], list[str]] = field(repr=False)
    read_path: str = ""


@dataclass(frozen=True)
class Result:
    """What became of one object."""

    title: str
    outcome: Literal["created", "updated", "unchanged", "drifted", "missing"]
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class AppRoleCredentials:
    """What the service logs in with: the role id, and a wrapping token or the bare secret id."""

    role_id: str
    wrapping_token: Secret | None = None
    secret_id: Secret | None = None


def items(plan: Plan) -> list[Item]:
    """Return everything that must exist, in the order of its making."""
    mount = plan.mount
    made = [
        Item(
            f"mount {mount}/",
            f"sys/mounts/{mount}",
            {"type": "kv", "options": {"version": "2"}, "description": "Veeam tokens for Microsoft 365 (vb365)"},
            lambda answer: [] if _is_kv2(answer) else ["isn't a KV v2 mount"],
        ),
        Item(f"settings of {mount}/", f"{mount}/config", {"max_versions": 2, "cas_required": True}, _config_differs),
    ]
    for name, rules in policies.policies(mount, plan.groups, plan.consumers).items():
        text = policies.render(rules, mount)
        made.append(Item(f"policy {name}", f"sys/policies/acl/{name}", {"policy": text}, _policy_differs(rules)))
    if plan.auth is not None:
        if plan.enable_auth:
            made.append(
                Item(
                    f"auth method {plan.at}/",
                    f"sys/auth/{plan.at}",
                    {"type": plan.auth},
                    lambda answer: [] if f"{plan.at}/" in {**answer.body, **answer.data} else ["isn't enabled"],
                    read_path="sys/auth",
                )
            )
        role = _role(plan)
        made.append(Item(f"role {plan.role}", f"auth/{plan.at}/role/{plan.role}", role, _role_differs(role)))
    return made


def apply(connection: Connection, plan: Plan) -> list[Result]:
    """Make what is missing, mend what differs, leave the rest alone.

    Raises:
        ConfigurationError: the mount exists and isn't KV v2, or this is a replication secondary.
        StoreDenied, StoreUnavailable: Vault's trouble.
    """
    _refuse_secondary(connection)
    results = []
    for item in items(plan):
        stands, details = _look(connection, item)
        if stands and not details:
            results.append(Result(item.title, "unchanged"))
            continue
        if stands and item.path == f"sys/mounts/{plan.mount}":
            msg = f"{plan.mount}/ exists and isn't a KV v2 mount"
            raise ConfigurationError(msg, remedy="Choose another --mount.")
        _write(connection, item, plan)
        results.append(Result(item.title, "updated" if stands else "created", tuple(details)))
    return results


def check(connection: Connection, plan: Plan) -> list[Result]:
    """Report what is missing or differs; change nothing."""
    results = []
    for item in items(plan):
        stands, details = _look(connection, item)
        outcome: Literal["missing", "drifted", "unchanged"] = "missing"
        if stands:
            outcome = "drifted" if details else "unchanged"
        results.append(Result(item.title, outcome, tuple(details)))
    return results


def app_role_credentials(connection: Connection, plan: Plan, *, wrap: bool) -> AppRoleCredentials:
    """Return the role id and a new secret id, wrapped unless told otherwise."""
    base = f"auth/{plan.at}/role/{plan.role}"
    role_id = str(_ask(connection, "GET", f"{base}/role-id").data.get("role_id", ""))
    answer = _ask(connection, "POST", f"{base}/secret-id", {}, wrap_ttl=WRAP_TTL if wrap else None)
    if wrap:
        info = answer.body.get("wrap_info") or {}
        return AppRoleCredentials(role_id, wrapping_token=Secret(str(info.get("token", ""))))
    return AppRoleCredentials(role_id, secret_id=Secret(str(answer.data.get("secret_id", ""))))


def unwrap(connection: Connection, token: Secret, to: Path, *, role: str) -> str:
    """Unwrap a secret id into a file of mode 0600, after checking where it was made. Return its creation path.

    Raises:
        StoreDenied: not a secret id of this role, or the token was used: somebody else may hold the secret.
    """
    seen = connection.request("POST", "sys/wrapping/lookup", body={"token": token.reveal()}, anonymous=True)
    path = str(seen.data.get("creation_path", ""))
    if outcome_of(seen) is not Outcome.OK:
        msg = "the wrapping token is expired or was used already"
        remedy = "If you didn't use it, somebody else did: make a new secret id (vb365 register) and look at the audit log."
        raise StoreDenied(msg, reason="WrappingTokenUsed", remedy=remedy)
    if not (path.startswith("auth/") and path.endswith(f"/role/{role}/secret-id")):
        msg = f"the wrapping token was made at {path}, not for a secret id of {role}"
        raise StoreDenied(msg, reason="WrongCreationPath", remedy="Don't use it. Ask where it came from.")
    answer = connection.request("POST", "sys/wrapping/unwrap", token=token)
    if outcome_of(answer) is not Outcome.OK or "secret_id" not in answer.data:
        raise error_of(answer, "unwrapping")
    _write_private(to, str(answer.data["secret_id"]))
    return path


def _write_private(to: Path, text: str) -> None:
    """Replace the file at once, readable by its owner only."""
    descriptor, temporary = tempfile.mkstemp(dir=to.parent, prefix=f".{to.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        Path(temporary).replace(to)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _look(connection: Connection, item: Item) -> tuple[bool, list[str]]:
    """Return whether something stands there, and how it differs."""
    answer = _request(connection, "GET", item.read_path or item.path, None)
    if outcome_of(answer) is Outcome.OK:
        details = item.differs(answer)
        return (True, details) if not (item.read_path and details) else (False, details)
    if answer.status in (400, 404):
        return False, []
    raise error_of(answer, f"reading {item.title}")


def _write(connection: Connection, item: Item, plan: Plan) -> None:
    for _ in range(CONFIG_TRIES):
        answer = _request(connection, "POST", item.path, item.body)
        if outcome_of(answer) is Outcome.OK:
            return
        upgrading = any("pgrading" in text for text in answer.errors)
        if not upgrading:
            break
        time.sleep(1)  # Vault says itself that it needs a moment
    if any("nsupported path" in text or "no handler" in text for text in answer.errors) and plan.auth:
        msg = f"{item.title}: auth/{plan.at} isn't enabled"
        raise ConfigurationError(msg, remedy=f"Enable it: vault auth enable -path={plan.at} {plan.auth}, or --enable-auth.")
    raise error_of(answer, f"writing {item.title}")


def _refuse_secondary(connection: Connection) -> None:
    if connection.settings.namespace:
        return  # sys/health isn't to be asked inside a namespace
    answer = _request(connection, "GET", "sys/health?standbyok=true&perfstandbyok=true", None)
    if answer.body.get("replication_performance_mode") == "secondary":
        msg = "this is a performance replication secondary"
        raise ConfigurationError(msg, remedy="Register at the primary cluster, and have the service talk to it.")


def _ask(
    connection: Connection, method: str, path: str, body: Mapping[str, Any] | None = None, wrap_ttl: str | None = None
) -> Answer:
    answer = _request(connection, method, path, body, wrap_ttl)
    if outcome_of(answer) is not Outcome.OK:
        raise error_of(answer, path)
    return answer


def _request(
    connection: Connection, method: str, path: str, body: Mapping[str, Any] | None, wrap_ttl: str | None = None
) -> Answer:
    try:
        answer = connection.request(method, path, body=body, wrap_ttl=wrap_ttl)
    except NoAnswer as error:
        raise error_of(error, path.partition("?")[0]) from None
    if answer.status == 403:  # noqa: PLR2004 - say what is needed
        msg = f"{path}: permission denied"
        raise StoreDenied(
            msg, reason="PermissionDenied", remedy="vb365 register --print-registrar-policy shows what is needed."
        )
    if outcome_of(answer) is Outcome.UNCLEAR and not path.startswith("sys/health"):
        raise error_of(answer, path) if any(answer.errors) else StoreUnavailable(path)
    return answer


def _is_kv2(answer: Answer) -> bool:
    mount = {**answer.body, **answer.data}
    return mount.get("type") == "kv" and (mount.get("options") or {}).get("version") == "2"


def _config_differs(answer: Answer) -> list[str]:
    wanted = {"max_versions": 2, "cas_required": True, "delete_version_after": "0s"}
    found = {"delete_version_after": "0s", **answer.data}
    return [f"{name} is {found.get(name)!r} instead of {want!r}" for name, want in wanted.items() if found.get(name) != want]


def _policy_differs(rules: policies.Rules) -> Callable[[Answer], list[str]]:
    return lambda answer: policies.differences(rules, policies.parse(str(answer.data.get("policy", ""))))


def _role(plan: Plan) -> dict[str, Any]:
    """Return the role: periodic service tokens without the default policy."""
    common = {
        "token_policies": [plan.role],
        "token_period": PERIOD,
        "token_no_default_policy": True,
        "token_type": "service",
    }
    subject = f"system:serviceaccount:{plan.service_account_namespace}:{plan.service_account}"
    own: dict[str, dict[str, Any]] = {
        "approle": {"bind_secret_id": True, "secret_id_num_uses": 0, "secret_id_ttl": 0},
        "kubernetes": {
            "bound_service_account_names": [plan.service_account],
            "bound_service_account_namespaces": [plan.service_account_namespace],
            "audience": plan.audience,
        },
        "jwt": {"role_type": "jwt", "user_claim": "sub", "bound_subject": subject, "bound_audiences": [plan.audience]},
    }
    return common | own[plan.auth or "approle"]


def _role_differs(wanted: Mapping[str, Any]) -> Callable[[Answer], list[str]]:
    def differs(answer: Answer) -> list[str]:
        found = answer.data
        return [
            f"{name} is {found.get(name)!r} instead of {want!r}" for name, want in wanted.items() if found.get(name) != want
        ]

    return differs
