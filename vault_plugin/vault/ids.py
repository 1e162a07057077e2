"""Ids that sort by the time of their making."""

import secrets
import time
from typing import Final
from uuid import UUID

from vault_plugin.core.names import is_request_id

#: As much of a UUID of version 7 as has room behind an entity's id and a dot: its time and 54 random bits.
UNIQUE: Final = 27
#: Hexadecimal digits of a UUID of version 7 that are its time.
STAMP: Final = 12


def new_id() -> str:
    """Return a UUID of version 7 (RFC 9562 section 5.7): ids sort by the time of their making."""
    stamp = time.time_ns() // 1_000_000
    value = (stamp & (1 << 48) - 1) << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(UUID(int=value))


def made_at(made: str) -> str:
    """Return what orders ids of ours by the time of their making, with an entity's before it or not; empty for others'."""
    stamp = made.rpartition(".")[2].replace("-", "")[:STAMP]
    return stamp if len(stamp) == STAMP and set(stamp) <= set("0123456789abcdef") else ""


def request_id(entity: str) -> str:
    """Return an id for a request of this entity's, or of nobody's.

    It begins with the entity's id, as the policies of ``register --verified-requesters`` demand and the others allow.
    """
    plain = new_id()
    verified = f"{entity}.{plain.replace('-', '')[:UNIQUE]}"
    return verified if entity and is_request_id(verified) else plain
