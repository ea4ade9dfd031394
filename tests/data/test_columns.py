"""Columns of frames: every library's types, names of columns, missing cells, and objects that are no columns."""

import subprocess
import sys
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest
import scipy.sparse as sp

from lightfm_fast import LightFM, Recommender, _arguments
from lightfm_fast.cross_validation import time_train_test_split
from lightfm_fast.data import Dataset
from lightfm_fast.features import Categorical, FeatureSpec, PiecewiseLinear, Standardized

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

USERS, ITEMS = ["a", "b", "a"], [7, 7, 9]


def read(time=None, value=None, weight=None, **columns):
    return Dataset.from_tables({"user_id": USERS, "item_id": ITEMS, **columns}, time=time, value=value, weight=weight)


def read_part(column, part):
    """Read a column as one part of a dataset."""
    if part == "feature":
        items = {"item_id": [7, 9, 8], "part": column}
        spec = FeatureSpec({"part": Standardized()})
        return Dataset.from_tables({"user_id": USERS, "item_id": ITEMS}, items=items, item_features=spec)
    if part in ("user", "item"):
        return read(**{f"{part}_id": column})
    return read(part=column, **{part: "part"})


class Tensor:
    """An array of another library; iterating gives objects that are all different, like torch's."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __array__(self, dtype=None, copy=None):
        if sp.issparse(self.values):
            raise RuntimeError("cannot become NumPy")
        return self.values

    def __iter__(self):
        return (Tensor(value) for value in self.values)

    def __len__(self):
        return len(self.values)


class SparseTensor(Tensor):
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("cannot become NumPy")


# ----------------------------------------------------------------------------------------------- names of columns


@pytest.mark.parametrize(
    "names", [[0, 1, 2, 3, 4], [("who", ""), ("what", "id"), ("what", "stars"), ("when", ""), ("what", "genre")]]
)
def test_names_of_columns_that_are_not_text(names, tmp_path):
    columns = [USERS, ITEMS, [3, 4, 5], [1, 2, 3], ["x", "y", "x"]]
    frame = pd.DataFrame(dict(enumerate(columns)))
    frame.columns = pd.MultiIndex.from_tuples(names) if isinstance(names[0], tuple) else names
    user, item, stars, when, genre = names
    items = frame.drop_duplicates(item)
    told = {"user": user, "item": item, "weight": stars, "time": when}
    for features in ([genre], FeatureSpec({genre: Categorical()})):
        dataset = Dataset.from_tables(frame, items=items, item_features=features, **told)
        assert dataset.weights.toarray().tolist() == [[3, 5], [4, 0]]
        assert dataset.timestamps.tolist() == [1, 3, 2]
        assert list(dataset.mapping()[3]) == [7, 9, f"{genre}:x"]
        assert dataset.build_interactions_from_table(frame).interactions.nnz == 3
        as_dict = Dataset.from_tables(
            {name: frame[name] for name in names},
            items={name: items[name] for name in names},
            item_features=features,
            **told,
        )
        assert as_dict.mapping() == dataset.mapping()

        from lightfm_fast import LightFM

        model = LightFM(random_state=1).fit(dataset.interactions, item_features=dataset.item_features)
        model.save(tmp_path / "model.safetensors", dataset=dataset)
        loaded = LightFM.load(tmp_path / "model.safetensors").dataset_
        assert loaded.build_interactions_from_table(frame).interactions.nnz == 3
        np.testing.assert_array_equal(
            loaded.build_item_features_from_table(items).toarray(), dataset.item_features.toarray()
        )


@pytest.mark.parametrize("library", ["pandas", "pyarrow"])
def test_a_column_twice_matters_where_it_is_wanted(library):
    frame = pd.DataFrame([["a", 1, 5, 6], ["b", 2, 7, 8]], columns=["user_id", "item_id", "stars", "stars"])
    if library == "pyarrow":
        frame = pa.table([["a", "b"], [1, 2], [5, 7], [6, 8]], names=["user_id", "item_id", "stars", "stars"])
    assert Dataset.from_tables(frame).interactions.nnz == 2
    assert FeatureSpec({"item_id": Categorical()}).fit_transform(frame).nnz == 2
    with pytest.raises(ValueError, match="interactions has 2 columns 'stars': rename or drop"):
        Dataset.from_tables(frame, weight="stars")


class Subclass(pd.DataFrame):
    """As geopandas has one."""


@pytest.mark.parametrize("library", ["pandas", "subclass", "pyarrow"])
def test_a_column_twice_that_is_not_wanted_is_no_matter(library):
    columns = [["a", "b", None], [1, 2, 3], [5, 7, 9], [6, 8, 0]]
    frame = pa.table(columns, names=["user_id", "item_id", "stars", "stars"])
    if library != "pyarrow":
        kind = pd.DataFrame if library == "pandas" else Subclass
        frame = kind(list(zip(*columns, strict=True)), columns=frame.column_names)
    recommender = Recommender.from_tables(
        frame, frame, missing_ids="skip", user_features=["item_id"], model=LightFM(2), epochs=1
    )
    assert recommender.library == ("pyarrow" if library == "pyarrow" else "pandas")
    assert list(recommender.dataset.mapping()[0]) == ["a", "b"]


def test_columns_of_a_dict_that_are_not_wanted_are_not_read():
    users = {"user_id": ["a", None, "b"], "town": ["x", "y", "z"], "source": 7, "others": [1]}
    rows = {"user_id": ["a"], "item_id": [1]}
    dataset = Dataset.from_tables(rows, users=users, user_features=["town"], missing_ids="skip")
    assert list(dataset.mapping()[1]) == ["a", "b", "town:x", "town:z"]
    with pytest.raises(ValueError, match="columns of users differ in length: {'user_id': 3, 'others': 1}"):
        Dataset.from_tables(rows, users=users, user_features=["others"], missing_ids="skip")
    with pytest.raises(ValueError, match="users has no column 'city'.*user_features names it"):
        Dataset.from_tables(rows, users=users, user_features=["city"], missing_ids="skip")


NO_NAMES = [date(2020, 1, 1), pd.Timestamp("2020-01-01"), b"u", frozenset(), 10**5000, ("a", [1]), pl.col("u"), ["u"]]


@pytest.mark.parametrize("name", NO_NAMES, ids=range(len(NO_NAMES)))
@pytest.mark.parametrize("argument", ["user", "item", "value", "weight", "time"])
def test_names_that_no_file_holds_are_refused_before_training(name, argument):
    with pytest.raises(TypeError, match=f"^{argument} is .*, expected the name of a column.*rename"):
        Dataset.from_tables({"user_id": ["a"], "item_id": [1]}, **{argument: name})
    kinds = [lambda: FeatureSpec({name: Categorical()}), lambda: Dataset.from_tables({}, {}, user_features=[name])]
    for make in kinds if isinstance(name, date | bytes | frozenset) else ():
        with pytest.raises(TypeError, match="^a column of .*, expected the name of a column.*rename"):
            make()


def test_names_of_numpy_are_saved(tmp_path):
    frame = pd.DataFrame({(np.int64(1), "a"): ["k", "l"], np.int64(2): ["a", "b"], np.int64(3): [1, 2]})
    options = {"user": np.int64(2), "item": np.int64(3), "item_features": [(np.int64(1), "a")]}
    recommender = Recommender.from_tables(frame, items=frame, model=LightFM(2), epochs=1, **options)
    recommender.save(tmp_path / "model")
    loaded = Recommender.load(tmp_path / "model")
    assert loaded.recommend(["a"]).equals(recommender.recommend(["a"]))
    with pytest.raises(ValueError, match="a frame of polars names columns by text, and the answer has column 2: ask"):
        loaded.recommend(pl.Series(["a"]))


def test_messages_of_wide_frames_are_short():
    with pytest.raises(ValueError, match="it has 0, 1, .*, 39 and 960 more: say in the call"):
        Dataset.from_tables(pd.DataFrame(np.ones((1, 1000))))
    with pytest.raises(ValueError, match="no column None; it has 'user_id': say in the call"):
        Dataset.from_tables(pd.DataFrame({"user_id": [1]}), user=None)
    with pytest.raises(ValueError, match="user and item are both column 'user_id': name the column of each"):
        Dataset.from_tables(pd.DataFrame({"user_id": [1]}), item="user_id")


# ------------------------------------------------------------------------------------------- numbers, times, missing

DECIMALS = [Decimal("1.5"), Decimal(2), Decimal("-0.25")]
NUMBERS = {
    "arrow": lambda values: pa.chunked_array([pa.array(values, pa.decimal128(9, 3))]),
    "polars": lambda values: pl.Series(values, dtype=pl.Decimal(9, 3)),
    "pandas objects": lambda values: pd.Series(values, dtype=object),
    "pandas arrow": lambda values: pd.Series(values, dtype=pd.ArrowDtype(pa.decimal128(9, 3))),
    "list": list,
    "array": lambda values: np.array(values, dtype=object),
}


@pytest.mark.parametrize("make", NUMBERS.values(), ids=NUMBERS)
def test_decimals_are_numbers(make):
    sizes = make(list(map(abs, DECIMALS)))
    dataset = read(stars=make(DECIMALS), sizes=sizes, value="stars", weight="sizes", time="stars")
    for found in (dataset.interactions.data, dataset.timestamps):
        np.testing.assert_array_equal(found, [1.5, -0.25, 2])
    np.testing.assert_array_equal(dataset.weights.data, [1.5, 0.25, 2])
    missing = make([*DECIMALS, None])
    assert Standardized().fit_transform(missing).toarray()[3].tolist() == [0, 1]
    for part in ("value", "weight"):
        with pytest.raises(ValueError, match="column 'stars' .*missing .*in row 1"):
            read(stars=make([Decimal(1), None, Decimal(2)]), **{part: "stars"})


NULLABLE = {
    "Int64": pd.Series([1, None, 2], dtype="Int64"),
    "UInt8": pd.Series([1, None, 2], dtype="UInt8"),
    "Float64": pd.Series([1, None, 2], dtype="Float64"),
    "boolean": pd.Series([True, None, False], dtype="boolean"),
    "string": pd.Series(["1", None, "2"], dtype="string"),
    "object": pd.Series([1, pd.NA, 2], dtype=object),
    "arrow int": pd.Series([1, None, 2], dtype=pd.ArrowDtype(pa.int64())),
    "polars int": pl.Series([1, None, 2]),
    "polars boolean": pl.Series([True, None, False]),
    "pyarrow float": pa.chunked_array([pa.array([1.0, None, 2.0])]),
    "list": [1, pd.NA, 2],
    "masked": np.ma.MaskedArray([1, 99, 2], mask=[0, 1, 0]),
    "masked floats": np.ma.MaskedArray([1.0, 99, 2], mask=[0, 1, 0]),
    "extension array": pd.array([1, None, 2], dtype="Int64"),
}


@pytest.mark.parametrize("column", NULLABLE.values(), ids=NULLABLE)
@pytest.mark.parametrize("has_arrow", [True, False])
def test_missing_is_missing(column, has_arrow, monkeypatch):
    if not has_arrow:
        monkeypatch.setattr(_arguments, "_BROKEN", {"pyarrow"})
    with pytest.raises(ValueError, match="column 'user_id' of interactions has 1 missing id, the first in row 1"):
        Dataset.from_tables({"user_id": column, "item_id": ITEMS})
    spec = FeatureSpec({"feature": Categorical()})
    items = {"item_id": [7, 9, 8], "feature": column}
    for features in (["feature"], spec):
        dataset = Dataset.from_tables({"user_id": USERS, "item_id": ITEMS}, items=items, item_features=features)
        described = dataset.build_item_features_from_table(items, normalize=False).toarray()
        assert described[:, 3:].sum(axis=1).tolist() == [1, 0, 1]
    is_text = str(getattr(column, "dtype", "")) == "string"
    for part in () if is_text else ("value", "weight"):
        with pytest.raises(ValueError, match="column 'part' holds 1 value missing .*in row 1"):
            read(part=column, **{part: "part"})
    if not is_text and "oolean" not in str(getattr(column, "dtype", "")):
        with pytest.raises(ValueError, match="column 'part' has 1 missing or infinite value, .*in row 1"):
            read(part=column, time="part")
    if not is_text:
        assert PiecewiseLinear(2).fit(column).transform(column).toarray()[:, -1].tolist() == [0, 1, 0]


BITS_128 = dict.fromkeys(("user_id", "item_id", "at"), pl.Int128)
UTC = timezone.utc
TIMES = {
    "datetimes": [datetime(2020, 1, 2), datetime(2020, 1, 1), datetime(2020, 1, 3, 12)],
    "dates": [date(2020, 1, 2), date(2020, 1, 1), date(2020, 1, 3)],
    "time zones": [
        datetime(2020, 1, 2, tzinfo=UTC),
        datetime(2020, 1, 2, tzinfo=timezone(timedelta(hours=9))),
        datetime(2020, 1, 3, tzinfo=UTC),
    ],
    "timestamps": list(pd.to_datetime(["2020-01-02", "2020-01-01", "2020-01-03"])),
    "datetime64": [np.datetime64("2020-01-02"), np.datetime64("2020-01-01"), np.datetime64("2020-01-03")],
    "nanoseconds": np.array(["2020-01-02", "2020-01-01", "2020-01-03"], "datetime64[ns]"),
    "arrow": pa.chunked_array([pa.array([date(2020, 1, 2), date(2020, 1, 1), date(2020, 1, 3)])]),
    "polars": pl.Series([date(2020, 1, 2), date(2020, 1, 1), date(2020, 1, 3)]),
    "pandas objects": pd.Series([date(2020, 1, 2), date(2020, 1, 1), date(2020, 1, 3)]),
    "pandas zones": pd.Series(pd.to_datetime(["2020-01-02", "2020-01-01", "2020-01-03"], utc=True)),
}


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_dates_and_datetimes_are_times(times):
    timestamps = read(at=times, time="at").timestamps  # sorted by user and item
    assert timestamps.dtype.kind == "M"
    assert timestamps[0].astype("datetime64[h]") == np.datetime64("2020-01-02T00")
    assert timestamps.argmax() == 1
    assert timestamps.argmin() == 2
    matrix = sp.coo_matrix(([1, 1, 1], ([0, 1, 0], [0, 0, 1])))
    _, test = time_train_test_split(matrix, times, 0.3)
    assert (test.row.tolist(), test.col.tolist()) == ([0], [1])


def test_a_time_that_is_out_of_the_calendar_in_utc_is_named():
    last = datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))
    with pytest.raises(ValueError, match=r"datetime.*9999.* in row 1, expected a time that UTC has too"):
        read(at=[datetime(2020, 1, 1, tzinfo=UTC), last, last], time="at")


def test_masked_times_are_missing():
    for values in ([1, 2, 3], np.array(["2020-01-01"] * 3, "datetime64[ns]")):
        hidden = np.ma.MaskedArray(values, mask=[0, 0, 1])
        with pytest.raises(ValueError, match="'at' has 1 missing or infinite value, the first in row 2"):
            read(at=hidden, time="at")
        with pytest.raises(ValueError, match="timestamps has 1 missing or infinite value, the first in row 2"):
            time_train_test_split(sp.coo_matrix(([1, 1, 1], ([0, 1, 0], [0, 0, 1]))), hidden, 0.3)


def test_integers_of_128_bits_are_read():
    large = 2**70
    table = pl.DataFrame({"user_id": [large, 2], "item_id": [1, large], "at": [1, large]}, schema_overrides=BITS_128)
    dataset = Dataset.from_tables(table, value="at", weight="at", time="at")
    assert [list(ids) for ids in dataset.mapping()[::2]] == [[large, 2], [1, large]]
    assert dataset.weights.data.tolist() == [1.0, float(large)]
    assert dataset.timestamps.tolist() == [1, large]


def test_integers_of_128_bits_may_be_missing():
    table = pl.DataFrame({"user_id": [2**70, None, 3], "item_id": ITEMS}, schema_overrides={"user_id": pl.Int128})
    assert list(Dataset.from_tables(table, missing_ids="skip").mapping()[0]) == [2**70, 3]


@pytest.mark.parametrize("part", ["user", "item", "value", "weight"])
@pytest.mark.parametrize("kind", ["datetime64[ns]", "timedelta64[ns]"])
def test_nanoseconds_are_no_numbers(kind, part):
    times = np.arange(1, 4).astype(kind)
    with pytest.raises((TypeError, ValueError), match="in row 0, expected numbers|cannot be saved"):
        read_part(times, part)
    with pytest.raises(ValueError, match="cannot be saved"):
        Dataset().fit(list(times), [1])


def test_durations_are_no_times():
    with pytest.raises(TypeError, match="timedelta.*in row 0, expected numbers, dates or datetimes"):
        read_part(np.arange(3).astype("timedelta64[ns]"), "time")


def test_arrays_of_pyarrow_keep_whole_numbers():
    """NumPy makes floats of them if some are null."""
    large = 2**53 + 1
    ids = pa.array([large, None, large + 1])
    dataset = Dataset.from_tables({"user_id": ids, "item_id": ITEMS}, missing_ids="skip")
    assert list(dataset.mapping()[0]) == [large, large + 1]


def test_whole_times_keep_every_digit():
    nanoseconds = [1_700_000_000_123_456_789 + step for step in (1, 0, 2)]
    for column in (nanoseconds, pd.Series(nanoseconds, dtype="Int64"), np.array(nanoseconds, dtype=object)):
        assert read(at=column, time="at").timestamps.tolist() == sorted(nanoseconds)[1:] + nanoseconds[1:2]


# ------------------------------------------------------------------------------------- objects that are no columns


@pytest.mark.parametrize("part", ["value", "weight", "time", "feature"])
@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["1", "2", "n/a"], r"'n/a' \(str\) in row 2"),
        ([1, 2, "n/a"], r"'n/a' \(str\) in row 2"),
        (["1", "2", "3"], r"'1' \(str\) in row 0"),
        ([1, {2}, 3], r"\{2\} \(set\) in row 1"),
        ([1, 2, pd.Interval(0, 1)], r"Interval\(0, 1, closed='right'\) \(Interval\) in row 2"),
        ([1, [2], 3], r"\[2\] \(list\) in row 1"),
        ([1, 2, 3j], r"3j \(complex\) in row 2"),
    ],
)
def test_a_cell_that_is_no_number_is_named(part, cells, found):
    columns = [cells, np.array([*cells, None], dtype=object)[:-1], pd.Series(cells, dtype=object)]
    if all(isinstance(cell, str) for cell in cells):
        columns += [pd.Series(cells, dtype="str"), pl.Series(cells), pa.chunked_array([pa.array(cells)])]
    if part == "time" and isinstance(cells[0], str):
        found = r"'1' \(str\) in row 0"  # text is a date more often than a number: the first cell decides
    for column in columns:
        with pytest.raises(TypeError, match=f"column.* has {found}, expected numbers"):
            read_part(column, part)


def test_a_weight_below_zero_is_named():
    with pytest.raises(ValueError, match=r"column 'part' holds 2 weights below 0, -1 in row 1 first: a weight says"):
        read(part=[1, -1, -2], weight="part")
    assert read(part=[0, 1, 2], weight="part").weights.data.tolist() == [0, 2, 1]


def test_a_number_too_large_is_named():
    with pytest.raises(ValueError, match=r"column 'part' has 1000.*in row 1, expected a number that double precision"):
        read(part=[1, 10**400, 2], weight="part")


@pytest.mark.parametrize(
    "column",
    [
        None,
        3,
        "abc",
        b"abc",
        {7, 9},
        {0: "a", 1: "b", 2: "a"},
        object(),
        SparseTensor([1, 2, 3]),
        sp.csr_matrix([1, 2, 3]),
        pd.DataFrame({"a": [1, 2, 3]}),
        np.ones((3, 1)),
        np.array(3),
        Tensor(np.ones((3, 2))),
    ],
    ids=lambda column: type(column).__name__,
)
@pytest.mark.parametrize("part", ["user", "item", "value", "weight", "time", "feature"])
def test_what_is_no_column_is_refused(column, part):
    with pytest.raises((TypeError, ValueError), match=r"column '\w+'( of | has |:).*(expected|NumPy cannot read)"):
        read_part(column, part)


def test_a_dict_of_dicts_is_no_table():
    frame = pd.DataFrame({"user_id": USERS, "item_id": ITEMS})
    with pytest.raises(TypeError, match=r"to_dict\('list'\)"):
        Dataset.from_tables(frame.to_dict())
    expected = Dataset.from_tables(frame)
    assert Dataset.from_tables(frame.to_dict("list")).mapping() == expected.mapping()


def test_tensors_are_columns_of_their_values():
    dataset = Dataset.from_tables({"user_id": Tensor([5, 5, 6]), "item_id": pd.Index(ITEMS)})
    assert list(dataset.mapping()[0]) == [5, 6]
    dataset = Dataset()
    dataset.fit(Tensor([5, 5, 6]), [1])
    assert list(dataset.mapping()[0]) == [5, 6]
    with pytest.raises(TypeError, match="column 'user_id' .*row 0 holds .*expected a plain value"):
        Dataset.from_tables({"user_id": list(Tensor([5, 5, 6])), "item_id": ITEMS})


def test_masked_values_neither_count_nor_are_read():
    stars = np.ma.MaskedArray([1.0, 2.0, 3.0], mask=False)
    assert read(stars=stars, weight="stars").weights.data.tolist() == [1, 3, 2]
    hidden = np.ma.MaskedArray(np.array(["a", "b"], dtype=object), mask=[0, 1])
    assert Categorical().fit(hidden).get_feature_names_out().tolist() == ["a"]


@pytest.mark.parametrize("wrong", ["ann", b"ann", pd.DataFrame({"user_id": USERS})], ids=["text", "bytes", "frame"])
@pytest.mark.parametrize("argument", ["users", "items", "user_features", "item_features"])
def test_one_text_or_a_frame_is_no_list_of_names(wrong, argument):
    dataset = Dataset()
    with pytest.raises(TypeError, match="expected a list of ids or names"):
        dataset.fit_partial(**{argument: wrong})
    assert dataset.mapping() == ({}, {}, {}, {})


def test_features_as_one_text_are_not_split_into_letters():
    dataset = Dataset()
    dataset.fit(["ann"], [1], ["a", "b"])
    with pytest.raises(TypeError, match="features of user 'ann' are 'ab': expected a list"):
        dataset.build_user_features([("ann", "ab")])


# ------------------------------------------------------------------------------- libraries that cannot be imported


class Refuse:
    """A finder of modules that raises the exception of a library built for another NumPy."""

    def __init__(self, *names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, self) if name in self.names else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        raise AttributeError("_ARRAY_API not found")


@pytest.mark.parametrize("broken", [["pyarrow"], ["narwhals"], ["pyarrow", "narwhals"]])
def test_libraries_that_do_not_import_are_done_without(broken, monkeypatch):
    frame = pd.DataFrame({"user_id": USERS, "item_id": pd.array(ITEMS, dtype="Int64"), "stars": [1.5, 2, 3]})
    expected = Dataset.from_tables(frame, weight="stars")
    for name in [*sys.modules]:
        if name.partition(".")[0] in broken:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Refuse(*broken), *sys.meta_path])
    monkeypatch.setattr(_arguments, "_BROKEN", set())
    with pytest.warns(RuntimeWarning, match="installed but does not import"):
        dataset = Dataset.from_tables(frame, weight="stars")
    assert dataset.mapping() == expected.mapping()
    np.testing.assert_array_equal(dataset.weights.toarray(), expected.weights.toarray())
    lists = {"user_id": USERS, "item_id": np.array(ITEMS), "stars": [1.5, 2, 3]}
    assert Dataset.from_tables(lists, weight="stars").mapping() == expected.mapping()


# ------------------------------------------------------------------------------------------------------------- repr


def test_a_dataset_shows_what_it_knows():
    assert repr(Dataset()) == "Dataset(0 users, 0 items, 0 user features, 0 item features)"
    dataset = Dataset.from_tables(
        {"user_id": [1, 1, 2], "item_id": [7, 9, 8]},
        items={"item_id": [7, 9], "genre": ["x", "y"]},
        item_features=["genre"],
        unknown="skip",
    )
    shown = "2 users, 2 items, 2 interactions, 1 skipped row, 2 user features, 4 item features"
    assert repr(dataset) == f"Dataset({shown})"
    assert "<th>item features</th><td>4</td>" in dataset._repr_html_()


@pytest.mark.parametrize("cell", [10**5000, [1], {"a": 1}], ids=["digits", "list", "dict"])
@pytest.mark.parametrize("part", ["user", "value", "weight", "time", "feature"])
def test_odd_cells_are_refused_in_our_words(cell, part):
    with pytest.raises((TypeError, ValueError), match=r"in row 1|row 1 holds|cannot be saved"):
        read_part([1, cell, 2], part)


def test_a_signaling_nan_is_missing():
    with pytest.raises(ValueError, match="missing .*in row 1"):
        read_part([1, Decimal("sNaN"), 2], "weight")


def test_a_lazy_column_is_refused():
    with pytest.raises(TypeError, match="LazyFrame"):
        read_part(pl.LazyFrame({"a": [1, 2, 3]}), "weight")


@pytest.mark.parametrize("other", [np.True_, np.int8(1), np.float32(1)])
@pytest.mark.parametrize("make", [list, lambda cells: np.array(cells, dtype=object)])
def test_times_beside_numbers_of_numpy_do_not_end_the_process(make, other):
    """pyarrow crashes on such arrays, so the test runs in a separate process."""
    code = f"""
import numpy as np
from lightfm_fast.features import Categorical
cells = [np.datetime64("2020-01-01"), np.array({other.item()!r}, {other.dtype.str!r})[()]]
cells = {"cells" if make is list else "np.array(cells, dtype=object)"}
print(Categorical().fit(cells).transform(cells).nnz)
""".replace("np.np.", "np.")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "2", (result.returncode, result.stderr)
