"""Reports of measurements: an HTML page of one file, or a figure."""

from .writing import write_report

__all__ = ["write_report"]
