"""The commands of ``vb365``, put together."""

import importlib.metadata
import sys
from typing import Annotated

import typer

from vault_plugin.cli import exits, plan, register, report, server, sign_in, status, tenant
from vault_plugin.cli.session import Options, begin, form, given, mount_path
from vault_plugin.core.errors import ConfigurationError, Error

app = typer.Typer(
    name="vb365",
    help="Veeam Backup for Microsoft 365 tokens, kept fresh in Vault. Vault's own variables (VAULT_ADDR, VAULT_TOKEN, "
    "VAULT_NAMESPACE, VAULT_CACERT, ... or BAO_*) and ~/.vault-token are honoured.",
    epilog=exits.epilog(),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(server.app, name="server")
app.add_typer(tenant.app, name="tenant")
app.command("sign-in")(sign_in.sign_in)
app.command("cancel")(sign_in.cancel)
app.command("status")(status.status)
app.command("rotate")(status.rotate)
app.command("token")(status.token)
app.command("report")(report.report)
app.command("plan")(plan.plan)
app.command("register")(register.register)
app.command("unwrap")(register.unwrap)


def _version(value: bool) -> None:  # noqa: FBT001 - typer's callback
    if value:
        print(f"vb365 {importlib.metadata.version('vault-plugin-secrets-vb365')}")
        raise typer.Exit


@app.callback()
def options(
    address: Annotated[str, typer.Option(help="Vault's address [env: VAULT_ADDR, BAO_ADDR]")] = "",
    namespace: Annotated[str, typer.Option(help="Vault's namespace [env: VAULT_NAMESPACE]")] = "",
    ca_cert: Annotated[str, typer.Option(help="the CA to trust for Vault, a PEM file [env: VAULT_CACERT]")] = "",
    tls_skip_verify: Annotated[
        bool, typer.Option("--tls-skip-verify", help="don't verify Vault [env: VAULT_SKIP_VERIFY]")
    ] = False,
    mount: Annotated[str, typer.Option(help="the KV v2 mount [env: VB365_MOUNT] [default: vb365]")] = "",
    format_: Annotated[str, typer.Option("--format", help="table or json [env: VB365_FORMAT]")] = "",
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")] = False,
) -> None:
    """Take the flags that stand before the command."""
    begin(Options(address, namespace, ca_cert, tls_skip_verify, mount, format_))


def main() -> None:
    """Run ``vb365`` and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors are shown on stderr."""
    try:
        app(arguments)
    except Error as error:
        _show(error)
        return int(exits.code_of(error))
    except KeyboardInterrupt:
        return int(exits.Exit.INTERRUPTED)
    except SystemExit as end:  # typer's own end: usage errors are 2, as ours
        return end.code if isinstance(end.code, int) else 0
    return 0


def _show(error: Error) -> None:
    """Show an error with the names that the command was given."""
    try:
        as_json = form() == "json"
    except ConfigurationError:
        as_json = False
    try:
        place = mount_path()
    except ConfigurationError:
        place = ""
    exits.show(error, as_json=as_json, tenant=given().tenant, server=given().server, mount=place)
