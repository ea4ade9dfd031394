"""A model that was trained on shards answers in ids, by their dataset."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM, Recommender, load
from lightfm_fast.data import Dataset
from lightfm_fast.sharded import ShardedDataset

pytest.importorskip("pyarrow")
N_USERS, N_ITEMS = 60, 20
NAMES = {"user": "who", "item": "film", "value": "stars", "positive_from": 3, "weight": "count", "time": "day"}


def make_rows():
    rng = np.random.RandomState(0)
    pairs = rng.permutation(N_USERS * N_ITEMS)[:500]
    return {
        "who": [f"user-{pair // N_ITEMS}" for pair in pairs],
        "film": [f"film-{pair % N_ITEMS}" for pair in pairs],
        "stars": rng.randint(1, 6, 500),
        "count": rng.randint(1, 4, 500),
        "day": rng.randint(0, 100, 500),
    }


USERS = {"who": [f"user-{n}" for n in range(N_USERS)], "town": [f"town-{n % 3}" for n in range(N_USERS)]}
ITEMS = {"film": [f"film-{n}" for n in range(N_ITEMS)], "kind": [f"kind-{n % 2}" for n in range(N_ITEMS)]}
OF_ITEMS = {"items": ITEMS, "item_features": ["kind"]}
SIDES = {"users": USERS, "items": ITEMS, "user_features": ["town"], "item_features": ["kind"]}


def by_ids(dataset, matrix):
    """Return the entries of a matrix by the ids of their rows and columns."""
    users, items = (list(dataset.mapping()[place]) for place in (0, 2))
    matrix = matrix.tocoo()
    return {
        (users[row], items[column]): value
        for row, column, value in zip(matrix.row, matrix.col, matrix.data, strict=True)
    }


@pytest.mark.parametrize("sides", [{}, OF_ITEMS, SIDES], ids=["ids", "features of items", "features"])
def test_it_is_the_dataset_of_the_same_tables(tmp_path, sides):
    shards = ShardedDataset.from_tables([make_rows()], tmp_path / "shards", **NAMES, **sides, n_shards=3)
    assert len(shards) == 3
    dataset, expected = shards.to_dataset(), Dataset.from_tables(make_rows(), **NAMES, **sides)
    assert dataset.interactions_shape() == shards.shape
    assert (dataset.columns, dataset.positive_from) == (expected.columns, 3)
    assert by_ids(dataset, dataset.interactions) == by_ids(expected, expected.interactions)
    assert by_ids(dataset, dataset.weights) == by_ids(expected, expected.weights)
    times = [
        by_ids(one, one.interactions.__class__((one.timestamps + 1, (one.interactions.row, one.interactions.col))))
        for one in (dataset, expected)
    ]
    assert times[0] == times[1]
    if sides:
        assert_allclose(dataset.item_features.toarray(), expected.item_features.toarray())
    else:
        assert dataset.item_features is None
    if sides is not SIDES:
        assert dataset.user_features is None
        return
    users, names = (list(expected.mapping()[place]) for place in (0, 1))
    own_users, own_names, *_ = map(list, dataset.mapping())
    assert set(own_names) == set(names)
    ours = dataset.user_features[[own_users.index(name) for name in users]].toarray()
    assert_allclose(ours[:, [own_names.index(name) for name in names]], expected.user_features.toarray())


@pytest.mark.parametrize("sides", [{}, OF_ITEMS, SIDES], ids=["ids", "features of items", "features"])
def test_a_recommender_answers_as_the_shards_do(tmp_path, sides):
    shards = ShardedDataset.from_tables([make_rows()], tmp_path / "shards", **NAMES, **sides, n_shards=3)
    model = LightFM(loss="warp", no_components=4, random_state=1)
    model.fit(shards, item_features=shards.item_features, epochs=3)
    Recommender(model, shards.to_dataset()).save(tmp_path / "model")
    recommender = load(tmp_path / "model")
    for shard in shards:
        first = 0 if sides is SIDES else shard.first
        features = {"user_features": shard.user_features} if sides is SIDES else {}
        for row, name in enumerate(shard.user_ids[:5]):
            answer = recommender.recommend(name, n=3)
            seen = {shards.item_ids[column] for column in shard.interactions[row].indices}
            assert not seen & set(answer["film"])
            expected = model.predict(
                np.full(N_ITEMS, first + row), np.arange(N_ITEMS), item_features=shards.item_features, **features
            )
            by_score = [shards.item_ids[column] for column in np.argsort(-expected)]
            assert answer["film"] == [film for film in by_score if film not in seen][:3]
    assert recommender.similar_items("film-3", n=2)["similar_film"]
    assert recommender.explain("user-3", "film-3").rows()
    late = {name: cells[:1] for name, cells in make_rows().items()} | {"who": ["zoe"]}
    more = {"users": {"who": ["zoe"], "town": ["town-1"]}} if sides is SIDES else {}
    assert recommender.update(late, **more).recommend("zoe", n=2)["film"]
    if sides is SIDES:
        assert recommender.recommend({"town": "town-1"}, n=2)["film"]


def test_without_interactions(tmp_path):
    shards = ShardedDataset.from_tables([make_rows()], tmp_path / "shards", **NAMES, n_shards=2)
    model = LightFM().fit(shards)
    recommender = Recommender(model, shards.to_dataset(interactions=False))
    with pytest.raises(ValueError, match="filter_seen=False"):
        recommender.recommend("user-3")
    assert recommender.recommend("user-3", filter_seen=False)["film"]
    with pytest.raises(ValueError, match="interactions is 'no', expected True or False"):
        shards.to_dataset("no")


def test_a_part_of_a_split_knows_its_rows(tmp_path):
    shards = ShardedDataset.from_tables([make_rows()], tmp_path / "shards", **NAMES, n_shards=2)
    train, test = shards.split(tmp_path / "train", tmp_path / "test")
    parts = [part.to_dataset() for part in (train, test)]
    assert parts[0].mapping() == parts[1].mapping() == shards.to_dataset().mapping()
    assert sum(part.interactions.nnz for part in parts) == shards.n_interactions
    assert parts[0].positive_from == 3
    recommender = Recommender(LightFM(loss="warp", random_state=1).fit(train, epochs=2), parts[0])
    found = recommender.evaluate({name: cells[:50] for name, cells in make_rows().items()}, metrics="auc")
    assert np.isfinite(found["auc"])


def test_a_user_named_as_a_feature_is_refused(tmp_path):
    users = {"who": ["ann", "town:Oslo"], "town": ["Oslo", "Oslo"]}
    rows = {"who": ["ann", "town:Oslo"], "film": ["a", "b"]}
    columns = {"user": "who", "item": "film", "users": users, "user_features": ["town"]}
    shards = ShardedDataset.from_tables([rows], tmp_path / "shards", **columns)
    with pytest.raises(ValueError, match=r"user_features has 3 names, some of them more than once"):
        shards.to_dataset()
    assert_array_equal(shards.shape, (2, 2))
