"""Each library reads the same values from a file."""

import bz2
import csv
import gzip
import importlib.util
import io
import json
import lzma
import re
import tempfile
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from unittest.mock import patch

import narwhals as nw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightfm_fast.table_files import CsvFormat, kinds, read_table, write_csv, write_table
from lightfm_fast.table_files.writer import not_a_formula

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
feather = pytest.importorskip("pyarrow.feather")

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
    """Hide all data frame libraries except one."""

    def hide(*libraries):
        others = {"pyarrow", "polars", "pandas"}.difference(libraries)
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *rest: None if name in others else FIND_SPEC(name, *rest)
        )

    return hide


def values(column):
    """Return the cells' values, with None for missing cells of any library."""
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
    with pytest.raises(ValueError, match=r"to write to end in one of \.csv, \.tsv, \.parquet, \.pq"):
        write_table(tmp_path / "table.csv.gz", {"id": [1]})
    with pytest.raises(ValueError, match=r"table.parquet cannot be written: "):
        write_table(tmp_path / "table.parquet", {"id": [1, "a"]})


@pytest.mark.parametrize(("ending", "installed"), [(".csv", ()), (".parquet", ("pandas",))])
def test_no_library_names_the_extra(tmp_path, only, monkeypatch, ending, installed):
    only(*installed)
    monkeypatch.setattr(kinds, "import_optional", kinds.import_optional)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / f"table{ending}").touch()
    with pytest.raises(ImportError, match=r"lightfm_fast\[cli\]"):
        read_table(tmp_path / f"table{ending}", ["id"])


# ----------------------------------------------------------------------------------------- one meaning in all libraries

NASTY = {  # a file's content, and its rows below the header or a part of the error
    "plain": (b"a,b\n1,x\n2,y\n", [("1", "x"), ("2", "y")]),
    "no last line end": (b"a,b\n1,x", [("1", "x")]),
    "CR": (b"a,b\r1,x\r2,y\r", [("1", "x"), ("2", "y")]),
    "CRLF": (b"a,b\r\n1,x\r\n\r\n2,y\r\n", [("1", "x"), ("2", "y")]),
    "mixed line ends": (b"a,b\r\n1,x\r2,y\n3,z", [("1", "x"), ("2", "y"), ("3", "z")]),
    "blank lines": (b"\n\na,b\n\n1,x\n\n\n2,y\n\n", [("1", "x"), ("2", "y")]),
    "a BOM": (b"\xef\xbb\xbfa,b\n1,x\n", [("1", "x")]),
    "a BOM and quotes": (b'\xef\xbb\xbf"a","b"\n"1","x"\n', [("1", "x")]),
    "quotes": (b'a,b\n1,"x, ""y""\nz"\n"2",""\n', [("1", 'x, "y"\nz'), ("2", None)]),
    "only quotes": (b'a,b\n1,""""""\n', [("1", '""')]),
    "quotes in a cell": (b'a,b\n1,5" disk\n2,6" disk\n', [("1", '5" disk'), ("2", '6" disk')]),
    "spaces": (b"a,b\n 1 , x y \n", [(" 1 ", " x y ")]),
    "empty cells": (b"a,b\n,x\n2,\n", [(None, "x"), ("2", None)]),
    "NA": (b"a,b\nNA,x\n2,null\n", [("NA", "x"), ("2", "null")]),
    "no rows": (b"a,b\n", []),
    "another column twice": (b"c,a,c,b\n9,1,8,x\n", [("1", "x")]),
    "text beyond ASCII": ("a,b\n1,Łódź\n".encode(), [("1", "Łódź")]),
    "a long cell": (b"a,b\n1," + b"x" * 200_000 + b'\n2,"y"\n', [("1", "x" * 200_000), ("2", "y")]),
    "a longer one": (b"a,b\n1," + b"x" * 3_000_000 + b"\n", [("1", "x" * 3_000_000)]),
    "nothing": (b"", "it is empty"),
    "line ends alone": (b"\n\r\n", "it is empty"),
    "an unclosed quote": (b'a,b\n1,x\n2,"y\n3,z\n', "line 3 opens a quote that is never closed"),
    "a quote closed elsewhere": (b'a,b\n1,"x\n2,y\n3,"z\n4,w\n', "line 2 opens a quote that is closed inside a cell"),
    "text after a quote": (b'a,b\n1,"x"y\n', "line 2 opens a quote that is closed inside a cell"),
    "cells too few": (b"a,b\n1,x\n2\n", "line 3 has 1 cells, the first line 2"),
    "cells too many": (b"a,b\n1,x\n\n2,y,z\n", "line 4 has 3 cells, the first line 2"),
    "a column twice": (b"a,b,a\n1,x,2\n", "has 2 columns 'a': name them apart"),
    "a column missing": (b"a,c\n1,x\n", "has no column 'b'; it has 'a', 'c'"),
    "another delimiter": (b"a;b\n1;x\n", "'a;b', which looks like several: --delimiter ';'"),
    "tabs": (b"a\tb\n1\tx\n", "--delimiter tab"),
    "another encoding": ("a,b\n1,é\n".encode("latin-1"), "is not utf-8: say --encoding, such as latin-1"),
    "bytes in another column": (b"a,b,c\n1,x,\xff\n", "is not utf-8"),
    "UTF-16": ("a,b\n1,x\n".encode("utf-16"), "is not utf-8"),
    "no CSV at all": (b"PK\x03\x04\x14\x06", "has no column 'a'"),
}


@pytest.mark.parametrize("library", ["pyarrow", "polars", "pandas"])
@pytest.mark.parametrize("case", NASTY)
def test_a_file_has_one_meaning_with_every_library(tmp_path, only, library, case):
    only(library)
    content, expected = NASTY[case]
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=re.escape(expected)) as caught:
            read_table(path, ["a", "b"], text=["a", "b"])
        assert str(path) in str(caught.value)
        return
    found = read_table(path, ["a", "b"], text=["a", "b"])
    assert list(zip(*map(values, found.values()), strict=True)) == expected


CELLS = ["1", "", '"', '""', "a", ",", "\n", "\r", "\r\n", " ", '"a,\n"', '5"', "é", "\t"]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(CELLS), max_size=14).map("".join))
def test_libraries_agree_on_any_text(text):
    content = f"a,b\n{text}\n".encode()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes(content)
        for library in ("pyarrow", "polars", "pandas"):
            with patch.object(kinds, "importable", library.__eq__):
                try:
                    found.append([values(column) for column in read_table(path, ["a", "b"], ["a", "b"]).values()])
                except ValueError as error:
                    found.append(str(error))
    assert found[0] == found[1] == found[2]
    reference = []
    try:
        rows = [row for row in csv.reader(io.StringIO(content.decode(), newline=""), strict=True) if row]
        reference = [[cell or None for cell in column] for column in zip(*rows[1:], strict=True)] or [[], []]
        assert found[0] == reference or len(reference) != 2
    except (csv.Error, ValueError):
        assert isinstance(found[0], str)


NUMBERS = {
    "whole": (["3", "-4", "+5", " 6 "], [3, -4, 5, 6]),
    "real": (["3", "-4.5", ".5", "1e3"], [3.0, -4.5, 0.5, 1000.0]),
    "missing": (["3", "", "5"], [3, None, 5]),
    "none": (["", ""], [None, None]),
    "enormous": (["36893488147419103232", "1"], [2.0**65, 1]),
    "truth": (["true", "False"], [True, False]),
    "days": (["2024-02-29", "", "2024-03-01 10:30"], [datetime(2024, 2, 29), None, datetime(2024, 3, 1, 10, 30)]),
    "times": (
        ["2024-02-29T10:00:00.25", "2024-02-29 11"],
        [datetime(2024, 2, 29, 10, 0, 0, 250000), datetime(2024, 2, 29, 11)],
    ),
    "zones": (
        ["2024-02-29T23:30Z", "2024-02-29 23:30-01:30", "2024-02-29T23:30:00+02"],
        [datetime(2024, 2, 29, 23, 30), datetime(2024, 3, 1, 1), datetime(2024, 2, 29, 21, 30)],
    ),
    "an impossible day": (["2024-02-30"], "has '2024-02-30' in data row 1, expected a number or a date"),
    "another date": (["05.06.2025"], "has '05.06.2025' in data row 1, expected a number or a date such as 2025-06-30"),
    "a word": (["1", "2", "x", "3"], "has 'x' in data row 3, expected a number or a date"),
    "a word that stands for nothing": (
        ["1", "n/a"],
        "has 'n/a' in data row 2, expected a number or a date: if it stands for what is missing, say --missing n/a",
    ),
    "a decimal comma": (["3,5"], "say --decimal ,"),
    "separators": (["1_000"], "has '1_000' in data row 1"),
    "hexadecimal": (["0x10"], "has '0x10'"),
    "not finite": (["inf", "nan"], "has 'inf'"),
    "other digits": (["٣"], "has '٣'"),
    "a date among numbers": (["1", "2024-01-01"], "has '2024-01-01' in data row 2"),
    "a number among dates": (["2024-01-01", "5"], "has '5' in data row 2"),
    "zones here and there": (["2024-01-01 10:00Z", "2024-01-01 10:00"], "mixes dates that have a zone"),
    "a long word": (["x" * 1000], "…' in data row 1"),
}


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".arrow", ".jsonl"])
@pytest.mark.parametrize("library", ["pyarrow", "polars", "pandas"])
@pytest.mark.parametrize("case", NUMBERS)
def test_cells_are_numbers_or_dates_with_every_library(tmp_path, only, library, case, ending):
    if library == "pandas" and ending in (".parquet", ".arrow"):
        pytest.skip("pandas does not read them by itself")
    cells, expected = NUMBERS[case]
    path = write_texts(tmp_path / f"table{ending}", cells)
    only(library)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=re.escape(expected)) as caught:
            read_table(path, ["a"], times=["a"])
        assert f"column 'a' of {path} " in str(caught.value)
        if ending == ".csv":
            assert values(read_table(path, ["a"])["a"]) == cells
        return
    found = read_table(path, ["a"], times=["a"])["a"]
    assert values(found) == expected
    if ending == ".csv":
        assert values(read_table(path, ["a"])["a"]) == expected
        assert values(read_table(path, ["a"], text=["a"])["a"]) == [cell or None for cell in cells]
    if not any(isinstance(value, datetime) for value in expected):
        assert values(read_table(path, ["a"], numbers=["a"])["a"]) == expected
    else:
        with pytest.raises(ValueError, match=r"data row 1, expected a number$"):
            read_table(path, ["a"], numbers=["a"])


def write_texts(path, cells):
    """Write a column of text beside a column of another type."""
    columns = {"a": [cell or None for cell in cells], "b": [1] * len(cells)}
    if path.suffix == ".csv":
        write_table(path, columns)
    elif path.suffix == ".jsonl":
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        parquet.write_table(pa.table({"a": pa.array(columns["a"], pa.string()), "b": columns["b"]}), path)
    else:
        feather.write_feather(pa.table({"a": pa.array(columns["a"], pa.string()), "b": columns["b"]}), path)
    return path


@pytest.mark.parametrize("library", ["pyarrow", "polars", "pandas"])
def test_formats_of_csv(tmp_path, only, library):
    only(library)
    path = tmp_path / "table.csv"
    path.write_bytes("a;b;c\n1,5;é;NA\n-2;n/a;3\n".encode("latin-1"))
    how = CsvFormat(";", "latin-1", ",", ("NA", "n/a"))
    found = read_table(path, ["a", "b", "c"], text=["b"], csv_format=how)
    assert {name: values(column) for name, column in found.items()} == {
        "a": [1.5, -2.0],
        "b": ["é", None],
        "c": [None, 3.0],
    }
    path.write_text("a\n1.5\n")
    with pytest.raises(ValueError, match="--decimal says that a comma separates decimals"):
        read_table(path, ["a"], numbers=["a"], csv_format=CsvFormat(decimal=","))
    with pytest.raises(ValueError, match="unknown encoding"):
        read_table(path, ["a"], csv_format=CsvFormat(encoding="klingon"))
    for delimiter in ("::", '"', "\n"):
        with pytest.raises(ValueError, match="is not one character that separates cells"):
            read_table(path, ["a"], csv_format=CsvFormat(delimiter))


@pytest.mark.parametrize("library", ["pyarrow", "polars", "pandas"])
@pytest.mark.parametrize("compression", ["gz", "GZ", "bz2", "xz", "zst"])
@pytest.mark.parametrize("ending", [".csv", ".CSV", ".jsonl"])
def test_compressed_files(tmp_path, only, library, compression, ending):
    content = b"id,b\n007,1\n" if ending.lower() == ".csv" else b'{"id": "007", "b": 1}\n'
    path = tmp_path / f"table{ending}.{compression}"
    if compression == "zst":
        with pa.output_stream(path, compression="zstd") as file:
            file.write(content)
    else:
        module = {"gz": gzip, "bz2": bz2, "xz": lzma}[compression.lower()]
        path.write_bytes(module.compress(content))
    if compression != "zst":
        only(library)
    found = read_table(path, ["id", "b"], text=["id"])
    assert {name: values(column) for name, column in found.items()} == {"id": ["007"], "b": [1]}
    whole = path.read_bytes()
    for damaged in (whole[:-6], b"no such thing"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="cannot be read: "):
            read_table(path, ["id"])


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_text_that_leads_out_of_an_arrow_file_is_refused(tmp_path, only, library):
    path = tmp_path / "table.arrow"
    feather.write_feather(pa.table({"id": ["abc", "de", "f"]}), path, compression="uncompressed")
    content = path.read_bytes()
    ends = content.index(pa.array([0, 3, 5, 6], pa.int32()).buffers()[1].to_pybytes()[:16])
    outside = pa.array([1 << 30, (1 << 30) + 9], pa.int32()).buffers()[1].to_pybytes()[:8]
    path.write_bytes(content[: ends + 4] + outside + content[ends + 12 :])
    only(library)
    with pytest.raises(ValueError, match="cannot be read: "):
        values(read_table(path, ["id"])["id"])


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
@pytest.mark.parametrize("ending", [".arrow", ".feather", ".parquet"])
@pytest.mark.parametrize("as_stream", [True, False])
def test_arrow_and_decimals(tmp_path, only, library, ending, as_stream):
    table = pa.table(
        {"id": [1, 2], "x": pa.array([Decimal("1.50"), None]), "word": pa.array(["2", "3"]).dictionary_encode()}
    )
    path = tmp_path / f"table{ending}"
    if ending == ".parquet":
        parquet.write_table(table, path)
    elif as_stream:
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    else:
        feather.write_feather(table, path)
    only(library)
    found = read_table(path, ["x", "id", "word"], numbers=["x", "word"])
    assert {name: values(column) for name, column in found.items()} == {"x": [1.5, None], "id": [1, 2], "word": [2, 3]}
    assert nw.from_native(found["x"], series_only=True).dtype == nw.Float64
    path.write_bytes(b"ARROW1 and no more")
    with pytest.raises(ValueError, match="cannot be read: "):
        read_table(path, ["id"])


@pytest.mark.parametrize("library", ["pyarrow", "polars", "pandas"])
def test_json_lines(tmp_path, only, library):
    only(library)
    path = tmp_path / "table.jsonl"
    path.write_text('{"id": 7, "tags": ["a", "b"], "x": null}\n\n{"id": 8, "x": 2.5}\n')
    found = read_table(path, ["id", "tags", "x"], numbers=["x"])
    assert values(found["id"]) == [7, 8]
    assert values(found["x"]) == [None, 2.5]
    assert [
        cell if cell is None else list(cell) for cell in nw.from_native(found["tags"], series_only=True).to_list()
    ] == [["a", "b"], None]
    for text, message in {
        "[1]": "line 1 is list, expected an object",
        '{"id": 1}\n{"id"': "line 2 is no JSON",
        "[" * 100_000: "line 1 is no JSON",
        '{"x": {}}': "column 'x' of",
    }.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_table(path, ["x"] if "x" in text else ["id"], numbers=["x"])


def test_what_does_not_import_is_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(kinds, "importable", lambda name: name == "polars")
    (tmp_path / "table.csv").write_text("a\n1\n")
    assert type(read_table(tmp_path / "table.csv", ["a"])["a"]).__module__.startswith("polars")


def test_text_that_spreadsheets_run():
    cells = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "a=b", "", -1.5, 3, None]
    assert [not_a_formula(cell) for cell in cells] == [*(f"'{cell}" for cell in cells[:7]), *cells[7:]]
    file = io.StringIO()
    write_csv(file, {"=id": ["=x", "y"], "score": [-1.5, 2]}, change=not_a_formula)
    assert file.getvalue() == "'=id,score\n'=x,-1.5\ny,2\n"
