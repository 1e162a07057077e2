"""The documents of an exploration by number, with the few facts that the invariants ask for."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from vault_plugin.core.credential import Assertion, Attempt, Credential, Purpose, Rung
from vault_plugin.core.documents import Document
from vault_plugin.core.pair import TokenPair
from vault_plugin.core.published import Token
from vault_plugin.core.secret import Secret
from vault_plugin.core.states import Reason, State
from vault_plugin.core.tenants import ServerSpec, TenantSpec, bind

NAME: Final = "acme"
CREDENTIAL: Final = "credentials/acme"
TOKEN: Final = "tokens/acme"
#: Instant 0. Each passed deadline is an instant later.
BASE: Final = datetime(2026, 11, 24, 12, tzinfo=UTC)
#: Longer than an attempt's lease (53 s) and than a refused credential waits (150 s), far shorter than what is left of the
#: pair (20 min).
INSTANT: Final = timedelta(minutes=3)
LEASE: Final = timedelta(seconds=53)
TOKEN_LIFE: Final = timedelta(hours=1)
INSTANCES: Final = ("P:1", "Q:1")
TENANT: Final = TenantSpec(server="vbr", organization="contoso.onmicrosoft.com")
SERVER: Final = ServerSpec(url="https://vbr:4443")
MODELS: Final[dict[str, type[Document]]] = {"credentials": Credential, "tokens": Token}


def at(instant: int) -> datetime:
    """Return the wall time of an instant."""
    return BASE + instant * INSTANT


def secret(kind: str, number: int) -> Secret:
    """Return the token of this kind and number."""
    return Secret(f"simtok-{kind}-{number}")


def number_of(token: Secret) -> int:
    """Return the number of a token."""
    return int(token.reveal().rpartition("-")[2])


@dataclass(frozen=True)
class Facts:
    """What the model knows of a document without opening it again."""

    generation: int
    pair: int = -1
    #: When Veeam refused the pair's refresh token first, and whether that counts.
    refused: tuple[datetime | None, bool] = (None, False)
    doubtful: bool = False
    assertion: int = -1
    state: State = State.ACTIVE
    attempt: str = ""
    before: State | None = None
    purpose: Purpose | None = None
    #: The entry of a new or taken-over attempt, not of its next rung.
    begins: bool = False
    #: What stands between the entry and the conclusion of an attempt.
    climbed: bool = False


class Documents:
    """Every document is kept once and known by its number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._contents: list[dict[str, Any]] = []
        self._parsed: list[Document] = []
        self._facts: list[Facts] = []
        self._by_identity: dict[int, Document] = {}

    def number(self, path: str, content: dict[str, Any], text: str = "") -> int:
        """Return the number of this content at this path."""
        key = path + (text or json.dumps(content))
        known = self._numbers.get(key)
        if known is not None:
            return known
        document = MODELS[path.partition("/")[0]].from_vault(path, content)
        self._contents.append(content)
        self._parsed.append(document)
        self._facts.append(_facts(document))
        self._by_identity[id(content)] = document
        self._numbers[key] = len(self._parsed) - 1
        return len(self._parsed) - 1

    def of(self, document: Document) -> int:
        """Return the number of a document."""
        return self.number(f"{document.kind}/{NAME}", document.to_vault())

    def content(self, number: int) -> dict[str, Any]:
        """Return the JSON object as Vault gives it."""
        return self._contents[number]

    def parsed(self, content: dict[str, Any]) -> Document:
        """Return the document of a content that came from here."""
        return self._by_identity[id(content)]

    def document(self, number: int) -> Document:
        """Return the document."""
        return self._parsed[number]

    def facts(self, number: int) -> Facts:
        """Return what is known of it."""
        return self._facts[number]


def _facts(document: Document) -> Facts:
    if not isinstance(document, Credential):
        assert isinstance(document, Token)
        return Facts(document.generation, number_of(document.access_token) if document.access_token else -1)
    pair, attempt = document.pair, document.attempt
    return Facts(
        generation=document.generation,
        pair=number_of(pair.refresh_token) if pair else -1,
        refused=(pair.refused_at, pair.confirmed) if pair else (None, False),
        doubtful=bool(pair and pair.doubtful),
        assertion=number_of(document.assertion.json_text) if document.assertion else -1,
        state=document.state,
        attempt=attempt.id if attempt else "",
        before=attempt.before if attempt else None,
        purpose=attempt.purpose if attempt else None,
        begins=bool(attempt and not (attempt.climbed or attempt.renewed or attempt.rejections)),
        climbed=bool(attempt and attempt.climbed),
    )


def first_credential(*, exchangeable: bool, refreshable: bool, idle: bool, hurried: bool = False) -> Credential:
    """Return an active credential of generation 1 that is due, and late if `hurried`; or one that isn't, but whose assertion is idle.

    `exchangeable`: the Microsoft access token in the assertion is alive; `refreshable`: there is a refresh token in it.
    """
    issued_at = BASE - timedelta(minutes=5 if idle else 51 if hurried else 40)
    obtained_at = BASE - (timedelta(days=4) if idle else timedelta(hours=2))
    return Credential(
        write_id="sign-in",
        state=State.ACTIVE,
        reason=Reason.SIGNED_IN,
        since=issued_at,
        binding=bind(NAME, TENANT),
        assertion=Assertion(
            json_text=secret("grant", 0),
            obtained_at=obtained_at,
            expires_at=BASE + timedelta(days=1) if exchangeable else obtained_at + timedelta(hours=1),
            refreshable=refreshable,
            signed_in_at=obtained_at,
        ),
        pair=TokenPair(
            access_token=secret("access", 0),
            refresh_token=secret("refresh", 0),
            issued_at=issued_at,
            expires_at=issued_at + TOKEN_LIFE,
            refused_at=issued_at if idle else None,
            refusals=int(idle),
        ),
        generation=1,
        session="sign-in",
    )


def refreshing(credential: Credential) -> Credential:
    """Return the credential with an attempt to refresh recorded, of the first replica."""
    entry = Attempt(
        id="P0",
        instance=INSTANCES[0],
        ladder=tuple(Rung),
        generation=credential.generation,
        session=credential.session,
        before=credential.state,
        before_since=credential.since,
        started_at=BASE,
        deadline=BASE + LEASE,
    )
    return credential.started(entry, BASE, veeam_call=True).replace(write_id="P0")


def first_token() -> Token:
    """Return what consumers read of it."""
    return Token(write_id="sign-in", access_token=secret("access", 0), generation=1)
