"""``vb365``: the operator's command line. It talks to Vault only, with the operator's own token."""

from vault_plugin.cli.app import main

__all__ = ["main"]
