"""Merging the changes of workers that have stepped copies of the same parameters."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import _core
from lightfm_fast._parameters import ParameterTable

LEARNING_RATE, FEATURES = 0.05, 3.0
COUPLING = LEARNING_RATE * FEATURES / 4


def reference(then, copies):
    """Merge cells of AdaGrad, shape (..., 2), by the damped sum in float64."""
    weight, seen = np.moveaxis(then, -1, 0)
    moved, added = np.moveaxis(np.asarray(copies) - then, -1, 0)

    def root(added):
        return np.sqrt(seen + added / 2) + COUPLING * added

    total = added.sum(axis=0)
    return np.stack([weight + (moved * root(added)).sum(axis=0) / root(total), seen + total], axis=-1)


def tables(n_workers, schedule="adagrad", n_rows=700, n_components=20):
    """Return a table, and what each worker has made of it: the numbers of its rows, its rows and their biases."""
    rng = np.random.RandomState(0)
    table = ParameterTable(n_rows, n_components, schedule)
    table.rows[:, : table.width], table.biases[:, 0] = rng.randn(n_rows, table.width), rng.randn(n_rows)
    copies = []
    for worker in range(n_workers):
        numbers = np.flatnonzero(rng.rand(n_rows) < 0.5).astype(np.int32) if worker else None
        copied = table.copy()
        for array, width in ((copied.rows, table.width), (copied.biases, 1)):
            array[:, :width] += 0.1 * rng.randn(n_rows, width)
            array[:, width:] += rng.exponential(10, (n_rows, array.shape[1] - width))
        which = slice(None) if numbers is None else numbers
        copies.append((numbers, copied.rows[which].copy(), copied.biases[which].copy()))
    return table, copies


def merge(table, copies, first=0, last=None, num_threads=1):
    last = len(table.rows) if last is None else last
    _core.engine.merge(table.rows, table.biases, table.width, copies, first, last, LEARNING_RATE, FEATURES, num_threads)


def cells(array, width):
    return array[:, : 2 * width].reshape(len(array), 2, width).swapaxes(1, 2).astype(np.float64)


def test_rows_are_merged_by_the_damped_sum(level):
    table, copies = tables(5)
    expected = []
    for place, width in ((1, table.width), (2, 1)):
        then = cells((table.rows, table.biases)[place - 1], width)
        now = np.repeat(then[None], len(copies), axis=0)
        for worker, copy in enumerate(copies):
            now[worker, slice(None) if copy[0] is None else copy[0]] = cells(copy[place], width)
        expected.append(reference(then, now))
    merge(table, copies)
    assert_allclose(cells(table.rows, table.width), expected[0], rtol=1e-4, atol=1e-5)
    assert_allclose(cells(table.biases, 1), expected[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
def test_ranges_and_threads_do_not_change_a_bit(level, schedule):
    whole, copies = tables(4, schedule)
    parts = whole.copy()
    merge(whole, copies)
    for first, last in ((300, 700), (0, 300)):
        merge(parts, copies, first, last, num_threads=2)
    assert_array_equal(parts.rows, whole.rows)
    assert_array_equal(parts.biases, whole.biases)


def test_a_tree_of_merges_is_the_merge_of_all(level):
    table, copies = tables(6)
    nodes = []
    for some in (copies[:2], copies[2:]):
        node = table.copy()
        merge(node, some)
        nodes.append((None, node.rows, node.biases))
    by_tree = table.copy()
    merge(by_tree, nodes)
    merge(table, copies)
    assert_allclose(by_tree.rows, table.rows, rtol=1e-4, atol=1e-5)


def test_rows_that_nobody_copied_stay_and_one_worker_is_kept(level):
    table, copies = tables(2)
    before = table.copy()
    numbers, rows, biases = copies[1]
    merge(table, [copies[1], (np.empty(0, np.int32), rows[:0], biases[:0])])
    others = np.setdiff1d(np.arange(len(table.rows)), numbers)
    assert_array_equal(table.rows[others], before.rows[others])
    assert_allclose(table.rows[numbers], rows, rtol=1e-5, atol=1e-6)


def test_many_workers_learn_nearly_as_steps_in_turn(level):
    """64 workers visit a noisy minimum 512 times each, eight times. The same steps in turn end at 1e-5 above it."""
    rng = np.random.RandomState(0)
    curvature, noise, n_workers, n_cells = 0.0625, 0.25, 64, 16
    table = ParameterTable(1, n_cells, "adagrad")
    table.rows[:, :n_cells] = 1
    mean = table.rows[0].astype(np.float64)

    def visit(cells):
        weight, seen = (np.repeat(part[None], n_workers, axis=0) for part in np.split(cells.astype(np.float64), 2))
        for _ in range(512):
            gradient = curvature * weight + noise * rng.normal(size=weight.shape)
            weight -= LEARNING_RATE * gradient / np.sqrt(seen)
            seen += gradient**2
        return np.concatenate([weight, seen], axis=1)

    for _ in range(8):
        rows = visit(table.rows[0]).astype(np.float32)
        merge(table, [(None, row[None], table.biases.copy()) for row in rows])
        mean = visit(mean).mean(axis=0)
    excess, of_mean = (curvature / 2 * np.mean(row[:n_cells] ** 2) for row in (table.rows[0], mean))
    assert excess < 1e-4
    assert of_mean > 50 * excess
