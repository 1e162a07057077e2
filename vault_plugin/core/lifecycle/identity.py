"""Who has signed in, and whether that is who was meant: the account, the Microsoft 365 tenant, and nobody else's."""

from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import StoreError
from vault_plugin.core.lifecycle.notes import Note
from vault_plugin.core.names import is_tenant_id
from vault_plugin.core.ports import Apart, Approved, Identity, World
from vault_plugin.core.sign_in import SignIn
from vault_plugin.core.states import Reason, State
from vault_plugin.core.tenants import bind

#: The other tenant isn't named: who may see this one may be a stranger to that one.
ELSEWHERE = "this account of this Microsoft 365 tenant is signed in for another organization here already"
_ELSEWHERE_REMEDY = (
    "Sign in with an account of this tenant's own organization: vb365 sign-in NAME. If both are meant to be one organization, "
    "an administrator sets the same --organization for both; if the other isn't needed any more, he removes that."
)


def not_expected(world: World, name: str, sign_in: SignIn, answer: Approved) -> SignIn | None:
    """Return the sign-in ended, if somebody else signed in than was expected: the tokens are dropped."""
    if ended := wrong_account(world, name, sign_in, answer.account):
        return ended
    now = world.clock.now()
    credential = world.store.read(Credential, name, patient=True).document
    bound = credential.binding if credential else None
    organization = sign_in.binding.organization
    before = bound.tenant_id if bound and bound.organization == organization else ""
    known = before or (organization if is_tenant_id(organization) else "")
    if known and answer.tenant_id and known.casefold() != answer.tenant_id.casefold():
        text = f"signed in to another Microsoft 365 tenant than {'before' if before else organization}"
        return sign_in.ended(Reason.WRONG_TENANT, now, text, f"Sign in again: vb365 sign-in {name}.")
    return elsewhere(world, name, sign_in, answer.tenant_id, answer.account)


def wrong_account(world: World, name: str, sign_in: SignIn, account: str) -> SignIn | None:
    """Return the sign-in ended if somebody else has signed in than the tenant expects now, though the code was made before."""
    wanted = (world.specs.tenant(name) or sign_in).expected_account
    if not wanted or wanted.casefold() == account.casefold():
        return None
    text = f"signed in as {account or 'an account that the tokens do not name'}; expected was {wanted}"
    return sign_in.ended(Reason.WRONG_ACCOUNT, world.clock.now(), text, f"Sign in again as {wanted}: vb365 sign-in {name}.")


def elsewhere(world: World, name: str, sign_in: SignIn, tenant_id: str, account: str) -> SignIn | None:
    """Return the sign-in ended if another organization's credential has the same tenant id and account; else claim them."""
    identity, now = Identity.of(tenant_id, account), world.clock.now()
    organization = sign_in.binding.organization
    if identity is None or world.identities.claim(name, identity, organization, _apart(world, organization)):
        return None
    return sign_in.ended(Reason.SIGNED_IN_ELSEWHERE, now, ELSEWHERE, _ELSEWHERE_REMEDY.replace("NAME", name))


def shared(world: World, name: str, credential: Credential) -> tuple[Note, ...]:
    """Return the warning for a credential that has the same tenant id and account as another organization's: both go on."""
    binding, assertion = credential.binding, credential.assertion
    if binding is None or assertion is None or credential.state is State.REVOKED:
        return ()
    identity = Identity.of(binding.tenant_id, assertion.account)
    apart = _apart(world, _organization(world, name, binding.organization))
    if identity is None or not world.identities.shared(name, identity, apart):
        return ()
    return (Note(f"{ELSEWHERE}: what stands goes on, a new sign-in is refused", _ELSEWHERE_REMEDY),)


def _apart(world: World, organization: str) -> Apart:
    """Return what tells whether another credential is another organization's: by its spec, or as it was signed in."""

    def apart(other: str, bound: str) -> bool:
        return _organization(world, other, bound).casefold() != organization.casefold()

    return apart


def _organization(world: World, name: str, bound: str) -> str:
    try:
        tenant = world.specs.tenant(name)
    except StoreError:
        tenant = None
    return bind(name, tenant).organization if tenant else bound
