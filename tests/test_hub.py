"""A recommender and its model card in a folder as the Hugging Face Hub keeps it; the Hub itself is a stand-in."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lightfm_fast import LightFM, Recommender
from lightfm_fast.datasets import make_tables

hub = pytest.importorskip("huggingface_hub")

VIEWS, USERS, FILMS = make_tables(n_users=40, n_films=30)
N_TEST = len(VIEWS["user"]) // 5
TRAIN = {name: column[:-N_TEST] for name, column in VIEWS.items()}
TEST = {name: column[-N_TEST:] for name, column in VIEWS.items()}


@pytest.fixture(scope="module")
def recommender():
    columns = {"user": "user", "item": "film", "title": "title", "user_features": ["town"]}
    return Recommender.from_tables(TRAIN, USERS, FILMS, **columns, model=LightFM(random_state=1), epochs=2)


def test_a_folder_gives_the_recommender_back(recommender, tmp_path):
    recommender.save_pretrained(tmp_path / "films")
    assert sorted(path.name for path in (tmp_path / "films").iterdir()) == ["README.md", "model.safetensors"]
    loaded = Recommender.from_pretrained(tmp_path / "films", mmap=True)
    assert loaded.recommend("user-3") == recommender.recommend("user-3")


@pytest.mark.parametrize("name", ["nowhere/films/model", "./films"])
def test_a_folder_that_is_missing(name):
    with pytest.raises(FileNotFoundError, match=f"there is no folder {name}, and no such repository"):
        Recommender.from_pretrained(name)


def test_the_card_says_what_the_model_is(recommender, tmp_path):
    measured = recommender.evaluate(TEST, unknown="skip")
    recommender.save_pretrained(tmp_path, repo_id="ann/films", evaluation=measured)
    card = hub.ModelCard.load(tmp_path / "README.md")
    assert card.data.library_name == "lightfm_fast"
    assert "recommendation" in card.data.tags
    for text in (
        "Recommender.from_pretrained('ann/films')",
        f"on {recommender.dataset.interactions.nnz:,} interactions of 40 users with 30 items",
        "`town` of users",
        f"| ndcg@10 | {measured['ndcg@10']:.4f} |",
        "and what these users have seen.",
    ):
        assert text in card.text


def test_the_card_says_that_the_file_has_times(tmp_path):
    visits = {"user_id": [1, 2], "item_id": [3, 4], "at": [5, 6]}
    Recommender.from_tables(visits, time="at", model=LightFM(2), epochs=1).save_pretrained(tmp_path)
    assert "and what these users have seen and when." in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_the_card_says_what_is_left_out(recommender, tmp_path):
    recommender.save_pretrained(tmp_path, interactions=False, optimizer_state=False)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "and not what users have seen." in card
    assert "Not measured" in card
    assert Recommender.from_pretrained(tmp_path).dataset.interactions is None


def test_an_edited_card_is_kept(recommender, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    recommender.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_card_that_cannot_be_written_leaves_none(recommender, tmp_path):
    with pytest.raises(UnicodeEncodeError):
        recommender.save_pretrained(tmp_path, repo_id="ann/\ud800")
    assert not (tmp_path / "README.md").exists()


class Api:
    """A stand-in for huggingface_hub.HfApi, which keeps what it is sent."""

    has_card = False

    def __init__(self, token=None):
        Api.calls = [("token", token)]

    def create_repo(self, repo_id, private, exist_ok):
        self.calls.append((repo_id, private, exist_ok))

    def file_exists(self, repo_id, filename):
        return self.has_card

    def upload_folder(self, repo_id, folder_path, commit_message, create_pr):
        self.calls.append((repo_id, sorted(path.name for path in Path(folder_path).iterdir()), commit_message))
        return SimpleNamespace(commit_url="https://hub/commit", pr_url="https://hub/pull" if create_pr else None)


@pytest.mark.parametrize("has_card", [False, True])
def test_push_is_private_and_keeps_a_card_that_is_there(recommender, monkeypatch, has_card):
    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.setattr(Api, "has_card", has_card)
    assert recommender.push_to_hub("ann/films", token="secret") == "https://hub/commit"
    files = ["README.md"] * (not has_card) + ["model.safetensors"]
    assert Api.calls == [("token", "secret"), ("ann/films", True, True), ("ann/films", files, "Upload a recommender")]
    assert recommender.push_to_hub("ann/films", create_pr=True) == "https://hub/pull"


def test_a_name_is_looked_up_on_the_hub(recommender, tmp_path, monkeypatch):
    recommender.save(tmp_path / "blob")
    asked = []

    def download(repo_id, filename, **options):
        asked.append((repo_id, filename, options["revision"], options["local_files_only"]))
        return str(tmp_path / "blob")

    monkeypatch.setattr(hub, "hf_hub_download", download)
    loaded = Recommender.from_pretrained("ann/films", revision="v2", local_files_only=True)
    assert loaded.recommend("user-3") == recommender.recommend("user-3")
    assert asked == [("ann/films", "model.safetensors", "v2", True)]


def test_what_does_not_fit_is_refused_before_anything_is_written(recommender, tmp_path):
    with pytest.raises(TypeError, match="expected what evaluate"):
        recommender.save_pretrained(tmp_path / "films", evaluation={"ndcg": 0.3})
    with pytest.raises(TypeError, match="repo_id is 3, expected text"):
        recommender.save_pretrained(tmp_path / "films", repo_id=3)
    with pytest.raises(ValueError, match="save_directory is '', which no file can be named"):
        recommender.save_pretrained("")
    with pytest.raises(ValueError, match="private is 'no', expected True or False"):
        recommender.push_to_hub("ann/films", private="no")
    assert not (tmp_path / "films").exists()


def test_without_the_library_the_error_names_the_extra(recommender, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"lightfm_fast\[hub\]"):
        recommender.push_to_hub("ann/films")
