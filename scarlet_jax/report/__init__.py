"""The report of a run: one self-contained HTML page with its figures."""

from scarlet_jax.report.contents import Model, Report
from scarlet_jax.report.page import write_report

__all__ = ["Model", "Report", "write_report"]
