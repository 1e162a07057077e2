"""The real agent of the server under test, rendering a tenant's token into a file, stopped by its own process id."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.servers.binary import binary
from tests.servers.node import clean_environment


class Agent:
    """A real ``bao agent`` or ``vault agent`` with a template: what a sidecar does in Kubernetes. `path` is what it may read."""

    def __init__(self, directory: Path, address: str, token: str, path: str) -> None:
        """Start it."""
        directory.mkdir(parents=True)
        self._file = directory / "token.json"
        token_file = directory / "vault-token"
        token_file.touch(mode=0o600)
        token_file.write_text(token)
        template = (
            f'{{{{ with secret "{path}" }}}}{{{{ if .Data.data.access_token }}}}'
            '{"generation": {{ .Data.data.generation }}, "access_token": "{{ .Data.data.access_token }}"}{{ end }}{{ end }}'
        )
        config: dict[str, Any] = {
            "vault": {"address": address},
            "auto_auth": {
                "method": [{"type": "token_file", "config": {"token_file_path": str(token_file)}}],
            },
            "template_config": {"static_secret_render_interval": "2s"},
            "template": [{"contents": template, "destination": str(self._file), "perms": "0600"}],
        }
        (directory / "agent.json").write_text(json.dumps(config))
        log = (directory / "agent.log").open("ab")
        command = [binary(), "agent", f"-config={directory / 'agent.json'}"]
        environment = clean_environment() | {"HOME": str(directory)}
        self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def read(self) -> tuple[int, str] | None:
        """Return generation and access token from the file, or None before it stands."""
        try:
            content = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return None
        return int(content["generation"]), str(content["access_token"])

    def text(self) -> str | None:
        """Return what stands in the file, or None before there is one."""
        return self._file.read_text() if self._file.exists() else None

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(10)
