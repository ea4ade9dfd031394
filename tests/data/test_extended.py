"""A dataset that is extended by later frames has the matrices of one made of all frames."""

from datetime import datetime
from uuid import UUID

import numpy as np
import pytest

from lightfm_fast.data import Dataset, UnknownIdsError
from lightfm_fast.features import Categorical, FeatureSpec

VIEWS = {"user": ["ann", "bob", "ann"], "item": [7, 7, 9], "stars": [5, 1, 4], "day": [1, 2, 3]}
LATER = {"user": ["ann", "cid", "bob"], "item": [9, 7, 8], "stars": [2, 5, 4], "day": [5, 5, 4]}
USERS = {"user": ["ann", "bob"], "town": ["Rome", "Oslo"]}
ITEMS = {"item": [7, 9], "kind": ["x", "y"]}
COLUMNS = {"user": "user", "item": "item", "value": "stars", "positive_from": 4, "time": "day"}


def make(**options):
    return Dataset.from_tables(VIEWS, USERS, ITEMS, **{**COLUMNS, **options})


def joined(*frames):
    return {name: [value for frame in frames for value in frame[name]] for name in frames[0]}


@pytest.mark.parametrize("duplicates", ["sum", "max", "last"])
def test_interactions_are_merged(duplicates):
    later = make(duplicates=duplicates).extended(LATER, duplicates=duplicates)
    at_once = Dataset.from_tables(joined(VIEWS, LATER), duplicates=duplicates, **COLUMNS)
    for name in ("interactions", "weights"):
        first, second = getattr(later, name), getattr(at_once, name)
        assert first.toarray().tolist() == second.toarray().tolist()
    assert later.timestamps.tolist() == at_once.timestamps.tolist()
    assert later.mapping()[0] == at_once.mapping()[0]


def test_what_is_known_counts_as_earlier_without_times():
    dataset = Dataset.from_tables(VIEWS, **{**COLUMNS, "time": None})
    later = dataset.extended(LATER, duplicates="last")
    assert later.interactions.toarray()[0].tolist() == [1, -1, 0]  # ann liked 9, and does no more


@pytest.mark.parametrize("normalize", [None, True, False])
@pytest.mark.parametrize("identity", [True, False])
def test_features_are_those_of_one_frame(normalize, identity):
    spec = FeatureSpec({"town": Categorical()})
    options = {"user_features": spec, "normalize": normalize, "user_identity_features": identity}
    more = {"user": ["cid", "ann"], "town": ["Oslo", "Oslo"]}  # ann has moved
    later = make(**options).extended(LATER, users=more, items={"item": [8], "kind": ["x"]})
    users = {"user": ["ann", "bob", "cid"], "town": ["Oslo", "Oslo", "Oslo"]}
    towns = {"Rome": 0, "Oslo": 1}
    names = later.mapping()[1]
    dense = later.user_features.toarray()
    assert dense.shape == (3, 5 if identity else 2)
    for row, (user, town) in enumerate(zip(users["user"], users["town"], strict=True)):
        weights = {f"town:{name}": float(name == town) for name in towns}
        if identity:
            weights.update({other: float(other == user) for other in users["user"]})
        total = sum(weights.values()) if normalize else 1
        assert dense[row].tolist() == pytest.approx([weights[name] / total for name in names])


def test_new_ids_without_a_row_have_their_identity():
    later = make(user_features=["town"]).extended(LATER)
    row = later.user_features[2]
    assert [list(later.mapping()[1])[column] for column in row.indices] == ["cid"]
    assert later.item_features is None


def test_it_stays_as_it_was():
    dataset = make(user_features=["town"])
    before = dataset.to_state()
    matrices = dataset.interactions.toarray(), dataset.user_features.toarray()
    with pytest.raises(UnknownIdsError, match="1 of 3 rows name 1 user"):
        dataset.extended(LATER, unknown="raise")
    with pytest.raises(ValueError, match="town:Lima"):
        dataset.extended(users={"user": ["cid"], "town": ["Lima"]})
    later = dataset.extended(LATER, users={"user": ["cid"], "town": ["Rome"]})
    later.fit_partial(users=["dan"])
    later.interactions.data[:] = 9
    state = dataset.to_state()
    assert {name: state[name] for name in state if name != "encoders"} == {
        name: before[name] for name in before if name != "encoders"
    }
    for matrix, old in zip((dataset.interactions, dataset.user_features), matrices, strict=True):
        assert np.array_equal(matrix.toarray(), old)


def test_unknown_ids_are_skipped_and_counted():
    later = make().extended(LATER, unknown="skip")
    assert later.interactions_shape() == (2, 2)
    assert (later.n_skipped, later.first_skipped) == (2, (1, "user", "cid"))


ONE, TWO, THREE, FOUR = (UUID(int=number) for number in range(1, 5))
DAYS = {  # the ids of a day, those of later days, and what they are
    "text among numbers": ([1, 2], [["2", "3", "4"], [4, 2.0, "03"]], [1, 2, 3, 4]),
    "numbers among text": (["1", "2"], [[2, 3, 4], ["4", 3, "1"], [3.0]], ["1", "2", "3", "4"]),
    "floats among numbers": ([1, 2], [[2.0, 3.0], ["4.0"]], [1, 2, 3, 4]),
    "numbers among floats": ([1.5, 2.0], [[2, 3], ["4"], [2**53 + 1]], [1.5, 2.0, 3.0, 4.0, 2**53 + 1]),
    "text among UUIDs": ([ONE, TWO], [[str(TWO), str(THREE).upper()], [FOUR, THREE]], [ONE, TWO, THREE, FOUR]),
    "UUIDs among text": ([str(ONE)], [[ONE, TWO], [str(TWO), THREE]], [str(ONE), str(TWO), str(THREE)]),
    "guests among numbers": ([1], [["guest", "2"], ["3", 2], [3, "1"]], [1, "guest", 2, "3"]),
    "two spellings of a number": ([1], [["2", "02"]], [1, "2", "02"]),
    "a number and its text": ([1], [[2, "2"], ["2", 2]], [1, 2, "2"]),
    "numbers among UUIDs": ([ONE], [[1, "2"]], [ONE, 1, "2"]),
    "truth values": ([1], [["True"]], [1, "True"]),
}


@pytest.mark.parametrize("case", DAYS)
def test_new_ids_take_the_type_of_known_ones(case):
    first, later, expected = DAYS[case]
    dataset = Dataset.from_tables({"user_id": first, "item_id": ["x"] * len(first)})
    for ids in later:
        dataset = dataset.extended({"user_id": np.array(ids, object), "item_id": ["x"] * len(ids)})
    found = list(dataset.mapping()[0])
    assert found == expected
    assert [*map(type, found)] == [*map(type, expected)]
    assert [*dataset.mapping()[1]] == expected
    listed = dataset.extended(users={"user_id": [*expected, "new"]})
    assert listed.interactions_shape()[0] == len(expected) + 1


def test_ids_that_lost_their_zeros_are_noticed():
    dataset = Dataset.from_tables({"user_id": ["007", "042", "x", ""], "item_id": ["a", "b", "c", "d"]})
    for late, first in ((["7", "042", "43"], "'7' beside '007'"), (["0042"], "'0042' beside '042'")):
        with pytest.warns(UserWarning, match=f"1 user would be there twice if zeros do not count, {first} first"):
            dataset.extended({"user_id": late, "item_id": ["a"] * len(late)})
    dataset.extended({"user_id": ["42x", "8", "043", 7], "item_id": ["a"] * 4})  # 7 is "007"


def test_a_new_id_is_not_the_name_of_a_feature():
    dataset = make(user_features=["town"])
    late = {**LATER, "user": ["ann", "town:Oslo", "bob"]}
    for extend in (dataset.extended, lambda frame: dataset.build_interactions_from_table(frame, unknown="add")):
        with pytest.raises(ValueError, match="^'town:Oslo' names one of the users and one of their features"):
            extend(late)
        assert dataset.user_features_shape() == (2, 4)
    apart = make(user_features=["town"], user_identity_features=False, normalize=False).extended(late)
    assert apart.user_features_shape() == (3, 2)


def test_times_stay_of_one_kind():
    with pytest.raises(TypeError, match="column 'day' has dates but numbers in the known interactions"):
        make().extended({**LATER, "day": np.array(["2024-01-01"] * 3, "datetime64[D]")})


@pytest.mark.parametrize("finer", ["ns", "as"])
def test_times_of_two_units_do_not_overflow(finer):
    """The year 9999, which often stands for no end, does not fit in nanoseconds."""
    known, later = (
        {"user": ["ann"], "item": [7], "stars": [stars], "day": np.array(["2000-01-01", day], unit)[-1:]}
        for stars, day, unit in ((5, "9999-12-31", "datetime64[us]"), (1, "1970-01-01", f"datetime64[{finer}]"))
    )
    dataset = Dataset.from_tables(known, **COLUMNS).extended(later, duplicates="last")
    assert dataset.timestamps.tolist() == [datetime(9999, 12, 31)]
    assert dataset.interactions.toarray().tolist() == [[1]]
    far = {**known, "day": np.array(["300000"], "datetime64[Y]")}
    with pytest.raises(ValueError, match="column 'day' has a time out of the range of microseconds"):
        Dataset.from_tables(far, **COLUMNS).extended(later)


@pytest.mark.parametrize("times", [np.array(["2024-01-01", "2024-01-02", "2023-01-01"], "datetime64[D]"), [3, 2, 1]])
@pytest.mark.parametrize("empty", [[], np.array([], object), np.array([], "datetime64[s]"), np.array([], float)])
def test_a_day_without_rows_changes_nothing(times, empty):
    dated = {**VIEWS, "day": times}
    nothing = {"user": [], "item": [], "stars": [], "day": empty}
    dataset = Dataset.from_tables(dated, **COLUMNS)
    for later in (dataset.extended(nothing), Dataset.from_tables(nothing, USERS, ITEMS, **COLUMNS).extended(dated)):
        assert np.array_equal(later.timestamps, dataset.timestamps)
        assert later.interactions.toarray().tolist() == dataset.interactions.toarray().tolist()


def test_newcomers_have_rows_of_their_own():
    dataset = make()
    users, matrix = dataset.build_interactions_of_newcomers({**LATER, "user": ["zoe", "yan", "zoe"], "item": [9, 7, 7]})
    assert users == ["zoe", "yan"]
    assert matrix.toarray().tolist() == [[1, -1], [1, 0]]
    users, matrix = dataset.build_interactions_of_newcomers(
        {**LATER, "user": ["zoe", "yan", "who"], "item": [9, 8, 7]}, ["yan", "zoe"], unknown="skip"
    )
    assert (users, matrix.toarray().tolist()) == (["yan", "zoe"], [[0, 0], [0, -1]])
    assert dataset.interactions_shape() == (2, 2)


def test_newcomers_are_encoded_by_the_dataset_itself():
    dataset = make(user_features=["town"])
    town = {"town": ["Oslo", None]}
    encoded = dataset.encode_new_users(town)
    names = list(dataset.mapping()[1])
    assert encoded.toarray().tolist() == [[float(name == "town:Oslo") for name in names], [0.0] * len(names)]
    with pytest.raises(ValueError, match="was not told how to encode items"):
        dataset.encode_new_items({"kind": ["x"]})
    for encoder in ("kind", object(), [1.0]):
        with pytest.raises(TypeError, match="^encoder is .*expected one of lightfm_fast.features"):
            dataset.encode_new_items({"kind": ["x"]}, encoder)
