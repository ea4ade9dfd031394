"""Users' features in shards: what is written, and that training, measuring and recommending are as in memory."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast.data import Dataset
from lightfm_fast.evaluation import evaluate
from lightfm_fast.features import Categorical, FeatureSpec, PiecewiseLinear
from lightfm_fast.sharded import ShardedDataset

N_USERS, N_ITEMS = 200, 40
COLUMNS = {"user": "who", "item": "what"}


def people(n_users=N_USERS):
    """Users, some of them without interactions, with a town and an age."""
    rng = np.random.RandomState(1)
    return {
        "who": [f"u{user}" for user in range(n_users)],
        "town": rng.choice(["Rome", "Oslo", "Lima"], n_users).tolist(),
        "age": rng.randint(20, 60, n_users),
    }


def views(seed=0, n=3000):
    """Views of all users but the last 20; a user's town decides which items are likely."""
    rng, towns = np.random.RandomState(seed), people()["town"]
    users = rng.randint(N_USERS - 20, size=n)
    shifts = np.array([{"Rome": 0, "Oslo": 13, "Lima": 26}[towns[user]] for user in users])
    items = (shifts + (N_ITEMS * rng.random_sample(n) ** 3).astype(int)) % N_ITEMS
    return {"who": [f"u{user}" for user in users], "what": items, "stars": rng.randint(1, 6, n)}


def written(folder, n_shards=1, users=None, **options):
    return ShardedDataset.from_tables(
        [views()], folder, **COLUMNS, users=people() if users is None else users,
        n_shards=n_shards, **{"items": {"what": np.arange(N_ITEMS)}, "user_features": ["town"], **options},
    )  # fmt: skip


def in_memory(made, **options):
    """Return the interactions and the users' features of a Dataset, with rows in the order of the shards."""
    known = Dataset.from_tables(
        views(), people(), {"what": np.arange(N_ITEMS)}, **COLUMNS, **{"user_features": ["town"], **options}
    )
    numbers = known.mapping()[0]
    order = [numbers[user] for shard in made for user in shard.user_ids]
    columns = np.r_[order, N_USERS : known.user_features.shape[1]]
    return sp.csr_matrix(known.interactions)[order], known.user_features[order][:, columns].sorted_indices()


class TestWriting:
    @pytest.mark.parametrize("kind", ["frame", "Parquet", "patterns"])
    @pytest.mark.parametrize("features", [["town"], FeatureSpec({"town": Categorical(), "age": PiecewiseLinear(3)})])
    def test_features_are_those_of_a_dataset_in_memory(self, tmp_path, kind, features):
        users = people()
        if kind != "frame":
            for part in range(2):
                pq.write_table(pa.table(users).slice(part * 100, 100), tmp_path / f"users-{part}.parquet")
            names = [str(tmp_path / "users-*.parquet")]
            users = names if kind == "patterns" else [tmp_path / f"users-{part}.parquet" for part in range(2)]
        made = written(tmp_path / "s", 3, users, user_features=features)
        interactions, expected = in_memory(made, user_features=features)
        found = sp.vstack([shard.user_features for shard in made])
        assert made.shape == interactions.shape
        assert made.n_shared == expected.shape[1] - N_USERS
        assert abs(found - expected).max() == 0
        assert (sp.vstack([shard.interactions for shard in made]) != interactions).nnz == 0
        new = made.encode_new_users({"town": ["Rome"], "age": [30]})
        assert new.shape[1] == expected.shape[1]
        assert new[:, :N_USERS].nnz == 0 < new.nnz

    def test_files_with_more_rows_than_an_encoder_is_fitted_to(self, tmp_path, monkeypatch):
        monkeypatch.setattr("lightfm_fast.sharded.users.MOST_FITTED", 100)
        pq.write_table(pa.table(people()), tmp_path / "users.parquet")
        made = written(tmp_path / "s", 2, tmp_path / "users.parquet")
        assert made.n_shared == 3
        assert made.shape[0] == N_USERS

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (pa.int8(), pa.int64()),
            (pa.null(), pa.string()),
            (pa.string(), pa.dictionary(pa.int32(), pa.string())),
            (pa.dictionary(pa.int32(), pa.string()), pa.large_string()),
        ],
    )
    def test_files_may_have_types_of_their_own(self, tmp_path, first, second):
        towns = [[300, 300] if second == pa.int64() else ["Rome", "Oslo"] for _ in range(2)]
        towns[0] = [None, None] if first == pa.null() else [30, 31] if first == pa.int8() else towns[0]
        for number, kind in enumerate((first, second)):
            town = pa.array(towns[number]).cast(kind)
            users = {"who": [f"u{2 * number}", f"u{2 * number + 1}"], "town": town}
            pq.write_table(pa.table(users), tmp_path / f"{number}.parquet")
        files, table = [tmp_path / "0.parquet", tmp_path / "1.parquet"], {"who": ["u0"], "what": [1]}
        options = {**COLUMNS, "user_features": ["town"]}
        made = ShardedDataset.from_tables([table], tmp_path / "s", users=files, **options)
        whole = {"who": [f"u{number}" for number in range(4)], "town": [*towns[0], *towns[1]]}
        expected = ShardedDataset.from_tables([table], tmp_path / "t", users=whole, **options)
        for one, other in zip(made, expected, strict=True):
            assert one.user_ids == other.user_ids
            assert (one.user_features != other.user_features).nnz == 0

    def test_files_that_do_not_fit_together_are_refused(self, tmp_path):
        files = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
        pq.write_table(pa.table(people()), files[0])
        for users, error, message in (
            ({"who": ["v"], "age": [1]}, ValueError, r"1\.parquet has no column 'town', which .*0\.parquet has"),
            ({"who": ["v"], "age": [1], "town": [1]}, TypeError, r"users: .*1\.parquet has a column of another type"),
        ):
            pq.write_table(pa.table(users), files[1])
            with pytest.raises(error, match=message):
                written(tmp_path / "s", users=files)
        files[1].write_bytes(b"who,town")
        with pytest.raises(ValueError, match=r"1\.parquet cannot be read as Parquet, write it again"):
            written(tmp_path / "s", users=files)
        with pytest.raises(FileNotFoundError, match="users is empty"):
            written(tmp_path / "s", users=[])

    def test_a_split_keeps_features(self, tmp_path):
        made = written(tmp_path / "s", 3)
        for part in made.split(tmp_path / "train", tmp_path / "test"):
            assert part.n_shared == 3
            assert (abs(sp.vstack([shard.user_features for shard in part])
                        - sp.vstack([shard.user_features for shard in made]))).nnz == 0  # fmt: skip

    @pytest.mark.parametrize(
        ("users", "options", "message"),
        [
            (None, {"user_features": ["town"]}, "user_features describe the rows of users"),
            ({"who": ["u1"], "town": ["Rome"]}, {}, "179 users in one shard alone that the table of users does not"),
            ({**people(), "who": ["u1"] * N_USERS}, {}, "lists 199 ids again"),
            ({"name": ["u1"], "town": ["Rome"]}, {}, "users has no single column 'who'"),
            ({**people(), "who": np.arange(N_USERS)}, {}, "column 'who' of users holds int64, and string before"),
            (people(), {"user_features": "town"}, "expected a list of names of columns"),
            (lambda: people(), {"source": "today"}, "users holds <function .*expected data frames or dicts"),
        ],
    )
    def test_bad_tables_of_users_leave_nothing_behind(self, tmp_path, users, options, message):
        with pytest.raises((TypeError, ValueError), match=message):
            ShardedDataset.from_tables(
                [views()], tmp_path / "s", **COLUMNS, users=users, **{"user_features": ["town"], **options}
            )
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("features", [["town"], None])
    def test_a_file_of_no_users_is_refused(self, tmp_path, features):
        pq.write_table(pa.table(people()).slice(0, 0), tmp_path / "users.parquet")
        with pytest.raises(ValueError, match="users has no rows with an id, expected one for each user"):
            written(tmp_path / "s", users=tmp_path / "users.parquet", user_features=features)

    def test_damaged_features_are_refused(self, tmp_path):
        made = written(tmp_path / "s")
        name = made.file(0, "feature_columns.npy")
        columns = np.load(name)
        np.save(name, columns + 99)
        with pytest.raises(ValueError, match="malformed"):
            LightFM().fit(made)


class TestTraining:
    @pytest.mark.parametrize("settings", [
        {"loss": "logistic"}, {"loss": "bpr", "user_alpha": 0.01}, {"loss": "warp", "feature_scaling": "balanced"},
        {"loss": "warp-kos"}, {"loss": "softmax", "feature_scaling": "balanced"},
        {"loss": "bpr", "identity_dropout": 0.3, "learning_schedule": "adadelta"},
    ], ids=str)  # fmt: skip
    def test_one_shard_trains_to_the_bits_of_memory(self, tmp_path, settings):
        made = written(tmp_path / "s")
        train, features = in_memory(made)
        on_disk = LightFM(**settings, random_state=3).fit(made, epochs=3)
        model = LightFM(**settings, random_state=3).fit(train, user_features=features, epochs=3)
        for name, array in model.get_state().items():
            assert_array_equal(getattr(on_disk, name), array, err_msg=name)

    def test_several_shards_share_features_and_rank_as_well_as_memory(self, tmp_path):
        whole = written(tmp_path / "s", 5)
        train, test = whole.split(tmp_path / "train", tmp_path / "test", random_state=1)
        matrices = [sp.vstack([shard.interactions for shard in part], format="csr") for part in (train, test)]
        features = sp.vstack([shard.user_features for shard in train], format="csr")
        on_disk = LightFM.recommended(no_components=8, random_state=3).fit(train, epochs=10)
        model = LightFM.recommended(no_components=8, random_state=3, cold_start="features")
        model.fit(matrices[0], user_features=features, epochs=10)
        found = test.evaluate(on_disk, train, "ndcg")["ndcg@10"]
        assert found > 0.95 * evaluate(model, matrices[1], matrices[0], "ndcg", user_features=features)["ndcg@10"]
        assert found == pytest.approx(
            evaluate(on_disk, matrices[1], matrices[0], "ndcg", user_features=features)["ndcg@10"]
        )
        assert_array_equal(on_disk._users.scaling.weights > 0, model._users.scaling.weights > 0)

    def test_users_without_interactions_are_recommended_what_their_town_likes(self, tmp_path):
        made = written(tmp_path / "s", 3)
        model = LightFM(loss="warp", random_state=1).fit(made, epochs=20)
        made.recommend_to(model, tmp_path / "lists", n=5)
        lists = pq.read_table(tmp_path / "lists").to_pandas().groupby("who")["what"].agg(list)
        towns = pd.Series(people()["town"], index=people()["who"])
        assert len(lists) == N_USERS
        for user in lists.index[lists.index.isin(people()["who"][-20:])]:
            shift = {"Rome": 0, "Oslo": 13, "Lima": 26}[towns[user]]
            assert np.mean([(item - shift) % N_ITEMS < 20 for item in lists[user]]) > 0.7
        new = model.recommend([0], 5, user_features=made.encode_new_users({"town": ["Oslo"]}))
        assert np.mean((new.ids[0] - 13) % N_ITEMS < 20) > 0.7

    def test_training_goes_on_with_the_same_features_only(self, tmp_path):
        made = written(tmp_path / "s", 3)
        model = LightFM(loss="bpr", random_state=5).fit(made, epochs=2).fit_partial(made, epochs=2)
        expected = LightFM(loss="bpr", random_state=5).fit(made, epochs=4)
        assert_array_equal(model.user_embeddings, expected.user_embeddings)
        other = written(tmp_path / "o", 2, people(N_USERS + 9))
        with pytest.raises(ValueError, match="212 features of users .* but the model has 203"):
            model.fit_partial(other)
        assert_array_equal(model.user_embeddings, expected.user_embeddings)

    def test_a_shard_without_interactions_is_trained_on(self, tmp_path):
        few = {"who": ["u1", "u2"], "what": [1, 2]}
        made = ShardedDataset.from_tables([few], tmp_path / "s", **COLUMNS, users=people(), user_features=["town"],
                                          n_shards=20)  # fmt: skip
        assert min(shard.n_interactions for shard in made) == 0
        model = LightFM(loss="bpr", random_state=1).fit(made, epochs=2)
        assert np.isfinite(model.user_embeddings).all()
