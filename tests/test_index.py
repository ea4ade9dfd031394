"""The approximate index finds most of the best items, and gives the model's scores."""

import copy
import json
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast._parameters import to_directions
from lightfm_fast.data import Dataset
from tests.models import N_LIKING, make_cold_items

N_USERS, N_ITEMS = 300, 700


def make_model(**features):
    model = LightFM(8, random_state=0)
    model.fit_partial(sp.coo_matrix((N_USERS, N_ITEMS), dtype=np.float32), epochs=0, **features)
    rng = np.random.RandomState(0)
    for name in ("user_embeddings", "item_embeddings", "user_biases", "item_biases"):
        setattr(model, name, rng.normal(size=getattr(model, name).shape))
    return model


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def index(model):
    return model.index(n_compared=500)


def test_finds_the_best_with_their_scores(model, index):
    users = np.arange(N_USERS)
    assert len(index) == N_ITEMS
    assert index.recall(users, 10) > 0.95
    ids, scores = index.recommend(users, 10, num_threads=2)
    predicted = model.predict(np.repeat(users, 10), ids.ravel()).reshape(-1, 10)
    assert_allclose(scores, predicted, rtol=1e-4, atol=1e-5)
    assert (np.diff(scores) <= 0).all()
    assert (ids.dtype, scores.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("spread", [0.0, 0.5], ids=["alike", "of many lengths"])
def test_a_fraction_of_the_items_holds_most_of_the_best(spread):
    n_items, rng = 6000, np.random.RandomState(0)
    tastes = rng.normal(size=(40, 16))  # embeddings gather around tastes, as trained ones do
    model = LightFM(16, random_state=0)
    model.fit_partial(sp.coo_matrix((100, n_items), dtype=np.float32), epochs=0)
    around = tastes[rng.randint(40, size=n_items)] + 0.5 * rng.normal(size=(n_items, 16))
    model.item_embeddings = around * rng.lognormal(0, spread, size=(n_items, 1))
    model.item_biases = rng.normal(size=n_items)
    model.user_embeddings = tastes[rng.randint(40, size=100)] + 0.5 * rng.normal(size=(100, 16))
    index = model.index(n_compared=600)
    assert index.recall(np.arange(100), 10) > 0.95
    index.n_compared = n_items
    assert index.recall(np.arange(100), 10) == 1


@pytest.mark.parametrize("n_compared", [1, 200, N_ITEMS])
def test_recall_is_the_share_found(model, n_compared):
    index = model.index(n_compared=n_compared)
    users = np.arange(N_USERS)
    exact, found = model.recommend(users, 10).ids, index.recommend(users, 10).ids
    share = np.mean([np.isin(best, row).mean() for best, row in zip(exact, found, strict=True)])
    assert_allclose(index.recall(users, 10), share)
    assert (share == 1) == (n_compared == N_ITEMS)


def test_a_saved_index_answers_alike(model, index, tmp_path):
    model.save(tmp_path / "model.safetensors")
    index.save(tmp_path / "items.index")
    loaded = LightFM.load(tmp_path / "model.safetensors", mmap=True).load_index(tmp_path / "items.index", "structure")
    assert (len(loaded), loaded.n_compared) == (N_ITEMS, 500)
    for found, expected in zip(loaded.recommend([5, 7], 9), index.recommend([5, 7], 9), strict=True):
        assert_array_equal(found, expected)


def test_a_file_of_another_model_or_state_is_refused(model, index, tmp_path):
    interactions = sp.coo_matrix(np.eye(N_USERS, N_ITEMS, dtype=np.float32))
    index.save(path := tmp_path / "items.index")
    changed = LightFM(8, random_state=0).fit(interactions)
    changed.set_state(model.get_state())
    changed.fit_partial(interactions)
    for other in (make_model(item_features=sp.csr_matrix(np.ones((N_ITEMS, 6)))), changed):
        with pytest.raises(ValueError, match="for another model, or before the model was trained last"):
            other.load_index(path)
    stale = changed.index()
    changed.fit_partial(interactions)
    with pytest.raises(ValueError, match="trained since this index was built"):
        stale.save(path)
    with pytest.raises(ValueError, match="a model of ItemIndex"):
        LightFM.load(path)
    model.save(path)
    with pytest.raises(ValueError, match="holds no index of this model: it is a model of LightFM"):
        model.load_index(path)


def test_a_file_is_of_a_model_with_all_that_its_scores_depend_on(tmp_path):
    """Training gives these models the same tables: they differ in what is beside them."""
    train, _, features = make_cold_items()
    identities = sp.csr_matrix(sp.hstack([features, sp.eye(features.shape[0], features.shape[0])]), dtype=np.float32)
    variants = [{}, {"cold_start": "mapping"}, {"cold_start": "content"}, {"linear_components": 3}]
    models = []
    for number, variant in enumerate(variants):
        made = LightFM(loss="bpr", no_components=6, random_state=3, **variant)
        models.append(made.fit(train, item_features=identities, epochs=3))
        made.index(item_features=identities).save(tmp_path / f"{number}.index")
        made.save(tmp_path / "model")
        loaded = LightFM.load(tmp_path / "model", mmap=True).load_index(tmp_path / f"{number}.index")
        expected = made.recommend(np.arange(N_LIKING), n=5, item_features=identities).scores
        assert_allclose(loaded.recommend(np.arange(N_LIKING), n=5).scores, expected, rtol=1e-4, atol=1e-5)
    for first, made in enumerate(models):
        for second in range(len(models)):
            if first != second:
                with pytest.raises(ValueError, match="was built for another model"):
                    made.load_index(tmp_path / f"{second}.index")
    index = models[-1].index(item_features=identities)
    models[-1].user_embeddings = 2 * models[-1].user_embeddings  # which leaves the autoencoder
    with pytest.raises(ValueError, match="trained since this index was built"):
        index.recommend([0])


def test_a_damaged_file_is_refused(model, index, tmp_path):
    index.save(path := tmp_path / "items.index")
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    for damaged, message in (
        (content[: len(content) // 2], "truncated or altered"),
        (content[:-9] + bytes([content[-9] ^ 1]) + content[-8:], "altered since it was saved"),
        (b"", "no safetensors file"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=message):
            model.load_index(path)
    for name in ("items", "places", "starts"):  # forged, where the digest is not compared
        first = start + header[name]["data_offsets"][0]
        path.write_bytes(content[:first] + (1 << 40).to_bytes(8, "little") + content[first + 8 :])
        with pytest.raises(ValueError, match="do not hold each item once"):
            model.load_index(path, verify="structure")


def test_seen_and_excluded_items_are_left_out(model, index):
    seen = sp.csr_matrix(np.random.RandomState(1).rand(N_USERS, N_ITEMS) < 0.3)
    users, exclude = np.arange(N_USERS)[::-1], np.arange(0, N_ITEMS, 2)
    for options in (
        {"interactions": seen},
        {"exclude": exclude},
        {"items": np.arange(1, N_ITEMS, 2)},
        {"interactions": seen, "exclude": exclude},
    ):
        ids, scores = index.recommend(users, 10, **options)
        expected = model.recommend(users, 10, **options)
        assert np.mean(ids == expected.ids) > 0.95
        assert_allclose(scores[ids == expected.ids], expected.scores[ids == expected.ids], rtol=1e-4, atol=1e-5)
        assert (ids >= 0).all()
        if "exclude" in options or "items" in options:
            assert (ids % 2 == 1).all()
        if "interactions" in options:
            assert not seen.toarray()[users[:, None], ids].any()
        assert index.recall(users, 10, **options) > 0.95
    assert_array_equal(index.recommend(users, 10, seen, filter_seen=False).ids, index.recommend(users, 10).ids)


def test_more_than_there_is(index):
    ids, scores = index.recommend(3, N_ITEMS + 5)
    assert (ids[0, -5:] == -1).all()
    assert np.isneginf(scores[0, -5:]).all()
    assert index.recommend(3, 4, exclude=np.arange(1, N_ITEMS)).ids.tolist() == [[0, -1, -1, -1]]
    assert index.recommend([], 4).ids.shape == (0, 4)


def test_users_folded_in(model, index):
    folded = model.fold_in_users(sp.csr_matrix(([1.0, 1, 1], ([0, 0, 1], [5, 6, 7])), shape=(2, N_ITEMS)))
    found, exact = (side.recommend([1, 0], 5, user_representations=folded) for side in (index, model))
    assert_array_equal(found.ids, exact.ids)
    assert_allclose(found.scores, exact.scores, rtol=1e-4, atol=1e-5)


def test_features_and_peoples_ids():
    features = sp.csr_matrix(np.random.RandomState(2).rand(N_ITEMS, 6), dtype=np.float32)
    model = make_model(item_features=features)
    index = model.index(features)
    dataset = Dataset()
    dataset.fit([f"user {i}" for i in range(N_USERS)], [f"item {i}" for i in range(N_ITEMS)])
    rows, expected = index.recommend(4, 5)
    ids, scores = index.recommend("user 4", 5, dataset=dataset)
    assert ids.tolist() == [[f"item {row}" for row in rows[0]]]
    assert_array_equal(scores, expected)
    assert_allclose(scores[0], model.predict(np.full(5, 4), rows[0], features), rtol=1e-4, atol=1e-5)
    first = f"item {rows[0, 0]}"
    assert index.recommend("user 4", 4, exclude=[first], dataset=dataset).ids.tolist() == ids[:, 1:].tolist()
    assert index.recall(["user 4", "user 7"], 5, exclude=[first], dataset=dataset) > 0.5
    with pytest.raises(ValueError, match="needs them here too"):
        model.index()


def test_a_model_that_was_trained_on_is_refused():
    interactions = sp.coo_matrix(np.eye(20, 30, dtype=np.float32))
    for change in (
        lambda model: model.fit_partial(interactions),
        lambda model: model.fit(interactions),
        lambda model: model.fit_partial(sp.coo_matrix((20, 31), dtype=np.float32), epochs=0),
    ):
        model = LightFM(4, random_state=0).fit(interactions)
        index = model.index()
        index.recommend(0)
        change(model)
        for method in (index.recommend, index.recall):
            with pytest.raises(ValueError, match="trained since this index was built"):
                method(0)


@pytest.mark.parametrize(
    "options", [{"exclude": np.arange(N_ITEMS)}, {"interactions": sp.csr_matrix(np.ones((N_USERS, N_ITEMS)))}]
)
def test_recall_of_nothing_is_refused(index, options):
    with pytest.raises(ValueError, match="no item is left to find for the 2 users"):
        index.recall([0, 1], **options)


def test_training_while_an_index_is_built_is_noticed(monkeypatch):
    interactions = sp.coo_matrix(np.eye(20, 30, dtype=np.float32))
    model = LightFM(4, random_state=0).fit(interactions)

    def train_too(embeddings):
        model.fit_partial(interactions)
        return to_directions(embeddings)

    monkeypatch.setattr("lightfm_fast.index.to_directions", train_too)
    index = model.index()
    with pytest.raises(ValueError, match="trained since this index was built"):
        index.recommend(0)


def test_an_index_is_saved_rather_than_pickled(index):
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"save it by index\.save\(path\), and load it by model\.load_index"):
            copied(index)


def test_input_is_judged(model, index):
    with pytest.raises(ValueError, match="n_compared is 0"):
        model.index(n_compared=0)
    for arguments, message in (
        ({"n": 0}, "n is 0"),
        ({"user_ids": N_USERS}, "users are asked for"),
        ({"exclude": [N_ITEMS]}, "exclude goes up to"),
        ({"interactions": np.ones((N_USERS, N_ITEMS + 1))}, "interactions has"),
    ):
        for method in (index.recommend, index.recall):
            with pytest.raises(ValueError, match=message):
                method(**{"user_ids": 0, **arguments})
    with pytest.raises(ValueError, match="fit the model"):
        LightFM().index()


def test_an_index_shows_what_it_is_of():
    model = make_model()
    index = model.index()
    assert repr(index) == f"<ItemIndex of {N_ITEMS} items in 8 dimensions>"
    assert "&lt;ItemIndex of" in index._repr_html_()
    model.fit_partial(np.ones((N_USERS, N_ITEMS)))
    assert repr(index).endswith("the model has been trained since: build it again>")


def test_scores_are_the_models_where_there_are_coordinates():
    train, _, features = make_cold_items()
    model = LightFM(6, loss="bpr", cold_start="content", linear_components=5, random_state=0)
    model.fit(train, item_features=features, epochs=5)
    found = model.index(item_features=features).recommend(np.arange(N_LIKING), n=5)
    expected = model.recommend(np.arange(N_LIKING), n=5, item_features=features)
    assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-5)
