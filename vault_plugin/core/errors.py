"""Errors, named by what the caller does next. The class says what to do; the attributes say why.

::

    Error                                  .reason  .retryable  .remedy()
    ├── ConfigurationError                 the operator must change a setting or a document
    │   ├── NameRefused                    a name that could widen a policy
    │   └── BindingRefused                 an authority, client or scope that the service doesn't allow
    ├── NotFound                           the caller named no tenant or server of ours
    ├── AuthorizationServerError           Microsoft; .code .error .trace_id, never a body
    │   ├── GrantRejected                  a person must sign in again
    │   ├── TenantAdminRequired            an admin of the tenant must change something
    │   ├── ClientRejected                 our registration or settings are wrong
    │   └── AuthorizationServerUnavailable try again later; .retry_after
    ├── BackupServerError                  Veeam; .status .sent, never a body
    │   ├── TokenRejected                  Veeam's own verdict on what was sent; .about
    │   ├── EndpointRefused                wrong version or address: an admin must change the server's settings
    │   ├── BackupServerFaulty             answered, but no verdict: this credential tries again
    │   └── BackupServerUnavailable        not answered, 502 to 504, 52x or 429: the whole server waits; .retry_after
    ├── StoreError                         Vault
    │   ├── StoreDenied                    policy or login
    │   ├── StoreUnavailable               sealed, away, slow: try again
    │   ├── DocumentMalformed              what stands there isn't what we wrote
    │   └── VersionConflict                somebody else wrote first: read again
    └── IllegalTransition                  our bug, never weather

A message never contains a body, a header, a query or a token.
"""

from copy import copy
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar


class Error(Exception):
    """Root of all errors of ours."""

    retryable: ClassVar[bool] = False
    #: What to do next, in the words of an operator. Instances may carry a better one. NAME stands for the tenant, SERVER
    #: for the server; whoever shows it knows which (`vault_plugin.core.names.fill`).
    default_remedy: ClassVar[str] = "Report this as a bug."

    def __init__(self, message: str, *, reason: str = "", remedy: str = "") -> None:
        """Take a message for people, a CamelCase reason for machines, and the remedy if it is a special one."""
        super().__init__(message)
        self.reason = reason or type(self).__name__
        self._remedy = remedy

    def remedy(self) -> str:
        """Return what to do next."""
        return self._remedy or self.default_remedy


class ConfigurationError(Error):
    """The operator must change a setting or a document."""

    default_remedy = "Correct the setting that is named and try again."


class NameRefused(ConfigurationError):
    """The name could widen a policy or is not a name of ours."""

    default_remedy = (
        "Use a name like a lower-case DNS name: letters, digits and hyphens in labels joined by dots, "
        "at most 128 characters. The organization's exact case goes into --organization."
    )


class BindingRefused(ConfigurationError):
    """The tenant names an authority, a client id or a scope that the service's settings don't allow."""

    default_remedy = "Set the tenant back, or have the service's VB365_AUTHORITIES or VB365_CLIENTS list it."


class NotFound(Error):
    """The caller named no tenant or server of ours."""

    default_remedy = "List what there is: vb365 tenant list, vb365 server list."


class AuthorizationServerError(Error):
    """Microsoft answered an error, or nothing. Carries what Microsoft's support asks for, never the body."""

    default_remedy = "Look at the code and the trace id."

    def __init__(  # noqa: PLR0913 - the fields of Microsoft's error answer, all by keyword
        self,
        message: str,
        *,
        reason: str = "",
        remedy: str = "",
        code: int | None = None,
        error: str = "",
        trace_id: str = "",
        retry_after: timedelta | None = None,
        confirm: bool = False,
        sent: bool = True,
        answered: bool = True,
    ) -> None:
        """Take the parts of the error answer; `confirm` marks a verdict that counts only when seen twice over minutes."""
        super().__init__(message, reason=reason, remedy=remedy)
        self.code = code
        self.error = error
        self.trace_id = trace_id
        self.retry_after = retry_after
        self.confirm = confirm
        #: False: the request never left us.
        self.sent = sent
        #: False: nothing came back, neither Microsoft's answer nor that of anything in front of it.
        self.answered = answered


class GrantRejected(AuthorizationServerError):
    """The grant is dead: a person must sign in again."""

    default_remedy = "Sign in again: vb365 sign-in NAME."


class TenantAdminRequired(AuthorizationServerError):
    """An administrator of the Microsoft 365 tenant must change something; signing in again doesn't help."""

    default_remedy = "Ask the tenant's administrator; give him the code and the trace id."


class ClientRejected(AuthorizationServerError):
    """The app registration, the client id, the scope, the cloud or the tenant's name is wrong."""

    default_remedy = "Check client id, scope, cloud and organization of the tenant."


class AuthorizationServerUnavailable(AuthorizationServerError):
    """Timeout, connection error, 429, 5xx or throttling: nothing is judged, try again."""

    retryable = True
    default_remedy = (
        "Nothing to do: it is tried again. If it stays for an hour, look at Microsoft's service health "
        "(https://status.cloud.microsoft), and give Microsoft's support the trace id."
    )

    def instead(self, remedy: str) -> "AuthorizationServerUnavailable":
        """Return the same error with this remedy."""
        told = copy(self)
        told._remedy = remedy
        return told


class BackupServerError(Error):
    """Veeam answered an error, or nothing. Carries the status, if there was an answer, and never the body."""

    default_remedy = "Look at the server."

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        remedy: str = "",
        status: int | None = None,
        retry_after: timedelta | None = None,
        sent: bool = True,
    ) -> None:
        """Take the HTTP status, if there was an answer, and the time the server asked us to wait."""
        super().__init__(message, reason=reason, remedy=remedy)
        self.status = status
        self.retry_after = retry_after
        #: False: the request never left us, so that the server's throttle can't have counted it.
        self.sent = sent


class About(StrEnum):
    """What an answer judges."""

    SENT = "sent"
    """The refresh token, assertion or access token that was sent."""
    CALL = "call"
    """That this call was made here, whatever was sent."""
    NOTHING = "nothing"


class TokenRejected(BackupServerError):
    """Veeam's own verdict on the assertion, the refresh token or the access token; about a *call*, the token is known."""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        remedy: str = "",
        status: int | None = None,
        retry_after: timedelta | None = None,
        about: About = About.SENT,
    ) -> None:
        """Take what is judged."""
        super().__init__(message, reason=reason, remedy=remedy, status=status, retry_after=retry_after)
        self.about = about

    default_remedy = (
        "Check on the VB365 server: tenant authentication is enabled, the organization's name has exactly this case, "
        "and the organization was added with modern app-only authentication."
    )


class EndpointRefused(BackupServerError):
    """The server doesn't serve this: wrong API version, wrong address, or restore operators only."""

    default_remedy = "Check the server's url and api_version: vb365 server show SERVER."


class BackupServerFaulty(BackupServerError):
    """What was answered can't be used (5xx, JSON without tokens), or isn't VB365's own (a gateway's, a page): not a verdict."""

    retryable = True
    default_remedy = "Nothing to do: it is tried again. If it stays, look at Veeam.Archiver.REST_*.log on the server."


class BackupServerUnavailable(BackupServerError):
    """No answer, 502 to 504, 520 to 530, or 429: the whole server waits."""

    retryable = True
    default_remedy = "Check that the server is up, reachable and trusted: vb365 server show SERVER."


class StoreError(Error):
    """Vault refused, failed or is away. No class of Vault's ever touches a credential's state."""

    #: What it is about, where that is known: the path under the mount, and what was done there ("read", "write", "list").
    path: str = ""
    verb: str = ""


class StoreDenied(StoreError):
    """The token is alive but has no right to this path, or login is refused."""

    default_remedy = (
        "Use a token whose policy allows it: MOUNT-operator for tenants, sign-ins and status, MOUNT-admin also for servers and "
        "removal, MOUNT-consumer for tokens. Whoever registered can see whether the policies are whole: vb365 register --check."
    )


class StoreUnavailable(StoreError):
    """Vault is sealed, away, slow or in the middle of a fail-over: try again."""

    retryable = True
    default_remedy = "The cause isn't known here: Vault's own words stand above. Look at vault status, and at Vault's log."


class DocumentMalformed(StoreError):
    """The document at this path has not the form it must have, or is of a newer version of this program."""

    default_remedy = "Write it again, with vb365 tenant set or vb365 server set; if a newer version wrote it, upgrade this one."
    #: The version that stands there, where it is known: whoever owns the path may write over it with this `cas`.
    version: int | None = None


class VersionConflict(StoreError):
    """Somebody else wrote first. Read again and decide anew; never shown to a person."""

    retryable = True


class IllegalTransition(Error):
    """An event that the state table doesn't know in this state. Nothing was changed."""
