"""Vault's environment variables, read in one place. ``BAO_*`` wins over ``VAULT_*``.

What Vault's own client obeys works here as there, or is an error: an operator who sets it relies on it. What Vault's own
client doesn't know either is ignored, as it ignores it.
Sources: developer.hashicorp.com/vault/docs/commands, "Environment variables"; OpenBao's page of the same name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from vault_plugin.core.documents import parse_duration
from vault_plugin.core.errors import ConfigurationError
from vault_plugin.core.secret import Secret
from vault_plugin.vault.proxies import proxy_for

DEFAULT_ADDRESS: Final = "https://127.0.0.1:8200"
PREFIXES: Final = ("VAULT_", "BAO_")
UNIX: Final = "unix://"

#: Vault's client obeys these and we don't: each with what to do instead. A value that switches nothing on is none.
NOT_SUPPORTED: Final = {
    "WRAP_TTL": "Unset it: answers that are wrapped can't be read. vb365 register wraps what it prints by itself.",
    "MFA": "Unset it, and log in by a method without MFA at each request.",
    "RATE_LIMIT": "Unset it: requests are paced by what Vault says (429).",
    "SRV_LOOKUP": "Unset it, and name the server in VAULT_ADDR.",
}
OFF: Final = frozenset({"", "0", "f", "false"})
#: Injected by Kubernetes for every service called vault, bao or vb365.
_KUBERNETES = re.compile(r"(?:.*_)?(?:SERVICE_(?:HOST|PORT).*|PORT(?:_\d+_(?:TCP|UDP).*)?)")
#: What a header can carry, and what a token or a namespace is made of: no blanks, nothing that doesn't print.
_PRINTING: Final = re.compile(r"[!-~]*")


@dataclass(frozen=True)
class VaultSettings:
    """Where Vault is and how it is trusted. Times are timedeltas; `answer_timeout` is for a whole answer."""

    address: str = DEFAULT_ADDRESS
    token: Secret | None = None
    namespace: str = ""
    ca_cert: str = ""
    ca_cert_bytes: str = ""
    ca_path: str = ""
    client_cert: str = ""
    client_key: str = ""
    skip_verify: bool = False
    tls_server_name: str = ""
    proxies: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    follow_redirects: bool = True
    connect_timeout: timedelta = timedelta(seconds=3)
    answer_timeout: timedelta = timedelta(seconds=10)

    @property
    def total_timeout(self) -> timedelta:
        """Return how long a request may take in all, one redirect included."""
        return max(timedelta(seconds=20), self.connect_timeout + self.answer_timeout)


def read(environment: Mapping[str, str]) -> VaultSettings:
    """Return the settings that these variables say.

    Raises:
        ConfigurationError: a variable isn't supported or has a wrong value; names it.
    """
    values: dict[str, tuple[str, str]] = {}
    for prefix in PREFIXES:  # the later one wins
        for variable, value in environment.items():
            name = variable.removeprefix(prefix)
            if name == variable or not value or is_injected_by_kubernetes(name):
                continue
            if name in NOT_SUPPORTED and value.strip().lower() not in OFF:
                raise ConfigurationError(
                    f"{variable} is not supported", reason="VariableNotSupported", remedy=NOT_SUPPORTED[name]
                )
            values[name] = (variable, value)

    def text(name: str) -> str:
        return values.get(name, ("", ""))[1]

    def switched(name: str) -> bool:
        return _boolean(*values.get(name, (f"VAULT_{name}", "false")))

    address = _address(*values.get("AGENT_ADDR", values.get("ADDR", ("VAULT_ADDR", DEFAULT_ADDRESS))))
    waiting = _timeout(*values["CLIENT_TIMEOUT"]) if "CLIENT_TIMEOUT" in values else VaultSettings.answer_timeout
    return VaultSettings(
        address=address,
        token=token_of(*values["TOKEN"]) if "TOKEN" in values else None,
        namespace=namespace_of(*values.get("NAMESPACE", ("VAULT_NAMESPACE", ""))),
        ca_cert=text("CACERT"),
        ca_cert_bytes=text("CACERT_BYTES"),
        ca_path=text("CAPATH"),
        client_cert=text("CLIENT_CERT"),
        client_key=text("CLIENT_KEY"),
        skip_verify=switched("SKIP_VERIFY"),
        tls_server_name=_server_name(*values.get("TLS_SERVER_NAME", ("VAULT_TLS_SERVER_NAME", ""))),
        proxies=tuple(proxy_for(address, text("PROXY_ADDR") or text("HTTP_PROXY"), environment).items()),
        follow_redirects=not switched("DISABLE_REDIRECTS"),
        answer_timeout=waiting,
    )


def is_injected_by_kubernetes(name: str) -> bool:
    """Tell whether a variable (without its prefix) is one that Kubernetes makes of a service of that name."""
    return _KUBERNETES.fullmatch(name) is not None


def token_of(source: str, value: str) -> Secret | None:
    """Return the token that a variable or a file holds, without the blanks around it; None if there is nothing else.

    Raises:
        ConfigurationError: a character that no token has; names the source and the place, and shows nothing of it.
    """
    return Secret(printing(source, value)) or None


def printing(source: str, value: str) -> str:
    """Return a value that goes into a header, without the blanks around it.

    Raises:
        ConfigurationError: it has a blank in it, or a character that doesn't print.
    """
    text = value.strip()
    good = _PRINTING.match(text)
    if good is None or good.end() < len(text):
        place = good.end() + 1 if good else 1
        msg = f"{source} has a character that doesn't belong there: the {place}. of {len(text)} (U+{ord(text[place - 1]):04X})"
        raise ConfigurationError(msg, reason="StrayCharacter", remedy=f"Set {source} again, without blanks and line breaks.")
    return text


def namespace_of(source: str, value: str) -> str:
    """Return a namespace without the slashes around it.

    Raises:
        ConfigurationError: it has a character that no header carries.
    """
    return printing(source, value).strip("/")


def _address(variable: str, value: str) -> str:
    text = value.strip().rstrip("/")
    if text.startswith(UNIX) and re.fullmatch(r"/[!-~]+", text.removeprefix(UNIX)):
        return text
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    plain = re.fullmatch(r"[!-~]+", text) and not re.search(r"[@?#\\]", text)
    if not (usable and plain):
        msg = f"{variable} must be like https://vault.example.com:8200 (or unix:///run/vault-agent.sock)"
        raise ConfigurationError(msg)
    return text


def _server_name(variable: str, value: str) -> str:
    """Return a name that a certificate may be for."""
    text = value.strip()
    try:
        text.encode("idna")
    except UnicodeError:
        msg = f"{variable} must be a host's name like vault.example.com"
        raise ConfigurationError(msg) from None
    return text


def _boolean(variable: str, value: str) -> bool:
    known = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
    if value.strip().lower() not in known:
        msg = f"{variable} must be true or false"
        raise ConfigurationError(msg)
    return known[value.strip().lower()]


def _timeout(variable: str, value: str) -> timedelta:
    try:
        length = parse_duration(value)
    except ValueError:
        length = timedelta(0)
    if length <= timedelta(0):
        msg = f"{variable} must be a duration like 60s"
        raise ConfigurationError(msg)
    return length
