"""A round of training on a shard, and the merge of rounds, as functions of arrays."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM, _rounds
from lightfm_fast._feature_rows import identity
from lightfm_fast._rounds import Delta, Plan, Table, changed, merged, train_round
from lightfm_fast._start import Start
from lightfm_fast.datasets import make_interactions

N_USERS, N_ITEMS = 200, 80


def start(seed=0, **parameters):
    """Return a plan, the tables of users and items, and the interactions as CSR arrays."""
    train = sp.csr_matrix(make_interactions(N_USERS, N_ITEMS, 3000, random_state=seed)["train"])
    settings = LightFM(**{"loss": "warp", "no_components": 8, **parameters}).get_params()
    counts = np.bincount(train.indices, minlength=N_ITEMS).astype(np.int64)
    plan = Plan(settings, identity(N_ITEMS), counts, counts, seed=7)
    begin = Start(np.random.RandomState(seed), None, 1.0)
    tables = [begin.new_table(n, 8, settings["learning_schedule"], None) for n in (N_USERS, N_ITEMS)]
    entries = {"indptr": train.indptr.astype(np.int64), "indices": train.indices}
    return plan, *(Table(table.rows, table.biases) for table in tables), entries


def deltas_of(plan, users, items, entries, n):
    """Train ``n`` parts of the users, each apart."""
    found = []
    for number, rows in enumerate(np.array_split(np.arange(N_USERS), n)):
        first, last = entries["indptr"][[rows[0], rows[-1] + 1]]
        part = {"indptr": entries["indptr"][rows[0] : rows[-1] + 2] - first, "indices": entries["indices"][first:last]}
        own = Table(*(array[rows] for array in users))
        found.append(train_round(plan, own, items, part, number, 0).delta)
    return found


@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
def test_a_round_changes_no_argument_and_has_the_same_bits_again(schedule):
    plan, users, items, entries = start(learning_schedule=schedule)
    before = [array.copy() for array in (*users, *items, *entries.values())]
    one, other = (train_round(plan, users, items, entries, 3, 1) for _ in range(2))
    assert_array_equal(np.concatenate([array.ravel() for array in before]),
                       np.concatenate([array.ravel() for array in (*users, *items, *entries.values())]))  # fmt: skip
    for first, second in zip((*one.users, *one.delta), (*other.users, *other.delta), strict=True):
        assert_array_equal(first, second)
    assert (one.loss, one.samples, one.diverged) == (other.loss, len(entries["indices"]), False)
    another = train_round(plan, users, items, entries, 4, 1)
    assert (another.users.rows != one.users.rows).any()


def test_parts_share_no_draws_in_different_epochs():
    plan, users, items, entries = start(loss="bpr")
    found = [train_round(plan, users, items, entries, number, epoch) for number in range(4) for epoch in range(4)]
    assert len({trained.delta.rows.tobytes() for trained in found}) == len(found)


def test_a_delta_is_the_rows_that_differ():
    before = Table(np.zeros((5000, 32), np.float32), np.zeros((5000, 2), np.float32))
    after = Table(before.rows.copy(), before.biases.copy())
    after.rows[4500, 31], after.biases[17, 1], after.rows[4095, 0] = 1, 1, np.nan
    delta = changed(before, after)
    assert delta.indices.dtype == np.int32
    assert delta.indices.tolist() == [17, 4095, 4500]
    assert_array_equal(delta.rows, after.rows[[17, 4095, 4500]])
    assert_array_equal(delta.biases, after.biases[[17, 4095, 4500]])


def test_one_worker_alone_is_kept_and_no_entries_change_nothing():
    plan, users, items, entries = start()
    trained = train_round(plan, users, items, entries, 0, 0)
    after = merged(plan, items, [trained.delta])
    assert_allclose(after.rows[trained.delta.indices], trained.delta.rows, rtol=1e-5, atol=1e-6)
    empty = {"indptr": np.zeros(N_USERS + 1, np.int64), "indices": np.empty(0, np.int32)}
    idle = train_round(plan, users, items, empty, 0, 0)
    assert (len(idle.delta.indices), idle.samples, idle.diverged) == (0, 0, False)
    assert_array_equal(idle.users.rows, users.rows)


@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
def test_a_merge_by_ranges_has_the_bits_of_the_whole(schedule, monkeypatch):
    monkeypatch.setattr(_rounds, "FAN", 3)
    plan, users, items, entries = start(learning_schedule=schedule)
    deltas = deltas_of(plan, users, items, entries, 8)
    whole = merged(plan, items, deltas)
    for first, last in ((0, 30), (30, N_ITEMS)):
        of_range = []
        for delta in deltas:
            part = slice(*np.searchsorted(delta.indices, [first, last]))
            of_range.append(Delta(delta.indices[part] - np.int32(first), delta.rows[part], delta.biases[part]))
        part = merged(plan, Table(*(array[first:last] for array in items)), iter(of_range))
        assert_array_equal(part.rows, whole.rows[first:last])
        assert_array_equal(part.biases, whole.biases[first:last])


@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
def test_a_tree_is_the_merge_of_all_at_once(schedule, monkeypatch):
    plan, users, items, entries = start(learning_schedule=schedule)
    deltas = deltas_of(plan, users, items, entries, 20)
    at_once = merged(plan, items, deltas)
    monkeypatch.setattr(_rounds, "FAN", 2)
    by_tree = merged(plan, items, deltas)
    assert_allclose(by_tree.rows, at_once.rows, rtol=1e-4, atol=1e-5)
    assert (at_once.rows != items.rows).any(axis=1).sum() > 60


def test_steps_that_overflow_are_reported():
    plan, users, items, entries = start(learning_rate=1e38)
    assert train_round(plan, users, items, entries, 0, 0).diverged
