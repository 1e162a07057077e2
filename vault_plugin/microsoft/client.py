"""The client of Microsoft's identity platform: one POST a method, no waiting, no retrying."""

from datetime import UTC, datetime

from vault_plugin.core.credential import Assertion
from vault_plugin.core.errors import AuthorizationServerUnavailable
from vault_plugin.core.ports import DeviceAuthorization, PollResult
from vault_plugin.core.secret import Secret
from vault_plugin.core.tenants import Binding
from vault_plugin.microsoft import messages
from vault_plugin.retry_after import http_date
from vault_plugin.timed import TimedAdapter
from vault_plugin.wire import NoAnswer, Session, send

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0


class MicrosoftClient:
    """Implements `vault_plugin.core.ports.AuthorizationServer` over HTTPS. Thread-safe.

    `ca_bundle` is a file with the authorities to trust instead of the system's. Never follows a redirect.
    """

    def __init__(self, ca_bundle: str | None = None) -> None:
        """Take the trust."""
        self._verify: str | bool = ca_bundle or True
        self._session = Session(TimedAdapter(bundle=self._verify))

    def request_device_code(self, binding: Binding) -> DeviceAuthorization:
        """Ask for a device code (RFC 8628 section 3.1).

        Raises:
            AuthorizationServerError: Microsoft gave none.
        """
        answer = self._post(binding, "devicecode", messages.device_code_form(binding))
        return messages.device_authorization(answer)

    def poll(self, binding: Binding, device_code: Secret, now: datetime) -> PollResult:
        """Ask once whether the person has approved (RFC 8628 section 3.4).

        Raises:
            AuthorizationServerUnavailable: no verdict; `sent` tells whether Microsoft may have seen the poll.
        """
        answer = self._post(binding, "token", messages.poll_form(binding, device_code))
        return messages.poll_result(answer, now, binding.scope)

    def refresh(self, binding: Binding, assertion: Assertion, now: datetime) -> Assertion:
        """Renew the assertion (RFC 6749 section 6) and return it merged over the old one.

        Raises:
            AuthorizationServerError: the verdict, or no verdict.
        """
        answer = self._post(binding, "token", messages.refresh_form(binding, assertion))
        return messages.renewed(answer, assertion, now, binding)

    def _post(self, binding: Binding, endpoint: str, form: dict[str, str]) -> messages.Answer:
        url = f"{binding.authority}/{binding.organization}/oauth2/v2.0/{endpoint}"
        try:
            answer = send(
                self._session,
                "POST",
                url,
                data=form,
                verify=self._verify,
                connect=CONNECT_TIMEOUT,
                total=CONNECT_TIMEOUT + READ_TIMEOUT,
            )
        except NoAnswer as error:
            msg = f"Microsoft ({binding.authority}) can't be reached: {error}"
            raise AuthorizationServerUnavailable(
                msg, reason=error.reason, remedy=error.remedy, sent=error.sent, answered=False
            ) from None
        headers = answer.headers
        clock = http_date(headers.get("Date", "")) or datetime.now(UTC)
        pause, target = headers.get("Retry-After"), headers.get("Location")
        return messages.parse(answer.status, answer.content, pause, now=clock, location=target)
