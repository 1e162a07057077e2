"""Vault and OpenBao: the environment, login, documents with check-and-set, the mailbox, and registration.

`environment.read` gives `VaultSettings`, `Connection` sends requests, `Login` keeps a token alive, `KvStore` implements the
core's store, `Mailbox` holds operators' requests, `registration` makes the mount, the policies and the role.
"""
