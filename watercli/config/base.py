"""What every section is made of."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from watercli.plugins import METHODS, PROTOCOLS, READERS, Group


def listed(value: object) -> object:
    """Let a single value stand for a list of one; what is no text is then refused as such."""
    return (value,) if isinstance(value, str | bool | int | float) else value


def iterated(value: object) -> Iterable[object]:
    """Let a single number or string stand for a list of one."""
    return value if isinstance(value, list | tuple) else (value,)


def in_a_list(value: object) -> object:
    """Let a section stand for a list of one, and null for none."""
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)


def json_file(value: object) -> object:
    """Let the name of a JSON file stand for its content."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(Path(value).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror}); give an existing JSON file") from error
    except ValueError as error:
        raise ValueError(f"is no valid JSON ({error}); mend it") from error


Strings = Annotated[tuple[str, ...], BeforeValidator(listed)]


def as_written(value: object) -> object:
    """Let numbers stand for their text, in a list or alone; YAML's guesses at words are refused.

    Raises
    ------
    ValueError
        If one is a boolean: YAML takes NO, yes, on and off for one.
    """
    marks = tuple(iterated(value))
    if any(isinstance(mark, bool) for mark in marks):
        raise ValueError("must be text; write no, NO, yes, on and off in quotes, as YAML takes them for true and false")
    return tuple(str(mark) for mark in marks)


Marks = Annotated[tuple[str, ...], BeforeValidator(as_written)]


Fraction = Annotated[float, Field(ge=0, le=1)]


Positive = Annotated[int, Field(gt=0)]


CheckName = Literal[
    "range", "mark", "units", "dates", "flat", "jump", "outlier", "spike", "factor", "shift", "repeat", "runoff"
]


def _known(group: Group) -> AfterValidator:
    """Refuse a name that nothing goes by in what a user gives.

    What a store or a run carries may name a plug-in that this machine lacks; it is refused when it is used.
    """

    def check(name: str, info: ValidationInfo) -> str:
        return group.check(name) if info.context == GIVEN else name

    return AfterValidator(check)


GIVEN = "given by a user"
"""Context of a validation that checks names."""


MethodName = Annotated[str, _known(METHODS)]


ProtocolName = Annotated[str, _known(PROTOCOLS)]


ReaderName = Annotated[str, _known(READERS)]


LoggerName = Literal["tensorboard", "wandb", "mlflow"]


QuantityName = Literal["precipitation", "evaporation", "river_flow", "air_temperature", "soil_moisture"]


class Section(BaseModel):
    """Base of every section: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
