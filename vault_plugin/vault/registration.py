"""``vb365 register``: make the mount, the policies and the service's role exist. Idempotent; reads before it writes.

Every object is an `Item`: where it stands, what must stand there, and how what stands is compared.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from vault_plugin.core.errors import ConfigurationError
from vault_plugin.core.secret import Secret
from vault_plugin.vault import policies, preconditions
from vault_plugin.vault.answer import Answer
from vault_plugin.vault.answers import Outcome, error_of, nothing_there, outcome_of
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.preconditions import POLICIES, AuthMethod, asked, request
from vault_plugin.vault.refusals import AUDIENCE
from vault_plugin.vault.unwrapping import WRAP_TTL

PERIOD: Final = 3600
#: With a time in `delete_version_after` agents would see no secret one day; 0s unsets it.
SETTINGS: Final = {"max_versions": 2, "cas_required": True, "delete_version_after": "0s"}
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
    #: Whether Vault is to see to it that a request's id begins with its writer's entity; None: as it was registered before.
    verified: bool | None = None
    service_account: str = "vb365"
    service_account_namespace: str = "vb365"
    audience: str = AUDIENCE

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
        Item(f"settings of {mount}/", f"{mount}/config", SETTINGS, _config_differs),
    ]
    for name, rules in policies.policies(mount, plan.groups, plan.consumers, verified=bool(plan.verified)).items():
        text = policies.render(rules, mount)
        made.append(Item(f"policy {name}", f"{POLICIES}{name}", {"policy": text}, _policy_differs(rules, mount)))
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
        ConfigurationError: the mount exists and isn't KV v2, the auth method isn't enabled, or this is a replication
            secondary; nothing was written.
        StoreDenied, StoreUnavailable: Vault's trouble.
    """
    preconditions.refuse_secondary(connection)
    preconditions.refuse_missing_auth(connection, plan.auth, plan.at, enable=plan.enable_auth)
    whole = items(_as_registered(connection, plan))
    named = [item.path.removeprefix(POLICIES) for item in whole if item.path.startswith(POLICIES)]
    preconditions.refuse_anothers(connection, named, plan.mount)
    results = []
    for item in whole:
        stands, details = _look(connection, item)
        if stands and not details:
            results.append(Result(item.title, "unchanged"))
            continue
        if stands and item.path == f"sys/mounts/{plan.mount}":
            msg = f"{plan.mount}/ exists and isn't a KV v2 mount"
            raise ConfigurationError(msg, remedy="Choose another --mount.")
        _write(connection, item, plan)
        new = not stands or (item.path == f"{plan.mount}/config" and results[0].outcome == "created")
        results.append(Result(item.title, "created") if new else Result(item.title, "updated", tuple(details)))
    return results


def _as_registered(connection: Connection, plan: Plan) -> Plan:
    """Return the plan with what it leaves open as it stands: nobody drops a guarantee by leaving a flag out."""
    if plan.verified is not None:
        return plan
    answer = request(connection, "GET", f"sys/policies/acl/{policies.prefix_of(plan.mount)}-operator")
    if outcome_of(answer) is not Outcome.OK and not nothing_there(answer):
        raise error_of(answer, "reading the operators' policy")
    return replace(plan, verified=policies.verifies(str(answer.data.get("policy", ""))))


def check(connection: Connection, plan: Plan) -> list[Result]:
    """Report what is missing or differs; change nothing."""
    results = []
    for item in items(_as_registered(connection, plan)):
        stands, details = _look(connection, item)
        outcome: Literal["missing", "drifted", "unchanged"] = "missing"
        if stands:
            outcome = "drifted" if details else "unchanged"
        results.append(Result(item.title, outcome, tuple(details)))
    return results


def role_id(connection: Connection, plan: Plan) -> str:
    """Return the AppRole's id, which is no secret."""
    read = connection.auth.approle.read_role_id
    return str(asked(connection, lambda: read(plan.role, mount_point=plan.at), "reading the role id").data.get("role_id", ""))


def app_role_credentials(connection: Connection, plan: Plan, *, wrap: bool) -> AppRoleCredentials:
    """Return the role id and a new secret id, wrapped unless told otherwise."""
    found = role_id(connection, plan)
    ttl, make = WRAP_TTL if wrap else None, connection.auth.approle.generate_secret_id
    answer = asked(connection, lambda: make(plan.role, mount_point=plan.at, wrap_ttl=ttl), "making a secret id")
    if wrap:
        info = answer.body.get("wrap_info") or {}
        return AppRoleCredentials(found, wrapping_token=Secret(str(info.get("token", ""))))
    return AppRoleCredentials(found, secret_id=Secret(str(answer.data.get("secret_id", ""))))


def _look(connection: Connection, item: Item) -> tuple[bool, list[str]]:
    """Return whether something stands there, and how it differs."""
    answer = request(connection, "GET", item.read_path or item.path)
    if outcome_of(answer) is Outcome.OK:
        details = item.differs(answer)
        return (True, details) if not (item.read_path and details) else (False, details)
    error = error_of(answer, f"reading {item.title}")
    if answer.own and answer.status in (400, 404) and error.reason != "NoSuchNamespace":
        return False, []
    raise error


def _write(connection: Connection, item: Item, plan: Plan) -> None:
    for _ in range(CONFIG_TRIES):
        answer = request(connection, "POST", item.path, item.body)
        if outcome_of(answer) is Outcome.OK:
            return
        upgrading = any("pgrading" in text for text in answer.errors)
        if not upgrading:
            break
        time.sleep(1)  # Vault says itself that it needs a moment
    if item.path.startswith("auth/") and any("nsupported path" in text or "no handler" in text for text in answer.errors):
        msg = f"{item.title}: auth/{plan.at} isn't enabled"
        raise ConfigurationError(msg, remedy=f"Enable it: vault auth enable -path={plan.at} {plan.auth}, or --enable-auth.")
    raise error_of(answer, f"writing {item.title}")


def _is_kv2(answer: Answer) -> bool:
    mount = {**answer.body, **answer.data}
    return mount.get("type") == "kv" and (mount.get("options") or {}).get("version") == "2"


def _config_differs(answer: Answer) -> list[str]:
    found = {"delete_version_after": "0s", **answer.data}
    return [f"{name} is {found.get(name)!r} instead of {want!r}" for name, want in SETTINGS.items() if found.get(name) != want]


def _policy_differs(rules: policies.Rules, mount: str) -> Callable[[Answer], list[str]]:
    def differs(answer: Answer) -> list[str]:
        text = str(answer.data.get("policy", ""))
        owner = policies.owner_of(text, mount)
        if owner != mount:
            return [f"belongs to {f'the mount {owner}/' if owner else 'somebody else'}"]
        return policies.differences(rules, policies.parse(text))

    return differs


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
