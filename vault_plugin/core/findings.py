"""What was found out about a credential's access tokens by calls with them, beside what their proofs say (DESIGN 5.3, 6)."""

from datetime import datetime
from typing import Self

from vault_plugin.core.documents import Part, Timestamp
from vault_plugin.core.states import Reason


class Unproved(Part):
    """Why a token went unproved: what the proof's call brought that says nothing of it."""

    generation: int
    text: str
    remedy: str = ""


class Findings(Part):
    """Part of a credential. Generations are those of its pairs; 0 is none."""

    #: The organization at VB365 as the first proof of this binding showed it, and how it was called last.
    organization_id: str = ""
    organization_name: str = ""
    #: The newest generation that works, though the server didn't say which organization it is for.
    unverified: int = 0
    #: Why the newest generation that was to be proved wasn't.
    unproved: Unproved | None = None
    #: Why a token was disproved. Another organization stands until a token is proved to be for this one.
    disproved_by: str = ""
    #: The newest generation whose published token was found dead, and when.
    dead: int = 0
    dead_at: Timestamp | None = None
    #: Two tenants' tokens were found dead: sessions that were begun before this are lost at its server.
    sessions_lost_at: Timestamp | None = None

    def proved(self, generation: int, whose: tuple[str, str] | None) -> Self:
        """Note that a token works, with the id and the name of its organization; None: the server doesn't say."""
        if whose is None:
            return self.replace(unverified=generation, unproved=None, disproved_by="")
        known, called = self.organization_id or whose[0], whose[1] or self.organization_name
        return self.replace(organization_id=known, organization_name=called, unproved=None, disproved_by="")

    def disproved(self, reason: Reason, *, again: bool) -> Self:
        """Note why a token was disproved; `again`: none was proved since the one before."""
        stands = again and self.disproved_by == Reason.WRONG_ORGANIZATION
        return self.replace(unproved=None) if stands else self.replace(unproved=None, disproved_by=reason.value)

    def elsewhere(self) -> Self:
        """Forget what was found of a server and an organization: the credential is bound to another one, or to nothing."""
        return self.replace(
            organization_id="", organization_name="", unproved=None, dead=0, dead_at=None, sessions_lost_at=None
        )

    def by(self, now: datetime) -> Self:
        """Return the findings as they are now. What lies in the future was noted before the clock was set back."""
        dead, lost = (at is not None and at > now for at in (self.dead_at, self.sessions_lost_at))
        if not dead and not lost:
            return self
        return self.replace(dead_at=now if dead else self.dead_at, sessions_lost_at=None if lost else self.sessions_lost_at)

    def found_dead(self, generation: int, now: datetime, lost_before: datetime | None) -> Self:
        """Note that a published token is dead, and if it is the second one, until when sessions were lost."""
        lost = max((at for at in (self.by(now).sessions_lost_at, lost_before) if at is not None), default=None)
        return self.replace(dead=max(self.dead, generation), dead_at=now, sessions_lost_at=lost)
