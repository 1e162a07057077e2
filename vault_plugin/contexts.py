"""TLS contexts: all that check a certificate are made here, with the same flags whatever the version of Python.

Python 3.13 began to set VERIFY_X509_STRICT in its own default contexts, and urllib3 does as it does: a company's CA without a
key usage or an authority key identifier, which OpenSSL and older versions take, is refused. Whom an administrator told us to
trust is trusted: we are as strict as OpenSSL is by default. Any certificate that is named is an anchor, an intermediate one too
(VERIFY_X509_PARTIAL_CHAIN): so it is for Vault's own client, and for Python 3.13.
"""

import re
import ssl
import threading
from pathlib import Path
from typing import Final

import certifi

FLAGS: Final = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class BundleUnreadable(Exception):
    """A file or folder with authorities isn't there, or holds none."""


def empty() -> ssl.SSLContext:
    """Return a context that checks, and trusts nobody yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags = FLAGS
    return context


def unchecked() -> ssl.SSLContext:
    """Return a context that takes any certificate: somebody else looks at its fingerprint, or nobody does."""
    context = empty()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def of_pem(text: str) -> ssl.SSLContext:
    """Return a context that trusts these certificates.

    Raises:
        ssl.SSLError, ValueError: there are none that can be used.
    """
    context = empty()
    context.load_verify_locations(cadata=certificates(text))
    return context


def certificates(text: str) -> str:
    """Return the certificates of a PEM text, without the comments between them, which needn't be ASCII."""
    return "\n".join(_CERTIFICATE.findall(text)).encode("ascii", "replace").decode()


class Bundles:
    """Contexts by the file or folder of authorities: read when it changes, since that is renewed under us. Thread-safe."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[tuple[int, int], ssl.SSLContext]] = {}
        self._lock = threading.Lock()

    def trusting(self, bundle: str | bool) -> ssl.SSLContext:  # noqa: FBT001 - requests' own `verify`
        """Return the context for requests' `verify`: a path, or True for the authorities that requests brings.

        Raises:
            BundleUnreadable: it can't be read, or holds no certificate.
        """
        path = bundle if isinstance(bundle, str) else certifi.where()
        with self._lock:
            try:
                stat = Path(path).stat()
                stamp = (stat.st_mtime_ns, stat.st_ino)
                if path not in self._read or self._read[path][0] != stamp:
                    self._read[path] = stamp, _loaded(path)
            except (OSError, ValueError):  # ssl.SSLError is an OSError
                raise BundleUnreadable from None
            return self._read[path][1]


def _loaded(path: str) -> ssl.SSLContext:
    context = empty()
    if Path(path).is_dir():
        context.load_verify_locations(capath=path)
    else:
        context.load_verify_locations(cafile=path)
    return context


#: One for the process: a bundle of all the world's authorities takes a hundredth of a second to read.
BUNDLES: Final = Bundles()


def for_proxy(bundle: str | bool) -> ssl.SSLContext:  # noqa: FBT001 - requests' own `verify`
    """Return a context for a proxy that speaks TLS itself: it is checked whatever is trusted behind it.

    Raises:
        BundleUnreadable: as `Bundles.trusting`.
    """
    if isinstance(bundle, str):
        return BUNDLES.trusting(bundle)
    context = _loaded(certifi.where())
    context.load_default_certs()
    return context
