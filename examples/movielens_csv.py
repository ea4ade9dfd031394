"""Write MovieLens 100K to ratings.csv, users.csv and films.csv in this folder, for first_hour.py."""

from lightfm_fast.datasets import fetch_movielens_tables
from lightfm_fast.table_files import write_table

NAMES = {"user": "user_id", "film": "item_id"}

for name, table in fetch_movielens_tables("100k").items():
    write_table(f"{name}.csv", {NAMES.get(column, column): values for column, values in table.items()})
