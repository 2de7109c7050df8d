"""Which variable of a store is which input of a model: by name, by the user's word, or because both mean the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pint
from cf_xarray.units import units as registry
from numpy.typing import NDArray

from watercli.config import Attribute, Config, Modality
from watercli.errors import ConfigError, nearest
from watercli.hydrology.names import quantity_named
from watercli.hydrology.units import are_discharge_and_depth, area_factor, parse, scale_and_offset
from watercli.run.checkpoint import Checkpoint
from watercli.store import Store

ATTRIBUTE = "attribute"
PLACES = {"area": "km2", "latitude": "degrees_north", "longitude": "degrees_east"}
"""Coordinates of a store that may stand for attributes, and their units."""


@dataclass(frozen=True)
class Variable:
    """A modality or a static attribute, of a model or of a store."""

    name: str
    kind: str
    """``grid``, ``series`` or ``attribute``."""
    units: str | None
    """None: not recorded."""
    synonyms: tuple[str | None, ...] = ()
    """Other names that it is known by: in its source, in CF."""
    recipe: Attribute | None = None
    """Where an attribute comes from, if its recipe is known."""

    @property
    def quantity(self) -> str | None:
        """What it measures, as far as its names tell."""
        return quantity_named((self.name, *self.synonyms))

    def shares_origin_with(self, other: Variable) -> bool:
        """Whether both are attributes that recipes take from a column of the same name, or from the same index."""
        if self.recipe is None or other.recipe is None or self.recipe.one_hot != other.recipe.one_hot:
            return False
        if self.recipe.climate is not None:
            return self.recipe.climate == other.recipe.climate
        return bool(set(self.recipe.column) & set(other.recipe.column))


@dataclass(frozen=True)
class Match:
    """Where an input of a model is found in a store."""

    needed: Variable
    """As the model knows it."""
    given: Variable | None
    """As the store has it; None: the store lacks it."""
    why: str = ""
    """Why it is this one, or none."""

    @property
    def name(self) -> str:
        """The model's name of it."""
        return self.needed.name

    @property
    def is_as_named(self) -> bool:
        """Whether the store has it by the same name and in the same units, of which 1 may be left unsaid."""
        if self.given is None:
            return False
        return (self.given.name, self.given.units or "1") == (self.name, self.needed.units or "1")


def match(checkpoint: Checkpoint, store: Store, names: Mapping[str, str]) -> tuple[list[Match], list[Match]]:
    """Return where the model's modalities and where its attributes are found in a store.

    Parameters
    ----------
    checkpoint, store
        The model and the store.
    names
        The user's word: the store's name of an input, by the model's.

    Raises
    ------
    ConfigError
        If ``names`` names what does not exist, or something of the model's name has units that cannot be converted.
    """
    has_area = "area" in store.dataset
    needed = _of_model(checkpoint), _attributes_of_model(checkpoint)
    given = modalities_of(store), _attributes_of_store(store)
    named = _checked(names, [*needed[0], *needed[1]], [*given[0], *given[1]], store)
    modalities, attributes = (
        _matched(needs, gives, named, store, has_area=has_area) for needs, gives in zip(needed, given, strict=True)
    )
    return modalities, attributes


def _of_model(checkpoint: Checkpoint) -> list[Variable]:
    return [_modality(name, modality) for name, modality in checkpoint.config.modalities.items()]


def modalities_of(store: Store) -> list[Variable]:
    """Return the modalities of a store, with the names that they are known by."""
    return [_modality(name, modality, store.dataset[name].attrs) for name, modality in store.config.modalities.items()]


def _modality(name: str, modality: Modality, attributes: Mapping[Any, Any] | None = None) -> Variable:
    standard_name = (attributes or {}).get("standard_name")
    return Variable(
        name, modality.kind, modality.units, (*(source.variable for source in modality.source), standard_name)
    )


def attribute_recipes(config: Config) -> Mapping[str, Attribute]:
    """Return where a configuration's attributes come from, by name; nothing if it has no recipe for them."""
    return config.recipe.catchments.attributes if config.recipe and config.recipe.catchments else {}


def _attributes_of_model(checkpoint: Checkpoint) -> list[Variable]:
    recipes = attribute_recipes(checkpoint.config)
    variables = []
    for name, scale in checkpoint.scaling.attributes.items():
        recipe = recipes.get(name)
        units = scale.units or (recipe.units if recipe else None)
        variables.append(Variable(name, ATTRIBUTE, _stated(units, scale.least, scale.most), recipe=recipe))
    return variables


def _attributes_of_store(store: Store) -> list[Variable]:
    """Return the static attributes, and the coordinates of gauges that no attribute stands for."""
    if not store.gauge_ids:
        return []
    units: Any = store.dataset["attribute_units"].values if store.attribute_names else ()
    recipes = attribute_recipes(store.config)
    static = store.dataset["static"].values if store.attribute_names else np.empty((0, 0))
    own = []
    for name, unit, values in zip(store.attribute_names, units, static.T, strict=True):
        known = values[np.isfinite(values)]
        stated = _stated(str(unit), *((float(known.min()), float(known.max())) if known.size else (None, None)))
        own.append(Variable(name, ATTRIBUTE, stated, recipe=recipes.get(name)))
    held = {name for variable in own for name in (variable.name, variable.quantity)}
    places = [Variable(name, ATTRIBUTE, unit) for name, unit in PLACES.items() if name in store.dataset]
    return own + [place for place in places if not held & {place.name, place.quantity}]


def _stated(units: str | None, least: float | None, most: float | None) -> str | None:
    """Return an attribute's units; None if they are 1, as they are where nobody says, and its values no fractions."""
    return None if units == "1" and max(abs(least or 0.0), abs(most or 0.0)) > 1 else units


def _checked(
    names: Mapping[str, str], needed: Sequence[Variable], given: Sequence[Variable], store: Store
) -> dict[str, str]:
    """Return the user's names, the model's first; a pair the other way round is understood if it can mean nothing else.

    Raises
    ------
    ConfigError
        If the model or the store lacks what is named.
    """
    of_model, of_store = [variable.name for variable in needed], [variable.name for variable in given]
    checked = {}
    for first, second in names.items():
        own, other = (second, first) if first not in of_model and second in of_model else (first, second)
        if own not in of_model:
            raise ConfigError(f"--map {first}={second}: the model has no input '{own}'{nearest(own, of_model)}")
        if other not in of_store:
            raise ConfigError(f"--map {first}={second}: {store.path} has no '{other}'{nearest(other, of_store)}")
        checked[own] = other
    return checked


def _matched(
    needed: Sequence[Variable], given: Sequence[Variable], names: Mapping[str, str], store: Store, *, has_area: bool
) -> list[Match]:
    by_name = {variable.name: variable for variable in given}
    sure = _by_origin(needed, given, names)
    claimed = {found.given.name for found in sure.values() if found.given}
    for variable in needed:
        same = by_name.get(names.get(variable.name, variable.name))
        if same is None or variable.name in sure or (variable.name not in names and same.name in claimed):
            continue
        is_named = variable.name in names
        if same.kind != variable.kind and not is_named:
            continue
        if same.kind == variable.kind and converts(same, variable, has_area=has_area):
            sure[variable.name] = Match(variable, same, "by --map" if is_named else "")
        elif variable.kind == ATTRIBUTE and same.units == "1":  # nobody said
            sure[variable.name] = Match(variable, replace(same, units=None))
        elif variable.kind == ATTRIBUTE and not is_named:  # the word means another thing there
            sure[variable.name] = Match(variable, None, f"the store's is in {same.units}, not {variable.units}")
        else:
            raise ConfigError(
                f"'{same.name}' of {store.path} is {_in_words(same)}, which cannot become the model's "
                f"'{variable.name}', {_in_words(variable)}; name another with --map {variable.name}=NAME"
            )
    taken = {found.given.name for found in sure.values() if found.given}
    left = [variable for variable in given if variable.name not in taken]
    open_quantities = Counter(variable.quantity for variable in needed if variable.name not in sure)
    return [
        sure.get(variable.name)
        or _by_quantity(variable, left, unique=open_quantities[variable.quantity] == 1, has_area=has_area)
        for variable in needed
    ]


def _in_words(variable: Variable) -> str:
    return f"{'an' if variable.kind == ATTRIBUTE else 'a'} {variable.kind} in {variable.units}"


def _by_origin(needed: Sequence[Variable], given: Sequence[Variable], names: Mapping[str, str]) -> dict[str, Match]:
    """Return the attributes that come from the same column as one of the store's, whatever their names.

    Sand of one survey is not that of another, though both may be called so.
    """
    free = [variable for variable in given if variable.name not in names.values()]
    found = {}
    for variable in needed:
        same = [candidate for candidate in free if variable.shares_origin_with(candidate)]
        rivals = [other for other in needed if same and other.shares_origin_with(same[0])]
        if variable.name in names or not len(same) == len(rivals) == 1:
            continue
        if converts(same[0], variable, has_area=False):
            why = "" if same[0].name == variable.name else "from the same column"
            found[variable.name] = Match(variable, same[0], why)
    return found


def _by_quantity(variable: Variable, given: Sequence[Variable], *, unique: bool, has_area: bool) -> Match:
    """Return the only variable that measures the same; none if there are several."""
    same = [
        candidate
        for candidate in given
        if variable.quantity
        and (candidate.quantity, candidate.kind) == (variable.quantity, variable.kind)
        and converts(candidate, variable, has_area=has_area)
    ]
    if len(same) == 1 and unique:
        return Match(variable, same[0], f"both are {variable.quantity}")
    if not same:
        return Match(variable, None)
    candidates = " or ".join(candidate.name for candidate in same)
    return Match(variable, None, f"{candidates}? --map {variable.name}=NAME decides")


def converts(given: Variable, needed: Variable, *, has_area: bool) -> bool:
    """Return whether one variable's units become the other's; ``has_area``: the store knows the catchments' areas."""
    try:
        conversion(given.units, needed.units, np.ones(1) if has_area else None)
    except ValueError:
        return False
    return True


def conversion(
    given: str | None, needed: str | None, area: NDArray[np.floating] | None = None
) -> tuple[NDArray[np.floating], float]:
    """Return what values are multiplied by, for each catchment ``[C]`` or all ``[1]``, and what is added then.

    ``area`` is that of each catchment in km2, by which discharge becomes runoff depth, and the reverse. Units that are
    not known on one of the sides are taken to be the other's.

    Raises
    ------
    ValueError
        If the two are of other dimensions.
    """
    if given is None or needed is None or given == needed:
        return np.ones(1), 0.0
    if area is not None and are_discharge_and_depth(given, needed):
        return area_factor(given, needed, area), 0.0
    target = parse(needed)
    try:
        scale, offset = scale_and_offset(parse(given), registry.Unit(target.units))
    except pint.DimensionalityError as error:
        raise ValueError(f"'{given}' cannot be converted to '{needed}'") from error
    return np.full(1, scale / target.magnitude), offset / target.magnitude
