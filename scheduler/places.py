"""A place in a lane is for a call at Veeam. Who has the answer and can't store it gives the place up, and offers on.

Else two credentials for which Vault alone takes no writes would hold both places of their server for ever.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_here = threading.local()


@contextmanager
def placed(give_up: Callable[[], None]) -> Iterator[None]:
    """Do something on this thread that has a place; `give_up` may be called within, more than once."""
    _here.give_up = give_up
    try:
        yield
    finally:
        _here.give_up = None


@contextmanager
def offering() -> Iterator[None]:
    """Write what is offered until it is stored: the call that brought it is over."""
    _here.offering = True
    try:
        yield
    finally:
        _here.offering = False


def not_stored() -> bool:
    """Note on this thread that a write wasn't taken; if it is an offer, give the place up, and tell so."""
    give_up: Callable[[], None] | None = getattr(_here, "give_up", None)
    offered = bool(getattr(_here, "offering", False))
    if give_up is not None and offered:
        give_up()
    return offered
