"""The harness pairs and compares fairly, and the benchmarks run from end to end on tiny data."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import lightfm_fast
from lightfm_fast import LightFM, data
from lightfm_fast.datasets import make_interactions

sys.path.append(str(Path(__file__).parents[1]))  # last: the library tested may be an installed one

from benchmarks import (
    check,
    evaluate,
    features_cold,
    features_numeric,
    first_hour,
    fold_in,
    frappe,
    harness,
    index,
    limits,
    memory,
    objectives,
    pages,
    plots,
    quality_constants,
    quality_movielens,
    quality_sets,
    race,
    rank,
    recommend,
    recommend_to,
    sample_of_users,
    scale,
    scaling,
    serve,
    sharded,
    spark,
    summaries,
    tables,
    train,
    tuning,
)
from benchmarks import quality as ranking_quality
from benchmarks.cases import CASES, LOSSES, Case, quick
from benchmarks.quality_methods import METHODS


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
    assert ranks.nnz == test.sum()
    for row, column, place in zip(ranks.row, ranks.col, ranks.data, strict=True):
        others = ~seen[row] & (np.arange(14) != column)
        assert place == np.sum(scores[row, others] >= scores[row, column])


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
    assert saved["machine"]["commit"]
    assert [result["loss"] for result in saved["results"]] == list(LOSSES)
    for result in saved["results"]:
        ours = result["sides"]["lightfm_fast"]
        assert len(ours["seconds an epoch"]) == 1
        assert 0 < ours["precision@10"][0] <= 1


def test_what_was_measured_before_an_interruption_is_saved(tmp_path, monkeypatch):
    def measure(*_):
        yield {"loss": "bpr", "threads": 1, "sides": {}}
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        train.main(["--json", str(tmp_path / "train.json")])
    text = (tmp_path / "train.json").read_text()
    assert json.loads(text)["results"] == [next(measure())]
    assert str(tmp_path) not in text  # folders of this machine


def test_first_hour_times_each_step_and_stops_at_one_that_fails(tmp_path, capfd):
    with first_hour.Hour(tmp_path) as hour:
        hour.run("sleep 60 &", "serve")
        hour.run("echo one > file", "write")
        with pytest.raises(SystemExit, match="ended with 3:\none\nwhy"):
            hour.run("cat file; echo why; exit 3", "read")
        service = hour._service
    assert service.poll() is not None
    assert (tmp_path / "file").read_text() == "one\n"
    assert [step["step"] for step in hour.steps] == ["write"]
    assert "s  write" in capfd.readouterr().out


TINY = Case(
    "tiny", users=60, items=50, interactions=600, losses=("bpr", "warp"), no_components=4, epochs=2, seeds=2,
    targets={"bpr": (2, 3)}, speedup=1.5,
)  # fmt: skip


class Peer:
    """A stand-in for LightFM: this library itself."""

    LightFM = LightFM


@pytest.fixture
def tiny_cases(monkeypatch):
    """One small case, and a peer even if none is installed."""
    for module in (train, check):
        monkeypatch.setattr(module, "CASES", (TINY,))
    monkeypatch.setattr(check, "CHECKED", ("tiny",))
    libraries = {"lightfm_fast": lightfm_fast, "lightfm": Peer}
    monkeypatch.setattr(harness, "import_peer", libraries.get)


def train_tiny(path, *options):
    train.main(["--cases", "all", "--threads", "1,2", "--json", str(path), *options])
    return json.loads(path.read_text())["results"]


def test_cases_are_run_beside_their_targets(tmp_path, tiny_cases, capsys):
    results = train_tiny(tmp_path / "train.json")
    assert [(row["case"], row["loss"], row["threads"]) for row in results] == [
        ("tiny", loss, threads) for loss in ("bpr", "warp") for threads in (1, 2)
    ]
    assert [row["sides"]["lightfm"]["target"] for row in results] == [2, 3, None, None]
    assert [row.get("target over 1 thread") for row in results] == [None, 1.5, None, 1.5]
    for row in results:
        assert len(row["sides"]["lightfm"]["seconds an epoch"]) == 2  # the second epoch, of either seed
        assert len(row["sides"]["lightfm"]["precision@10"]) == 2
        ours, theirs = (row["sides"][name]["seconds an epoch"] for name in ("lightfm_fast", "lightfm"))
        assert row["sides"]["lightfm"]["time over ours"] == harness.paired_ratio(ours, theirs)
    summary = capsys.readouterr().out.rpartition("\n\n")[2]
    assert summary.count("ours, 1 thread") == 2
    assert summary.count("  lightfm  ") == 4
    # both are the same library, so on two seeds ours could only be below by chance
    assert summary.count("reached") + summary.count("MISSED") == 4


def test_epochs_and_losses_of_a_case_can_be_fewer(tmp_path, tiny_cases):
    results = train_tiny(tmp_path / "train.json", "--losses", "warp", "--epochs", "3", "--seeds", "1")
    assert {row["loss"] for row in results} == {"warp"}
    assert len(results[0]["sides"]["lightfm_fast"]["seconds an epoch"]) == 2


def test_what_a_case_says_itself_is_refused(tiny_cases, capsys):
    with pytest.raises(SystemExit):
        train.main(["--cases", "tiny", "--no-components", "8"])
    assert "--cases says these itself: no_components" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train.main(["--cases", "large"])
    assert "large: expected some of tiny" in capsys.readouterr().err


def test_cases_have_names_and_targets_of_their_own():
    assert len({case.name for case in CASES}) == len(CASES)
    for case in CASES:
        assert set(case.targets) >= set(case.losses)
        for loss in case.losses:
            for threads in (1, 2):
                assert case.target("lightfm", loss, threads) >= 4
            assert case.target("lightfm", loss, 3) is None
    by_name = {case.name: case for case in CASES}
    assert by_name["identity-d8"].target("lightfm", "bpr", 1) == by_name["identity"].target("lightfm", "bpr", 1) / 2
    assert set(check.CHECKED) <= set(by_name)
    small = quick(by_name["identity"])
    assert (small.items, small.interactions / small.users) == (3700, 1_000_000 / 6_000)


def test_curve_records_precision_after_every_epoch(tmp_path, tiny_cases):
    rows = train_tiny(tmp_path / "train.json", "--epochs", "3")
    assert len(rows) == 4
    for row in rows:
        assert set(row["sides"]) == {"lightfm_fast", "lightfm"}
        for side in row["sides"].values():
            assert len(side["curve"]) == 2
            for curve, last in zip(side["curve"], side["precision@10"], strict=True):
                assert len(curve["seconds"]) == len(curve["precision@10"]) == 3
                assert np.all(np.diff(curve["seconds"]) > 0)
                assert curve["precision@10"][-1] == last


def test_time_until_a_precision_lies_between_epochs():
    curve = {"seconds": [2.0, 3.0, 5.0], "precision@10": [0.1, 0.05, 0.25]}
    for goal, seconds in ((0.08, 2.0), (0.1, 2.0), (0.15, 4.0), (0.25, 5.0), (0.26, None)):
        assert train.seconds_until(curve, goal) == (None if seconds is None else pytest.approx(seconds))


def test_times_until_the_peers_best_precision_are_compared(tmp_path, tiny_cases, capsys):
    for row in train_tiny(tmp_path / "train.json", "--epochs", "3"):
        ours, peer = (train.mean_curve(row["sides"][name]["curve"]) for name in ("lightfm_fast", "lightfm"))
        ratios = row["sides"]["lightfm"]["time to its precision over ours"]
        assert set(ratios) == {"1", "3"}
        for epochs, ratio in ratios.items():
            goal = train.REACHED * max(peer["precision@10"][: int(epochs)])
            reached = train.seconds_until(ours, goal)
            assert ratio == (None if reached is None else pytest.approx(train.seconds_until(peer, goal) / reached))
    assert "to its precision" in capsys.readouterr().out


def test_curves_are_averaged_over_seeds_before_a_goal_is_looked_for():
    ours = [{"seconds": [1.0, 2.0], "precision@10": [0.1, 0.3]}, {"seconds": [3.0, 4.0], "precision@10": [0.3, 0.1]}]
    peer = [{"seconds": [10.0, 20.0, 30.0], "precision@10": [0.1, 0.2, 0.15]}]
    assert train.over_goals(ours, peer) == {"1": 5.0, "3": pytest.approx((10 + 10 * 0.98) / 2)}
    assert train.over_goals(ours, [{"seconds": [10.0], "precision@10": [0.3]}]) == {"1": None}


def test_the_logistic_loss_gets_as_many_negatives_where_nothing_is_known():
    positives = sp.coo_matrix(np.random.default_rng(1).random((40, 30)) < 0.4, dtype=np.float32)
    both = harness.with_negatives(positives)
    assert both.nnz == 2 * positives.nnz
    cells = both.toarray()  # would add up an entry given twice
    assert set(np.unique(cells)) == {-1, 0, 1}
    np.testing.assert_array_equal(cells > 0, positives.toarray() > 0)


def test_a_shuffled_case_has_the_same_interactions_in_random_order(monkeypatch):
    trained = []
    monkeypatch.setattr(train, "_compare", lambda libraries, problem, *_: trained.append(problem.train) or {})
    for case in (TINY, replace(TINY, shuffled=True)):
        list(train.measure(replace(case, losses=("bpr",)), {}, (), 10))
    ordered, mixed = trained
    assert (ordered != mixed).nnz == 0
    assert (np.diff(ordered.row) >= 0).all()
    assert (np.diff(mixed.row) < 0).sum() > mixed.nnz / 3


def test_a_check_compares_times_until_the_peers_precision():
    side = {"precision@10": [0.2], "time over ours": {"median": 9.0}}
    peer = {**side, "time to its precision over ours": {"1": 8.0, "3": None}}
    row = {"case": "a", "loss": "bpr", "threads": 1, "sides": {"lightfm_fast": side, "lightfm": peer}}
    (values,) = check.values_of([row]).values()
    assert sorted(values.values()) == [0.0, 1.0, 8.0, 9.0]


def test_scale_compares_sizes(tmp_path, capsys):
    sizes = ["--users", "60", "--items", "50", "--interactions", "400,1200", "--no-components", "4"]
    scale.main([*sizes, "--losses", "bpr", "--threads", "1", "--epochs", "2", "--json", str(tmp_path / "scale.json")])
    (result,) = json.loads((tmp_path / "scale.json").read_text())["results"]
    fewer, most = map(int, result["sizes"])
    assert 300 < fewer < 500
    assert most == 1200
    small, large = (size["ns an interaction"][0] for size in result["sizes"].values())
    assert result["growth"]["median"] == pytest.approx(large / small)
    assert "growth: " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        scale.main(["--interactions", "400"])


def test_thinned_interactions_keep_their_order():
    full = sp.random(40, 30, 0.5, random_state=np.random.RandomState(0)).tocsr().tocoo()
    thinned = scale._thin(full, [200, full.nnz])
    assert thinned[full.nnz] is full
    part = thinned[200]
    assert part.shape == full.shape
    cells = part.row.astype(int) * 30 + part.col
    assert np.all(np.diff(cells) > 0)
    assert set(cells) <= set(full.row.astype(int) * 30 + full.col)


def test_memory_is_judged_by_what_goes_in_and_comes_out():
    judged = memory.judge({"before fit": 1000, "peak": 1600, "interactions": 300, "parameters": 200})
    assert judged["beyond the data"] == 600 / 500
    assert judged["in all"] == 900 / 500


@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
def test_memory_measures_a_fit_in_a_process_of_its_own(tmp_path, monkeypatch, schedule, capsys):
    case = memory.Case("tiny", memory.Data(60, 50, 600, shuffled=True), True, "bpr", schedule, 16)
    monkeypatch.setattr(memory, "CASES", (case,))
    memory.main(["--threads", "1", "--json", str(tmp_path / "memory.json")])
    (result,) = json.loads((tmp_path / "memory.json").read_text())["results"]
    measured = result["bytes"]
    assert measured["peak"] >= measured["before fit"] > 0
    assert measured["interactions"] == 12 * 600
    # users and 3 columns of 10 values, items and 50 tags; embeddings and biases, and one or two accumulators of each
    n_features = 60 + 30 + 50 + 50
    assert measured["parameters"] == 4 * n_features * 17 * (2 if schedule == "adagrad" else 3)
    assert "in all" in capsys.readouterr().out


def test_check_passes_what_it_recorded_and_names_what_fell(tmp_path, tiny_cases, capsys):
    record = tmp_path / "baseline.json"
    options = ["--threads", "1", "--against", str(record)]
    with pytest.raises(SystemExit):
        check.main(options)
    assert "write it with --record" in capsys.readouterr().err
    assert check.main([*options, "--record"]) == 0
    recorded = json.loads(record.read_text())
    assert {(row["case"], row["loss"]) for row in recorded["results"]} == {("tiny", "bpr"), ("tiny", "warp")}

    def check_with(factor):
        changed = json.loads(record.read_text())
        for row in changed["results"]:
            side = row["sides"]["lightfm"]
            side["time over ours"]["median"] *= factor if row["loss"] == "bpr" else 1e-6
            side["precision@10"] = [1000.0]
            side["time to its precision over ours"] = {}  # of so few users it is chance
        changed["machine"]["build"]["level"] = "another"
        (tmp_path / "changed.json").write_text(json.dumps(changed))
        status = check.main(["--threads", "1", "--against", str(tmp_path / "changed.json")])
        return status, capsys.readouterr().out

    status, printed = check_with(1e-6)
    assert status == 0
    assert "0 of 2 fell by more than 25%" in printed
    assert "build level is another than in the record" in printed
    status, printed = check_with(1e6)
    assert status == 1
    assert "1 of 2 seem to have fallen: once more" in printed
    assert "1 of 2 fell by more than 25%" in printed
    assert printed.count("FELL") == 1


def test_fallen_is_what_lost_more_than_the_tolerance():
    recorded = {("a", "bpr", 1): {check.SPEED: 10.0, check.QUALITY: 1.0}}
    for speed, quality, has_fallen in [(8.1, 0.9, False), (7.9, 1.0, True), (12, 0.7, True)]:
        fresh = {("a", "bpr", 1): {check.SPEED: speed, check.QUALITY: quality}, ("b", "bpr", 1): {check.SPEED: 0.1}}
        assert check.fallen(recorded, fresh, 0.2) == [("a", "bpr", 1)] * has_fallen


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the loops that epochs are compared with")
@pytest.mark.skipif(
    lightfm_fast.show_config("dicts")["level"] not in limits.FLAGS, reason="the loops are for AVX2 and AVX-512"
)
def test_limits_are_measured_of_both_losses(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SIZES", (60, 50, 600))
    limits.main(["--json", str(tmp_path / "limits.json")])
    results = json.loads((tmp_path / "limits.json").read_text())["results"]
    assert [row["loss"] for row in results] == ["logistic", "bpr"]
    assert all(row["nanoseconds a sample"][part] > 0 for row in results for part in limits.PARTS)
    assert all(row[f"epoch over {limit}"]["median"] > 0 for row in results for limit in ("limit", "both"))


def test_pictures_are_drawn_of_every_kind_of_result(tmp_path, tiny_cases, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(plots, "IN_CURVES", ("tiny",))
    train_tiny(tmp_path / "train.json")
    judged = memory.judge({"before fit": 1000, "peak": 1600, "interactions": 300, "parameters": 200})
    for name, rows in {
        "memory": [{"case": "tiny", "threads": threads, **judged} for threads in (1, 2)],
        "scale": [
            {"loss": "bpr", "threads": 1, "growth": {}, "sizes": {n: {"ns an interaction": [n]} for n in ("10", "20")}}
        ],
        "other": [{"loss": "bpr"}],
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"options": {}, "results": rows}))
    plots.main(["--results", str(tmp_path), "--output", str(tmp_path / "images")])
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "images").iterdir()}
    assert set(drawn) == {"precision_on_the_clock.png", "training.png", "memory.png", "growth.png"}
    assert all(content.startswith(b"\x89PNG") for content in drawn.values())
    assert "nothing to draw in other.json" in capsys.readouterr().out


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.relative_to(pages.ROOT).as_posix())
def test_tables_of_figures_are_made_from_results(page):
    text = page.read_text(encoding="utf-8")
    assert pages.render(text, page.parent) == text, "run python -m benchmarks.pages"
    if page.name not in (
        "NOTES.md",
        "algorithm.md",
    ):  # a lab notebook; a worked example that test_algorithm_page recomputes
        typed = re.sub(r"<!-- figures: .*?<!-- end of figures -->", "", text, flags=re.DOTALL)
        cells = [cell for line in typed.splitlines() if line.startswith("|") for cell in line.strip("|").split("|")]
        assert [cell for cell in cells if re.fullmatch(r"[\s*]*-?[\d,]+\.\d+[\s\d.,*±()/%-]*", cell)] == []


def test_typed_figures_are_written_over():
    block = "<!-- figures: {} -->\n| typed | 1.0 |\n<!-- end of figures -->"
    page = f"before\n{block.format('scale')}\nbetween\n{block.format('memory')}\nafter\n"
    written = pages.render(page, pages.ROOT / "docs")
    assert "typed" not in written
    assert re.findall(r"^\w+$", written, re.MULTILINE) == ["before", "between", "after"]
    assert "../benchmarks/results/memory.json" in written
    assert pages.render(written, pages.ROOT / "docs") == written
    with pytest.raises(KeyError, match="no-such-table"):
        pages.render(block.format("no-such-table"), pages.ROOT)


def test_tables_of_training_name_the_level_of_other_builds(tmp_path, monkeypatch):
    for name, level in {"train_identity": "x86_64_v4", "train_identity_x86_64_v3": "x86_64_v3"}.items():
        content = json.loads((summaries.RESULTS / "train_identity.json").read_text())
        content["machine"]["build"]["level"] = level
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    monkeypatch.setattr(summaries, "RESULTS", tmp_path)
    monkeypatch.setattr(summaries, "TRAINED", ["train_identity", "train_not_measured_yet"])
    monkeypatch.setattr(summaries, "HEADLINE", {"train_identity": "ids"})
    for summary, title in ((summaries.training(), "identity, bpr"), (summaries.headline(), "ids")):
        assert list(summary.files) == ["train_identity", "train_identity_x86_64_v3"]
        cells = {row[0]: row[1:] for row in summary.rows}
        assert cells[title] == cells[f"{title} (AVX2)"]


def test_every_summary_is_on_a_page():
    placed = [name for page in pages.PAGES for name, _ in pages.BLOCK.findall(page.read_text(encoding="utf-8"))]
    assert set(placed) == set(pages.SUMMARIES)


def test_the_tables_of_quality_begin_where_the_preset_is_behind(monkeypatch):
    def rows(name, kind, ours, **others):
        """A row for each method; the preset's difference to another has an error of 0.01."""
        against = {other: {"difference": ours - value, "error": 0.01} for other, value in others.items()}
        means = {"preset-fast": ours, "left-out": ours - 0.1, **others}
        shared = {"set": name, "kind": kind, "against": against, "chosen": {"setting": f"of-{kind}"}}
        return [
            {**shared, "method": method, "ndcg": {"mean": mean, "seeds": [mean] * 5}} for method, mean in means.items()
        ]

    results = [
        *rows("frappe", "warm", 0.50, ease=0.44, lightfm=0.20),
        *rows("gowalla", "warm", 0.31, ease=0.30),
        *rows("lastfm-2k", "warm", 0.33, ease=0.30, popularity=0.1),
        *rows("ml-100k", "warm", 0.27, ease=0.30),
        *rows("ml-100k-new-users", "new users", 0.5, ridge=0.2),
    ]
    monkeypatch.setattr(summaries, "load", lambda name: {"results": results})
    table = summaries.quality_warm()
    assert table.header[4:] == ["LightFM", "EASE", "popularity"]
    assert [row[1] for row in table.rows] == [
        "behind: -0.0300 ± 0.0100 to EASE",
        "even: +0.0100 ± 0.0100 to EASE",
        "ahead: +0.0300 ± 0.0100 to EASE",
        "well ahead: +0.0600 ± 0.0100 to EASE",
    ]
    assert table.rows[0][2:] == ["0.2700", "0.1700", "", "**0.3000**", ""]
    assert table.about == "5 seeds. Chosen without the set: `of-warm`."
    assert summaries.quality_standing().rows == [
        ["known users and items", "4", "1", "1", "1", "1", summaries.TASKS["ml-100k"]],
        ["new items", "0", "0", "0", "0", "0", ""],
        ["new users", "1", "0", "0", "0", "1", ""],
    ]
    assert set(summaries.TASKS) == set(quality_sets.SETS)


def test_pages_are_checked_without_writing(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text("<!-- figures: scale -->\n<!-- end of figures -->\n")
    monkeypatch.setattr(pages, "PAGES", (page,))
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    assert pages.main(["--check"]) == 1
    assert "BPR" not in page.read_text()
    assert pages.main([]) == 0
    assert "BPR" in page.read_text()
    assert pages.main(["--check"]) == 0
    assert capsys.readouterr().out == "out of date: page.md\nwritten: page.md\n"


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


def judge_plainly(scores, split):
    """NDCG and recall of each user with something held out, by sorting everything."""
    allowed = np.ones(scores.shape[1], bool) if split.candidates is None else np.zeros(scores.shape[1], bool)
    allowed[[] if split.candidates is None else split.candidates] = True
    for row, seen, held in zip(scores, split.train.toarray() > 0, split.held_out.toarray() > 0, strict=True):
        if held.any():
            ranked = [item for item in np.argsort(-row) if allowed[item] and not seen[item]][: ranking_quality.K]
            gains = [held[item] / np.log2(place + 2) for place, item in enumerate(ranked)]
            ideal = sum(1 / np.log2(place + 2) for place in range(min(ranking_quality.K, held.sum())))
            yield sum(gains) / ideal, held[ranked].sum() / held.sum()


@pytest.mark.parametrize("candidates", [None, np.arange(10, 40)])
def test_quality_judges_as_its_definition(candidates):
    rng = np.random.default_rng(0)
    cell = rng.random((30, 60))
    held_out = sp.csr_matrix(cell < 0.1, dtype=np.float32)
    if candidates is not None:
        held_out = sp.csr_matrix(held_out.toarray() * np.isin(np.arange(60), candidates))
    split = quality_sets.Split(sp.csr_matrix(cell > 0.8, dtype=np.float32), held_out, candidates=candidates)
    scores = rng.random((30, 60))
    judged = np.transpose(ranking_quality.judge(lambda users: scores[users], split))
    np.testing.assert_allclose(judged, list(judge_plainly(scores, split)), rtol=1e-6)


def test_objectives_are_timed_against_bpr(tmp_path, monkeypatch, capsys):
    tiny = Case("tiny", users=60, items=40, interactions=900)
    monkeypatch.setattr(objectives, "CASES", [tiny])
    monkeypatch.setattr(objectives, "MEASURED", ["tiny"])
    path = tmp_path / "objectives.json"
    before = Path(lightfm_fast.__file__).parents[1]
    objectives.main(["--threads", "1", "--epochs", "3", "--json", str(path), "--before", str(before)])
    rows = json.loads(path.read_text())["results"]
    assert rows[0]["negatives"] == 4
    seconds = rows[0]["seconds an epoch"]
    assert rows[0]["time over before's"] == harness.paired_ratio(seconds["fast before"], seconds["fast"])
    assert [row["objective"] for row in rows] == ["fast", "warp", "ranking"]
    for row in rows:
        own, base = (row["seconds an epoch"][name] for name in (row["objective"], "bpr"))
        assert len(own) == len(base) == 2
        assert row["time over BPR's"] == harness.paired_ratio(base, own)
    assert [row["target"] for row in rows] == [1.7, None, None]
    assert "over BPR's, paired" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        objectives.main(["--epochs", "1"])


@pytest.fixture
def asked_splits(monkeypatch):
    """The seed of each split of the only set, and whether the split was for tuning."""
    data = make_interactions(60, 40, 900)
    interactions = data["train"].tocsr() + data["test"].tocsr()
    asked = []

    def load(seed, tuning):
        asked.append((seed, tuning))
        return quality_sets.random_split(interactions, data["item_features"], seed, tuning)

    monkeypatch.setattr(ranking_quality, "SETS", {"tiny": load})
    monkeypatch.setattr(ranking_quality, "TASKS", {"tiny": {"tiny": load}})
    return asked


def test_quality_tunes_on_the_validation_part_and_reports_the_test_part(tmp_path, asked_splits, capsys):
    path = tmp_path / "tiny.json"
    methods = "preset,tuned,ease,popularity,content,warp-l2-1"
    arguments = f"--sets tiny --methods {methods} --trials 2 --seeds 2 --threads 1 --json"
    ranking_quality.main([*arguments.split(), str(path)])
    rows = json.loads(path.read_text())["results"]
    assert [row["method"] for row in rows] == methods.split(",")
    assert [row["trials"] for row in rows] == [0, 2, 2, 0, 0, 0]
    assert asked_splits == [(0, True), (0, False), (1, False)]  # each is kept for the other methods
    for row in rows:
        assert row["part"] == "test"
        assert 0 < row["ndcg"]["mean"] < 1
        assert row["ndcg"]["error over users"] > 0
        assert len(row["recall"]["seeds"]) == 2
    assert "tiny, ease: ndcg@20" in capsys.readouterr().out
    again = tmp_path / "again" / "tiny.json"
    again.parent.mkdir()
    ranking_quality.main([*arguments.replace("--trials 2", f"--tuned-in {path}").split(), str(again)])
    for row, earlier in zip(json.loads(again.read_text())["results"], rows, strict=True):  # nothing is tuned again
        assert [row[of] for of in ("chosen", "trials", "ndcg")] == [earlier[of] for of in ("chosen", "trials", "ndcg")]
    pytest.importorskip("matplotlib")
    plots.main(["--results", str(tmp_path), "--output", str(tmp_path)])
    assert (tmp_path / "quality.png").read_bytes().startswith(b"\x89PNG")


def test_tuning_is_compared_with_the_preset(tmp_path, asked_splits, monkeypatch, capsys):
    pytest.importorskip("optuna")
    monkeypatch.setattr(tuning, "SETS", ranking_quality.SETS)
    path = tmp_path / "tuning.json"
    options = ["--sets", "tiny", "--seeds", "1", "--threads", "1", "--kept", str(tmp_path), "--json", str(path)]
    tuning.main([*options, "--budget", "2trials"])
    (row,) = json.loads(path.read_text())["results"]
    tuning.main([*options, "--budget", "9trials"])  # measures nothing again
    assert json.loads(path.read_text())["results"] == [row]
    assert asked_splits == [(0, False)]
    assert row["budget"] == "2trials"
    assert row["trials"] == 2
    assert row["difference"] == pytest.approx(row["tuned"] - row["preset"])
    assert row["difference"] == 0 or not row["is preset"]
    assert row["epochs trained"] > 40
    assert row["seconds"] > 0


OURS_AND_OTHERS = "preset-fast,content,ease,item-knn,popularity"


def leave_one_set_out(folder, *arguments):
    """The rows by set and method, of two sets that differ in their seeds, nothing measured twice."""
    path = folder / "rows.json"
    options = (
        f"--leave-one-set-out --candidates preset-fast,fast-l2-0.06,warp-l2-1 --methods {OURS_AND_OTHERS} "
        "--trials 2 --seeds 2 --threads 1"
    )
    ranking_quality.main([*options.split(), "--kept", str(folder), "--json", str(path), *arguments])
    return {(row["set"], row["method"]): row for row in json.loads(path.read_text())["results"]}


def kept_runs(folder, name, method, part):
    """Return the kept results of each seed."""
    return [json.loads(path.read_text()) for path in sorted((folder / name / method).glob(f"{part}-*.json"))]


def test_quality_leaves_out_the_set_that_it_judges(tmp_path, monkeypatch):
    data = make_interactions(60, 40, 900)
    interactions = data["train"].tocsr() + data["test"].tocsr()
    # Other interactions in each set, so that a setting that is best on one need not be on another.
    tasks = {
        source: {
            f"{source}-{part}": lambda seed, tuning, shift=shift: quality_sets.random_split(
                interactions, data["item_features"], seed + shift, tuning
            )
            for part, shift in parts.items()
        }
        for source, parts in {"one": {"a": 0, "b": 100}, "two": {"a": 200}, "three": {"a": 300}}.items()
    }
    monkeypatch.setattr(ranking_quality, "TASKS", tasks)
    monkeypatch.setattr(
        ranking_quality, "SETS", {name: task for of_set in tasks.values() for name, task in of_set.items()}
    )
    monkeypatch.setattr(harness, "choices_of", lambda known: lambda text: text.split(","))
    names = ",".join(ranking_quality.SETS)
    rows = leave_one_set_out(tmp_path, "--sets", names)
    assert len(rows) == 4 * 6

    candidates = ("preset-fast", "fast-l2-0.06", "warp-l2-1")
    reached = {
        name: [np.mean(kept_runs(tmp_path, name, candidate, "validation")[0]["ndcg"]) for candidate in candidates]
        for name in ranking_quality.SETS
    }
    shares = {name: np.array(values) / max(values) for name, values in reached.items()}
    of_sets = {source: np.mean([shares[name] for name in of_set], axis=0) for source, of_set in tasks.items()}
    for (name, method), row in rows.items():
        if method == "left-out":
            others = [of_set for source, of_set in of_sets.items() if not name.startswith(source)]
            assert row["chosen"]["setting"] == candidates[np.argmax(np.mean(others, axis=0))]
        if method not in ("left-out", "preset-fast"):
            assert "against" not in row
            continue
        own = kept_runs(tmp_path, name, row["chosen"].get("setting", method), "test")
        for other, found in row["against"].items():
            theirs = kept_runs(tmp_path, name, other, "test")
            of_users = {}
            for mine, its in zip(own, theirs, strict=True):
                for user, a, b in zip(mine["users"], mine["ndcg"], its["ndcg"], strict=True):
                    of_users.setdefault(user, []).append(a - b)
            mean = np.mean([value for values in of_users.values() for value in values])
            sums = [sum(value - mean for value in values) for values in of_users.values()]
            error = np.std(sums, ddof=1) * np.sqrt(len(sums)) / sum(map(len, of_users.values()))
            assert found["difference"] == pytest.approx(mean, abs=1e-6)
            assert found["error"] == pytest.approx(error, rel=1e-3)
        assert set(row["against"]) == {"content", "ease", "item-knn", "popularity"}

    def fails(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(ranking_quality, "judge", fails)
    assert leave_one_set_out(tmp_path, "--sets", names) == rows
    with pytest.raises(AssertionError, match="measured again"):
        leave_one_set_out(tmp_path, "--sets", names, "--again", "preset-fast")


def test_constants_are_chosen_without_the_set_that_they_are_judged_on(tmp_path, monkeypatch):
    data = make_interactions(90, 60, 1500, n_tags=8)
    whole = (data["train"] + data["test"]).tocsr()
    tags = data["item_features"][:, whole.shape[1] :]
    new_items = quality_sets._new_items(lambda: whole, lambda: tags)
    tasks = {
        source: {f"{source}-new-items": lambda seed, tuning, shift=shift: new_items(seed + shift, tuning)}
        for source, shift in {"one": 0, "two": 100, "three": 200}.items()
    }
    sets = {name: task for of_set in tasks.values() for name, task in of_set.items()}
    for module in (ranking_quality, quality_constants):
        monkeypatch.setattr(module, "TASKS", tasks)
        monkeypatch.setattr(module, "SETS", sets)
    names = ("STRENGTH", "_LEAST_ERRORS", "LONG_RUN", "learning_rate")
    path, kept = tmp_path / "constants.json", tmp_path / "kept"
    arguments = ["--constants", ",".join(names), "--sets", ",".join(sets), "--seeds", "2"]
    quality_constants.main([*arguments, "--kept", str(kept), "--json", str(path)])
    rows = json.loads(path.read_text())["results"]
    assert [(row["constant"], row["set"]) for row in rows] == [(name, task) for name in names for task in sets]
    for row in rows:
        means = {}
        for value in map(str, quality_constants.CONSTANTS[row["constant"]].values):
            method = "preset-fast" if value == row["present"] else f"fast-{row['constant']}-{value}"
            means[value] = {
                name: np.mean([np.mean(run["ndcg"]) for run in kept_runs(kept, name, method, "validation")])
                for name in sets
            }
        best = {name: max(of_value[name] for of_value in means.values()) for name in sets}
        others = {
            value: np.mean([of_value[name] / best[name] for name in sets if name != row["set"]])
            for value, of_value in means.items()
        }
        assert row["shares of the other sets"] == pytest.approx(others)
        assert row["chosen"] == max(others, key=others.get)
    split = sets["one-new-items"](0, False)
    whole_fit = METHODS["preset-fast"].train(split, {}, 0, 1)  # constants share a model; the preset trains its own
    (run, _) = kept_runs(kept, "one-new-items", "preset-fast", "test")
    assert run["ndcg"] == pytest.approx(ranking_quality.judge(whole_fit, split)[0], abs=1e-6)


def test_race_is_timed_against_the_strength_that_it_finds(tmp_path, monkeypatch):
    data = make_interactions(90, 60, 1500)
    split = quality_sets.Split(data["train"].tocsr(), data["test"].tocsr())
    monkeypatch.setattr(race, "SETS", {"tiny": lambda seed, tuning: split})
    path = tmp_path / "race.json"
    race.main(["--sets", "tiny", "--rounds", "2", "--json", str(path)])
    (row,) = json.loads(path.read_text())["results"]
    assert row["found"] > 0
    seconds = row["processor seconds"]
    assert row["time over given"] == harness.paired_ratio(seconds["given"], seconds["auto"])


def test_quality_ridge_is_least_squares_of_known_users():
    data = make_interactions(30, 20, 300, random_state=0)
    tags = np.random.default_rng(0).integers(0, 2, (30, 4))
    train = data["train"].toarray() * (np.arange(30) < 24)[:, None]
    features = sp.csr_matrix(np.hstack([np.diag(np.arange(30) < 24), tags]))
    split = quality_sets.Split(sp.csr_matrix(train), sp.csr_matrix((30, 20)), user_features=features, kind="new users")
    scores = METHODS["ridge"].train(split, {"regularization": 2.0}, 0, 1)(np.arange(24, 30))
    known = train.sum(axis=1) > 0
    weights = np.linalg.solve(tags[known].T @ tags[known] + 2 * np.eye(4), tags[known].T @ train[known])
    np.testing.assert_allclose(scores, tags[24:] @ weights, atol=1e-6)


def test_quality_by_the_validation_part_is_no_part_of_the_picture(tmp_path, asked_splits, capsys):
    path = tmp_path / "tiny.json"
    arguments = "--sets tiny --methods fast-l2-0.03,fast-l2-0.06 --validation --seeds 2 --threads 1 --json"
    ranking_quality.main([*arguments.split(), str(path)])
    rows = json.loads(path.read_text())["results"]
    assert [row["part"] for row in rows] == ["validation"] * 2
    assert asked_splits == [(0, True), (1, True)]
    assert rows[0]["ndcg"]["seeds"] != rows[1]["ndcg"]["seeds"]
    pytest.importorskip("matplotlib")
    plots.main(["--results", str(tmp_path), "--output", str(tmp_path)])
    assert "nothing to draw in tiny.json" in capsys.readouterr().out


def test_quality_parts_do_not_overlap():
    interactions = make_interactions(60, 40, 900)["train"].tocsr()
    tuning, final = (quality_sets.random_split(interactions, None, 0, is_tuning) for is_tuning in (True, False))
    assert (tuning.train.multiply(tuning.held_out)).nnz == 0
    assert (final.train.multiply(final.held_out)).nnz == 0
    assert ((tuning.train + tuning.held_out) != final.train).nnz == 0
    assert final.train.nnz + final.held_out.nnz == interactions.nnz


@pytest.mark.skipif(
    not Path(os.environ.get("LIGHTFM_FAST_DATA", ""), "frappe.npz").is_file(),
    reason="LIGHTFM_FAST_DATA names no folder with ml-100k.zip and frappe.npz",
)
@pytest.mark.parametrize("name", [name for name in quality_sets.SETS if name.startswith(("ml-", "frappe"))])
def test_quality_tasks_hold_out_what_they_say(name):
    tuning, final = (quality_sets.SETS[name](3, is_tuning) for is_tuning in (True, False))
    for split in (tuning, final):
        assert split.held_out.nnz > 1000
        assert split.train.multiply(split.held_out).nnz == 0
        for features in (split.user_features, split.item_features):
            assert features is None or np.allclose(features.sum(axis=1), 1)
        if split.kind == "new items":
            assert set(split.held_out.indices) <= set(split.candidates)
            assert not np.isin(split.train.indices, split.candidates).any()
            assert split.item_features[:, : split.train.shape[1]].diagonal()[split.candidates].sum() == 0
        if split.kind == "new users":
            new = np.diff(split.held_out.indptr) > 0
            assert not np.diff(split.train.indptr)[new].any()
            assert not split.user_features[:, : len(new)].diagonal()[new].any()
            assert (split.user_features[new].getnnz(axis=1) > 0).all()
    assert final.train.multiply(tuning.train).nnz == tuning.train.nnz


def test_quality_tasks_are_of_one_data_set_each():
    assert sum(map(len, quality_sets.TASKS.values())) == len(quality_sets.SETS)
    for source, tasks in quality_sets.TASKS.items():
        assert all(name.startswith(source) for name in tasks)


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ([0.5, 0.7], [0.4, 0.6], "at least"),
        ([0.50, 0.52, 0.48], [0.51, 0.50, 0.50], "within the spread"),
        ([0.50, 0.52, 0.48], [0.61, 0.62, 0.59], "BELOW"),
        ([0.5], [0.6], "below, one seed"),
    ],
)
def test_verdict(ours, theirs, verdict):
    assert harness.verdict(ours, theirs) == verdict


def test_index_benchmark_runs(tmp_path):
    sizes = ("--users", "60", "--items", "50", "--interactions", "600", "--no-components", "4", "--catalogues", "90")
    index.main([*sizes, "--epochs", "1", "--requests", "5", "--engines", "lightfm_fast", "--json", str(tmp_path / "a")])
    (row,) = json.loads((tmp_path / "a").read_text())["results"]
    assert row["searches"][-1]["recall"] == row["recall when loaded"] == 1
    assert 0 < row["searches"][-1]["p50 ms"] <= row["searches"][-1]["p99 ms"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the benchmark asks for workers, which are forked")
def test_serve_benchmark_runs(tmp_path):
    sizes = ("--catalogues", "50", "--indexed-from", "50", "--no-components", "4", "--workers", "1")
    serve.main([*sizes, "--seconds", "0.2", "--connections", "2", "--json", str(tmp_path / "a")])
    rows = json.loads((tmp_path / "a").read_text())["results"]
    assert [(row["index"], row["failed"]) for row in rows] == [(False, 0), (True, 0)]
    assert all(0 < row["p50 ms"] <= row["p99 ms"] for row in rows)


def test_recommend_benchmark_runs(tmp_path, capsys):
    path = tmp_path / "recommend.json"
    sizes = ("--users", "60", "--items", "50", "--interactions", "600", "--no-components", "4", "--catalogue", "90")
    sizes = (*sizes, "--featured", "40")
    recommend.main([*sizes, "--epochs", "1", "--requests", "5", "--n", "3", "--threads", "1", "--json", str(path)])
    results = json.loads(path.read_text())["results"]
    served = [result for result in results if "served by" in result]
    assert {result["items"] for result in served if result["served by"] == "exact, 1 thread(s)"} == {50, 90}
    assert all(0 < result["p50 ms"] <= result["p99 ms"] for result in served)
    featured = [result for result in results if "request" in result]
    assert [result["features of"] for result in featured] == ["40 items"] * 3 + ["20 users"] * 3
    assert all(result["p50 ms"] > 0 for result in featured)
    assert "one user a request" in capsys.readouterr().out
    pytest.importorskip("implicit", reason="the agreement with implicit's lists needs implicit")
    agreement = [result["same id in the same place"] for result in results if "seconds" in result]
    assert agreement
    assert min(agreement) > 0.99


def test_fold_in_benchmark_runs(tmp_path, capsys):
    path = tmp_path / "results" / "fold_in.json"
    fold_in.main(
        [
            *("--users", "60", "--items", "30", "--interactions", "600", "--no-components", "4", "--epochs", "2"),
            *(
                "--held-out",
                "10",
                "--losses",
                "warp",
                "--threads",
                "1",
                "--seeds",
                "2",
                "--k",
                "5",
                "--json",
                str(path),
            ),
        ]
    )
    assert "folded in" in capsys.readouterr().out
    (result,) = json.loads(path.read_text())["results"]
    assert 0.1 < result["recall, folded in"]["mean"] < 1
    assert result["users a second"]["mean"] > 0


def test_recall_and_ndcg_of_new_items():
    k = features_cold.K
    liked = np.zeros((3, k + 10))
    liked[0, [0, 2, k + 5]] = 1  # the first and the third of the ranking, and one beyond its end
    liked[1, :] = 1
    model = harness.Factors(np.ones((3, 1)), -np.arange(k + 10.0).reshape(-1, 1))
    measured = features_cold.measure(model, sp.csr_matrix(liked))  # the third user likes nothing
    ndcg = (1 + 1 / np.log2(4)) / (1 + 1 / np.log2(3) + 1 / np.log2(4))
    assert measured[f"recall@{k}"] == pytest.approx((2 / 3 + k / (k + 10)) / 2)
    assert measured[f"NDCG@{k}"] == pytest.approx((ndcg + 1) / 2)


def test_new_items_are_hidden_in_training_and_known_by_their_tags():
    likes = sp.csc_matrix(np.ones((7, 300), np.float32))
    data = {"likes": likes, "tags": [[f"tag {paper % 4}", "all"] for paper in range(300)]}
    for validation, n_known in ((False, 240), (True, 180)):
        task = features_cold.make_task(data, "fields normalised", 0, validation)
        assert task.train.shape == (7, n_known)
        assert task.test.shape == (7, 60)
        np.testing.assert_array_equal(task.known[:, :n_known].toarray(), np.eye(n_known))
        assert task.new[:, :n_known].nnz == 0
        for features in (task.known, task.new):
            np.testing.assert_allclose(features[:, n_known:].power(2).sum(axis=1), 1, rtol=1e-6)
    divided = features_cold.make_task(data, "divided by their sum", 0, False)
    for features in (divided.known, divided.new):
        np.testing.assert_allclose(features.sum(axis=1), 1, rtol=1e-6)


def test_new_items_benchmark_runs(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    tags = rng.integers(5, size=300)
    likes = sp.csc_matrix((rng.random((40, 300)) < np.where(np.arange(40)[:, None] % 5 == tags, 0.4, 0.02)) * 1.0)
    data = {"likes": likes, "tags": [[f"tag {tag}"] for tag in tags]}
    monkeypatch.setattr(features_cold, "read", lambda: data)
    features_cold.main(["--seeds", "1", "--sides", "dropout", "--json", str(tmp_path / "cold.json")])
    results = json.loads((tmp_path / "cold.json").read_text())["results"]
    assert [result["side"] for result in results] == ["fields normalised, identity dropout"]
    assert results[0][f"recall@{features_cold.K}"] > 0.9  # of 60, 50 are shown
    assert "divided by their sum" not in capsys.readouterr().out


def test_encoders_are_compared_where_ids_are_unknown(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    n_rows = 3000
    age, year = rng.integers(18, 60, 200), 1950.0 + rng.integers(0, 50, 100)
    user, film = rng.integers(200, size=n_rows), rng.integers(100, size=n_rows)
    table = {
        **{"user": user, "film": film, "age": age[user], "year": year[film], "hour": rng.random(n_rows) * 24},
        "rating": 3.0 + np.abs(age[user] - 40) / 10 + rng.normal(0, 0.1, n_rows),
        "sex": np.array(["F", "M"])[rng.integers(2, size=200)][user],
        "occupation": np.array(["a", "b"])[rng.integers(2, size=200)][user],
        "genres": np.array([None] * n_rows),
    }
    monkeypatch.setattr(features_numeric, "read", lambda: table)
    tasks = {name: task for name, task in features_numeric.TASKS.items() if task[0] in ("age", "hour")}
    monkeypatch.setattr(features_numeric, "TASKS", tasks)
    features_numeric.main(["--seeds", "1", "--json", str(tmp_path / "numeric.json")])
    results = json.loads((tmp_path / "numeric.json").read_text())["results"]
    of_age = {result["encoder"]: result["RMSE"] for result in results if result["task"] == "age of new users"}
    # ratings fall and rise with the age, so a linear effect cannot help
    assert of_age["PiecewiseLinear(10)"] < 0.5 * of_age["none"]
    assert of_age["Standardized()"] > 0.9 * of_age["none"]
    assert "Periodic(24, 8)" in capsys.readouterr().out


def test_context_benchmark_runs_without_peers(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    data = {
        "user": rng.integers(30, size=900),
        "item": rng.integers(20, size=900) // 4 * 4,
        "shape": (30, 20),
        "item_features": {"app kind": sp.csc_matrix(np.eye(4)[np.arange(20) % 4])},
        "context": {name: rng.integers(3, size=900) for name in frappe.CONTEXT},
    }
    monkeypatch.setattr(frappe, "_read", lambda: data)
    path = tmp_path / "frappe.json"
    frappe.main(["--seeds", "2", "--peers", "", "--rounds", "2", "--max-epochs", "3", "--json", str(path)])
    results = json.loads(path.read_text())["results"]
    assert [len(result["seconds an epoch"]) for result in results if "seconds an epoch" in result] == [2, 2]
    areas = [result["AUC"] for result in results if "AUC" in result]
    assert areas
    assert min(areas) > 0.9  # only one app in four was ever used
    assert "0.976 reached" in capsys.readouterr().out


@pytest.mark.parametrize("ids", ["short", "uuid"])
def test_tables_benchmark_makes_the_same_dataset_of_every_frame(tmp_path, monkeypatch, capsys, ids):
    for module in ("pandas", "polars", "pyarrow"):
        pytest.importorskip(module)
    monkeypatch.setattr(harness, "import_peer", {"lightfm.data": data}.get)
    monkeypatch.setattr(tables, "_in_new_process", tables.measure_peak)
    path = tmp_path / "tables.json"
    sizes = ["--rows", "500", "--users", "40", "--items", "30", "--ids", ids]
    tables.main([*sizes, "--rounds", "2", "--json", str(path)])
    results = json.loads(path.read_text())["results"]
    assert [result["frame"] for result in results] == list(tables.FRAMES)
    for result in results:
        assert result["same interactions"] is True
        assert result["time over ours"]["median"] > 0
        assert set(result["peak bytes beyond the table"]) == {"lightfm_fast", "LightFM"}
        assert len(result["seconds"]["LightFM"]) == 2
    assert "DIFFERENT" not in capsys.readouterr().out


def test_tables_benchmark_sees_a_difference():
    rows = [("a", "x"), ("b", "x"), ("a", "x")]
    made = []
    for order in (rows, rows[::-1], rows[:2]):
        users, items = map(list, zip(*order, strict=True))
        made.append(tables.of_ours({"user_id": users, "item_id": items}))
    assert tables._same(made[0], made[1])
    assert not tables._same(made[0], made[2])


def test_tables_benchmark_measures_memory_in_a_new_process(tmp_path):
    pytest.importorskip("pyarrow")
    n_rows = 400_000
    tables._write(tmp_path / "rows.arrow", tables._parse(["--rows", str(n_rows), "--users", "5", "--items", "5"]))
    measured = tables._in_new_process(tmp_path / "rows.arrow", "pyarrow", "ours")
    assert 2 * 4 * n_rows < measured < 200 * n_rows  # at least the users' and the items' int32 numbers


def test_evaluate_benchmark_runs_without_the_peer(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(harness, "import_peer", {}.get)
    path = tmp_path / "evaluate.json"
    sizes = ["--users", "60", "--items", "40", "--interactions", "600", "--no-components", "4", "--epochs", "1"]
    evaluate.main([*sizes, "--evaluated-users", "20", "--threads", "1", "--rounds", "2", "--json", str(path)])
    (result,) = json.loads(path.read_text())["results"]
    assert set(result["means"]) == {"lightfm_fast"}
    means = result["means"]["lightfm_fast"]
    assert set(means) == set(evaluate.METRICS)
    assert 0.5 < means["auc"] < 1
    assert "precision@10" in capsys.readouterr().out


def test_ranking_agrees_with_itself_and_is_timed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rank, "CASES", (TINY,))
    monkeypatch.setattr(harness, "import_peer", lambda name: Peer)
    options = ["--users", "40", "--epochs", "1", "--rounds", "2", "--no-components", "4"]
    rank.main([*options, "--json", str(tmp_path / "rank.json")])
    results = json.loads((tmp_path / "rank.json").read_text())["results"]
    assert [(row["task"], row["threads"]) for row in results] == [(task, n) for task in rank.TASKS for n in (1, 2)]
    for row in results:
        assert "40 users, 50 items" in row["data"]
        assert all(len(times) == 2 for times in row["seconds"].values())
        differences = [value for name, value in row["agreement"].items() if "differ" in name]
        assert len(differences) > 1
        assert max(differences) <= 1e-6
    printed = capsys.readouterr().out
    assert printed.count("reached") + printed.count("MISSED") == len(results)


def test_ranks_that_differ_are_counted_whatever_their_order():
    ours = sp.csr_matrix(([1.0, 2, 3], [0, 1, 2], [0, 2, 3]), shape=(2, 3))
    theirs = sp.csr_matrix(([2.0, 1, 5], [1, 0, 2], [0, 2, 3]), shape=(2, 3))
    agreement = rank._agreement({"ranks": ours}, {"ranks": theirs})
    assert list(agreement.values()) == [3, 1, 2]
    with pytest.raises(ValueError, match="different entries"):
        rank._agreement({"ranks": ours}, {"ranks": sp.csr_matrix(np.eye(2, 3))})


def test_recommend_to_benchmark_runs(tmp_path, capsys, monkeypatch):
    pytest.importorskip("pyarrow")
    path = tmp_path / "recommend_to.json"
    monkeypatch.setattr(recommend_to, "_in_new_process", recommend_to.measure)
    sizes = ("--users", "30,50", "--items", "40", "--seen", "3", "--no-components", "4", "--n", "5", "--rounds", "1")
    recommend_to.main([*sizes, "--threads", "1", "--json", str(path)])
    results = json.loads(path.read_text())["results"]
    assert [result["users"] for result in results] == [30, 50]
    for result in results:
        assert min(result["recommend"]["seconds"] + result["recommend_to"]["seconds"]) > 0
    assert "recommend / recommend_to" in capsys.readouterr().out


def test_sample_of_users_benchmark_runs(tmp_path, capsys):
    path = tmp_path / "sample.json"
    sizes = ("--users", "80", "--items", "40", "--interactions", "1500", "--no-components", "4", "--epochs", "2")
    sample_of_users.main([*sizes, "--threads", "1", "--seeds", "1", "--shares", "0.5", "--json", str(path)])
    assert "50 %, others folded in" in capsys.readouterr().out
    everybody, half = json.loads(path.read_text())["results"]
    assert everybody["lost"]["mean"] == 0
    assert everybody["ndcg"] - half["ndcg"] == pytest.approx(half["lost"]["mean"])


def test_sharded_benchmark_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(sharded, "_run", lambda action, *arguments: sharded.ACTIONS[action](*arguments))
    monkeypatch.setattr(sharded, "_capped", lambda cap: sharded.Peak())  # no limit for the tests' process
    monkeypatch.setattr(sharded, "ROWS_AT_ONCE", 5000)
    monkeypatch.setattr(sharded, "ROWS_OF_A_FILE", 10_000)
    path = tmp_path / "sharded.json"
    sizes = ("--interactions", "8000", "--users", "300", "--items", "200", "--epochs", "1", "--rounds", "1")
    large = ("--large", "16000", "--memory", "1MB", "--large-memory", "1MB", "--folder", str(tmp_path))
    sharded.main([*sizes, *large, "--threads", "1", "--json", str(path)])
    pair, alone = json.loads(path.read_text())["results"]
    assert alone["shards"] > 1 == pair["shards"]
    assert pair["ndcg@10, shards less memory"]["users"] > 10
    assert alone["interactions"] > pair["interactions"]
    assert alone["time over that in memory"] > 0
    assert not list(tmp_path.glob("tmp*"))


class LikeSpark(spark.Spark):
    """A stand-in for Spark, which is not installed here: scores by NumPy, and factors drawn at random."""

    @classmethod
    @contextmanager
    def started(cls, threads, options):
        yield cls(None)

    def processor_seconds(self):
        return time.process_time()

    def load(self, path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        document = json.loads((path / "metadata" / "part-00000").read_text())
        users, items = (
            np.stack(pq.read_table(path / f"{side}Factors").column("features").to_pylist()) for side in ("user", "item")
        )
        assert document["rank"] == users.shape[1]

        def write(folder, n, n_users=None):
            folder.mkdir(exist_ok=True)
            scores = users[::-1] @ items.T  # Spark's users come in any order
            best = np.argsort(-scores, axis=1)[:, :n]
            lists = [[{"item": int(item), "rating": 0.0} for item in row] for row in best]
            pq.write_table(
                pa.table({"user": np.arange(len(users))[::-1], "recommendations": lists}), folder / "0.parquet"
            )

        return write

    def train(self, path, shape, iterations, settings):
        rng = np.random.default_rng(iterations)
        return harness.Factors(*(rng.random((n, settings["rank"])) for n in shape))


def test_spark_benchmark_runs(tmp_path, capsys, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(spark, "Spark", LikeSpark)
    monkeypatch.setattr(harness, "import_peer", lambda module: None if module in ("lightfm", "implicit") else module)
    monkeypatch.setattr(spark.shutil, "which", lambda name: name)
    lists = ("--users", "40", "--items", "30", "--no-components", "4", "--n", "5", "--rounds", "1")
    training = ("--data", "generated", "--interactions", "900", "--epochs", "1,2", "--iterations", "1")
    spark.main([*lists, *training, "--threads", "1", "--folder", str(tmp_path), "--json", str(tmp_path / "spark.json")])
    of_lists, *trained = json.loads((tmp_path / "spark.json").read_text())["results"]
    assert of_lists["same id in the same place"] == 1
    assert [(row["name"], row["epochs"]) for row in trained] == [
        ("lightfm_fast, shards", 1), ("lightfm_fast, shards", 2), ("Spark ALS", 1),
    ]  # fmt: skip
    assert trained[1]["ndcg@20"] > trained[2]["ndcg@20"]
    assert trained[2]["chosen"] in spark.ALS_TRIALS
    assert "time over ours to it" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["spark.json"]


def test_spark_is_named_if_it_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(harness, "import_peer", lambda module: None)
    spark.main([])
    monkeypatch.setattr(harness, "import_peer", lambda module: module)
    monkeypatch.setattr(spark.shutil, "which", lambda name: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    spark.main([])
    assert "it needs Java" in capsys.readouterr().out


def test_time_to_equal_quality_is_that_the_least_that_finds_as_much():
    rows = [
        {
            "name": "lightfm_fast, shards",
            "threads": 2,
            "processor seconds": seconds,
            "ndcg@20": ndcg,
            "ndcg@20 of the tenth": ndcg,
        }
        for seconds, ndcg in ((1.0, 0.1), (2.0, 0.3), (4.0, 0.2))
    ]
    peer = {"name": "Spark ALS", "threads": 2, "processor seconds": 10.0, "ndcg@20": 0.2, "ndcg@20 of the tenth": 0.4}
    assert spark.until_equal(rows, peer) == 5
    assert spark.until_equal(rows, {**peer, "ndcg@20": None, "ndcg@20 of the tenth": 0.1}) == 10
    assert spark.until_equal(rows, {**peer, "ndcg@20": 0.4}) is None


def test_scaling_is_measured_and_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "dask_cost", lambda options: {"seconds a task": 1e-3})
    data = ["--data", "generated", "--interactions", "4000", "--users", "120", "--items", "50", "--components", "4"]
    runs = ["--workers", "4", "--rules", "damped sum,plain sum", "--epochs", "5", "--syncs", "2"]
    for _ in range(2):  # the second takes what was kept
        scaling.main([*data, *runs, "--kept", str(tmp_path / "kept"), "--json", str(tmp_path / "scaling.json")])
    one, damped, plain, cost = json.loads((tmp_path / "scaling.json").read_text())["results"]
    assert list(one["ndcg of epochs"]) == list("12345")
    assert list(damped["ndcg of epochs"]) == list("1234567")
    assert damped["rule"] == "damped sum"
    equal = [more for more in range(3) if damped["ndcg of epochs"][str(5 + more)] >= one["ndcg of epochs"]["5"]]
    assert damped["epochs more until equal"] == next(iter(equal), None)
    assert damped["ndcg of epochs"] != plain["ndcg of epochs"]
    assert damped["tasks"] == 4 * 2 * 7
    items, written = 50 * 4 * 10, damped["bytes a task writes"]
    expected = 2 * (items + written + (4 * written + items) / 1) / 1e9
    assert damped["modelled"]["moving"] == pytest.approx(expected)
    assert damped["modelled"]["Dask"] == pytest.approx(2 * (4 + 1) * cost["seconds a task"])
    plots.main(["--results", str(tmp_path), "--output", str(tmp_path)])
    assert (tmp_path / "scaling.png").exists()
