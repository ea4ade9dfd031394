"""Negatives, sampled softmax, initial values and presets, through the public interface."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast.datasets import make_interactions
from lightfm_fast.evaluation import auc_score, evaluate, precision_at_k
from lightfm_fast.fold_in import Representations

N_USERS, N_ITEMS = 60, 40
NEW = {
    "negatives": "hardest",
    "n_negatives": 5,
    "popularity_exponent": 0.25,
    "temperature": 0.3,
    "initial_accumulator": 0.02,
    "init_scale": 0.2,
}
VARIANTS = {
    "hardest": {"loss": "bpr", "negatives": "hardest"},
    "uniform": {"loss": "bpr", "negatives": "uniform"},
    "softmax": {"loss": "softmax"},
}


@pytest.fixture(scope="module")
def data():
    """Two groups of users, each with its items, and features that give the group."""
    rng = np.random.RandomState(0)
    same = np.equal.outer(np.arange(N_USERS) % 2, np.arange(N_ITEMS) % 2)
    drawn = same & (rng.rand(N_USERS, N_ITEMS) < 0.5)
    is_train = rng.rand(N_USERS, N_ITEMS) < 0.6
    features = [sp.csr_matrix(np.hstack([np.eye(n), np.eye(2)[np.arange(n) % 2]])) for n in (N_USERS, N_ITEMS)]
    return {
        "train": sp.coo_matrix((drawn & is_train).astype(np.float32)),
        "test": sp.coo_matrix((drawn & ~is_train).astype(np.float32)),
        "features": {"user_features": features[0], "item_features": features[1]},
    }


def share_of_own_group(model, **features):
    best = model.recommend(np.arange(N_USERS), 10, **features).ids
    return (best % 2 == np.arange(N_USERS)[:, None] % 2).mean()


# ------------------------------------------------------------------ learning


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("with_features", [False, True])
@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
def test_learns_to_rank(data, variant, with_features, num_threads, schedule):
    features = data["features"] if with_features else {}
    model = LightFM(8, learning_schedule=schedule, random_state=1, init_scale=0.1, **VARIANTS[variant])
    model.fit(data["train"], epochs=80, num_threads=num_threads, **features)
    assert share_of_own_group(model, **features) > 0.9
    assert model.history_[-1]["loss"] < model.history_[0]["loss"]
    assert model.history_[0]["samples"] == data["train"].nnz


def test_many_threads_do_not_overshoot_where_they_share_features():
    """If eight threads reached the minimum and their changes were added up, a third of the precision would be lost."""
    data = make_interactions(1500, 900, 150_000, n_tags=100, tags_per_item=20, random_state=0)
    features = {name: data[name] for name in ("user_features", "item_features")}

    def precision(num_threads):
        model = LightFM(32, loss="warp", random_state=0)
        model.fit(data["train"], epochs=6, num_threads=num_threads, **features)
        return precision_at_k(model, data["test"], data["train"], **features).mean()

    assert precision(8) > 0.97 * precision(1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_seed_same_bits_whole_or_in_parts(data, variant):
    whole = LightFM(8, random_state=3, **VARIANTS[variant]).fit(data["train"], epochs=3)
    parts = LightFM(8, random_state=3, **VARIANTS[variant])
    for _ in range(3):
        parts.fit_partial(data["train"])
    assert_array_equal(whole.item_embeddings, parts.item_embeddings)
    assert_array_equal(whole.user_embeddings, parts.user_embeddings)


@pytest.mark.parametrize("variant", VARIANTS)
def test_samples_of_weight_zero_change_nothing(data, variant):
    weights = sp.coo_matrix((np.zeros(data["train"].nnz), (data["train"].row, data["train"].col)), (N_USERS, N_ITEMS))
    start = LightFM(8, random_state=3, **VARIANTS[variant]).fit(data["train"], epochs=0)
    model = LightFM(8, random_state=3, **VARIANTS[variant]).fit(data["train"], sample_weight=weights)
    assert_array_equal(model.item_embeddings, start.item_embeddings)
    assert_array_equal(model.user_embeddings, start.user_embeddings)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [(4, 5), (4, 1), (1, 1)])
@pytest.mark.parametrize("value", [0, 1, -1])
def test_extreme_interactions(variant, shape, value):
    model = LightFM(8, random_state=1, **VARIANTS[variant]).fit(sp.coo_matrix(np.full(shape, value)), epochs=2)
    assert np.isfinite(model.item_embeddings).all()
    assert np.isfinite([record["loss"] for record in model.history_]).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_user_with_many_positives(variant):
    likes = np.arange(500) % 5 > 0
    interactions = sp.coo_matrix(np.vstack([likes, ~likes]))  # without the second user there would be no negatives
    model = LightFM(8, random_state=1, **VARIANTS[variant]).fit(interactions, epochs=20)
    assert auc_score(model, interactions)[0] > 0.9
    assert model.history_[0]["samples"] == 500


def test_set_params_changes_what_is_drawn(data):
    model = LightFM(8, loss="bpr", learning_rate=1e-30, random_state=1).fit(data["train"])
    few = sp.coo_matrix((np.ones(3), ([0, 2, 4], [0, 0, 0])), (N_USERS, N_ITEMS))  # item 0 alone is popular
    before = model.item_embedding_gradients.copy()
    model.fit_partial(few)
    assert_array_equal(model.item_embedding_gradients, before)  # every draw is a positive
    model.set_params(negatives="uniform").fit_partial(few)
    assert not np.array_equal(model.item_embedding_gradients, before)


# ------------------------------------------------------------------ scores of the softmax loss


@pytest.mark.parametrize("with_features", [False, True])
def test_scores_are_cosines_everywhere(data, with_features, tmp_path):
    features = data["features"] if with_features else {}
    model = LightFM(8, loss="softmax", random_state=1).fit(data["train"], epochs=5, **features)
    user_matrix, item_matrix = (
        (features["user_features"], features["item_features"]) if features else map(sp.identity, (N_USERS, N_ITEMS))
    )
    users = user_matrix @ model.user_embeddings.astype(np.float64)
    items = item_matrix @ model.item_embeddings.astype(np.float64)
    expected = users @ items.T / np.outer(np.linalg.norm(users, axis=1), np.linalg.norm(items, axis=1))
    rows, columns = np.indices(expected.shape).reshape(2, -1)
    assert_allclose(model.predict(rows, columns, **features), expected.ravel(), rtol=1e-5, atol=1e-6)
    assert_allclose(model.predict([7, 3, 7], [5, 0, 1], **features), expected[[7, 3, 7], [5, 0, 1]], rtol=1e-5)
    user_biases, user_directions = model.get_user_representations(features.get("user_features"))
    item_biases, item_directions = model.get_item_representations(features.get("item_features"))
    assert_allclose(user_directions @ item_directions.T, expected, rtol=1e-5, atol=1e-6)
    assert not user_biases.any()
    assert 0 < np.abs(item_biases).max() < 1e-6  # popularity, which orders items of equal cosine
    best = model.recommend([9, 2], 4, **features)
    assert_array_equal(best.ids, np.argsort(-expected[[9, 2]], axis=1)[:, :4])
    assert_allclose(best.scores, -np.sort(-expected[[9, 2]], axis=1)[:, :4], rtol=1e-5)
    ranks = model.predict_rank(sp.csr_matrix(np.ones_like(expected)), **features).toarray()
    assert_array_equal(ranks, np.argsort(np.argsort(-expected, axis=1), axis=1))
    assert model.explain(9, 2, **features).score == pytest.approx(expected[9, 2], rel=1e-5)
    chosen = model.recommend([9, 2], 3, items=np.arange(5, 30), exclude=[7], num_threads=2, **features)
    allowed = np.setdiff1d(np.arange(5, 30), [7])
    assert_array_equal(chosen.ids, allowed[np.argsort(-expected[[9, 2]][:, allowed], axis=1)[:, :3]])
    represented = Representations(users[:12].astype(np.float32), np.zeros(12, np.float32))  # of any length
    of_given = model.recommend([9, 2], 4, user_representations=represented, item_features=features.get("item_features"))
    assert_array_equal(of_given.ids, best.ids)
    assert_allclose(of_given.scores, best.scores, rtol=1e-5)
    alike = items @ items.T / np.outer(*[np.linalg.norm(items, axis=1)] * 2)
    similar = model.similar_items([4], 3, item_features=features.get("item_features"))
    assert_allclose(similar.scores[0], np.sort(np.delete(alike[4], 4))[::-1][:3], rtol=1e-5)
    plain = model.to_matrix_factorization(**features)
    assert_allclose(plain.predict(rows, columns), expected.ravel(), rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model")
    for mapped in (False, True):
        loaded = LightFM.load(tmp_path / "model", mmap=mapped)
        assert_array_equal(loaded.predict(rows, columns, **features), model.predict(rows, columns, **features))
    is_train, is_test = (data[part].toarray() > 0 for part in ("train", "test"))
    best_five = np.argsort(-np.where(is_train, -np.inf, expected), axis=1)[:, :5]
    hits = np.take_along_axis(is_test, best_five, axis=1)[is_test.any(axis=1)]
    measured = evaluate(model, data["test"], data["train"], "precision", k=5, **features).mean
    assert measured["precision@5"] == pytest.approx(hits.mean())


@pytest.mark.parametrize("with_features", [False, True])
def test_index_finds_by_cosine(data, with_features):
    features = data["features"] if with_features else {}
    model = LightFM(8, loss="softmax", random_state=1).fit(data["train"], epochs=5, **features)
    index = model.index(features.get("item_features"))
    users = {"user_features": features["user_features"]} if features else {}
    found, best = index.recommend([9, 2], 4, **users), model.recommend([9, 2], 4, **features)
    assert_array_equal(found.ids, best.ids)
    assert_allclose(found.scores, best.scores, rtol=1e-5)
    assert index.recall([9, 2], 4, **users) == 1


def test_lengths_that_are_not_ordinary(data):
    """Zero vectors score 0, and lengths do not matter, from tiny to huge."""
    model = LightFM(5, loss="softmax", random_state=1, init_scale=1.0).fit(data["train"], epochs=0)
    plain = model.recommend(np.arange(N_USERS), 5)
    model.item_embeddings *= np.float32(10) ** np.linspace(-12, 12, N_ITEMS)[:, None]
    model.user_embeddings *= np.float32(10) ** np.linspace(12, -12, N_USERS)[:, None]
    assert_array_equal(model.recommend(np.arange(N_USERS), 5).ids, plain.ids)
    model.item_embeddings[...] = 0
    assert_array_equal(model.recommend([3], 2).ids, [[0, 1]])
    assert not model.recommend([3], 2).scores.any()


def test_pairs_within_are_refused(data):
    with pytest.raises(ValueError, match="its score is a cosine"):
        LightFM(loss="softmax", interactions="all")
    model = LightFM(loss="softmax", random_state=1).fit(data["train"])
    with pytest.raises(ValueError, match="its score is a cosine"):
        model.set_params(interactions="all")
    assert model.interactions == "cross"
    assert LightFM(interactions="all").set_params(loss="softmax", interactions="cross").loss == "softmax"
    before = model.item_embeddings.copy()
    model.interactions = "all"
    with pytest.raises(ValueError, match="its score is a cosine"):
        model.fit_partial(data["train"])
    assert_array_equal(model.item_embeddings, before)


def test_newcomers_are_folded_in_by_cosine(data):
    model = LightFM(8, loss="softmax", random_state=1).fit(data["train"], epochs=30)
    folded = model.fold_in_users(data["train"].tocsr()[:10])
    assert_allclose(np.linalg.norm(folded.embeddings, axis=1), 1, rtol=1e-5)
    _, items = model.get_item_representations()
    scores = folded.embeddings @ items.T
    same = np.equal.outer(np.arange(10) % 2, np.arange(N_ITEMS) % 2)
    assert scores[same].mean() > scores[~same].mean() + 0.5


def test_zero_vector_scores_zero_and_finds_a_direction(data):
    model = LightFM(8, loss="softmax", random_state=1).fit(data["train"], epochs=5)
    model.user_embeddings[3] = 0
    assert_array_equal(model.predict(3, np.arange(N_ITEMS)), model.item_biases)
    model.fit_partial(data["train"])
    assert np.linalg.norm(model.user_embeddings[3]) > 0


# ------------------------------------------------------------------ starting values


def test_start_is_as_asked_for(data):
    model = LightFM(32, initial_accumulator=0.25, init_scale=0.2, random_state=1).fit(data["train"], epochs=0)
    for side in ("user", "item"):
        embeddings = getattr(model, f"{side}_embeddings")
        assert embeddings.std() == pytest.approx(0.2, rel=0.1)
        assert abs(embeddings).max() > 0.4
        assert (getattr(model, f"{side}_embedding_gradients") == 0.25).all()
        assert (getattr(model, f"{side}_bias_gradients") == 0.25).all()
        assert not getattr(model, f"{side}_biases").any()


def test_defaults_are_those_of_lightfm(data):
    model = LightFM(32, random_state=1).fit(data["train"], epochs=0)
    assert abs(model.item_embeddings).max() <= 0.5 / 32
    assert (model.item_embedding_gradients == 1).all()
    adadelta = LightFM(32, learning_schedule="adadelta", initial_accumulator=0.5, random_state=1)
    assert not adadelta.fit(data["train"], epochs=0).item_embedding_gradients.any()


def test_smaller_accumulators_make_longer_first_steps(data):
    moved = []
    for start in (1.0, 0.01):
        model = LightFM(8, initial_accumulator=start, random_state=1).fit(data["train"], epochs=0)
        before = model.item_embeddings.copy()
        moved.append(np.linalg.norm(model.fit_partial(data["train"]).item_embeddings - before))
    assert moved[1] > 2 * moved[0]


def test_rows_that_come_later_start_alike(data, tmp_path):
    model = LightFM(8, initial_accumulator=0.25, init_scale=3.0, random_state=1)
    with pytest.warns(UserWarning, match="the mean loss of epoch 1"):  # first scores are far from 0
        model.fit(data["train"], epochs=1)
    larger = sp.coo_matrix((data["train"].data, (data["train"].row, data["train"].col)), (N_USERS, N_ITEMS + 30))
    model.fit_partial(larger, epochs=0)
    assert (model.item_embedding_gradients[N_ITEMS:] == 0.25).all()
    assert abs(model.item_embeddings[N_ITEMS:]).max() > 3
    model.save(tmp_path / "model", optimizer_state=False)
    for mapped in (False, True):
        assert (LightFM.load(tmp_path / "model", mmap=mapped).item_embedding_gradients == 0.25).all()


# ------------------------------------------------------------------ parameters


def test_parameters_come_back(data, tmp_path):
    model = LightFM(loss="bpr", random_state=1, **NEW)
    assert {name: model.get_params()[name] for name in NEW} == NEW
    model.fit(data["train"])
    model.save(tmp_path / "model")
    for copied in (LightFM.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert copied.get_params() == model.get_params()
        assert_array_equal(
            copied.fit_partial(data["train"]).item_embeddings,
            LightFM.load(tmp_path / "model").fit_partial(data["train"]).item_embeddings,
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("loss", "soft-max"),
        ("negatives", "hard"),
        ("negatives", None),
        ("n_negatives", 0),
        ("n_negatives", 2.0),
        ("n_negatives", True),
        ("n_negatives", 1 << 17),
        ("popularity_exponent", -0.5),
        ("popularity_exponent", np.nan),
        ("popularity_exponent", None),
        ("temperature", 0),
        ("temperature", np.inf),
        ("initial_accumulator", 0),
        ("initial_accumulator", np.nan),
        ("init_scale", -0.1),
        ("init_scale", np.inf),
        ("init_scale", "0.1"),
    ],
)
def test_bad_parameters_are_refused(data, name, value):
    with pytest.raises(ValueError, match=f"^{name} is .*, expected"):
        LightFM(**{name: value})
    model = LightFM(loss="softmax")
    with pytest.raises(ValueError, match=f"^{name} is "):
        model.set_params(**{name: value})
    assert model.get_params() == LightFM(loss="softmax").get_params()
    setattr(model, name, value)
    with pytest.raises(ValueError, match=f"^{name} is "):
        model.fit(data["train"])


def test_probabilities_are_not_for_softmax(data):
    with pytest.raises(ValueError, match="learns an order"):
        LightFM(loss="softmax").fit(data["train"]).predict_proba(0, [1])


@pytest.mark.parametrize("kind", ["ranking", "fast"])
def test_recommended_settings(data, kind):
    model = LightFM.recommended(kind, random_state=1)
    assert (model.loss, model.negatives) == {"ranking": ("softmax", "popularity"), "fast": ("bpr", "hardest")}[kind]
    model.fit(data["train"], epochs=20)
    assert share_of_own_group(model) > 0.9
    changed = LightFM.recommended(kind, no_components=16, n_negatives=16, random_state=1)
    assert changed.get_params() == {**model.get_params(), "no_components": 16, "n_negatives": 16}
    with pytest.raises(TypeError):
        LightFM.recommended(kind, components=16)
    with pytest.raises(ValueError, match="n_negatives is 0"):
        LightFM.recommended(kind, n_negatives=0)


@pytest.mark.parametrize(("n_items", "n_negatives"), [(1_000, 4), (1_001, 8), (10_000, 8), (10_001, 16)])
def test_hardest_is_of_more_negatives_in_a_large_catalogue(n_items, n_negatives):
    interactions = sp.random(20, n_items, 0.01, random_state=1)
    by_default, given = (
        LightFM(4, loss="bpr", negatives="hardest", n_negatives=n, random_state=1).fit(interactions)
        for n in (None, n_negatives)
    )
    assert np.array_equal(by_default.item_embeddings, given.item_embeddings)


def test_kind_that_is_not_known():
    with pytest.raises(ValueError, match="kind is 'best', expected one of 'ranking', 'fast'"):
        LightFM.recommended("best")


def test_subclass_is_recommended_as_itself():
    class Own(LightFM):
        pass

    assert type(Own.recommended()) is Own
