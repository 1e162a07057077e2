"""What is known of a server from its credentials: measured, and the same whoever folds it (DESIGN 5.2, 5.3)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from vault_plugin.core.credential import Credential, Probe, Rung
from vault_plugin.core.states import Reason

#: So many tenants that it had accepted before must be rejected, or failed, and none accepted since: then it is the server.
EVERYONE = 2


@dataclass(frozen=True)
class ServerFacts:
    """Everything unknown of a server is a question here: None until it was measured."""

    #: When it accepted anything of anybody last.
    accepted_at: datetime | None = None
    proved_at: datetime | None = None
    #: The newest probe of each kind.
    probes: Mapping[Rung, Probe] = field(default_factory=dict)
    #: Since when it has rejected whom that it had accepted before, if it has accepted nothing of anybody since.
    rejected: Mapping[str, datetime] = field(default_factory=dict)
    #: Likewise, since when it has answered with anything but a pair.
    failing: Mapping[str, datetime] = field(default_factory=dict)
    #: When it accepted somebody first after it had rejected everybody, or failed them.
    recovered_at: datetime | None = None

    #: Two tenants' tokens were found dead: sessions that were begun before this are lost.
    lost_before: datetime | None = None

    def learn(self, name: str, credential: Credential) -> "ServerFacts":
        """Return the facts with what this credential tells."""
        accepted_at = _later(self.accepted_at, credential.last_rotation_at)
        told, had = credential.rejected, credential.pair is not None
        standing = _standing(self.rejected, name, told.since if told is not None and had else None, accepted_at)
        failing = _standing(self.failing, name, credential.failing_since if had else None, accepted_at)
        recovered_at = self.recovered_at
        sick = self.rejects_everyone or len(self.failing) >= EVERYONE
        if accepted_at is not None and accepted_at != self.accepted_at and sick and not standing and not failing:
            recovered_at = accepted_at
        said = told.at if told is not None and credential.reason is Reason.SERVER_REJECTS_EVERYONE else None
        if said is not None and not standing and (recovered_at is None or recovered_at < said):  # nobody had learnt of it yet
            recovered_at = _later(recovered_at, accepted_at)
        probes = dict(self.probes)
        for probe in credential.probes:
            if probe.rung not in probes or probes[probe.rung].at < probe.at:
                probes[probe.rung] = probe
        return replace(
            self,
            accepted_at=accepted_at,
            lost_before=_later(self.lost_before, credential.findings.sessions_lost_at),
            proved_at=_later(self.proved_at, credential.proved_at),
            probes=probes,
            rejected=standing,
            failing=failing,
            recovered_at=recovered_at,
        )

    @property
    def rejects_everyone(self) -> bool:
        """Tell whether it rejects tenants that it had accepted before, and has accepted nobody since.

        A tenant that it rejected while it accepted another one doesn't count until it is accepted again.
        """
        return len(self.rejected) >= EVERYONE

    def by(self, now: datetime) -> "ServerFacts":
        """Return the facts without what lies in the future: it was noted before the clock was set back."""
        known = (self.lost_before, self.recovered_at, self.accepted_at, *self.rejected.values(), *self.failing.values())
        if all(at is None or at <= now for at in known):
            return self
        lost_before, recovered_at, accepted_at = (at if at is not None and at <= now else None for at in known[:3])
        rejected, failing = (
            {name: since for name, since in all_known.items() if since <= now} for all_known in (self.rejected, self.failing)
        )
        return replace(
            self,
            lost_before=lost_before,
            recovered_at=recovered_at,
            accepted_at=accepted_at,
            rejected=rejected,
            failing=failing,
        )

    def dead_since(self, credential: Credential) -> datetime | None:
        """Return when the stored access token was found dead, itself or with all others of the server's; None if it wasn't."""
        pair, findings = credential.pair, credential.findings
        if pair is None:
            return None
        if findings.dead == credential.generation:
            return findings.dead_at
        return self.lost_before if self.lost_before is not None and pair.issued_at < self.lost_before else None

    def old_alive_after(self, rung: Rung) -> bool | None:
        """Tell whether the old access token lives on after this rung; None if nobody knows."""
        probe = self.probes.get(rung)
        return probe.old_alive if probe else None

    @property
    def wants_new_session(self) -> bool:
        """Tell whether rotating goes by a new session beside the old one: a refresh would kill the old access token."""
        refresh, exchange = (self.old_alive_after(rung) for rung in (Rung.REFRESH, Rung.EXCHANGE))
        return refresh is False and exchange is not False

    @property
    def kills_old(self) -> bool:
        """Tell whether every way to rotate kills the old access token at once."""
        return not any(self.old_alive_after(rung) is not False for rung in (Rung.REFRESH, Rung.EXCHANGE))


#: Nothing was measured yet.
UNKNOWN = ServerFacts()


def _standing(
    known: Mapping[str, datetime], name: str, since: datetime | None, accepted_at: datetime | None
) -> dict[str, datetime]:
    """Return since when each is not accepted, with what is known of this one; an acceptance of anybody's since ends it."""
    all_known = {who: at for who, at in known.items() if who != name} | ({name: since} if since is not None else {})
    return {who: at for who, at in all_known.items() if accepted_at is None or at > accepted_at}


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((at for at in (one, other) if at is not None), default=None)
