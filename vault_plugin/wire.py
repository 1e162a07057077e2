"""One HTTP exchange with a server that is trusted with a secret: bounded in time and size, no redirects, explicit trust.

requests bounds each read but not their sum, and lets ``REQUESTS_CA_BUNDLE`` override a session's trust; here the trust goes
with each request and a deadline covers the whole answer.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

LARGEST = 2 * 1024 * 1024
CHUNK = 64 * 1024


class NoAnswer(Exception):
    """No usable answer came; `sent` tells whether the other side may have seen the request."""

    def __init__(self, text: str, reason: str, remedy: str = "", *, sent: bool) -> None:
        """Take the text, the machine-readable reason and what to do."""
        super().__init__(text)
        self.reason = reason
        self.remedy = remedy
        self.sent = sent


@dataclass(frozen=True)
class Reply:
    """Status, headers and the whole body."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


HEADERS = {"Accept": "application/json", "User-Agent": "vault-plugin-secrets-vb365"}


class Session:
    """Connections that are kept. Thread-safe.

    Reads nothing from the environment but proxies and trust, and those once: requests looks them up at each request, and in
    ``.netrc`` for a password to put in the place of our header. Keeps no cookies: what one tenant was given isn't another's.
    """

    def __init__(self, adapter: HTTPAdapter | None = None) -> None:
        """Take an adapter, or make one that pools enough for our threads."""
        self._adapter = adapter or HTTPAdapter(pool_connections=64, pool_maxsize=32)
        self._environment: dict[tuple[str, str | bool], Mapping[str, Any]] = {}

    def send(
        self, prepared: requests.PreparedRequest, timeout: tuple[float, float], *, verify: str | bool
    ) -> requests.Response:
        """Send a request, and return the answer before its body was read."""
        origin = requests.compat.urljoin(prepared.url or "", "/")
        if (origin, verify) not in self._environment:
            with requests.Session() as asked:
                self._environment[origin, verify] = asked.merge_environment_settings(origin, {}, True, verify, None)
        return self._adapter.send(prepared, timeout=timeout, **self._environment[origin, verify])


def send(  # noqa: PLR0913 - the parts of one HTTP request, by keyword
    session: Session,
    method: str,
    url: str,
    *,
    data: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    verify: str | bool,
    connect: float,
    total: float,
) -> Reply:
    """Send one request, with `data` as a form, and read the answer within about `total` seconds.

    A body that stalls behind its head may take as long again as the head was given.

    Raises:
        NoAnswer: no connection, no answer in time, or the connection broke.
    """
    deadline = time.monotonic() + total
    connect = min(connect, total / 2)  # whatever is left of a short time, half of it is for the answer
    try:
        prepared = requests.PreparedRequest()
        prepared.prepare(method, url, headers={**HEADERS, **(headers or {})}, data=data)
        with session.send(prepared, (connect, total - connect), verify=verify) as response:
            content = bytearray()
            while chunk := response.raw.read1(CHUNK, decode_content=True):  # what has come, not what is promised
                content += chunk
                if len(content) > LARGEST:
                    raise NoAnswer("the answer is larger than 2 MiB", "AnswerTooLarge", sent=True)
                if time.monotonic() > deadline:
                    raise NoAnswer(f"no whole answer within {total:.0f} s", "Timeout", sent=True)
            return Reply(response.status_code, response.headers, bytes(content))
    except requests.exceptions.SSLError as error:
        raise _insecure(error) from None
    except requests.exceptions.ConnectTimeout:
        raise NoAnswer(f"no connection within {connect:.0f} s", "ConnectTimeout", sent=False) from None
    except requests.exceptions.Timeout:
        raise NoAnswer(f"no answer within {total:.0f} s", "Timeout", sent=True) from None
    except requests.exceptions.ConnectionError as error:
        raise _broken(error) from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise NoAnswer(f"the answer broke off ({type(error).__name__})", "AnswerBroken", sent=True) from None
    except OSError:  # requests' own word for a CA bundle that isn't there
        remedy = "Correct VB365_CA_BUNDLE."
        raise NoAnswer("the CA bundle can't be read", "CaBundleUnreadable", remedy, sent=False) from None


def _insecure(error: Exception) -> NoAnswer:
    """Tell a certificate that isn't trusted from TLS that failed, perhaps after the request."""
    cause = next(iter(_causes(error)), "")
    if not cause:
        return NoAnswer("TLS failed", "TlsFailed", sent=True)
    remedy = (
        "If the server is the right one, trust it: a CA bundle for the service (VB365_CA_BUNDLE) for Microsoft's side; "
        "for a VB365 server: vb365 server set SERVER --ca-file PEM, or --fingerprint-sha256 HEX."
    )
    return NoAnswer(f"its certificate isn't trusted ({cause})", "CertificateNotTrusted", remedy, sent=False)


def _broken(error: Exception) -> NoAnswer:
    """Tell a connection that was never made from one that broke."""
    names = {type(cause).__name__ for cause in _chain(error)}
    if names & {"NewConnectionError", "NameResolutionError", "ConnectTimeoutError"}:
        text = "its name can't be resolved" if "NameResolutionError" in names else "connection refused or no route"
        return NoAnswer(text, "ConnectionFailed", sent=False)
    if "ProxyError" in names:
        return NoAnswer("the proxy refused", "ProxyError", sent=False)
    return NoAnswer("the connection broke before an answer came", "ConnectionBroken", sent=True)


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(found) < 20:  # noqa: PLR2004 - chains are short
        cause = waiting.pop()
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            waiting += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
    return found


def _causes(error: Exception) -> list[str]:
    """Return short texts of OpenSSL's and urllib3's causes; they name no host and no content."""
    texts = []
    for cause in _chain(error):
        message = getattr(cause, "verify_message", "")
        if message:
            texts.append(f"verification: {message}")
        elif "ingerprint" in str(cause):
            texts.append("fingerprint doesn't match")
    return texts
