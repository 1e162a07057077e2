"""Veeam Backup for Microsoft 365 tokens, kept fresh in HashiCorp Vault and OpenBao.

The library and the operator's command line. ``core`` holds the rules, without I/O; ``microsoft``, ``veeam`` and
``vault`` are its edges; ``cli`` is what an operator types. The long-running process is the package ``scheduler``.
"""
