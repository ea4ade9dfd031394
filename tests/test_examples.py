"""The new user's first hour on MovieLens 100K, or on generated tables: examples/first_hour.py, and as commands.

Also the demo, examples/movielens.py, on an invented cinema.
"""

import ast
import io
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import lightfm_fast
from lightfm_fast.cli import main

sys.path.append(str(Path(__file__).parents[1]))  # last: the library tested may be an installed one

from benchmarks import first_hour

pd = pytest.importorskip("pandas")
for optional in ("matplotlib", "optuna", "uvicorn", "fastapi"):
    pytest.importorskip(optional)

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "examples" / "first_hour.py"
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(Path(lightfm_fast.__file__).parents[1]),
    "MPLBACKEND": "Agg",
    "NO_PROXY": "127.0.0.1",
}


def generated():
    """Return tables with the same columns: people like the films of one genre."""
    rng = np.random.default_rng(0)
    taste, genre = rng.integers(3, size=250), rng.integers(3, size=80)
    user, film = np.divmod(rng.choice(250 * 80, 6000, replace=False), 80)
    ratings = {"user_id": user + 1, "item_id": film + 1, "rating": np.where(taste[user] == genre[film], 5, 2)}
    users = {"user_id": np.arange(250) + 1, "age": rng.integers(16, 80, 250), "gender": rng.choice(["F", "M"], 250)}
    users["occupation"] = np.array(["artist", "writer", "student"])[taste]
    films = {"item_id": np.arange(80) + 1, "title": [f"No. {number}" for number in range(80)]}
    films["genres"] = np.array(["War|Drama", "Comedy", "Sci-Fi"])[genre]
    tables = {"ratings": {**ratings, "timestamp": np.arange(6000)}, "users": users, "films": films}
    return {name: pd.DataFrame(columns) for name, columns in tables.items()}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if (Path(os.environ.get("LIGHTFM_FAST_DATA", "none")) / "ml-100k.zip").exists():
        runpy.run_path(ROOT / "examples" / "movielens_csv.py")
    else:
        for name, table in generated().items():
            table.to_csv(f"{name}.csv", index=False)
    return tmp_path


def test_python(folder):
    code = SCRIPT.read_text(encoding="utf-8").split('"""')[2]
    assert len([line for line in code.splitlines() if line and not line.startswith("#")]) <= 25
    done = subprocess.run([sys.executable, SCRIPT], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *_, answer = done.stdout.splitlines()
    items = json.loads(ast.literal_eval(answer))["items"]
    assert len(items) == 10
    assert all(f"  {item['title']}  " in done.stdout for item in items[:5])  # as recommended without HTTP
    assert {item["title"] for item in items} <= set(pd.read_csv("films.csv")["title"])
    assert float(re.search(r"^auc +([\d.]+)", done.stdout, re.MULTILINE)[1]) > 0.7
    assert (folder / "why.png").stat().st_size > 10_000


def test_demo_without_movielens(monkeypatch, capsys):
    def refuse(size):
        raise OSError(f"no {size} here")

    monkeypatch.setattr("lightfm_fast.datasets.fetch_movielens_tables", refuse)
    runpy.run_path(ROOT / "examples" / "movielens.py", run_name="__main__")
    printed = capsys.readouterr().out
    assert "no 100k here" in printed
    ours, popularity = map(float, re.findall(r"^ndcg@10 +([\d.]+)", printed, re.MULTILINE))
    assert ours > 2 * popularity
    assert len(re.findall(r"^  [* ] \w", printed, re.MULTILINE)) == 25  # five lists
    assert re.search(r"^  \* ", printed, re.MULTILINE)


def answer_over_http(arguments, path):
    """Serve as the arguments say, but at a free port, and return what a path answers."""
    command = [sys.executable, "-m", "lightfm_fast", *arguments, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as service:
        try:
            address = re.search(r"http://\S+:\d+", service.stderr.readline())[0]
            without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with without_proxy.open(address + path, timeout=30) as answer:
                return json.load(answer)
        finally:
            service.terminate()


def test_commands(folder, capsys, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    commands = [shlex.split(line.replace("\\\n", " ")) for line in first_hour.commands()]
    assert len(commands) <= 8
    shown, served = {}, None
    for program, *arguments in commands:
        if program == "printf":
            text, _, path = arguments
            (folder / path).write_text(text.replace("\\n", "\n"))
        elif arguments[0] == "serve":
            served = arguments[:-1]  # without the &
        elif program == "curl":
            answer = answer_over_http(served, arguments[-1].removeprefix("http://127.0.0.1:8000"))
        else:
            assert main([*arguments, *(["--threads", "1", "--seed", "1"] if arguments[0] == "fit" else [])]) == 0
            shown[" ".join(arguments[:3])] = capsys.readouterr().out
    fitted, known, newcomer, similar, explained = shown.values()
    assert float(re.search(r"^auc +([\d.]+)", fitted, re.MULTILINE)[1]) > 0.7
    films = pd.read_csv("films.csv", dtype=str)
    title_of = dict(zip(films["item_id"], films["title"], strict=True))
    for text in (known, newcomer, similar):
        rows = pd.read_csv(io.StringIO(text), dtype=str)
        assert len(rows) == 5
        assert [title_of[item] for item in rows.iloc[:, 1]] == rows["title"].tolist()
    listed = pd.read_csv(io.StringIO(known), dtype=str)
    assert [item["title"] for item in answer["items"]] == listed["title"].tolist()
    assert title_of["50"] in explained
    assert (folder / "why.png").stat().st_size > 10_000
