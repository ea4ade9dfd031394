"""Items without a past, placed by content: against NumPy in float64, through every way to ask, and on real data."""

import copy
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast._arguments import DivergedError
from lightfm_fast._mapping import fit_regression
from lightfm_fast._words import Words
from lightfm_fast.baselines import ContentProfile
from lightfm_fast.callbacks import Checkpoint
from lightfm_fast.evaluation import evaluate
from tests.models import N_KNOWN as N_ITEMS
from tests.models import N_LIKING as N_USERS
from tests.models import N_NEW, assert_same_state, copies
from tests.models import make_cold_items as make_data


def make_model(cold_start="content", **settings):
    settings = {"loss": "bpr", "no_components": 6, "random_state": 3, **settings}
    return LightFM(cold_start=cold_start, **settings)


@pytest.fixture(scope="module")
def data():
    return make_data()


@pytest.fixture(scope="module")
def model(data):
    train, _, features = data
    return make_model().fit(train, item_features=features, epochs=20)


def reference_scores(model, train, features):
    """Scores of all users and items by definition, in float64; the product with profiles is not projected."""
    train, features = train.toarray() > 0, features.toarray().astype(float)
    items = features @ model.item_embeddings.astype(float)
    biases = features @ model.item_biases.astype(float)
    known = np.flatnonzero(train.any(axis=0))
    counts = (features[known] != 0).sum(axis=0)
    words = features * np.where(counts > 1, np.log(len(known) / np.maximum(counts, 1)), 0)
    words /= np.maximum(np.linalg.norm(words, axis=1, keepdims=True), 1e-300)
    profiles = train @ words
    profiles /= np.maximum(np.linalg.norm(profiles, axis=1, keepdims=True), 1e-300)
    content = np.zeros((len(profiles), len(items)))
    for new in np.setdiff1d(np.arange(len(items)), known):
        cosines = words[known] @ words[new]
        if not cosines.any():  # no tag at all
            continue
        near = np.argsort(-cosines, kind="stable")[:10]
        shares = cosines[near] ** 3 / (cosines[near] ** 3).sum()
        items[new], biases[new] = shares @ items[known[near]], shares @ biases[known[near]]
        content[:, new] = profiles @ words[new]
    users = model.user_embeddings.astype(float)
    return users @ items.T + biases + model.user_biases[:, None], content


def all_scores(model, features, n_users=N_USERS):
    n_items = features.shape[0]
    users, items = np.repeat(np.arange(n_users), n_items), np.tile(np.arange(n_items), n_users)
    return model.predict(users, items, item_features=features).reshape(n_users, n_items)


def test_scores_are_those_of_the_definition(data, model):
    train, _, features = data
    factors, content = reference_scores(model, train, features)
    scores = all_scores(model, features)
    assert_allclose(scores[:, :N_ITEMS], factors[:, :N_ITEMS], rtol=1e-4, atol=1e-5)
    # One weight and one offset, whatever they are, explain what content adds to the new items' scores.
    placed = N_ITEMS + np.flatnonzero(content[:, N_ITEMS:].any(axis=0))
    assert len(placed) == N_NEW - 1  # one has no tag at all, and is the sum of its features
    added, matches = (scores - factors)[:, placed].ravel(), content[:, placed].ravel()
    weight, offset = np.polyfit(matches, added, 1)
    assert weight > 0
    assert offset < 0
    assert_allclose(added, weight * matches + offset, atol=1e-4 * np.abs(factors).max())


def test_known_items_are_recommended_as_without_content(data, model):
    train, _, features = data
    plain = make_model("features").fit(train, item_features=features, epochs=20)
    assert_same_state(plain, model)
    asked = {"item_features": features, "items": np.arange(N_ITEMS), "n": 10}
    for found, expected in zip(
        model.recommend(np.arange(N_USERS), **asked), plain.recommend(np.arange(N_USERS), **asked), strict=True
    ):
        assert_allclose(found, expected, rtol=1e-5)


def test_content_ranks_new_items_better_than_features(data, model):
    train, new, features = data
    plain = make_model("features").fit(train, item_features=features, epochs=20)
    assert model_ndcg(model, new, features) > model_ndcg(plain, new, features)


def model_ndcg(model, new, features):
    """NDCG@5 among the new items, by predict."""
    scores, hits = all_scores(model, features)[:, N_ITEMS:], new.toarray()[:, N_ITEMS:] > 0
    hits, scores = hits[hits.any(axis=1)], scores[hits.any(axis=1)]
    best = np.take_along_axis(hits, np.argsort(-scores, axis=1)[:, :5], axis=1)
    discounts = 1 / np.log2(np.arange(2, 7))
    ideal = np.cumsum(discounts)[np.minimum(hits.sum(axis=1), 5) - 1]
    return float((best @ discounts / ideal).mean())


def test_all_ways_to_ask_agree(data, model, tmp_path):
    train, new, features = data
    scores = all_scores(model, features)
    user_biases, users = model.get_user_representations()
    item_biases, items = model.get_item_representations(features)
    assert users.shape[1] == items.shape[1] > model.no_components
    assert_allclose(users @ items.T + user_biases[:, None] + item_biases, scores, rtol=1e-4, atol=1e-5)
    ids, best = model.recommend(np.arange(N_USERS), n=7, item_features=features)
    assert_allclose(best, -np.sort(-scores, axis=1)[:, :7], rtol=1e-4, atol=1e-5)
    assert_allclose(np.take_along_axis(scores, ids, axis=1), best, rtol=1e-4, atol=1e-5)
    ranks = model.predict_rank(new, item_features=features).tocoo()
    expected = (scores[ranks.row] > scores[ranks.row, ranks.col][:, None] + 1e-6).sum(axis=1)
    assert_allclose(ranks.data, expected, atol=1)
    factorization = model.to_matrix_factorization(item_features=features)
    assert_allclose(factorization.predict(3, np.arange(60)), scores[3], rtol=1e-4, atol=1e-5)
    found = evaluate(model, new, train=train, item_features=features, metrics="ndcg", k=5, items=np.arange(50, 60))
    assert_allclose(found["ndcg@5"], model_ndcg(model, new, features), rtol=1e-6)


def test_matrix_factorization_needs_both_sides_with_features(data, model):
    train, _, features = data
    with pytest.raises(ValueError, match="content needs item_features"):
        model.to_matrix_factorization(sides=["user"])
    with_users = make_model().fit(train, sp.eye(N_USERS, N_USERS + 1, format="csr"), features, epochs=2)
    with pytest.raises(ValueError, match="content needs user_features"):
        with_users.to_matrix_factorization(item_features=features, sides=["item"])


def test_a_mapping_with_content_has_the_place_of_one_and_the_gain_of_the_other(data, model, tmp_path):
    train, _, features = data
    mapped, both = (
        make_model(way).fit(train, item_features=features, epochs=20) for way in ("mapping", "mapping+content")
    )
    gain = [model.explain(user, N_ITEMS, item_features=features).parts["content"] for user in range(N_USERS)]
    expected = all_scores(mapped, features)
    assert_allclose(all_scores(both, features)[:, N_ITEMS], expected[:, N_ITEMS] + gain, rtol=1e-4, atol=1e-5)
    assert_allclose(all_scores(both, features)[:, :N_ITEMS], expected[:, :N_ITEMS], rtol=1e-5, atol=1e-6)
    found = both.explain(4, N_ITEMS, item_features=features)
    assert_allclose(found.score, all_scores(both, features)[4, N_ITEMS], rtol=1e-4, atol=1e-5)
    for copied in copies(both, tmp_path):
        assert_array_equal(all_scores(copied, features), all_scores(both, features))


@pytest.mark.parametrize("item", [0, N_ITEMS, N_ITEMS + 4])
def test_explanation_adds_up_and_names_the_parts(data, model, item):
    _, _, features = data
    found = model.explain(4, item, item_features=features)
    assert_allclose(found.score, all_scores(model, features)[4, item], rtol=1e-4, atol=1e-5)
    assert_allclose(sum(found.parts.values()), found.score, rtol=1e-12)
    assert_allclose(sum(row["contribution"] for row in found.rows()), found.score, rtol=1e-12)
    assert (found.parts["content"] != 0) == (item >= N_ITEMS)
    if item >= N_ITEMS:
        assert all(name.startswith("like item") for name in found.item_features)
        assert len(found.content) == len(found.content_features) + 1


def test_copies_score_alike(data, model, tmp_path):
    _, _, features = data
    scores = all_scores(model, features)
    for copied in copies(model, tmp_path):
        assert_array_equal(all_scores(copied, features), scores)
        assert copied.get_params()["cold_start"] == "content"


def test_new_items_of_a_later_matrix_are_placed(data, model):
    """A later item may have a tag that one known item alone had: it is new all the same."""
    train, _, features = data
    alone = sp.csr_matrix(([1.0], ([7], [0])), shape=(N_ITEMS + N_NEW, 1))
    wider = sp.csr_matrix(sp.hstack([features, alone]), dtype=np.float32)
    fitted = make_model().fit(train, item_features=wider, epochs=20)
    later = wider[N_ITEMS:].tolil()
    later[0, -1] = 1
    later = later.tocsr()
    scores = all_scores(fitted, later)
    assert_allclose(scores, all_scores(fitted, wider[N_ITEMS:].tocsr()), rtol=1e-4, atol=1e-5)


def test_requests_beside_growing_training_find_what_was_learned_before(data):
    """The tables of a model grow one after the other: a request may find some that have not grown yet, or have."""
    train, _, features = data
    model = make_model("mapping+content").fit(train, user_features=np.eye(N_USERS + 1, N_USERS), item_features=features)
    before, mapping = model._judged_sides(), model._items.mapping
    scores = before.represent("item", features, None, 1)
    wider = sp.csr_matrix(sp.hstack([features, np.ones((features.shape[0], 2))]), dtype=np.float32)
    more = sp.coo_matrix((train.data, (train.row, train.col)), (N_USERS + 1, train.shape[1]))
    model.fit_partial(more, user_features=np.eye(N_USERS + 1), item_features=wider)
    after = model._judged_sides()
    model._items.mapping = mapping  # as it was before
    for name, matrix in (("user", sp.identity(N_USERS + 1, format="csr", dtype=np.float32)), ("item", wider)):
        found = before.represent(name, matrix, None, 1)[0]
        assert found.shape[1] == scores[0].shape[1]
        assert np.isfinite(found).all()
    positives = sp.csr_matrix(np.ones((1, 2), np.float32))
    assert np.isfinite(before.extended_by_items(np.zeros((1, 10), np.float32), wider, positives)).all()
    narrow = features[:, :-1]
    with pytest.raises(RuntimeError, match="another thread gave the model parameters of another shape"):
        after._placed("item", narrow, *scores[:2], None)


def test_folded_users_have_profiles(data, model):
    train, _, features = data
    rows = sp.csr_matrix(train)[:5]
    folded = model.fold_in_users(rows, item_features=features)
    _, users = model.get_user_representations()
    assert folded.embeddings.shape == (5, users.shape[1])
    assert_allclose(folded.embeddings[:, 6:], users[:5, 6:], rtol=1e-4, atol=1e-5)
    ids, _ = model.recommend(np.arange(5), n=3, item_features=features, user_representations=folded)
    assert ids.shape == (5, 3)


def test_folded_items_count_as_known(data, model):
    train, new, features = data
    folded = model.fold_in_items(
        sp.csc_matrix(new)[:, N_ITEMS:], sp.csc_matrix(train)[:, :N_ITEMS], known_item_features=features[:N_ITEMS]
    )
    _, items = model.get_item_representations(features)
    assert folded.embeddings.shape == (N_NEW, items.shape[1])
    assert not folded.embeddings[:, 6:].any()


def test_further_training_makes_new_items_known(data):
    train, new, features = data
    model = make_model().fit(train, item_features=features, epochs=5)
    grown = sp.csr_matrix(sp.hstack([sp.eye(60, 60), features[:, N_ITEMS:]]), dtype=np.float32)
    wide = sp.csr_matrix(sp.hstack([features, sp.csr_matrix(np.eye(60)[:, N_ITEMS:])]), dtype=np.float32)
    assert grown.shape == wide.shape
    model.fit_partial(sp.coo_matrix(train + new), item_features=wide, epochs=2)
    _, items = model.get_item_representations(wide)
    assert not items[:, 6:].any()
    _, users = model.get_user_representations()
    assert users[:, 6:].any(axis=1).all()


def test_auto_leaves_noise_alone_and_takes_what_helps():
    rng = np.random.RandomState(0)
    train, _, features = make_data()
    noise = sp.csr_matrix(
        sp.hstack([features[:, :N_ITEMS], (rng.rand(60, 40) < 0.2).astype(np.float32)]), dtype=np.float32
    )
    _, items = make_model("auto").fit(train, item_features=noise, epochs=20).get_item_representations(noise)
    assert items.shape[1] == 6


def test_auto_maps_where_only_the_comparison_diverges(data, monkeypatch):
    train, _, features = data
    plain = make_model("mapping").fit(train, item_features=features, epochs=8)
    model, fit = make_model("auto"), LightFM.fit

    def fit_or_diverge(self, *args, **settings):
        if self is not model:
            raise DivergedError("diverged")
        return fit(self, *args, **settings)

    monkeypatch.setattr(LightFM, "fit", fit_or_diverge)
    model.fit(train, item_features=features, epochs=8)
    assert_array_equal(all_scores(model, features), all_scores(plain, features))


@pytest.mark.parametrize("goes_on_from", ["checkpoint", "exception"])
@pytest.mark.parametrize(
    "settings", [{"cold_start": "auto"}, {"cold_start": "content"}, {"linear_components": 3}], ids=str
)
def test_an_interrupted_run_learns_what_an_unbroken_one_learns(data, tmp_path, goes_on_from, settings):
    train, _, features = data
    settings = {"loss": "bpr", "negatives": "uniform", "no_components": 8, "random_state": 3, **settings}

    def interrupt(model):
        if len(model.history_) == 5:
            raise KeyboardInterrupt

    unbroken, model = (LightFM(**settings) for _ in range(2))
    callbacks = [Checkpoint(tmp_path / "model"), interrupt]
    with pytest.raises(KeyboardInterrupt):
        model.fit(train, item_features=features, epochs=12, callbacks=callbacks)
    if from_file := goes_on_from == "checkpoint":
        model = LightFM.load(tmp_path / "model")
    interrupted = copy.deepcopy(model)
    unbroken.fit(train, item_features=features, epochs=12)
    model.fit_partial(train, item_features=features, epochs=7)
    has_more = [one._items.mapping is not None or one._sides.length > one.no_components for one in (model, unbroken)]
    assert has_more == [True, True]
    few = sp.csr_matrix(train)
    few.data[few.indptr[N_USERS // 3] :] = -1
    if settings.get("cold_start") != "content":
        interrupted.fit_partial(few, item_features=features)
        assert interrupted._items.mapping is None  # few users say too little
        assert interrupted.linear_components_ == (3 if from_file and "linear_components" in settings else 0)
    for _ in range(2):  # later calls keep what was chosen
        scores = [scores_of(one, sp.identity(N_USERS, format="csr"), features) for one in (model, unbroken)]
        assert_array_equal(*scores)
        for one in (model, unbroken):
            one.fit_partial(train, item_features=features)


def test_auto_without_features_is_the_plain_model(data):
    train = data[0].tocsr()[:, :N_ITEMS].tocoo()
    assert_same_state(make_model("auto").fit(train, epochs=3), make_model("features").fit(train, epochs=3))


@pytest.mark.parametrize(
    ("features", "match"),
    [(None, "no content"), (sp.eye(N_ITEMS + N_NEW), "no content"), (np.ones((N_ITEMS + N_NEW, 3)), "no content")],
)
def test_content_without_content_is_refused_before_anything_changes(data, model, features, match):
    train, _, _ = data
    fitted = copy.deepcopy(model)
    with pytest.raises(ValueError, match=match):
        fitted.fit(train, item_features=features)
    assert_same_state(fitted, model)
    assert_array_equal(all_scores(fitted, data[2]), all_scores(model, data[2]))


@pytest.mark.parametrize("settings", [{"loss": "softmax"}, {"interactions": "all"}])
def test_scores_that_content_does_not_join_are_refused(settings):
    with pytest.raises(ValueError, match="cold_start is 'content'"):
        LightFM(cold_start="content", **settings)


@pytest.mark.parametrize("settings", [{"loss": "softmax"}, {"interactions": "all"}])
def test_auto_is_the_sum_of_features_where_content_does_not_join(data, settings):
    train, _, features = data
    settings = {"loss": "bpr", **settings}
    model = make_model("auto", **settings).fit(train, item_features=features, epochs=2)
    assert_array_equal(
        all_scores(model, features),
        all_scores(make_model("features", **settings).fit(train, item_features=features, epochs=2), features),
    )


@pytest.mark.skipif("LIGHTFM_FAST_DATA" not in os.environ, reason="CiteULike is not there")
def test_new_papers_are_ranked_better_than_by_features_or_by_content_alone():
    with np.load(Path(os.environ["LIGHTFM_FAST_DATA"]) / "citeulike-a.npz") as data:
        is_asked = data["user"] < 1500  # a quarter of the users: more take longer to say the same
        users, items = data["user"][is_asked], data["item"][is_asked]
        indptr = data["item_tag__indptr"]
        shape = len(indptr) - 1, int(data["item_tag__ncols"])
        tags = sp.csr_matrix((np.ones(indptr[-1], np.float32), data["item_tag__indices"], indptr), shape=shape)
    is_new = np.random.default_rng(0).random(shape[0]) < 0.2
    known, new = np.flatnonzero(~is_new), np.flatnonzero(is_new)
    order = np.concatenate([known, new])  # new items come last, without identity columns
    numbers = np.argsort(order)
    entries = np.ones(len(users), np.float32), (users, numbers[items])
    likes = sp.coo_matrix(entries, shape=(1500, shape[0])).tocsc()
    train, test = (likes.multiply(mask[order]).tocoo() for mask in (~is_new, is_new))
    features = sp.csr_matrix(sp.hstack([sp.eye(shape[0], len(known)), tags[order]]), dtype=np.float32)
    asked = {"metrics": "ndcg", "items": np.arange(len(known), shape[0])}

    found = {}
    for way in ("features", "auto"):
        model = LightFM.recommended(cold_start=way, no_components=32, random_state=0)
        model.fit(train, item_features=features, epochs=8)
        found[way] = evaluate(model, test, item_features=features, **asked)["ndcg@10"]
    alone = ContentProfile().fit(train, item_features=tags[order])
    found["alone"] = evaluate(alone, test, **asked)["ndcg@10"]
    assert found["auto"] > 1.1 * found["features"], found
    assert found["auto"] > found["alone"], found


def with_numbers(features, rng):
    """Add two numbers that all rows have but the last, one of them far from 0."""
    numbers = rng.normal([0, 30], size=(features.shape[0], 2))
    numbers[-1] = 0
    return sp.csr_matrix(sp.hstack([features, numbers]), dtype=np.float32)


@pytest.fixture(scope="module", params=["tags", "tags and numbers"])
def both_sides(request, data):
    """Users and items with identity columns and shared columns, and newcomers of both without identity columns."""
    train, _, item_features = data
    rng = np.random.RandomState(1)
    likes_topic = np.arange(N_USERS + 3) % 3
    tags = (rng.rand(N_USERS + 3, 9) < np.where(np.arange(9) % 3 == likes_topic[:, None], 0.7, 0.1)).astype(np.float32)
    tags[-1] = 0  # of this new user nothing is known
    user_features = sp.csr_matrix(sp.hstack([sp.eye(N_USERS + 3, N_USERS), tags]), dtype=np.float32)
    if request.param == "tags and numbers":
        user_features, item_features = with_numbers(user_features, rng), with_numbers(item_features, rng)
    settings = {"feature_scaling": "balanced", "learning_rate": 0.1}
    model = make_model("mapping", **settings).fit(train, user_features, item_features, epochs=10)
    return model, user_features, item_features


def scores_of(model, user_features, item_features):
    n_users, n_items = user_features.shape[0], item_features.shape[0]
    users, items = np.repeat(np.arange(n_users), n_items), np.tile(np.arange(n_items), n_users)
    return model.predict(users, items, item_features, user_features).reshape(n_users, n_items)


def mapped_by_definition(represented, features, n_known, strength=0.5):
    """Mean plus ridge regression on words, in float64: what a mapping makes of all rows after ``n_known``."""
    weights = features.toarray().astype(float)
    counts = (weights[:n_known] != 0).sum(axis=0)
    shared, dense = (counts > 1) & (counts < n_known), counts == n_known
    numbers = np.where(weights[:, dense] != 0, weights[:, dense] - weights[:n_known, dense].mean(axis=0), 0)
    numbers /= weights[:n_known, dense].std(axis=0)
    weights[:, dense] = 0
    even = weights[:, shared] / np.maximum(abs(weights[:, shared]).max(axis=1, keepdims=True), 1e-300)
    among_all = weights[:n_known, shared] / abs(weights[:n_known]).max(axis=1, keepdims=True)
    sizes = np.sqrt((among_all**2).sum(axis=0) / counts[shared])
    words = even / sizes * np.sqrt(np.log(n_known / counts[shared]))
    words = np.hstack([words, np.sqrt(np.log(2)) * numbers])
    words /= np.maximum(np.linalg.norm(words, axis=1, keepdims=True), 1e-300)
    known, mean = words[:n_known], represented.mean(axis=0)
    penalties = np.repeat([strength, 10 * strength], [shared.sum(), dense.sum()])
    gram = known.T @ known + np.diag(penalties)
    return mean + words[n_known:] @ np.linalg.solve(gram, known.T @ (represented - mean))


def test_mapped_rows_are_those_of_the_definition(both_sides):
    model, user_features, item_features = both_sides
    for side, features, n_known in (("user", user_features, N_USERS), ("item", item_features, N_ITEMS)):
        biases, embeddings = getattr(model, f"get_{side}_representations")(features)
        found = np.column_stack([embeddings, biases]).astype(float)
        expected = mapped_by_definition(found[:n_known], features, n_known)
        has_any = features[n_known:].getnnz(axis=1) > 0
        if side == "item":  # without tags an item stays the sum of its features; a user becomes the mean user
            assert not found[n_known:][~has_any].any()
            expected, found = expected[has_any], np.vstack([found[:n_known], found[n_known:][has_any]])
        assert_allclose(found[n_known:], expected, atol=2e-3 * abs(expected).max())


def test_mapping_leaves_known_rows_as_training_left_them(both_sides, data):
    model, user_features, item_features = both_sides
    settings = {**model.get_params(), "cold_start": "features"}
    plain = LightFM(**settings).fit(data[0], user_features, item_features, epochs=10)
    assert_same_state(plain, model)
    found, sums = (scores_of(either, user_features, item_features) for either in (model, plain))
    assert_array_equal(found[:N_USERS, :N_ITEMS], sums[:N_USERS, :N_ITEMS])
    assert not np.allclose(found[N_USERS:-1], sums[N_USERS:-1])
    assert not np.allclose(found[:, N_ITEMS:], sums[:, N_ITEMS:])


def test_all_ways_to_ask_agree_on_mapped_rows(both_sides, tmp_path):
    model, user_features, item_features = both_sides
    scores = scores_of(model, user_features, item_features)
    for copied in copies(model, tmp_path):
        assert_array_equal(scores_of(copied, user_features, item_features), scores)
    users = np.arange(user_features.shape[0])
    asked = {"n": 5, "user_features": user_features, "item_features": item_features}
    assert_allclose(model.recommend(users, **asked).scores, -np.sort(-scores, axis=1)[:, :5], rtol=1e-4, atol=1e-5)
    factorization = model.to_matrix_factorization(user_features, item_features)
    _, best = factorization.recommend(users, n=5)
    assert_allclose(best, -np.sort(-scores, axis=1)[:, :5], rtol=1e-4, atol=1e-5)
    half = model.to_matrix_factorization(item_features=item_features, sides=["item"])
    found = half.predict(np.full(60, N_USERS), np.arange(60), user_features=user_features)
    assert_allclose(found, scores[N_USERS], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("user", "item"), [(0, 0), (N_USERS, 3), (2, N_ITEMS), (N_USERS + 2, N_ITEMS + 1)])
def test_explanation_of_mapped_rows_adds_up(both_sides, user, item):
    model, user_features, item_features = both_sides
    found = model.explain(user, item, user_features=user_features, item_features=item_features)
    assert_allclose(found.score, scores_of(model, user_features, item_features)[user, item], rtol=1e-4, atol=1e-5)
    assert (found.user_features[0] == "mean user") == (user >= N_USERS)
    assert (found.item_features[0] == "mean item") == (item >= N_ITEMS)


def test_further_training_refreshes_mappings(both_sides, data):
    """A new user who becomes known is what training learned, and counts in the mean."""
    train, (model, user_features, item_features) = data[0], both_sides
    wider = sp.csr_matrix(sp.hstack([user_features, sp.eye(N_USERS + 3, 1, -N_USERS)]), dtype=np.float32)
    more = sp.coo_matrix(([1.0] * 4, ([N_USERS] * 4, [0, 3, 6, 9])), shape=(N_USERS + 3, train.shape[1]))
    found = []
    for way in ("mapping", "features"):
        fitted = LightFM(**{**model.get_params(), "cold_start": way}).fit(train, user_features, item_features, epochs=5)
        fitted.fit_partial(more, wider, item_features, epochs=3)
        found.append(fitted.get_user_representations(wider)[1])
    known = slice(N_USERS + 1)
    assert_array_equal(found[0][known], found[1][known])
    assert_allclose(found[0][-1], found[0][known].mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("way", ["auto", "content"])
def test_a_call_of_newcomers_without_interactions_changes_nothing(both_sides, data, way):
    """Then no row is known that a regression could be fitted to."""
    _, *features = both_sides
    fitted = make_model(way).fit(data[0], *features)
    newcomers = [side[-3:] for side in features]
    before = scores_of(fitted, *newcomers)
    fitted.fit_partial(sp.coo_matrix((3, 3)), *newcomers)
    assert_array_equal(scores_of(fitted, *newcomers), before)


@pytest.mark.parametrize("side", ["user", "item"])
def test_assigned_arrays_come_without_what_was_learned_of_others(both_sides, data, model, side):
    mapped, user_features, item_features = both_sides
    mapped, placed = copy.deepcopy(mapped), copy.deepcopy(model)
    mapped.set_state(mapped.get_state())  # equal values change nothing
    assert_array_equal(
        scores_of(mapped, user_features, item_features), scores_of(both_sides[0], user_features, item_features)
    )
    name, found = f"{side}_embeddings", []
    for _ in range(2):
        setattr(mapped, name, 2 * getattr(mapped, name))
        features = {"user": user_features, "item": item_features}[side]
        found.append(getattr(mapped, f"get_{side}_representations")(features)[1])
    assert_array_equal(found[1], 2 * found[0])  # sums of features follow; a mapping would not
    setattr(placed, name, 2 * getattr(placed, name))
    assert placed.get_item_representations(data[2])[1].shape[1] == placed.no_components


def test_rows_of_single_features_are_scaled_as_others_are(data):
    train, _, features = data
    model = make_model("features", feature_scaling="balanced").fit(train, item_features=features, epochs=2)
    found, expected = (
        model.get_item_representations(rows) for rows in (None, sp.identity(features.shape[1], format="csr"))
    )
    for array, same in zip(found, expected, strict=True):
        assert_array_equal(array, same)


def test_mapping_without_shared_features_is_refused(data):
    with pytest.raises(ValueError, match="neither item_features nor user_features have content"):
        make_model("mapping").fit(data[0].tocsr()[:, :N_ITEMS])


def test_new_items_rank_as_well_by_vectors_as_by_tags(data):
    """A rotation of the tags, to which each item adds a part of every tag, tells as much of them."""
    train, new, features = data
    rng = np.random.RandomState(0)
    n_tags = features.shape[1] - N_ITEMS
    rotation = np.linalg.qr(rng.standard_normal((n_tags, n_tags)))[0]
    tags = features[:, N_ITEMS:].toarray()
    tags[-1] = tags[:-1].mean(axis=0)  # no row of zeros, which would be no vector
    forms = {"tags": tags, "vectors": tags @ rotation, "shifted": tags @ rotation + 3, "scaled": 1e4 * tags @ rotation}
    found = {}
    for name, form in forms.items():
        of_items = sp.csr_matrix(sp.hstack([features[:, :N_ITEMS], form]), dtype=np.float32)
        model = LightFM.recommended(no_components=16, random_state=0).fit(train, item_features=of_items, epochs=20)
        assert model._items.mapping is not None
        if name == "shifted":
            with pytest.raises(ValueError, match="item_features have no content"):
                make_model("content").fit(train, item_features=of_items)
        found[name] = model_ndcg(model, new, of_items)
    assert min(found.values()) > 0.9 * found["tags"], found


def test_a_number_is_a_word_however_it_is_measured():
    rng = np.random.RandomState(0)
    years = rng.randint(1930, 2020, 40).astype(float)
    genres = (rng.rand(40, 5) < 0.3) | (np.arange(5) == np.arange(40)[:, None] % 5)
    one, *others = (
        Words.of(features).of_rows(features).toarray()
        for features in (
            sp.csr_matrix(np.column_stack([genres, number]), dtype=np.float32)
            for number in (years, years - 1990.5, 1e-3 * years)
        )
    )
    assert len(np.unique(one[:, -1])) > 20
    for other in others:
        assert_allclose(other, one, atol=1e-4)


def test_the_length_of_a_row_is_no_number():
    """Rows that are divided by their sums have other weights of a column that all rows have, which says nothing."""
    rng = np.random.RandomState(0)
    rows = np.hstack([np.eye(40), np.ones((40, 1)), rng.rand(40, 6) < 0.4])
    rows /= rows.sum(axis=1, keepdims=True)
    assert 40 not in Words.of(sp.csr_matrix(rows, dtype=np.float32)).columns


def test_long_vectors_leave_tags_their_say():
    rng = np.random.RandomState(0)
    tags, vectors = rng.rand(200, 30) < 0.1, rng.standard_normal((200, 300))
    features = sp.csr_matrix(np.hstack([tags, vectors]), dtype=np.float32)
    words = Words.of(features).of_rows(features).toarray()
    lengths = np.linalg.norm(words[:, :30], axis=1)[tags.any(axis=1)]
    assert 0.5 < np.median(lengths) < 0.9


def test_a_regression_on_vectors_is_that_of_the_definition():
    rng = np.random.RandomState(0)
    words = rng.standard_normal((5000, 20)).astype(np.float32)
    wanted, mean = rng.standard_normal((5000, 3)), np.array([1.0, 2.0, 3.0])
    expected = np.linalg.solve(words.T @ words.astype(float) + 0.5 * np.eye(20), words.T @ (wanted - mean))
    assert_allclose(
        fit_regression(sp.csr_matrix(words), wanted, mean, np.full(20, 0.5)), expected, rtol=1e-4, atol=1e-6
    )


def test_auto_maps_users_and_leaves_noise_harmless(both_sides, data):
    train = data[0].tocsr()[:, :N_ITEMS]
    _, user_features, _ = both_sides
    model = make_model("auto").fit(train, user_features, epochs=8)
    plain = make_model("features").fit(train, user_features, epochs=8)
    assert_same_state(model, plain)
    _, embeddings = model.get_user_representations(user_features)
    assert_allclose(embeddings[-1], embeddings[:N_USERS].mean(axis=0), atol=1e-5)
