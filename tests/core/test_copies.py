"""Merging the changes that several threads have made to a row."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast._losses import facts_of
from lightfm_fast._parameters import ParameterTable
from lightfm_fast._training_input import SideInput, TrainingInput

PULL = 0.3


def merged(then, changes, schedule):
    """Merge cells of shape (..., n_segments) and each thread's changes, in float64; see the core's DampedSum."""
    if schedule == "adadelta":
        return then + changes.mean(axis=0)
    seen, (moved, added) = then[..., 1], np.moveaxis(changes, -1, 0)

    def root(added):
        return np.sqrt(seen + added / 2) + PULL * added

    weight = then[..., 0] + (moved * root(added)).sum(axis=0) / root(added.sum(axis=0))
    return np.stack([weight, seen + added.sum(axis=0)], axis=-1)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
@pytest.mark.parametrize("one_hot", [True, False])
@pytest.mark.parametrize("n_components", [3, 32])
def test_changes_of_threads_are_merged(hooks, n_components, one_hot, schedule, n_threads):
    rng = np.random.RandomState(0)
    n_rows = 70  # more than parts
    table = ParameterTable(n_rows, n_components, schedule)
    table.rows[...], table.biases[...] = (rng.uniform(1, 2, array.shape) for array in (table.rows, table.biases))
    copied = np.arange(n_rows) if one_hot else rng.permutation(n_rows)[:66]
    then = [array.astype(np.float64) for array in (table.rows, table.biases)]
    changes = [rng.exponential(1, (n_threads, len(copied), array.shape[1])) for array in then]
    for change in changes:
        change[-1, ::3] = 0  # a row that one thread has not visited
    hooks.merge_copies(
        table.rows,
        table.biases,
        table.width,
        None if one_hot else np.zeros(2, dtype=np.int64),
        copied.astype(np.int32),
        PULL,
        *(change.astype(np.float32) for change in changes),
    )
    n_segments = table.rows.shape[1] // table.width
    for array, before, change, width in zip((table.rows, table.biases), then, changes, (table.width, 1), strict=True):
        n_used = n_segments * width  # Adadelta's biases have a place too many
        cells = before[copied, :n_used].reshape(len(copied), n_segments, width).swapaxes(1, 2)
        change = change[..., :n_used].reshape(n_threads, len(copied), n_segments, width).swapaxes(2, 3)
        expected = merged(cells, change, schedule).swapaxes(1, 2).reshape(len(copied), n_used)
        assert_allclose(array[copied, :n_used], expected, rtol=1e-3)
        others = np.setdiff1d(np.arange(n_rows), copied)
        assert_array_equal(array[others], before[others])


def test_one_thread_alone_keeps_its_changes(hooks):
    """The changes of a single thread are kept unchanged, however large."""
    rows, biases = np.ones((1, 32), dtype=np.float32), np.ones((1, 2), dtype=np.float32)
    changes = np.full((1, 1, 32), 1e4, dtype=np.float32), np.full((1, 1, 2), 1e4, dtype=np.float32)
    hooks.merge_copies(rows, biases, 16, None, np.zeros(1, dtype=np.int32), 1e3, *changes)
    assert_allclose(rows, 10_001, rtol=1e-5)
    assert_allclose(biases, 10_001, rtol=1e-5)


@pytest.mark.parametrize("n_threads", [2, 8])
def test_threads_that_reach_the_minimum_each_do_not_overshoot(hooks, n_threads):
    """(w - 1)^2 / 2 with noisy gradients, and enough steps for each thread to reach the minimum alone."""
    rng = np.random.RandomState(0)
    learning_rate, n_steps = 0.5, 2000
    rows, biases = np.zeros((1, 32), dtype=np.float32), np.ones((1, 2), dtype=np.float32)
    rows[:, 16:] = 1
    for _ in range(5):
        changes = np.zeros((n_threads, 1, 32), dtype=np.float32)
        for thread in range(n_threads):
            weight, seen = rows[0, :16].astype(np.float64), rows[0, 16:].astype(np.float64)
            for _ in range(n_steps):
                gradient = weight - 1 + rng.normal(0, 1, 16)
                weight = weight - learning_rate * gradient / np.sqrt(seen)
                seen += gradient**2
            changes[thread, 0] = np.concatenate([weight, seen]) - rows[0]
        hooks.merge_copies(
            rows,
            biases,
            16,
            None,
            np.zeros(1, dtype=np.int32),
            learning_rate,
            changes,
            np.zeros((n_threads, 1, 2), "f"),
        )
        assert np.abs(rows[0, :16] - 1).max() < 0.5


# --------------------------------------------------------------------------------------------------------- rounds


@pytest.mark.parametrize("n_threads", [2, 8])
@pytest.mark.parametrize("by_user", [False, True])  # with users, a task has all samples of its users
@pytest.mark.parametrize("n_copied", [0, 100, 3700])
@pytest.mark.parametrize("size", [1, 1000, 900_000, 30_000_000])
def test_rounds_leave_no_thread_idle_and_none_too_far_ahead(hooks, size, n_copied, by_user, n_threads):
    tasks_so_far = 0
    for epoch in range(4):
        rounds = hooks.rounds(size, 6000, n_copied, by_user, epoch, n_threads)
        assert min(n_tasks for n_tasks, _ in rounds) > 0
        n_tasks_of_epoch = sum(n_tasks for n_tasks, _ in rounds)
        for number, (n_tasks, threads) in enumerate(rounds):
            if n_copied and threads > 1:
                assert n_tasks <= tasks_so_far / 16
            if not n_copied:
                assert threads == n_threads
                assert n_tasks >= n_threads or number == len(rounds) - 1
            tasks_so_far += n_tasks
        assert tasks_so_far == (epoch + 1) * n_tasks_of_epoch


# -------------------------------------------------------------------------------------------- which rows are copied


def copied_of(user_features, item_features, interactions, row_bytes=1):
    problem = TrainingInput(SideInput(item_features), SideInput(user_features), interactions, None, facts_of("bpr"))
    return [rows[-1] for rows in problem.rows_with_copies(row_bytes, of_ids=True)]


def identity(n):
    return sp.identity(n, dtype=np.float32, format="csr")


def test_items_are_copied_where_an_epoch_visits_them_often():
    often, seldom = (sp.coo_matrix(np.random.RandomState(0).rand(n, 20) < 0.5) for n in (100, 30))
    assert_array_equal(copied_of(identity(100), identity(20), often)[1], np.arange(20))
    assert copied_of(identity(30), identity(20), seldom)[1] is None


def test_users_are_not_copied():
    """Rows are visited in order, so that one thread at a time works on a user."""
    interactions = sp.coo_matrix(np.ones((20, 100)))
    assert copied_of(identity(20), identity(100), interactions)[0] is None


def test_columns_are_copied_where_several_rows_of_users_have_them():
    interactions = sp.coo_matrix(np.ones((20, 100)))
    town = sp.csr_matrix(np.arange(20)[:, None] % 2 == [0, 1], dtype=np.float32)
    features = sp.hstack([identity(20), town], format="csr")
    assert_array_equal(np.sort(copied_of(features, identity(100), interactions)[0]), [20, 21])


def test_the_most_visited_columns_that_fit_are_copied():
    interactions = sp.coo_matrix(np.ones((100, 3)))
    tags = sp.csr_matrix([[1, 0, 1], [1, 1, 0], [1, 1, 0]], dtype=np.float32)
    assert_array_equal(copied_of(identity(100), tags, interactions)[1], [0, 1, 2])
    assert_array_equal(copied_of(identity(100), tags, interactions, row_bytes=1 << 24)[1], [0, 1])


def test_copies_are_no_larger_than_fits():
    interactions = sp.coo_matrix(np.ones((100, 3)))
    assert copied_of(identity(100), identity(3), interactions, row_bytes=1 << 23)[1] is not None
    assert copied_of(identity(100), identity(3), interactions, row_bytes=1 << 24)[1] is None
