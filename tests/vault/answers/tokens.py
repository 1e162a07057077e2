"""Rows on tokens, logins and wrapping."""

from tests.vault.answers import row
from tests.vault.answers.place import Place, Said


def _logged_in(at: Place) -> str:
    mount, role_id, secret_id = at.role(token_period="1h", token_policies=["default"])
    login = at.ask("POST", f"auth/{mount}/login", {"role_id": role_id, "secret_id": secret_id}, token="", url=at.server.url)
    return str(login.under("auth.client_token"))


@row("a token that is dead, or never was")
def _(at: Place) -> Said:
    token = at.server.token_for("nothing")
    at.prepare("POST", "auth/token/revoke", {"token": token})
    never = at.ask("GET", "auth/token/lookup-self", token="s.neverwas")
    dead = at.ask("GET", "auth/token/lookup-self", token=token)
    assert (never.status, never.body) == (dead.status, dead.body)
    return dead


@row("a write with a dead token")
def _(at: Place) -> Said:
    token = at.server.token_for("nothing")
    at.prepare("POST", "auth/token/revoke", {"token": token})
    return at.ask("POST", f"{at.mount}/data/a", {"data": {}}, token=token)


@row("no token")
def _(at: Place) -> Said:
    return at.ask("GET", f"{at.mount}/data/a", token="")


@row("a token without the right")
def _(at: Place) -> Said:
    return at.ask("GET", f"{at.mount}/data/a", token=at.server.token_for("nothing"))


@row("renewing a token that can't be renewed")
def _(at: Place) -> Said:
    token = at.server.token_for("default", no_default_policy=False, renewable=False)
    return at.ask("POST", "auth/token/renew-self", token=token)


@row("renewing a token of a role with a period")
def _(at: Place) -> Said:
    return at.ask("POST", "auth/token/renew-self", token=_logged_in(at))


@row("looking at one's own token")
def _(at: Place) -> Said:
    return at.ask("GET", "auth/token/lookup-self", token=_logged_in(at))


@row("revoking one's own token")
def _(at: Place) -> Said:
    return at.ask("POST", "auth/token/revoke-self", token=_logged_in(at))


@row("a login with the right ids")
def _(at: Place) -> Said:
    mount, role_id, secret_id = at.role(token_period="1h")
    return at.ask("POST", f"auth/{mount}/login", {"role_id": role_id, "secret_id": secret_id}, token="")


@row("a login with a wrong role id")
def _(at: Place) -> Said:
    mount, _, secret_id = at.role()
    return at.ask("POST", f"auth/{mount}/login", {"role_id": "wrong", "secret_id": secret_id}, token="")


@row("a login with a wrong secret id")
def _(at: Place) -> Said:
    mount, role_id, _ = at.role()
    return at.ask("POST", f"auth/{mount}/login", {"role_id": role_id, "secret_id": "wrong"}, token="")


@row("the right secret id after five wrong ones")
def _(at: Place) -> Said:
    mount, role_id, secret_id = at.role()
    for _ in range(5):
        wrong = at.ask("POST", f"auth/{mount}/login", {"role_id": role_id, "secret_id": "wrong"}, token="")
        assert wrong.status == 400
    return at.ask("POST", f"auth/{mount}/login", {"role_id": role_id, "secret_id": secret_id}, token="")


@row("a login where no auth method is")
def _(at: Place) -> Said:
    return at.ask("POST", "auth/none/login", {"role_id": "r", "secret_id": "s"}, token="")


def _wrapped(at: Place) -> str:
    mount, _, _ = at.role()
    wrapped = at.ask("POST", f"auth/{mount}/role/r/secret-id", {}, url=at.server.url, **{"X-Vault-Wrap-TTL": "60"})
    return str(wrapped.under("wrap_info.token"))


@row("a secret id that is wrapped")
def _(at: Place) -> Said:
    mount, _, _ = at.role()
    return at.ask("POST", f"auth/{mount}/role/r/secret-id", {}, **{"X-Vault-Wrap-TTL": "60"})


@row("unwrapping")
def _(at: Place) -> Said:
    return at.ask("POST", "sys/wrapping/unwrap", token=_wrapped(at))


@row("looking at a wrapping token, without another")
def _(at: Place) -> Said:
    return at.ask("POST", "sys/wrapping/lookup", {"token": _wrapped(at)}, token="")


@row("unwrapping a second time")
def _(at: Place) -> Said:
    token = _wrapped(at)
    assert at.ask("POST", "sys/wrapping/unwrap", token=token).status == 200
    return at.ask("POST", "sys/wrapping/unwrap", token=token)


@row("looking at a wrapping token that was used")
def _(at: Place) -> Said:
    token = _wrapped(at)
    assert at.ask("POST", "sys/wrapping/unwrap", token=token).status == 200
    return at.ask("POST", "sys/wrapping/lookup", {"token": token}, token="")
