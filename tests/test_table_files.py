"""CSV and Parquet files read the same through each library."""

import gzip
import importlib.util

import narwhals as nw
import pytest

from lightfm_fast import table_files
from lightfm_fast.table_files import read_table, write_table

CSV = 'id,name,price,"odd, name"\n007,"two\nlines, ""quoted""",1.5,NA\n10,,,x\n,z,3,y\n'
EXPECTED = {
    "id": ["007", "10", None],
    "name": ['two\nlines, "quoted"', None, "z"],
    "price": [1.5, None, 3.0],
    "odd, name": ["NA", "x", "y"],
}
FIND_SPEC = importlib.util.find_spec


@pytest.fixture
def only(monkeypatch):
    """Hide all libraries of tables but one."""

    def hide(*libraries):
        others = {"pyarrow", "polars", "pandas"}.difference(libraries)
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *rest: None if name in others else FIND_SPEC(name, *rest)
        )

    return hide


def values(column):
    """What the cells hold, whatever stands for missing ones."""
    return [
        None if cell is None or cell != cell else cell for cell in nw.from_native(column, series_only=True).to_list()
    ]


@pytest.mark.parametrize("library", ["pyarrow", "polars", "pandas"])
@pytest.mark.parametrize("ending", [".csv", ".CSV", ".csv.gz", ".tsv", ".tsv.gz"])
def test_csv(tmp_path, only, library, ending):
    only(library)
    content = (CSV if "csv" in ending.lower() else "id\tname\tprice\n007\ta,b\t1.5\n").encode()
    path = tmp_path / f"table{ending}"
    path.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    expected = EXPECTED if "csv" in ending.lower() else {"id": ["007"], "name": ["a,b"], "price": [1.5]}
    found = read_table(path, list(expected), text=["id", "nothing"])
    assert {name: values(column) for name, column in found.items()} == expected
    assert type(found["id"]).__module__.startswith(library)
    assert list(read_table(path, ["price"])) == ["price"]


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
@pytest.mark.parametrize("ending", [".parquet", ".pq"])
def test_parquet_there_and_back(tmp_path, only, library, ending):
    only(library)
    path = tmp_path / f"table{ending}"
    columns = {"id": [7, 8], "name": ["a", None], "score": [0.5, -1.0]}
    write_table(path, columns)
    found = read_table(path, ["score", "id", "name"], text=["id"])
    assert {name: values(column) for name, column in found.items()} == columns
    assert list(found) == ["score", "id", "name"]


@pytest.mark.parametrize(("ending", "delimiter"), [(".csv", ","), (".tsv", "\t")])
def test_csv_is_written(tmp_path, ending, delimiter):
    path = tmp_path / f"table{ending}"
    write_table(path, {"id": ["a,b", 'c"'], "rank": [1, 2]})
    assert path.read_text() == {",": 'id,rank\n"a,b",1\n"c""",2\n', "\t": 'id\trank\na,b\t1\n"c"""\t2\n'}[delimiter]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_what_cannot_be_read_is_named(tmp_path, only, library, ending):
    only(library)
    path = tmp_path / f"table{ending}"
    with pytest.raises(FileNotFoundError, match=rf"there is no file .*table\{ending}"):
        read_table(path, ["id"])
    path.write_bytes(b"id,name\n1,2\n3,4,5,6\n" if ending == ".csv" else b"no such thing")
    with pytest.raises(ValueError, match=rf"table\{ending} cannot be read: "):
        read_table(path, ["id"])
    path.unlink()
    write_table(path, {"user": [1], "item": [2]})
    with pytest.raises(ValueError, match="has no column 'id'; it has 'user', 'item'"):
        read_table(path, ["user", "id"])


def test_names_that_say_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"table.xlsx: expected the name of a file to end in one of .csv, "):
        read_table(tmp_path / "table.xlsx", ["id"])
    with pytest.raises(ValueError, match="compressed CSV is read but not written"):
        write_table(tmp_path / "table.csv.gz", {"id": [1]})
    with pytest.raises(ValueError, match=r"table.parquet cannot be written: "):
        write_table(tmp_path / "table.parquet", {"id": [1, "a"]})


@pytest.mark.parametrize(("ending", "installed"), [(".csv", ()), (".parquet", ("pandas",))])
def test_no_library_names_the_extra(tmp_path, only, monkeypatch, ending, installed):
    only(*installed)
    monkeypatch.setattr(table_files, "import_optional", table_files.import_optional)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / f"table{ending}").touch()
    with pytest.raises(ImportError, match=r"lightfm_fast\[cli\]"):
        read_table(tmp_path / f"table{ending}", ["id"])
