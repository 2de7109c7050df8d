"""Names of gauges that a page's script or a figure would read as something else."""

from __future__ import annotations

import json

import matplotlib as mpl
from matplotlib.figure import Figure

from watercli.evaluation.report.explorer_data import as_script
from watercli.evaluation.report.svg import STYLE


def test_a_script_holds_them() -> None:
    names = ["</script><b>", "<!-- <script>", "a < b"]
    text = as_script({"names": names})
    assert "<" not in text
    assert json.loads(text) == {"names": names}


def test_a_figure_holds_dollar_signs() -> None:
    with mpl.rc_context(STYLE):
        figure = Figure()
        figure.text(0.5, 0.5, r"$\frac{1$ and $")
        figure.draw_without_rendering()
