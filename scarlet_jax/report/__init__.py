"""The report of a run: one self-contained HTML page with its figures."""

from scarlet_jax.report.contents import Model, Ranking, Report, Search
from scarlet_jax.report.page import write_report

__all__ = ["Model", "Ranking", "Report", "Search", "write_report"]
