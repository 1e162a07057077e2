"""Veeam's pair of tokens, and what is known of its refresh token."""

from datetime import datetime, timedelta

from vault_plugin.core.documents import Part, Timestamp
from vault_plugin.core.secret import Secret
from vault_plugin.core.timing import Policy


class TokenPair(Part):
    """Veeam's access and refresh token. `expires_at` counts from before the request was sent."""

    access_token: Secret
    refresh_token: Secret
    token_type: str = "Bearer"  # noqa: S105 - a type, no token
    issued_at: Timestamp
    expires_at: Timestamp
    #: When Veeam refused the refresh token first, and how often: it is presented again, as the last rung.
    refused_at: Timestamp | None = None
    refusals: int = 0
    #: When the server had accepted anything last, as it was known at the first refusal.
    accepted_before: Timestamp | None = None
    #: The refusal counts: it was repeated later, and the server accepted somebody else meanwhile (DESIGN 5.2).
    confirmed: bool = False
    #: The pair comes from a snapshot, perhaps: a newer one may have been given since.
    restored: bool = False
    #: An attempt to refresh it was taken over with its outcome unknown: somebody may still sleep on the refresh token. Or
    #: its access token was found dead. Every other rung goes first until a new pair stands, whatever becomes of this attempt.
    doubtful: bool = False
    #: Though doubted, the refresh token was presented: before a silent Microsoft that is done once.
    presented: bool = False

    @property
    def life(self) -> timedelta:
        """Return how long the access token lives from its issue."""
        return self.expires_at - self.issued_at

    @property
    def doubted(self) -> bool:
        """Tell whether the refresh token may be spent, or may be presented by somebody else."""
        return self.doubtful or self.restored

    @property
    def refresh_goes_last(self) -> bool:
        """Tell whether every other rung goes before a refresh: it was refused, or may kill what somebody else holds."""
        return self.doubted or self.refused_at is not None

    def refused(self, now: datetime, policy: Policy, accepted_at: datetime | None) -> "TokenPair":
        """Note a refusal of the refresh token; `accepted_at`: when the server accepted anything of another tenant last."""
        first, before = (self.refused_at, self.accepted_before) if self.refused_at else (now, accepted_at)
        others = accepted_at is not None and first < accepted_at <= now and (before is None or before < accepted_at)
        confirmed = self.confirmed or (others and now - first >= policy.confirm_refusal_after)
        return self.replace(refused_at=first, refusals=self.refusals + 1, accepted_before=before, confirmed=confirmed)
