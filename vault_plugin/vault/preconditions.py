"""What `vb365 register` makes sure of before it writes anything; and how it asks."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

from vault_plugin.core.errors import ConfigurationError, StoreDenied
from vault_plugin.vault import policies
from vault_plugin.vault.answer import Answer
from vault_plugin.vault.answers import Outcome, error_of, outcome_of
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.pacing import answered

AuthMethod = Literal["approle", "kubernetes", "jwt"]

POLICIES: Final = "sys/policies/acl/"
NEEDED: Final = "vb365 register --print-registrar-policy shows what is needed."
#: The types under which Vault lists an auth method that takes our logins.
TYPES: Final[dict[AuthMethod, set[str]]] = {"approle": {"approle"}, "kubernetes": {"kubernetes"}, "jwt": {"jwt", "oidc"}}


def refuse_secondary(connection: Connection) -> None:
    """See that what is written here stands here.

    Raises:
        ConfigurationError: this is a replication secondary.
    """
    health = connection.sys.read_health_status
    answer = answered(lambda: health(standby_ok=True, method="GET"), "asking for sys/health", connection.patience)
    if answer.body.get("replication_performance_mode") == "secondary":
        msg = "this is a performance replication secondary"
        raise ConfigurationError(msg, remedy="Register at the primary cluster, and have the service talk to it.")


def refuse_missing_auth(connection: Connection, method: AuthMethod | None, at: str, *, enable: bool) -> None:
    """See that the role's auth method stands, and is of its kind, as far as we may look.

    Raises:
        ConfigurationError: it doesn't and isn't to be enabled, or is of another kind.
    """
    if method is None:
        return
    try:
        answer = request(connection, "GET", "sys/auth")
    except StoreDenied:
        return  # writing the role tells
    found = {**answer.body, **answer.data}.get(f"{at}/")
    if found is None and not enable:
        msg = f"auth/{at} isn't enabled; nothing was written"
        raise ConfigurationError(msg, remedy=f"Enable it: vault auth enable -path={at} {method}, or --enable-auth.")
    if isinstance(found, dict) and found.get("type") not in TYPES[method]:
        msg = f"auth/{at} is of the type {found.get('type')}, not {method}; nothing was written"
        raise ConfigurationError(msg, remedy="Name where the method is mounted: --auth-mount.")


def refuse_anothers(connection: Connection, named: Iterable[str], mount: str) -> None:
    """See that no policy of these names belongs to another mount: team/vb365 and team-vb365 have policies of one name.

    Raises:
        ConfigurationError: one does; names the other mount.
    """
    for name in named:
        text = str(request(connection, "GET", f"{POLICIES}{name}").data.get("policy", ""))
        owner = policies.owner_of(text, mount)
        if owner != mount:
            msg = f"policy {name} belongs to {f'the mount {owner}/' if owner else 'somebody else'}; nothing was written"
            remedy = f"Choose another --mount, or delete the policies and the role of {owner or 'that name'} if it is no more."
            raise ConfigurationError(msg, reason="AnothersPolicy", remedy=remedy)


def request(connection: Connection, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
    """Send a request; a denial, trouble of Vault's and somebody else's answer are errors, any other status is looked at.

    Raises:
        StoreDenied, StoreUnavailable: Vault's trouble.
    """
    answer = _admitted(connection, lambda: connection.request(method, f"/v1/{path}", json=body), path)
    if outcome_of(answer) in (Outcome.UNCLEAR, Outcome.PACED):
        raise error_of(answer, path)
    return answer


def asked(connection: Connection, send: Callable[[], Answer], doing: str) -> Answer:
    """Send what must succeed.

    Raises:
        StoreDenied, StoreUnavailable: it didn't.
    """
    answer = _admitted(connection, send, doing)
    if outcome_of(answer) is not Outcome.OK:
        raise error_of(answer, doing)
    return answer


def _admitted(connection: Connection, send: Callable[[], Answer], doing: str) -> Answer:
    """Send, and say of a denial what the registering token needs."""
    answer = answered(send, doing, connection.patience)
    if outcome_of(answer) is Outcome.ASK_SELF:
        raise StoreDenied(f"{doing}: permission denied", reason="PermissionDenied", remedy=NEEDED)
    return answer
