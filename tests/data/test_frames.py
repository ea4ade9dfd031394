"""Datasets from frames of any library, against plain Python row by row."""

import re
import unicodedata
from uuid import UUID

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from lightfm_fast import _core
from lightfm_fast.data import Dataset, UnknownIdsError, id_pairs, numbering
from lightfm_fast.data.id_pairs import sort_pairs
from lightfm_fast.data.ids import closest_id
from lightfm_fast.data.numbering import factorize, match_ids

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
nw = pytest.importorskip("narwhals")

# Texts of lengths at which the kernel's method changes, with bytes that are no ASCII, zeros, and common beginnings.
TEXTS = [
    "",
    "a",
    "ab",
    "abc",
    "abcd",
    "abcdefg",
    "abcdefgh",
    "abcdefghi",
    "x" * 12,
    "x" * 13,
    "x" * 16,
    "x" * 17,
    "é\0€",
]
SERIES = {
    "pyarrow string": lambda values: pa.chunked_array([pa.array(values, pa.string())]),
    "pyarrow large string": lambda values: pa.chunked_array([pa.array(values, pa.large_string())]),
    "pyarrow view": lambda values: pa.chunked_array([pa.array(values, pa.string_view())]),
    "pyarrow chunks": lambda values: pa.chunked_array(
        [pa.array([], pa.string()), *(pa.array([None, value, None], pa.string())[1:2] for value in values)], pa.string()
    ),
    "pyarrow dictionaries": lambda values: pa.chunked_array(
        [pa.array([value], pa.string()).dictionary_encode() for value in values],
        pa.dictionary(pa.int32(), pa.string()),
    ),
    "polars": lambda values: pl.Series(values, dtype=pl.String),
    "polars chunks": lambda values: pl.concat(
        [pl.Series([value], dtype=pl.String) for value in ["no", *values]], rechunk=False
    )[1:],
    "polars categorical": lambda values: pl.Series(values, dtype=pl.String).cast(pl.Categorical),
    "polars enum": lambda values: pl.Series(
        values, dtype=pl.Enum([*"zyx", *dict.fromkeys(value for value in values if value is not None)])
    ),
    "pandas str": lambda values: pd.Series(values, dtype="str"),
    "pandas object": lambda values: pd.Series(values, dtype=object),
    "pandas arrow": lambda values: pd.Series(values, dtype=pd.ArrowDtype(pa.string())),
    "pandas categorical": lambda values: pd.Series(values, dtype="str").astype("category"),
    "list": list,
    "array": lambda values: np.array(values, dtype=object),
}


def one_at_a_time(values):
    numbers = {}
    return [-1 if value is None else numbers.setdefault(value, len(numbers)) for value in values], list(numbers)


def as_column(values):
    return nw.from_native(values, series_only=True, pass_through=True)


@pytest.mark.parametrize("library", SERIES)
@pytest.mark.parametrize("missing", [False, True])
def test_text_is_numbered_as_first_seen(library, missing):
    rng = np.random.default_rng(3)
    values = [TEXTS[place] for place in rng.integers(0, len(TEXTS), 150)]
    if missing:
        values = [None if place % 7 == 2 else value for place, value in enumerate(values)]
    codes, distinct = factorize(as_column(SERIES[library](values)))
    assert (codes.dtype, codes.tolist(), distinct) == (np.int32, *one_at_a_time(values))


@given(st.lists(st.none() | st.text(max_size=20) | st.sampled_from(TEXTS), min_size=1, max_size=80))
def test_any_text_is_numbered_as_first_seen(values):
    for library in ("pyarrow string", "pyarrow view", "pyarrow chunks", "polars"):
        codes, distinct = factorize(as_column(SERIES[library](values)))
        assert (codes.tolist(), distinct) == one_at_a_time(values)


def test_many_texts_outgrow_the_table():
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 60_000, 200_000)
    codes, distinct = factorize(as_column(pa.chunked_array([pa.array([f"id-{number}" for number in drawn])])))
    _, first, inverse = np.unique(drawn, return_index=True, return_inverse=True)
    assert [f"id-{drawn[row]}" for row in np.sort(first)] == distinct
    np.testing.assert_array_equal(codes, np.argsort(np.argsort(first))[inverse])


def test_text_that_is_no_unicode_is_refused():
    frame = pd.DataFrame({"user_id": pd.Series(["a", "\ud800"], dtype=object), "item_id": [1, 2]})
    with pytest.raises(
        ValueError, match="column 'user_id' of interactions holds text that is no Unicode: .*surrogates"
    ):
        Dataset.from_tables(frame)


def test_text_that_is_no_utf8_is_refused():
    column = pa.chunked_array(
        [pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(np.int32([0, 1])), pa.py_buffer(b"\xff")])]
    )
    with pytest.raises(ValueError, match="utf-8"):
        factorize(as_column(column))


def test_categories_may_be_given_twice_or_be_null():
    dictionary = pa.DictionaryArray.from_arrays(pa.array([4, 0, 3, None, 1]), pa.array(["a", "b", "c", None, "a"]))
    codes, distinct = factorize(as_column(pa.chunked_array([dictionary])))
    assert (codes.tolist(), distinct) == ([0, 0, -1, -1, 1], ["a", "b"])


def test_categories_may_be_numbers():
    dictionary = pa.DictionaryArray.from_arrays(pa.array([1, 0, 1]), pa.array([7, 9]))
    codes, distinct = factorize(as_column(pa.chunked_array([dictionary])))
    assert (codes.tolist(), distinct) == ([0, 1, 0], [9, 7])


@pytest.mark.parametrize(
    "library", ["polars", "polars categorical", "pandas str", "pandas object", "pandas categorical", "list"]
)
def test_without_pyarrow_the_numbers_are_the_same(library, monkeypatch):
    values = [*TEXTS, None, *TEXTS[::-1]]
    column = as_column(SERIES[library](values))
    monkeypatch.setattr(numbering, "_has_arrow", lambda: False)
    codes, distinct = factorize(column)
    assert (codes.tolist(), distinct) == one_at_a_time(values)


@pytest.mark.parametrize(
    ("n_rows", "n_users", "n_items"),
    [
        (0, 3, 2),
        (1, 1, 1),
        (500, 1, 4),
        (500, 7, 1),
        (40_000, 300, 50),
        (300_000, 5000, 70),
        (20_000, 2**31 - 1, 2**31 - 1),
    ],
)
@pytest.mark.parametrize("with_rows", [False, True])
def test_pairs_are_sorted_and_counted(n_rows, n_users, n_items, with_rows):
    rng = np.random.default_rng(n_rows)
    users, items = (rng.integers(0, n, n_rows).astype(np.int32) for n in (n_users, n_items))
    users[: n_rows // 2] = users[n_rows - n_rows // 2 :]  # pairs given twice, whatever the sizes
    items[: n_rows // 2] = items[n_rows - n_rows // 2 :]
    pairs = sort_pairs(users.copy(), items.copy(), (n_users, n_items), with_rows)
    expected, counts = np.unique(np.stack([users, items]), axis=1, return_counts=True)
    np.testing.assert_array_equal([pairs.users, pairs.items], expected)
    np.testing.assert_array_equal(pairs.copies, expected)
    for array, copy in zip(pairs[:2], pairs.copies, strict=True):
        assert not np.shares_memory(array, copy)
    np.testing.assert_array_equal(pairs.counts, counts)
    assert pairs.counts.dtype == (np.int32 if with_rows else np.float32)
    if with_rows:
        np.testing.assert_array_equal(pairs.rows, np.lexsort((items, users)))
    else:
        assert pairs.rows is None


@pytest.mark.parametrize("n_parts", [1, 2, 3, 7])
def test_pairs_do_not_depend_on_the_number_of_parts(n_parts, monkeypatch):
    monkeypatch.setattr(id_pairs, "_ROWS_WORTH_A_THREAD", 1)
    monkeypatch.setattr(id_pairs, "_MOST_THREADS", n_parts)
    monkeypatch.setattr(id_pairs, "count_cpus", lambda: 16)
    rng = np.random.default_rng(5)
    users, items = rng.integers(0, 900, 30_001).astype(np.int32), rng.integers(0, 40, 30_001).astype(np.int32)
    pairs = sort_pairs(users.copy(), items.copy(), (900, 40), True)
    np.testing.assert_array_equal(pairs.copies, np.unique(np.stack([users, items]), axis=1))
    np.testing.assert_array_equal(pairs.rows, np.lexsort((items, users)))


ROWS = st.lists(
    st.tuples(
        st.sampled_from("abcd"), st.sampled_from("wxyz"), st.integers(-4, 4), st.integers(0, 3), st.integers(0, 9)
    ),
    min_size=1,
    max_size=40,
)
NAMES = ["user_id", "item_id", "value", "weight", "time"]


@given(ROWS, st.sampled_from(["sum", "max", "last"]), st.booleans())
def test_duplicates_agree_with_one_row_at_a_time(rows, duplicates, with_time):
    table = dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True))
    dataset = Dataset.from_tables(
        table, value="value", weight="weight", time="time" if with_time else None, duplicates=duplicates
    )
    users, items = (one_at_a_time(table[name])[0] for name in NAMES[:2])
    expected = {}
    for place, (_, _, value, weight, time) in enumerate(rows):
        pair = users[place], items[place]
        if pair not in expected:
            expected[pair] = value, weight, time
            continue
        before = expected[pair]
        if duplicates == "last":
            if not with_time or time >= before[2]:
                expected[pair] = value, weight, time
        else:
            merge = max if duplicates == "max" else lambda *both: sum(both)
            expected[pair] = merge(before[0], value), merge(before[1], weight), max(before[2], time)
    pairs = sorted(expected)
    interactions, weights = dataset.interactions, dataset.weights
    assert list(zip(interactions.row.tolist(), interactions.col.tolist(), strict=True)) == pairs
    assert interactions.data.tolist() == [expected[pair][0] for pair in pairs]
    assert weights.data.tolist() == [expected[pair][1] for pair in pairs]
    assert interactions.data.dtype == weights.data.dtype == np.float32
    if with_time:
        assert dataset.timestamps.tolist() == [expected[pair][2] for pair in pairs]
    else:
        assert dataset.timestamps is None


@pytest.mark.parametrize("duplicates", ["sum", "max", "last"])
def test_without_values_and_weights_there_are_ones(duplicates):
    dataset = Dataset.from_tables({"user_id": ["a", "b", "a"], "item_id": [7, 7, 7]}, duplicates=duplicates)
    assert dataset.interactions.data.tolist() == [1, 1]
    assert dataset.interactions.dtype == np.int32
    assert dataset.weights.data.tolist() == [2 if duplicates == "sum" else 1, 1]
    assert dataset.weights.dtype == np.float32
    for matrix in (dataset.interactions, dataset.weights):
        assert type(matrix) is sp.coo_matrix
        assert matrix.tocsr().shape == matrix.shape == (2, 1)
    assert not np.shares_memory(dataset.interactions.row, dataset.weights.row)
    assert not np.shares_memory(dataset.interactions.col, dataset.weights.col)


def test_duplicates_are_refused_where_asked():
    table = {"user_id": ["a", "b", "a", "a"], "item_id": [7, 7, 7, 8]}
    dataset = Dataset()
    with pytest.raises(ValueError, match="4 rows have 1 pair of user and item more than once: choose with"):
        dataset.build_interactions_from_table(table, duplicates="error", unknown="add")
    assert dataset.mapping() == ({}, {}, {}, {})
    once = Dataset.from_tables(
        {"user_id": ["b", "a"], "item_id": [7, 7], "stars": [2, 3]}, weight="stars", duplicates="error"
    )
    assert once.weights.data.tolist() == [2, 3]


def test_ids_are_numbered_after_those_known_with_their_features():
    dataset = Dataset.from_tables({"user_id": ["a", "b"], "item_id": ["x", "y"]})
    read = dataset.build_interactions_from_table({"user_id": ["c", "a"], "item_id": ["y", "z"]}, unknown="add")
    assert read.interactions.toarray().tolist() == [[0, 0, 1], [0, 0, 0], [0, 1, 0]]
    users = {"a": 0, "b": 1, "c": 2}
    items = {"x": 0, "y": 1, "z": 2}
    assert dataset.mapping() == (users, users, items, items)
    assert dataset.mapping()[0] is not dataset.mapping()[1]
    skipped = dataset.build_interactions_from_table({"user_id": ["d", "a"], "item_id": ["y", "z"]}, unknown="skip")
    assert (skipped.n_skipped, skipped.interactions.nnz) == (1, 1)


@pytest.mark.parametrize("library", ["pyarrow", "polars", "pandas"])
def test_a_missing_id_is_named(library):
    table = {"user_id": ["a", None, "b"], "item_id": ["x", "y", "x"]}
    frame = {"pyarrow": pa.table, "polars": pl.DataFrame, "pandas": pd.DataFrame}[library](table)
    with pytest.raises(ValueError, match=r"column 'user_id' of interactions has 1 missing id, the first in row 1"):
        Dataset.from_tables(frame)


def test_the_table_is_left_as_it_was():
    categories = pa.DictionaryArray.from_arrays(pa.array([1, 0, 1, 1], pa.int32()), pa.array(["a", "b"]))
    table = pa.table({"user_id": categories, "item_id": pa.array([5, 4, 5, 3], pa.int32())})
    columns = {name: table[name].to_pylist() for name in table.column_names}
    numbers = {name: np.array(values) for name, values in {"user_id": [3, 1, 3], "item_id": [2, 2, 1]}.items()}
    for given_table in (table, numbers):
        Dataset.from_tables(given_table)
    assert {name: table[name].to_pylist() for name in table.column_names} == columns
    assert (numbers["user_id"].tolist(), numbers["item_id"].tolist()) == ([3, 1, 3], [2, 2, 1])


def test_codes_are_renumbered_in_place():
    codes, first_seen = np.int32([3, -1, 0, 3, 2]), np.empty(4, np.int32)
    assert _core.columns.renumber(codes, np.full(4, -1, np.int32), first_seen) == 3
    assert (codes.tolist(), first_seen[:3].tolist()) == ([0, -1, 1, 0, 2], [3, 0, 2])


# ------------------------------------------------------------------------------------------ likes, and ids of two types


STARS = {"user_id": ["a", "a", "a", "b"], "item_id": ["x", "y", "y", "x"], "stars": [3, 4, 1, 5]}


def test_stars_are_positives_from_a_threshold_on():
    dataset = Dataset.from_tables(STARS, value="stars", positive_from=4, duplicates="max")
    assert dataset.interactions.toarray().tolist() == [[-1, 1], [1, 0]]
    summed = Dataset.from_tables(STARS, value="stars", positive_from=4)
    assert summed.interactions.toarray().tolist() == [[-1, 0], [1, 0]]  # a like and a dislike: not a positive
    later = {"user_id": ["b"], "item_id": ["y"], "stars": [2]}
    for of_later in (dataset, Dataset.from_state(dataset.to_state())):
        assert of_later.build_interactions_from_table(later).interactions.toarray().tolist() == [[0, 0], [0, -1]]


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"positive_from": 4}, ValueError, "name the column of values by value="),
        ({"positive_from": "4", "value": "stars"}, TypeError, "positive_from is '4', expected a finite number"),
        ({"positive_from": True, "value": "stars"}, TypeError, "positive_from is True"),
        ({"positive_from": np.inf, "value": "stars"}, ValueError, "positive_from is inf"),
        ({"positive_from": np.nan, "value": "stars"}, ValueError, "positive_from is nan"),
    ],
)
def test_a_threshold_is_a_number_and_of_a_column(more, error, message):
    with pytest.raises(error, match=message):
        Dataset.from_tables(STARS, **more)


IDS_THAT_SPELL_THE_SAME = {
    "numbers": ([3, 10, 7], ["3", "10", "7"]),
    "zeros": ([3, 10, 7], ["003", "010", "007"]),
    "floats": ([3.0, 10.0, 7.0], ["3", "10", "7"]),
    "negative": ([-3, 10, 0], ["-3", "10", "0"]),
    "UUIDs": ([UUID(int=number) for number in (3, 10, 7)], [str(UUID(int=number)) for number in (3, 10, 7)]),
}


@pytest.mark.parametrize("known_is_text", [True, False])
@pytest.mark.parametrize("case", IDS_THAT_SPELL_THE_SAME)
def test_ids_of_two_types_are_brought_together(case, known_is_text):
    others, text = IDS_THAT_SPELL_THE_SAME[case]
    known, asked = (text, others) if known_is_text else (others, text)
    rows = {"user_id": ["a", "b", "a"], "item_id": [asked[2], asked[0], asked[1]]}
    items = {"item_id": known, "kind": ["k", "l", "k"]}
    dataset = Dataset.from_tables(rows, items=items, item_features=["kind"])
    assert list(dataset.mapping()[2]) == known
    assert dataset.interactions.toarray().tolist() == [[0, 1, 1], [1, 0, 0]]
    later = dataset.build_interactions_from_table({"user_id": ["b"], "item_id": [asked[1]]})
    assert later.interactions.toarray().tolist() == [[0, 0, 0], [0, 1, 0]]
    features = dataset.build_item_features_from_table({"item_id": asked[::-1], "kind": ["k", "l", "k"]})
    assert (features != dataset.item_features).nnz == 0


def test_ids_of_one_type_are_equal_or_unknown_and_two_ids_never_become_one():
    for known, asked in ((["7"], ["007"]), ([7], ["7", "007"]), (["7", "007"], [7]), ([7], [7, "7"]), (["7"], [True])):
        numbers = match_ids(asked, {name: number for number, name in enumerate(known)})
        assert numbers.tolist() == [known.index(name) if name in known and name is not True else -1 for name in asked]
    mixed = {1: 0, "guest": 1, "2": 2, UUID(int=5): 3}
    asked = ["1", 2, "2", str(UUID(int=5)), 2.0, "3", 3, UUID(int=6)]
    assert match_ids(asked, mixed).tolist() == [0, -1, 2, 3, -1, -1, -1, -1]
    assert match_ids(["1", 2], mixed).tolist() == [0, 2]
    assert match_ids(["9" * 5000, "x", "", "-", "\u0663"], {3: 0}).tolist() == [-1] * 5
    for known in (["7", "7.0"], ["7"], ["7.0"]):
        numbers = match_ids(["7", "7.0"], {name: number for number, name in enumerate(known)})
        assert numbers.tolist() == [known.index(name) if name in known else -1 for name in ("7", "7.0")]


def test_an_id_that_is_asked_for_twice_is_found_twice():
    assert match_ids(["7", "x", "7", "3"], {3: 0, 7: 1}).tolist() == [1, -1, 1, 0]
    assert match_ids(["7.0", "7.0"], {"7": 0}).tolist() == [0, 0]


def test_text_of_a_whole_number_that_pandas_wrote_as_a_float_is_the_number():
    known = {"7": 0, "10.0": 1, "007": 2, "1.50": 3}
    asked = ["7.0", "10", "007.0", "1.5", "7.00", "-7.0"]
    assert match_ids(asked, known).tolist() == [0, 1, -1, -1, -1, -1]


def test_rows_left_out_are_counted_and_the_first_is_named():
    rows = {"user_id": ["a", "b", "c", "a"], "item_id": [1, 2, 1, 3]}
    items = {"item_id": [1, 3]}
    dataset = Dataset.from_tables(rows, items=items, unknown="skip")
    assert (dataset.n_skipped, dataset.first_skipped) == (1, (1, "item", 2))
    assert Dataset.from_tables(rows).first_skipped is None
    with pytest.raises(ValueError, match="all 4 rows of interactions have ids unknown to the dataset, item 1 first"):
        Dataset.from_tables(rows, items={"item_id": [8, 9]}, unknown="skip")
    with pytest.raises(ValueError, match="all 1 rows .* user 'x' first; it knows 3, such as 'a', 'b', 'c'"):
        dataset.build_interactions_from_table({"user_id": ["x"], "item_id": [1]}, unknown="skip")
    nothing = dataset.build_interactions_from_table({"user_id": [], "item_id": []}, unknown="skip")
    assert (nothing.n_skipped, nothing.interactions.nnz) == (0, 0)


def test_long_ids_are_not_compared():
    """It would take minutes."""
    known = [f"{number:03}{'q' * 20_000}" for number in range(300)]
    assert closest_id(f"z{known[0]}", known) is None
    with pytest.raises(UnknownIdsError, match="'z000q+... .20,006 characters. first; it knows 300, such as '000q+"):
        Dataset.from_tables({"user_id": [f"z{known[0]}"], "item_id": [1]}, users={"user_id": known})


@pytest.mark.parametrize("text", ["caf\u00e9", "\ud55c\uad6d\uc5b4"])
def test_two_unicode_forms_of_a_text_are_told_apart(text):
    other = unicodedata.normalize("NFD", text)
    found = f"{text!a}, another Unicode form of {other!a}"
    assert closest_id(other, ["cafe", text]) == found
    with pytest.raises(UnknownIdsError, match=re.escape(f"({found} is known)")):
        Dataset.from_tables({"user_id": [other], "item_id": [1]}, users={"user_id": [text]})


def test_a_number_of_numpy_names_no_column():
    with pytest.raises(ValueError, match="has no column"):
        Dataset.from_tables({"user_id": [1], "item_id": [2], ("a", "b"): [3]}, value=np.float16(1))
