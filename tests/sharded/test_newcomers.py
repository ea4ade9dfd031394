"""Users who came after training, in shards of their own; and what represents new users and items after shards."""

import errno
import os

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM, _cold_start, load
from lightfm_fast._content import coordinates_of
from lightfm_fast.datasets import make_interactions
from lightfm_fast.evaluation import evaluate
from lightfm_fast.sharded import ShardedDataset

from .test_user_features import COLUMNS, N_ITEMS, in_memory, people, views, written


def newcomers(folder, like, users=None):
    table = {**views(seed=9, n=800)}
    table["who"] = [f"new-{name}" for name in table["who"]]
    return ShardedDataset.from_tables([table], folder, **COLUMNS, like=like, users=users, n_shards=3)


@pytest.fixture(scope="module", params=["ids", "features"])
def folded(request, tmp_path_factory):
    """Shards of training, a model, shards of new users, and their representations."""
    folder = tmp_path_factory.mktemp("folded")
    has_features = request.param == "features"
    made = written(folder / "s", 3, user_features=["town"] if has_features else None)
    users = people()
    users["who"] = [f"new-{name}" for name in users["who"]]
    new = newcomers(folder / "new", made, users if has_features else None)
    model = LightFM(loss="warp", random_state=1).fit(made, epochs=10)
    return made, model, new, new.fold_in_users(model, folder / "folded", epochs=5), users


class TestFoldIn:
    def test_representations_are_those_of_memory(self, folded, tmp_path):
        made, model, new, found, users = folded
        assert new.item_ids == made.item_ids
        names = [name for shard in new for name in shard.user_ids]
        matrix = sp.vstack([shard.interactions for shard in new])
        features = None
        if made.n_shared:
            order = [users["who"].index(name) for name in names]
            features = made.encode_new_users({name: np.array(column)[order] for name, column in users.items()})
        blocks = zip(new.starts, new.starts[1:], strict=False)
        expected = [
            model.fold_in_users(
                matrix.tocsr()[first:last], None if features is None else features[first:last], epochs=5
            )
            for first, last in blocks
        ]
        assert_allclose(found.embeddings, np.concatenate([part.embeddings for part in expected]), rtol=1e-4, atol=1e-6)
        assert_allclose(found.biases, np.concatenate([part.biases for part in expected]), rtol=1e-4, atol=1e-6)

    def test_new_users_are_measured_and_recommended_to(self, folded, tmp_path):
        _, model, new, _, _ = folded
        train, test = new.split(tmp_path / "train", tmp_path / "test", 0.3)
        found = train.fold_in_users(model, tmp_path / "folded")
        scores = test.evaluate(model, train, "ndcg", user_representations=found)
        seen, wanted = (sp.vstack([shard.interactions for shard in part]) for part in (train, test))
        ids, _ = model.recommend(np.arange(new.shape[0]), 10, seen, user_representations=found)
        gains = np.array([[wanted.tocsr()[row, item] > 0 for item in items] for row, items in enumerate(ids)])
        discounts = 1 / np.log2(np.arange(2, 12))
        n_wanted = np.diff(wanted.tocsr().indptr)
        kept = n_wanted > 0
        ideal = np.cumsum(discounts)[np.minimum(n_wanted[kept], 10) - 1]
        assert scores["ndcg@10"] == pytest.approx(((gains[kept] @ discounts) / ideal).mean(), rel=1e-3)
        train.recommend_to(model, tmp_path / "lists", n=10, user_representations=found)
        lists = pq.read_table(tmp_path / "lists").to_pandas().groupby("who")["what"].agg(list)
        names = [name for shard in train for name in shard.user_ids]
        assert [lists[name] for name in names] == [[item for item in row if item >= 0] for row in ids.tolist()]

    @pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system reserves nothing")
    def test_a_full_disk_is_told_of(self, folded, tmp_path, monkeypatch):
        _, model, new, _, _ = folded

        def fail(descriptor, offset, size):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "posix_fallocate", fail)
        with pytest.raises(OSError, match="No space left"):
            new.fold_in_users(model, tmp_path / "rows")
        assert os.listdir(tmp_path) == []

    def test_what_does_not_fit_is_refused(self, folded, tmp_path):
        made, model, new, found, _ = folded
        other = ShardedDataset.from_tables([{"who": ["a"], "what": ["b"]}], tmp_path / "o", **COLUMNS)
        with pytest.raises(ValueError, match="the model was trained for 40 items, and the shards have 1"):
            other.fold_in_users(model, tmp_path / "x")
        with pytest.raises(ValueError, match="take what fold_in_users of these shards returned"):
            new.evaluate(model, user_representations=found._replace(biases=found.biases[:9]))
        with pytest.raises(ValueError, match="no empty folder"):
            new.fold_in_users(model, tmp_path / "o")
        with pytest.raises(ValueError, match="leave out items="):
            ShardedDataset.from_tables([views()], tmp_path / "x", **COLUMNS, like=made, items={"what": [1]})
        with pytest.raises(TypeError, match="expected a ShardedDataset"):
            ShardedDataset.from_tables([views()], tmp_path / "x", **COLUMNS, like=model)
        with pytest.raises(ValueError, match="features that users share"):
            newcomers(tmp_path / "x", made, None if made.n_shared else people())
        assert os.listdir(tmp_path) == ["o"]


class TestColdStart:
    @pytest.mark.parametrize("choice", ["mapping", "auto"])
    def test_one_shard_learns_the_mappings_of_memory(self, tmp_path, choice):
        made = written(tmp_path / "s", items={"what": np.arange(N_ITEMS), "kind": np.arange(N_ITEMS) // 7},
                       item_features=["kind"])  # fmt: skip
        train, features = in_memory(made)
        settings = {"loss": "bpr", "random_state": 3, "cold_start": choice}
        on_disk = LightFM(**settings).fit(made, item_features=made.item_features, epochs=8)
        model = LightFM(**settings).fit(train, features, made.item_features, epochs=8)
        for side in ("_users", "_items"):
            found, expected = (getattr(model, side).mapping for model in (on_disk, model))
            assert (found is None) == (expected is None)
            if found is not None:
                assert_array_equal(found.words.columns, expected.words.columns)
                assert_allclose(found.vectors, expected.vectors, atol=1e-6)
                assert_allclose(found.mean, expected.mean, atol=1e-6)
        assert on_disk._users.mapping is not None
        again = on_disk.fit_partial(made, item_features=made.item_features)
        expected = model.fit_partial(train, features, made.item_features)
        assert_allclose(again._users.mapping.vectors, expected._users.mapping.vectors, atol=1e-6)
        cold = made.encode_new_users({"town": ["Rome"]})
        assert_allclose(
            again.predict(0, np.arange(N_ITEMS), user_features=cold, item_features=made.item_features),
            expected.predict(0, np.arange(N_ITEMS), user_features=cold, item_features=made.item_features),
            atol=1e-5,
        )

    @pytest.mark.parametrize("stars", [None, "stars"])
    def test_settings_are_compared_on_a_shard_with_likes(self, tmp_path, stars):
        """The first shard may have users without interactions only, or without likes."""
        items = {"items": {"what": np.arange(N_ITEMS), "kind": np.arange(N_ITEMS) // 7}, "item_features": ["kind"]}
        all_users = list(ShardedDataset.from_tables([people()], tmp_path / "a", user="who", item="town", n_shards=5))
        first = set(all_users[0].user_ids)
        table = pd.DataFrame(views())
        if stars is None:
            table = table[~table["who"].isin(first)]
        table["stars"] = np.where(table["who"].isin(first), -1, 1)
        made = ShardedDataset.from_tables(
            [table], tmp_path / "s", **COLUMNS, users=people(), user_features=["town"], value=stars, n_shards=5, **items
        )
        assert set(next(iter(made)).user_ids) == first
        assert made.counts(0, positives=True).sum() == 0
        model = LightFM.recommended("fast", random_state=1, no_components=4)
        model.fit(made, item_features=made.item_features, epochs=4)
        assert model.item_alpha_ > 0
        _, embeddings = model.get_item_representations(made.item_features)
        assert np.isfinite(embeddings).all()

    @pytest.mark.parametrize("n_shards", [1, 4])
    @pytest.mark.parametrize("helps", [True, False])
    def test_features_of_users_learn_from_choices(self, tmp_path, monkeypatch, n_shards, helps):
        compared = []

        def rank_better(choices, *_):
            compared.append(choices)
            return helps

        monkeypatch.setattr(_cold_start, "rank_better", rank_better)
        made = written(tmp_path / "s", n_shards)
        settings = {"loss": "bpr", "random_state": 3, "cold_start": "auto"}
        on_disk, model = (LightFM(**settings).fit(*given, epochs=8) for given in ((made,), in_memory(made)))
        found, expected = (model._users.mapping.correction for model in (on_disk, model))
        assert found.any() == expected.any() == helps
        assert_array_equal(*(choices.chosen.toarray() for choices in compared))
        if n_shards == 1:
            assert_allclose(found, expected, atol=1e-6)
        assert_array_equal(on_disk.fit_partial(made)._users.mapping.correction, found)

    def test_items_without_interactions_rank_as_well_as_after_memory(self, tmp_path):
        data = make_interactions(n_users=500, n_items=200, n_interactions=15_000, random_state=2)
        entries, features = (data["train"] + data["test"]).tocoo(), data["item_features"]
        is_new = np.random.RandomState(0).random_sample(200) < 0.2
        kept = ~is_new[entries.col]
        table = {"who": entries.row[kept], "what": entries.col[kept]}
        made = ShardedDataset.from_tables(
            [table], tmp_path / "s", **COLUMNS, items={"what": np.arange(200)}, n_shards=4
        )
        users = [user for shard in made for user in shard.user_ids]
        train = sp.csr_matrix((np.ones(kept.sum()), (entries.row[kept], entries.col[kept])), shape=(500, 200))[users]
        test = sp.csr_matrix((np.ones((~kept).sum()), (entries.row[~kept], entries.col[~kept])), shape=(500, 200))
        scores = []
        for given, choice in ((train, "mapping"), (made, "auto"), (made, "features")):
            model = LightFM(loss="bpr", random_state=3, cold_start=choice, item_alpha=0.01, user_alpha=0.01)
            model.fit(given, item_features=features, epochs=15)
            scores.append(evaluate(model, test[users], train, "ndcg", item_features=features)["ndcg@10"])
        assert scores[1] > 0.95 * scores[0]

    def test_features_without_content_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match="item_features have no content"):
            LightFM(loss="bpr", cold_start="content").fit(written(tmp_path / "s"))
        with pytest.raises(ValueError, match="neither item_features nor user_features have content"):
            LightFM(loss="bpr", cold_start="mapping").fit(written(tmp_path / "o", user_features=None))


class TestContent:
    """New items that content places, after training on shards."""

    @pytest.fixture(params=[None, ["town"]], ids=["ids", "features"])
    def options(self, request):
        rng = np.random.RandomState(5)
        items = {
            "what": np.arange(N_ITEMS + 9),
            "kind": np.arange(N_ITEMS + 9) // 7,
            "tone": rng.randint(5, size=N_ITEMS + 9),
        }
        return {"items": items, "item_features": ["kind", "tone"], "user_features": request.param}

    def memory(self, made):
        train, features = in_memory(made)
        train = sp.csr_matrix((train.data, train.indices, train.indptr), shape=made.shape)
        return train, features if made.n_shared else None

    def fitted(self, made, *given, epochs=8, way="content"):
        model = LightFM(loss="bpr", no_components=6, random_state=3, cold_start=way)
        return model.fit(*(given or (made,)), item_features=made.item_features, epochs=epochs)

    def represented(self, model, made, users):
        return *model.get_user_representations(users), *model.get_item_representations(made.item_features)

    @pytest.mark.parametrize("way", ["content", "mapping+content"])
    def test_one_shard_has_the_bits_of_memory(self, tmp_path, options, way):
        made = written(tmp_path / "s", **options)
        train, users = self.memory(made)
        found, expected = self.fitted(made, way=way), self.fitted(made, train, users, way=way)
        for _ in range(2):
            for one, other in zip(*(self.represented(model, made, users) for model in (found, expected)), strict=True):
                assert_array_equal(one, other)
            assert found.get_user_representations(users)[1].shape[1] > 6
            found.fit_partial(made, item_features=made.item_features)
            expected.fit_partial(train, users, made.item_features)

    def test_profiles_are_those_of_memory(self, tmp_path, options):
        made = written(tmp_path / "s", 4, **options)
        train, users = self.memory(made)
        found, expected = (self.fitted(*given)._content for given in ((made,), (made, train, users)))
        assert isinstance(found.profiles, np.memmap)  # on disk, as the other parameters of users
        for name in ("known", "owners", "rarity", "loadings", "profiles"):
            assert_array_equal(getattr(found, name), getattr(expected, name))
        assert found.weight > 0

    def test_a_saved_model_recommends_the_same(self, tmp_path, options):
        made = written(tmp_path / "s", 4, **options)
        model = self.fitted(made)
        new = range(N_ITEMS, N_ITEMS + 9)
        model.save(tmp_path / "model.safetensors")
        copy = load(tmp_path / "model.safetensors")
        for shard in made:
            asked = {"user_features": shard.user_features, "item_features": made.item_features, "items": new}
            ids, scores = model.recommend(range(shard.n_users), 5, **asked)
            again = copy.recommend(range(shard.n_users), 5, **asked)
            assert_array_equal(again.ids, ids)
            assert_array_equal(again.scores, scores)
            assert ids.min() >= N_ITEMS

    def test_training_goes_on_with_a_split(self, tmp_path, options):
        train, test = written(tmp_path / "s", 4, **options).split(tmp_path / "train", tmp_path / "test", 0.3)
        model = self.fitted(train)
        loadings, before = model._content.loadings, model._content.profiles.copy()
        model.fit_partial(test, item_features=test.item_features)
        added = sp.vstack([shard.interactions for shard in test]) @ coordinates_of(test.item_features, loadings)
        assert_allclose(model._content.profiles[: len(added)], before[: len(added)] + added, rtol=1e-5, atol=1e-5)
        assert len(model._content.known) == np.count_nonzero(train.positives + test.positives)
