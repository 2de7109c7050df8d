"""What a file declares as missing: by the CF conventions (2.5.1), and by habits that come near to them.

``_FillValue``, ``missing_value`` (of another type or precision, as a list, as text) and the default fill values of
packed netCDF become one list, which xarray masks; ``valid_min``, ``valid_max`` and ``valid_range`` are kept by `valid`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import netCDF4
import numpy as np
import xarray as xr
from numpy.typing import NDArray

Say = Callable[[str, str], None]

MARKS = frozenset(
    (
        "_fillvalue",
        "missing_value",
        "fillvalue",
        "fill_value",
        "missingvalue",
        "nodata",
        "no_data",
        "nodata_value",
        "no_data_value",
    )
)
"""Attributes that hold marks, in small letters: CF knows the first two alone."""
FILL = 1e19
"""From here on a number is a fill value (1e20, -1e30) that the file does not declare."""
NEAR = 1e-4
"""Share by which a value may differ from a great negative mark: -9999.0 where -9999.9 is declared."""
LEAST_NEAR = -900.0
"""Marks below this are far from any value of weather or rivers, so that what is near them is missing too."""
SAME = 1e-6
"""Share by which a value may differ from a mark that the recipe names: -999.9 is no number of single precision."""
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def declared(raw: xr.Dataset) -> xr.Dataset:
    """Return a dataset that is not decoded, whose variables have their marks as xarray understands them."""
    variables = {name: _plain(variable) for name, variable in raw.variables.items()}
    return xr.Dataset(variables, attrs=raw.attrs).set_coords(list(raw.coords)) if variables else raw


def _plain(variable: xr.Variable) -> xr.Variable:
    """Return a variable whose marks are one list of its own type, and whose packing is in numbers."""
    if variable.dtype.kind not in "iuf" or not variable.ndim or "_Unsigned" in variable.attrs:
        return variable
    attributes = dict(variable.attrs)
    for name in ("scale_factor", "add_offset"):
        if isinstance(attributes.get(name), str):
            attributes[name] = float(numbers(attributes[name])[0])
    given = [attributes.pop(name) for name in list(attributes) if str(name).lower() in MARKS]
    marks = {
        mark for value in given for number in numbers(value) for mark in _packed(number, variable.dtype, attributes)
    }
    default = netCDF4.default_fillvals.get(variable.dtype.str[1:])
    if not given and default is not None and variable.dtype.kind in "iu" and "scale_factor" in attributes:
        marks = {default}  # as the netCDF library writes where nothing was written
    if marks:
        attributes["missing_value"] = np.array(sorted(marks), dtype=variable.dtype)
    plain = variable.copy(deep=False)
    plain.attrs = attributes
    return plain


def numbers(value: Any) -> NDArray[np.float64]:
    """Return the numbers of an attribute: one, a list, or text that holds some; NaN counts as none."""
    if isinstance(value, str):
        value = [float(part) for part in re.split(r"[\s,;]+", value) if NUMBER.fullmatch(part)]
    found = np.atleast_1d(np.asarray(value, dtype=np.float64)).ravel()
    return found[~np.isnan(found)]


def _packed(mark: float, dtype: np.dtype[Any], attributes: dict[Any, Any]) -> list[Any]:
    """Return a mark as the variable's type holds it; one that it cannot hold is in unpacked units, or none."""
    if dtype.kind == "f":
        return [dtype.type(mark)]
    limits = np.iinfo(dtype)
    unpacked = (mark - float(attributes.get("add_offset", 0))) / float(attributes.get("scale_factor", 1))
    for number in (mark, round(unpacked) if np.isfinite(unpacked) else np.inf):
        if number == np.round(number) and limits.min <= number <= limits.max:
            return [dtype.type(number)]
    return []


def valid(data: xr.DataArray, where: str, say: Say, marks: Sequence[str] = ()) -> xr.DataArray:
    """Return decoded data, lazily, without what is missing besides what xarray masks.

    That is what lies outside the file's valid range, near one of its marks or beyond `FILL`, and ``marks``, which the
    recipe names, in unpacked units; ``say(topic, message)`` tells of a valid range.
    """
    limits = _limits(data)
    if data.dtype.kind not in "iuf" or (data.dtype.kind in "iu" and limits is None and not marks):
        return data
    if limits is not None:
        shown = " to ".join(f"{limit:.6g}" for limit in limits)
        say("valid range", f"{where}: values outside its valid range, {shown}, are missing")
    bands = [_around(number, SAME) for mark in marks for number in numbers(mark)]
    if "scale_factor" not in data.encoding:
        own = numbers(data.encoding.get("missing_value", ()))
        bands += [_around(number, NEAR) for number in own if number <= LEAST_NEAR]

    def masked(values: NDArray[Any]) -> NDArray[np.floating]:
        kept = np.abs(values) < FILL
        if limits is not None:
            kept &= (values >= limits[0]) & (values <= limits[1])
        for least, greatest in bands:
            kept &= (values < least) | (values > greatest)
        return np.where(kept, values, dtype.type(np.nan))

    dtype = data.dtype if data.dtype.kind == "f" else np.dtype(np.float64)
    plain: xr.DataArray = xr.apply_ufunc(masked, data, dask="parallelized", output_dtypes=[dtype], keep_attrs=True)
    plain.encoding = data.encoding
    return plain


def _around(number: float, share: float) -> tuple[float, float]:
    return number - share * abs(number), number + share * abs(number)


def _limits(data: xr.DataArray) -> tuple[float, float] | None:
    """Return the least and greatest valid value in unpacked units; None where the file states none.

    A range of the packed type is in packed units, one of another type is not (netCDF User's Guide, appendix A).
    """
    if "_Unsigned" in data.encoding:
        return None
    least, greatest = -np.inf, np.inf
    for name, count in (("valid_min", 1), ("valid_max", 1), ("valid_range", 2)):
        ends = numbers(data.attrs.get(name, ()))
        if len(ends) != count:
            continue
        ends, room = _unpacked(ends, data.attrs[name], data)
        least = max(least, ends[0] - room) if name != "valid_max" else least
        greatest = min(greatest, ends[-1] + room) if name != "valid_min" else greatest
    return (least, greatest) if least < greatest and np.isfinite([least, greatest]).any() else None


def _unpacked(ends: NDArray[np.float64], value: Any, data: xr.DataArray) -> tuple[NDArray[np.float64], float]:
    """Return limits in unpacked units, ascending, and the room that rounding needs beyond them."""
    scale, offset = (float(data.encoding.get(name, usual)) for name, usual in (("scale_factor", 1), ("add_offset", 0)))
    raw = np.dtype(data.encoding.get("dtype", data.dtype))
    if not isinstance(value, str) and (np.asarray(value).dtype.kind == "f") == (raw.kind == "f"):
        ends = ends * scale + offset
    room = abs(scale) / 2 if raw.kind in "iu" else 1e-6 * float(np.abs(ends).max())
    return np.sort(ends), room
