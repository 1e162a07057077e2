"""From a name to a connected socket, in one time for all of its addresses.

As RFC 8305 ("happy eyeballs") has it: the addresses are tried one after the other, families in turn, without waiting for the
one before to fail, and the first that answers is taken. So addresses that swallow everything cost a moment each.
"""

import ipaddress
import selectors
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from itertools import chain, zip_longest
from typing import Any, Final

from urllib3.util.connection import allowed_gai_family

#: What `socket.getaddrinfo` gives: family, type, protocol, canonical name, address.
Address = tuple[Any, ...]
Options = Iterable[tuple[int, int, int | bytes]]
#: So long an address has before the next is tried beside it (RFC 8305 section 8: 250 ms).
STAGGER: Final = 0.25

#: So long an address that answered and then opened no TLS is tried after the others of its name.
SHUNNED_FOR: Final = 60.0

#: Until when each such address is, by host and port.
_shunned: dict[tuple[str, int], float] = {}
_lookups: dict[tuple[str, int], Future[list[Address]]] = {}
_lock = threading.Lock()


def addresses_of(host: str, port: int, by: float) -> list[Address]:
    """Return the addresses of a host by the time `by`. The system's resolver knows no time of ours, so a thread waits for it.

    Raises:
        OSError: the name isn't known, or nobody could say so in time.
        UnicodeError: it can't be a name.
    """
    if _literal(host):
        return _look_up(host, port)
    key = (host, port)
    with _lock:
        future = _lookups.get(key)
        if future is None:
            future = _lookups[key] = Future()
            threading.Thread(target=_answer, args=(key, future), name=f"name of {host}", daemon=True).start()
    return future.result(max(by - time.monotonic(), 0))


def _answer(key: tuple[str, int], future: Future[list[Address]]) -> None:
    try:
        found = _look_up(*key)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is whoever asked that must hear of it
        _forget(key)
        future.set_exception(error)
    else:
        _forget(key)
        future.set_result(found)


def _forget(key: tuple[str, int]) -> None:
    with _lock:
        _lookups.pop(key, None)


def _look_up(host: str, port: int) -> list[Address]:
    return list(socket.getaddrinfo(host, port, allowed_gai_family(), socket.SOCK_STREAM))


def _literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def dial(addresses: Sequence[Address], by: float, source: tuple[str, int] | None, options: Options) -> socket.socket:
    """Return a connection to one of the addresses, made by the time `by`; its own timeout is yet to be set.

    Raises:
        OSError: all refused, or none answered in time (TimeoutError).
    """
    waiting = _in_turn(addresses)
    stagger = min(STAGGER, (by - time.monotonic()) / 2 / (len(waiting) + 1))  # the last has half of the time, and TLS
    next_at = time.monotonic()
    refused = OSError("no address")
    begun: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as tried:
        try:
            while waiting or tried.get_map():
                now = time.monotonic()
                if now >= by:
                    msg = "none of the addresses answered in time"
                    raise TimeoutError(msg)
                if waiting and (now >= next_at or not tried.get_map()):
                    try:
                        made = _begun(waiting.pop(0), source, options)
                    except OSError as error:
                        refused = error
                    else:
                        begun[made.fileno()] = made
                        tried.register(made, selectors.EVENT_WRITE)
                    next_at = now + stagger
                    continue
                for key, _ in tried.select(max((next_at if waiting else by) - now, 0)):
                    made = begun[key.fd]
                    tried.unregister(made)
                    code = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not code:
                        return made
                    made.close()
                    refused, next_at = OSError(code, "not connected"), now
        finally:
            for key in list(tried.get_map().values()):
                begun[key.fd].close()
    raise refused


def shun(peer: tuple[str, int]) -> None:
    """Try this address last for a while: it accepts connections and can't be talked to, so that it would win each time."""
    now = time.monotonic()
    for other, until in list(_shunned.items()):
        if until <= now:
            _shunned.pop(other, None)
    _shunned[peer] = now + SHUNNED_FOR


def _is_shunned(address: Address) -> bool:
    return _shunned.get(address[4][:2], 0) > time.monotonic()


def _in_turn(addresses: Sequence[Address]) -> list[Address]:
    """Return the addresses in their order, families in turn (RFC 8305 section 4), and those last that are shunned."""
    families = list(dict.fromkeys(address[0] for address in addresses))
    kinds = [[address for address in addresses if address[0] == family] for family in families]
    return sorted((address for address in chain.from_iterable(zip_longest(*kinds)) if address is not None), key=_is_shunned)


def _begun(address: Address, source: tuple[str, int] | None, options: Options) -> socket.socket:
    """Begin to connect."""
    family, kind, protocol, _, where = address
    made = socket.socket(family, kind, protocol)
    try:
        for option in options:
            made.setsockopt(*option)
        made.setblocking(False)
        if source:
            made.bind(source)
        made.connect(where)
    except BlockingIOError:
        return made
    except OSError:
        made.close()
        raise
    return made
