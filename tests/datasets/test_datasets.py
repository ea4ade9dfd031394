import contextlib
import functools
import hashlib
import http.client
import io
import itertools
import os
import signal
import stat
import subprocess
import sys
import tracemalloc
import zipfile
from collections import Counter
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import scipy.sparse as sp

from lightfm_fast.datasets import (
    _archive,
    fetch_movielens,
    fetch_stackexchange,
    make_interactions,
    make_tables,
    movielens,
    stackexchange,
)

GENRES = ["unknown", "Action", "Adventure", "Animation"]


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr(_archive, "urlopen", refuse)


@pytest.fixture(scope="session")
def real_folder():
    folder = os.environ.get("LIGHTFM_FAST_DATA")
    if not folder or not Path(folder, "ml-100k.zip").is_file():
        pytest.skip("LIGHTFM_FAST_DATA names no folder with ml-100k.zip")
    return folder


@pytest.fixture
def small_archive(monkeypatch):
    """A tiny archive of the same layout, whose checksum the loader knows."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("ml-100k/ua.base", "1\t1\t5\t881250949\n1\t3\t2\t881250950\n3\t2\t4\t881250951\n")
        archive.writestr("ml-100k/ua.test", "1\t2\t3\t881250952\n2\t4\t4\t881250953\n")
        archive.writestr("ml-100k/u.genre", "".join(f"{name}|{i}\n" for i, name in enumerate(GENRES)) + "\n")
        films = [
            "Toy Story (1995)|||x|0|0|0|1",
            "Léon (1994)|||x|0|1|0|0",
            "unknown|||x|1|0|0|0",
            "A|||x|0|1|1|0",
        ]
        lines = "".join(f"{i}|{film}\n" for i, film in enumerate(films, start=1))
        archive.writestr("ml-100k/u.item", lines.encode("latin-1"))
    monkeypatch.setattr(movielens, "_ARCHIVE_SHA256", hashlib.sha256(content.getvalue()).hexdigest())
    return content.getvalue()


def serve(monkeypatch, body, announced=None, failure=None):
    """Let urlopen return ``body``, and count its calls."""
    asked = []

    class Response(io.BytesIO):
        def read1(self, *args):
            piece = super().read1(*args)
            if failure is not None and not piece:
                raise failure
            return piece

    def urlopen(url, timeout):
        asked.append(url)
        response = Response(body)
        response.headers = {"Content-Length": str(len(body) if announced is None else announced)}
        return contextlib.closing(response)

    monkeypatch.setattr(_archive, "urlopen", urlopen)
    return asked


# Where the archive is looked for


def test_data_home_comes_before_the_environment_variable_before_the_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(_archive.sys, "platform", "linux")
    monkeypatch.setenv("LIGHTFM_FAST_DATA", str(tmp_path / "variable"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert _archive.data_folder(str(tmp_path / "argument")) == tmp_path / "argument"
    assert _archive.data_folder() == tmp_path / "variable"
    monkeypatch.setenv("LIGHTFM_FAST_DATA", "")
    assert _archive.data_folder() == tmp_path / "cache" / "lightfm_fast"


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", {}, "home/.cache/lightfm_fast"),
        ("darwin", {}, "home/Library/Caches/lightfm_fast"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/lightfm_fast"),
        ("win32", {}, "home/AppData/Local/lightfm_fast"),
    ],
)
def test_cache_folder_is_the_platforms_own(monkeypatch, tmp_path, platform, variable, expected):
    for name in ("LIGHTFM_FAST_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, folder in variable.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setattr(_archive.Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(_archive.sys, "platform", platform)
    assert _archive.data_folder() == tmp_path / expected


def test_missing_archive_raises_and_makes_no_folder(no_network, tmp_path):
    for fetch in (fetch_movielens, lambda **given: fetch_stackexchange("crossvalidated", **given)):
        with pytest.raises(OSError, match="download_if_missing=True"):
            fetch(data_home=tmp_path / "absent", download_if_missing=False)
    assert not (tmp_path / "absent").exists()


# Downloads


def test_download_is_kept_and_used_again(monkeypatch, tmp_path, small_archive):
    asked = serve(monkeypatch, small_archive)
    folder = tmp_path / "new" / "folder"
    first = fetch_movielens(data_home=folder)
    second = fetch_movielens(data_home=folder)
    assert asked == ["https://files.grouplens.org/datasets/movielens/ml-100k.zip"]
    assert [file.name for file in folder.iterdir()] == ["ml-100k.zip"]
    assert (folder / "ml-100k.zip").read_bytes() == small_archive
    np.testing.assert_array_equal(first["train"].toarray(), second["train"].toarray())


@pytest.mark.parametrize(
    ("cut", "announced", "failure", "error"),
    [
        (50, None, None, ValueError),
        (50, 5000, None, OSError),
        (50, 5000, http.client.IncompleteRead(b""), OSError),
        (50, 5000, TimeoutError(), OSError),
        (50, 5000, KeyboardInterrupt(), KeyboardInterrupt),
        (0, None, None, ValueError),
    ],
)
def test_partial_download_leaves_nothing_behind(monkeypatch, tmp_path, small_archive, cut, announced, failure, error):
    serve(monkeypatch, small_archive[:cut], announced, failure)
    with pytest.raises(error):
        fetch_movielens(data_home=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_altered_download_is_refused_even_if_it_can_be_read(monkeypatch, tmp_path, small_archive):
    # A comment after the end changes no member, but the archive differs from the published one.
    content = io.BytesIO(small_archive)
    with zipfile.ZipFile(content, "a") as archive:
        archive.comment = b"altered"
    serve(monkeypatch, content.getvalue())
    with pytest.raises(ValueError, match=r"incomplete or altered.*try again"):
        fetch_movielens(data_home=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_connection_says_where_to_put_the_file(monkeypatch, tmp_path):
    def unreachable(_url, timeout):
        raise URLError("no route")

    monkeypatch.setattr(_archive, "urlopen", unreachable)
    with pytest.raises(OSError, match=r"no route.*ml-100k\.zip yourself"):
        fetch_movielens(data_home=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_more_is_downloaded_than_an_archive_may_have(monkeypatch, tmp_path, small_archive):
    monkeypatch.setattr(movielens, "_LARGEST", len(small_archive) - 1)
    monkeypatch.setattr(_archive, "_PIECE", 100)
    for announced, message in (
        (None, "more than the expected"),
        (10**30, "announces"),
        (len(small_archive), "announces"),
    ):
        asked = serve(monkeypatch, small_archive, announced)
        if announced is None:
            monkeypatch.setattr(_archive, "urlopen", without_length(_archive.urlopen))
        with pytest.raises(OSError, match=message):
            fetch_movielens(data_home=tmp_path)
        assert len(asked) == 1
        assert list(tmp_path.iterdir()) == []


def without_length(urlopen):
    @contextlib.contextmanager
    def opened(url, timeout):
        with urlopen(url, timeout) as response:
            response.headers = {}
            yield response

    return opened


def test_a_server_that_sends_for_ever_is_given_up(monkeypatch, tmp_path, small_archive):
    serve(monkeypatch, small_archive)
    monkeypatch.setattr(_archive, "_PIECE", 1)
    monkeypatch.setattr(_archive.time, "monotonic", itertools.count(step=600).__next__)
    with pytest.raises(OSError, match=r"only 13 bytes came in 7,200 seconds.*ml-100k\.zip yourself"):
        fetch_movielens(data_home=tmp_path)
    assert list(tmp_path.iterdir()) == []


DOWNLOAD = """
import os, signal, sys
from lightfm_fast.datasets import _archive, fetch_movielens
class Response:
    headers = {}
    def __enter__(self):
        return self
    def __exit__(self, *_):
        pass
    def read1(self, size):
        if os.path.exists(sys.argv[1] + "/started"):
            os.kill(os.getpid(), signal.SIGKILL)
        open(sys.argv[1] + "/started", "x").close()
        return bytes(size)
_archive.urlopen = lambda url, timeout: Response()
fetch_movielens(data_home=sys.argv[1])
"""


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="elsewhere the next download sweeps")
def test_a_killed_download_leaves_nothing_behind(tmp_path):
    process = subprocess.run([sys.executable, "-c", DOWNLOAD, str(tmp_path)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == ["started"]


# Files that are there


def bomb(names, size):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, bytes(size))
    return content.getvalue()


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(no_network, tmp_path):
    (tmp_path / "ml-100k.zip").write_bytes(bomb([f"ml-100k/{name}" for name in movielens._OF_MATRICES], 17_000_000))
    names = [f"{key}.npy" for key in stackexchange._KEYS]
    (tmp_path / "stackexchange_crossvalidated.npz").write_bytes(bomb(names, 60_000_000))
    for fetch in (fetch_movielens, functools.partial(fetch_stackexchange, "crossvalidated")):
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match="unpacks to .* bytes, expected at most"):
                fetch(data_home=tmp_path)
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()


def test_an_archive_that_is_too_large_is_not_read(no_network, tmp_path):
    with open(tmp_path / "ml-100k.zip", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match=r"1,099,511,627,776 bytes, expected at most.*delete it"):
        fetch_movielens(data_home=tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_compressed_in_another_way_is_refused(no_network, tmp_path, method):
    with zipfile.ZipFile(tmp_path / "ml-100k.zip", "w", method) as archive:
        archive.writestr("ml-100k/ua.base", "1")
    with pytest.raises(ValueError, match="compressed in another way"):
        fetch_movielens(data_home=tmp_path)


def test_read_only_folder_that_holds_the_file_works(no_network, tmp_path, small_archive):
    path = tmp_path / "ml-100k.zip"
    path.write_bytes(small_archive)
    path.chmod(stat.S_IREAD)
    tmp_path.chmod(stat.S_IREAD | stat.S_IEXEC)
    before = tmp_path.stat().st_mtime_ns
    try:
        assert fetch_movielens(data_home=tmp_path)["train"].shape == (3, 4)
        # Root may write to read-only folders: so check that no write was tried.
        assert tmp_path.stat().st_mtime_ns == before
    finally:
        tmp_path.chmod(stat.S_IRWXU)


@pytest.mark.parametrize("damage", [lambda content: content[:-40], lambda _: b"", lambda _: b"<html>"])
def test_damaged_cached_file_is_refused_and_left_alone(no_network, tmp_path, small_archive, damage):
    path = tmp_path / "ml-100k.zip"
    path.write_bytes(damage(small_archive))
    with pytest.raises(ValueError, match="delete it and fetch again"):
        fetch_movielens(data_home=tmp_path)
    assert path.read_bytes() == damage(small_archive)


def test_repacked_copy_is_known_by_its_members(monkeypatch, no_network, tmp_path, small_archive):
    path = tmp_path / "ml-100k.zip"
    path.write_bytes(small_archive)
    monkeypatch.setattr(movielens, "_ARCHIVE_SHA256", "0" * 64)
    with pytest.raises(ValueError, match=r"ua\.base has the unknown SHA-256"):
        fetch_movielens(data_home=tmp_path)
    with zipfile.ZipFile(path) as archive:
        digests = {
            name: {hashlib.sha256(archive.read(f"ml-100k/{name}")).hexdigest()} for name in movielens._OF_MATRICES
        }
    monkeypatch.setattr(movielens, "_MEMBER_SHA256", digests)
    assert fetch_movielens(data_home=tmp_path)["train"].nnz == 3


def test_archive_without_a_member_is_refused(no_network, tmp_path):
    with zipfile.ZipFile(tmp_path / "ml-100k.zip", "w") as archive:
        archive.writestr("ml-100k/ua.base", "")
    with pytest.raises(ValueError, match=r"ua\.test"):
        fetch_movielens(data_home=tmp_path)


# MovieLens: what comes back


@pytest.mark.parametrize(("indicators", "genres"), [(True, False), (False, True), (True, True)])
def test_movielens_features_and_labels(no_network, tmp_path, small_archive, indicators, genres):
    (tmp_path / "ml-100k.zip").write_bytes(small_archive)
    data = fetch_movielens(tmp_path, indicators, genres)
    titles = ["Toy Story (1995)", "Léon (1994)", "unknown", "A"]
    table = np.array([[0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0]])
    blocks = [np.eye(4)] * indicators + [table] * genres
    labels = titles * indicators + [f"genre:{name}" for name in GENRES] * genres

    assert list(data) == ["train", "test", "item_features", "item_feature_labels", "item_labels"]
    assert isinstance(data["item_features"], sp.csr_matrix)
    assert data["item_features"].dtype == np.float32
    np.testing.assert_array_equal(data["item_features"].toarray(), np.hstack(blocks))
    assert data["item_feature_labels"].tolist() == labels
    assert (data["item_feature_labels"] is data["item_labels"]) == (not genres)
    assert data["item_labels"].tolist() == titles


def test_movielens_matrices_hold_ratings_from_min_rating_on(no_network, tmp_path, small_archive):
    (tmp_path / "ml-100k.zip").write_bytes(small_archive)
    data = fetch_movielens(tmp_path, min_rating=4)
    np.testing.assert_array_equal(data["train"].toarray(), [[5, 0, 0, 0], [0, 0, 0, 0], [0, 4, 0, 0]])
    np.testing.assert_array_equal(data["test"].toarray(), [[0, 0, 0, 0], [0, 0, 0, 4], [0, 0, 0, 0]])
    for matrix in (data["train"], data["test"]):
        assert isinstance(matrix, sp.coo_matrix)
        for part in (matrix.row, matrix.col, matrix.data):
            assert part.dtype == np.int32
            assert part.flags.c_contiguous


@pytest.mark.parametrize(("value", "error"), [(np.nan, ValueError), (np.inf, ValueError), ("4", TypeError)])
def test_a_least_count_or_rating_is_a_number(no_network, tmp_path, value, error):
    """It is refused before anything is looked for."""
    with pytest.raises(error, match="min_rating is .*, expected a finite number"):
        fetch_movielens(tmp_path, min_rating=value)
    with pytest.raises(error, match="min_training_interactions is .*, expected a finite number of at least 0"):
        fetch_stackexchange("crossvalidated", min_training_interactions=value, data_home=tmp_path)


def test_movielens_needs_some_features(no_network, tmp_path):
    with pytest.raises(ValueError, match="indicator_features and genre_features"):
        fetch_movielens(tmp_path, indicator_features=False)


def test_real_movielens(no_network, real_folder):
    data = fetch_movielens(genre_features=True, download_if_missing=False)
    assert data["train"].shape == data["test"].shape == (943, 1682)
    assert (data["train"].nnz, data["test"].nnz) == (90570, 9430)
    assert (data["train"].tocsr().multiply(data["test"].tocsr())).nnz == 0
    assert data["train"].data.sum() + data["test"].data.sum() == 352986
    assert data["item_features"].shape == (1682, 1701)
    assert data["item_features"].nnz == 1682 + 2893
    assert data["item_labels"][0] == "Toy Story (1995)"
    assert data["item_feature_labels"][[1682, -1]].tolist() == ["genre:unknown", "genre:Western"]


def test_real_movielens_that_lost_a_rating_is_refused(no_network, real_folder, tmp_path):
    original, copy = Path(real_folder, "ml-100k.zip"), tmp_path / "ml-100k.zip"
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(copy, "w") as changed:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("ua.test"):
                content = content[: content.rindex(b"\n", 0, -1)]
            changed.writestr(name, content)
    with pytest.raises(ValueError, match=r"ua\.test"):
        fetch_movielens(data_home=tmp_path)


# StackExchange


@pytest.fixture
def answers(tmp_path):
    """Twelve answers of four users, at seconds 1 to 12, one of them given twice (1 and 11: 12 together)."""
    users = [0, 0, 0, 1, 1, 2, 2, 0, 1, 2, 0, 3]
    items = [0, 1, 2, 0, 3, 1, 4, 3, 4, 0, 0, 4]
    np.savez_compressed(
        tmp_path / "stackexchange_crossvalidated.npz",
        interactions_data=np.arange(1, 13),
        interactions_row=np.array(users, dtype=np.int32),
        interactions_col=np.array(items, dtype=np.int32),
        interactions_shape=np.array([[4, 5]]),
        features_data=np.ones(3, dtype=np.float32),
        features_row=np.array([0, 1, 4], dtype=np.int32),
        features_col=np.array([0, 1, 1], dtype=np.int32),
        features_shape=np.array([[5, 2]]),
        labels=np.array(["bayesian", "regression"]),
    )
    return tmp_path


def test_stackexchange_splits_by_time(no_network, answers):
    data = fetch_stackexchange("crossvalidated", 0.4, 0, data_home=answers)
    # The eleven times are 2 … 10, 12, 12; the test set begins at the seventh, second 8.
    train = [[0, 1, 1, 0, 0], [1, 0, 0, 1, 0], [0, 1, 0, 0, 1], [0, 0, 0, 0, 0]]
    test = [[1, 0, 0, 1, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]
    np.testing.assert_array_equal(data["train"].toarray(), train)
    np.testing.assert_array_equal(data["test"].toarray(), test)
    for matrix in (data["train"], data["test"]):
        assert isinstance(matrix, sp.coo_matrix)
        assert matrix.dtype == np.float32


def test_stackexchange_keeps_users_with_more_than_the_minimum(no_network, answers):
    data = fetch_stackexchange("crossvalidated", 0.2, 2, data_home=answers)
    np.testing.assert_array_equal(data["train"].toarray(), [[0, 1, 1, 1, 0], [1, 0, 0, 1, 1]])
    np.testing.assert_array_equal(data["test"].toarray(), [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    assert data["item_features"].shape == (5, 5)


@pytest.mark.parametrize(("indicators", "tags"), [(True, False), (False, True), (True, True)])
def test_stackexchange_features_and_labels(no_network, answers, indicators, tags):
    data = fetch_stackexchange("crossvalidated", data_home=answers, indicator_features=indicators, tag_features=tags)
    table = np.array([[1, 0], [0, 1], [0, 0], [0, 0], [0, 1]])
    assert list(data) == ["train", "test", "item_features", "item_feature_labels"]
    assert isinstance(data["item_features"], sp.csr_matrix)
    np.testing.assert_array_equal(data["item_features"].toarray(), np.hstack([np.eye(5)] * indicators + [table] * tags))
    ids = [f"question_id:{item}" for item in range(5)]
    assert data["item_feature_labels"].tolist() == ids * indicators + ["bayesian", "regression"] * tags


@pytest.mark.parametrize(
    "arguments",
    [
        {"dataset": "superuser"},
        {"dataset": "crossvalidated", "test_set_fraction": 0.0},
        {"dataset": "crossvalidated", "test_set_fraction": 1.0},
        {"dataset": "crossvalidated", "indicator_features": False},
    ],
)
def test_stackexchange_refuses_bad_arguments(no_network, answers, arguments):
    with pytest.raises(ValueError, match="expected"):
        fetch_stackexchange(data_home=answers, **arguments)


def test_stackexchange_refuses_incomplete_files(monkeypatch, answers, tmp_path_factory):
    path = answers / "stackexchange_crossvalidated.npz"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[100] ^= 255
    lacking = io.BytesIO()
    np.savez(lacking, labels=np.array(["a"]))
    empty = tmp_path_factory.mktemp("empty")
    for content in (whole[:-30], bytes(flipped), lacking.getvalue()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="delete it and fetch again"):
            fetch_stackexchange("crossvalidated", data_home=answers)
        serve(monkeypatch, content)
        with pytest.raises(ValueError, match="try again"):
            fetch_stackexchange("crossvalidated", data_home=empty)
        assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "shape", "dtype", "message"),
    [
        ("interactions_data", (10**12,), "<i8", "is not of the"),
        ("interactions_row", (2**62, 4), "<i4", "is not of the"),
        ("labels", (2,), "<U100000000", "is not of the"),
        ("features_shape", (1, 2), "<i8", "expected two numbers"),
        ("interactions_shape", (2,), "<i8", "expected two numbers"),
    ],
)
def test_stackexchange_refuses_arrays_that_declare_more_than_there_is(no_network, answers, key, shape, dtype, message):
    path = answers / "stackexchange_crossvalidated.npz"
    with np.load(path) as arrays:
        members = dict(arrays)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    values = np.array([10**15, 5], dtype).tobytes() if message == "expected two numbers" else bytes(16)
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in members.items():
            content = io.BytesIO()
            np.save(content, array)
            archive.writestr(f"{name}.npy", header.getvalue() + values if name == key else content.getvalue())
    with pytest.raises(ValueError, match=message):
        fetch_stackexchange("crossvalidated", data_home=answers)


def test_stackexchange_runs_no_pickled_code(no_network, answers):
    path = answers / "stackexchange_crossvalidated.npz"
    with np.load(path) as arrays:
        content = dict(arrays)
    np.savez(path, **{**content, "labels": np.array(["a", "b"], dtype=object)})
    with pytest.raises(ValueError, match="allow_pickle"):
        fetch_stackexchange("crossvalidated", data_home=answers)


# Generated data


@pytest.fixture(scope="module")
def generated():
    return make_interactions()


def test_generator_returns_what_it_promises(generated):
    train, test = generated["train"], generated["test"]
    assert train.nnz + test.nnz == 50_000
    assert test.nnz / 50_000 == pytest.approx(0.2, abs=0.01)
    together = sp.coo_matrix((train + test).tocsr())
    assert together.nnz == 50_000, "a pair occurs twice"
    for matrix in (train, test):
        assert isinstance(matrix, sp.coo_matrix)
        assert matrix.shape == (1000, 500)
        assert matrix.dtype == np.float32
        assert matrix.row.dtype == matrix.col.dtype == np.int32
        assert (np.diff(matrix.row.astype(np.int64) * 500 + matrix.col) > 0).all()
        assert set(matrix.data) == {1.0}


def test_generator_describes_users_and_items(generated):
    items, users = generated["item_features"], generated["user_features"]
    for features in (items, users):
        n = features.shape[0]
        assert isinstance(features, sp.csr_matrix)
        assert features.dtype == np.float32
        assert (features[:, :n] != sp.identity(n)).nnz == 0
    assert items.shape == (500, 550)
    assert users.shape == (1000, 1030)
    assert set(items[:, 500:].sum(axis=1).flat) == {8.0}
    assert set(items.data) == {1.0}
    for column in range(3):
        assert set(users[:, 1000 + 10 * column : 1010 + 10 * column].sum(axis=1).flat) == {1.0}
    assert len(generated["item_labels"]) == 500
    for side, features in (("item", items), ("user", users)):
        labels = generated[f"{side}_feature_labels"]
        assert len(set(labels)) == len(labels) == features.shape[1]


def test_generator_repeats_itself_by_seed(generated):
    again, other = make_interactions(random_state=0), make_interactions(random_state=1)
    for name, value in generated.items():
        if sp.issparse(value):
            assert (value != again[name]).nnz == 0
        else:
            np.testing.assert_array_equal(value, again[name])
    assert (generated["train"] != other["train"]).nnz > 0


@pytest.mark.parametrize("make", [make_interactions, make_tables])
def test_generated_data_take_a_seed_or_a_generator(make):
    for wrong in ("a", 0.5, [1, 2], sp.csr_matrix((2, 2)), np.random.RandomState(0), True):
        with pytest.raises(TypeError, match="^random_state is .*, expected None, a whole number or a Generator"):
            make(random_state=wrong)
    with pytest.raises(ValueError, match="^random_state is -1, expected a whole number of at least 0"):
        make(random_state=-1)
    make(random_state=np.random.default_rng(0))
    make(random_state=np.int8(3))


def test_generator_has_long_tails(generated):
    for axis, share in ((0, 0.4), (1, 0.4)):
        counts = np.sort(np.asarray(generated["train"].sum(axis=axis)).ravel())
        assert counts[-len(counts) // 5 :].sum() / counts.sum() > share
        assert np.median(counts) < counts.mean()


def hits_per_user(scores, data, k=10):
    """Mean number of test items among the k best that are not in train."""
    scores = np.where(data["train"].toarray() > 0, -np.inf, scores)
    best = np.argpartition(-scores, k, axis=1)[:, :k]
    return np.take_along_axis(data["test"].toarray(), best, axis=1).sum(axis=1).mean()


def test_matrix_factorisation_of_generated_data_beats_popularity(generated):
    train = generated["train"].toarray().astype(np.float64)
    popularity = np.broadcast_to(train.sum(axis=0), train.shape)
    left, singular, right = np.linalg.svd(train, full_matrices=False)
    factorised = (left[:, :8] * singular[:8]) @ right[:8]
    assert hits_per_user(factorised, generated) > 1.3 * hits_per_user(popularity, generated)


def test_generated_tags_foretell_likes_of_unseen_items(generated):
    likes = (generated["train"] + generated["test"]).toarray()
    tags = generated["item_features"][:, 500:].toarray()
    known, unseen = np.arange(400), np.arange(400, 500)
    # A user's taste is the difference of the user's tags from the average of all users.
    taste = (likes[:, known] / likes[:, known].sum(axis=1, keepdims=True).clip(1)) @ tags[known]
    predicted = (taste - taste.mean(axis=0)) @ (tags[unseen] - tags.mean(axis=0)).T
    excess = likes[:, unseen] - likes[:, unseen].mean(axis=0)
    # Of 100,000 pairs: chance alone stays within 0.01.
    assert np.corrcoef(predicted.ravel(), excess.ravel())[0, 1] > 0.05


@pytest.mark.parametrize(
    ("n_users", "n_items", "n_interactions"),
    [(1, 1, 1), (7, 5, 35), (3, 400, 600), (400, 3, 1), (5, 2000, 60)],
)
def test_generator_fills_any_shape_exactly(n_users, n_items, n_interactions):
    data = make_interactions(n_users, n_items, n_interactions, n_tags=9, tags_per_item=9)
    together = (data["train"] + data["test"]).tocsr()
    assert together.shape == (n_users, n_items)
    assert together.nnz == together.sum() == n_interactions


def test_generator_in_chunks_keeps_every_pair_apart(monkeypatch):
    monkeypatch.setattr("lightfm_fast.datasets.generator._CHUNK", 500)
    data = make_interactions(200, 300, 5000)
    together = (data["train"] + data["test"]).tocsr()
    assert together.nnz == together.sum() == 5000


@pytest.mark.parametrize(
    "arguments",
    [
        {"n_users": 0},
        {"n_items": 2.5},
        {"n_components": True},
        {"n_users": 10, "n_items": 10, "n_interactions": 101},
        {"n_tags": 5, "tags_per_item": 6},
        {"test_fraction": 0.0},
        {"test_fraction": float("nan")},
    ],
)
def test_generator_refuses_bad_arguments(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments)) if len(arguments) == 1 else "at most"):
        make_interactions(**arguments)


class TestMakeTables:
    def test_towns_like_one_genre(self):
        views, users, films = make_tables(random_state=1)
        town = dict(zip(users["user"], users["town"], strict=True))
        genre = dict(zip(films["film"], films["genre"], strict=True))
        pairs = Counter((town[user], genre[film]) for user, film in zip(views["user"], views["film"], strict=True))
        liked = [max(count for (of, _), count in pairs.items() if of == name) for name in set(users["town"])]
        assert sum(liked) > 0.8 * sum(pairs.values())
        assert len(set(zip(views["user"], views["film"], strict=True))) == len(views["user"])
        assert views["day"] == sorted(views["day"])
        assert films["film"][-1] not in views["film"]
        assert (views, users, films) == make_tables(random_state=1)

    def test_too_few_are_refused(self):
        with pytest.raises(ValueError, match="n_films is 2, expected at least 3"):
            make_tables(n_films=2)
