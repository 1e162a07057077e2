"""What it means that no usable answer came: by how far the call had come, and whether a proxy was on the way."""

import http.client
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import requests
import urllib3

from vault_plugin import tls
from vault_plugin.calls import Call, Stage
from vault_plugin.contexts import BundleUnreadable

PROXY_REMEDY: Final = (
    "Look at the proxy that HTTPS_PROXY (or HTTP_PROXY, ALL_PROXY) names in the service's environment; NO_PROXY excepts hosts."
)
SIGN_IN_REMEDY: Final = "Give user and password in HTTPS_PROXY (http://USER:PASSWORD@HOST:PORT); NO_PROXY excepts hosts."
THROUGH: Final = (
    "The proxy opened a way there, and may have broken it or answered itself: let it pass this host unopened, or see that its "
    "own CA is trusted. HTTPS_PROXY names it; NO_PROXY excepts hosts."
)
TLS_REMEDY: Final = "Check the proxy's address in HTTPS_PROXY: http:// and https:// differ. Trust its CA by VB365_CA_BUNDLE."
WANTS_SIGN_IN: Final = 407
UNUSABLE_PROXY: Final = (
    requests.exceptions.InvalidProxyURL,
    requests.exceptions.InvalidSchema,
    urllib3.exceptions.ProxySchemeUnknown,
)


class NoAnswer(Exception):
    """No usable answer came; `sent` tells whether the other side may have seen the request."""

    def __init__(self, text: str, reason: str, remedy: str = "", *, sent: bool) -> None:
        """Take the text, the machine-readable reason and what to do."""
        super().__init__(text)
        self.reason = reason
        self.remedy = remedy
        self.sent = sent


@dataclass(frozen=True)
class Failure:
    """A call that failed, and in what time it should have connected and been answered."""

    call: Call
    error: BaseException
    connect: float
    answer: float

    @property
    def late(self) -> bool:
        """Tell whether it was a matter of time. To urllib3 a connection that was refused came too late, too."""
        kinds = TimeoutError | urllib3.exceptions.TimeoutError
        refused = urllib3.exceptions.NewConnectionError
        return any(isinstance(cause, kinds) and not isinstance(cause, refused) for cause in tls.chain(self.error))

    def has(self, *kinds: type[BaseException]) -> bool:
        """Tell whether something of these kinds led to it."""
        return any(isinstance(cause, kinds) for cause in tls.chain(self.error))


def told(failure: Failure) -> NoAnswer:
    """Return what is to be told of a failure."""
    text, reason, remedy = _STAGES[failure.call.stage](failure)
    return NoAnswer(text, reason, remedy, sent=failure.call.sent)


Told = tuple[str, str, str]


def _prepared(failure: Failure) -> Told:
    if failure.has(BundleUnreadable):
        return "the CA bundle can't be read", "CaBundleUnreadable", "Correct VB365_CA_BUNDLE."
    if failure.has(*UNUSABLE_PROXY):
        return "the proxy's address can't be used: it must be http:// or https://", "ProxyUnusable", PROXY_REMEDY
    if failure.has(requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, UnicodeError):
        return "its address can't be used", "ConnectionFailed", ""
    return "the call couldn't be begun", "ConnectionFailed", ""  # the process stops, and its connections are closed


def _name(failure: Failure) -> Told:
    if failure.call.proxy:
        return f"the name of the proxy ({failure.call.proxy}) can't be resolved", "ProxyNameUnknown", PROXY_REMEDY
    if failure.late:
        return "its name wasn't resolved in time", "ConnectionFailed", ""
    known = failure.has(socket.gaierror)
    return "its name can't be resolved" if known else "a name in its address can't be used", "ConnectionFailed", ""


def _connect(failure: Failure) -> Told:
    how = f"no connection within {failure.connect:.0f} s" if failure.late else "connection refused or no route"
    if failure.call.proxy:
        return f"the proxy ({failure.call.proxy}) can't be reached: {how}", "ProxyUnreachable", PROXY_REMEDY
    return how, "ConnectTimeout" if failure.late else "ConnectionFailed", ""


def _proxy(failure: Failure) -> Told:
    proxy, status = f"the proxy ({failure.call.proxy})", failure.call.proxy_status
    if status == WANTS_SIGN_IN:
        return f"{proxy} wants user and password (status {status})", "ProxyAuthenticationRequired", SIGN_IN_REMEDY
    if status:
        return f"{proxy} refused the way there, or found none (status {status})", "ProxyRefused", PROXY_REMEDY
    if (trouble := tls.trouble_of(failure.error)) is not None:
        return f"no TLS with {proxy}: {trouble.text}", "ProxyTlsFailed", TLS_REMEDY
    if failure.late:
        return f"{proxy} opened no way there within {failure.connect:.0f} s", "ProxyTimeout", PROXY_REMEDY
    return f"{proxy} hung up, or speaks no HTTP on this port", "ProxyAnswerUnusable", TLS_REMEDY


def _tls(failure: Failure) -> Told:
    text, reason, remedy = _no_tls(failure)
    if not failure.call.proxy:
        return text, reason, remedy
    return f"through the proxy ({failure.call.proxy}): {text}", reason, f"{remedy} {THROUGH}".strip()


def _no_tls(failure: Failure) -> Told:
    if (trouble := tls.trouble_of(failure.error)) is not None:
        return trouble.text, trouble.reason, trouble.remedy
    if failure.late:
        return f"no TLS within {failure.connect:.0f} s", "ConnectTimeout", ""
    return "the connection broke before a request was sent", "ConnectionFailed", ""


def _sent(failure: Failure) -> Told:
    if failure.late:
        return f"no whole answer within {failure.answer:.0f} s", "Timeout", ""
    if (trouble := tls.trouble_of(failure.error, sent=True)) is not None:
        return trouble.text, trouble.reason, trouble.remedy
    if failure.has(ConnectionError, http.client.RemoteDisconnected):
        return "the connection broke before an answer came", "ConnectionBroken", ""
    if failure.has(http.client.BadStatusLine):
        return "the answer isn't HTTP as it must be", "AnswerBroken", ""
    return f"the answer broke off ({type(failure.error).__name__})", "AnswerBroken", ""


_STAGES: Final[dict[Stage, Callable[[Failure], Told]]] = {
    Stage.PREPARED: _prepared,
    Stage.NAME: _name,
    Stage.CONNECT: _connect,
    Stage.PROXY: _proxy,
    Stage.TLS: _tls,
    Stage.SENT: _sent,
}
