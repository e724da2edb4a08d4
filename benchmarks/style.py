"""How the benchmarks' pictures look."""

from typing import Any

SETTINGS: dict[Any, Any] = {  # of matplotlib
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": "#a9b0ba",
    "grid.color": "#e4e7eb",
    "xtick.color": "#636b76",
    "ytick.color": "#636b76",
}
