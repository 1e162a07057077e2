"""What others read: consumers the token, operators the prompt and the status; and what operators write: requests."""

from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from vault_plugin.core.documents import Document, Part, Timestamp
from vault_plugin.core.secret import Secret


class Token(Document):
    """``tokens/NAME``: what a consumer reads. After `revoke` without an access token.

    `generation` only grows while nothing is restored from a snapshot: it is unique with `issued_at` only.
    """

    kind: ClassVar[str] = "tokens"

    access_token: Secret | None = None
    token_type: str = "Bearer"  # noqa: S105 - a type, no token
    issued_at: Timestamp | None = None
    expires_at: Timestamp | None = None
    next_rotation_at: Timestamp | None = None
    server_url: str = ""
    api_version: str = ""
    organization: str = ""
    generation: int = 0
    #: Only where it was revoked: then there is no token to use.
    revoked_at: Timestamp | None = None


class Prompt(Document):
    """``prompts/NAME``: the pending sign-in as people need it. Empty when none is pending."""

    kind: ClassVar[str] = "prompts"

    sign_in_id: str = ""
    user_code: str = ""
    verification_uri: str = ""
    message: str = ""
    expires_at: Timestamp | None = None
    tenant: str = ""
    organization: str = ""
    scope: str = ""
    client_id: str = ""
    claimed_by: str = ""
    why: str = ""


class SignInStatus(Part):
    """The newest sign-in, without its code."""

    id: str
    state: str
    claimed_by: str = ""
    why: str = ""
    started_at: Timestamp
    expires_at: Timestamp
    outcome: str = ""
    text: str = ""
    remedy: str = ""
    code: int | None = None
    trace_id: str = ""
    ended_at: Timestamp | None = None


class RequestStatus(Part):
    """What became of a request."""

    id: str
    action: str
    outcome: str
    text: str = ""
    at: Timestamp


class LastError(Part):
    """The newest error of a credential, without any secret."""

    at: Timestamp
    rung: str
    reason: str
    text: str
    remedy: str = ""
    code: int | None = None
    trace_id: str = ""


class Status(Document):
    """``status/NAME``: for operators and monitoring. No secrets and no codes."""

    kind: ClassVar[str] = "status"

    tenant: str
    server: str = ""
    organization: str = ""
    state: str
    reason: str
    text: str = ""
    remedy: str = ""
    since: Timestamp | None = None
    account: str = ""
    generation: int = 0
    issued_at: Timestamp | None = None
    expires_at: Timestamp | None = None
    last_rotation_at: Timestamp | None = None
    next_rotation_at: Timestamp | None = None
    outage_budget_left_seconds: int | None = None
    #: What the server was seen to do with the old access token: "lives", "dies", or empty where it wasn't measured.
    old_token_after_refresh: str = ""
    old_token_after_new_session: str = ""
    #: For so long consumers may hold a dead token at each rotation: only where every way to rotate kills the old one.
    consumers_lose_seconds: int | None = None
    proved_at: Timestamp | None = None
    failures: int = 0
    last_error: LastError | None = None
    sign_in: SignInStatus | None = None
    requests: tuple[RequestStatus, ...] = ()
    signed_in_at: Timestamp | None = None
    person_needed_by: Timestamp | None = None
    updated_at: Timestamp


Action = Literal["sign-in", "cancel", "rotate", "apply", "revoke", "remove"]


class Request(Document):
    """``requests/NAME/ID``: an operator's wish. Extra keys are refused: nobody writes what nobody reads."""

    model_config = ConfigDict(extra="forbid")
    kind: ClassVar[str] = "requests"

    action: Action
    reason: str = Field(default="", max_length=500)
    claimed_by: str = Field(default="", max_length=200)
    sign_in_id: str = Field(default="", max_length=64)
    options: dict[str, Any] = Field(default_factory=dict)
