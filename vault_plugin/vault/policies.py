"""The policies of DESIGN 4, as data, for any mount; rendered as HCL and compared as rules, not as bytes."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from vault_plugin.core.errors import ConfigurationError
from vault_plugin.core.names import check_mount, check_name

#: Path to capabilities. `EMPTY` beside them: what is written there may hold nothing.
Rules = Mapping[str, frozenset[str]]
EMPTY: Final = "empty"

_SELF: Final = {"auth/token/lookup-self": "read", "auth/token/renew-self": "update"}
_SERVICE: Final = _SELF | {
    "auth/token/revoke-self": "update",
    "{m}/data/servers/+": "read",
    "{m}/data/tenants/+": "read",
    "{m}/metadata/servers/": "list",
    "{m}/metadata/tenants/": "list",
    "{m}/metadata/": "list",
    "{m}/metadata/+": "delete",
    "{m}/metadata/requests/": "list",  # HashiCorp's Vault holds this LIST to the rule above, unless it is named exactly
    "{m}/metadata/requests/*": "list delete",
    "{m}/data/requests/+/+": "read",
    "{m}/metadata/reports/": "list",
    "{m}/metadata/reports/+": "delete",
    "{m}/metadata/credentials/": "list",
    "{m}/metadata/sign-ins/": "list",
    "{m}/data/credentials/+": "create read update",
    "{m}/data/sign-ins/+": "create read update",
    "{m}/data/status/+": "create read update",
    "{m}/data/prompts/+": "create read update",
    "{m}/data/tokens/+": "create read update",
    "{m}/data/service/*": "create read update",
    "{m}/destroy/credentials/+": "update",
    "{m}/destroy/sign-ins/+": "update",
    "{m}/destroy/prompts/+": "update",
    "{m}/destroy/tokens/+": "update",
}
_OPERATOR: Final = _SELF | {
    "{m}/data/servers/+": "read",
    "{m}/metadata/servers/": "list",
    "{m}/data/tenants/+": "create read update",
    "{m}/metadata/tenants/": "list",
    "{m}/data/requests/+/+": "create",
    "{m}/data/status/+": "read",
    "{m}/metadata/status/": "list",
    "{m}/data/prompts/+": "read",
    "{m}/data/service/*": "read",
}
#: What creates requests, and what creates them with an id that begins with the writer's own entity only.
_REQUESTS: Final = "{m}/data/requests/+/+"
_OWN_REQUESTS: Final = "{m}/data/requests/+/{{{{identity.entity.id}}}}.*"
_ADMIN: Final = _OPERATOR | {
    "{m}/data/servers/+": "create read update",
    "{m}/metadata/servers/+": "delete",
    "{m}/metadata/tenants/+": "delete",
}
_CONSUMER: Final = {"{m}/data/tokens/{n}": "read", "{m}/data/reports/{n}": f"create read {EMPTY}"}
#: A group is a name prefix. LIST can't be cut by prefix, so a group's operators get none of tenants and status.
_GROUP: Final = _SELF | {
    "{m}/data/servers/+": "read",
    "{m}/metadata/servers/": "list",
    "{m}/data/tenants/{n}-*": "create read update",
    "{m}/data/requests/{n}-*": "create",
    "{m}/data/status/{n}-*": "read",
    "{m}/data/prompts/{n}-*": "read",
    "{m}/data/service/*": "read",
}
_REGISTRAR: Final = {
    "sys/mounts/{m}": "create read update",
    "sys/mounts/{m}/tune": "read update",
    "{m}/config": "read update",
    "sys/policies/acl/{p}-*": "create read update",
    "sys/auth": "read",
    "auth/{a}/role/{p}-service": "create read update",
    "auth/{a}/role/{p}-service/role-id": "read",
    "auth/{a}/role/{p}-service/secret-id": "create update",
}


def prefix_of(mount: str) -> str:
    """Return what the policies and roles of a mount begin with."""
    return mount.strip("/").replace("/", "-")


def policies(
    mount: str, groups: tuple[str, ...] = (), consumers: tuple[str, ...] = (), *, verified: bool = False
) -> dict[str, Rules]:
    """Return the policies of a mount by name. Names and the mount go through the check: a wild one would widen a policy.

    `verified`: Vault lets nobody write a request whose id doesn't begin with his own entity's.

    Raises:
        NameRefused: the mount, a group's or a consumer's name may not stand in a policy.
        ConfigurationError: requests of a group can't be verified.
    """
    if verified and groups:
        msg = "--verified-requesters excludes --group: no rule of Vault's holds a prefix of tenants and one of ids"
        raise ConfigurationError(msg, remedy="Give the group a mount of its own, or register with --no-verified-requesters.")
    prefix = prefix_of(check_mount(mount))
    made = {
        f"{prefix}-service": _rules(_SERVICE, mount),
        f"{prefix}-admin": _rules(_verified(_ADMIN) if verified else _ADMIN, mount),
        f"{prefix}-operator": _rules(_verified(_OPERATOR) if verified else _OPERATOR, mount),
        f"{prefix}-consumer": _rules(_CONSUMER, mount, "+"),
    }
    for group in groups:
        made[f"{prefix}-operator-{check_name(group, 'group')}"] = _rules(_GROUP, mount, group)
    for consumer in consumers:
        made[f"{prefix}-consumer-{consumer}"] = _rules(_CONSUMER, mount, check_name(consumer, "tenant"))
    return made


def registrar(mount: str, auth_mount: str, *, enable_auth: bool) -> Rules:
    """Return what the token that registers needs."""
    rules = dict(_rules(_REGISTRAR, mount, auth_mount=auth_mount))
    if enable_auth:
        rules[f"sys/auth/{auth_mount}"] = frozenset({"create", "update", "sudo"})
    return rules


def verifies(text: str) -> bool:
    """Tell whether a policy's text ties requests to their writer's entity."""
    return "{{identity.entity.id}}" in text


def _verified(table: Mapping[str, str]) -> Mapping[str, str]:
    return {_OWN_REQUESTS if path == _REQUESTS else path: words for path, words in table.items()}


def _rules(table: Mapping[str, str], mount: str, name: str = "", auth_mount: str = "") -> Rules:
    return {
        path.format(m=mount, n=name, p=prefix_of(mount), a=auth_mount): frozenset(words.split())
        for path, words in table.items()
    }


#: The comment that tells whose a policy is.
MARK: Final = "# Made by vb365 register for the mount {}/"
_MARK: Final = re.compile(re.escape(MARK).replace(re.escape("{}"), "(?P<mount>[^\\s]+)"))


def owner_of(text: str, mount: str) -> str:
    """Return the mount that a policy is of: by its mark; without one, ours if there is no text or it speaks of our mount."""
    marked = _MARK.search(text)
    if marked:
        return marked["mount"]
    return mount if not text.strip() or f'"{mount}/' in text else ""


#: Whatever options a write has, its data is an empty object: no other parameter, and no key within.
_BLOCK_OF_EMPTY: Final = """path "{path}" {{
  capabilities = [{words}]
  allowed_parameters = {{ "options" = [], "data" = [{{}}] }}
}}"""
_PARAMETERS: Final[dict[str, list[dict[str, Any]]]] = {"options": [], "data": [{}]}


def render(rules: Rules, mount: str) -> str:
    """Return the policy as HCL. The comment tells whose it is."""
    lines = [MARK.format(mount)]
    for path, capabilities in rules.items():
        words = ", ".join(f'"{word}"' for word in sorted(capabilities - {EMPTY}))
        form = _BLOCK_OF_EMPTY if EMPTY in capabilities else 'path "{path}" {{ capabilities = [{words}] }}'
        lines.append(form.format(path=path, words=words))
    return "\n".join(lines) + "\n"


_ALLOWED: Final = re.compile(
    r'\s*allowed_parameters\s*=\s*\{\s*"options"\s*=\s*\[\s*\]\s*,?\s*"data"\s*=\s*\[\s*\{\s*\}\s*\]\s*,?\s*\}\s*,?\s*'
)
_BLOCK: Final = re.compile(
    rf'\s*path\s+"(?P<path>[^"\\]*)"\s*\{{(?P<before>[^{{}}]*?)(?P<empty>{_ALLOWED.pattern})?(?P<after>[^{{}}]*)\}}'
)
_CAPABILITIES: Final = re.compile(r"\s*capabilities\s*=\s*\[(?P<words>[^\]]*)\]\s*,?\s*")
_COMMENT: Final = re.compile(r"^\s*(#|//).*$", re.MULTILINE)


def parse(text: str) -> Rules | None:
    """Read a policy, HCL or JSON; None if it says anything that ours never say."""
    if text.lstrip().startswith("{"):
        return _parse_json(text)
    rest = _COMMENT.sub("", text)
    rules: dict[str, frozenset[str]] = {}
    while rest.strip():
        block = _BLOCK.match(rest)
        body = f"{block['before']} {block['after']}".replace("\n", " ") if block else ""
        words = _CAPABILITIES.fullmatch(body)
        if block is None or words is None:
            return None
        listed = frozenset(re.findall(r'"([a-z]+)"', words["words"])) | ({EMPTY} if block["empty"] else set())
        rules[block["path"]] = rules.get(block["path"], frozenset()) | listed
        rest = rest[block.end() :]
    return rules


def _parse_json(text: str) -> Rules | None:
    try:
        paths = json.loads(text)["path"]
        return {path: _words_of(rule) for path, rule in paths.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _words_of(rule: Mapping[str, Any]) -> frozenset[str]:
    """Return a rule's capabilities. Raises ValueError if it says anything that ours never say."""
    more = {name: value for name, value in rule.items() if name != "capabilities"}
    if more not in ({}, {"allowed_parameters": _PARAMETERS}):
        raise ValueError
    return frozenset(rule["capabilities"]) | ({EMPTY} if more else set())


def differences(wanted: Rules, found: Rules | None) -> list[str]:
    """Return in words how a policy differs from what it should be; nothing if it says the same."""
    if found is None:
        return ["can't be read as rules of ours (edited by hand?)"]
    texts = [f"lacks a rule on {path}" for path in wanted if path not in found]
    texts += [f"has a foreign rule on {path}" for path in found if path not in wanted]
    texts += [
        f"{path} has [{' '.join(sorted(found[path]))}] instead of [{' '.join(sorted(wanted[path]))}]"
        for path in wanted
        if path in found and found[path] != wanted[path]
    ]
    return texts
