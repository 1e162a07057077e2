"""A test CA, and certificates of every kind a VB365 server may have."""

import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import trustme


class Authority:
    """A CA in a directory: ``ca.pem`` is what clients trust."""

    def __init__(self, directory: Path) -> None:
        self._ca = trustme.CA()
        self._directory = directory
        self.ca_file = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.ca_file))

    @cached_property
    def shared_context(self) -> ssl.SSLContext:
        """Return one server's context for all who need nothing special: keys take time to make."""
        return self.context()

    @property
    def pem(self) -> str:
        """Return the CA's certificate."""
        return self.ca_file.read_text()

    def context(self, *, expired: bool = False) -> ssl.SSLContext:
        """Return a server's context for localhost and 127.0.0.1."""
        until = datetime.now(UTC) - timedelta(days=1) if expired else None
        leaf = self._ca.issue_cert("localhost", "127.0.0.1", not_after=until)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        return context

    def self_signed(self) -> tuple[ssl.SSLContext, str]:
        """Return a context with a certificate that no CA of ours made, and its SHA-256 fingerprint."""
        leaf = trustme.CA().issue_cert("vb365.invalid")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        der = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
        return context, hashlib.sha256(der).hexdigest()
