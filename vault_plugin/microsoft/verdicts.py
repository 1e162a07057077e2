"""What an error of Microsoft's token endpoint means, as tables.

Microsoft: react to ``error`` and ``suberror``; the AADSTS number is a hint that may change. So a number that the table
doesn't know is read as a policy if it is of that family, then by ``suberror``, then by the safe default of its ``error``:
longer numbers aren't always special cases of their first digits (90023, 9002341). Whatever Microsoft
documents as passing is passing, whatever else the answer says. Nothing is ever deleted because of a verdict.
Sources: learn.microsoft.com, "Microsoft Entra authentication and authorization error codes", and MSAL's handling of
``suberror``.
"""

from dataclasses import dataclass
from typing import Final

from vault_plugin.core.errors import (
    AuthorizationServerError,
    AuthorizationServerUnavailable,
    ClientRejected,
    GrantRejected,
    TenantAdminRequired,
)

Verdict = type[AuthorizationServerError]

RETRY: Final = AuthorizationServerUnavailable
SIGN_IN: Final = GrantRejected
ADMIN: Final = TenantAdminRequired
CONFIG: Final = ClientRejected


@dataclass(frozen=True)
class Row:
    """Class, plain text and remedy of one code. `confirm`: counts only when seen twice over minutes."""

    verdict: Verdict
    reason: str
    text: str
    remedy: str = ""
    confirm: bool = False


_SIGN_IN_AGAIN = "Sign in again: vb365 sign-in NAME."
_DEVICE_CODE = (
    "Ask the tenant's administrator to exclude one dedicated account from this policy, limited to the service's address "
    "as a named location (Entra: Protection, Conditional Access, the policy, Users, Exclude). "
    "Tenants with security defaults must move to Conditional Access first. Then: vb365 sign-in NAME."
)
_POLICY = (
    "Ask the tenant's administrator which policy it is (Entra: Monitoring, Sign-in logs, by the trace id or the number), "
    "and to exclude one dedicated account from it. Then: vb365 sign-in NAME."
)
_DEVICE = "Device code can't meet a policy on devices or apps. Ask the tenant's administrator to exclude one account."
_REGISTRATION = "Check the app registration of this client id: vb365 tenant show NAME."
_CONSENT = "An administrator of the tenant must grant the app its permissions (Entra: Enterprise applications, Permissions)."
_RESOURCE = (
    "Check the tenant's --scope and --cloud: a scope that names a host must name Microsoft Graph's of that cloud. "
    "The app's registration must list the permissions, and the tenant must have the service that they are for."
)
_ACCOUNT = "Sign in with an account of this tenant."
_REQUEST = "Check client id, scope, organization."

ROWS: Final[dict[int, Row]] = {
    # Try again: nothing is judged.
    50196: Row(RETRY, "Throttled", "Microsoft throttles this sign-in (too many same requests)"),
    90055: Row(RETRY, "Throttled", "Microsoft throttles the tenant"),
    90033: Row(RETRY, "ServiceUnavailable", "Microsoft's service is unavailable for a moment"),
    90006: Row(RETRY, "ServiceUnavailable", "Microsoft's service is unavailable for a moment"),
    90012: Row(RETRY, "ServiceUnavailable", "Microsoft's service timed out"),
    90024: Row(RETRY, "ServiceUnavailable", "Microsoft's service is unavailable for a moment"),
    90090: Row(RETRY, "ServiceUnavailable", "Microsoft's service is unavailable for a moment"),
    50033: Row(RETRY, "ServiceUnavailable", "Microsoft reports a transient error"),
    50087: Row(RETRY, "ServiceUnavailable", "Microsoft reports a transient error"),
    50088: Row(RETRY, "ServiceUnavailable", "Microsoft's limit on calls for multifactor authentication is reached"),
    50166: Row(RETRY, "ServiceUnavailable", "the tenant's provider of claims is throttled"),
    501621: Row(RETRY, "ServiceUnavailable", "a transformation of claims took too long"),
    40010: Row(RETRY, "ServiceUnavailable", "the tenant's identity provider reports a transient error"),
    70012: Row(RETRY, "ServiceUnavailable", "Microsoft's server for consumers' accounts reports an error"),
    80001: Row(RETRY, "ServiceUnavailable", "the tenant's own directory is out of Microsoft's reach"),
    80002: Row(RETRY, "ServiceUnavailable", "the tenant's own directory timed out"),
    80005: Row(RETRY, "ServiceUnavailable", "the tenant's own directory answered what Microsoft can't read"),
    80014: Row(RETRY, "ServiceUnavailable", "the tenant's own directory answered too late"),
    90091: Row(RETRY, "ServiceUnavailable", "Microsoft's directory is out of its sign-in service's reach"),
    50000: Row(RETRY, "ServiceUnavailable", "Microsoft's sign-in service has trouble of its own"),
    51005: Row(RETRY, "ServiceUnavailable", "Microsoft's sign-in service points elsewhere for a moment"),
    230109: Row(RETRY, "ServiceUnavailable", "Microsoft's backup sign-in service doesn't take this yet"),
    70016: Row(RETRY, "AuthorizationPending", "nobody has signed in yet"),
    # A person must sign in again.
    70000: Row(SIGN_IN, "GrantInvalid", "the grant isn't valid", _SIGN_IN_AGAIN, confirm=True),
    70008: Row(SIGN_IN, "GrantExpired", "the grant expired: it wasn't used for too long", _SIGN_IN_AGAIN),
    700082: Row(SIGN_IN, "GrantExpired", "the grant expired: it wasn't used for too long", _SIGN_IN_AGAIN),
    50173: Row(SIGN_IN, "GrantRevoked", "the grant was revoked (password changed, or an admin revoked it)", _SIGN_IN_AGAIN),
    50132: Row(SIGN_IN, "PasswordChanged", "the session ended because the password changed", _SIGN_IN_AGAIN),
    50133: Row(SIGN_IN, "PasswordChanged", "the session ended because the password changed", _SIGN_IN_AGAIN),
    70043: Row(
        SIGN_IN,
        "SignInFrequency",
        "the tenant's sign-in frequency policy ended the session",
        "Sign in again: vb365 sign-in NAME. To be asked less often, have the tenant's administrator exclude the account "
        "from the sign-in frequency policy.",
    ),
    50078: Row(SIGN_IN, "MfaExpired", "the multifactor authentication is too old", _SIGN_IN_AGAIN),
    50076: Row(SIGN_IN, "MfaRequired", "multifactor authentication is required", _SIGN_IN_AGAIN),
    50074: Row(SIGN_IN, "MfaRequired", "multifactor authentication is required", _SIGN_IN_AGAIN),
    50079: Row(SIGN_IN, "MfaRegistration", "the account must register for multifactor authentication", _SIGN_IN_AGAIN),
    50072: Row(SIGN_IN, "MfaRegistration", "the account must register for multifactor authentication", _SIGN_IN_AGAIN),
    50158: Row(SIGN_IN, "ExternalChallenge", "an external security challenge wasn't met", _SIGN_IN_AGAIN),
    50089: Row(SIGN_IN, "FlowExpired", "the sign-in took too long", _SIGN_IN_AGAIN),
    50085: Row(SIGN_IN, "GrantRejected", "the identity provider must be signed in to again", _SIGN_IN_AGAIN),
    50055: Row(SIGN_IN, "PasswordExpired", "the password expired", _SIGN_IN_AGAIN),
    50144: Row(SIGN_IN, "PasswordExpired", "the password expired", _SIGN_IN_AGAIN),
    700020: Row(SIGN_IN, "InteractionRequired", "Microsoft wants the person to interact", _SIGN_IN_AGAIN),
    700084: Row(SIGN_IN, "GrantExpired", "the grant was issued to a single-page app and expired", _SIGN_IN_AGAIN),
    700007: Row(
        SIGN_IN, "OtherClient", "the grant was issued to another client id", "Set the client id back, or sign in again."
    ),
    70018: Row(SIGN_IN, "CodeUnknown", "Microsoft doesn't know this code (any more)", _SIGN_IN_AGAIN),
    70019: Row(SIGN_IN, "CodeExpired", "the code expired", _SIGN_IN_AGAIN),
    70020: Row(SIGN_IN, "CodeExpired", "the code expired", _SIGN_IN_AGAIN),
    54005: Row(SIGN_IN, "CodeUnknown", "the code was redeemed already", _SIGN_IN_AGAIN),
    90120: Row(SIGN_IN, "CodeUnknown", "the code was used already", _SIGN_IN_AGAIN),
    50134: Row(
        SIGN_IN,
        "WrongDatacenter",
        "the person signed in at another data centre than the one that made the code",
        "Sign in again, from a place near the service: vb365 sign-in NAME.",
    ),
    50135: Row(SIGN_IN, "PasswordChanged", "the password must be changed, since the account is at risk", _SIGN_IN_AGAIN),
    50126: Row(SIGN_IN, "PasswordWrong", "the account or its password was wrong", _SIGN_IN_AGAIN),
    500121: Row(SIGN_IN, "MfaFailed", "the multifactor authentication wasn't passed", _SIGN_IN_AGAIN),
    160021: Row(SIGN_IN, "InteractionRequired", "the person's session at Microsoft doesn't exist any more", _SIGN_IN_AGAIN),
    9002341: Row(SIGN_IN, "InteractionRequired", "the person must permit single sign-on", _SIGN_IN_AGAIN),
    700003: Row(SIGN_IN, "DeviceDeleted", "the device that the grant is bound to was deleted", _SIGN_IN_AGAIN),
    700005: Row(SIGN_IN, "OtherTenant", "the code is for another tenant", f"Check the organization. {_SIGN_IN_AGAIN}"),
    # An administrator of the tenant must act.
    530035: Row(ADMIN, "BlockedBySecurityDefaults", "the tenant's security defaults block device code sign-in", _DEVICE_CODE),
    530036: Row(
        ADMIN,
        "BlockedByAuthenticationFlowPolicy",
        "a policy on authentication flows made the grant invalid",
        _DEVICE_CODE,
    ),
    53003: Row(ADMIN, "BlockedByConditionalAccess", "a Conditional Access policy blocks this sign-in", _DEVICE_CODE),
    530032: Row(ADMIN, "BlockedByTenantPolicy", "the tenant's security policy blocks this sign-in", _DEVICE_CODE),
    53004: Row(ADMIN, "ProofUpBlocked", "the account may not register for multifactor authentication: it is at risk", _POLICY),
    53005: Row(ADMIN, "AppNotProtected", "a policy asks for an app that Intune protects", _DEVICE),
    53009: Row(ADMIN, "AppNotProtected", "a policy asks for an app that Intune protects", _DEVICE),
    53010: Row(ADMIN, "ProofUpBlocked", "the account may register for multifactor authentication only elsewhere", _POLICY),
    53000: Row(ADMIN, "DeviceNotCompliant", "a policy asks for a compliant device", _DEVICE),
    53001: Row(ADMIN, "DeviceNotJoined", "a policy asks for a joined device", _DEVICE),
    53002: Row(ADMIN, "AppNotApproved", "a policy asks for an approved app", _DEVICE),
    50097: Row(ADMIN, "DeviceRequired", "a policy asks for device authentication", _DEVICE),
    50005: Row(ADMIN, "PlatformNotSupported", "a policy doesn't allow this platform", _DEVICE),
    50131: Row(ADMIN, "BlockedByConditionalAccess", "a Conditional Access policy blocks this sign-in", _DEVICE),
    50127: Row(ADMIN, "AppNotApproved", "a policy asks for an approved app", _DEVICE),
    50129: Row(ADMIN, "DeviceNotJoined", "a policy asks for a joined device", _DEVICE),
    50155: Row(ADMIN, "DeviceRequired", "a policy asks for device authentication", _DEVICE),
    50187: Row(ADMIN, "DeviceRequired", "a policy asks for device authentication", _DEVICE),
    65001: Row(ADMIN, "ConsentRequired", "the app's permissions weren't consented to", _CONSENT),
    90094: Row(ADMIN, "AdminConsentRequired", "an administrator must consent to the app", _CONSENT),
    90095: Row(ADMIN, "AdminConsentRequired", "an administrator must consent to the app", _CONSENT),
    65004: Row(ADMIN, "ConsentDeclined", "the person declined to consent to the app", _CONSENT),
    90008: Row(ADMIN, "ConsentRequired", "the app lacks a permission", _CONSENT),
    50105: Row(ADMIN, "UserNotAssigned", "the account isn't assigned to the app", "Assign the account to the app in Entra."),
    50020: Row(ADMIN, "WrongTenantUser", "the account is of another tenant", _ACCOUNT),
    50034: Row(ADMIN, "UserUnknown", "the account doesn't exist in this tenant", _ACCOUNT),
    51004: Row(ADMIN, "UserUnknown", "the account doesn't exist in this tenant", _ACCOUNT),
    50014: Row(ADMIN, "UserUnknown", "the account is a guest who hasn't accepted yet", _ACCOUNT),
    90072: Row(ADMIN, "WrongTenantUser", "the account is of another tenant", _ACCOUNT),
    16000: Row(ADMIN, "WrongTenantUser", "the account is of another tenant", _ACCOUNT),
    16003: Row(ADMIN, "UserUnknown", "the account doesn't exist in this tenant", _ACCOUNT),
    50053: Row(
        ADMIN,
        "AccountLocked",
        "the account is locked, or the service's address is blocked for attacks",
        "The tenant's administrator must see which it is (Entra: Monitoring, Sign-in logs) and unlock it.",
    ),
    50057: Row(ADMIN, "UserDisabled", "the account is disabled", "Enable the account, or sign in with another."),
    53011: Row(ADMIN, "UserAtRisk", "the account is blocked for risk", "The tenant's administrator must clear the risk."),
    530034: Row(ADMIN, "BlockedByTenantPolicy", "a policy blocks this account", _DEVICE_CODE),
    50002: Row(ADMIN, "TenantRestrictions", "tenant restrictions block this sign-in", "Ask the tenant's administrator."),
    500021: Row(ADMIN, "TenantRestrictions", "tenant restrictions block this sign-in", "Ask the tenant's administrator."),
    500022: Row(ADMIN, "TenantRestrictions", "tenant restrictions block this sign-in", "Ask the tenant's administrator."),
    500212: Row(ADMIN, "CrossTenantBlocked", "cross-tenant access is blocked", "Ask the tenant's administrator."),
    500213: Row(ADMIN, "CrossTenantBlocked", "cross-tenant access is blocked", "Ask the tenant's administrator."),
    1000104: Row(ADMIN, "CrossTenantBlocked", "access from another cloud is blocked", "Ask the tenant's administrator."),
    5000224: Row(ADMIN, "TenantRestrictions", "Microsoft blocks the tenant", "Ask Microsoft's support, by the trace id."),
    500341: Row(ADMIN, "UserUnknown", "the account was deleted", _ACCOUNT),
    500571: Row(ADMIN, "UserDisabled", "the guest's account is disabled", "Enable the account, or sign in with another."),
    501051: Row(ADMIN, "UserNotAssigned", "the account isn't assigned to the app", "Assign the account to the app in Entra."),
    **dict.fromkeys((500207, 500208), Row(ADMIN, "WrongTenantUser", "accounts of this kind can't sign in here", _ACCOUNT)),
    90123: Row(ADMIN, "AccessDenied", "the tenant's identity provider denied the request", _POLICY),
    135011: Row(ADMIN, "DeviceRequired", "the device is disabled", _DEVICE),
    # Our registration or settings.
    7000218: Row(
        CONFIG,
        "NotAPublicClient",
        "the app isn't a public client",
        "Entra: App registrations, Authentication, set 'Allow public client flows' to Yes.",
    ),
    700025: Row(CONFIG, "NotAPublicClient", "the app is public, but a secret was sent", _REGISTRATION),
    700016: Row(CONFIG, "AppNotFound", "the app isn't known in this tenant", "Check client id, organization and cloud."),
    70001: Row(CONFIG, "AppNotFound", "the app isn't known in this tenant", "Check client id, organization and cloud."),
    700011: Row(CONFIG, "AppNotFound", "the app isn't known in this tenant", "Check client id, organization and cloud."),
    7000112: Row(CONFIG, "AppDisabled", "the app is disabled", _REGISTRATION),
    90002: Row(CONFIG, "TenantNotFound", "Microsoft doesn't know this tenant", "Check organization and cloud."),
    50059: Row(CONFIG, "TenantNotFound", "no tenant was named", "Check organization and cloud."),
    50128: Row(CONFIG, "TenantNotFound", "Microsoft doesn't know this tenant", "Check organization and cloud."),
    90019: Row(CONFIG, "TenantNotFound", "no tenant was named", "Check organization and cloud."),
    90038: Row(CONFIG, "OtherCloud", "the tenant is in another national cloud", "Set the tenant's --cloud."),
    50194: Row(CONFIG, "NotMultiTenant", "the app isn't multi-tenant", _REGISTRATION),
    90130: Row(CONFIG, "NotMultiTenant", "the app isn't multi-tenant", _REGISTRATION),
    9001023: Row(CONFIG, "NotMultiTenant", "the grant isn't allowed on this endpoint", _REGISTRATION),
    70011: Row(CONFIG, "ScopeInvalid", "the scope isn't valid", "Check the tenant's --scope."),
    28002: Row(CONFIG, "ScopeInvalid", "the scope isn't valid", "Check the tenant's --scope."),
    28003: Row(CONFIG, "ScopeInvalid", "the scope is empty", "Check the tenant's --scope."),
    700022: Row(CONFIG, "ScopeInvalid", "the scope names several resources", "Check the tenant's --scope."),
    65002: Row(CONFIG, "NotPreauthorized", "this first-party app isn't allowed to use this API", "Use an app of your own."),
    **dict.fromkeys(
        (70002, 7000215, 7000222, 700027, 700030, 900382, 900432),
        Row(CONFIG, "ClientRejected", "Microsoft rejects the client", _REGISTRATION),
    ),
    50001: Row(CONFIG, "ResourceNotFound", "what the scope is for isn't known in this tenant, or is disabled there", _RESOURCE),
    **dict.fromkeys(
        (500011, 500014, 650052, 650054),
        Row(CONFIG, "ResourceNotFound", "what the scope is for isn't there in this tenant, or is disabled", _RESOURCE),
    ),
    **dict.fromkeys(
        (65005, 650056, 650057),
        Row(CONFIG, "ResourceNotFound", "the app's registration doesn't have what the scope asks for", _RESOURCE),
    ),
    **dict.fromkeys((90014, 900144), Row(CONFIG, "RequestRejected", "Microsoft misses something in the request", _REQUEST)),
    **dict.fromkeys(
        (90023, 9002313, 9002332, 900561, 901002), Row(CONFIG, "RequestRejected", "Microsoft rejects the request", _REQUEST)
    ),
    90010: Row(CONFIG, "NotMultiTenant", "the grant isn't allowed on this endpoint", _REGISTRATION),
    90099: Row(ADMIN, "AdminConsentRequired", "an administrator must consent to the app", _CONSENT),
}

#: Conditional Access, security defaults and their like: whoever of this family isn't known above is a policy, too.
FAMILY: Final = "53"
#: Errors beside which that is so. The others that are known below say themselves what it is.
OPEN: Final = {"invalid_grant", "interaction_required", "login_required", "account_selection_required", "access_denied"}
POLICY: Final = Row(ADMIN, "BlockedByTenantPolicy", "a policy of the tenant blocks this", _POLICY)

#: What ``suberror`` says, for numbers without a row. MSAL: `bad_token` and `token_expired` are of the refresh token.
SUBERRORS: Final[dict[str, Row]] = {
    "bad_token": Row(SIGN_IN, "GrantInvalid", "the grant isn't valid", _SIGN_IN_AGAIN),
    "token_expired": Row(SIGN_IN, "GrantExpired", "the grant expired", _SIGN_IN_AGAIN),
    "basic_action": Row(SIGN_IN, "InteractionRequired", "Microsoft wants the person to interact", _SIGN_IN_AGAIN),
    "user_password_expired": Row(SIGN_IN, "PasswordExpired", "the password expired", _SIGN_IN_AGAIN),
    "interrupted_user": Row(SIGN_IN, "InteractionRequired", "Microsoft wants the person to interact", _SIGN_IN_AGAIN),
    "client_mismatch": Row(
        SIGN_IN, "OtherClient", "the grant was issued to another client id", "Set the client id back, or sign in again."
    ),
    "consent_required": Row(ADMIN, "ConsentRequired", "the app's permissions weren't consented to", _CONSENT),
    "message_only": Row(ADMIN, "BlockedByTenantPolicy", "Microsoft says that signing in again can't help", _POLICY),
    "additional_action": Row(
        ADMIN, "ActionRequired", "Microsoft asks for something beside a sign-in, like enrolling a device", _POLICY
    ),
    "protection_policy_required": Row(ADMIN, "AppNotProtected", "a policy asks for an app that Intune protects", _DEVICE),
    "device_authentication_failed": Row(ADMIN, "DeviceRequired", "a policy asks for device authentication", _DEVICE),
}

#: Defaults by ``error`` (RFC 6749 section 5.2, RFC 8628 section 3.5, OpenID Connect) for codes without a row.
DEFAULTS: Final[dict[str, Row]] = {
    "invalid_grant": Row(SIGN_IN, "GrantRejected", "Microsoft rejects the grant", _SIGN_IN_AGAIN),
    "interaction_required": Row(SIGN_IN, "InteractionRequired", "Microsoft wants the person to interact", _SIGN_IN_AGAIN),
    "login_required": Row(SIGN_IN, "InteractionRequired", "Microsoft wants the person to interact", _SIGN_IN_AGAIN),
    "account_selection_required": Row(SIGN_IN, "InteractionRequired", "the person must choose an account", _SIGN_IN_AGAIN),
    "consent_required": Row(ADMIN, "ConsentRequired", "the app's permissions weren't consented to", _CONSENT),
    "access_denied": Row(ADMIN, "AccessDenied", "Microsoft denies access", _POLICY),
    "authorization_declined": Row(ADMIN, "ConsentDeclined", "the person declined to consent to the app", _CONSENT),
    "expired_token": Row(SIGN_IN, "GrantExpired", "what was presented expired", _SIGN_IN_AGAIN),
    "code_expired": Row(SIGN_IN, "CodeExpired", "the code expired", _SIGN_IN_AGAIN),
    "bad_verification_code": Row(SIGN_IN, "CodeUnknown", "Microsoft doesn't know this code (any more)", _SIGN_IN_AGAIN),
    "invalid_client": Row(CONFIG, "ClientRejected", "Microsoft rejects the client", _REGISTRATION),
    "unauthorized_client": Row(CONFIG, "ClientRejected", "the client isn't allowed to do this", _REGISTRATION),
    "invalid_request": Row(CONFIG, "RequestRejected", "Microsoft rejects the request", _REQUEST),
    "invalid_resource": Row(CONFIG, "ResourceNotFound", "what the scope is for isn't known in this tenant", _RESOURCE),
    "invalid_target": Row(CONFIG, "ResourceNotFound", "what the scope is for isn't known in this tenant", _RESOURCE),
    "invalid_scope": Row(CONFIG, "ScopeInvalid", "the scope isn't valid", "Check the tenant's --scope."),
    "unsupported_grant_type": Row(CONFIG, "GrantTypeUnsupported", "the server doesn't know this grant", _REGISTRATION),
}

#: Errors that say "later" themselves.
PASSING: Final[dict[str, Row]] = {
    "temporarily_unavailable": Row(RETRY, "ServiceUnavailable", "Microsoft's service is unavailable for a moment"),
    "server_error": Row(RETRY, "ServiceUnavailable", "Microsoft's service reports an error of its own"),
    "authorization_pending": Row(RETRY, "AuthorizationPending", "nobody has signed in yet"),
    "slow_down": Row(RETRY, "Throttled", "Microsoft wants to be asked more seldom"),
}

UNAVAILABLE: Final = Row(RETRY, "Unavailable", "Microsoft answered an error of its server")
UNKNOWN: Final = Row(
    RETRY,
    "UnknownError",
    "Microsoft answered an error that isn't known here",
    "Search the number or the word at https://login.microsoftonline.com/error, and give Microsoft's support the trace id. "
    "If nothing helps, sign in again: vb365 sign-in NAME.",
)
