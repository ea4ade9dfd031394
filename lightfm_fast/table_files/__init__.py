"""Read and write tables in files: CSV, JSON lines, Parquet and Arrow."""

from .kinds import CsvFormat
from .reader import MissingColumnError, read_table
from .writer import write_csv, write_csv_file, write_table

__all__ = ["CsvFormat", "MissingColumnError", "read_table", "write_csv", "write_csv_file", "write_table"]
