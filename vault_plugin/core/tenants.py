"""Tenants and servers as operators describe them, and the binding of a secret to where it came from."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from vault_plugin.core.documents import Document, Duration, Part
from vault_plugin.core.errors import BindingRefused, NameRefused
from vault_plugin.core.names import check_name, is_organization
from vault_plugin.core.organizations import is_alias, trouble
from vault_plugin.core.scopes import is_veeams

Cloud = Literal["global", "usgov", "dod", "china"]

#: Microsoft's sign-in origins (learn.microsoft.com, "National clouds").
CLOUDS: Final[dict[Cloud, str]] = {
    "global": "https://login.microsoftonline.com",
    "usgov": "https://login.microsoftonline.us",
    "dod": "https://login.microsoftonline.us",
    "china": "https://login.partner.microsoftonline.cn",
}

#: The client that Veeam's own page on modern app-only authentication uses (Microsoft Azure CLI).
DEFAULT_CLIENT_ID: Final = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
#: Veeam's required permissions (authorization_restore_modern.html); openid and profile tell who signed in.
DEFAULT_SCOPE: Final = "Directory.AccessAsUser.All User.ReadWrite.All openid profile offline_access"

ApiVersion = Literal["v4", "v5", "v6", "v7", "v8"]


def https_origin(url: str) -> str:
    """Return scheme, host and port of an https URL without user info, query or path, or raise ValueError."""
    parts = urlsplit(url.strip())
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme != "https" or not parts.hostname or port == -1:
        msg = "must be an https URL"
        raise ValueError(msg)
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        msg = "must not carry user info"
        raise ValueError(msg)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        msg = "must be scheme, host and port only"
        raise ValueError(msg)
    return f"https://{parts.netloc.lower()}"


class Throttle(Part):
    """What a VB365 token endpoint admits per client. Zero means: no limit of that kind.

    Source: Veeam, "Breaking changes" of REST API v6: 1 a second, 5 a minute, 1500 an hour.
    """

    per_second: int = Field(default=1, ge=0)
    per_minute: int = Field(default=5, ge=0)
    per_hour: int = Field(default=1500, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value == "none":
            return {"per_second": 0, "per_minute": 0, "per_hour": 0}
        parts = value.split("/")
        if len(parts) != 3 or not all(part.isdigit() for part in parts):  # noqa: PLR2004 - second, minute, hour
            msg = "a throttle is SECOND/MINUTE/HOUR, like 1/5/1500, or none"
            raise ValueError(msg)
        return dict(zip(("per_second", "per_minute", "per_hour"), map(int, parts), strict=True))

    def __str__(self) -> str:
        limits = (self.per_second, self.per_minute, self.per_hour)
        return "/".join(map(str, limits)) if any(limits) else "none"

    def windows(self) -> tuple[tuple[timedelta, int], ...]:
        """Return (length, calls admitted) of each window that has a limit, shortest first."""
        lengths = (timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1))
        limits = (self.per_second, self.per_minute, self.per_hour)
        return tuple((length, limit) for length, limit in zip(lengths, limits, strict=True) if limit)


class ServerSpec(Document):
    """A VB365 server. ``servers/NAME``, written by an admin."""

    kind: ClassVar[str] = "servers"

    url: str
    api_version: ApiVersion = "v8"
    ca_pem: str | None = None
    fingerprint_sha256: str | None = None
    insecure: bool = False
    throttle: Throttle = Field(default_factory=Throttle)
    token_life: Duration | None = None
    connect_timeout: Duration = timedelta(seconds=5)
    read_timeout: Duration = timedelta(seconds=30)

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return https_origin(value)

    @field_validator("fingerprint_sha256")
    @classmethod
    def _fingerprint(cls, value: str | None) -> str | None:
        if value is None:
            return None
        digits = value.replace(":", "").strip().lower()
        if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):  # noqa: PLR2004 - SHA-256 in hex
            msg = "a SHA-256 fingerprint is 64 hexadecimal digits"
            raise ValueError(msg)
        return digits

    @field_validator("connect_timeout", "read_timeout")
    @classmethod
    def _positive(cls, value: timedelta) -> timedelta:
        if not timedelta(0) < value <= timedelta(minutes=5):
            msg = "a timeout is more than 0 s and at most 5 min"
            raise ValueError(msg)
        return value

    @property
    def call_timeout(self) -> timedelta:
        """Return how long a call may take, at the longest."""
        return self.connect_timeout + self.read_timeout

    @model_validator(mode="after")
    def _one_trust(self) -> "ServerSpec":
        chosen = [self.ca_pem is not None, self.fingerprint_sha256 is not None, self.insecure]
        if sum(chosen) > 1:
            msg = "choose one of ca_pem, fingerprint_sha256 and insecure"
            raise ValueError(msg)
        return self


class TenantSpec(Document):
    """A tenant as an operator wants it. ``tenants/NAME``.

    `organization` is the tenant's name in Microsoft 365 and in VB365, in its exact case; empty means: the document's name.
    """

    kind: ClassVar[str] = "tenants"

    server: str
    organization: str = ""
    cloud: Cloud = "global"
    authority: str | None = None
    client_id: str = DEFAULT_CLIENT_ID
    scope: str = DEFAULT_SCOPE
    expected_account: str | None = None
    paused: bool = False
    consumer_reread: Duration = timedelta(minutes=5)

    @field_validator("organization")
    @classmethod
    def _organization(cls, value: str) -> str:
        if value and not is_organization(value):
            msg = "must be a name like contoso.onmicrosoft.com or a tenant's GUID"
            raise ValueError(msg)
        return value

    @field_validator("server")
    @classmethod
    def _server(cls, value: str) -> str:
        try:
            return check_name(value, "server")
        except NameRefused as error:  # a document says so: it is malformed, like one with any other wrong field
            raise ValueError(f"{error}") from None

    @field_validator("authority")
    @classmethod
    def _authority(cls, value: str | None) -> str | None:
        return None if value is None else https_origin(value)

    @field_validator("client_id", "scope")
    @classmethod
    def _printable(cls, value: str, info: ValidationInfo) -> str:
        if not value.strip() or not value.isprintable():
            msg = f"{info.field_name} must be printable text"
            raise ValueError(msg)
        return value.strip()

    @field_validator("consumer_reread")
    @classmethod
    def _reread(cls, value: timedelta) -> timedelta:
        if value <= timedelta(0):
            msg = "must be longer than 0 s"
            raise ValueError(msg)
        return value


class Binding(Part):
    """Where a secret came from and for whom it was made. It is sent nowhere else (DESIGN 4, "Binding")."""

    authority: str
    client_id: str
    scope: str
    organization: str
    server: str
    #: Microsoft's ``tid`` of who signed in; empty before the sign-in, and where no token says.
    tenant_id: str = ""

    @property
    def token_for(self) -> tuple[str, str]:
        """Return what a Veeam token is good for: a server and an organization."""
        return self.server, self.organization


#: The fields that the operator chooses; `tenant_id` is what the sign-in showed.
BOUND: Final = ("authority", "client_id", "scope", "organization", "server")


@dataclass(frozen=True)
class Allowed:
    """What the service's settings allow beside the built-in origins, client and scopes. ``*`` among them allows any."""

    authorities: frozenset[str] = frozenset()
    clients: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()

    def client(self, client_id: str) -> bool:
        """Tell whether this client id is allowed, in any case of its letters."""
        known = {DEFAULT_CLIENT_ID, *(client.casefold() for client in self.clients)}
        return "*" in known or client_id.casefold() in known

    def scope(self, scope: str, authority: str) -> bool:
        """Tell whether this scope is allowed: a choice that Veeam's page allows, or one that is listed, in any order."""
        words = set(scope.casefold().split())
        listed = "*" in self.scopes or any(words == set(other.casefold().split()) for other in self.scopes)
        return listed or is_veeams(scope, authority)


def bind(name: str, tenant: TenantSpec) -> Binding:
    """Return where the secrets of this tenant would come from now."""
    return Binding(
        authority=tenant.authority or CLOUDS[tenant.cloud],
        client_id=tenant.client_id,
        scope=tenant.scope,
        organization=organization(name, tenant),
        server=tenant.server,
    )


def check_allowed(name: str, binding: Binding, allowed: Allowed) -> None:
    """Check the binding against what the service's settings allow, at each use (DESIGN 4, "Binding").

    Raises:
        BindingRefused: authority, client id or scope is neither built in nor allowed.
    """
    permitted = {
        "authority": binding.authority in {*CLOUDS.values(), *allowed.authorities},
        "client_id": allowed.client(binding.client_id),
        # ``*`` among the clients allowed any scope, too, once: what was signed in then goes on (ADR 0017).
        "scope": allowed.scope(binding.scope, binding.authority) or "*" in allowed.clients,
    }
    for field, ok in permitted.items():
        if not ok:
            raise _not_allowed(name, binding, field)


def check_new(name: str, binding: Binding, allowed: Allowed) -> None:
    """Check what a new sign-in must be beside: what stands goes on without it, and is warned about.

    Raises:
        BindingRefused: the scope isn't allowed by a word of its own, or the organization is whichever the person is of.
    """
    check_allowed(name, binding, allowed)
    if not allowed.scope(binding.scope, binding.authority):
        raise _not_allowed(name, binding, "scope")
    if is_alias(binding.organization):
        text, remedy = trouble(binding.organization, binding.authority)
        raise BindingRefused(f"{name}: {text}", reason="OrganizationNotAllowed", remedy=remedy)


def _not_allowed(name: str, binding: Binding, field: str) -> BindingRefused:
    setting = "VB365_AUTHORITIES" if field == "authority" else "VB365_CLIENTS"
    how = ", as scope:... or scope:* for any" if field == "scope" else ""
    msg = f"{name}: {field} {getattr(binding, field)} is not allowed"
    remedy = f"Set the tenant's {field} back, or have an administrator of the service list it in {setting}{how}."
    return BindingRefused(msg, reason=f"{field.title().replace('_', '')}NotAllowed", remedy=remedy)


def organization(name: str, tenant: TenantSpec) -> str:
    """Return the organization's name in its exact case."""
    return tenant.organization or name


def changed_fields(bound: Binding, wanted: Binding) -> tuple[str, ...]:
    """Return the names of the fields in which the tenant now differs from where its secrets came from."""
    return tuple(field for field in BOUND if getattr(bound, field) != getattr(wanted, field))
