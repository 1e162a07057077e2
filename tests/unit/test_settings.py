"""The service's settings: the environment, a file, and every way to be wrong."""

from datetime import timedelta
from pathlib import Path

import pytest

from scheduler.settings import load
from vault_plugin.core.errors import ConfigurationError


def test_a_file_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    """Comments, quotes and empty lines as in any such file."""
    path = tmp_path / "vb365.conf"
    path.write_text("# ours\n\nVB365_MOUNT=restore\nVB365_LOG_LEVEL = 'debug'\nVB365_SWEEP_INTERVAL=10s\n")

    settings = load({"VB365_CONFIG": str(path), "VB365_LOG_LEVEL": "warning", "HOME": "/root"})

    assert settings.mount == "restore"
    assert settings.log_level == "warning"
    assert settings.sweep_interval == timedelta(seconds=10)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("VB365_TYPO=1", "VB365_TYPO"),
        ("MOUNT=vb365", ":1: not a line"),
        ("VB365_MOUNT", ":1: not a line"),
        ('VB365_MOUNT=x"+', "VB365_MOUNT: .*team/vb365"),
        ("VB365_SWEEP_INTERVAL=soon", "VB365_SWEEP_INTERVAL"),
        ("VB365_VAULT_AUTH=simtok-secret", "VB365_VAULT_AUTH"),
        ("VB365_LIST_INTERVAL=0s", "VB365_LIST_INTERVAL"),
        ("VB365_CA_BUNDLE=/nowhere.pem", "VB365_CA_BUNDLE"),
    ],
)
def test_a_wrong_line_is_named_and_its_value_is_not_shown(tmp_path: Path, line: str, words: str) -> None:
    """A secret may stand on the wrong line."""
    path = tmp_path / "vb365.conf"
    path.write_text(f"{line}\n")

    with pytest.raises(ConfigurationError, match=words):
        load({"VB365_CONFIG": str(path)})


def test_what_kubernetes_makes_of_a_service_called_vb365_is_no_setting_of_ours() -> None:
    """The pod would not start."""
    injected = {"VB365_SERVICE_HOST": "10.0.0.1", "VB365_PORT": "tcp://10.0.0.1:9365", "VB365_PORT_9365_TCP_PORT": "9365"}

    assert load(injected).mount == "vb365"


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    """Its name and the system's word."""
    with pytest.raises(ConfigurationError, match="nowhere: No such file"):
        load({"VB365_CONFIG": str(tmp_path / "nowhere")})
