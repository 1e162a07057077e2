"""What TLS came to grief over, as a table: the first row that fits an error, or a cause of it, says what it was."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: OpenSSL's codes of a certificate that is for another name or another address.
OTHER_NAME: Final = frozenset({62, 64})
EXPIRED: Final = frozenset({9, 10})
DEFAULT_REMEDY: Final = (
    "If the server is the right one, trust it: a CA bundle for the service (VB365_CA_BUNDLE) for Microsoft's side; "
    "for a VB365 server: vb365 server set SERVER --ca-file PEM, or --fingerprint-sha256 HEX."
)


@dataclass(frozen=True)
class Trouble:
    """What it was; `sent` tells whether a request may have gone out before."""

    reason: str
    text: str
    remedy: str = ""
    sent: bool = False


def _certificate(codes: frozenset[int] = frozenset()) -> Callable[[BaseException], bool]:
    def fits(error: BaseException) -> bool:
        return bool(getattr(error, "verify_message", "")) and (not codes or getattr(error, "verify_code", 0) in codes)

    return fits


def _says(*texts: str) -> Callable[[BaseException], bool]:
    return lambda error: any(text in str(error).lower() for text in texts)


ROWS: Final[tuple[tuple[Callable[[BaseException], bool], Trouble], ...]] = (
    (
        _certificate(OTHER_NAME),
        Trouble("CertificateNameMismatch", "its certificate is for another name", "Use the name that the certificate is for."),
    ),
    (
        _certificate(EXPIRED),
        Trouble("CertificateExpired", "its certificate has expired or isn't valid yet", "Have it renewed; compare the clocks."),
    ),
    (_certificate(), Trouble("CertificateNotTrusted", "its certificate isn't trusted", DEFAULT_REMEDY)),
    (
        _says("fingerprint"),
        Trouble("CertificateNotTrusted", "its certificate isn't trusted: the fingerprint doesn't match", DEFAULT_REMEDY),
    ),
    (
        _says("certificate required", "certificate_required", "alert handshake failure", "handshake_failure"),
        Trouble("ClientCertificateWanted", "it wants a client certificate, or refused TLS as we offer it", sent=True),
    ),
    (
        _says("alert bad certificate", "alert unknown ca", "alert certificate unknown", "alert_unknown_ca", "bad_certificate"),
        Trouble("ClientCertificateRefused", "it refused the client certificate", sent=True),
    ),
    (
        _says("wrong version number", "wrong_version_number", "http request", "http_request", "record layer failure"),
        Trouble("PlainHttpOnPort", "it doesn't speak TLS on this port", "Check the address: http:// and https:// differ."),
    ),
    (_says("ssl", "tls"), Trouble("TlsFailed", "TLS failed", sent=True)),
)
UNKNOWN: Final = ROWS[-1][1]


def trouble_of(error: BaseException) -> Trouble | None:
    """Return what TLS came to grief over, or None if it wasn't TLS. Texts name no host and no content."""
    causes = chain(error)
    if not any("SSL" in type(cause).__name__ or "ingerprint" in str(cause) for cause in causes):
        return None
    for fits, trouble in ROWS:
        cause = next((cause for cause in causes if fits(cause)), None)
        if cause is not None:
            detail = getattr(cause, "verify_message", "")
            return Trouble(trouble.reason, f"{trouble.text}{f' ({detail})' if detail else ''}", trouble.remedy, trouble.sent)
    return UNKNOWN


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
