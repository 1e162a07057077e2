"""A string that nobody sees by accident."""

import hmac
from typing import Any, Final

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

MASK: Final = "**********"
#: Serialization context with which a model writes its secrets in clear. For Vault's KV store only.
REVEAL: Final = {"reveal_secrets": True}


class Secret:
    """Prints, formats, pickles and serialises as ``**********``; only `reveal` gives the value out.

    Empty is false. Compares equal to another `Secret` of the same value (in constant time), never to a ``str``.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Take the value in clear."""
        self._value = value

    def reveal(self) -> str:
        """Return the value. Call it only where the value goes on a wire or into Vault."""
        return self._value

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> "Secret":
        return self

    def __reduce__(self) -> tuple[type["Secret"], tuple[str]]:
        return Secret, (MASK,)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _parse,
            serialization=core_schema.plain_serializer_function_ser_schema(_serialise, info_arg=True),
        )


def _parse(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        return Secret(value)
    msg = "a secret is a string"
    raise ValueError(msg)


def _serialise(value: Secret, info: core_schema.SerializationInfo) -> str:
    return value.reveal() if info.context == REVEAL else MASK
