"""Requests to Vault: bounded in time and size, with explicit trust, and at most one redirect, never to plain http.

hvac builds the requests; what came back is an `Answer`, judged in `answers`. The token is not followed anywhere but by that
one redirect (a standby that doesn't forward names the active node).

Standbys of OpenBao, and performance standbys of Vault, answer reads from what they have, which may be old. So each answer's
``X-Vault-Index`` goes with the next requests: a node that isn't as far on forwards to the active one.
"""

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import requests
from hvac.adapters import RawAdapter
from requests.adapters import HTTPAdapter

from vault_plugin.core.secret import Secret
from vault_plugin.vault.environment import VaultSettings

LARGEST: Final = 2 * 1024 * 1024
REDIRECTS: Final = frozenset({301, 302, 307, 308})
#: The node isn't as far on and may not forward; nothing was done. Better an old answer than none: check-and-set decides.
INDEX_REFUSED: Final = frozenset({412})


class NoAnswer(Exception):
    """No usable answer came; whether Vault saw the request is unknown."""

    def __init__(self, text: str, *, untrusted: bool = False) -> None:
        """Take a text without any content of the request; `untrusted`: Vault's certificate was refused."""
        super().__init__(text)
        self.untrusted = untrusted


class AnswerTooLarge(NoAnswer):
    """What Vault has is more than we take."""


@dataclass(frozen=True)
class Answer:
    """What Vault answered: the status, the texts of ``errors``, and the whole JSON object."""

    status: int
    errors: tuple[str, ...]
    body: Mapping[str, Any] = field(repr=False)
    date: datetime | None = None

    @property
    def data(self) -> Mapping[str, Any]:
        """Return the object under ``data``, or an empty one."""
        data = self.body.get("data")
        return data if isinstance(data, dict) else {}


class _Session(requests.Session):
    """Reads at most 2 MiB of an answer and follows one redirect, never from https to http.

    A request goes out as hvac made it. requests would merge it with the session's own headers, cookies and hooks first: we have
    none, and the merging costs more than everything else.
    """

    def request(self, method: str | bytes, url: str | bytes, *_: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401 - requests' own
        response = self._once(str(method), str(url), **kwargs)
        if response.status_code in REDIRECTS:
            target = requests.compat.urljoin(response.url, response.headers.get("Location", ""))
            response.close()
            if str(url).startswith("https://") and not target.startswith("https://"):
                msg = "Vault redirects from https to http"
                raise NoAnswer(msg)
            response = self._once(str(method), target, **kwargs)
        content = bytearray()
        for chunk in response.iter_content(64 * 1024):
            content += chunk
            if len(content) > LARGEST:
                response.close()
                msg = "Vault's answer is larger than 2 MiB"
                raise AnswerTooLarge(msg) if response.ok and content.startswith(b"{") else NoAnswer(msg)  # or it is some page
        response._content = bytes(content)
        return response

    def _once(self, method: str, url: str, **kwargs: Any) -> requests.Response:  # noqa: ANN401 - requests' own
        prepared = requests.PreparedRequest()
        prepared.prepare(method.upper(), url, headers=kwargs["headers"], data=kwargs.get("data"), params=kwargs.get("params"))
        trust = {"verify": kwargs["verify"], "cert": kwargs["cert"]}
        return self.get_adapter(url).send(prepared, stream=True, timeout=kwargs["timeout"], **trust)


class _ServerName(HTTPAdapter):
    """Checks the certificate for another name than the address's (``VAULT_TLS_SERVER_NAME``)."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__(pool_maxsize=32)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - urllib3's own arguments
        super().init_poolmanager(*args, server_hostname=self._name, assert_hostname=self._name, **kwargs)


class Connection:
    """A connection to one Vault, in one namespace. Thread-safe.

    `token` is what requests carry; login replaces it. `on_request` is called with the kind of each request, `on_answer` with
    the seconds that its answer took and the time that the answer says it is.
    """

    def __init__(
        self,
        settings: VaultSettings,
        on_request: Callable[[str], None] = lambda _: None,
        on_answer: Callable[[float, datetime | None], None] = lambda *_: None,
    ) -> None:
        """Make the session; nothing is sent."""
        session = _Session()
        session.trust_env = False
        adapter = _ServerName(settings.tls_server_name) if settings.tls_server_name else HTTPAdapter(pool_maxsize=32)
        session.mount("https://", adapter)
        session.mount("http://", HTTPAdapter(pool_maxsize=32))
        verify = False if settings.skip_verify else (settings.ca_cert or settings.ca_path or True)
        session.verify = verify
        cert = (settings.client_cert, settings.client_key) if settings.client_cert else None
        session.cert = cert
        self.settings = settings
        self.token = settings.token
        self._on_request = on_request
        self._on_answer = on_answer
        self._index = ""
        self._lock = threading.Lock()
        self._adapter = RawAdapter(
            base_uri=settings.address,
            verify=verify,
            cert=cert,
            timeout=(settings.connect_timeout.total_seconds(), settings.read_timeout.total_seconds()),
            session=session,
            namespace=settings.namespace or None,
            strict_http=True,
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | bytes | None = None,
        wrap_ttl: str | None = None,
        token: Secret | None = None,
        anonymous: bool = False,
    ) -> Answer:
        """Send one request with our token (or `token`, or none) and return the answer, whatever its status.

        Raises:
            NoAnswer: timeout, connection or TLS error, or an answer that can't be taken.
        """
        headers = {"X-Vault-Inconsistent": "forward-active-node"}
        index = self._index
        if index:
            headers["X-Vault-Index"] = index
        used = None if anonymous else token or self.token
        if used is not None:
            headers["X-Vault-Token"] = used.reveal()
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        self._on_request(_kind(method, path))
        began = time.monotonic()
        response = self._send(method, path, headers, wrap_ttl, data)
        if index and response.status_code in INDEX_REFUSED:
            with self._lock:
                self._index = ""
            del headers["X-Vault-Index"]
            response = self._send(method, path, headers, wrap_ttl, data)
        with self._lock:
            self._index = further(self._index, response.headers.get("X-Vault-Index", ""))
        answer = _answer(response)
        self._on_answer(time.monotonic() - began, answer.date)
        return answer

    def _send(
        self, method: str, path: str, headers: dict[str, str], wrap_ttl: str | None, data: bytes | None
    ) -> requests.Response:
        try:
            return self._adapter.request(  # type: ignore[no-any-return]  # hvac has no annotation
                method.lower(), f"/v1/{path}", headers=headers, raise_exception=False, wrap_ttl=wrap_ttl, data=data
            )
        except requests.exceptions.SSLError:
            msg = f"the certificate of {self.settings.address} isn't trusted"
            raise NoAnswer(msg, untrusted=True) from None
        except requests.exceptions.RequestException as error:
            msg = f"{self.settings.address}: {_plain(error)}"
            raise NoAnswer(msg) from None
        except OSError:
            msg = "a file of VAULT_CACERT, VAULT_CAPATH, VAULT_CLIENT_CERT or VAULT_CLIENT_KEY can't be read"
            raise NoAnswer(msg, untrusted=True) from None

    def close(self) -> None:
        """Close the pooled connections."""
        self._adapter.close()


def further(held: str, came: str) -> str:
    """Return the index that is further on; where that can't be told, the one that came last."""
    old, new = _position(held), _position(came)
    if not came or (old and new and old[0] == new[0] and old[1] > new[1]):
        return held
    return came


def _position(index: str) -> tuple[str, int] | None:
    """Read OpenBao's index: a cluster and a number that grows. Any other is opaque."""
    try:
        fields = json.loads(base64.b64decode(index, validate=True))
        return str(fields["cluster"]), int(fields["value"])
    except (ValueError, TypeError, KeyError):
        return None


def _answer(response: requests.Response) -> Answer:
    try:
        body = json.loads(response.content) if response.content else {}
    except ValueError:
        body = {"errors": ["the answer isn't JSON"]}
    if not isinstance(body, dict):
        body = {"errors": ["the answer isn't a JSON object"]}
    listed = body.get("errors")
    errors = tuple(str(text) for text in listed) if isinstance(listed, list) else ()
    try:
        date = parsedate_to_datetime(response.headers["Date"])
    except (KeyError, ValueError, TypeError):
        date = None
    return Answer(response.status_code, errors, body, date)


def _kind(method: str, path: str) -> str:
    """Return what a request is for, without any name: method and the first segments."""
    parts = path.split("/")
    return f"{method} {'/'.join(parts[1:3])}" if len(parts) > 2 else f"{method} {parts[0]}"  # noqa: PLR2004 - mount, api, kind


def _plain(error: requests.exceptions.RequestException) -> str:
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "the connection failed or broke"
    return type(error).__name__
