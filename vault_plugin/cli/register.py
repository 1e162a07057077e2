"""``vb365 register`` and ``vb365 unwrap``: make the mount, the policies and the service's role exist."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vault_plugin.cli import output
from vault_plugin.cli.asking import secret_line
from vault_plugin.cli.exits import Exit
from vault_plugin.cli.session import Format, Session, form
from vault_plugin.core.errors import ConfigurationError
from vault_plugin.core.names import check_mount, check_name
from vault_plugin.core.secret import Secret
from vault_plugin.vault import policies, registration, unwrapping
from vault_plugin.vault.environment import printing
from vault_plugin.vault.preconditions import AuthMethod
from vault_plugin.vault.registration import Plan

METHODS: dict[str, AuthMethod] = {"approle": "approle", "kubernetes": "kubernetes", "jwt": "jwt"}


def register(
    auth: Annotated[str, typer.Option(help="a role for the service: approle, kubernetes or jwt")] = "",
    auth_mount: Annotated[str, typer.Option(help="where that auth method is mounted [default: its name]")] = "",
    enable_auth: Annotated[bool, typer.Option("--enable-auth", help="enable the auth method (needs sudo)")] = False,
    group: Annotated[
        list[str] | None, typer.Option(help="a policy for operators of tenants PREFIX-*", metavar="PREFIX")
    ] = None,
    consumer: Annotated[list[str] | None, typer.Option(help="a policy to read one tenant's token", metavar="NAME")] = None,
    verified_requesters: Annotated[
        bool | None,
        typer.Option(
            "--verified-requesters/--no-verified-requesters",
            help="the id of a request must begin with its writer's entity [default: as before]",
        ),
    ] = None,
    service_account: Annotated[str, typer.Option(help="for kubernetes and jwt")] = "vb365",
    service_account_namespace: Annotated[str, typer.Option(help="for kubernetes and jwt")] = "vb365",
    audience: Annotated[str, typer.Option(help="for kubernetes and jwt")] = "vault",
    new_secret_id: Annotated[
        bool, typer.Option("--new-secret-id", help="with --auth approle: one more secret id, though the role stands")
    ] = False,
    no_wrap: Annotated[bool, typer.Option("--no-wrap", help="print the bare secret id")] = False,
    print_: Annotated[bool, typer.Option("--print", help="show what would be made")] = False,
    print_registrar_policy: Annotated[
        bool, typer.Option("--print-registrar-policy", help="show what the registering token needs")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="report differences, change nothing")] = False,
    format_: Format = "",
) -> None:
    """Make the mount, the policies and the service's role exist. May be repeated."""
    if auth and auth not in METHODS:
        raise ConfigurationError(f"--auth {auth} isn't known", remedy="Use approle, kubernetes or jwt.")
    for name in group or ():
        check_name(name, "group")
    for name in consumer or ():
        check_name(name, "tenant")
    session = Session()
    plan = Plan(
        mount=session.mount,
        auth=METHODS.get(auth),
        auth_mount=check_mount(auth_mount) if auth_mount else "",
        enable_auth=enable_auth,
        groups=tuple(group or ()),
        consumers=tuple(consumer or ()),
        verified=verified_requesters,
        service_account=service_account,
        service_account_namespace=service_account_namespace,
        audience=audience,
    )
    if print_registrar_policy:
        rules = policies.registrar(plan.mount, plan.at or "approle", enable_auth=enable_auth)
        print(policies.render(rules, plan.mount), end="")
    elif print_:
        _print(plan)
    elif check:
        _check(session, plan)
    else:
        _apply(session, plan, wrap=not no_wrap, anew=new_secret_id)


def _print(plan: Plan) -> None:
    if form() == "json":
        items = [{"object": i.title, "path": i.path, "body": i.body} for i in registration.items(plan)]
        print(output.dumps(items, indent=2))
        return
    if plan.verified is None:
        print("# As without --verified-requesters. Give the flag where the mount was registered with it.")
    for item in registration.items(plan):
        text = item.body.get("policy")
        print(f"# {item.title}\n# POST /v1/{item.path}")
        print(text or output.dumps(item.body, indent=2))


def _check(session: Session, plan: Plan) -> None:
    session.store  # noqa: B018 - a missing token is said before anything else
    results = registration.check(session.connection, plan)
    if form() == "json":
        print(output.dumps({"results": _rows(results)}, indent=2))
    else:
        _show(results)
    if any(result.outcome != "unchanged" for result in results):
        raise typer.Exit(Exit.DRIFT)


def _apply(session: Session, plan: Plan, *, wrap: bool, anew: bool) -> None:
    session.store  # noqa: B018 - as above
    results = registration.apply(session.connection, plan)
    credentials = _credentials(session, plan, results, wrap=wrap, anew=anew) if plan.auth == "approle" else {}
    if form() == "json":
        print(output.dumps({"results": _rows(results), **credentials}, indent=2))
        return
    _show(results)
    if credentials:
        print()
        output.fields(credentials)
    if "wrapping_token" in credentials:
        print(f"\nGood for {unwrapping.WRAP_TTL}, once. Beside the service: vb365 unwrap --to secret-id  (asks for the token)")
    elif credentials and "secret_id" not in credentials:
        print("\nThe role stood already: no secret id was made. One more: --new-secret-id.")


def _credentials(session: Session, plan: Plan, results: list[registration.Result], *, wrap: bool, anew: bool) -> dict[str, Any]:
    """Return the role id, and a secret id where the role is new or one was asked for: each one lives for ever."""
    created = any(result.outcome == "created" and result.title == f"role {plan.role}" for result in results)
    if not (created or anew):
        return {"role_id": registration.role_id(session.connection, plan)}
    made = registration.app_role_credentials(session.connection, plan, wrap=wrap)
    credentials = {"role_id": made.role_id}
    if made.wrapping_token:
        credentials["wrapping_token"] = made.wrapping_token.reveal()
    if made.secret_id:
        credentials["secret_id"] = made.secret_id.reveal()
    return credentials


def _rows(results: list[registration.Result]) -> list[dict[str, Any]]:
    return [{"object": r.title, "outcome": r.outcome, "details": list(r.details)} for r in results]


def _show(results: list[registration.Result]) -> None:
    output.rows(_rows(results), ("object", "outcome", "details"), empty="")


def unwrap(
    to: Annotated[Path, typer.Option(help="the file for VB365_VAULT_SECRET_ID_FILE; written with mode 0600")],
    format_: Format = "",
) -> None:
    """Unwrap the secret id that `vb365 register` wrapped. Reads the wrapping token from stdin or asks for it."""
    session = Session()
    role = Plan(mount=session.mount).role
    token = Secret(printing("the wrapping token", secret_line("Wrapping token")))
    path = unwrapping.unwrap(session.connection, token, to, role=role)
    output.done(f"{to} written. Made at {path}.", file=str(to), creation_path=path)
