"""A recommender answers by ids as its model does by row numbers."""

import copy
import os
import pickle
import threading
from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

import lightfm_fast
from lightfm_fast import LightFM, Recommender
from lightfm_fast.baselines import Popularity
from lightfm_fast.data import Dataset, UnknownIdsError
from lightfm_fast.datasets import fetch_movielens
from lightfm_fast.evaluation import evaluate
from lightfm_fast.features import Categorical, FeatureSpec, MultiCategorical, QuantileBins

N_USERS, N_FILMS = 60, 30
LIBRARIES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table, None: dict}
FEATURES = {
    "user_features": {"town": Categorical(), "age": QuantileBins(3)},
    "item_features": {"genres": MultiCategorical("|")},
}


def tables():
    """Every town likes the films of one genre. The last film is new: it has no views."""
    rng = np.random.RandomState(0)
    town, genre = np.arange(N_USERS) % 3, np.arange(N_FILMS) % 3
    views = rng.rand(N_USERS, N_FILMS) < np.where(town[:, None] == genre, 0.5, 0.05)
    views[:, -1] = False
    user, film = np.nonzero(views)
    users = {
        "user": [f"u{n}" for n in range(N_USERS)],
        "town": np.array(["Oslo", "Rome", "Lima"])[town].tolist(),
        "age": rng.randint(20, 60, N_USERS).tolist(),
    }
    films = {
        "film": [f"f{n}" for n in range(N_FILMS)],
        "genres": np.array(["crime|drama", "comedy", "family"])[genre].tolist(),
        "name": [None if n == 3 else f"Film {n}" for n in range(N_FILMS)],
    }
    return {"user": [f"u{n}" for n in user], "film": [f"f{n}" for n in film]}, users, films


def make(library=None, model=None, epochs=5, **options):
    views, users, films = (LIBRARIES[library](table) for table in tables())
    model = LightFM(8, loss="warp", random_state=1) if model is None else model
    options = {**FEATURES, "title": "name", **options}
    return Recommender.from_tables(views, users, films, user="user", item="film", model=model, epochs=epochs, **options)


@pytest.fixture(scope="module")
def trained():
    return make()


def test_a_list_of_columns_whose_values_differ_is_warned_of():
    """Prices as categories would be one feature for each item."""
    views, _, films = tables()
    films["price"] = [9.5 + row for row in range(N_FILMS)]
    with pytest.warns(UserWarning, match=r"^column 'price' has 30 values for 30 items, .*: PiecewiseLinear\(\)}$"):
        Recommender.from_tables(
            views, items=films, user="user", item="film", item_features=["genres", "price"], model=LightFM(4), epochs=0
        )
    encoded = {"price": Categorical()}  # somebody who names the encoder has chosen it
    Recommender.from_tables(
        views, items=films, user="user", item="film", item_features=encoded, model=LightFM(4), epochs=0
    )


def columns_of(table):
    return list(table if isinstance(table, dict) else getattr(table, "column_names", table.columns))


class TestAnswers:
    def test_a_known_user_gets_the_items_of_the_model(self, trained):
        dataset, model = trained.dataset, trained.model
        ids, scores = model.recommend(
            ["u4", "u7"],
            n=6,
            interactions=dataset.interactions,
            user_features=dataset.user_features,
            item_features=dataset.item_features,
            dataset=dataset,
        )
        answer = trained.recommend(["u4", "u7"], 6)
        assert list(answer) == ["user", "film", "name", "rank", "score"]
        assert answer["user"] == ["u4"] * 6 + ["u7"] * 6
        assert answer["film"] == ids.ravel().tolist()  # ids, since model.recommend was given the dataset
        assert answer["rank"] == [1, 2, 3, 4, 5, 6] * 2
        assert_allclose(answer["score"], scores.ravel(), rtol=1e-5)
        names = [None if film == "f3" else f"Film {film[1:]}" for film in answer["film"]]
        assert answer["name"] == names
        alone = trained.recommend("u4", 6)
        assert list(alone) == ["film", "name", "rank", "score"]
        assert alone["film"] == ids[0].tolist()

    def test_seen_items_are_left_out_unless_asked_for(self, trained):
        views = tables()[0]
        seen = {film for user, film in zip(views["user"], views["film"], strict=True) if user == "u4"}
        assert not seen.intersection(trained.recommend("u4", N_FILMS)["film"])
        assert len(trained.recommend("u4", N_FILMS)["film"]) == N_FILMS - len(seen)
        assert seen <= set(trained.recommend("u4", N_FILMS, filter_seen=False)["film"])

    def test_items_are_chosen_among_given_ones(self, trained):
        some = trained.recommend("u4", items=["f0", "f1", "f29"], exclude=["f1"], filter_seen=False)
        assert set(some["film"]) == {"f0", "f29"}
        assert set(trained.similar_items("f0", among=["f3", "f4"], exclude=["f4"])["similar_film"]) == {"f3"}

    @pytest.mark.parametrize("library", [library for library in LIBRARIES if library is not None])
    def test_a_table_has_the_items_to_choose_among(self, library, trained, tmp_path):
        some, one = (LIBRARIES[library]({"kind": list(films), "film": list(films)}) for films in (["f3", "f4"], ["f4"]))
        options = {"items": some, "exclude": one, "filter_seen": False}
        assert trained.recommend("u4", **options)["film"] == ["f3"]
        assert trained.similar_items("f0", among=some, exclude=one)["similar_film"] == ["f3"]
        assert trained.recommend_to(tmp_path / "lists.parquet", **options).rows == N_USERS
        with pytest.raises(ValueError, match="exclude has no column 'film'; it has 'kind'"):
            trained.recommend("u4", exclude=LIBRARIES[library]({"kind": ["f3"]}))

    @pytest.mark.parametrize("library", LIBRARIES)
    def test_tables_come_back_in_the_library_they_came_in(self, library, trained):
        recommender = make(library)
        answer = recommender.recommend(["u4"], 3)
        assert isinstance(answer, dict if library is None else type(LIBRARIES[library]({"a": [1]})))
        assert columns_of(answer) == ["user", "film", "name", "rank", "score"]
        expected = trained.recommend(["u4"], 3)
        assert list(answer["film"] if library != "pyarrow" else answer["film"].to_pylist()) == expected["film"]
        asked = recommender.recommend(pl.Series(["u4"]), 3)  # the question's library, where it has one
        assert isinstance(asked, pl.DataFrame)

    def test_everybody_to_a_file(self, trained, tmp_path):
        written = trained.recommend_to(tmp_path / "lists.parquet", n=3, items=[f"f{n}" for n in range(20)])
        assert (written.users, written.rows) == (N_USERS, 3 * N_USERS)
        read = pd.read_parquet(tmp_path / "lists.parquet")
        answer = trained.recommend(read["user"].drop_duplicates().tolist(), 3, items=[f"f{n}" for n in range(20)])
        assert read["film"].tolist() == answer["film"]

    def test_similar_items_and_users(self, trained):
        dataset = trained.dataset
        ids, cosines = trained.model.similar_items([3, 5], 4, dataset.item_features)
        answer = trained.similar_items(["f3", "f5"], 4)
        assert list(answer) == ["film", "similar_film", "name", "rank", "cosine"]
        assert answer["similar_film"] == [f"f{number}" for number in ids.ravel()]
        assert_allclose(answer["cosine"], cosines.ravel(), rtol=1e-5)
        ids, _ = trained.model.similar_users(7, 4, dataset.user_features)
        answer = trained.similar_users("u7", 4)
        assert list(answer) == ["similar_user", "rank", "cosine"]
        assert answer["similar_user"] == [f"u{number}" for number in ids.ravel()]

    def test_an_explanation_adds_up_to_the_score(self, trained):
        best = trained.recommend("u4", 1)
        explanation = trained.explain("u4", best["film"][0])
        assert explanation.score == pytest.approx(best["score"][0], rel=1e-4)
        assert best["name"][0] in repr(explanation)
        assert "genres:" in repr(explanation.rows())
        assert best["name"][0] in explanation.item_features  # not the id, which people do not know
        best = trained.recommend({"town": "Rome"}, 1)
        assert trained.explain({"town": "Rome"}, best["film"][0]).score == pytest.approx(best["score"][0], rel=1e-4)

    def test_ids_are_numbers_where_they_were(self):
        views, *_ = tables()
        numbers = {"user": [int(name[1:]) for name in views["user"]], "film": views["film"]}
        model = LightFM(4, random_state=0)
        recommender = Recommender.from_tables(pd.DataFrame(numbers), user="user", item="film", model=model, epochs=1)
        first = recommender.recommend(7, 2)
        assert first.equals(recommender.recommend(np.int64(7), 2))
        assert first.equals(recommender.recommend("7", 2))  # as a path of a service has it
        assert recommender.recommend(np.array([7]), 2)["user"].tolist() == [7, 7]


class TestNewcomers:
    def test_features_put_them_near_users_like_them(self, trained):
        likes = {"Oslo": 0, "Rome": 1, "Lima": 2}
        for town, genre in likes.items():
            films = trained.recommend({"town": town}, 5)["film"]
            assert sum(int(film[1:]) % 3 == genre for film in films) >= 4, (town, films)

    def test_all_ways_to_describe_them_agree(self, trained):
        rows = [{"town": "Rome", "age": 30}, {"town": "Lima", "age": None}]
        frame = pd.DataFrame({"user": ["zoe", "yan"], "town": ["Rome", "Lima"], "age": [30, None]})
        as_rows, as_frame = trained.recommend(rows, 3), trained.recommend(frame, 3)
        assert as_rows["film"] == as_frame["film"].tolist()
        assert as_rows["user"] == [0] * 3 + [1] * 3
        assert as_frame["user"].tolist() == ["zoe"] * 3 + ["yan"] * 3
        assert trained.recommend(rows[1], 3)["film"] == as_rows["film"][3:]
        encoded = trained.dataset.encode_new_users({"town": ["Rome"], "age": [30]})
        ids, _ = trained.model.recommend(0, 3, user_features=encoded, item_features=trained.dataset.item_features)
        assert as_rows["film"][:3] == [f"f{number}" for number in ids[0]]

    def test_history_is_folded_in_and_left_out(self, trained):
        answer = trained.recommend(history=["f1", "f4", "f7"], n=5)
        assert not {"f1", "f4", "f7"}.intersection(answer["film"])
        assert sum(int(film[1:]) % 3 == 1 for film in answer["film"]) >= 4
        chosen = np.zeros((1, N_FILMS))
        chosen[0, [1, 4, 7]] = 1
        folded = trained.model.fold_in_users(chosen, item_features=trained.dataset.item_features)
        ids, scores = trained.model.recommend(
            0, 5, chosen, item_features=trained.dataset.item_features, user_representations=folded
        )
        assert answer["film"] == [f"f{number}" for number in ids[0]]
        assert_allclose(answer["score"], scores[0], rtol=1e-4)

    @pytest.mark.parametrize("model", [LightFM(8, loss="warp", random_state=1), LightFM.recommended(random_state=1)])
    def test_an_explanation_has_the_history(self, model):
        recommender = make(model=model)
        history = ["f1", "f4", "f7"]
        for user in (None, {}, {"town": "Rome"}):
            best = recommender.recommend(user, N_FILMS, history=history)
            for film in (best["film"][0], "f29"):  # f29 is new: content may place it
                explanation = recommender.explain(user, film, history)
                score = best["score"][best["film"].index(film)]
                assert explanation.score == pytest.approx(score, rel=1e-3, abs=1e-4)
                assert "history" in {row["user_feature"] for row in explanation.rows()}
                assert ("town:Rome" in explanation.user_features) == (user == {"town": "Rome"})
        one = recommender.explain({"town": "Rome"}, "f2", history=[])
        assert one.rows() == recommender.explain({"town": "Rome"}, "f2").rows()

    def test_histories_of_several(self, trained):
        each = [trained.recommend(history=[film], n=2)["film"] for film in ("f1", "f2")]
        lists = trained.recommend(history=[["f1"], ["f2"]], n=2)
        assert lists["film"] == each[0] + each[1]
        table = trained.recommend(history={"user": ["zoe", "yan"], "film": ["f1", "f2"]}, n=2)
        assert table["film"] == lists["film"]
        assert table["user"] == ["zoe", "zoe", "yan", "yan"]
        people = pd.DataFrame({"user": ["zoe", "yan"], "town": ["Rome", "Lima"], "age": [30, 40]})
        mixed = trained.recommend(people, 2, history={"user": ["yan"], "film": ["f2"]})
        described = trained.recommend({"town": "Rome", "age": 30}, 2)["film"]
        assert mixed["film"].tolist()[:2] == described  # who has no history is represented by features

    @pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
    def test_a_frame_of_ids_alone_asks_for_known_users(self, trained, library):
        asked = LIBRARIES[library]({"user": ["u4", "u7"]})
        answer = pl.from_dataframe(trained.recommend(asked, 3)) if library == "pyarrow" else trained.recommend(asked, 3)
        assert answer["score"].to_list() == trained.recommend(["u4", "u7"], 3)["score"]

    def test_a_frame_of_ids_with_histories_has_newcomers(self, trained):
        answer = trained.recommend(pd.DataFrame({"user": ["a", "b"]}), 3, history=[["f1"], ["f2"]])
        assert answer["user"].tolist() == ["a"] * 3 + ["b"] * 3
        assert answer["film"].tolist() == trained.recommend([{}, {}], 3, history=[["f1"], ["f2"]])["film"]

    def test_histories_and_tests_need_no_times_and_no_weights(self):
        views = {**tables()[0], "user": tables()[0]["user"]}
        n = len(views["user"])
        recommender = Recommender.from_tables(
            {**views, "day": range(n), "n": [1.0] * n}, user="user", item="film", time="day", weight="n", epochs=1
        )
        history = {"user": ["zoe", "zoe"], "film": ["f1", "f4"]}
        best = recommender.recommend(history=history, n=5)
        assert best["film"] == recommender.recommend(history=["f1", "f4"], n=5)["film"]
        test = {"user": ["u1"], "film": recommender.recommend("u1", n=1)["film"]}
        full = {**test, "day": [1], "n": [3.0]}
        assert recommender.evaluate(test, "auc").mean == recommender.evaluate(full, "auc").mean
        assert recommender.dataset.columns["time"] == "day"

    def test_nothing_known_gives_popular_items(self, trained):
        popular = trained.recommend({}, 3)
        biases, _ = trained.model.get_item_representations(trained.dataset.item_features)
        assert popular["film"] == [f"f{number}" for number in np.argsort(-biases, kind="stable")[:3]]

    def test_features_of_columns_in_a_list(self):
        recommender = make(user_features=["town"], item_features=["genres"])
        with pytest.warns(UserWarning, match="Atlantis"):
            recommender.recommend({"town": "Atlantis"}, 3)


class TestErrors:
    @pytest.mark.parametrize(
        ("ask", "kind", "message"),
        [
            (lambda r: r.recommend("u44x"), UnknownIdsError, "'u44x' is no known user: did you mean 'u44'"),
            (
                lambda r: r.recommend(["u1", "x", "y"]),
                UnknownIdsError,
                "'x' is no known user, nor is 1 other: ",
            ),
            (lambda r: r.similar_items("f99"), UnknownIdsError, "add new items by update"),
            (lambda r: r.similar_items("Film 2"), UnknownIdsError, "the title of 'f2': ask by this id"),
            (lambda r: r.similar_items([None]), UnknownIdsError, "add new items by update"),  # f3 has no title
            (lambda r: r.tune(budget="1trials", task="next-in-time"), ValueError, "column in from_tables"),
            (lambda r: r.tune(budget="1trials", task="next_in_time"), ValueError, "column in from_tables"),
            (lambda r: r.recommend("u1", exclude=["no"]), UnknownIdsError, "'no' is no known item"),
            (lambda r: r.recommend(), TypeError, "nobody to recommend to"),
            (lambda r: r.recommend("u1", history=["f1"]), ValueError, "known users are asked for"),
            (lambda r: r.recommend({"twon": "Rome"}), ValueError, "'twon': they are made of 'town', 'age'"),
            (
                lambda r: r.recommend(pl.LazyFrame({"town": ["Oslo"]})),
                TypeError,
                "users is LazyFrame.*collect\\(\\) makes",
            ),
            (
                lambda r: r.recommend([{"user": "x"}, {"user": "x"}], history={"user": ["x"], "film": ["f1"]}),
                ValueError,
                "'x' names several newcomers.*name each once",
            ),
            (lambda r: r.recommend({"user": "u1"}), ValueError, "'u1' is a known user"),
            (lambda r: r.recommend(history=["f99"]), UnknownIdsError, "'f99' is no known item"),
            (lambda r: r.recommend(history=("f1", "f2")), UnknownIdsError, "a tuple is one id, and a list is several"),
            (lambda r: r.recommend(history={"user": ["a"], "film": ["x"]}), UnknownIdsError, "history: .*leave such"),
            (lambda r: r.recommend(pd.DataFrame({"user": ["x"]})), UnknownIdsError, "'x' is no known user"),
            (lambda r: r.recommend(pd.DataFrame({"town": ["Oslo"]})), ValueError, "users has no column 'age'.*missing"),
            (lambda r: r.explain("u1", "f1", history=["f2"]), ValueError, "history describes newcomers"),
            (lambda r: r.explain({"user": "u1"}, "f1", ["f2"]), ValueError, "'u1' is a known user"),
            (lambda r: r.explain(None, "f1"), TypeError, "nobody is given"),
            (lambda r: r.explain(None, "f1", []), ValueError, "nothing explains the score"),
            (lambda r: r.explain(None, "f1", [["f2"], ["f3"]]), ValueError, "history describes 2 newcomers, expected"),
            (lambda r: r.recommend([{}, {}], history=[["f1"]]), ValueError, "1 list but there are 2 newcomers"),
            (lambda r: r.recommend({}, history=[["f1"], ["f2"]]), ValueError, "2 lists but there is 1 newcomer"),
            (lambda r: r.recommend({"user": ["a", "b"], "age": [20, 30]}), TypeError, "a dict describes one newcomer"),
            (lambda r: r.recommend({"age": [20, 30]}), TypeError, "column 'age'.* a dict describes one newcomer"),
            (lambda r: r.recommend({"age": "20"}), TypeError, "'age' has '20' .*: convert the text to numbers$"),
            (lambda r: r.similar_items({"genre": "crime"}), TypeError, "items is {'genre': 'crime'} .*an id, a list"),
            (lambda r: r.similar_items(pd.DataFrame({"film": ["f1"]})), TypeError, "DataFrame.*an id, a list"),
            (lambda r: r.recommend({"u1"}), TypeError, "^users is {'u1'} .set., expected a list"),
            (lambda r: r.recommend("u1", items={"f1"}), TypeError, "^items is {'f1'} .set., expected a list"),
            (lambda r: r.recommend("u1", filter_seen="no"), ValueError, "filter_seen is 'no', expected True or False"),
            (lambda r: r.recommend([{}], history={"user": ["a"], "film": ["f1"]}), ValueError, "column 'user' names"),
            (lambda r: r.recommend("u1", n=0), ValueError, "n is 0"),
            (lambda r: r.recommend([["u1"]]), TypeError, "cannot be ids of users"),
            (
                lambda r: r.evaluate({"user": ["x"], "film": ["f1"]}),
                UnknownIdsError,
                "rows out by unknown='skip'$",
            ),
            (lambda r: r.evaluate(tables()[0]), ValueError, "each of [0-9]+ test positives is known"),
            (lambda r: r.evaluate(tables()[0], metrics=["auc", "ndcg@5"]), ValueError, "length of the lists by k"),
            (lambda r: Recommender(r.model, Dataset()), ValueError, "knows 0 users"),
            (lambda r: Recommender(r.model, r.dataset, titles=["one"]), ValueError, "1 titles but 30 items"),
            (lambda r: Recommender(r.model, r.dataset, titles="x" * 30), TypeError, "titles is 'x+'.*expected a list"),
            (lambda r: Recommender(LightFM(), r.dataset), ValueError, "not fitted, .*: fit the model first"),
            (
                lambda r: r.update({"user": ["u1", " u1"], "film": ["f1", "f2"]}, unknown="raise"),
                UnknownIdsError,
                "1 of 2 rows name 1 user .*, ' u1' first .'u1' is known.; .*: list them in the table of users, or pass",
            ),
            (lambda r: make(title="no"), ValueError, "no column 'no'"),
            (lambda r: make(title=["no"]), TypeError, r"title is \['no'\], expected the name of a column"),
            (lambda r: make(model="warp"), TypeError, "^model is 'warp', expected a LightFM"),
            (lambda r: make(user_features=[["town"]]), TypeError, r"features are columns, and \['town'\] is no name"),
            (lambda r: make(value="stars", positive_from=10**400), ValueError, "positive_from is 1000"),
            (
                lambda r: Recommender.from_tables(sp.dok_matrix((2, 2))),
                TypeError,
                "interactions is dok_matrix, expected",
            ),
            (lambda r: make(title="film"), ValueError, "two columns 'film'"),
            (lambda r: make(item_features=["genre"]), ValueError, "items has no column 'genre'.* mean 'genres'"),
            (lambda r: make(user_features=["sex"]), ValueError, "users has no column 'sex'.*user_features names it"),
            (lambda r: Recommender.from_tables([("u1", "f1")]), TypeError, "list, .*DataFrame.* makes one of rows"),
            (lambda r: Recommender.from_tables("views.csv"), TypeError, "str, .*read a file first"),
            (lambda r: Recommender.from_tables(pl.LazyFrame({"user_id": [1]})), TypeError, "collect\\(\\) makes one"),
            (
                lambda r: Recommender.from_tables(pa.table({"user_id": [1]}).to_reader()),
                TypeError,
                ": read_all\\(\\) m",
            ),
            (lambda r: Recommender.from_tables(pd.Series([1])), TypeError, ": reset_index\\(\\) makes one"),
            (lambda r: Recommender.from_tables({"USER_ID": [1]}), ValueError, "'user_id'.*did you mean 'USER_ID'"),
            (
                lambda r: Recommender.from_tables(
                    pd.DataFrame(tables()[0]).set_index("user"), user="user", item="film"
                ),
                ValueError,
                "no column 'user'.*reset_index",
            ),
        ],
    )
    def test_a_question_that_makes_no_sense(self, trained, ask, kind, message):
        with pytest.raises(kind, match=message):
            ask(trained)

    def test_titles_are_text_or_missing(self, trained):
        titles = pd.Series([1, None, pd.NA, np.nan, *"x" * 26], dtype=object)
        found = Recommender(trained.model, trained.dataset, titles).titles
        assert found == ("1", None, None, None, *"x" * 26)

    def test_a_model_of_another_dataset(self, trained):
        other = Dataset.from_tables({"user_id": ["a"], "item_id": ["b"]})
        with pytest.raises(ValueError, match="fitted with user_features"):
            Recommender(trained.model, other)
        plain = LightFM(random_state=0).fit(np.eye(3), epochs=1)
        with pytest.raises(ValueError, match="fitted for 3 users but the dataset knows 1"):
            Recommender(plain, other)

    def test_ratings_without_a_threshold_are_noticed(self):
        ratings = {"user_id": ["a", "a", "b"], "item_id": [1, 2, 2], "stars": [1, 5, 4]}
        with pytest.warns(UserWarning, match="every row is a like"):
            Recommender.from_tables(ratings, value="stars", model=LightFM(random_state=0), epochs=1)
        recommender = Recommender.from_tables(
            ratings, value="stars", positive_from=4, model=LightFM(random_state=0), epochs=1
        )
        with pytest.raises(ValueError, match="no value of column 'stars' reaches 6: there are no likes"):
            Recommender.from_tables(ratings, value="stars", positive_from=6)
        weighted = {**ratings, "w": [1, 0, 0]}
        with pytest.raises(ValueError, match="all likes have weight 0 in column 'w': there is nothing to learn from"):
            Recommender.from_tables(weighted, value="stars", positive_from=4, weight="w")
        scores = {"user_id": ["a", "b"], "item_id": [1, 2], "score": [0, 3]}
        with_zero = Recommender.from_tables(scores, value="score", model=LightFM(random_state=0), epochs=1)
        assert with_zero.recommend("a")["item_id"] == [2]  # an interaction of value 0 is one
        assert recommender.dataset.interactions.toarray().tolist() == [[-1, 1], [0, 1]]
        assert recommender.recommend("a")["item_id"] == []  # what somebody dislikes is seen too


class TestChanges:
    def test_update_grows_and_learns(self):
        recommender = make(epochs=10)
        before = recommender.recommend("u4", N_FILMS)
        views = {"user": ["u4", "zoe", "zoe"], "film": ["f29", "f1", "f30"]}
        recommender.update(
            views,
            users={"user": ["zoe"], "town": ["Rome"], "age": [30]},
            items={"film": ["f30"], "genres": ["comedy"], "name": ["Thirty"]},
        )
        assert recommender.dataset.interactions_shape() == (N_USERS + 1, N_FILMS + 1)
        assert "f29" in before["film"]
        assert "f29" not in recommender.recommend("u4", N_FILMS)["film"]
        assert not {"f1", "f30"}.intersection(recommender.recommend("zoe", N_FILMS)["film"])
        assert recommender.titles[-1] == "Thirty"
        assert len(recommender.model.history_) == 15

    def test_new_items_are_recommendable_by_their_features(self):
        recommender = make(epochs=10)
        scores = dict(zip(*(recommender.recommend("u4", N_FILMS)[name] for name in ("film", "score")), strict=True))
        recommender.update(items={"film": ["new"], "genres": ["comedy"], "name": ["New"]})
        answer = recommender.recommend("u4", N_FILMS + 1)
        after = dict(zip(answer["film"], answer["score"], strict=True))
        place = after.pop("new")
        assert after == pytest.approx(scores, rel=1e-5)  # nothing was trained
        of_item = recommender.model.get_item_representations(
            recommender.dataset.encode_new_items({"genres": ["comedy"]})
        )
        of_user = recommender.model.get_user_representations(recommender.dataset.user_features)
        assert place == pytest.approx(of_user[1][4] @ of_item[1][0] + of_user[0][4] + of_item[0][0], rel=1e-4)

    @pytest.mark.parametrize("loss", ["bpr", "warp", "softmax"])
    def test_items_and_users_of_whom_nothing_is_known_are_not_random(self, loss):
        views, *_ = tables()
        model = LightFM(8, loss=loss, random_state=1)
        recommender = Recommender.from_tables(views, user="user", item="film", model=model, epochs=5)
        with pytest.raises(ValueError, match="knows no item features by which to represent them"):
            recommender.update(items={"film": ["new"]})
        recommender.update({"user": ["u1"], "film": ["f1"]}, users={"user": ["zoe"]}, items={"film": ["new"]})
        assert "new" not in recommender.recommend("u4", 5)["film"]
        popular = [film for film, _ in Counter(views["film"]).most_common(10)]
        assert set(recommender.recommend("zoe", 3)["film"]) <= set(popular)

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ({"interactions": {"user": ["u1", "u1"], "film": ["f1", "f1"]}, "duplicates": "error"}, "more than once"),
            ({"interactions": {"user": ["u1"], "film": ["x"]}, "unknown": "raise"}, "unknown to the dataset"),
            ({"items": {"film": ["x"], "genres": ["comedy"]}}, "no column 'name'"),
            ({"interactions": {"user": ["u1"], "film": ["x"]}, "epochs": -1}, "epochs is -1"),
        ],
    )
    def test_a_refused_update_changes_nothing(self, rows, message):
        recommender = make()
        before = recommender.recommend(["u4", "u5"], 5)
        with pytest.raises(ValueError, match=message):
            recommender.update(**rows)
        assert recommender.recommend(["u4", "u5"], 5) == before
        assert recommender.dataset.interactions_shape() == (N_USERS, N_FILMS)

    def test_training_of_its_model_is_noticed(self):
        recommender = make(epochs=1)
        before = recommender.recommend("u4", 5)
        dataset = recommender.dataset
        features = {"user_features": dataset.user_features, "item_features": dataset.item_features}
        recommender.model.fit_partial(dataset.interactions, **features, epochs=5)
        assert recommender.recommend("u4", 5) != before

    def test_questions_are_answered_while_it_updates(self):
        recommender = make(epochs=1)
        answers, failures, stop = [], [], threading.Event()

        def ask():
            while not stop.is_set():
                try:
                    answers.append(recommender.recommend(["u1", {"town": "Rome"}][len(answers) % 2], 3))
                except Exception as error:  # whatever it is, the test must end
                    failures.append(error)
                    return

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(5):
            recommender.update(
                {"user": ["u1"], "film": [f"n{number}"]},
                items={"film": [f"n{number}"], "genres": ["comedy"], "name": [None]},
                epochs=1,
            )
        stop.set()
        for thread in threads:
            thread.join()
        assert answers
        assert not failures

    def test_tune_keeps_the_winner(self):
        pytest.importorskip("optuna")
        recommender = make(epochs=1)
        result = recommender.tune(budget="1trials", max_epochs=2, random_state=0, num_threads=1)
        assert recommender.model is result.model
        assert recommender.recommend("u4", 3)["film"]


class TestFiles:
    @pytest.mark.parametrize("mmap", [False, True])
    def test_it_comes_back_as_it_was(self, trained, tmp_path, mmap):
        path = tmp_path / "model.safetensors"
        trained.save(path)
        loaded = Recommender.load(path, mmap=mmap)
        questions = [
            lambda r: r.recommend(["u4", "u5"], 5),
            lambda r: r.recommend({"town": "Rome", "age": 30}, 5, history=["f1"]),
            lambda r: r.similar_items("f4", 3),
            lambda r: r.explain("u4", "f7").rows(),
        ]
        for ask in questions:
            assert ask(loaded) == ask(trained)
        assert loaded.titles == trained.titles
        loaded.update({"user": ["u4"], "film": ["f29"]}, epochs=1)
        assert "f29" not in loaded.recommend("u4", N_FILMS)["film"]
        assert type(lightfm_fast.load(path)) is Recommender
        assert type(LightFM.load(path)) is LightFM

    def test_copies_answer_alike(self, trained):
        for twin in (pickle.loads(pickle.dumps(trained)), copy.deepcopy(trained)):
            assert twin.recommend("u4", 5) == trained.recommend("u4", 5)

    def test_text_is_no_flag(self, trained, tmp_path):
        """interactions="no" would write who has seen what."""
        with pytest.raises(ValueError, match="^interactions is 'no', expected True or False"):
            trained.save(tmp_path / "model", interactions="no")
        assert not os.listdir(tmp_path)

    def test_without_interactions_it_says_so(self, trained, tmp_path):
        trained.save(tmp_path / "model.safetensors", interactions=False, optimizer_state=False)
        loaded = Recommender.load(tmp_path / "model.safetensors")
        with pytest.raises(ValueError, match="does not know what users have seen"):
            loaded.recommend("u4")
        assert loaded.recommend("u4", 5, filter_seen=False) == trained.recommend("u4", 5, filter_seen=False)
        with pytest.raises(ValueError, match="has no interactions to tune on: .*saved without them"):
            loaded.tune(budget="1trials")
        views = tables()[0]
        loaded.update(views, epochs=0)
        assert loaded.recommend("u4", 5) == trained.recommend("u4", 5)

    def test_values_weights_and_library_are_saved(self, tmp_path):
        frame = pd.DataFrame({"u": ["a", "a", "b", "b"], "i": [1, 2, 2, 3], "stars": [1, 5, 4, 5], "w": [1, 2, 3, 4]})
        recommender = Recommender.from_tables(
            frame, user="u", item="i", value="stars", positive_from=4, weight="w", model=LightFM(4), epochs=1
        )
        recommender.save(tmp_path / "model.safetensors")
        loaded = lightfm_fast.load(tmp_path / "model.safetensors")
        for name in ("interactions", "weights"):
            first, second = (getattr(one.dataset, name).toarray() for one in (recommender, loaded))
            assert (first == second).all()
        assert isinstance(loaded.recommend("a"), pd.DataFrame)
        loaded.library = None
        assert isinstance(loaded.recommend("a"), dict)

    def test_a_model_saved_with_its_dataset_loads(self, tmp_path):
        views, users, films = tables()
        spec = FeatureSpec({"town": Categorical()})
        dataset = Dataset.from_tables(views, users, films, user="user", item="film", user_features=spec)
        model = LightFM(4, random_state=0).fit(dataset.interactions, user_features=dataset.user_features)
        model.save(tmp_path / "model.safetensors", dataset=dataset, encoders={"user": spec})
        loaded = Recommender.load(tmp_path / "model.safetensors")
        assert loaded.recommend({"town": "Rome"}, 3)["film"]
        assert loaded.dataset.interactions is None
        model.save(tmp_path / "alone.safetensors")
        with pytest.raises(ValueError, match="without its Dataset"):
            Recommender.load(tmp_path / "alone.safetensors")


@pytest.mark.parametrize("loss", ["softmax", "bpr", "logistic"])
@pytest.mark.parametrize("features", [FEATURES, {}])
def test_answers_are_the_models_whatever_its_loss(loss, features):
    recommender = (
        make(model=LightFM(8, loss=loss, random_state=1), user_features=None, item_features=None, **features)
        if not features
        else make(model=LightFM(8, loss=loss, random_state=1))
    )
    dataset = recommender.dataset
    ids, scores = recommender.model.recommend(
        4, 5, dataset.interactions, user_features=dataset.user_features, item_features=dataset.item_features
    )
    answer = recommender.recommend("u4", 5)
    assert answer["film"] == [f"f{number}" for number in ids[0]]
    assert_allclose(answer["score"], scores[0], rtol=1e-4, atol=1e-6)


def test_reprs_count(trained):
    n = trained.dataset.interactions.nnz
    assert repr(trained).startswith(f"<Recommender of 60 users, 30 items, {n} interactions: LightFM(no_components=8")
    assert f"<td>{n}</td>" in trained._repr_html_()


def test_what_has_the_value_0_is_seen():
    """A row of value 0 is an interaction: of a known user, of a newcomer and where a recommender is measured."""
    rng = np.random.RandomState(0)
    rows = [(user, item) for user in range(20) for item in rng.permutation(12)[:6].tolist()]
    user, item = zip(*rows, strict=True)
    views = {"user_id": user, "item_id": item, "liked": [number % 2 for number in range(len(rows))]}
    recommender = Recommender.from_tables(views, value="liked", model=LightFM(loss="warp", random_state=0), epochs=2)
    history = {"user_id": ["new"] * 3, "item_id": [1, 2, 3], "liked": [1, 0, 0]}
    assert set(recommender.recommend(history=history, n=12)["item_id"]) == set(range(12)) - {1, 2, 3}
    unseen = sorted(set(range(12)) - {item for user, item in rows if user == 0})
    answer = recommender.recommend(0, n=12)["item_id"]
    assert sorted(answer) == unseen
    test = {"user_id": [0, 0], "item_id": [answer[2], rows[0][1]], "liked": [1, 1]}  # the first row has the value 0
    assert recommender.evaluate(test, "mrr")["mrr"] == pytest.approx(1 / 3)


def test_it_is_measured_without_what_was_trained_on(trained):
    dataset = trained.dataset
    rest = sp.coo_matrix(1 - dataset.interactions.toarray())
    test = {"user": [f"u{n}" for n in rest.row[:50]], "film": [f"f{n}" for n in rest.col[:50]]}
    both = {name: [*test[name], *tables()[0][name][:20]] for name in test}
    assert trained.evaluate(both, "ndcg").mean == trained.evaluate(test, "ndcg").mean


@pytest.mark.skipif(not os.environ.get("LIGHTFM_FAST_DATA"), reason="MovieLens 100K is not at hand")
def test_films_of_movielens():
    data = fetch_movielens(indicator_features=False, genre_features=True, min_rating=4.0)
    titles, names = data["item_labels"], data["item_feature_labels"]
    genres = [[names[column] for column in row.indices] for row in data["item_features"]]
    frames = [
        pd.DataFrame({"user": data[part].row, "film": titles[data[part].col]}).drop_duplicates()
        for part in ("train", "test")
    ]
    films = pd.DataFrame({"film": titles, "genres": genres}).drop_duplicates("film")
    recommender = Recommender.from_tables(
        frames[0],
        items=films,
        user="user",
        item="film",
        item_features={"genres": MultiCategorical()},
        model=LightFM.recommended(random_state=1),
        epochs=20,
    )
    ndcg = recommender.evaluate(frames[1], "ndcg")["ndcg@10"]
    assert ndcg > 1.5 * evaluate(Popularity().fit(data["train"]), data["test"], data["train"], "ndcg")["ndcg@10"]
    trek = recommender.recommend(history=["Star Trek: First Contact (1996)", "Star Trek: Generations (1994)"], n=10)
    assert sum("Star Trek" in film for film in trek["film"]) >= 2
    assert "Return of the Jedi (1983)" in recommender.similar_items("Star Wars (1977)", 3)["similar_film"].tolist()


def test_cells_of_pyarrow_are_ids(trained):
    users, films = pa.array(["u1", "u2"]), pa.array(["f1", "f2"])
    assert trained.recommend(users[0], n=3) == trained.recommend("u1", n=3)
    assert trained.recommend(list(users), n=3) == trained.recommend(["u1", "u2"], n=3)
    chosen = {"items": list(films), "exclude": films[0], "filter_seen": False}
    assert trained.recommend("u1", **chosen)["film"] == ["f2"]
    assert trained.recommend(history=list(films), n=3) == trained.recommend(history=["f1", "f2"], n=3)
    assert trained.similar_items(films[0]) == trained.similar_items("f1")
    assert trained.explain(users[0], films[0]).score == trained.explain("u1", "f1").score


def test_masks_are_no_ids():
    views = {"user_id": [1, 1, 2], "item_id": [0, 1, 2]}
    recommender = Recommender.from_tables(views, model=LightFM(2), epochs=1)
    for mask in (
        [True, False, True],
        list(np.array([True, False, True])),
        np.array([True, False, True]),
        pd.Series([True, False, True]),
        True,
    ):
        with pytest.raises(TypeError, match="items are given by truth values, expected ids"):
            recommender.recommend(2, items=mask)
    with pytest.raises(TypeError, match="users are given by truth values"):
        recommender.recommend(True)
    truths = Recommender.from_tables({"user_id": [True, False], "item_id": [0, 1]}, model=LightFM(2), epochs=1)
    assert truths.recommend(True)["item_id"] == [1]


@pytest.mark.parametrize("column", [pd.Series, pl.Series, lambda lists: pa.chunked_array([lists])])
def test_histories_may_be_a_column_of_lists(trained, column):
    lists = [["f1", "f2"], [], ["f3"]]
    newcomers = pd.DataFrame({"town": ["Oslo", "Rome", None], "age": [30, None, 40]})
    expected = trained.recommend(newcomers, history=lists)
    assert trained.recommend(newcomers, history=column(lists)).equals(expected)


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_empty_table_of_history_has_an_empty_answer(trained, library):
    history = LIBRARIES[library]({"user": [], "film": []})
    assert len(trained.recommend(history=history)["film"]) == 0


def test_text_that_is_no_unicode_is_named():
    rows = {"user_id": ["\ud800", "b"], "item_id": ["x", "y"]}
    recommender = Recommender.from_tables(rows, model=LightFM(2), epochs=1)
    assert recommender.recommend(["\ud800"])["item_id"] == ["y"]
    recommender.library = "polars"
    with pytest.raises(ValueError, match="no Unicode, which a frame of polars refuses .*set library = None"):
        recommender.recommend(["\ud800"])


def test_known_users_are_no_newcomers_whatever_the_type_of_their_ids():
    views = {"user_id": [1, 1, 2], "item_id": ["x", "y", "x"], "town": [3, 4, 3]}
    users = {"user_id": [1, 2], "town": ["Oslo", "Rome"]}
    recommender = Recommender.from_tables(views, users, user_features=["town"], model=LightFM(2), epochs=1)
    for newcomer in ({"user_id": "1", "town": "Oslo"}, pd.DataFrame({"user_id": ["2"], "town": ["Oslo"]})):
        with pytest.raises(ValueError, match="'[12]' is a known user"):
            recommender.recommend(newcomer)


def test_answers_of_mixed_ids_say_what_to_do():
    recommender = Recommender.from_tables(
        pl.DataFrame({"user_id": [1, 2, 3], "item_id": [1, 2, 3]}), model=LightFM(2), epochs=1
    )
    recommender.update({"user_id": ["guest"], "item_id": [1]}, epochs=1)
    with pytest.raises(ValueError, match="the ids in 'user_id' are of type int and str, and a column of polars has"):
        recommender.recommend([1, "guest"])
    recommender.library = None
    assert set(recommender.recommend([1, "guest"])["user_id"]) == {1, "guest"}
