"""The harness pairs and judges fairly, and the benchmarks run from end to end on tiny data."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from lightfm_fast.datasets import make_interactions

sys.path.append(str(Path(__file__).parents[1]))  # last: the library tested may be an installed one

from benchmarks import check, harness, memory, plots, quality_movielens, scale, train
from benchmarks.cases import CASES, LOSSES, Case, quick


def test_sides_alternate_and_every_other_round_goes_backwards():
    calls = []
    seconds = harness.alternate({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=3)
    assert "".join(calls) == "abbaab"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}


def test_ratio_is_taken_round_by_round():
    assert harness.paired_ratio([1, 2, 4], [2, 8, 12]) == {"median": 3, "min": 2, "max": 4}


def test_factors_rank_as_lightfm_documents():
    generator = np.random.default_rng(0)
    user, item = generator.integers(-2, 3, (9, 2)), generator.integers(-2, 3, (14, 2))
    cell = generator.random((9, 14))
    test, seen = cell < 0.3, cell > 0.7
    ranks = harness.Factors(user, item).predict_rank(sp.csr_matrix(test), sp.csr_matrix(seen)).tocoo()
    scores = user @ item.T
    for row, column, rank in zip(ranks.row, ranks.col, ranks.data, strict=True):
        others = ~seen[row] & (np.arange(14) != column)
        assert rank == np.sum(scores[row, others] >= scores[row, column])


def test_sampled_users_keep_all_their_interactions():
    interactions = sp.csr_matrix(np.tile([[1.0, 0, 1], [0, 0, 0]], (10, 1)))
    sample = harness.sample_users(interactions, 4)
    assert sorted(sample.getnnz(axis=1)) == [0] * 16 + [2] * 4
    assert interactions.nnz == 20


def test_missing_peer_is_named_and_left_out(capsys):
    assert harness.import_peer("no_such_recommender") is None
    assert "no_such_recommender is left out" in capsys.readouterr().out


def test_missing_features_are_refused(monkeypatch):
    bare = harness.Problem("bare", sp.coo_matrix((2, 2)), sp.csr_matrix((2, 2)))
    monkeypatch.setitem(harness._LOADERS, "generated", lambda options: bare)
    with pytest.raises(SystemExit, match="has no tags"):
        train.main(["--features", "tags"])


@pytest.mark.parametrize("features", ["none", "tags+users"])
def test_train_reports_every_loss(tmp_path, features):
    sizes = ["--users", "60", "--items", "40", "--interactions", "600", "--no-components", "4"]
    runs = ["--epochs", "2", "--seeds", "1", "--threads", "1", "--features", features]
    train.main([*sizes, *runs, "--json", str(tmp_path / "train.json")])
    saved = json.loads((tmp_path / "train.json").read_text())
    assert saved["machine"]["build"]
    assert [result["loss"] for result in saved["results"]] == list(LOSSES)
    for result in saved["results"]:
        ours = result["sides"]["lightfm_fast"]
        assert ours["time over ours"]["median"] == 1
        assert 0 < ours["precision@10"][0] <= 1


def test_quality_compares_thread_counts_without_a_peer(tmp_path, monkeypatch):
    data = make_interactions(60, 40, 600)
    problem = harness.Problem("tiny", data["train"], data["test"].tocsr(), None, data["item_features"])
    monkeypatch.setattr(harness, "movielens", lambda: problem)
    monkeypatch.setattr(quality_movielens, "PEER", "no_such_recommender")
    quality_movielens.main(["--seeds", "2", "--json", str(tmp_path / "quality.json")])
    results = json.loads((tmp_path / "quality.json").read_text())["results"]
    assert {result["threads"] for result in results} == {2}
    assert len(results) == len(LOSSES) * (4 + 4 + 2)
    with pytest.raises(SystemExit, match="nothing to compare"):
        quality_movielens.main(["--threads", "1"])


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ([0.5, 0.7], [0.4, 0.6], "at least"),
        ([0.50, 0.52, 0.48], [0.51, 0.50, 0.50], "within the spread"),
        ([0.50, 0.52, 0.48], [0.61, 0.62, 0.59], "BELOW"),
    ],
)
def test_verdict(ours, theirs, verdict):
    assert harness.verdict(ours, theirs) == verdict
