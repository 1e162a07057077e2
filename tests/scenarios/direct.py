"""Both ports straight onto the simulators, without sockets: the product's own messages, built and parsed."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from tests.simulators.http import Request, Response
from vault_plugin.core.credential import Assertion
from vault_plugin.core.errors import AuthorizationServerUnavailable, BackupServerUnavailable
from vault_plugin.core.ports import DeviceAuthorization, Organization, PollResult, TokenAnswer
from vault_plugin.core.secret import Secret
from vault_plugin.core.tenants import Binding, ServerSpec
from vault_plugin.microsoft import messages as microsoft
from vault_plugin.veeam import messages as veeam
from vault_plugin.veeam.forms import Answer, parse
from vault_plugin.veeam.verdicts import Asked, error_of

App = Callable[[Request], Response]
FORM = {"content-type": "application/x-www-form-urlencoded"}


class Unreachable(Exception):
    """The wire gave no answer; `sent` tells whether the other side has acted."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__("no answer")
        self.sent = sent


#: Sends a request to an app, or raises `Unreachable`.
Wire = Callable[[App, Request], Response]


class DirectMicrosoft:
    """Implements `vault_plugin.core.ports.AuthorizationServer`."""

    def __init__(self, app: App, wire: Wire) -> None:
        self._app, self._wire = app, wire

    def request_device_code(self, binding: Binding) -> DeviceAuthorization:
        return microsoft.device_authorization(self._post(binding, "devicecode", microsoft.device_code_form(binding)))

    def poll(self, binding: Binding, device_code: Secret, now: datetime) -> PollResult:
        answer = self._post(binding, "token", microsoft.poll_form(binding, device_code))
        return microsoft.poll_result(answer, now, binding.scope)

    def refresh(self, binding: Binding, assertion: Assertion, now: datetime) -> Assertion:
        answer = self._post(binding, "token", microsoft.refresh_form(binding, assertion))
        return microsoft.renewed(answer, assertion, now, binding)

    def _post(self, binding: Binding, endpoint: str, form: Mapping[str, str]) -> microsoft.Answer:
        request = Request("POST", f"/{binding.organization}/oauth2/v2.0/{endpoint}", {}, FORM, urlencode(form).encode())
        try:
            answer = self._wire(self._app, request)
        except Unreachable as error:
            raise AuthorizationServerUnavailable("no answer", reason="Timeout", sent=error.sent, answered=False) from None
        return microsoft.parse(answer.status, answer.body, answer.headers.get("Retry-After"))


class DirectVeeam:
    """Implements `vault_plugin.core.ports.BackupServer`."""

    def __init__(self, app: App, wire: Wire) -> None:
        self._app, self._wire = app, wire

    def exchange(self, server: ServerSpec, organization: str, assertion: Secret, timeout: timedelta) -> TokenAnswer:
        form = veeam.exchange_form(server.api_version, organization, assertion)
        return veeam.token_answer(self._send(server, "POST", "token", form, {}), "exchanging the assertion")

    def refresh(self, server: ServerSpec, refresh_token: Secret, timeout: timedelta) -> TokenAnswer:
        form = veeam.refresh_form(server.api_version, refresh_token)
        return veeam.token_answer(self._send(server, "POST", "token", form, {}), "refreshing")

    def logout(self, server: ServerSpec, access_token: Secret) -> None:
        answer = self._call(server, "POST", "token/logout", access_token)
        if answer.status not in (200, 204):
            raise error_of(answer, "logging out", Asked.BEARER)

    def organization(self, server: ServerSpec, access_token: Secret) -> Organization | None:
        return veeam.organization_of(self._call(server, "GET", "Organization", access_token))

    def alive(self, server: ServerSpec) -> None:
        error = error_of(self._send(server, "GET", "ServiceInstance", {}, {}), "looking", Asked.ANYTHING)
        if isinstance(error, BackupServerUnavailable):
            raise error

    def _call(self, server: ServerSpec, method: str, path: str, token: Secret) -> Answer:
        return self._send(server, method, path, {}, {"authorization": f"Bearer {token.reveal()}"})

    def _send(self, server: ServerSpec, method: str, path: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        url = f"/{server.api_version}/{path}"
        request = Request(method, url, {}, {**FORM, **headers}, urlencode(form).encode())
        try:
            answer = self._wire(self._app, request)
        except Unreachable as error:
            raise BackupServerUnavailable("no answer", reason="Timeout", sent=error.sent) from None
        return parse(answer.status, answer.body, answer.headers, datetime.now(UTC))
