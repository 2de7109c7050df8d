"""The daily mean temperature of a store that has only the highest and the lowest of the day: the mean of the two.

So do CAMELS and Daymet; it lies within a degree or so of the mean over the hours.
"""

from __future__ import annotations

from collections.abc import Sequence

from watercli.run.matching import Match, conversion, converts, modalities_of
from watercli.run.series_statistics import with_series
from watercli.store import Store

MEAN, HIGHEST, LOWEST = "mean temperature", "highest temperature", "lowest temperature"
STANDARD_NAME = "air_temperature"
"""By which it is found; a name of the quantity in `watercli.hydrology.names`."""


def with_mean_temperature(store: Store, matches: Sequence[Match]) -> Store | None:
    """Return the store with a mean temperature if a model lacks that alone; None if there is nothing to make it of.

    Parameters
    ----------
    store
        The store, of which one series must be a highest and one a lowest temperature.
    matches
        Where the model's modalities were found in it.
    """
    lacking = [found.needed for found in matches if found.given is None and found.needed.quantity == MEAN]
    if len(lacking) != 1 or lacking[0].kind != "series":
        return None
    known = [given for given in modalities_of(store) if given.kind == "series"]
    known = [given for given in known if converts(given, lacking[0], has_area=False)]
    ends = [[given.name for given in known if given.quantity == quantity] for quantity in (HIGHEST, LOWEST)]
    if any(len(names) != 1 for names in ends):
        return None
    (highest,), (lowest,) = ends
    modality, name = store.config.modalities[highest], f"mean of {highest} and {lowest}"
    scale, offset = conversion(store.config.modalities[lowest].units, modality.units)
    data = store.dataset[highest]
    mean = (data + store.dataset[lowest] * scale + offset) / 2
    mean = mean.astype(data.dtype).rename(name)
    kept = {key: data.attrs[key] for key in ("units", "day") if key in data.attrs}
    mean.attrs = kept | {"long_name": name, "standard_name": STANDARD_NAME}
    return with_series(store, mean, modality.model_copy(update={"source": (), "forecast": None}))
