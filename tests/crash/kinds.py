"""What is played until the process dies, and how it looks when it is done."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from tests.crash.stage import Stage
from vault_plugin.core.credential import Credential
from vault_plugin.core.published import Prompt, Status, Token
from vault_plugin.core.sign_in import SignIn, SignInState
from vault_plugin.core.states import Reason, State

OF_THE_PAIR = ("Veeam", "credentials", "tokens", "sign-ins #3", "sign-ins #4")
OF_THE_END = ("poll #1", "sign-ins #3", "sign-ins #4", "sign-ins #5", "prompts #3", "prompts #4", "destroy")
JUST_NOW = timedelta(minutes=1)
#: A pair of three hours is due after less than two hours.
DUE = timedelta(hours=2, minutes=10)
LIFE = timedelta(hours=3)
IDLE = timedelta(days=3, hours=1)


@dataclass(frozen=True)
class Kind:
    """One kind of work. `reason` is what the credential says when it went by its own way."""

    name: str
    prepare: Callable[[Stage], None]
    done: Callable[[Stage], bool]
    reason: Reason
    #: How many pairs are stored; a revocation counts as one.
    pairs: int = 1
    #: What the person does with the code.
    person: str = ""
    #: Killed only at places with one of these words: the others are another kind's too.
    only: tuple[str, ...] = ()

    def kills_at(self, place: str) -> bool:
        """Tell whether this kind is for this place."""
        return any(word in place for word in self.only) if self.only else True


def _pair_life(stage: Stage, life: timedelta) -> None:
    stage.veeam.token_life = int(life.total_seconds())


def _sign_in(stage: Stage) -> None:
    _pair_life(stage, LIFE)
    stage.post("sign-in", "r1")


def _sign_in_again(stage: Stage) -> None:
    _pair_life(stage, LIFE)
    stage.signed_in(JUST_NOW)
    stage.post("sign-in", "r1")


def _refresh(stage: Stage) -> None:
    _pair_life(stage, LIFE)
    stage.signed_in(JUST_NOW)
    stage.post("rotate", "r1")


def _exchange(stage: Stage) -> None:
    """It is due, Veeam forgot the refresh token, and the assertion lives."""
    _pair_life(stage, LIFE)
    stage.veeam.refresh_life = 0
    stage.microsoft.access_life = int(2 * LIFE.total_seconds())
    stage.signed_in(DUE)


def _reassert(stage: Stage) -> None:
    """It is due, Veeam forgot the refresh token, and the assertion's access token is over."""
    _pair_life(stage, LIFE)
    stage.veeam.refresh_life = 0
    stage.signed_in(DUE)


def _keep_alive(stage: Stage) -> None:
    """The pair isn't due for days, and the assertion was idle for three."""
    _pair_life(stage, timedelta(days=10))
    stage.signed_in(IDLE)


def _revoke(stage: Stage) -> None:
    _pair_life(stage, LIFE)
    stage.signed_in(JUST_NOW)
    stage.post("remove", "r1")


def _told(stage: Stage, credential: Credential) -> bool:
    """Tell whether consumers and operators are told, and nothing waits."""
    token, status = stage.read(Token), stage.read(Status)
    told = token is not None and token.generation == credential.generation and status is not None
    return told and (status.state, status.generation) == (credential.state, credential.generation) and not stage.mail_waits()


def _generation(stage: Stage) -> int:
    credential = stage.read(Credential)
    return credential.generation if credential else 0


def _rotated(stage: Stage) -> bool:
    before = 1  # the prepared sign-in's pair
    if _generation(stage) <= before:
        return False
    credential = stage.credential()
    return credential.attempt is None and not credential.requested and _told(stage, credential)


def _signed_in(stage: Stage) -> bool:
    sign_in = stage.read(SignIn)
    if sign_in is None or sign_in.outcome is not Reason.SIGNED_IN or sign_in.untidy or sign_in.id.startswith("before"):
        return False
    shown = stage.read(Prompt)
    return stage.credential().attempt is None and shown is not None and not shown.user_code and _told(stage, stage.credential())


def _declined(stage: Stage) -> bool:
    sign_in, shown = stage.read(SignIn), stage.read(Prompt)
    hidden = shown is not None and not shown.user_code and not sign_in.untidy
    return hidden and sign_in.outcome is Reason.DECLINED and _told(stage, stage.credential())


def _kept_alive(stage: Stage) -> bool:
    credential = stage.credential()
    return credential.reason is Reason.KEPT_ALIVE and credential.attempt is None and _told(stage, credential)


def _revoked(stage: Stage) -> bool:
    credential = stage.credential()
    return credential.state is State.REVOKED and _told(stage, credential)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("sign-in", _sign_in, _signed_in, Reason.SIGNED_IN, person="approve"),
        Kind("sign-in again", _sign_in_again, _signed_in, Reason.SIGNED_IN, person="approve", only=OF_THE_PAIR),
        Kind("decline", _sign_in_again, _declined, Reason.SIGNED_IN, pairs=0, person="decline", only=OF_THE_END),
        Kind("refresh", _refresh, _rotated, Reason.REFRESHED),
        Kind("exchange", _exchange, _rotated, Reason.REEXCHANGED),
        Kind("reassert", _reassert, _rotated, Reason.REASSERTED),
        Kind("keep-alive", _keep_alive, _kept_alive, Reason.KEPT_ALIVE, pairs=0),
        Kind("revoke", _revoke, _revoked, Reason.REVOKED),
    )
}


def lost_and_asked_again(stage: Stage, asks: int) -> bool:
    """Ask once more, as a person does, if the approval died with the process; tell whether it was so."""
    sign_in = stage.read(SignIn)
    if asks > 1 or sign_in is None or sign_in.state is not SignInState.ENDED or sign_in.outcome is not Reason.APPROVAL_LOST:
        return False
    stage.post("sign-in", f"r{asks + 1}")
    return True
