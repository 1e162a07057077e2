"""Which proxy a request to Vault goes through, by the rules of Vault's own client. Pure.

``VAULT_PROXY_ADDR`` (before ``VAULT_HTTP_PROXY``) takes every request. Else ``HTTPS_PROXY`` or ``HTTP_PROXY`` does, but for
what ``NO_PROXY`` excepts and for this machine itself.
Source: developer.hashicorp.com/vault/docs/commands; pkg.go.dev/golang.org/x/net/http/httpproxy, "Config".
"""

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from vault_plugin.core.errors import ConfigurationError

#: What requests can speak to; Vault's own client knows socks5 beside them.
SCHEMES: Final = frozenset({"http", "https"})
PORTS: Final = {"http": 80, "https": 443}


def proxy_for(address: str, always: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return requests' proxies for Vault's address: by its scheme, or nothing.

    Raises:
        ConfigurationError: the proxy's address can't be used; names the variable.
    """
    parts = urlsplit(address)
    name, proxy = "VAULT_PROXY_ADDR", always
    if not proxy:
        name = f"{parts.scheme.upper()}_PROXY"
        proxy = environment.get(name) or environment.get(name.lower(), "")
        if proxy and _excepted(parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0), environment):
            return {}
    return {parts.scheme: _checked(name, proxy)} if proxy and parts.scheme in PORTS else {}


def _checked(name: str, proxy: str) -> str:
    """Return the proxy's address with a scheme: without one it is http, as for Vault's own client."""
    address = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = urlsplit(address)
        usable = parts.scheme in SCHEMES and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        msg = f"{name} must be the address of an http or https proxy"
        raise ConfigurationError(msg, remedy=f"Set {name} to an address like http://proxy.example.com:3128, or unset it.")
    return address


def _excepted(host: str, port: int, environment: Mapping[str, str]) -> bool:
    """Tell whether a host is spoken to directly: this machine, or what ``NO_PROXY`` lists."""
    literal = _literal(host)
    if host == "localhost" or (literal is not None and literal.is_loopback):
        return True
    listed = environment.get("NO_PROXY") or environment.get("no_proxy", "")
    return any(_matches(entry.strip().lower(), host.lower(), port, literal) for entry in listed.split(","))


def _matches(entry: str, host: str, port: int, literal: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    """Tell whether an entry means the host: ``*``, a network, an address or a domain, the latter two perhaps with a port."""
    if not entry:
        return False
    if entry == "*":
        return True
    if literal is not None and (network := _network(entry)) is not None:
        return literal in network
    name, colon, number = entry.rpartition(":")
    if colon and number.isdigit():
        if int(number) != port:
            return False
        entry = name
    if literal is not None:
        return _literal(entry) == literal
    domain = entry.removeprefix("*")
    return host.endswith(domain) if domain.startswith(".") else host == domain or host.endswith(f".{domain}")


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
