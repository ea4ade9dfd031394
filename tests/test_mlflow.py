"""A recommender comes back from MLflow as it went in, and answers data frames through mlflow.pyfunc."""

import importlib
import re
import sys
from pathlib import Path
from uuid import UUID

import pytest

import lightfm_fast
from lightfm_fast import LightFM, Recommender
from lightfm_fast.datasets import make_tables

pd = pytest.importorskip("pandas")
mlflow = pytest.importorskip("mlflow")
flavour = importlib.import_module("lightfm_fast.mlflow")

VIEWS, USERS, FILMS = make_tables(n_users=40, n_films=30)
PAGE = Path(__file__).parents[1] / "docs" / "registries.md"


@pytest.fixture(scope="module")
def recommender():
    columns = {"user": "user", "item": "film", "title": "title", "user_features": ["town"]}
    return Recommender.from_tables(VIEWS, USERS, FILMS, **columns, model=LightFM(random_state=1), epochs=2)


@pytest.fixture(scope="module")
def folder(recommender, tmp_path_factory):
    path = tmp_path_factory.mktemp("mlflow") / "films"
    flavour.save_model(recommender, str(path))
    return str(path)


@pytest.fixture(scope="module")
def asked(folder):
    return mlflow.pyfunc.load_model(folder)


def columns_of(frame):
    return {name: frame[name].tolist() for name in frame.columns}


def test_the_recommender_comes_back(recommender, folder):
    loaded = flavour.load_model(folder)
    assert loaded.recommend("user-3") == recommender.recommend("user-3")
    assert loaded.titles == recommender.titles
    loaded.update(epochs=1)  # what training needs is there too


def test_a_frame_of_ids_asks_for_known_users(recommender, asked):
    found = asked.predict(pd.DataFrame({"user": ["user-3", "user-5"]}), params={"n": 4})
    assert columns_of(found) == recommender.recommend(["user-3", "user-5"], n=4)
    kept = asked.predict(pd.DataFrame({"user": ["user-3"]}), params={"filter_seen": False})
    assert columns_of(kept) == recommender.recommend(["user-3"], filter_seen=False)


def test_a_frame_of_features_describes_newcomers(recommender, asked):
    towns = [{"town": "Oslo"}, {"town": None}]
    assert columns_of(asked.predict(pd.DataFrame(towns))) == recommender.recommend(towns)
    named = asked.predict(pd.DataFrame({"user": ["zoe"], "town": ["Rome"]}))
    assert named["user"].tolist() == ["zoe"] * 10


def test_unknown_users_and_columns_are_refused(asked):
    with pytest.raises(ValueError, match="'zoe' is no known user"):
        asked.predict(pd.DataFrame({"user": ["zoe"]}))
    with pytest.raises(ValueError, match="town"):
        asked.predict(pd.DataFrame({"age": [3]}))


def test_the_signature_names_columns_and_parameters(asked):
    signature = asked.metadata.signature
    assert signature.inputs.input_names() == ["user", "town"]
    assert signature.outputs.input_names() == ["user", "film", "title", "rank", "score"]
    assert {parameter.name: parameter.default for parameter in signature.params} == {"n": 10, "filter_seen": True}


def test_whole_numbers_are_ids_too(tmp_path):
    rows = {"user_id": [1, 1, 2, 2, 3], "item_id": [7, 8, 7, 9, 8]}
    trained = Recommender.from_tables(rows, model=LightFM(random_state=1), epochs=1)
    flavour.save_model(trained, str(tmp_path / "model"), interactions=False)
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert loaded.metadata.signature.inputs.input_types() == [mlflow.types.DataType.long]
    # Without interactions, seen items are not left out.
    assert sorted(loaded.predict(pd.DataFrame({"user_id": [2]}), params={"n": 3})["item_id"]) == [7, 8, 9]


@pytest.mark.parametrize(
    "ids",
    [[UUID(int=1), UUID(int=2)], [b"a", b"b"], [("a", 1), ("a", 2)], [7, "a"], [1 << 70, 7]],
    ids=["UUIDs", "bytes", "tuples", "of two types", "above 64 bits"],
)
def test_ids_of_any_type_are_asked_for(tmp_path, ids):
    rows = {"user_id": ids, "item_id": ids}
    trained = Recommender.from_tables(rows, model=LightFM(random_state=1), epochs=1)
    flavour.save_model(trained, str(tmp_path / "model"))
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    for named in (ids, list(map(str, ids))) if isinstance(ids[0], UUID) else (ids,):
        frame = pd.DataFrame({"user_id": named})
        assert loaded.predict(frame, params={"n": 1})["item_id"].tolist() == trained.recommend(ids, 1)["item_id"]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    yield
    mlflow.set_tracking_uri(None)


def test_a_run_logs_it(recommender, runs):
    with mlflow.start_run():
        logged = flavour.log_model(recommender, "films", metadata={"rows": 3})
    assert flavour.load_model(logged.model_uri).recommend("user-3") == recommender.recommend("user-3")
    assert mlflow.pyfunc.load_model(logged.model_uri).metadata.metadata == {"rows": 3}


def test_the_run_on_the_page_logs_settings_and_metrics(runs):
    train, test = ({name: column[part] for name, column in VIEWS.items()} for part in (slice(200), slice(200, None)))
    recommender = Recommender.from_tables(
        train, USERS, FILMS, user="user", item="film", model=LightFM(random_state=1), epochs=2
    )
    (block,) = re.findall(r"```text\n([^`]*start_run[^`]*)```", PAGE.read_text(encoding="utf-8"))
    names = {"mlflow": mlflow, "lightfm_fast": lightfm_fast, "recommender": recommender, "test": test}
    exec(compile(block, str(PAGE), "exec"), names)
    run = mlflow.last_active_run().data
    assert run.params["loss"] == "logistic"
    assert "ndcg_at_10" in run.metrics


def test_what_is_no_recommender_is_refused(recommender, tmp_path):
    with pytest.raises(TypeError, match=r"expected a lightfm_fast\.Recommender"):
        flavour.save_model(LightFM(), str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()
    other = mlflow.models.Model()
    other.add_flavor("sklearn", data="model.pkl")
    other.save(str(tmp_path / "MLmodel"))
    with pytest.raises(ValueError, match="is a model of sklearn, not of lightfm_fast"):
        flavour.load_model(str(tmp_path))


def test_without_mlflow_the_error_names_the_extra(recommender, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.pyfunc", None)
    with pytest.raises(ImportError, match=r"lightfm_fast\[mlflow\]"):
        flavour.save_model(recommender, "films")


def test_names_of_columns_that_are_no_text_are_refused(tmp_path):
    """MLflow would drop the columns of a question, which then has no ids."""
    frame = pd.DataFrame([["a", "x"], ["b", "y"]])
    numbered = Recommender.from_tables(frame, user=0, item=1, model=LightFM(2), epochs=1)
    with pytest.raises(ValueError, match="MLflow names columns by text, and a table has column 0: rename it"):
        flavour.save_model(numbered, str(tmp_path / "films"))
    assert not (tmp_path / "films").exists()
