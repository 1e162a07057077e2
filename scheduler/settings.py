"""The service's settings: ``VB365_*`` from the environment or a file, read once. An unknown one is an error at start."""

import os
import ssl
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from vault_plugin.core.documents import Duration, parse_duration
from vault_plugin.core.errors import ConfigurationError, NameRefused
from vault_plugin.core.names import check_mount
from vault_plugin.core.tenants import Allowed, https_origin
from vault_plugin.vault.environment import is_injected_by_kubernetes

PREFIX = "VB365_"
#: Settings of the command line, which share the prefix.
OF_THE_COMMAND_LINE = {"VB365_FORMAT"}
SHORTEST = timedelta(seconds=0.1)

Listed = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Every setting with its default. Times are durations like 30s, 5m."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    mount: str = "vb365"
    vault_auth: Literal["token", "approle", "kubernetes", "jwt", "none"] = "token"
    vault_auth_mount: str = ""
    vault_role: str = ""
    vault_role_id: str = ""
    vault_secret_id_file: Path | None = None
    vault_jwt_file: Path | None = None
    #: Sign-in origins beside Microsoft's own, comma-separated; https only.
    authorities: Listed = ()
    #: Client ids (and, as ``scope:...``, scopes) beside the built-in, comma-separated; * allows any client, scope:* any scope.
    clients: Listed = ()
    ca_bundle: Path | None = None
    http_addr: str = "127.0.0.1:9365"
    log_format: Literal["json", "text"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    mailbox_interval: Duration = parse_duration("2s")
    sweep_interval: Duration = parse_duration("30s")
    list_interval: Duration = parse_duration("60s")
    reread_after: Duration = parse_duration("10m")
    stop_grace: Duration = parse_duration("25s")

    @field_validator("mount")
    @classmethod
    def _mount(cls, value: str) -> str:
        try:
            return check_mount(value)
        except NameRefused:
            msg = "must be a path like vb365 or team/vb365"
            raise ValueError(msg) from None

    @field_validator("authorities", "clients", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("authorities")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(https_origin(origin) for origin in value)

    @field_validator("mailbox_interval", "sweep_interval", "list_interval", "reread_after")
    @classmethod
    def _positive(cls, value: timedelta) -> timedelta:
        if value < SHORTEST:
            msg = "must be at least 0.1s"
            raise ValueError(msg)
        return value

    @field_validator("ca_bundle")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                ssl.create_default_context(cafile=None if value.is_dir() else value, capath=value if value.is_dir() else None)
            except (OSError, ssl.SSLError):
                msg = "must be a file of PEM certificates, or a directory of them"
                raise ValueError(msg) from None
        return value

    @field_validator("http_addr")
    @classmethod
    def _address(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not (host and colon and port.isdigit() and int(port) < 65536):  # noqa: PLR2004 - TCP ports
            msg = "must be HOST:PORT"
            raise ValueError(msg)
        return value

    @property
    def http(self) -> tuple[str, int]:
        """Return the health port's host and number."""
        host, _, port = self.http_addr.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def allowed(self) -> Allowed:
        """Return what tenants may name beside the built-in."""
        scopes = frozenset(entry[len("scope:") :].strip() for entry in self.clients if entry.startswith("scope:"))
        clients = frozenset(entry for entry in self.clients if not entry.startswith("scope:"))
        return Allowed(authorities=frozenset(self.authorities), clients=clients, scopes=scopes)


def load(environment: Mapping[str, str]) -> Settings:
    """Read the settings from the environment and, if ``VB365_CONFIG`` names one, a file of ``NAME=VALUE`` lines.

    The environment wins over the file.

    Raises:
        ConfigurationError: a setting is unknown or wrong; names it and never shows its value.
    """
    injected = is_injected_by_kubernetes
    values = {n: value for n, value in environment.items() if n.startswith(PREFIX) and not injected(n.removeprefix(PREFIX))}
    path = values.pop(f"{PREFIX}CONFIG", "")
    if path:
        values = {**_from_file(Path(path)), **values}
    known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields} | OF_THE_COMMAND_LINE
    unknown = sorted(set(values) - known)
    if unknown:
        msg = f"unknown setting {', '.join(unknown)}"
        raise ConfigurationError(msg, remedy=f"Known are: {', '.join(sorted(known))}.")
    fields = {name[len(PREFIX) :].lower(): value for name, value in values.items() if name not in OF_THE_COMMAND_LINE}
    try:
        settings = Settings.model_validate(fields)
    except ValidationError as error:
        wrong = "; ".join(f"{PREFIX}{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(wrong) from None
    _check_auth(settings)
    return settings


def _check_auth(settings: Settings) -> None:
    """Name the setting that the chosen auth method needs and that is missing."""
    needed = {
        "token": (),
        "none": (),
        "approle": ("vault_role_id", "vault_secret_id_file"),
        "kubernetes": ("vault_role",),
        "jwt": ("vault_role", "vault_jwt_file"),
    }
    missing = [f"{PREFIX}{name.upper()}" for name in needed[settings.vault_auth] if not getattr(settings, name)]
    if missing:
        msg = f"VB365_VAULT_AUTH={settings.vault_auth} needs {', '.join(missing)}"
        raise ConfigurationError(msg)


def _from_file(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        msg = f"VB365_CONFIG: can't read {path}: {error.strerror}"
        raise ConfigurationError(msg) from None
    values = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.strip().startswith(PREFIX):
            msg = f"{path}:{number}: not a line VB365_NAME=VALUE"
            raise ConfigurationError(msg)
        values[name.strip()] = value.strip().strip("\"'")
    return values


def from_process() -> Settings:
    """Read the settings of this process."""
    return load(os.environ)
