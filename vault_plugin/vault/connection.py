"""hvac's adapter on a wire of ours: hvac builds the requests, this sends them, and what came back is an `Answer`.

`Connection.kv`, `.auth` and `.sys` are hvac's own API classes. No status raises: `answers` judges. A call is serialised once
and can be sent again as the same bytes. LISTs are read as a stream. At most one redirect is followed, never to plain http.

Standbys of OpenBao, and performance standbys of Vault, answer reads from what they have, which may be old. So each answer's
``X-Vault-Index`` goes with the next requests, and with it the wish that a node that isn't as far on forwards to the active
one. A server that gives no index never sees either header: HashiCorp Vault refuses the wish by default (ADR 0010, 0012).
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urljoin

from hvac.adapters import Adapter
from hvac.api import AuthMethods, SecretsEngines, SystemBackend

from vault_plugin import wire
from vault_plugin.core.errors import ConfigurationError
from vault_plugin.core.secret import Secret
from vault_plugin.patience import Patience
from vault_plugin.vault.answer import Answer, AnswerTooLarge, Call, NoAnswer, further, parse, parse_list
from vault_plugin.vault.environment import UNIX, VaultSettings
from vault_plugin.vault.pacing import Pacer
from vault_plugin.vault.trust import Trusted

#: A list is read as a stream, and so far.
LARGEST_LIST: Final = 64 * 1024 * 1024
#: Vault is one server, trusted with all: connections to it are the process's, whatever they carry.
OURS: Final = "vault"
REDIRECTS: Final = frozenset({301, 302, 307, 308})
HEALTH: Final = "/v1/sys/health"
FORWARDING_REFUSED: Final = "forwarding via header"
INDEX_REFUSED: Final = "X-Vault-Index"
NOT_AS_FAR: Final = 412


class Connection(Adapter):  # type: ignore[misc]  # hvac has no annotations
    """A connection to one Vault, in one namespace. Thread-safe.

    `token` is what requests carry; login replaces it. `on_request` is called with the kind of each request, `on_answer` with
    the seconds that its answer took and the time that the answer says it is, `on_event` with what is to be said once.
    `patience` ends the waiting for a throttle when the process stops.
    """

    def __init__(
        self,
        settings: VaultSettings,
        on_request: Callable[[str], None] = lambda _: None,
        on_answer: Callable[[float, Any], None] = lambda *_: None,
        on_event: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Read the files that the settings name; nothing is sent.

        Raises:
            ConfigurationError: a file can't be read or used.
        """
        base = "http://localhost" if settings.address.startswith(UNIX) else settings.address
        super().__init__(base_uri=base, namespace=settings.namespace or None)
        self.settings = settings
        self.token: Secret | None = settings.token
        self.patience = Patience()
        #: Whether an answer of this address was Vault's own: only then is "there is nothing" believed.
        self.proved = False
        self._trusted = Trusted(settings)
        self._pacer = Pacer()
        self._on_request, self._on_answer, self._on_event = on_request, on_answer, on_event
        self._index = ""
        self._forwarding = True
        self._namespace_served = not settings.namespace
        self._lock = threading.Lock()
        self.kv = SecretsEngines(adapter=self).kv.v2
        self.auth = AuthMethods(adapter=self)
        self.sys = SystemBackend(adapter=self)

    # --- hvac's side -------------------------------------------------------------------------------------------------

    def get_login_token(self, response: Answer) -> str:
        """Return the token of a login, for hvac."""
        return str((response.body.get("auth") or {}).get("client_token", ""))

    def login(self, url: str, use_token: bool = True, **kwargs: Any) -> Answer:  # noqa: ANN401, ARG002, FBT001, FBT002 - hvac's own
        """Send a login, without any token. Whoever asked takes the token from the answer: none is kept here."""
        return self.request("post", url, anonymous=True, **kwargs)

    def request(  # noqa: PLR0913 - hvac's own, and what a request of ours may differ in
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        raise_exception: bool = True,  # noqa: ARG002, FBT001, FBT002 - hvac's own; no status raises here
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,  # noqa: ANN401 - whatever hvac puts into a body
        wrap_ttl: str | None = None,
        token: Secret | None = None,
        anonymous: bool = False,
    ) -> Answer:
        """Send one request with our token (or `token`, or none) and return the answer, whatever its status.

        Raises:
            NoAnswer: timeout, connection or TLS error, or an answer that can't be taken.
            ConfigurationError: this Vault ignores the namespace that is set.
        """
        listing = method.lower() == "list"
        more = {**(params or {}), **({"list": "true"} if listing else {})}
        own = {**(headers or {}), **({"X-Vault-Wrap-TTL": str(wrap_ttl)} if wrap_ttl else {})}
        body = None if json is None else _serialised(json)
        return self.again(Call("GET" if listing else method.upper(), url, own, more, body, listing, token, anonymous))

    def again(self, call: Call) -> Answer:
        """Send a call (again), as the same bytes. Raises as `request`."""
        self._refuse_an_ignored_namespace()
        self._pacer.wait(self.patience)
        began = time.monotonic()
        until = began + self.settings.total_timeout.total_seconds()
        self._on_request(call.kind)
        with self._lock:
            index, forwarding = self._index, self._forwarding
        answer = self._send(call, self._headers(call, index, forwarding=forwarding), until)
        if index and self._refused(answer):
            with self._lock:
                index, forwarding = self._index, self._forwarding
            answer = self._send(call, self._headers(call, index, forwarding=forwarding), until)
        with self._lock:
            self._index = further(self._index, answer.index)
        self.proved = self.proved or answer.proves
        self._pacer.heard(answer)
        self._on_answer(time.monotonic() - began, answer.date)
        return answer

    def close(self) -> None:
        """Close the pooled connections."""
        self._trusted.session.close()
        super().close()

    # --- sending -----------------------------------------------------------------------------------------------------

    def _headers(self, call: Call, index: str, *, forwarding: bool) -> dict[str, str]:
        headers = {"X-Vault-Request": "true", **call.headers}
        if index:
            headers["X-Vault-Index"] = index
            if forwarding:
                headers["X-Vault-Inconsistent"] = "forward-active-node"
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        if self.namespace and call.path != HEALTH:  # sys/health is the whole server's
            headers["X-Vault-Namespace"] = self.namespace
        used = None if call.anonymous else call.token or self.token
        if used is not None:
            headers["X-Vault-Token"] = used.reveal()
        return headers

    def _refused(self, answer: Answer) -> bool:
        """Tell whether a header of ours was refused before anything else, and drop it.

        412: the node isn't as far on and may not forward. Better an old answer than none: check-and-set decides.
        """
        said = " ".join(answer.errors) if answer.status == 400 else ""  # noqa: PLR2004 - the request was refused
        if FORWARDING_REFUSED in said:
            self._forwarding = False
            self._on_event("forwarding_refused")
        elif INDEX_REFUSED in said or answer.status == NOT_AS_FAR:
            with self._lock:
                self._index = ""
        else:
            return False
        return True

    def _send(self, call: Call, headers: Mapping[str, str], until: float) -> Answer:
        """Send a request, and once more where it is sent on to."""
        url = f"{self.base_uri}/{call.path.lstrip('/')}"
        with self._exchange(call, url, headers, until) as (incoming, answer):
            if incoming.status not in REDIRECTS:
                return answer()
            target = urljoin(url, incoming.headers.get("Location", ""))
        if not self.settings.follow_redirects:
            raise NoAnswer(f"Vault redirects to {_origin(target)}, and VAULT_DISABLE_REDIRECTS is set", "VaultRedirects")
        if url.startswith("https://") and not target.startswith("https://"):
            raise NoAnswer("Vault redirects from https to http", "VaultRedirects")
        with self._exchange(call, target, headers, until) as (_, answer):
            return answer()

    @contextmanager
    def _exchange(
        self, call: Call, url: str, headers: Mapping[str, str], until: float
    ) -> Iterator[tuple[wire.Incoming, Callable[[], Answer]]]:
        """Send, and yield what comes, with how to read it."""
        settings = self.settings
        left = max(until - time.monotonic(), 1.0)
        asked = wire.exchange(
            self._trusted.session,
            call.method,
            url,
            data=call.body,
            params=call.params or None,
            headers=headers,
            verify=not settings.skip_verify,
            connect=min(settings.connect_timeout.total_seconds(), left),
            answer=min(settings.answer_timeout.total_seconds(), left),
            largest=LARGEST_LIST if call.listing else wire.LARGEST,
            owner=OURS,
        )
        document = False
        try:
            with asked as incoming:
                read = parse_list if call.listing and incoming.status == 200 else parse  # noqa: PLR2004 - there are keys
                try:
                    yield incoming, lambda: read(incoming, call)
                finally:
                    document = incoming.status == 200 and incoming.begins == b"{"  # noqa: PLR2004 - or it is some page
        except wire.NoAnswer as error:
            kind = AnswerTooLarge if error.reason == "AnswerTooLarge" and document else NoAnswer
            raise kind(f"{settings.address}: {error}", error.reason, call) from None

    def _refuse_an_ignored_namespace(self) -> None:
        """Ask once whether this Vault knows namespaces: HashiCorp's community edition ignores them, and serves the root one.

        Raises:
            ConfigurationError: it ignores them.
        """
        if self._namespace_served:
            return
        everywhere = {"standbyok": "true", "perfstandbyok": "true"}
        call = Call("GET", HEALTH, {}, everywhere, None, listing=False, token=None, anonymous=True)
        until = time.monotonic() + self.settings.total_timeout.total_seconds()
        try:
            answer = self._send(call, self._headers(call, "", forwarding=False), until)
        except NoAnswer as error:
            raise NoAnswer(str(error), error.reason) from None  # this isn't the call that is to be sent again
        if "initialized" not in answer.body:
            raise NoAnswer(f"{self.settings.address}: sys/health isn't Vault's (status {answer.status})", "HealthUnknown")
        if answer.body.get("enterprise") is False:
            msg = f"a namespace is set ({self.namespace}), and this Vault is of the community edition, which knows none"
            remedy = "Unset VAULT_NAMESPACE (--namespace): everything would be served from the root namespace."
            raise ConfigurationError(msg, reason="NamespaceIgnored", remedy=remedy)
        self._namespace_served = True


def _serialised(content: object) -> bytes:
    return json.dumps(content).encode()


def _origin(url: str) -> str:
    return "/".join(url.split("/")[:3])
