"""How Vault is trusted, and what we show it: files read when they change, since certificates are renewed under us.

As Vault's own client has it: ``VAULT_CACERT_BYTES`` before ``VAULT_CACERT`` before ``VAULT_CAPATH``, and the system's
authorities where none of them is set.
"""

import ssl
import time
from pathlib import Path
from typing import Any, Final

import certifi

from vault_plugin import contexts
from vault_plugin.core.errors import ConfigurationError
from vault_plugin.timed import SocketAdapter, TimedAdapter
from vault_plugin.vault.environment import UNIX, VaultSettings
from vault_plugin.wire import Session

POOLED: Final = 32
#: A file: its path, when it was written, and which one it is.
Stamp = tuple[str, int, int]


class Trusted:
    """Keeps the session to Vault, and makes it anew when a file of certificates or keys has changed. Thread-safe."""

    def __init__(self, settings: VaultSettings) -> None:
        """Read the files.

        Raises:
            ConfigurationError: one can't be read or used; names its variable.
        """
        self._settings = settings
        self._folder: tuple[Stamp, ...] = ()
        self._look_again_at = 0.0
        self._stamp = self._stamps()
        self._session = self._made()

    @property
    def session(self) -> Session:
        """Return the session. New files that can't be used leave it as it was: they are perhaps only half written."""
        stamp = self._stamps()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._session = self._made()
            except ConfigurationError:
                self._stamp = ()
        return self._session

    def _stamps(self) -> tuple[Stamp, ...]:
        """Return when the files were written. A folder may hold many: it is looked at once a second, not at each request."""
        settings = self._settings
        if settings.ca_path and time.monotonic() >= self._look_again_at:
            self._look_again_at = time.monotonic() + 1
            self._folder = _stamped([settings.ca_path, *map(str, sorted(Path(settings.ca_path).rglob("*")))])
        return (*_stamped([settings.ca_cert, settings.client_cert, settings.client_key]), *self._folder)

    def _made(self) -> Session:
        settings = self._settings
        if settings.address.startswith(UNIX):
            return Session(SocketAdapter(settings.address.removeprefix(UNIX), each=POOLED), proxies=lambda _: {})
        context = _context(settings)
        trust: dict[str, Any] = {"ssl_context": context, "cert_reqs": context.verify_mode.name}
        if settings.skip_verify:
            trust["assert_hostname"] = False
        if settings.tls_server_name:
            trust["server_hostname"] = settings.tls_server_name
        adapter = TimedAdapter(trust, each=POOLED)
        return Session(adapter, proxies=lambda _: dict(settings.proxies))


def _stamped(paths: list[str]) -> tuple[Stamp, ...]:
    found = []
    for path in filter(None, paths):
        try:
            stat = Path(path).stat()
        except (OSError, ValueError):
            continue
        found.append((path, stat.st_mtime_ns, stat.st_ino))
    return tuple(found)


def _context(settings: VaultSettings) -> ssl.SSLContext:
    context = contexts.unchecked() if settings.skip_verify else contexts.empty()
    if settings.skip_verify:
        pass
    elif settings.ca_cert_bytes:
        _load(context, "VAULT_CACERT_BYTES", settings.ca_cert_bytes)
    elif settings.ca_cert:
        _load(context, "VAULT_CACERT", _text("VAULT_CACERT", Path(settings.ca_cert)))
    elif settings.ca_path:
        _load_folder(context, Path(settings.ca_path))
    else:
        _load_system(context)
    if settings.client_cert or settings.client_key:
        _show(context, settings)
    return context


def _load(context: ssl.SSLContext, variable: str, pem: str) -> None:
    try:
        context.load_verify_locations(cadata=contexts.certificates(pem))
    except (ssl.SSLError, ValueError):
        msg = f"{variable} holds no PEM certificate that can be used"
        raise ConfigurationError(msg, remedy=f"Set {variable} to the CA of Vault's certificate, in PEM form.") from None


def _load_folder(context: ssl.SSLContext, folder: Path) -> None:
    """Take every certificate in a folder, whatever the files are called: OpenSSL alone would want names that are hashes."""
    try:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        msg = f"VAULT_CAPATH: {folder} can't be read: {error.strerror}"
        raise ConfigurationError(msg) from None
    loaded = 0
    for path in files:
        try:
            context.load_verify_locations(cadata=contexts.certificates(path.read_text(errors="replace")))
        except (OSError, ssl.SSLError, ValueError):
            continue  # a key or a note beside them
        loaded += 1
    if not loaded:
        msg = f"VAULT_CAPATH: no PEM certificate in {folder}"
        raise ConfigurationError(msg, remedy="Name a directory with the CA of Vault's certificate, in PEM form.")


def _load_system(context: ssl.SSLContext) -> None:
    context.load_default_certs()
    paths = ssl.get_default_verify_paths()
    if paths.cafile is None and paths.capath is None:  # a Python that was built for another system
        context.load_verify_locations(cafile=certifi.where())


def _show(context: ssl.SSLContext, settings: VaultSettings) -> None:
    """Have the client certificate shown where Vault asks for one."""
    if not (settings.client_cert and settings.client_key):
        msg = "VAULT_CLIENT_CERT and VAULT_CLIENT_KEY belong together"
        raise ConfigurationError(msg, remedy="Set both, or neither.")
    for variable, path in (("VAULT_CLIENT_CERT", settings.client_cert), ("VAULT_CLIENT_KEY", settings.client_key)):
        _text(variable, Path(path))
    try:
        context.load_cert_chain(settings.client_cert, settings.client_key, password=lambda: b"")
    except (ssl.SSLError, OSError, ValueError):
        msg = "VAULT_CLIENT_CERT and VAULT_CLIENT_KEY aren't a PEM certificate and its key without a passphrase"
        raise ConfigurationError(msg) from None


def _text(variable: str, path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except (OSError, ValueError) as error:
        msg = f"{variable}: {path} can't be read: {getattr(error, 'strerror', None) or 'not a path'}"
        raise ConfigurationError(msg) from None
