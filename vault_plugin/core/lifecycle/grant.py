"""With what a rung is tried, and what stands once a sign-in's grant is adopted."""

from dataclasses import dataclass

from vault_plugin.core.credential import Assertion, Credential
from vault_plugin.core.tenants import Binding


@dataclass(frozen=True)
class Grant:
    """The stored assertion, or the one of a sign-in that waits to be adopted."""

    assertion: Assertion | None
    binding: Binding
    sign_in_id: str


def adopted(current: Credential, grant: Grant) -> Credential:
    """Put a sign-in's grant in the place of the old one. A pair that was made for another server goes with it."""
    old = current.binding
    same = old is not None and old.token_for == grant.binding.token_for
    return current.replace(
        assertion=grant.assertion,
        binding=grant.binding,
        sign_in_id=grant.sign_in_id,
        pair=current.pair if same else None,
        rejected=current.rejected if same else None,
        disproved=current.disproved if same else 0,
        findings=current.findings if same else current.findings.elsewhere(),
    )
