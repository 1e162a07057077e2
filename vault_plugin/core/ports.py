"""The outside world as the core sees it: one small interface for each outside thing.

Whatever an implementation meets, it raises only the errors named here.
"""

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, NamedTuple, Protocol, TypeVar

from vault_plugin.core.credential import Assertion, Credential
from vault_plugin.core.documents import Document
from vault_plugin.core.facts import UNKNOWN, ServerFacts
from vault_plugin.core.secret import Secret
from vault_plugin.core.states import Reason
from vault_plugin.core.tenants import Allowed, Binding, ServerSpec, TenantSpec
from vault_plugin.core.timing import Policy

D = TypeVar("D", bound=Document)


class Clock(Protocol):
    """Three clocks (DESIGN 6): wall for what is stored, monotonic for waiting, boot time for "still before my deadline?"."""

    def now(self) -> datetime:
        """Return the wall time, aware, UTC."""

    def monotonic(self) -> timedelta:
        """Return the monotonic time."""

    def boottime(self) -> timedelta:
        """Return the time since boot, suspension included."""


@dataclass(frozen=True)
class Stored(Generic[D]):
    """What stands at a path: the version is the next `cas`; no document means absent (version 0), deleted or destroyed."""

    version: int
    document: D | None
    #: Its data is gone for good; what is only deleted comes back by ``kv undelete``.
    destroyed: bool = False
    #: How long ago it was written, by Vault's own clock; None if Vault doesn't say.
    age: timedelta | None = field(default=None, compare=False)

    @property
    def deleted(self) -> bool:
        """Tell whether a document stood here that can be brought back."""
        return self.document is None and self.version > 0 and not self.destroyed

    @property
    def gone(self) -> bool:
        """Tell whether a document stood here, deleted or destroyed: that is not the same as none."""
        return self.document is None and self.version > 0


@dataclass(frozen=True)
class Letter:
    """A request that waits in the mailbox."""

    name: str
    id: str


class Store(Protocol):
    """Documents in Vault, fenced by check-and-set.

    Every method raises `StoreUnavailable` or `StoreDenied`; reading also `DocumentMalformed`.
    """

    def read(self, model: type[D], name: str, *, patient: bool = False) -> Stored[D]:
        """Return what stands at ``KIND/NAME``; `patient` tries until Vault answers or the process ends."""

    def write(self, name: str, document: Document, *, cas: int, give_up_after: timedelta | None = None) -> int:
        """Write if the version is still `cas`; return the new version. Follows the write rule (DESIGN 4).

        An unclear answer is repeated with the same bytes until it is clear, for `give_up_after` at most; without it
        until the process ends.

        Raises:
            VersionConflict: somebody else wrote. Nothing of ours stands there.
            StoreUnavailable: given up. Whether the write landed is unknown.
        """

    def names(self, model: type[Document]) -> Sequence[str]:
        """Return the names under ``KIND/``, unchecked, folders without their slash."""

    def destroy(self, model: type[Document], name: str, versions: Sequence[int]) -> None:
        """Destroy these versions for good."""

    def answers(self) -> bool:
        """Tell whether Vault answers at all now: then an error is that of the object that was asked for. Raises nothing."""


class Specs(Protocol):
    """What operators want, as it was read last."""

    def tenant(self, name: str) -> TenantSpec | None:
        """Return the tenant, or None if there is none (any more)."""

    def server(self, name: str) -> ServerSpec | None:
        """Return the server, or None."""

    def problem(self, name: str) -> str:
        """Return why ``tenants/NAME`` can't be read as a tenant, or an empty text."""


@dataclass(frozen=True)
class DeviceAuthorization:
    """Microsoft's answer to a device authorization request (RFC 8628 section 3.2), within sane bounds."""

    device_code: Secret
    user_code: str
    verification_uri: str
    message: str
    interval: timedelta
    expires_in: timedelta


@dataclass(frozen=True)
class Pending:
    """Not approved yet. `slow_down`: polled too fast. `retry_after` is the pause that the answer asks for, if it does."""

    slow_down: bool = False
    retry_after: timedelta | None = None


@dataclass(frozen=True)
class Approved:
    """Microsoft gave the tokens. `tenant_id` and `account` are what the tokens say, or empty."""

    assertion: Assertion
    tenant_id: str
    account: str


@dataclass(frozen=True)
class Ended:
    """The device code is over. `spent` means: no longer known to Microsoft, perhaps because it was redeemed."""

    outcome: Reason
    text: str
    remedy: str
    code: int | None = None
    trace_id: str = ""
    spent: bool = False


PollResult = Pending | Approved | Ended


class AuthorizationServer(Protocol):
    """Microsoft. Methods raise the subclasses of `AuthorizationServerError`. `now` is the time before sending."""

    def request_device_code(self, binding: Binding) -> DeviceAuthorization:
        """Ask for a device code (RFC 8628 section 3.1)."""

    def poll(self, binding: Binding, device_code: Secret, now: datetime) -> PollResult:
        """Ask once whether the person has approved (RFC 8628 section 3.4)."""

    def refresh(self, binding: Binding, assertion: Assertion, now: datetime) -> Assertion:
        """Renew the assertion (RFC 6749 section 6) and return it merged over the old one."""


@dataclass(frozen=True)
class TokenAnswer:
    """Veeam's token answer. `expires_in` counts from before the request was sent."""

    access_token: Secret
    refresh_token: Secret
    token_type: str
    expires_in: timedelta


@dataclass(frozen=True)
class Organization:
    """Which organization a token is for. The name can change, the id can't; either is empty where the server doesn't say it."""

    id: str
    name: str


class BackupServer(Protocol):
    """Veeam Backup for Microsoft 365. Methods raise the subclasses of `BackupServerError`."""

    def exchange(self, server: ServerSpec, organization: str, assertion: Secret, timeout: timedelta) -> TokenAnswer:
        """Exchange an assertion for a pair (``jwt-bearer``)."""

    def refresh(self, server: ServerSpec, refresh_token: Secret, timeout: timedelta) -> TokenAnswer:
        """Refresh the pair."""

    def logout(self, server: ServerSpec, access_token: Secret) -> None:
        """End the session of this token."""

    def organization(self, server: ServerSpec, access_token: Secret) -> Organization | None:
        """Return the organization that the token is for: the proof that it works.

        None: the server knows the token, and doesn't let it ask.
        """

    def alive(self, server: ServerSpec) -> None:
        """Ask whether the server answers at all, by a call that no throttle counts. Raises `BackupServerUnavailable` only."""


class Identity(NamedTuple):
    """Who is signed in at Microsoft: an account of a tenant. Compared without case."""

    tenant_id: str
    account: str

    @classmethod
    def of(cls, tenant_id: str, account: str) -> "Identity | None":
        """Return the identity; None if either isn't known."""
        return cls(tenant_id.casefold(), account.casefold()) if tenant_id and account else None


#: Tells whether another credential is another organization's: its name, and the organization that it was signed in for.
Apart = Callable[[str, str], bool]


class Identities(Protocol):
    """Who else is signed in as whom."""

    def claim(self, name: str, identity: Identity, organization: str, apart: Apart) -> bool:
        """Note, in one step, that this credential is to have this identity; False: one that is `apart` has it."""

    def shared(self, name: str, identity: Identity, apart: Apart) -> bool:
        """Tell whether another credential that is `apart` has this identity."""

    def release(self, name: str) -> None:
        """Drop the claim of a sign-in that is over; what the credential has stays."""


class Alone:
    """Implements `Identities` where nobody else is known."""

    def claim(self, name: str, identity: Identity, organization: str, apart: Apart) -> bool:  # noqa: ARG002 - the port's own
        """Let everybody have it."""
        return True

    def shared(self, name: str, identity: Identity, apart: Apart) -> bool:  # noqa: ARG002 - the port's own
        """Nobody else has it."""
        return False

    def release(self, name: str) -> None:
        """Nothing is noted."""


@dataclass(frozen=True)
class World:
    """Everything a verb needs from outside."""

    store: Store
    specs: Specs
    microsoft: AuthorizationServer
    veeam: BackupServer
    clock: Clock
    policy: Policy
    allowed: Allowed
    #: Host name and health port: who takes its own work up again after a restart.
    instance: str
    new_id: Callable[[], str]
    #: For remedies that name Vault's own commands.
    mount: str = "MOUNT"
    #: Version and rank of what this process wrote last where only the newest counts (tokens, status, prompts).
    versions: MutableMapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    #: What is known of a server by now.
    facts: Callable[[str], ServerFacts] = lambda _server: UNKNOWN
    #: When this tenant's turn comes to probe its server; None unless that rejects everybody.
    turn: Callable[[str, Credential, datetime], datetime | None] = lambda _name, _credential, _now: None
    identities: Identities = field(default_factory=Alone)
    #: Pairs that were issued before this come from a restored snapshot, perhaps.
    doubts_before: Callable[[], datetime | None] = lambda: None
