"""Names of gauges that a page's script or a figure would read as something else."""

from __future__ import annotations

import json

import matplotlib as mpl
from matplotlib.figure import Figure

from watercli.evaluation.report.explorer_data import as_script
from watercli.evaluation.report.figures import label_plainly
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


def test_logarithmic_axes_have_plain_numbers() -> None:
    """Formulas are off, as a gauge's name may look like one: the powers of ten of matplotlib would be shown as text."""
    with mpl.rc_context(STYLE):
        axis = Figure().subplots()
        axis.set(xscale="log", xlim=(0.05, 200))
        label_plainly(axis.xaxis)
        axis.figure.draw_without_rendering()
        labels = [label.get_text() for label in axis.get_xticklabels()]
    assert {"0.1", "1", "10", "100"} <= set(labels)
    assert not any("$" in label for label in labels)
