"""Documents as a service that has run for a while leaves them, in realistic sizes."""

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from vault_plugin.core.credential import Assertion, Credential
from vault_plugin.core.documents import Document
from vault_plugin.core.pair import TokenPair
from vault_plugin.core.published import Token
from vault_plugin.core.secret import Secret
from vault_plugin.core.states import Reason, State
from vault_plugin.core.tenants import ServerSpec, TenantSpec, Throttle, bind

LIFE = timedelta(hours=1)
#: Old enough that nobody takes the rotation for one that a crash may have cut off.
AGE = timedelta(minutes=5)
NO_THROTTLE = Throttle(per_second=0, per_minute=0, per_hour=0)


def server(url: str, ca_pem: str) -> ServerSpec:
    """Return a server without a throttle."""
    return ServerSpec(url=url, ca_pem=ca_pem, throttle=NO_THROTTLE)


def refresh_token(name: str) -> str:
    """Return the refresh token that a seeded credential holds."""
    return f"seeded-rt-{_filler(name, 80)}"


def organization(name: str) -> str:
    """Return the organization of a seeded tenant."""
    return f"{name}.onmicrosoft.com"


def tenant(name: str, at: str, now: datetime, *, due: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield path and content of what stands for one tenant: its own document, the credential, and the published token."""
    spec = TenantSpec(server=at, organization=organization(name))
    began = now - (LIFE if due else AGE)
    pair = TokenPair(
        access_token=Secret(f"seeded-at-{_filler(name, 80)}"),
        refresh_token=Secret(refresh_token(name)),
        issued_at=began,
        expires_at=began + LIFE,
    )
    credential = Credential(
        state=State.ACTIVE,
        reason=Reason.REFRESHED,
        since=began,
        binding=bind(name, spec).replace(tenant_id="8f0c9e0a-1111-4222-8333-444455556666"),
        assertion=_assertion(name, began),
        pair=pair,
        generation=1,
        session="0193b5a0-0000-7000-8000-000000000000",
        calls=(began,) * 8,
        last_rotation_at=began,
        proved=1,
        proved_at=now,
    )
    token = Token(
        access_token=pair.access_token,
        issued_at=pair.issued_at,
        expires_at=pair.expires_at,
        next_rotation_at=pair.expires_at - LIFE / 3,
        server_url="https://localhost:4443",
        api_version="v8",
        organization=spec.organization,
        generation=1,
    )
    documents: tuple[Document, ...] = (spec, credential, token)
    for document in documents:
        yield f"{document.kind}/{name}", document.replace(write_id="seeded").to_vault()


def _assertion(name: str, began: datetime) -> Assertion:
    """Return an assertion of about 6 kB, which is what Microsoft's three tokens and their frame come to."""
    content = {
        "token_type": "Bearer",
        "scope": "Directory.AccessAsUser.All User.ReadWrite.All openid profile",
        "expires_in": 3600,
        "ext_expires_in": 3600,
        "access_token": f"eyJ0eXAi.{_filler(name, 2600)}.sig",
        "refresh_token": f"1.{_filler(name, 1700)}",
        "id_token": f"eyJ0eXAi.{_filler(name, 1300)}.sig",
    }
    return Assertion(
        json_text=Secret(json.dumps(content)),
        obtained_at=began,
        expires_at=began + LIFE,
        refreshable=False,  # nobody is to call the real Microsoft for these
        signed_in_at=began,
        account=f"backup@{organization(name)}",
    )


def _filler(name: str, length: int) -> str:
    """Return text that compresses as little as a token does, the same for the same name."""
    blocks = (hashlib.sha512(f"{name}{number}".encode()).digest() for number in range(length // 64 + 1))
    return base64.urlsafe_b64encode(b"".join(blocks)).decode()[:length]
