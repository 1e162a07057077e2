"""The client of VB365: one request a method, no waiting, no retrying. Trust is the server's own and goes with each request."""

import ssl
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from vault_plugin import contexts
from vault_plugin.core.errors import BackupServerUnavailable
from vault_plugin.core.ports import Organization, TokenAnswer
from vault_plugin.core.secret import Secret
from vault_plugin.core.tenants import ServerSpec
from vault_plugin.timed import TimedAdapter
from vault_plugin.veeam import messages
from vault_plugin.veeam.forms import Answer, parse
from vault_plugin.veeam.owners import Owners
from vault_plugin.veeam.verdicts import Asked, error_of
from vault_plugin.wire import NoAnswer, Session, send

PROOF_TIMEOUT = timedelta(seconds=15)
PROBE_TIMEOUT = timedelta(seconds=5)
#: Answers who isn't signed in, with 401, wherever a version is served.
ANONYMOUS = "ServiceInstance"
#: So many pages in a row, in the place of VB365's answer to that, say that it is away: ten minutes, each half minute.
PAGES = 20


def _trust(server: ServerSpec) -> dict[str, Any]:
    """Return what one server's document says is to be trusted: a CA as PEM text, or a certificate by its fingerprint."""
    if server.ca_pem is not None:
        return {"cert_reqs": "CERT_REQUIRED", "ssl_context": contexts.of_pem(server.ca_pem)}
    unchecked = {"cert_reqs": "CERT_NONE", "ssl_context": contexts.unchecked()}
    if server.fingerprint_sha256 is not None:
        return {**unchecked, "assert_fingerprint": server.fingerprint_sha256, "assert_hostname": False}
    return unchecked if server.insecure else {}


class VeeamClient:
    """Implements `vault_plugin.core.ports.BackupServer` over HTTPS. Thread-safe.

    A server's document chooses the trust; without any the system's authorities, or `ca_bundle`, are trusted.
    Never follows a redirect.
    """

    def __init__(
        self, ca_bundle: str | None = None, on_answer: Callable[[str, datetime | None], None] = lambda *_: None
    ) -> None:
        """Take the trust for servers that choose none. `on_answer(url, date)` is told what time each answer says it is."""
        self._verify: str | bool = ca_bundle or True
        self._sessions: dict[tuple[str, str | None, str | None, bool], Session] = {}
        self._on_answer = on_answer
        self._owners = Owners()
        #: How many pages came in a row from each server that was looked for.
        self._pages: dict[str, int] = {}
        self._lock = threading.Lock()

    def exchange(self, server: ServerSpec, organization: str, assertion: Secret, timeout: timedelta) -> TokenAnswer:
        """Exchange an assertion for a pair (``jwt-bearer``).

        Raises:
            BackupServerError: see `vault_plugin.core.errors`.
        """
        form = messages.exchange_form(server.api_version, organization, assertion)
        return self._pair(server, form, timeout, "exchanging the assertion")

    def refresh(self, server: ServerSpec, refresh_token: Secret, timeout: timedelta) -> TokenAnswer:
        """Refresh the pair.

        Raises:
            BackupServerError: see `vault_plugin.core.errors`.
        """
        form = messages.refresh_form(server.api_version, refresh_token)
        return self._pair(server, form, timeout, "refreshing")

    def logout(self, server: ServerSpec, access_token: Secret) -> None:
        """End the session of this token (v7 and later; older versions have no such call).

        Raises:
            BackupServerError: it isn't known to be ended.
        """
        answer = self._call(server, "POST", "token/logout", access_token)
        if answer.status not in messages.OK or answer.markup:
            raise error_of(answer, "logging out", Asked.BEARER)

    def organization(self, server: ServerSpec, access_token: Secret) -> Organization | None:
        """Return the organization that the token is for: the cheapest proof that it works.

        None: the server knows the token, and doesn't let it ask.

        Raises:
            BackupServerError: it doesn't work, or nobody knows.
        """
        return messages.organization_of(self._call(server, "GET", "Organization", access_token))

    def alive(self, server: ServerSpec) -> None:
        """Ask anonymously whether the server answers at all, by a call that the token endpoint's throttle doesn't count.

        A page in its place is no answer of its own. But where nothing else ever comes, the call may be kept from VB365 by
        whoever writes it: then that says nothing, and the token endpoint is tried.

        Raises:
            BackupServerUnavailable: it doesn't: trouble of its whole lane. Any other answer is one.
        """
        answer = self._send(server, "GET", f"{server.api_version}/{ANONYMOUS}", None, {}, PROBE_TIMEOUT)
        with self._lock:
            seen = self._pages.pop(server.url, 0) + 1
            if messages.is_page(answer):
                self._pages[server.url] = seen
        messages.check_there(answer, pages=seen > PAGES)

    def _pair(self, server: ServerSpec, form: Mapping[str, str], timeout: timedelta, doing: str) -> TokenAnswer:
        answer = self._send(server, "POST", f"{server.api_version}/token", form, {}, timeout)
        if answer.status == 404:  # noqa: PLR2004 - also what a version that is switched off answers
            raise messages.not_served(server.api_version, *self._served_versions(server), doing)
        return messages.token_answer(answer, doing)

    def _served_versions(self, server: ServerSpec) -> tuple[list[str], bool]:
        """Return the API versions that are served, newest first, and whether all were answered.

        Asked anonymously, outside the token endpoint's throttle.
        """
        served: list[str] = []
        for version in messages.VERSIONS:
            try:
                answer = self._send(server, "GET", f"{version}/{ANONYMOUS}", None, {}, PROBE_TIMEOUT)
            except BackupServerUnavailable:
                return served, False
            served += [version] if answer.status in (200, 401, 403) and not messages.is_page(answer) else []
        return served, True

    def _call(self, server: ServerSpec, method: str, path: str, access_token: Secret) -> Answer:
        headers = {"Authorization": f"Bearer {access_token.reveal()}"}
        return self._send(server, method, f"{server.api_version}/{path}", None, headers, PROOF_TIMEOUT)

    def _send(
        self,
        server: ServerSpec,
        method: str,
        path: str,
        form: Mapping[str, str] | None,
        headers: Mapping[str, str],
        timeout: timedelta,
    ) -> Answer:
        owner = self._owners.take(form.get("refresh_token", "")) if form else ""
        try:
            reply = send(
                self._session(server),
                method,
                f"{server.url}/{path}",
                data=form,
                headers=headers,
                verify=self._verify,
                connect=server.connect_timeout.total_seconds(),
                total=timeout.total_seconds(),
                owner=owner,
            )
        except NoAnswer as error:
            text = f"{server.url}: {error}"
            raise BackupServerUnavailable(text, reason=error.reason, remedy=error.remedy, sent=error.sent) from None
        date = messages.date_of(reply.headers.get("Date"))
        self._on_answer(server.url, date)
        answer = parse(reply.status, reply.content, reply.headers, date or datetime.now(UTC), server.api_version)
        if form:
            given = answer.fields.get("refresh_token")
            self._owners.give(owner, given if isinstance(given, str) else form.get("refresh_token", ""))
        return answer

    def _session(self, server: ServerSpec) -> Session:
        key = (server.url, server.ca_pem, server.fingerprint_sha256, server.insecure)
        with self._lock:
            if key not in self._sessions:
                try:
                    session = Session(TimedAdapter(_trust(server), bundle=self._verify, each=2))
                except (ssl.SSLError, ValueError, TypeError):
                    msg = f"{server.url}: ca_pem is not a PEM certificate"
                    remedy = "Give the server's CA again: vb365 server set SERVER --ca-file PEM."
                    raise BackupServerUnavailable(msg, reason="CaUnusable", remedy=remedy, sent=False) from None
                self._sessions[key] = session
            return self._sessions[key]
