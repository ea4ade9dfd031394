"""Dataset: ids and feature names to rows and columns."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from lightfm_fast.data import Dataset
from lightfm_fast.data.rows import _BATCH_ROWS
from lightfm_fast.features import Categorical, FeatureSpec, UnseenCategoryWarning

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

BUILDERS = ["build_user_features", "build_item_features"]


def fitted(identity=True):
    dataset = Dataset(user_identity_features=identity, item_identity_features=identity)
    dataset.fit(["ann", "bob"], [10, 20, 30], ["young", "old"], ["novel", ("by", "woolf")])
    return dataset


def user_features(data, identity=False, normalize=False):
    return fitted(identity).build_user_features(data, normalize).toarray().tolist()


# Mappings


def test_ids_and_names_are_numbered_in_the_order_first_seen():
    dataset = fitted()
    assert dataset.mapping() == (
        {"ann": 0, "bob": 1},
        {"ann": 0, "bob": 1, "young": 2, "old": 3},
        {10: 0, 20: 1, 30: 2},
        {10: 0, 20: 1, 30: 2, "novel": 3, ("by", "woolf"): 4},
    )
    assert dataset.interactions_shape() == (2, 3)
    assert dataset.user_features_shape() == (2, 4)
    assert dataset.item_features_shape() == (3, 5)
    assert dataset.model_dimensions() == (4, 5)


def test_identity_features_are_chosen_for_each_side():
    dataset = Dataset(user_identity_features=False)
    dataset.fit(["ann"], [10, 20], ["young"])
    assert dataset.mapping() == ({"ann": 0}, {"young": 0}, {10: 0, 20: 1}, {10: 0, 20: 1})


def test_a_name_that_is_also_an_id_is_one_feature():
    dataset = Dataset()
    dataset.fit(["ann"], [10], user_features=["ann", "young"])
    assert dataset.mapping()[1] == {"ann": 0, "young": 1}


def test_fit_partial_keeps_old_numbers_and_extends_the_same_dictionaries():
    dataset = fitted()
    held = dataset.mapping()
    assert dataset.fit_partial(users=["cid", "ann"], item_features=["poem"]) is None
    assert dataset.mapping()[1] == {"ann": 0, "bob": 1, "young": 2, "old": 3, "cid": 4}
    assert dataset.mapping()[3]["poem"] == 5
    assert all(old is new for old, new in zip(held, dataset.mapping(), strict=True))


def test_fit_starts_again_and_leaves_dictionaries_handed_out_alone():
    dataset = fitted()
    held = dataset.mapping()[0]
    assert dataset.fit(["zoe"], [1]) is None
    assert dataset.mapping() == ({"zoe": 0}, {"zoe": 0}, {1: 0}, {1: 0})
    assert held == {"ann": 0, "bob": 1}


def test_generators_and_arrays_give_the_same_mappings_as_lists():
    dataset = Dataset()
    dataset.fit((user for user in "abca"), np.array([7, 5, 7]), iter(["x"]), {"y": None})
    assert dataset.mapping() == (
        {"a": 0, "b": 1, "c": 2},
        {"a": 0, "b": 1, "c": 2, "x": 3},
        {7: 0, 5: 1},
        {7: 0, 5: 1, "y": 2},
    )


COLUMNS = {
    "array": np.array,
    "list of NumPy's numbers": lambda ids: list(np.array(ids)),
    "objects": lambda ids: pd.Series(list(np.array(ids)), dtype=object),
    "sparse": lambda ids: pd.Series(pd.arrays.SparseArray(np.array(ids))),
    "pandas": pd.Series,
    "polars": pl.Series,
    "pyarrow": pa.array,
}


@pytest.mark.parametrize("make", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("ids", [[5, 0, 7], [0.5, 1.5, 2.5], [True, False]], ids=["whole", "fractions", "truths"])
def test_ids_are_values_of_python(make, ids):
    """Parquet has no column of NumPy's scalars."""
    dataset = Dataset()
    dataset.fit(make(ids), [1])
    read = Dataset.from_tables({"user_id": make(ids), "item_id": ids})
    for users in (dataset.mapping()[0], read.mapping()[0]):
        assert list(users) == ids
        assert set(map(type, users)) == {type(ids[0])}
    dataset.fit([(np.int64(1), "a")], np.array(["x"]))
    assert [type(name) for name in [*next(iter(dataset.mapping()[0])), *dataset.mapping()[2]]] == [int, str, str]


@pytest.mark.parametrize(
    "column", [pd.Series([1, None]), pl.Series([1, None]), pa.array([1, None]), np.array([1, np.nan])]
)
def test_a_cell_without_an_id_is_not_passed_over(column):
    dataset = fitted()
    with pytest.raises(ValueError, match="the column of ids or names has none in row 1: leave it out"):
        dataset.fit_partial(users=column)
    assert dataset.mapping() == fitted().mapping()


def test_columns_of_a_frame_are_no_rows():
    """A frame of two rows would be read with its columns as rows."""
    frame = pl.DataFrame({"user": [10, 20], "item": [20, 10]})
    dataset = Dataset()
    dataset.fit([10, 20], [10, 20])
    for build in (dataset.build_interactions, dataset.build_item_features):
        with pytest.raises(TypeError, match="got a DataFrame, expected rows: from_tables and .* take frames"):
            build(frame)


@pytest.mark.parametrize("method", ["fit", "fit_partial"])
@pytest.mark.parametrize("bad", [5, [["unhashable"]]])
def test_a_bad_argument_changes_no_mapping(method, bad):
    dataset, untouched = fitted(), fitted()
    with pytest.raises(TypeError):
        getattr(dataset, method)(["new"], ["new"], ["new"], bad)
    assert dataset.mapping() == untouched.mapping()


@given(st.lists(st.lists(st.one_of(st.integers(), st.text()))))
def test_any_sequence_of_fit_partial_numbers_without_gaps(calls):
    dataset = Dataset()
    for ids in calls:
        dataset.fit_partial(users=iter(ids), items=ids)
    seen = list(dict.fromkeys(name for ids in calls for name in ids))
    for mapping in dataset.mapping():
        assert list(mapping.items()) == list(zip(seen, range(len(seen)), strict=True))


# Interactions


def test_interactions_have_lightfm_types_and_the_order_given():
    data = [("bob", 30, -2.5), ("ann", 10), ("bob", 30, 4)]
    interactions, weights = fitted().build_interactions(data)
    for matrix, dtype, values in [(interactions, np.int32, [1, 1, 1]), (weights, np.float32, [-2.5, 1, 4])]:
        assert type(matrix) is sp.coo_matrix
        assert matrix.shape == (2, 3)
        assert matrix.dtype == dtype
        assert matrix.row.dtype == matrix.col.dtype == np.int32
        assert matrix.row.tolist() == [1, 0, 1]
        assert matrix.col.tolist() == [2, 0, 2]
        assert matrix.data.tolist() == values


def test_interactions_and_weights_share_no_memory():
    interactions, weights = fitted().build_interactions([("ann", 10)])
    assert not np.shares_memory(interactions.row, weights.row)
    assert not np.shares_memory(interactions.col, weights.col)


@pytest.mark.parametrize(
    "row",
    [
        ["ann", 20],
        {"user": "ann", "item": 20}.values(),
        ("ann", np.int64(20)),
        ("ann", 20, np.float32(1)),
        ("ann", 20, True),
    ],
)
def test_a_row_may_be_any_pair_or_triple(row):
    _, weights = fitted().build_interactions([row])
    assert weights.toarray().tolist() == [[0, 1, 0], [0, 0, 0]]


def test_a_numeric_array_is_a_sequence_of_rows():
    dataset = Dataset()
    dataset.fit(range(2), range(3))
    _, weights = dataset.build_interactions(np.array([[0, 1, 0.5], [1, 2, 2.0]]))
    assert weights.toarray().tolist() == [[0, 0.5, 0], [0, 0, 2]]


def test_no_interactions_make_empty_matrices():
    for matrix, dtype in zip(fitted().build_interactions([]), [np.int32, np.float32], strict=True):
        assert (matrix.shape, matrix.nnz, matrix.dtype) == ((2, 3), 0, dtype)


def test_a_generator_longer_than_a_batch_is_consumed_whole_with_both_forms_of_rows():
    n_rows = _BATCH_ROWS + 3
    dataset = Dataset()
    dataset.fit(range(n_rows), [0])
    _, weights = dataset.build_interactions((user, 0, 2) if user == n_rows - 1 else (user, 0) for user in range(n_rows))
    assert weights.row.tolist() == list(range(n_rows))
    assert weights.data.sum() == n_rows + 1


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 6), st.none() | st.floats(-(2.0**100), 2.0**100, width=32)),
        max_size=30,
    )
)
def test_interactions_agree_with_one_row_at_a_time(rows):
    dataset = Dataset()
    dataset.fit([f"u{user}" for user in range(5)], [f"i{item}" for item in range(7)])
    data = [(f"u{user}", f"i{item}") + (() if weight is None else (weight,)) for user, item, weight in rows]
    interactions, weights = dataset.build_interactions(iter(data))
    expected = [(user, item, 1.0 if weight is None else weight) for user, item, weight in rows]
    assert list(zip(weights.row, weights.col, weights.data, strict=True)) == expected
    assert list(zip(interactions.row, interactions.col, interactions.data, strict=True)) == [
        (user, item, 1) for user, item, _ in rows
    ]


@pytest.mark.parametrize(
    ("row", "exception", "message"),
    [
        (("zoe", 10), ValueError, r"user id 'zoe' .*fit_partial\(users=\.\.\.\)"),
        (("ann", "10"), ValueError, r"item id '10' .*fit_partial\(items=\.\.\.\)"),
        ((("ann", 1), 10), ValueError, r"user id \('ann', 1\)"),
        (("ann",), ValueError, r"\(user id, item id, weight\), got \('ann',\)"),
        (("ann", 10, 1.0, 2), ValueError, r"got \('ann', 10, 1.0, 2\)"),
        (5, TypeError, r"\(user id, item id\) or"),
        ((["ann"], 10), TypeError, "unhashable"),
        (("ann", 10, np.nan), ValueError, "weight nan"),
        (("ann", 10, -np.inf), ValueError, "weight -inf"),
        (("ann", 10, 1e39), ValueError, r"weight 1e\+39"),
        (("ann", 10, "3"), TypeError, "expected a number"),
        (("ann", 10, None), TypeError, "expected a number"),
    ],
)
def test_bad_interactions_are_named(row, exception, message):
    with pytest.raises(exception, match=message):
        fitted().build_interactions([("bob", 20), row])


def test_sparse_matrices_are_not_rows_of_interactions():
    for matrix in (sp.coo_matrix(np.ones((2, 3))), sp.csr_matrix(np.ones((2, 3)))):
        with pytest.raises(TypeError):
            fitted().build_interactions(matrix)


# Features


def test_features_are_names_or_weights_by_name():
    assert user_features([("ann", ["old"]), ("bob", {"young": 3, "old": 0.5})]) == [[0, 1], [3, 0.5]]


def test_identity_features_come_first():
    assert user_features([("bob", ["old"])], identity=True) == [[1, 0, 0, 0], [0, 1, 0, 1]]


def test_features_given_again_are_added():
    assert user_features([("ann", ["old", "old"]), ("ann", {"old": 0.5, "young": 2})]) == [[2, 2.5], [0, 0]]


@pytest.mark.parametrize("build", BUILDERS)
def test_feature_matrices_have_lightfm_types(build):
    dataset = fitted()
    matrix = getattr(dataset, build)([])
    assert type(matrix) is sp.csr_matrix
    assert matrix.dtype == np.float32
    assert matrix.shape == (dataset.user_features_shape() if "user" in build else dataset.item_features_shape())
    assert matrix.has_canonical_format


def test_item_features_use_the_item_side():
    matrix = fitted().build_item_features((item, [("by", "woolf")]) for item in [30])
    assert matrix.toarray().tolist() == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0.5, 0, 0.5]]


@pytest.mark.parametrize("build", BUILDERS)
def test_rows_are_normalized_unless_told_otherwise(build):
    dataset = Dataset()
    dataset.fit(["a"], ["a"], ["x"], ["x"])
    data = [("a", {"x": 3})]
    assert getattr(dataset, build)(data).toarray().tolist() == [[0.25, 0.75]]
    assert getattr(dataset, build)(data, normalize=False).toarray().tolist() == [[1, 3]]


def test_normalization_divides_by_absolute_weights():
    data = [("ann", {"young": 1, "old": -3}), ("bob", ["old"])]
    assert user_features(data, normalize=True) == [[0.25, -0.75], [0, 1]]


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), st.floats(0.0625, 1e6, width=32), min_size=1), min_size=1))
def test_normalized_rows_sum_to_one(rows):
    dataset = Dataset(user_identity_features=False)
    dataset.fit(range(len(rows)), [0], [*"abcd"])
    matrix = dataset.build_user_features(enumerate(rows))
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)
    for user, weights in enumerate(rows):
        expected = [weights.get(name, 0) / sum(weights.values()) for name in "abcd"]
        np.testing.assert_allclose(matrix.toarray()[user], expected, rtol=1e-6)


@pytest.mark.parametrize("features", [[], {"old": 0}, {}], ids=["no features", "a zero weight", "no weights"])
def test_normalization_refuses_a_row_that_sums_to_zero(features):
    with pytest.raises(ValueError, match=r"1 of 2 users .* 'bob'.*normalize=False"):
        user_features([("ann", ["old"]), ("bob", features)], normalize=True)
    assert user_features([("ann", ["old"]), ("bob", features)]) == [[0, 1], [0, 0]]


def test_normalization_refuses_weights_that_cancel():
    with pytest.raises(ValueError, match="'bob'"):
        user_features([("ann", ["old"]), ("bob", {"old": 2}), ("bob", {"old": -2})], normalize=True)


def test_features_longer_than_a_batch_are_consumed_whole():
    n_users = _BATCH_ROWS + 3
    dataset = Dataset(user_identity_features=False)
    dataset.fit(range(n_users), [0], ["even", "odd"])
    matrix = dataset.build_user_features((user, ["odd" if user % 2 else "even"]) for user in range(n_users))
    assert matrix.indices.tolist() == [user % 2 for user in range(n_users)]


@pytest.mark.parametrize(
    ("row", "exception", "message"),
    [
        (("zoe", ["old"]), ValueError, r"user id 'zoe' .*fit_partial\(users=\.\.\.\)"),
        (("ann", ["tall"]), ValueError, r"user feature 'tall' .*fit_partial\(user_features=\.\.\.\)"),
        (("ann", ["old"], 1.0), ValueError, r"\(user id, features\), got \('ann', \['old'\], 1.0\)"),
        (5, TypeError, r"\(user id, features\)"),
        (("ann", None), TypeError, "features of user 'ann' are None"),
        (("ann", [["old"]]), TypeError, "unhashable"),
        (("ann", {"old": np.inf}), ValueError, "weight inf"),
        (("ann", {"old": np.nan}), ValueError, "weight nan"),
        (("ann", {"old": "1"}), TypeError, "expected a number"),
    ],
)
@pytest.mark.parametrize("normalize", [True, False])
def test_bad_features_are_named(row, exception, message, normalize):
    with pytest.raises(exception, match=message):
        user_features([("bob", ["old"]), row], normalize=normalize)


def test_building_leaves_the_data_and_the_mappings_alone():
    dataset, untouched = fitted(), fitted()
    interactions, features = [["ann", 10, 2.0]], [("ann", {"old": 2.0})]
    dataset.build_interactions(interactions)
    dataset.build_user_features(features)
    assert interactions == [["ann", 10, 2.0]]
    assert features == [("ann", {"old": 2.0})]
    assert dataset.mapping() == untouched.mapping()


@pytest.mark.parametrize("method", ["build_interactions", *BUILDERS])
@pytest.mark.parametrize("data", [[], [("ann", [10])]])
def test_building_before_fit_says_what_to_call(method, data):
    with pytest.raises(ValueError, match="call fit"):
        getattr(Dataset(), method)(data)


def test_shapes_before_fit_are_empty():
    dataset = Dataset()
    assert dataset.interactions_shape() == dataset.user_features_shape() == dataset.item_features_shape() == (0, 0)
    assert dataset.model_dimensions() == (0, 0)
    assert dataset.mapping() == ({}, {}, {}, {})


def test_user_features_need_no_items():
    dataset = Dataset()
    dataset.fit_partial(users=["ann"])
    assert dataset.build_user_features([]).toarray().tolist() == [[1]]
    with pytest.raises(ValueError, match="knows no items"):
        dataset.build_interactions([])


# Newcomers


@pytest.mark.parametrize("side", ["user", "item"])
def test_newcomers_have_the_features_that_are_known(side):
    table = {"user_id": ["ann", "bob"], "item_id": [1, 2], "town": ["Rome", "Oslo"]}
    spec = FeatureSpec({"town": Categorical()})
    dataset = Dataset.from_tables(table, table, table, **{f"{side}_features": spec})
    before = [dict(mapping) for mapping in dataset.mapping()]
    with pytest.warns(UnseenCategoryWarning, match="'town': 1 of 3 values was not seen in fitting: 'Bern' in row 1"):
        found = getattr(dataset, f"encode_new_{side}s")({"town": ["Oslo", "Bern", "Rome"]}, spec)
    assert found.dtype == np.float32
    assert found.toarray().tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert [dict(mapping) for mapping in dataset.mapping()] == before


def test_newcomers_of_an_encoder_that_the_dataset_does_not_have():
    spec = FeatureSpec({"town": Categorical()}).fit({"town": ["Bern"]})
    with pytest.raises(ValueError, match="user feature 'town:Bern' is unknown to the dataset"):
        fitted().encode_new_users({"town": ["Bern"]}, spec)


@pytest.mark.parametrize("text", ["ab", b"ab", ""])
def test_one_text_is_no_list_of_names(text):
    dataset = Dataset()
    dataset.fit(["a", "b"], ["a", "b"], ["a", "b"], ["a", "b"])
    before = [dict(names) for names in dataset.mapping()]
    for method in (dataset.fit, dataset.fit_partial):
        for name in ("users", "items", "user_features", "item_features"):
            arguments = {"users": ["a"], "items": ["a"], name: text}
            with pytest.raises(TypeError, match="expected a list of ids or names"):
                method(**arguments)
    for build in (dataset.build_user_features, dataset.build_item_features):
        with pytest.raises(TypeError, match="expected a list of names or a dict"):
            build([("a", text)])
        with pytest.raises(TypeError, match="got the text"):
            build([text])
    with pytest.raises(TypeError, match="got the text"):
        dataset.build_interactions([text])
    assert [dict(names) for names in dataset.mapping()] == before
