"""What every document in Vault has in common.

Frozen pydantic models. Unknown fields survive a read and a write (an older replica must not erase what a newer one
wrote). Times are aware UTC datetimes and stand in Vault as RFC 3339 text; lengths of time are timedeltas and stand there
as JSON numbers of seconds. ``bao kv put`` writes text only, so numbers, booleans and durations are also read from text.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)

from vault_plugin.core.errors import DocumentMalformed
from vault_plugin.core.secret import REVEAL

SCHEMA = 1


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


#: An aware datetime in UTC.
Timestamp = Annotated[AwareDatetime, AfterValidator(_utc)]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")


def parse_duration(value: object) -> timedelta:
    """Read a length of time: a number of seconds, or text like ``90``, ``90s``, ``1h30m``, ``2d``.

    Raises:
        ValueError: it is none of these, or negative.
    """
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    if _DURATION.fullmatch(text):
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    if isinstance(value, bool) or not re.fullmatch(r"\d+(\.\d+)?", text):
        msg = "a duration is a number of seconds or text like 90s, 5m, 1h30m"
        raise ValueError(msg)
    return timedelta(seconds=float(text))


def seconds(value: timedelta) -> int | float:
    """Return a length of time as a JSON number of seconds, whole where it is whole."""
    total = value.total_seconds()
    return int(total) if total.is_integer() else total


#: A length of time.
Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(seconds, when_used="json")]


class Part(BaseModel):
    """A part of a document."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        hide_input_in_errors=True,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    def replace(self, **changes: Any) -> Self:  # noqa: ANN401 - the fields' own types are checked by the model
        """Return a copy with these fields changed. Unknown fields are kept."""
        return self.model_copy(update=changes)


class Document(Part):
    """A document of its own path: ``MOUNT/data/KIND/NAME``."""

    #: First segment of the path; policies are one line a kind.
    kind: ClassVar[str]

    schema_version: int = Field(default=SCHEMA, alias="schema")
    #: Set anew by the store at every write; how a writer recognises its own write.
    write_id: str = ""

    def to_vault(self) -> dict[str, Any]:
        """Return the JSON object for Vault, secrets in clear."""
        return self.model_dump(mode="json", context=REVEAL, exclude_none=True)

    @classmethod
    def from_vault(cls, path: str, data: object) -> Self:
        """Read what stands at `path`.

        Raises:
            DocumentMalformed: wrong form, or of a newer version of this program. Names fields, never values.
        """
        try:
            document = cls.model_validate(data)
        except ValidationError as error:
            fields = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}" for e in error.errors())
            msg = f"{path} is not a {cls.__name__}: {fields}"
            raise DocumentMalformed(msg) from None
        if document.schema_version > SCHEMA:
            msg = f"{path} has schema {document.schema_version}; this program knows up to {SCHEMA}"
            raise DocumentMalformed(msg, reason="NewerSchema")
        return document
