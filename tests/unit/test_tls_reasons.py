"""What TLS came to grief over is told in OpenSSL's words, and no Python is stricter than OpenSSL (DESIGN 8)."""

import datetime as dt
import functools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
import urllib3.util.ssl_
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.simulators.raw import RawServer, answer
from tests.simulators.sockets import hang_up
from tests.simulators.tls import Authority
from vault_plugin import contexts, tls
from vault_plugin.core.secret import Secret
from vault_plugin.core.tenants import ServerSpec
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read
from vault_plugin.veeam.client import VeeamClient
from vault_plugin.wire import NoAnswer, Reply, Session, send

BODY = b'{"access_token":"a","refresh_token":"r","token_type":"bearer","expires_in":3600}'
NOW = dt.datetime.now(dt.UTC)


def ask(url: str, bundle: Path | None) -> Reply:
    """Ask by a bundle, or by what the environment says."""
    session = Session()
    try:
        return send(session, "POST", url, data={"a": "b"}, verify=True if bundle is None else str(bundle), connect=5, total=10)
    finally:
        session.close()


def trouble(url: str, bundle: Path | None) -> NoAnswer:
    with pytest.raises(NoAnswer) as caught:
        ask(url, bundle)
    return caught.value


class CompanyAuthority:
    """A CA as companies made them: no key usage, no key identifiers. `false`: it doesn't even say that it is one."""

    def __init__(self, directory: Path, *, false: bool = False) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Company CA")])
        made = self._certificate(self._name, self._key, [x509.BasicConstraints(ca=not false, path_length=None)])
        self.pem = made.public_bytes(serialization.Encoding.PEM).decode()
        self.file = directory / "company.pem"
        self.file.write_text(f"# l'autorité de la société\n{self.pem}")
        self._directory = directory

    def context(self) -> ssl.SSLContext:
        """Return a server's context for localhost."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        leaf = self._certificate(name, key, [x509.SubjectAlternativeName([x509.DNSName("localhost")])])
        both = self._directory / "leaf.pem"
        secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        both.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + self.pem.encode() + secret)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
        return context

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extensions: list[x509.ExtensionType]
    ) -> x509.Certificate:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number())
        made = made.not_valid_before(NOW - dt.timedelta(days=1)).not_valid_after(NOW + dt.timedelta(days=1))
        for extension in extensions:
            made = made.add_extension(extension, critical=False)
        return made.sign(self._key, hashes.SHA256())


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make default contexts as Python 3.13 makes them, and have urllib3 do so too."""

    def created(*args: object, true: Callable[..., ssl.SSLContext], **more: object) -> ssl.SSLContext:
        context = true(*args, **more)
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    monkeypatch.setattr(ssl, "create_default_context", functools.partial(created, true=ssl.create_default_context))
    monkeypatch.setattr(urllib3.util.ssl_, "sys", SimpleNamespace(version_info=(3, 13, 0)))


@pytest.fixture
def company(tmp_path: Path) -> Iterator[tuple[CompanyAuthority, RawServer]]:
    made = CompanyAuthority(tmp_path)
    server = RawServer(lambda _: [answer(BODY)], made.context())
    yield made, server
    server.close()


@pytest.mark.usefixtures("strict")
def test_a_companys_authority_is_as_good_on_python_3_13(
    company: tuple[CompanyAuthority, RawServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For Microsoft's side, for a VB365 server and for Vault; a plain client of 3.13 refuses it."""
    authority, server = company
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(server.url, verify=str(authority.file), timeout=10)

    assert ask(server.url, authority.file).content == BODY
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    assert ask(server.url, None).content == BODY
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    ten = dt.timedelta(seconds=10)
    assert VeeamClient().refresh(ServerSpec(url=server.url, ca_pem=authority.pem), Secret("simtok-r"), ten)
    assert VeeamClient(str(authority.file)).refresh(ServerSpec(url=server.url), Secret("simtok-r"), ten)
    for trust in ({"VAULT_CACERT": str(authority.file)}, {"VAULT_CACERT_BYTES": authority.pem}):
        connection = Connection(read({"VAULT_ADDR": server.url, "VAULT_TOKEN": "simtok", **trust}))
        assert connection.get("/v1/m/data/a").status == 200
        connection.close()


def test_every_context_has_the_same_flags_on_every_python() -> None:
    """OpenSSL's own strictness, and any certificate that is named is an anchor."""
    for context in (
        contexts.empty(),
        contexts.unchecked(),
        contexts.BUNDLES.trusting(bundle=True),
        contexts.for_proxy(bundle=True),
    ):
        assert context.verify_flags == ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_bundle_is_read_anew_when_it_changes(authority: Authority, tmp_path: Path) -> None:
    """It is renewed under us; one that can't be used says so, and nothing was sent."""
    server = RawServer(lambda _: [answer(BODY)], authority.shared_context)
    bundle = tmp_path / "bundle.pem"
    session = Session()

    def once() -> Reply:
        return send(session, "GET", server.url, verify=str(bundle), connect=5, total=10)

    for content in (None, "no certificate"):
        if content is not None:
            bundle.write_text(content)
        with pytest.raises(NoAnswer) as caught:
            once()
        assert (caught.value.reason, caught.value.sent) == ("CaBundleUnreadable", False)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    bundle.write_text(Authority(foreign).pem)
    with pytest.raises(NoAnswer) as caught:
        once()
    assert caught.value.reason == "CertificateNotTrusted"
    bundle.write_text(authority.pem)
    assert once().content == BODY
    session.close()
    server.close()


# --- OpenSSL's words -------------------------------------------------------------------------------------------------


def alerting(number: int) -> tuple[socket.socket, str]:
    """Return a listener that answers whatever it is greeted with by a fatal alert, and its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def alert() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            client.sendall(bytes([0x15, 3, 1, 0, 2, 2, number]))
            hang_up(client)

    threading.Thread(target=alert, daemon=True).start()
    return listener, f"https://localhost:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("number", "words", "reason"),
    [
        (70, "tlsv1 alert protocol version", "TlsFailed"),
        (40, "alert handshake failure", "ClientCertificateWanted"),
        (71, "tlsv1 alert insufficient security", "TlsFailed"),
        (80, "tlsv1 alert internal error", "TlsFailed"),
        (112, "tlsv1 unrecognized name", "TlsFailed"),
        (49, "tlsv1 alert access denied", "TlsFailed"),
    ],
)
def test_an_alert_is_told_in_openssls_words(number: int, words: str, reason: str, authority: Authority) -> None:
    """And nothing was sent: there was no handshake."""
    listener, url = alerting(number)
    told = trouble(url, authority.ca_file)
    listener.close()

    assert words in str(told)
    assert (told.reason, told.sent) == (reason, False)


def test_a_certificate_is_told_in_openssls_words(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expired, for another name, of nobody's, self-signed, and made by what is no CA."""
    (tmp_path / "bad").mkdir()
    good, bad = CompanyAuthority(tmp_path), CompanyAuthority(tmp_path / "bad", false=True)
    own, _ = authority.self_signed()
    for context, bundle, words, reason in (
        (authority.context(expired=True), authority.ca_file, "certificate has expired", "CertificateExpired"),
        (good.context(), None, "self-signed certificate in certificate chain", "CertificateNotTrusted"),
        (own, authority.ca_file, "unable to get local issuer certificate", "CertificateNotTrusted"),
        (bad.context(), bad.file, "invalid CA certificate", "CertificateUnfit"),
    ):
        server = RawServer(lambda _: [answer(BODY)], context)
        told = trouble(server.url, bundle)
        assert words.replace("-", " ") in str(told).replace("-", " ")
        assert (told.reason, told.sent, server.asked) == (reason, False, [])
        server.close()
    assert "reissued" in told.remedy

    server = RawServer(lambda _: [answer(BODY)], authority.shared_context)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: found)
    told = trouble(server.url.replace("localhost", "microsoft.example"), authority.ca_file)
    server.close()
    assert told.reason == "CertificateNameMismatch"
    assert "mismatch" in str(told)


def test_a_client_certificate_that_is_asked_for_late_may_have_seen_the_request(authority: Authority) -> None:
    """In TLS 1.3 the handshake is over for us before the server refuses."""
    context = authority.context()
    context.load_verify_locations(str(authority.ca_file))
    context.verify_mode = ssl.CERT_REQUIRED
    server = RawServer(lambda _: [answer(BODY)], context)
    told = trouble(server.url, authority.ca_file)
    server.close()

    assert (told.reason, told.sent) == ("ClientCertificateWanted", True)
    assert "certificate required" in str(told)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("UNSAFE_LEGACY_RENEGOTIATION_DISABLED", "unsafe legacy renegotiation disabled"),
        ("DH_KEY_TOO_SMALL", "dh key too small"),
        ("NO_PROTOCOLS_AVAILABLE", "no protocols available"),
        ("", "some reason that this Python has no name for"),
    ],
)
def test_a_reason_stands_in_the_text_whether_python_has_a_name_for_it_or_not(name: str, words: str) -> None:
    """A newer OpenSSL knows more reasons than the Python that was built before it."""
    error = ssl.SSLError(1, f"[SSL{f': {name}' if name else ''}] {words} (_ssl.c:1006)")
    error.reason = name or None  # type: ignore[assignment]  # as Python has it
    told = tls.trouble_of(urllib3.exceptions.MaxRetryError(None, "/", urllib3.exceptions.SSLError(error)))  # type: ignore[arg-type]

    assert told is not None
    assert told.reason == "TlsFailed"
    assert f"({words})" in told.text


@pytest.mark.parametrize(
    "text", ["simtok <b>what the other side said</b>", "[SSL] simtok: said; (_ssl.c:1)", "simtok (_ssl.c:x)"]
)
def test_nothing_that_isnt_openssls_is_shown(text: str) -> None:
    """A text that isn't of its form is kept to ourselves."""
    told = tls.trouble_of(ssl.SSLError(1, text))

    assert told is not None
    assert told.text == "TLS failed"
