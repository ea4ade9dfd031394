"""interactions="all": every score includes the products of each two features of a row."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM, load
from lightfm_fast.design import design_matrix

from ..models import represent, score_all

N_USERS, N_ITEMS = 12, 19
STATE = ("user_embeddings", "user_biases", "item_embeddings", "item_biases")


def make_features(n_rows, n_columns, seed):
    """Weights of both signs beside an identity; the first row has its identity only, the second nothing."""
    rng = np.random.RandomState(seed)
    weights = rng.uniform(-1, 1, (n_rows, n_columns)) * (rng.rand(n_rows, n_columns) < 0.6)
    weights = np.hstack([np.eye(n_rows), weights])
    weights[0, n_rows:] = weights[1] = 0
    return sp.csr_matrix(weights, dtype=np.float32)


FEATURES = {"user_features": make_features(N_USERS, 5, 0), "item_features": make_features(N_ITEMS, 4, 1)}
INTERACTIONS = sp.coo_matrix(np.random.RandomState(2).choice([-1.0, 0.0, 1.0], (N_USERS, N_ITEMS)))


def make_model(no_components=7, **features):
    model = LightFM(no_components, interactions="all", random_state=0)
    model.fit_partial(INTERACTIONS, epochs=0, **features)
    rng = np.random.RandomState(3)
    for name in STATE:
        setattr(model, name, rng.normal(0, 0.7, getattr(model, name).shape))
    return model


@pytest.mark.parametrize("sides", [(), ("user_features",), ("item_features",), ("user_features", "item_features")])
@pytest.mark.parametrize("no_components", [1, 10, 64, 70])
def test_scores_everywhere_have_the_pairs(no_components, sides):
    features = {side: FEATURES[side] for side in sides}
    model = make_model(no_components, **features)
    expected = score_all(model, **features)
    users, items = (ids.ravel() for ids in np.indices(expected.shape))
    assert_allclose(model.predict(users, items, **features), expected.ravel(), rtol=1e-4, atol=1e-4)

    (user_biases, q), (item_biases, p) = (
        getattr(model, f"get_{side}_representations")(features.get(f"{side}_features")) for side in ("user", "item")
    )
    assert q.dtype == p.dtype == user_biases.dtype == item_biases.dtype == np.float32
    assert_allclose(q @ p.T + user_biases[:, None] + item_biases, expected, rtol=1e-4, atol=1e-4)

    found = model.recommend(np.arange(N_USERS), n=N_ITEMS, **features)
    assert_allclose(found.scores, -np.sort(-expected, axis=1), rtol=1e-4, atol=1e-4)
    ranks = model.predict_rank(sp.csr_matrix(np.ones(expected.shape)), **features).toarray()
    assert_array_equal(ranks, np.argsort(np.argsort(-expected, axis=1), axis=1))


def test_representations_of_no_rows():
    biases, embeddings = make_model(**FEATURES).get_item_representations(FEATURES["item_features"][:0])
    assert biases.shape == (0,)
    assert embeddings.shape == (0, 7)


def test_rows_of_one_feature_have_no_pairs():
    model = make_model()
    expected = model.predict(np.arange(N_USERS), np.arange(N_USERS))
    model.set_params(interactions="cross")
    assert_array_equal(model.predict(np.arange(N_USERS), np.arange(N_USERS)), expected)


def test_same_scores_as_the_factorization_machine():
    """Scores agree with FMClassifier's, from the parameters that it learned."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from lightfm_fast import FMClassifier

    given = {side: matrix[:, matrix.shape[0] :] for side, matrix in FEATURES.items()}  # design_matrix adds the identity
    design = design_matrix(INTERACTIONS, **given)
    machine = FMClassifier(8, epochs=20, init_scale=0.3, alpha_v=1e-3, random_state=0).fit(design, design.y > 0)

    sizes = [N_USERS, N_ITEMS, *(matrix.shape[1] for matrix in given.values())]
    columns = np.split(np.arange(design.shape[1]), np.cumsum(sizes)[:-1])
    features = {
        side: sp.hstack([sp.identity(len(own)), matrix])
        for (side, matrix), own in zip(given.items(), columns, strict=False)
    }
    model = LightFM(8, loss="logistic", interactions="all").fit_partial(INTERACTIONS, **features, epochs=0)
    for side, own, others in (("user", columns[0], columns[2]), ("item", columns[1], columns[3])):
        chosen = np.concatenate([own, others])
        setattr(model, f"{side}_embeddings", machine.embeddings_[chosen])
        setattr(model, f"{side}_biases", machine.coef_[chosen])
    pairs = INTERACTIONS.row, INTERACTIONS.col
    scores = model.predict(*pairs, **features) + np.float32(machine.intercept_)
    assert np.abs(scores).max() > 0.5
    assert_allclose(scores, machine.decision_function(design), rtol=1e-5, atol=2e-6)
    crossed = model.set_params(interactions="cross").predict(*pairs, **features) + np.float32(machine.intercept_)
    assert np.abs(crossed - scores).max() > 0.05


@pytest.mark.parametrize("loss", ["logistic", "bpr", "warp", "warp-kos"])
def test_training_lowers_the_loss_on_several_threads(loss):
    model = LightFM(8, loss=loss, interactions="all", random_state=0)
    model.fit(INTERACTIONS, **FEATURES, epochs=30, num_threads=2)
    assert model.history_[-1]["loss"] < 0.8 * model.history_[0]["loss"]


@pytest.mark.parametrize("features", [{}, FEATURES], ids=["identity", "features"])
@pytest.mark.parametrize(("user", "item"), [(0, 1), (1, 0), (5, 7), (8, 18)])
def test_explanations_add_up(user, item, features):
    model = make_model(**features)
    found = model.explain(user, item, **features)
    assert_allclose(found.score, score_all(model, **features)[user, item], rtol=1e-12, atol=1e-12)
    assert_allclose(sum(row["contribution"] for row in found.rows()), found.score, rtol=1e-12, atol=1e-12)


def test_explanations_name_both_features():
    model = make_model(**FEATURES)
    matrix = FEATURES["user_features"]
    columns, weights = matrix[5].indices, matrix[5].data.astype(float)
    within = [
        row for row in model.explain(5, 1, **FEATURES).rows() if isinstance(row["user_feature"], list)
    ]  # item 1 has no features
    terms = weights[:, None] * model.user_embeddings[columns].astype(float)
    expected = {
        (f"user feature {columns[j]}", f"user feature {columns[k]}"): terms[j] @ terms[k]
        for j, k in combinations(range(len(columns)), 2)
    }
    assert len(within) == len(expected) > 1
    for row in within:
        assert row["item_feature"] is None
        assert_allclose(row["contribution"], expected[tuple(row["user_feature"])], rtol=1e-12)


def test_bars_name_both_features():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    ax = make_model(**FEATURES).explain(5, 1, **FEATURES).plot(n=100)
    *labels, last = [label.get_text() for label in ax.get_yticklabels()]
    assert last == "score"
    assert sum("×" in label for label in labels) == len(labels) - FEATURES["user_features"][5].nnz
    pyplot.close("all")


def test_saved_and_loaded(tmp_path):
    model = make_model(**FEATURES)
    model.save(tmp_path / "model.safetensors")
    expected = model.predict(5, np.arange(N_ITEMS), **FEATURES)
    for mmap in (False, True):
        loaded = load(tmp_path / "model.safetensors", mmap=mmap)
        assert loaded.interactions == "all"
        assert_array_equal(loaded.predict(5, np.arange(N_ITEMS), **FEATURES), expected)


def test_folding_in_starts_at_the_extended_bias():
    model = make_model(**FEATURES)
    embeddings, biases = represent(model, "user", FEATURES["user_features"])
    folded = model.fold_in_users(INTERACTIONS, **FEATURES, epochs=0)
    assert_allclose(folded.embeddings, embeddings, rtol=1e-4, atol=1e-5)
    assert_allclose(folded.biases, biases, rtol=1e-4, atol=1e-5)
    folded = model.fold_in_users(INTERACTIONS, **FEATURES, epochs=30)
    items, item_biases = represent(model, "item", FEATURES["item_features"])
    signs = INTERACTIONS.toarray()

    def loss(embeddings, biases):
        return np.logaddexp(0, -signs * (embeddings @ items.T + biases[:, None] + item_biases))[signs != 0].mean()

    assert loss(*folded) < 0.8 * loss(embeddings, biases)
