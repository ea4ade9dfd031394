"""A forked child of a process that has used several threads uses one thread, warns, and never hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import lightfm_fast

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")

SETUP = """
import multiprocessing, os, sys, warnings
sys.path.insert(0, sys.argv[1])
import numpy as np, scipy.sparse as sp
from lightfm_fast import LightFM, FMClassifier
from lightfm_fast.evaluation import auc_score, evaluate
rng = np.random.RandomState(0)
TRAIN = sp.coo_matrix((rng.rand(60, 40) < 0.3).astype(np.float32))
TEST = sp.coo_matrix((rng.rand(60, 40) < 0.1).astype(np.float32))
X, Y = sp.random(50, 8, 0.5, format="csr", random_state=1), np.arange(50) % 2
USES = {
    "fit": lambda m: m.fit(TRAIN, num_threads=2).history_[0]["samples"],
    "fit_partial": lambda m: m.fit_partial(TRAIN, num_threads=2).history_[0]["samples"],
    "predict": lambda m: m.predict(np.arange(40), np.arange(40), num_threads=2).shape,
    "predict_rank": lambda m: m.predict_rank(TEST, num_threads=2).nnz,
    "recommend": lambda m: m.recommend(np.arange(60), n=3, num_threads=2).ids.shape,
    "similar_items": lambda m: m.similar_items([0, 1], num_threads=2).ids.shape,
    "evaluate": lambda m: list(evaluate(m, TEST, num_threads=2).mean),
    "auc_score": lambda m: auc_score(m, TEST, num_threads=2).shape,
    "fold_in_users": lambda m: m.fold_in_users(TRAIN, num_threads=2).biases.shape,
    "to_matrix_factorization": lambda m: m.to_matrix_factorization(num_threads=2).item_biases.shape,
    "FM fit": lambda m: FMClassifier(num_threads=2, epochs=2).fit(X, Y).n_iter_,
    "FM predict": lambda m: MACHINE.predict(X).shape,
}
MODEL = LightFM(loss="warp", random_state=1).fit(TRAIN, epochs=2)
MACHINE = FMClassifier(num_threads=1, epochs=2).fit(X, Y).set_params(num_threads=2)

def use(name):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        result = USES[name](MODEL)
        USES[name](MODEL)
    messages = [str(warning.message) for warning in found if "forked" in str(warning.message)]
    assert all(warning.category is RuntimeWarning for warning in found if "forked" in str(warning.message))
    return repr(result), messages
"""


def run(code):
    """Run code after the set-up in a process. If the process hangs, it is killed and the test fails."""
    root = str(Path(lightfm_fast.__file__).parents[1])
    command = [sys.executable, "-c", SETUP + textwrap.dedent(code), root]
    environment = {**os.environ}
    environment.pop("OPENBLAS_NUM_THREADS", None)  # NumPy's threads do not outlive a fork either
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_works_in_a_forked_child():
    shown = run("""
        expected = {name: use(name) for name in USES}
        assert not any(messages for _, messages in expected.values()), expected
        for name in USES:
            pid = os.fork()
            if not pid:
                try:
                    result, messages = use(name)
                    assert len(messages) == 1 and "num_threads=1" in messages[0] and "spawn" in messages[0], messages
                    assert result == expected[name][0], (result, expected[name])
                    os._exit(0)
                except BaseException as error:
                    print(name, repr(error), flush=True)
                    os._exit(1)
            assert os.waitpid(pid, 0)[1] == 0, name
        print("done")
    """)
    assert shown.endswith("done\n")


def test_a_pool_of_forked_processes_works():
    shown = run("""
        MODEL.fit_partial(TRAIN, num_threads=2)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(use, ["fit", "predict"]))
    """)
    assert shown.count("was forked") == 2


def test_a_child_forked_before_threads_ran_uses_them():
    shown = run("""
        pid = os.fork()
        if not pid:
            print(use("fit"), flush=True)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        print(use("fit"))
    """)
    assert "forked" not in shown


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_that_are_not_forked_from_threads_use_several(tmp_path, method):
    path = tmp_path / "program.py"
    path.write_text(
        SETUP + "if __name__ == '__main__':\n"
        "    MODEL.fit_partial(TRAIN, num_threads=2)\n"
        f"    with multiprocessing.get_context({method!r}).Pool(1) as pool:\n"
        "        print(pool.map(use, ['fit']))\n"
    )
    root = str(Path(lightfm_fast.__file__).parents[1])
    done = subprocess.run([sys.executable, str(path), root], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "forked" not in done.stdout + done.stderr


def test_a_copy_of_a_model_that_was_training_when_the_process_forked_trains():
    shown = run("""
        def fork(model):
            pid = os.fork()
            if not pid:
                try:
                    model.fit(TRAIN)
                except RuntimeError as error:  # the child, too, is inside of the parent's epochs
                    print(error, flush=True)
                print(len(copy.deepcopy(model).fit(TRAIN, epochs=3).history_), "epochs", flush=True)
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        import copy
        MODEL.fit(TRAIN, callbacks=[fork])
    """)
    assert "while the model trains" in shown
    assert "3 epochs" in shown
