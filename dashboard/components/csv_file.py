"""CSV files for the download buttons of the pages."""

from dashboard.reports.csv_file import build_csv

__all__ = ["build_csv"]
