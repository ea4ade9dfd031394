"""The judge of input by itself: what it returns, and that it leaves alone what it is given."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast import _validation as validation
from lightfm_fast.callbacks import Callback
from lightfm_fast.data import Dataset
from lightfm_fast.evaluation import evaluate
from lightfm_fast.features import Text


def test_parameter_error_is_caught_by_both_kinds_of_handlers():
    assert issubclass(validation.ParameterError, ValueError)
    assert issubclass(validation.ParameterError, AssertionError)


def test_an_optional_library_is_imported_or_its_extra_named(monkeypatch):
    assert validation.import_optional("json", "anything", "reading") is sys.modules["json"]
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match=r"A progress bar needs tqdm.*lightfm_fast\[progress\]"):
        validation.import_optional("tqdm", "progress", "A progress bar")


def test_stored_entries_keep_repeats_and_zeros():
    for matrix_type in (sp.csr_matrix, sp.csc_matrix, sp.csr_array):
        matrix = matrix_type((np.array([1.0, 0.0, 2.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 2))
        entries = validation.check_stored_entries(matrix, "m")
        assert entries.nnz == 3
        assert_array_equal(entries.data, [1, 0, 2])
    repeated = sp.coo_matrix(([1.0, 1.0], ([0, 0], [1, 1])), shape=(2, 2))
    assert validation.check_stored_entries(repeated, "m").nnz == 2
    assert validation.check_stored_entries(np.array([[0, 3], [0, 0]]), "m").nnz == 1


def test_known_positives_are_canonical_ones():
    entries = sp.coo_matrix(([1.0, -1.0, 0.0, 5.0], ([0, 0, 1, 1], [2, 2, 0, 1])), shape=(2, 3))
    positives = validation.check_known_positives(entries, "m")
    assert positives.dtype == np.float32
    assert positives.has_canonical_format
    assert_array_equal(positives.toarray(), [[0, 0, 1], [0, 1, 0]])


def test_interactions_come_with_narrow_indices():
    wide = sp.coo_matrix((np.ones(2), (np.array([0, 1]), np.array([1, 0]))), shape=(2, 2**31 - 1))
    entries = validation.check_interactions(wide)
    assert entries.row.dtype == entries.col.dtype == np.int32
    with pytest.raises(ValueError, match="2\\*\\*31"):
        validation.check_interactions(sp.coo_matrix((2, 2**31)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
@pytest.mark.parametrize(
    ("row", "col", "values", "is_sorted", "is_positive"),
    [
        ([], [], [], True, True),
        ([0, 0, 1, 1], [0, 2, 1, 1], [1, 2, 3, 4], True, True),
        ([0, 0, 1], [2, 0, 1], [1, 1, 1], False, True),
        ([1, 0], [0, 2], [1, 1], False, True),
        ([0, 1], [2, 0], [0, 1], True, False),
        ([0, 1], [2, 0], [1, -1], True, False),
    ],
)
def test_interactions_tell_their_order_and_signs(row, col, values, dtype, is_sorted, is_positive):
    matrix = sp.coo_matrix((np.array(values, dtype), (row, col)), shape=(2, 3))
    matrix.row, matrix.col = np.array(row, np.int32), np.array(col, np.int32)
    entries = validation.check_interactions(matrix)
    assert (entries.look.is_sorted, entries.is_positive) == (is_sorted, is_positive)
    assert_array_equal(entries.toarray(), matrix.toarray())
    if is_sorted:
        indptr = np.full(4, -1)
        entries.look.find_users(entries.row, indptr[:3])
        assert_array_equal(indptr, [*np.searchsorted(row, [0, 1, 2]), -1])


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("n_users", [2, 1000, 400_000])  # many looks are at one row, and rows are shorter than one look
def test_long_input_is_found_sorted_or_not_wherever_that_shows(n_users, num_threads):
    size = 300_000  # four stretches and a part of one, which threads share
    generator = np.random.default_rng(0)
    row = np.sort(generator.integers(1, n_users, size)).astype(np.int32)
    entries = sp.coo_matrix((np.ones(size, np.float32), (row, np.zeros(size, np.int32))), shape=(n_users, 2))
    entries.row, entries.col = row, np.zeros(size, np.int32)
    look = validation.check_interactions(entries, num_threads).look
    assert look.is_sorted
    indptr = np.empty(n_users + 1, dtype=np.int64)
    look.find_users(row, indptr)
    assert_array_equal(indptr, np.searchsorted(row, np.arange(n_users + 1)))

    for place in (0, 1 << 16, size - 2):
        entries.col[place] = 1
        same_row = row[place] == row[place + 1]
        assert validation.check_interactions(entries, num_threads).look.is_sorted != same_row
        entries.col[place] = 0
        entries.row = row.copy()
        entries.row[place + 1] = 0
        assert not validation.check_interactions(entries, num_threads).look.is_sorted
        entries.row = row
        entries.data[place] = 0
        assert not validation.check_interactions(entries, num_threads).is_positive
        entries.data[place] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            validation.check_interactions(entries, num_threads)
        entries.data[place] = 1


def test_repeated_interactions_are_added_up_where_a_matrix_is_made_of_them():
    repeated = sp.coo_matrix((np.ones(2, np.float32), ([0, 0], [1, 1])), shape=(1, 2))
    assert_array_equal(validation.check_interactions(repeated).tocsr().data, [2])


@pytest.mark.parametrize(
    "malformed",
    [
        {"indices": np.array([0, 5])},
        {"indices": np.array([0, -1])},
        {"indptr": np.array([0, 3, 2])},
        {"indptr": np.array([0, 1, 9])},
        {"indptr": np.array([1, 1, 2])},
        {"indptr": np.array([0, 2])},
        {"data": np.ones(1)},
    ],
)
@pytest.mark.parametrize("matrix_type", [sp.csr_matrix, sp.csc_matrix, sp.csr_array])
def test_compressed_matrices_that_point_outside_are_refused(matrix_type, malformed):
    matrix = matrix_type(np.eye(2))
    for name, array in malformed.items():
        setattr(matrix, name, array)
    for check in (
        lambda: validation.check_interactions(matrix),
        lambda: validation.check_features(matrix, "item", 0),
        lambda: validation.check_ranking_input(matrix, "test_interactions"),
    ):
        with pytest.raises(ValueError, match=r"(interactions|item_features) is not put together"):
            check()


def test_coordinates_outside_are_refused():
    matrix = sp.coo_matrix(np.eye(3))
    matrix.col[1] = 7
    with pytest.raises(ValueError, match="interactions is not put together"):
        validation.check_interactions(matrix)
    matrix.col[1] = -1
    with pytest.raises(ValueError, match="user_features is not put together"):
        validation.check_features(matrix, "user", 0)


def test_features_are_canonical_and_their_own():
    given = sp.csr_matrix((np.array([1.0, 2.0, 3.0]), np.array([1, 0, 1]), np.array([0, 3, 3])), shape=(2, 2))
    features = validation.check_features(given, "item", 2)
    assert features.has_canonical_format
    assert features.dtype == np.float32
    assert_array_equal(features.toarray(), [[2, 4], [0, 0]])
    features.data[:] = 0
    assert_array_equal(given.data, [1, 2, 3])
    assert_array_equal(given.indices, [1, 0, 1])
    canonical = sp.csr_matrix(np.eye(2, dtype=np.float32))
    validation.check_features(canonical, "item", 2).data[:] = 5
    assert_array_equal(canonical.data, [1, 1])


def test_a_sum_of_repeats_beyond_single_precision_is_refused():
    largest = float(np.finfo(np.float32).max)
    features = sp.coo_matrix(([largest, largest], ([0, 0], [0, 0])), shape=(1, 1))
    with pytest.raises(ValueError, match="single precision"):
        validation.check_features(features, "item", 1)


def test_ids():
    users, items = validation.check_ids(3, [1, 2])
    assert_array_equal(users, [3, 3])
    assert_array_equal(items, [1, 2])
    assert users.dtype == items.dtype == np.int64
    assert all(ids.shape == (0,) for ids in validation.check_ids([], []))
    assert all(ids.shape == (1,) for ids in validation.check_ids(1, np.int8(2)))
    for bad in (-1, 2**62, 2**63, 0.5, np.nan, np.inf, "a", None, [[1]], True):
        with pytest.raises(ValueError, match="user_ids"):
            validation.check_ids(bad, 0)


def test_common_entries_are_counted():
    test, train = sp.csr_matrix([[1.0, 0, 1], [0, 1, 0]]), sp.csr_matrix([[0.0, 0, -3], [0, 2, 0]])
    with pytest.raises(ValueError, match="share 2 entries"):
        validation.check_disjoint(test, train)
    validation.check_disjoint(test, sp.csr_matrix([[0.0, 1, 0], [1, 0, 0]]))


def test_common_entries_are_told_one_by_one():
    rng = np.random.default_rng(0)
    test, train = (sp.csr_matrix(rng.random((30, 20)) < share) for share in (0.3, 0.5))
    expected = (test.toarray() & train.toarray())[test.nonzero()]
    for num_threads in (1, 2):
        assert_array_equal(validation.common_entries(test, train, num_threads), expected)
    backwards = sp.csr_matrix((test.data, test.indices, test.indptr), copy=True, shape=test.shape)
    for first, last in zip(test.indptr, test.indptr[1:], strict=False):
        backwards.indices[first:last] = test.indices[first:last][::-1]
        expected[first:last] = expected[first:last][::-1]
    assert_array_equal(validation.common_entries(backwards, train), expected)


def test_ranking_input_is_sorted_and_its_own():
    canonical = sp.csr_matrix(np.eye(3))
    unsorted = sp.csr_matrix((np.array([1.0, 2, 3]), np.array([2, 0, 0]), np.array([0, 3])), shape=(1, 3))
    for check in (
        lambda given: validation.check_ranking_input(given, "test"),
        lambda given: validation.check_known_positives(given, "test"),
    ):
        for given, nonzero in ((canonical, 3), (unsorted, 2)):
            before = given.indices.copy(), given.data.copy()
            checked = check(given)
            assert checked.has_canonical_format
            assert checked.nnz == nonzero
            checked.indices[:], checked.data[:] = 0, 7
            assert_array_equal(given.indices, before[0])
            assert_array_equal(given.data, before[1])


@pytest.mark.parametrize("value", [0.0, 1e-30])
def test_explicit_zeros_are_not_in_common(value):
    entry = sp.csr_matrix((np.full(1, value, dtype=np.float32), np.array([2]), np.array([0, 1])), shape=(1, 3))
    if value == 0:
        validation.check_disjoint(entry, sp.csr_matrix([[0.0, 0, 1]]))
    else:
        with pytest.raises(ValueError, match="share 1 entries"):
            validation.check_disjoint(entry, entry)


@pytest.mark.parametrize("given", [0, np.array(0), np.float32(1), 0.5, 1])
def test_fractions(given):
    assert validation.check_fraction(given, "share") == float(given)


@pytest.mark.parametrize(
    ("bad", "exception"), [("x", TypeError), (None, TypeError), (1.1, ValueError), (np.nan, ValueError)]
)
def test_bad_fractions(bad, exception):
    with pytest.raises(exception, match="share"):
        validation.check_fraction(bad, "share")


def test_proper_fractions_counts_and_choices():
    for bad in (0, 1.0, -0.1):
        with pytest.raises(ValueError, match="share"):
            validation.check_proper_fraction(bad, "share")
    for bad in (0, 1.5, True, 11):
        with pytest.raises(ValueError, match="n_tags"):
            validation.check_count(bad, "n_tags", largest=10)
    validation.check_count(np.int64(10), "n_tags", largest=10)
    with pytest.raises(ValueError, match="'third'"):
        validation.check_choice("third", "part", ("first", "second"))
    with pytest.raises(ValueError, match="by_name and by_tag"):
        validation.check_feature_choice(by_name=False, by_tag=False)


def test_seeds_and_generators():
    generator = np.random.RandomState(1)
    assert validation.check_random_state(generator) is generator
    assert validation.check_random_state(1).rand() == np.random.RandomState(1).rand()
    assert validation.check_random_state([1, 2]).rand() == np.random.RandomState([1, 2]).rand()
    for bad, exception in (("x", TypeError), (np.random.default_rng(1), TypeError), (-1, ValueError)):
        with pytest.raises(exception):
            validation.check_random_state(bad)


@pytest.mark.parametrize("name", ["k", "n", "no_components", "max_sampled"])
@pytest.mark.parametrize("value", [1, np.int8(3), 1000])
def test_whole_parameters(name, value):
    validation.check_parameters({name: value})


def test_runs():
    validation.check_run(0, 1)
    validation.check_run(np.int64(3), np.int32(2))
    for epochs, num_threads, exception in (
        (-1, 1, ValueError),
        (1, 0, ValueError),
        (1.0, 1, TypeError),
        (1, "2", TypeError),
    ):
        with pytest.raises(exception, match="epochs|num_threads"):
            validation.check_run(epochs, num_threads)


# ---------------------------------------------------------------------------------------------- optional libraries


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A pyarrow that is installed but raises when it is imported, as one built for another NumPy."""

    def install(raised):
        (tmp_path / "pyarrow.py").write_text(f"raise {raised}\n")
        for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(validation, "_BROKEN", set())

    return install


@pytest.mark.parametrize(
    "raised",
    [
        "ImportError('numpy.core.multiarray failed to import')",
        "AttributeError('_ARRAY_API not found')",
        "ValueError('numpy.dtype size changed')",
        "ModuleNotFoundError('No module named numpy.libs', name='numpy.libs')",
    ],
)
def test_a_library_that_does_not_import_counts_as_absent_and_is_warned_of_once(broken, raised):
    broken(raised)
    with pytest.warns(
        RuntimeWarning, match="pyarrow is installed but does not import .*: lightfm_fast does without it"
    ):
        dataset = Dataset.from_tables({"user_id": ["a", "b"], "item_id": ["x", "x"]})
    assert dataset.interactions.toarray().tolist() == [[1], [1]]
    Dataset.from_tables({"user_id": ["a"], "item_id": ["x"]})
    with pytest.raises(
        ImportError, match=r"needs pyarrow, which is installed but does not import .*lightfm_fast\[cli\]"
    ):
        validation.import_optional("pyarrow", "cli", "A file")


def test_a_library_that_is_absent_is_no_warning(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert not validation.importable("pyarrow")
    with pytest.raises(ImportError, match="needs pyarrow, which is not installed"):
        validation.import_optional("pyarrow", "cli", "A file")


def known_pair():
    dataset = Dataset()
    dataset.fit(["ann"], ["dune"], item_features=["novel"])
    return dataset


def fitted():
    return LightFM().fit(np.eye(3))


def assigned(**attributes):
    model = fitted()
    vars(model).update(attributes)
    return model


class Assigning(Callback):
    def __init__(self, **attributes):
        self.attributes = attributes

    def begin(self, model, n_epochs):
        vars(model).update(self.attributes)


@pytest.mark.parametrize(
    ("call", "exception", "message"),
    [
        (lambda: Dataset().fit([["ann"]], ["dune"]), TypeError, "expected a list of ids or names"),
        (lambda: Dataset().fit(5, ["dune"]), TypeError, "expected a list of ids or names"),
        (lambda: known_pair().build_interactions(7), TypeError, "got 7, expected rows"),
        (lambda: known_pair().build_interactions(np.array(7)), TypeError, "expected rows"),
        (lambda: known_pair().build_interactions([("ann", {})]), TypeError, "item id must be hashable"),
        (lambda: known_pair().build_item_features([("dune", [[]])]), TypeError, "item feature must be hashable"),
        (lambda: Dataset.from_tables({"user_id": [1], "item_id": [1]}, user=np.ones(2)), TypeError, "name of a column"),
        (lambda: Dataset.from_tables({}, unknown=np.ones(0)), ValueError, "unknown is array"),
        (lambda: fitted().recommend([0], dataset=0.5), TypeError, "dataset is 0.5, expected a Dataset"),
        (lambda: fitted().predict([0, [1, 2]], [0, 1]), ValueError, "user_ids holds lists within a list"),
        (lambda: evaluate(fitted(), np.eye(3), metrics=3), ValueError, "metric is 3"),
        (lambda: evaluate(fitted(), np.eye(3), k=np.ones((2, 2))), TypeError, "k is an array of 2 dimensions"),
        (lambda: evaluate(fitted(), np.eye(3), k=[[1], [2]]), ValueError, r"k is \[1\]"),
        (lambda: known_pair().build_interactions([("ann", "dune", 10**400)]), ValueError, "beyond double precision"),
        (lambda: assigned(learning_schedule=np.array([])).recommend([0]), ValueError, "learning_schedule is array"),
        (lambda: assigned(no_components=[10]).predict(0, [0]), ValueError, r"no_components is \[10\]"),
        (lambda: LightFM().fit(np.eye(3), callbacks=[Assigning(init_scale="x")]), ValueError, "init_scale is 'x'"),
        (lambda: LightFM().fit(np.eye(3), callbacks=np.array(3)), TypeError, "callbacks is array"),
        (lambda: LightFM(random_state=-1), ValueError, "random_state is -1, expected None, an integer from 0"),
        (lambda: Text().fit(["", "a"]), ValueError, "nothing can be learned from 2 texts"),
    ],
)
def test_refusals_are_the_librarys_own(call, exception, message):
    with pytest.raises(exception, match=message):
        call()


def test_parameters_of_odd_types_are_shown():
    model = LightFM()
    model.temperature = np.array([0.15, 0.2])  # which fit refuses
    assert repr(model) == "LightFM(temperature=array([0.15, 0.2 ]))"
    assert repr(LightFM(no_components=np.int64(3))) == f"LightFM(no_components={np.int64(3)!r})"


def test_a_column_named_by_a_number_of_numpy_beside_one_named_by_a_tuple():
    table = {"user_id": [1], "item_id": [1], ("a", "b"): [2], 3: [4.0]}
    assert Dataset.from_tables(table, weight=np.int8(3)).weights.toarray().tolist() == [[4.0]]
    with pytest.raises(ValueError, match="no column 5"):
        Dataset.from_tables(table, weight=np.int8(5))
