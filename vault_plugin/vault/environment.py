"""Vault's environment variables, read in one place. ``BAO_*`` wins over ``VAULT_*``.

A variable of Vault's that we don't support is an error, not silence: an operator who sets it relies on it.
Source: developer.hashicorp.com/vault/docs/commands, "Environment variables"; OpenBao's page of the same name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from vault_plugin.core.documents import parse_duration
from vault_plugin.core.errors import ConfigurationError
from vault_plugin.core.secret import Secret

DEFAULT_ADDRESS: Final = "https://127.0.0.1:8200"
PREFIXES: Final = ("VAULT_", "BAO_")

SUPPORTED: Final = frozenset(
    "ADDR TOKEN NAMESPACE CACERT CAPATH CLIENT_CERT CLIENT_KEY SKIP_VERIFY TLS_SERVER_NAME CLIENT_TIMEOUT".split()
)
#: They change how Vault's own command line looks or where its server listens; nothing that we do.
HARMLESS: Final = frozenset(
    "FORMAT CLI_NO_COLOR DETAILED LOG_LEVEL LOG_FORMAT API_ADDR CLUSTER_ADDR DEV_ROOT_TOKEN_ID DEV_LISTEN_ADDRESS "
    "LICENSE LICENSE_PATH CONFIG_PATH VERSION MAX_RETRIES ENABLE_FILE_PERMISSIONS_CHECK".split()
)
#: Injected by Kubernetes for every service called vault, bao or vb365.
_KUBERNETES = re.compile(r"(?:.*_)?(?:SERVICE_(?:HOST|PORT).*|PORT(?:_\d+_(?:TCP|UDP).*)?)")


@dataclass(frozen=True)
class VaultSettings:
    """Where Vault is and how it is trusted. Times are timedeltas."""

    address: str = DEFAULT_ADDRESS
    token: Secret | None = None
    namespace: str = ""
    ca_cert: str = ""
    ca_path: str = ""
    client_cert: str = ""
    client_key: str = ""
    skip_verify: bool = False
    tls_server_name: str = ""
    connect_timeout: timedelta = timedelta(seconds=3)
    read_timeout: timedelta = timedelta(seconds=10)


def read(environment: Mapping[str, str]) -> VaultSettings:
    """Return the settings that these variables say.

    Raises:
        ConfigurationError: a variable isn't supported or has a wrong value; names it.
    """
    values: dict[str, tuple[str, str]] = {}
    for prefix in PREFIXES:  # the later one wins
        for variable, value in environment.items():
            name = variable.removeprefix(prefix)
            if name == variable or not value:
                continue
            if name in SUPPORTED:
                values[name] = (variable, value)
            elif name not in HARMLESS and not is_injected_by_kubernetes(name):
                msg = f"{variable} is not supported"
                remedy = f"Unset it. Supported are: {', '.join(f'VAULT_{known}' for known in sorted(SUPPORTED))}."
                raise ConfigurationError(msg, reason="VariableNotSupported", remedy=remedy)

    def text(name: str, default: str = "") -> str:
        return values.get(name, ("", default))[1]

    settings = VaultSettings(
        address=_address(*values.get("ADDR", ("VAULT_ADDR", DEFAULT_ADDRESS))),
        token=Secret(text("TOKEN").strip()) if text("TOKEN").strip() else None,
        namespace=text("NAMESPACE").strip("/"),
        ca_cert=text("CACERT"),
        ca_path=text("CAPATH"),
        client_cert=text("CLIENT_CERT"),
        client_key=text("CLIENT_KEY"),
        skip_verify=_boolean(*values.get("SKIP_VERIFY", ("VAULT_SKIP_VERIFY", "false"))),
        tls_server_name=text("TLS_SERVER_NAME"),
    )
    if "CLIENT_TIMEOUT" in values:
        settings = replace(settings, read_timeout=_timeout(*values["CLIENT_TIMEOUT"]))
    return settings


def is_injected_by_kubernetes(name: str) -> bool:
    """Tell whether a variable (without its prefix) is one that Kubernetes makes of a service of that name."""
    return _KUBERNETES.fullmatch(name) is not None


def _address(variable: str, value: str) -> str:
    if not re.fullmatch(r"https?://[^/\s@]+(?:/[^\s?#]*)?", value.strip()):
        msg = f"{variable} must be like https://vault.example.com:8200"
        raise ConfigurationError(msg)
    return value.strip().rstrip("/")


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
