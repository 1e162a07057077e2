"""Fixed words by which a text of an answer is known: it tells of trouble that passes, or a gateway wrote it.

VB365 is .NET with PostgreSQL and NATS, on Windows, and asks Microsoft: each family's texts stand in one row. A text that no
row knows is about what was sent, so a word that could stand in such a text ("invalid", "denied", "expired") belongs in no row.
"""

import re
from typing import Final

#: What Microsoft tells VB365, and passes: the rows that are tried again in our own table of Microsoft's codes, and a field
#: that VB365's request lacked.
MICROSOFT: Final = (
    50196, 90055, 90033, 90006, 90012, 90024, 90090, 50033, 50087, 50088, 50166, 501621, 40010, 70012, 80001, 80002, 80005,
    80014, 90091, 50000, 51005, 230109, 90014,
)  # fmt: skip

_BEHIND: Final[dict[str, tuple[str, ...]]] = {
    "no answer in time": (
        r"timeout", r"(?<!session )(?<!session has )\btimed[ -]?out\b", r"\btime[ -]out\b", r"deadline ?exceeded",
        r"(task|operation|request|call) (was |is |has been )?cancell?ed", r"(request|thread) (was |is being )?aborted",
    ),
    "a connection": (
        r"unreachable", r"connection attempt failed", r"no connection could be made", r"no route to host", r"broken pipe",
        r"(could not|couldn't|unable to|failed to|cannot|can't) (connect|reach|contact)", r"actively refused",
        r"forcibly closed", r"connection (was |is |has been )?(refused|closed|reset|aborted|lost|broken)",
        r"transport connection", r"(establish|lost|lose|losing|open|opening) (a |the )?(\w+ )?connection",
        r"no endpoint listening", r":9194\b",
        r"(unexpected|premature) (eof|end)\b", r"ended prematurely", r"end of (the )?stream", r"handshake", r"secure channel",
        r"ssl connection", r"remote certificate", r"certificate chain", r"trust relationship", r"\b100(5[0-9]|6[0-5])\b",
        r"network (name|path|error|failure)",
    ),
    "a name": (
        r"name could not be resolved", r"name or service not known", r"name resolution", r"no such host", r"getaddrinfo",
        r"nodename nor servname", r"(could|can) ?not resolve",
    ),
    "an inner call": (
        r"error occurred (while|during) (sending|receiving|reading|writing|copying|connecting|processing)", r"rpc server",
        r"does not indicate success: (408|425|429|5\d\d)", r"remote server returned", r"invalid or unrecognized response",
        r"statuscode\W{0,4}(deadlineexceeded|unavailable|cancell?ed|aborted|internal|unknown|resourceexhausted|dataloss)",
    ),
    "PostgreSQL": (
        r"npgsql", r"postgre", r"database", r"deadlock", r"\bserialize access", r"cancell?ing statement", r"connection slots",
        r"terminating connection", r"transaction (is |was |has been )?aborted", r"duplicate key", r"\bsql ?server\b",
        r"\b(08|40|53|55|57|58|xx)[0-9a-z]{3}: ",
    ),
    "NATS": (r"\bnats", r"jetstream", r"no responders", r"stale connection", r"slow consumer"),
    "out of order, or not yet in it": (
        r"unavailable", r"\boff-?line\b", r"\bin progress\b",
        r"(\bnot|n't) (yet |currently |fully )?(running|started|ready|responding|reachable)\b",
        r"(\bnot|n't) (yet |currently |fully )?(connected|initiali[sz]ed|operational)\b",
        r"(service|server|host|component|controller)( is| was)?( currently| temporarily)? not available",
        r"\b(is|are|was|were|has been|have been) stopped\b", r"\bis being (?!(re)?used)\w+ed\b", r"initiali[sz](ing|ation)",
        r"\b(is|are|still) (being )?(start|stopp|restart|load|upgrad|updat|migrat|install)ing\b", r"starting up",
        r"shutting down", r"shut down", r"restarting", r"maintenance", r"(try again|retry) later", r"temporar(y|ily)\b",
    ),
    "out of something": (
        r"too many (requests|connections|clients|open|concurrent|sessions|users)", r"quota", r"\bbusy\b", r"overload",
        r"throttl",
        r"limit (was |is |has been )?(reached|exceeded)", r"out of ?(memory|disk|resources)", r"disk (space|is full|full)",
        r"no space left", r"paging file", r"(not enough|insufficient) (storage|memory|disk|space|resources|system)",
        r"pool (is |has been )?exhausted", r"licen[sc]e",
    ),
    "a bug": (
        r"object reference not set", r"exception of type", r"internal (server )?error", r"unexpected error", r"unhandled",
        r"unknown error", r"error has occurred", r"errors? occurred\W*$", r"thrown by the target of an invocation",
        r"value cannot be null", r"sequence contains", r"could not load file", r"type initializer", r"collection was modified",
        r"disposed object", r"key was not present", r"not implemented", r"being used by another process",
        r"cannot find the (file|path)",
    ),
    "an exception of these, whatever it says": (
        r"\b(web|http(request|io)?|socket|io|timeout|taskcanceled|operationcanceled|objectdisposed|nullreference)exception",
        r"\b(outofmemory|rpc|sql|db|nats\w*|communication(objectfaulted)?|endpointnotfound|servertoobusy)exception",
        r"\b(targetinvocation|typeinitialization|argumentnull|fileload|filenotfound)exception",
    ),
    "Microsoft": (rf"AADSTS({'|'.join(map(str, MICROSOFT))})\b",),
}  # fmt: skip

#: Of a bare ``message`` that gateways are known to write, and VB365 isn't.
_GATEWAY: Final = (
    r"api.?key", r"subscription key", r"rate.?limit", r"limit exceeded", r"ip address", r"client ip", r"blocked", r"firewall",
    r"\bwaf\b", r"gateway", r"upstream", r"ring-balancer", r"\broutes?\b", r"healthy", r"name resolution",
    r"access denied", r"not authorized", r"unauthorized", r"forbidden", r"missing authentication token", r"incoming token",
    r"invalid authentication credentials", r"user authorization", r"captcha", r"policy", r"\bjwt\b", r"signature",
    r"certificate (required|error)", r"request (body|uri|header)", r"body too large", r"\bcors\b", r"\bacl\b", r"consumer",
    r"credentials found", r"'\w+' in claims", r"unrecognizable token", r"bad token", r"missing (required|authorization)",
    r"request (was )?rejected", r"(payload|entity) too large", r"https (is )?required", r"use https",
    r"http request to an https", r"invalid host", r"host (is )?not allowed", r"attack detected", r"bot detected",
)  # fmt: skip
#: What VB365 itself says of a refused login or refresh, also where it leaves out the ``errorCode`` that its version declares.
_REFUSAL: Final = (
    r"^invalid credentials?\W*$", r"^(the )?(provided |client )?credentials? (is|are) (invalid|incorrect)\W*$",
    r"refresh token", r"rejected the client credentials", r"logon attempt failed", r"\bassertion\b",
    r"tenant authentication", r"organi[sz]ation",
)  # fmt: skip


def _any_of(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(words), re.IGNORECASE)


#: Tells of a part behind VB365 (its server, database, proxies, Microsoft), or of VB365 being out of order.
BEHIND: Final = _any_of(tuple(word for words in _BEHIND.values() for word in words))
GATEWAY: Final = _any_of(_GATEWAY)
REFUSAL: Final = _any_of(_REFUSAL)
