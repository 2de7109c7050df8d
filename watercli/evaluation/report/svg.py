"""Turns a matplotlib figure into HTML that needs nothing else: inline SVG, or a PNG where that is smaller."""

from __future__ import annotations

import base64
import html
import io
import re
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

PNG_DPI = 150
LARGE = 100_000
"""Characters of an SVG beyond which a PNG is tried."""
TO_GAUGE = "#gauge="
"""What the links of a picture to a catchment begin with; the page's script follows them."""
STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.8,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a gauge's name may hold two dollar signs
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Picture:
    """A figure of the report."""

    body: str
    """HTML: ``<svg>`` with an ``aria-label``, or ``<img>`` with an ``alt``."""
    caption: str
    wide: bool = False
    """Scrolls sideways on a narrow screen instead of becoming too small to read."""


def picture(figure: Figure, *, alt: str, caption: str, name: str, wide: bool = False, linked: bool = False) -> Picture:
    """Return the picture of a figure.

    ``name`` keeps the identifiers of several SVGs on a page apart; one with links (``linked``) is never made a PNG.
    """
    drawn = _svg(figure, alt, name)
    if len(drawn) > LARGE and not linked:
        drawn = min(drawn, _png(figure, alt), key=len)
    return Picture(drawn, caption, wide)


def _svg(figure: Figure, alt: str, name: str) -> str:
    buffer = io.StringIO()
    without = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=without)
    drawn = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    drawn = drawn[drawn.index("<svg") :]
    # Coordinates finer than a hundredth of a point are invisible, and most of the page.
    drawn = re.sub(r"(\d+\.\d\d)\d+", r"\1", drawn)
    drawn = re.sub(rf'(\bid="|url\(#|href="#(?!{TO_GAUGE[1:]}))', rf"\g<1>{name}-", drawn)
    # Mouse and finger alone: by keyboard, the list of catchments is the shorter way.
    drawn = re.sub(rf'<a xlink:href="({TO_GAUGE}[^"]*)"[^>]*>', r'<a xlink:href="\1" tabindex="-1">', drawn)
    width, height = (72 * inches for inches in figure.get_size_inches())
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{html.escape(alt)}">'
    )
    return re.sub(r"<svg[^>]*>", lambda _: opening, drawn, count=1)


def _png(figure: Figure, alt: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PNG_DPI)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{encoded}">'
