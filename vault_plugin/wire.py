"""One HTTP exchange with a server that is trusted with a secret: bounded in time and size, no redirects, explicit trust.

requests bounds each read but not their sum, and lets ``REQUESTS_CA_BUNDLE`` override a session's trust; here the trust goes
with each request and a deadline covers the whole answer.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import requests
from requests.adapters import HTTPAdapter

LARGEST = 2 * 1024 * 1024
CHUNK = 64 * 1024


class NotSent(Exception):
    """No connection was made: the other side has seen nothing."""

    def __init__(self, text: str, reason: str, remedy: str = "") -> None:
        """Take the text, the machine-readable reason and what to do."""
        super().__init__(text)
        self.reason = reason
        self.remedy = remedy


class Unanswered(NotSent):
    """The request may have been seen, but no usable answer came."""


@dataclass(frozen=True)
class Reply:
    """Status, headers and the whole body."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


def session_of(adapter: HTTPAdapter | None = None) -> requests.Session:
    """Return a session that reads nothing from the environment but proxies, and pools enough for our threads."""
    session = requests.Session()
    session.mount("https://", adapter or HTTPAdapter(pool_connections=64, pool_maxsize=32))
    session.headers["Accept"] = "application/json"
    session.headers["User-Agent"] = "vault-plugin-secrets-vb365"
    return session


def post_form(
    session: requests.Session, url: str, form: Mapping[str, str], *, verify: str | bool, connect: float, total: float
) -> Reply:
    """POST a form and read the whole answer within `total` seconds.

    Raises:
        NotSent: no connection.
        Unanswered: no answer in time, or the connection broke.
    """
    return send(session, "POST", url, data=dict(form), headers=None, verify=verify, connect=connect, total=total)


def send(  # noqa: PLR0913 - the parts of one HTTP request, by keyword
    session: requests.Session,
    method: str,
    url: str,
    *,
    data: Mapping[str, str] | None,
    headers: Mapping[str, str] | None,
    verify: str | bool,
    connect: float,
    total: float,
) -> Reply:
    """Send one request and read the whole answer within `total` seconds. See `post_form`."""
    deadline = time.monotonic() + total
    connect = min(connect, total)
    try:
        with session.request(
            method,
            url,
            data=data,
            headers=dict(headers or {}),
            verify=verify,
            timeout=(connect, max(total - connect, 0.1)),
            allow_redirects=False,
            stream=True,
        ) as response:
            content = bytearray()
            for chunk in response.iter_content(CHUNK):
                content += chunk
                if len(content) > LARGEST:
                    raise Unanswered("the answer is larger than 2 MiB", "AnswerTooLarge")
                if time.monotonic() > deadline:
                    raise Unanswered(f"no whole answer within {total:.0f} s", "Timeout")
            return Reply(response.status_code, response.headers, bytes(content))
    except requests.exceptions.SSLError as error:
        raise _untrusted(error) from None
    except requests.exceptions.ConnectTimeout:
        raise NotSent(f"no connection within {connect:.0f} s", "ConnectTimeout") from None
    except requests.exceptions.Timeout:
        raise Unanswered(f"no answer within {total:.0f} s", "Timeout") from None
    except requests.exceptions.ConnectionError as error:
        raise _broken(error) from None
    except requests.exceptions.RequestException as error:
        raise Unanswered(f"the answer broke off ({type(error).__name__})", "AnswerBroken") from None


def _untrusted(error: Exception) -> NotSent:
    cause = next((text for text in _causes(error) if "verif" in text or "ingerprint" in text), "TLS failed")
    remedy = (
        "If the server is the right one, trust it: a CA bundle for the service (VB365_CA_BUNDLE) for Microsoft's side; "
        "for a VB365 server: vb365 server set SERVER --ca-file PEM, or --fingerprint-sha256 HEX."
    )
    return NotSent(f"its certificate isn't trusted ({cause})", "CertificateNotTrusted", remedy)


def _broken(error: Exception) -> NotSent:
    """Tell a connection that was never made from one that broke."""
    names = {type(cause).__name__ for cause in _chain(error)}
    if names & {"NewConnectionError", "NameResolutionError", "ConnectTimeoutError"}:
        text = "its name can't be resolved" if "NameResolutionError" in names else "connection refused or no route"
        return NotSent(text, "ConnectionFailed")
    if "ProxyError" in names:
        return NotSent("the proxy refused", "ProxyError")
    return Unanswered("the connection broke before an answer came", "ConnectionBroken")


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
