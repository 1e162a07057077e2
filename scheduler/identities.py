"""Which Microsoft identity (tenant id and account) each credential holds, or an approved sign-in is about to give it."""

import threading
from collections.abc import Iterator

from vault_plugin.core.credential import Credential
from vault_plugin.core.ports import Apart, Identity
from vault_plugin.core.states import State


class Identities:
    """Implements `vault_plugin.core.ports.Identities`. Thread-safe. Lasts as long as a term of leadership."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._held: dict[str, Identity] = {}
        self._claimed: dict[str, Identity] = {}
        #: The organization that each was signed in for.
        self._organizations: dict[str, str] = {}
        self._names: dict[Identity, set[str]] = {}
        self._lock = threading.Lock()

    def saw(self, name: str, credential: Credential) -> None:
        """Take in a credential that was read or written."""
        binding, assertion = credential.binding, credential.assertion
        held = None
        if binding is not None and assertion is not None and credential.state is not State.REVOKED:
            held = Identity.of(binding.tenant_id, assertion.account)
        with self._lock:
            self._set(self._held, name, held)
            if binding is not None and name not in self._claimed:
                self._organizations[name] = binding.organization

    def claim(self, name: str, identity: Identity, organization: str, apart: Apart) -> bool:
        """See `vault_plugin.core.ports.Identities.claim`."""
        with self._lock:
            if any(apart(*other) for other in self._others(name, identity)):
                return False
            self._set(self._claimed, name, identity)
            self._organizations[name] = organization
            return True

    def shared(self, name: str, identity: Identity, apart: Apart) -> bool:
        """See `vault_plugin.core.ports.Identities.shared`."""
        with self._lock:
            others = list(self._others(name, identity))
        return any(apart(*other) for other in others)

    def release(self, name: str) -> None:
        """See `vault_plugin.core.ports.Identities.release`."""
        with self._lock:
            self._set(self._claimed, name, None)

    def _others(self, name: str, identity: Identity) -> Iterator[tuple[str, str]]:
        return ((other, self._organizations.get(other, "")) for other in self._names.get(identity, ()) if other != name)

    def _set(self, of: dict[str, Identity], name: str, identity: Identity | None) -> None:
        before = of.pop(name, None)
        if identity is not None:
            of[name] = identity
            self._names.setdefault(identity, set()).add(name)
        if before is not None and before not in (self._held.get(name), self._claimed.get(name)):
            self._names[before].discard(name)
