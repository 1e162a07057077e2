"""The PyPI client veeam-365 against our VB365 simulator: it logs in, reads, refreshes and logs out."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from veeam_365.client import VeeamClient as TheirClient

from tests.simulators.http import Server
from tests.simulators.tls import Authority
from tests.simulators.veeam import VeeamSimulator

pytestmark = pytest.mark.external


@pytest.mark.parametrize("version", ["v6", "v7", "v8"])
def test_veeam_365_logs_in_reads_refreshes_and_logs_out(version: str, authority: Authority) -> None:
    """With the versions that it knows."""
    veeam = VeeamSimulator(lambda: datetime.now(UTC))
    server = Server(veeam, authority.shared_context)
    trust = ssl.create_default_context(cafile=str(authority.ca_file))

    async def play() -> None:
        async with TheirClient(server.url, "admin", "admin", version, verify_ssl=trust) as client:
            await client.connect()
            first = client._access_token
            sessions = await client.call(client.api("restore_session.restore_session_get_page"))
            assert sessions.results == []
            client._expires_at = datetime.now(UTC) - timedelta(seconds=1)
            await client.call(client.api("restore_session.restore_session_get_page"))
            assert client._access_token != first
            assert veeam.accepts(str(client._access_token))
            if version != "v6":
                generated = client._client.get_async_httpx_client()
                answer = await generated.post(f"/{version}/token/logout")
                assert answer.status_code == (204 if version == "v8" else 200)
                assert not veeam.accepts(str(client._access_token))

    asyncio.run(play())
    server.close()
    assert [p.outcome for p in veeam.presented] == ["ok"]
