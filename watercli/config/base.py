"""What every section is made of."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def listed(value: object) -> object:
    """Let a single string stand where a list of strings is asked for."""
    return (value,) if isinstance(value, str) else value


def iterated(value: object) -> Iterable[object]:
    """Let a single number or string stand where several are asked for."""
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


Marks = Annotated[tuple[str, ...], BeforeValidator(lambda value: tuple(str(one) for one in iterated(value)))]


Fraction = Annotated[float, Field(ge=0, le=1)]


Positive = Annotated[int, Field(gt=0)]


CheckName = Literal["range", "units", "dates", "flat", "jump", "outlier", "repeat", "runoff"]


MethodName = Literal[
    "simulation",
    "fine_tuned",
    "from_scratch",
    "neighbour_correction",
    "probe",
    "probe_untrained",
    "probe_regional",
    "probe_decoder_state",
    "probe_mlp",
    "weather_ridge",
    "ema_mlp",
    "lstm",
    "gr4j",
    "nearest",
    "inverse_distance",
    "climatology",
    "persistence",
]


ProtocolName = Literal["reconstruction", "simulation", "ungauged", "forecast", "short_records"]


LoggerName = Literal["tensorboard", "wandb", "mlflow"]


QuantityName = Literal["precipitation", "evaporation", "river_flow", "air_temperature", "soil_moisture"]


class Section(BaseModel):
    """Base of every section: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
