"""The Python interface: what ``import watercli as wc`` offers, one function for each command.

Paths are strings or path-like, dates are strings, dates or timestamps, gauges are ids, results are xarray datasets.
"""

from watercli.log import configure_if_silent

configure_if_silent()
