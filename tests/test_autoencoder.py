"""The linear autoencoder beside the factors: against NumPy in float64, through every way to ask, and on real data."""

import os

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from benchmarks import quality_sets
from lightfm_fast import LightFM, _beside
from lightfm_fast._autoencoder import Autoencoder, typical_count
from lightfm_fast._svd import largest_singular
from lightfm_fast.evaluation import evaluate
from tests.models import assert_same_state, copies, score_all, state_of

N_USERS, N_ITEMS, N_LINEAR = 60, 40, 12


def make_train(seed=0, n_users=N_USERS, n_items=N_ITEMS):
    """Users like items of their topic. The last user and the last item have no positive interaction."""
    rng = np.random.RandomState(seed)
    is_like = np.arange(n_users)[:, None] % 5 == np.arange(n_items) % 5
    likes = rng.rand(n_users, n_items) < np.where(is_like, 0.6, 0.1)
    likes[-1], likes[:, -1] = False, False
    return sp.coo_matrix(likes.astype(np.float32))


def make_features(normalized):
    """An identity column and tags of both sides; normalised rows give the identity another weight in each row."""
    rng = np.random.RandomState(1)
    found = {}
    for side, n_rows in (("user", N_USERS), ("item", N_ITEMS)):
        rows = sp.hstack([sp.eye(n_rows), rng.rand(n_rows, 4) < 0.4], format="csr", dtype=np.float32)
        found[f"{side}_features"] = sp.csr_matrix(rows / rows.sum(axis=1)) if normalized else rows
    return found


def make_model(linear_components=N_LINEAR, **settings):
    settings = {"loss": "bpr", "no_components": 6, "random_state": 3, **settings}
    return LightFM(linear_components=linear_components, **settings)


FEATURES = {"ids": {}, "tags": make_features(False), "normalised": make_features(True)}


@pytest.fixture(scope="module", params=list(FEATURES))
def given(request):
    return FEATURES[request.param]


@pytest.fixture(scope="module")
def model(given):
    return make_model().fit(make_train(), epochs=10, **given)


def reference(train, n_linear):
    """Coordinates of users and items, and the share of the squares that they explain, by definition."""
    ones = train.toarray() > 0
    _, values, vectors = np.linalg.svd(ones.astype(float), full_matrices=False)
    squares, vectors = values[:n_linear] ** 2, vectors[:n_linear].T
    counts = ones.sum(axis=1)
    assert counts[counts >= 5].sum() > counts.sum() / 2
    kept = squares / (squares + 3 * counts[counts >= 5].mean())
    leverage = (vectors**2 * kept).sum(axis=1)
    known = ones.any(axis=0)
    items = vectors / (1 - leverage)[:, None]
    items[known] -= items[known].mean(axis=0)
    items[~known] = 0
    return ones @ (vectors * kept), items, squares.sum() / ones.sum()


def spread(scores, train):
    """The mean deviation of each user's 20 best unseen known items."""
    ones = train.toarray() > 0
    left_out = ones | ~ones.any(axis=0)
    users = np.flatnonzero(ones.any(axis=1))
    n_best = min(20, (~left_out[users]).sum(axis=1).min())
    best = -np.sort(-np.where(left_out, -np.inf, scores)[users], axis=1)[:, :n_best]
    return best.std(axis=1).mean()


def all_scores(model, given):
    users, items = np.repeat(np.arange(N_USERS), N_ITEMS), np.tile(np.arange(N_ITEMS), N_USERS)
    return model.predict(users, items, **given).reshape(N_USERS, N_ITEMS)


@pytest.mark.parametrize("n_linear", [1, N_LINEAR, 300])
def test_scores_are_those_of_the_definition(given, n_linear):
    train = make_train()
    model = make_model(n_linear).fit(train, epochs=10, **given)
    factors = score_all(model, **given)
    users, items, explained = reference(train, n_linear)
    linear = users @ items.T
    weight = explained * spread(factors, train) / spread(linear, train)
    assert model.linear_components_ == min(n_linear, N_ITEMS - 1)
    assert_allclose(all_scores(model, given), factors + weight * linear, rtol=1e-3, atol=2e-3 * np.abs(factors).max())


def test_factors_are_trained_as_without(model, given):
    plain = make_model(0).fit(make_train(), epochs=10, **given)
    assert_same_state(plain, model)
    assert plain.linear_components_ == 0
    assert np.abs(all_scores(plain, given) - all_scores(model, given)).max() > 0.01


def test_all_ways_to_ask_agree(model, given):
    train, scores = make_train(), all_scores(model, given)
    user_features, item_features = given.get("user_features"), given.get("item_features")
    user_biases, users = model.get_user_representations(user_features)
    item_biases, items = model.get_item_representations(item_features)
    assert users.shape[1] == items.shape[1] == 6 + N_LINEAR
    assert_allclose(users @ items.T + user_biases[:, None] + item_biases, scores, rtol=1e-4, atol=1e-5)
    ids, best = model.recommend(np.arange(N_USERS), n=7, **given)
    assert_allclose(best, -np.sort(-scores, axis=1)[:, :7], rtol=1e-4, atol=1e-5)
    assert_allclose(np.take_along_axis(scores, ids, axis=1), best, rtol=1e-4, atol=1e-5)
    ranks = model.predict_rank(train, **given).tocoo()
    expected = (scores[ranks.row] > scores[ranks.row, ranks.col][:, None] + 1e-5).sum(axis=1)
    assert_allclose(ranks.data, expected, atol=1)
    factorization = model.to_matrix_factorization(**given)
    assert factorization.linear_components == 0
    assert_allclose(factorization.predict(3, np.arange(N_ITEMS)), scores[3], rtol=1e-4, atol=1e-5)
    if given:
        with pytest.raises(ValueError, match="needs item_features"):
            model.to_matrix_factorization(user_features=user_features, sides=["user"])


def test_a_factorization_is_saved_and_trained_as_any_model(tmp_path):
    factorization = make_model().fit(make_train(), epochs=10).to_matrix_factorization()
    assert factorization.user_embeddings[-1].any()  # of a user without a past, whom popular items suit
    later = make_train()
    later.resize(N_USERS + 1, N_ITEMS)
    for copied in copies(factorization, tmp_path):
        assert_same_state(copied, factorization)
        copied.fit_partial(later)
        assert_array_equal(copied.user_embeddings[-1], copied.user_embeddings[-2])


@pytest.mark.parametrize(("user", "item"), [(4, 3), (N_USERS - 1, 3), (4, N_ITEMS - 1)])
def test_explanation_adds_up(model, given, user, item):
    found = model.explain(user, item, **given)
    assert_allclose(found.score, all_scores(model, given)[user, item], rtol=1e-4, atol=1e-5)
    assert_allclose(sum(found.parts.values()), found.score, rtol=1e-12)
    assert_allclose(sum(row["contribution"] for row in found.rows()), found.score, rtol=1e-12)
    is_known = user < N_USERS - 1 and item < N_ITEMS - 1
    assert (found.linear is not None) == (found.parts["linear"] != 0) == is_known


def test_copies_score_alike(model, given, tmp_path):
    scores = all_scores(model, given)
    for copied in copies(model, tmp_path):
        assert_array_equal(all_scores(copied, given), scores)
        assert copied.linear_components_ == N_LINEAR


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("users", np.zeros((2, 3), np.float64)),
        ("items", np.zeros((3, 2), np.float32)),
        ("codes", np.full((2, 2), np.nan, np.float32)),
        ("counts", np.zeros(3, np.int64)),
        ("user_numbers", np.array([0, 0, -1])),
        ("user_numbers", np.array([0, 7, -1])),
        ("item_numbers", np.array([0])),
        ("item_weights", np.zeros(2, np.float32)),
        ("weight", np.inf),
        ("explained", -1.0),
    ],
)
def test_forged_arrays_are_refused(name, value):
    numbers = {"weight": 1.0, "explained": 0.5}
    arrays = {name: np.ones((2, 2), np.float32) for name in ("users", "items", "codes")}
    arrays |= {"counts": np.ones(2, np.int64), "user_numbers": np.array([0, 1, -1]), "item_numbers": np.array([1, 0])}
    arrays |= {f"{side}_weights": np.ones(2, np.float32) for side in ("user", "item")}
    assert Autoencoder.of_arrays(numbers, arrays, 3, 2).n_coordinates == 2
    (numbers if name in numbers else arrays)[name] = value
    with pytest.raises(ValueError, match="autoencoder"):
        Autoencoder.of_arrays(numbers, arrays, 3, 2)


def test_features_that_another_thread_has_added_since_have_no_coordinates():
    model = make_model().fit(make_train(), epochs=1)
    autoencoder, before = model._autoencoder, model.get_user_representations()[1][:, 6:]
    model.fit_partial(sp.coo_matrix(([1.0], ([N_USERS], [0])), shape=(N_USERS + 1, N_ITEMS)))
    after = autoencoder.coordinates("user", sp.identity(N_USERS + 1, format="csr"))
    assert_array_equal(after, np.pad(before, ((0, 1), (0, 0))))


def test_folded_users_have_the_coordinates_of_known_users_with_the_same_items(model, given):
    rows = sp.csr_matrix(make_train())[:5]
    folded = model.fold_in_users(rows, item_features=given.get("item_features"))
    _, users = model.get_user_representations(given.get("user_features"))
    assert_allclose(folded.embeddings[:, 6:], users[:5, 6:], rtol=1e-4, atol=1e-5)


def test_a_like_and_a_dislike_of_one_item_are_a_like(model, given):
    coordinates = []
    for values in ([1], [1, -1]):
        entries = sp.coo_matrix((values, ([0] * len(values), [3] * len(values))), (1, N_ITEMS))
        folded = model.fold_in_users(entries, item_features=given.get("item_features"))
        coordinates.append(folded.embeddings[:, -N_LINEAR:])
    assert coordinates[0].any()
    assert_array_equal(*coordinates)


def test_folded_items_have_none(model, given):
    train, new = make_train(), sp.coo_matrix(np.eye(N_USERS, 2))
    settings = {"user_features": given.get("user_features"), "known_item_features": given.get("item_features")}
    folded = model.fold_in_items(new, train, **settings)
    assert folded.embeddings.shape == (2, 6 + N_LINEAR)
    assert not folded.embeddings[:, 6:].any()


def test_going_on_with_the_same_interactions_keeps_the_coordinates(given):
    train = make_train()
    once, again = (make_model().fit(train, epochs=2, **given) for _ in range(2))
    again.fit_partial(train, epochs=3, **given)
    first, second = (one.get_user_representations(given.get("user_features"))[1][:, 6:] for one in (once, again))
    assert_allclose(first, second, rtol=1e-4, atol=1e-6)
    factors, (users, items, explained) = score_all(again, **given), reference(train, N_LINEAR)
    linear = users @ items.T
    weight = explained * spread(factors, train) / spread(linear, train)  # of the parameters as they are now
    assert_allclose(all_scores(again, given), factors + weight * linear, rtol=1e-3, atol=2e-3 * np.abs(factors).max())


def test_an_update_adds_items_to_known_users_and_gives_new_users_coordinates():
    train = make_train()
    model = make_model().fit(train, epochs=5)
    before, items = model.get_user_representations()[1], model.get_item_representations()[1]
    rows, columns = [2, N_USERS - 1, N_USERS, N_USERS], [1, 4, 4, N_ITEMS]
    assert not train.toarray()[2, 1]
    model.fit_partial(sp.coo_matrix((np.ones(4), (rows, columns)), shape=(N_USERS + 1, N_ITEMS + 1)), epochs=1)
    users = model.get_user_representations()[1][:, 6:]
    code = model.fold_in_users(sp.csr_matrix(([1.0], ([0], [4])), shape=(1, N_ITEMS))).embeddings[0, 6:]
    added = model.fold_in_users(sp.csr_matrix(([1.0], ([0], [1])), shape=(1, N_ITEMS))).embeddings[0, 6:]
    others = np.setdiff1d(np.arange(N_USERS), [2, N_USERS - 1])
    assert_array_equal(users[others], before[others, 6:])
    assert_allclose(users[2], before[2, 6:] + added, rtol=1e-5, atol=1e-6)
    assert_allclose(users[[N_USERS - 1, N_USERS]], [code, code], rtol=1e-6)  # a new item has no code
    assert_array_equal(model.get_item_representations()[1][:N_ITEMS, 6:], items[:, 6:])
    assert not model.get_item_representations()[1][N_ITEMS, 6:].any()


def test_an_update_may_have_fewer_items_than_the_model():
    train, features = make_train(), make_features(False)
    few = sp.coo_matrix(train.toarray()[:, :30])
    for given in ({}, features):
        once, again = (make_model().fit(train, epochs=2, **given) for _ in range(2))
        again.fit_partial(few, epochs=1, **given)
        _, items = again.get_item_representations(given.get("item_features"))
        assert_array_equal(items[:, 6:], once.get_item_representations(given.get("item_features"))[1][:, 6:])


def test_users_of_few_items_do_not_weaken_the_penalty():
    """Most users have a single item. The others choose items of their topic, and alone tell which go together."""
    rng = np.random.RandomState(0)
    topics, of_items = np.arange(600) % 4, np.arange(200) % 4
    dense = np.zeros((600, 200))
    for user, topic in enumerate(topics):
        chances = np.where(of_items == topic, 3.0, 1.0)
        dense[user, rng.choice(200, 30 if user < 60 else 1, replace=False, p=chances / chances.sum())] = 1
    found = [make_model().fit(sp.coo_matrix(rows), epochs=1)._autoencoder for rows in (dense, dense[:60])]
    scores = [one.users[:60] @ one.items.T for one in found]
    assert np.corrcoef(scores[0].ravel(), scores[1].ravel())[0, 1] > 0.9
    assert typical_count(np.repeat([1, 40], [900, 100])) == 40
    assert typical_count(np.repeat([2, 5000], [5000, 1])) == 15000 / 5001
    assert typical_count(np.array([1, 2, 3])) == 2


def test_a_user_of_all_items_does_not_decide_the_weight():
    dense = make_train().toarray()
    dense[0, :-1] = 1
    train = sp.coo_matrix(dense)
    factors, (users, items, explained) = score_all(make_model(0).fit(train, epochs=5)), reference(train, N_LINEAR)
    linear, others = users @ items.T, np.arange(1, N_USERS)
    of_factors, of_linear = (spread(scores[others], sp.coo_matrix(dense[others])) for scores in (factors, linear))
    expected = factors + explained * of_factors / of_linear * linear
    assert_allclose(all_scores(make_model().fit(train, epochs=5), {}), expected, rtol=1e-3, atol=1e-3)


def test_rounding_is_not_blown_up_where_unseen_items_are_alike():
    """Each user has all the items of a block, so that the autoencoder says the same of all others."""
    train = sp.coo_matrix(np.kron(np.eye(4), np.ones((15, 10))))
    found = [all_scores(make_model(n).fit(train, epochs=5), {}) for n in (0, N_LINEAR)]
    assert_allclose(found[1], found[0], rtol=1e-5)


def test_an_update_gives_coordinates_to_the_new_users_with_identity_columns():
    known = np.hstack([np.eye(N_USERS), np.ones((N_USERS, 1))])
    model = make_model().fit(make_train(), epochs=2, user_features=known)
    new = np.zeros((2, N_USERS + 2))
    new[0, -2], new[1, -1] = 1, 1  # the first has only the shared feature
    features = np.vstack([np.pad(known, ((0, 0), (0, 1))), new])
    positives = sp.coo_matrix(([1.0, 1.0], ([N_USERS, N_USERS + 1], [3, 4])), shape=(N_USERS + 2, N_ITEMS))
    model.fit_partial(positives, user_features=features)
    users = model.get_user_representations(features)[1][N_USERS:, 6:]
    assert not users[0].any()
    assert_array_equal(users[1], model.fold_in_users(positives.tocsr()[1 + N_USERS :]).embeddings[0, 6:])


@pytest.mark.parametrize("has_zero", [False, True])
def test_an_update_takes_a_new_user_for_no_other(has_zero):
    """The new user has the tag that only user 3 had, or stores a zero in the identity column of user 3."""
    n_all = N_USERS + 1
    tags = np.random.RandomState(0).rand(n_all, 3) < 0.5
    tags[:, 1] = np.arange(n_all) == 3
    features = sp.csr_matrix(np.hstack([tags, np.eye(n_all)]), dtype=np.float32)
    model = make_model().fit(make_train(), epochs=2, user_features=features[:N_USERS])
    before = model.get_user_representations(features)[1]
    weights, columns = [0.0 if has_zero else 1.0, 1.0], [3 + 3 if has_zero else 1, 3 + N_USERS]
    newcomer = sp.csr_matrix((weights, columns, [0, 2]), (1, features.shape[1]), dtype=np.float32)
    grown = sp.vstack([features[:N_USERS], newcomer], format="csr")
    positive = sp.coo_matrix(([1.0], ([N_USERS], [5])), shape=(n_all, N_ITEMS))
    after = model.fit_partial(positive, user_features=grown, epochs=1).get_user_representations(grown)[1]
    assert_array_equal(after[:N_USERS, 6:], before[:N_USERS, 6:])
    assert after[N_USERS, 6:].any()


def test_training_on_without_linear_components_drops_them():
    model = make_model().fit(make_train(), epochs=2)
    model.set_params(linear_components=0).fit_partial(make_train(), epochs=1)
    assert model.linear_components_ == 0
    assert_allclose(all_scores(model, {}), score_all(model), rtol=1e-4, atol=1e-6)


def test_samples_without_weight_do_not_count():
    train = make_train()
    weights = train.copy()
    weights.data[train.row == 7] = 0
    model = make_model().fit(train, sample_weight=weights, epochs=2)
    users = model.get_user_representations()[1]
    assert not users[7, 6:].any()
    assert users[8, 6:].any()


@pytest.mark.parametrize("loss", ["warp", "warp-kos", "logistic"])
def test_other_losses_take_it(loss):
    train = make_train()
    model = make_model("auto", loss=loss, k=1, n=2).fit(train, epochs=3)
    assert model.linear_components_ == N_ITEMS - 1  # as many as there are items with positives


def test_auto_leaves_out_what_explains_little():
    """Each user has an item that nobody else has: 256 of 1,500 equal singular values explain a sixth."""
    train = sp.identity(1500, dtype=np.float32, format="coo")
    assert make_model("auto").fit(train, epochs=1).linear_components_ == 0
    assert make_model("auto").fit(make_train(), epochs=1).linear_components_ == N_ITEMS - 1


@pytest.mark.parametrize(("n_rows", "expected"), [(500, 256), (1000, 512)])
def test_auto_takes_more_values_where_few_explain_less_than_half(n_rows, expected, monkeypatch):
    """All singular values are equal, so 256 of 500 explain more than half, and 256 of 1,000 less."""
    train = sp.identity(n_rows, dtype=np.float32, format="coo")
    assert make_model("auto").fit(train, epochs=1).linear_components_ == expected
    monkeypatch.setattr(_beside, "_MOST_ROWS", 2 * n_rows)  # more values would take more memory than is allowed
    assert make_model("auto").fit(train, epochs=1).linear_components_ == 256


def test_scores_of_more_values_are_those_of_the_definition(monkeypatch):
    train = make_train()
    few, more = (reference(train, n) for n in (4, N_LINEAR))
    assert 0.2 < few[2] < 0.5
    monkeypatch.setattr(_beside, "_LINEAR_COMPONENTS", (4, N_LINEAR))
    model = make_model("auto").fit(train, epochs=10)
    factors, linear = score_all(model), more[0] @ more[1].T
    expected = factors + more[2] * spread(factors, train) / spread(linear, train) * linear
    assert model.linear_components_ == N_LINEAR
    assert_allclose(all_scores(model, {}), expected, rtol=1e-3, atol=2e-3 * np.abs(factors).max())


def test_auto_without_columns_of_their_own_is_the_plain_model():
    tags = np.random.RandomState(0).rand(N_ITEMS, 5) < 0.5
    models = [make_model(n).fit(make_train(), item_features=tags, epochs=2) for n in ("auto", 0)]
    assert models[0].linear_components_ == 0
    assert_array_equal(*(all_scores(model, {"item_features": tags}) for model in models))


@pytest.mark.parametrize("settings", [{"loss": "softmax"}, {"interactions": "all"}])
def test_it_is_refused_where_it_does_not_join_the_score(settings):
    with pytest.raises(ValueError, match="linear_components is 12"):
        make_model(**settings)
    assert make_model("auto", **settings).fit(make_train(), epochs=1).linear_components_ == 0


@pytest.mark.parametrize("assigned", [("loss", "softmax"), ("interactions", "all")], ids=str)
def test_assigned_settings_that_it_does_not_join_are_told_of(assigned):
    model, train = make_model().fit(make_train(), epochs=1), make_train()
    setattr(model, *assigned)
    for ask in (
        lambda: model.recommend(0, interactions=train),
        lambda: model.predict(0, [1]),
        lambda: model.explain(0, 1),
    ):
        with pytest.raises(
            ValueError, match=f"{assigned[0]}.* '{assigned[1]}'.*, but the model was fitted with a linear"
        ):
            ask()
    model.set_params(**{"linear_components": 0, assigned[0]: assigned[1]})
    assert model.fit(train, epochs=1).recommend(0, interactions=train).ids.shape == (1, 10)


@pytest.mark.parametrize("side", ["user", "item"])
def test_features_without_columns_of_their_own_are_refused_before_anything_changes(side):
    train, model = make_train(), make_model()
    model.fit(train, epochs=1)
    before = {name: array.copy() for name, array in state_of(model).items()}
    tags = np.random.RandomState(0).rand({"user": N_USERS, "item": N_ITEMS}[side], 5) < 0.5
    with pytest.raises(ValueError, match=f"{side}_features lack an identity column"):
        model.fit(train, epochs=1, **{f"{side}_features": tags})
    assert_same_state(model, before)
    assert model.linear_components_ == N_LINEAR


def test_nothing_is_learned_of_no_positives():
    model = make_model().fit(sp.coo_matrix(([-1.0], ([0], [0])), shape=(3, 4)), epochs=1)
    assert model.linear_components_ == 0


def test_callbacks_see_what_fit_would_end_with():
    train, seen = make_train(), []
    model = make_model(average=True).fit(train, epochs=4, callbacks=[lambda model: seen.append(all_scores(model, {}))])
    shorter = make_model(average=True).fit(train, epochs=3)
    without_unmet = slice(-1), slice(-1)  # which get their places after the last epoch
    assert_array_equal(seen[2][without_unmet], all_scores(shorter, {})[without_unmet])
    assert_array_equal(seen[3][without_unmet], all_scores(model, {})[without_unmet])


def test_interrupted_training_leaves_what_was_learned():
    train = make_train()
    model = make_model().fit(train, epochs=2)
    scores = all_scores(model, {})
    with pytest.raises(ValueError, match="diverged"):
        model.set_params(learning_rate=1e38).fit_partial(train, epochs=3)
    assert_array_equal(all_scores(model, {}), scores)


@pytest.mark.parametrize("side", ["user", "item"])
def test_assigned_arrays_come_without_what_was_learned_of_others(side):
    model = make_model().fit(make_train(), epochs=2)
    setattr(model, f"{side}_embeddings", 2 * getattr(model, f"{side}_embeddings"))
    assert model.linear_components_ == 0
    assert_allclose(all_scores(model, {}), score_all(model), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("shape", [(300, 50), (50, 300)])
def test_largest_singular_values_are_those_of_numpy(shape):
    rng = np.random.RandomState(0)
    matrix = sp.csr_matrix((rng.rand(*shape) < 0.1) * rng.rand(*shape), dtype=np.float32)
    squares, vectors = largest_singular(matrix, 20, 3, rng, 2)
    _, values, expected = np.linalg.svd(matrix.toarray().astype(float), full_matrices=False)
    assert_allclose(squares, values[:20] ** 2, rtol=1e-2)
    assert_allclose(vectors.T @ vectors, np.eye(20), atol=1e-5)
    assert_allclose(np.abs((vectors[:, :8] * expected[:8].T).sum(axis=0)), 1, atol=1e-3)


def test_singular_values_of_0_are_left_out():
    squares, vectors = largest_singular(sp.csr_matrix(np.ones((9, 7), np.float32)), 5, 3, np.random.RandomState(0), 1)
    assert_allclose(squares, [63], rtol=1e-6)
    assert_allclose(np.abs(vectors), np.full((7, 1), 7**-0.5), rtol=1e-5)


def trained(split, n_linear, epochs):
    """Return the preset with so many linear components, and its NDCG@20 on the held-out part."""
    model = LightFM.recommended(random_state=0, linear_components=n_linear).fit(split.train, epochs=epochs)
    return model, evaluate(model, split.held_out, train=split.train, metrics="ndcg", k=20)["ndcg@20"]


@pytest.mark.skipif("LIGHTFM_FAST_DATA" not in os.environ, reason="MovieLens 100K is not there")
def test_held_out_films_are_ranked_better():
    """MovieLens 100K: the preset with and without its autoencoder, on positives held out at random."""
    split = quality_sets.SETS["ml-100k"](0, False)
    (_, without), (_, found) = (trained(split, n_linear, 40) for n_linear in (0, "auto"))
    assert found > 1.01 * without


@pytest.mark.skipif("LIGHTFM_FAST_DATA" not in os.environ, reason="CiteULike-a is not there")
def test_more_values_rank_held_out_papers_better():
    """CiteULike-a, where 256 singular values explain a third of the positives."""
    split = quality_sets.SETS["citeulike-a"](0, False)
    (_, of_fewer), (model, found) = (trained(split, n_linear, 10) for n_linear in (256, "auto"))
    assert model.linear_components_ == 512
    assert found > 1.02 * of_fewer
