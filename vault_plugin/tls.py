"""What TLS came to grief over, as a table: the first row that fits an error, or a cause of it, says what it was.

Beside our own words stands OpenSSL's reason: the library's words for what it found, or for the alert that came. They are never
text of the other side's.
"""

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: OpenSSL's codes of a certificate that is for another name or another address.
OTHER_NAME: Final = frozenset({62, 64})
EXPIRED: Final = frozenset({9, 10})
#: What is wrong is the form of a certificate, so that no trust helps: no CA, too weak a key or hash, extensions missing.
UNFIT: Final = frozenset({24, 25, 26, 32, 34, 66, 67, 68, *range(76, 95)})
DEFAULT_REMEDY: Final = (
    "If the server is the right one, trust it: a CA bundle for the service (VB365_CA_BUNDLE) for Microsoft's side; "
    "for a VB365 server: vb365 server set SERVER --ca-file PEM, or --fingerprint-sha256 HEX."
)
#: How Python ends the text of OpenSSL's own errors.
_LIBRARY: Final = re.compile(r"(?:\[[^\]]*\] )?([A-Za-z0-9 ,'-]{3,80}) \(_ssl\.c:\d+\)")


@dataclass(frozen=True)
class Trouble:
    """What it was, and what to do."""

    reason: str
    text: str
    remedy: str = ""


def _certificate(codes: frozenset[int] = frozenset()) -> Callable[[BaseException], bool]:
    def fits(error: BaseException) -> bool:
        return bool(getattr(error, "verify_message", "")) and (not codes or getattr(error, "verify_code", 0) in codes)

    return fits


def _says(*texts: str) -> Callable[[BaseException], bool]:
    return lambda error: any(text in str(error).lower() for text in texts)


UNKNOWN: Final = Trouble("TlsFailed", "TLS failed")
_OTHER_PROTOCOL: Final = _says(
    "wrong version number", "wrong_version_number", "http request", "http_request", "record layer failure"
)
ROWS: Final[tuple[tuple[Callable[[BaseException], bool], Trouble], ...]] = (
    (
        _certificate(OTHER_NAME),
        Trouble("CertificateNameMismatch", "its certificate is for another name", "Use the name that the certificate is for."),
    ),
    (
        _certificate(EXPIRED),
        Trouble("CertificateExpired", "its certificate has expired or isn't valid yet", "Have it renewed; compare the clocks."),
    ),
    (
        _certificate(UNFIT),
        Trouble(
            "CertificateUnfit",
            "its certificate, or its CA's, isn't made as it must be",
            "Have it reissued, and its CA if that is the one: trusting it doesn't help.",
        ),
    ),
    (_certificate(), Trouble("CertificateNotTrusted", "its certificate isn't trusted", DEFAULT_REMEDY)),
    (
        _says("fingerprint"),
        Trouble("CertificateNotTrusted", "its certificate isn't trusted: the fingerprint doesn't match", DEFAULT_REMEDY),
    ),
    (
        _says("certificate required", "certificate_required", "alert handshake failure", "handshake_failure"),
        Trouble("ClientCertificateWanted", "it wants a client certificate, or refused TLS as we offer it"),
    ),
    (
        _says("alert bad certificate", "alert unknown ca", "alert certificate unknown", "alert_unknown_ca", "bad_certificate"),
        Trouble("ClientCertificateRefused", "it refused the client certificate"),
    ),
    (
        _says("protocol version", "unsupported protocol", "no protocols available", "version too low"),
        Trouble("TlsFailed", "no version of TLS in common", "Have it offer TLS 1.2 or newer."),
    ),
    (
        _says("unsafe legacy", "too small", "too weak", "no shared cipher", "no ciphers available", "insufficient security"),
        Trouble("TlsFailed", "its TLS is too weak", "Have its TLS brought up to date, or that of what stands before it."),
    ),
    (
        _OTHER_PROTOCOL,
        Trouble("PlainHttpOnPort", "it doesn't speak TLS on this port", "Check the address: http:// and https:// differ."),
    ),
)


def trouble_of(error: BaseException, *, sent: bool = False) -> Trouble | None:
    """Return what TLS came to grief over, or None if it wasn't TLS. Texts name no host of the other side's, and no content.

    Once something was `sent`, the other side has spoken TLS: what it says then that isn't is only broken.
    """
    causes = [cause for cause in chain(error) if isinstance(cause, ssl.SSLError) or "ingerprint" in str(cause)]
    if not causes:
        return None
    for fits, trouble in ROWS:
        cause = next((cause for cause in causes if fits(cause)), None)
        if cause is not None and not (sent and fits is _OTHER_PROTOCOL):
            return _detailed(trouble, cause)
    return _detailed(UNKNOWN, causes[0])


def _detailed(trouble: Trouble, cause: BaseException) -> Trouble:
    said = _said(cause)
    return Trouble(trouble.reason, f"{trouble.text} ({said})" if said else trouble.text, trouble.remedy)


def _said(cause: BaseException) -> str:
    """Return OpenSSL's own reason, in its words."""
    if verified := str(getattr(cause, "verify_message", "")):
        return verified.rstrip(".")
    if reason := getattr(cause, "reason", None):
        return str(reason).replace("_", " ").lower() if isinstance(cause, ssl.SSLError) else ""
    known = _LIBRARY.fullmatch(str(cause.args[-1])) if isinstance(cause, ssl.SSLError) and cause.args else None
    return known[1] if known else ""


def chain(error: BaseException) -> list[BaseException]:
    """Return an error with everything that led to it."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(found) < 20:  # noqa: PLR2004 - chains are short
        cause = waiting.pop()
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            waiting += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
    return found
