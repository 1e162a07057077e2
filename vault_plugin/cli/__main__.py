"""``python -m vault_plugin.cli``: the same as ``vb365``."""

from vault_plugin.cli.app import main

main()
