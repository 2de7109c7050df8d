"""A store as a model reads it: by the model's names, in its units, with its attributes in their order.

Values are scaled by the statistics of the model's training, never by those of the store that it is given.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from watercli.config import Config
from watercli.data.scaling import Scale
from watercli.log import log
from watercli.run.areal_series import with_areal_means, with_named_grids
from watercli.run.checkpoint import Checkpoint
from watercli.run.climate import climate_of
from watercli.run.compatibility import with_absent_series
from watercli.run.matching import Match, conversion, match
from watercli.run.mean_temperature import with_mean_temperature
from watercli.run.series_statistics import renew_statistics
from watercli.store import FORECAST, Store
from watercli.transforms import TRANSFORMS

Floats = NDArray[np.floating[Any]]
FAR_MEANS = 3.0
"""Standard deviations between two training means, beyond which the values are probably of another kind."""
WIDTH = 118
"""Characters of a line of the table."""


@dataclass(frozen=True)
class View(Store):
    """A store as a model reads it; what the model lacks is left out, and what the store lacks is missing throughout.

    Its configuration names the modalities that the store has, by the model's names. Its fingerprint is the store's
    own, unless a variable is renamed or converted.
    """

    modalities: tuple[Match, ...] = ()
    attributes: tuple[Match, ...] = ()
    stored_fingerprint: str = ""
    """Fingerprint of the store itself."""


def as_read_by(checkpoint: Checkpoint, store: Store, names: Mapping[str, str] | None = None) -> Store:
    """Return a store as a model reads it, and log how, unless it is the store of the training.

    Parameters
    ----------
    checkpoint, store
        The model and the store.
    names
        The store's name of a modality or an attribute, by the model's: ``{"precip": "rain"}``. Inputs that are not
        named are found by the model's own name, or if one variable alone measures the same.

    Raises
    ------
    ConfigError
        If a name does not exist, or units cannot be converted.
    """
    if isinstance(store, View):
        return store
    store, names = with_named_grids(checkpoint, store, names or {})
    modalities, attributes = match(checkpoint, store, names)
    # A series comes before a grid: the ends of a temperature that are series are not asked for twice.
    for with_derived in (with_mean_temperature, with_areal_means, with_mean_temperature):
        if (derived := with_derived(store, modalities)) is not None:
            store = derived
            modalities, attributes = match(checkpoint, store, names)
    is_trained = checkpoint.fingerprint in (store.fingerprint, *store.dataset.attrs.get("ancestry", ()))
    as_they_are = all(found.is_as_named for found in (*modalities, *attributes))
    if is_trained and as_they_are and store.attribute_names == list(checkpoint.scaling.attributes):
        return store
    view = with_absent_series(checkpoint, _view(checkpoint.config, store, modalities, attributes))
    assert isinstance(view, View)
    if not is_trained or names:
        log.info("What the model reads of %s:\n%s", store.path, _as_text(table(checkpoint, view)))
        for sentence in _far(checkpoint, view):
            log.warning(sentence)
    return view


def _view(config: Config, store: Store, modalities: Sequence[Match], attributes: Sequence[Match]) -> View:
    dataset = _with_modalities(store, modalities)
    computed = climate_of(config, dataset, store, [found.name for found in attributes if found.given is None])
    attributes = [_computed(found) if found.name in computed else found for found in attributes]
    dataset = _with_attributes(dataset, store, attributes, computed)
    held = {
        found.name: store.config.modalities[found.given.name].model_copy(update={"units": found.needed.units})
        for found in modalities
        if found.given
    }
    changes = [
        (found.name, found.given.name, found.needed.units)
        for found in (*modalities, *attributes)
        if found.given and not found.is_as_named
    ]
    own = store.config.model_copy(update={"modalities": held})
    dataset = dataset.assign_attrs(_fingerprints(store, changes))
    return View(store.path, dataset, own, tuple(modalities), tuple(attributes), store.fingerprint)


def _computed(found: Match) -> Match:
    return replace(found, given=replace(found.needed, name="own weather"), why="a climate index")


def _fingerprints(store: Store, changes: Sequence[tuple[str, str, str | None]]) -> dict[str, Any]:
    """Return the root attributes that tell apart what is derived from the store by different names and units."""
    if not changes:
        return {}

    def changed(fingerprint: str) -> str:
        return hashlib.sha256(json.dumps([fingerprint, changes]).encode()).hexdigest()

    ancestry = [changed(fingerprint) for fingerprint in store.dataset.attrs.get("ancestry", ())]
    return {"fingerprint": changed(store.fingerprint)} | ({"ancestry": ancestry} if ancestry else {})


def _with_modalities(store: Store, matches: Sequence[Match]) -> xr.Dataset:
    """Return the dataset with the modalities that the model reads in place of the store's."""
    data = store.dataset
    stored = {found.name: found.given.name for found in matches if found.given}
    variables = {found.name: _values(store, found) for found in matches if found.given}
    variables |= _forecasts(store, matches)
    for variable, dim in (("statistics", "variable"), ("coverage", "grid")):
        if variable in data:
            kept = [name for name in stored if stored[name] in data[dim].values]
            along = data[variable].sel({dim: [stored[name] for name in kept]}).compute()
            variables[variable] = along.assign_coords({dim: np.array(kept, dtype=object)})
    for found in matches:
        if found.given and found.given.units != found.needed.units:
            renew_statistics(variables["statistics"], variables[found.name], store.period("train"))
    held = [*store.config.modalities, *(data.name for data in store.forecasts.values())]
    rest = data.drop_vars(held).drop_dims(["variable", "grid"], errors="ignore")
    return rest.assign(variables)


def _forecasts(store: Store, matches: Sequence[Match]) -> dict[str, xr.DataArray]:
    """Return the forecast products of the modalities that the model reads, in its units and by its names."""
    forecasts = {}
    for found in matches:
        data = store.forecasts.get(found.given.name) if found.given else None
        if found.given is not None and data is not None:
            area = store.dataset["area"].values if "area" in store.dataset else None
            scale, offset = conversion(found.given.units, found.needed.units, area)
            if found.given.units != found.needed.units:
                data = (data * scale[:, None, None] + offset).astype(data.dtype).assign_attrs(data.attrs)
            forecasts[f"{found.name}{FORECAST}"] = data.assign_attrs(units=found.needed.units)
    return forecasts


def _values(store: Store, found: Match) -> xr.DataArray:
    """Return a modality in the model's units."""
    assert found.given is not None
    data = store.dataset[found.given.name]
    area = store.dataset["area"].values if "area" in store.dataset else None
    scale, offset = conversion(found.given.units, found.needed.units, area)
    attributes = data.attrs | {"units": found.needed.units}
    if found.needed.kind == "grid":
        factor = float(scale[0])
        attributes |= {"stored_name": found.given.name, "stored_scale": factor, "stored_offset": offset}
        values = data * factor + offset if (factor, offset) != (1.0, 0.0) else data
    else:
        values = data * scale[:, None] + offset if found.given.units != found.needed.units else data
    return values.astype(data.dtype).assign_attrs(attributes).rename(found.name)


def _with_attributes(
    dataset: xr.Dataset, store: Store, matches: Sequence[Match], computed: Mapping[str, Floats]
) -> xr.Dataset:
    """Return the dataset with the model's attributes in place of the store's; those that it lacks are NaN."""
    rest = dataset.drop_dims("attribute", errors="ignore")
    if not store.gauge_ids or not matches:
        return rest
    values = np.stack([_attribute(store, found, computed) for found in matches], axis=1)
    units = [found.needed.units or (found.given.units if found.given else None) or "1" for found in matches]
    return rest.assign_coords(attribute=np.array([found.name for found in matches], dtype=object)).assign(
        static=(("catchment", "attribute"), values),
        attribute_units=("attribute", np.array(units, dtype=object)),
    )


def _attribute(store: Store, found: Match, computed: Mapping[str, Floats]) -> Floats:
    """Return an attribute of every catchment in the model's units, ``[C]``."""
    if found.name in computed:
        return computed[found.name].astype(np.float32)
    if found.given is None:
        return np.full(len(store.gauge_ids), np.nan, dtype=np.float32)
    name = found.given.name
    data = store.dataset["static"].sel(attribute=name) if name in store.attribute_names else store.dataset[name]
    scale, offset = conversion(found.given.units, found.needed.units)
    values: Floats = data.values
    if found.given.units == found.needed.units or found.needed.units is None:
        return values
    return (values * scale + offset).astype(values.dtype)


def table(checkpoint: Checkpoint, view: View) -> Table:
    """Return what the model reads of a store, what it takes as missing, and what lies outside its training."""
    lacking = [found.name for found in view.attributes if _is_lacking(found)]
    caption = f"Attributes that are missing: {', '.join(lacking)}" if lacking else None
    shown = Table("input", "read from", "in training", "here", "remark", caption=caption, caption_justify="left")
    for row in _rows(checkpoint, view):
        shown.add_row(*row)
    return shown


def _is_lacking(found: Match) -> bool:
    """Whether the store has nothing that could be the input, so that there is no more to say of it."""
    return found.given is None and not found.why


def _rows(checkpoint: Checkpoint, view: View) -> Iterator[tuple[str, str, str, str, str]]:
    for found in view.modalities:
        units = found.needed.units
        typical = here = ""
        if found.given:
            scale = checkpoint.scaling.modalities[found.name]
            typical = f"{_typical(scale, scale.mean):.3g} {units}"
            mean, _ = view.statistics(found.name, scale.transform)
            here = f"{_typical(scale, mean):.3g} {units}" if math.isfinite(mean) else "not known"
        far = _is_far(checkpoint, view, found.name)
        yield found.name, _origin(found), typical, here, "far from the training" if far else ""
    for number, found in enumerate(view.attributes):
        if _is_lacking(found):
            continue
        scale, values = checkpoint.scaling.attributes[found.name], view.dataset["static"].values[:, number]
        yield found.name, _origin(found), _range(scale.least, scale.most), _range_of(values), _outside(scale, values)


def _origin(found: Match) -> str:
    if found.given is None:
        return f"missing ({found.why})" if found.why else "missing"
    units = f", {found.given.units} to {found.needed.units}" if found.given.units != found.needed.units else ""
    if found.needed.units is None:
        units = ""
    why = f" ({found.why})" if found.why else ""
    return f"{found.given.name}{units}{why}"


def _typical(scale: Scale, mean: float) -> float:
    """Return the value whose transform is the mean of the transformed values."""
    return float(TRANSFORMS[scale.transform].inverse(np.array(mean)))


def _range(least: float | None, most: float | None) -> str:
    return "" if least is None or most is None else f"{least:.3g} to {most:.3g}"


def _range_of(values: NDArray[np.floating[Any]]) -> str:
    known = values[np.isfinite(values)]
    return _range(float(known.min()), float(known.max())) if known.size else ""


def _outside(scale: Scale, values: NDArray[np.floating[Any]]) -> str:
    """Return in words how many catchments lie outside the range of the training, and how many lack the attribute."""
    counts = {"missing": int(np.isnan(values).sum())}
    if scale.least is not None and scale.most is not None:
        counts["outside"] = int(((values < scale.least) | (values > scale.most)).sum())
    return ", ".join(f"{count} of {len(values)} {what}" for what, count in counts.items() if count)


def _is_far(checkpoint: Checkpoint, view: View, name: str) -> bool:
    """Whether a modality's values differ from those of the training as those of other units do."""
    scale = checkpoint.scaling.modalities[name]
    if name not in view.config.modalities:
        return False
    mean, std = view.statistics(name, scale.transform)
    if not math.isfinite(std):
        return False  # not one value in the training period, or a converted grid: nothing to compare
    return abs(mean - scale.mean) > FAR_MEANS * scale.std or not 0.1 < std / scale.std < 10


def _far(checkpoint: Checkpoint, view: View) -> list[str]:
    """Return a sentence on each modality whose values are far from those of the training."""
    sentences = []
    for found in view.modalities:
        if not _is_far(checkpoint, view, found.name):
            continue
        scale = checkpoint.scaling.modalities[found.name]
        mean, std = view.statistics(found.name, scale.transform)
        after = "" if scale.transform == "identity" else f" after {scale.transform}"
        sentences.append(
            f"'{found.name}' in {view.path} has mean {mean:.3g} and standard deviation {std:.3g}{after} over its "
            f"training period, against {scale.mean:.3g} and {scale.std:.3g} of the model; check its units and source"
        )
    return sentences


def _as_text(shown: Table) -> str:
    stream = StringIO()
    Console(file=stream, width=WIDTH).print(shown)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())
