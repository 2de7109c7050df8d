"""The river network of the gauges: the next gauge downstream, by a column of the attribute tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from watercli.errors import DataError
from watercli.hydrology.river_network import downstream_of
from watercli.log import log
from watercli.preparation.geometry import listed
from watercli.preparation.readers import attributes, ids
from watercli.preparation.readers.attributes import Table


def read(tables: Sequence[Table], column: str, gauges: Sequence[str]) -> NDArray[np.object_]:
    """Return the next of ``gauges`` downstream of each, ``[C]``, empty where there is none.

    A gauge of the tables that is not among ``gauges`` is passed over: the next one downstream of it counts.

    Raises
    ------
    DataError
        If the column is in no table, or a river flows back to one of its gauges.
    """
    known = list(dict.fromkeys(str(gauge) for table in tables for gauge in table.rows.index))
    stated = attributes.text_of(tables, (column,), known).dropna().str.strip()
    stated = stated[stated != ""]
    names = {name: name if name in known else ids.alike(name, known) for name in stated.unique()}
    unknown = stated.index[[not names[name] for name in stated]]
    if len(unknown):
        log.warning("Column '%s': %s a gauge downstream that is in no attribute table, such as '%s': taken as none",
                    column, listed(unknown, "gauge", "names", "name"), stated[unknown[0]])  # fmt: skip
    following = {str(gauge): names[name] for gauge, name in stated.items() if names[name]}
    try:
        paths = {gauge: downstream_of(gauge, following) for gauge in gauges}
    except ValueError as error:
        raise DataError(
            f"By column '{column}' the river flows in a circle ({error}); mend it, or leave out "
            "recipe.catchments.downstream_id"
        ) from error
    present = set(gauges)
    nearest = [next((name for name in paths[gauge] if name in present), "") for gauge in gauges]
    log.info("River network: %d of %d gauges have one downstream", sum(map(bool, nearest)), len(gauges))
    return np.array(nearest, dtype=object)
