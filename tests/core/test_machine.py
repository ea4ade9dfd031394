"""The factorization machine against a reference that adds up pair by pair and differentiates by differences."""

import functools
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import _core
from lightfm_fast._parameters import FIELDS
from lightfm_fast.factorization_machine import MachineParameters

from .reference import adadelta, adagrad, logistic

N_ROWS, N_COLUMNS, N_EPOCHS, SEED = 40, 9, 2, 11
COLUMN_FIELDS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3], np.int32)
SETTINGS = SimpleNamespace(learning_rate=0.05, rho=0.95, epsilon=1e-6)
ALPHA_W, ALPHA_V = 0.02, 0.05


def squared(target, score):
    return (score - target) ** 2 / 2, score - target


def log_loss(target, score):
    value, slope = logistic(target * score)
    return value, slope * target


LOSSES = {"logistic": log_loss, "squared": squared}
CURVATURES_TO_GO = {log_loss: 8.0, squared: 1.0}


class Reference:
    """A machine in float64; `fields` are None or of every column."""

    def __init__(self, parameters, fields):
        table = parameters.table
        self.v, self.w = ([table.view(f).astype(float) for f in FIELDS[i : i + 3]] for i in (0, 3))
        padded = np.zeros((len(parameters.shared), 3))
        padded[:, : table.biases.shape[1]] = parameters.shared[:, :3]
        self.w0, self.r = list(padded[:1].T), list(padded[1:].T)
        self.fields = fields
        self.step_cells = {"adagrad": adagrad, "adadelta": adadelta}[table.learning_schedule]
        self.shortest = 1.0  # the smallest factor of a step

    def rate(self, cells, gradient):
        """Return the ratio of a step to its gradient."""
        _, seen, moved = cells
        if self.step_cells is adagrad:
            return SETTINGS.learning_rate / np.sqrt(seen)
        seen = SETTINGS.rho * seen + (1 - SETTINGS.rho) * gradient**2
        return np.sqrt((moved + SETTINGS.epsilon) / (seen + SETTINGS.epsilon))

    def score(self, columns, values, w0, w, v, r):
        total = w0[0] + w[columns] @ values
        for (p, x), (q, z) in combinations(zip(columns, values, strict=True), 2):
            weight = 1.0
            if self.fields is not None:
                low, high = sorted((self.fields[p], self.fields[q]))
                weight = r[high * (high + 1) // 2 + low]
            total += weight * (v[p] @ v[q]) * x * z
        return total

    def step(self, loss, columns, values, target, weight):
        pairs = np.ones(len(self.r[0]), bool)
        if self.fields is not None:  # pairs of fields that the row does not have are not stepped
            present = sorted(set(self.fields[columns]))
            pairs[:] = False
            pairs[[g * (g + 1) // 2 + f for g in present for f in present if f <= g]] = True
        touched = ([True], np.isin(np.arange(N_COLUMNS), columns), np.isin(np.arange(N_COLUMNS), columns), pairs)
        every = (self.w0, self.w, self.v, self.r)
        parameters = [cells[0].copy() for cells in every]
        value, slope = loss(target, self.score(columns, values, *parameters))
        gradients = [np.zeros_like(parameter) for parameter in parameters]
        for parameter, gradient, where in zip(parameters, gradients, touched, strict=True):
            for cell in np.ndindex(parameter.shape):  # the score is linear in every single parameter
                if not where[cell[0]]:
                    continue
                parameter[cell] += 0.5
                above = self.score(columns, values, *parameters)
                parameter[cell] -= 1.0
                gradient[cell] = weight * slope * (above - self.score(columns, values, *parameters))
                parameter[cell] += 0.5
        moves = 0.0  # change of the score by whole steps, over the slope
        if slope:
            for cells, gradient in zip(every, gradients, strict=True):
                moves += np.sum(gradient**2 / slope**2 / weight**2 * self.rate(cells, gradient))
        most = CURVATURES_TO_GO[loss]
        self.shortest = min(self.shortest, part := min(1.0, most / max(weight * moves, 1e-30)))
        gradients[1][columns] += ALPHA_W * parameters[1][columns]
        gradients[2][columns] += ALPHA_V * parameters[2][columns]
        for cells, gradient, where in zip(every, gradients, touched, strict=True):
            old = cells[0][where]
            stepped = self.step_cells(*(cell[where] for cell in cells), gradient[where], SETTINGS)
            for cell, new in zip(cells, stepped, strict=True):
                cell[where] = new
            cells[0][where] = old + part * (cells[0][where] - old)
        return weight * value


def make_input(loss, heavier=1.0):
    rng = np.random.RandomState(0)
    X = sp.random(N_ROWS, N_COLUMNS, 0.45, "csr", np.float32, random_state=rng)
    X.data = rng.uniform(-1, 1, X.nnz).astype(np.float32)
    X.data[3] = 0  # a stored zero steps no parameter
    X = sp.vstack([X[:-1], sp.csr_matrix((1, N_COLUMNS), dtype=np.float32)]).tocsr()  # the last row is empty
    targets = rng.choice([-1, 1], N_ROWS) if loss == "logistic" else rng.normal(size=N_ROWS)
    weights = heavier * rng.uniform(0.5, 2, N_ROWS)
    weights[5] = 0
    return X, targets.astype(np.float32), weights.astype(np.float32)


def make_parameters(n_components, schedule, n_fields):
    parameters = MachineParameters(N_COLUMNS, n_components, schedule, n_fields)
    rng = np.random.RandomState(1)
    for field in FIELDS:
        view = parameters.table.view(field)
        if field.endswith("momentum"):
            view[...] = rng.uniform(0, 0.01, view.shape)
        elif field.endswith("gradients"):
            view[...] = rng.uniform(0.5, 1.5, view.shape)
        else:
            view[...] = rng.normal(0, 0.7, view.shape)
    shared = parameters.shared
    shared[:, 0] = rng.normal(0, 1, len(shared))
    shared[:, 1] = rng.uniform(0.5, 1.5, len(shared))
    if schedule == "adadelta":
        shared[:, 2] = rng.uniform(0, 0.01, len(shared))
    return parameters


def as_core(X):
    return [(None, X.indptr.astype(np.int64), X.indices.astype(np.int32), X.data, 0)]


def machine_of(parameters, fields, alphas=(ALPHA_W, ALPHA_V)):
    table = parameters.table
    return _core.machine.Machine(
        table.rows, table.biases, table.width, parameters.shared, fields, parameters.n_fields, *alphas
    )


def fit_epoch(loss, schedule, blocks, targets, weights, machine, epoch, n_rows=N_ROWS, learning_rate=0.05):
    settings = _core.machine.Settings(
        loss=loss,
        learning_schedule=schedule,
        learning_rate=learning_rate,
        rho=SETTINGS.rho,
        epsilon=SETTINGS.epsilon,
    )
    return _core.machine.fit_epoch(
        settings,
        _core.machine.Design(blocks, n_rows),
        targets,
        weights,
        machine,
        SEED,
        epoch,
        1,
    )


@functools.cache  # the reference is the same for every instruction-set level
def train_reference(loss, schedule, with_fields, n_components, heavier):
    fields = COLUMN_FIELDS if with_fields else None
    reference = Reference(make_parameters(n_components, schedule, 4 if with_fields else 0), fields)
    X, targets, weights = make_input(loss, heavier)
    losses = []
    for epoch in range(N_EPOCHS):
        losses.append(0.0)
        for row in _core.machine.positions(N_ROWS, SEED, epoch):
            stored = slice(*X.indptr[row : row + 2])
            kept = X.data[stored] != 0
            columns, values = X.indices[stored][kept], X.data[stored][kept].astype(float)
            if weights[row]:
                losses[-1] += reference.step(LOSSES[loss], columns, values, float(targets[row]), float(weights[row]))
    return reference, losses


@pytest.mark.parametrize(("n_components", "heavier"), [(1, 1.0), (10, 1.0), (16, 1.0), (20, 1.0), (10, 100.0)])
@pytest.mark.parametrize("with_fields", [False, True], ids=["plain", "fields"])
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_epochs_agree_with_reference(loss, schedule, with_fields, n_components, heavier):
    fields = COLUMN_FIELDS if with_fields else None
    parameters = make_parameters(n_components, schedule, 4 if with_fields else 0)
    machine = machine_of(parameters, fields)
    X, targets, weights = make_input(loss, heavier)
    totals = [fit_epoch(loss, schedule, as_core(X), targets, weights, machine, epoch)[0] for epoch in range(N_EPOCHS)]
    reference, losses = train_reference(loss, schedule, with_fields, n_components, heavier)
    assert reference.shortest < 0.5 or heavier == 1
    assert_allclose(totals, losses, rtol=1e-4)
    for number, field in enumerate(FIELDS):
        cells = reference.v if number < 3 else reference.w
        if parameters.table.stores(field):
            assert_allclose(parameters.table.view(field), cells[number % 3], rtol=2e-3, atol=5e-4, err_msg=field)
    for segment in range(3 if schedule == "adadelta" else 2):
        assert_allclose(parameters.shared[0, segment], reference.w0[segment][0], rtol=2e-3, atol=5e-4)
        assert_allclose(parameters.shared[1:, segment], reference.r[segment], rtol=2e-3, atol=5e-4)
    assert not parameters.table.rows[:, n_components : parameters.table.width].any()


@pytest.mark.parametrize("n_components", [1, 16, 33])
@pytest.mark.parametrize("with_fields", [False, True], ids=["plain", "fields"])
def test_scores_agree_with_reference(with_fields, n_components):
    fields = COLUMN_FIELDS if with_fields else None
    parameters = make_parameters(n_components, "adagrad", 4 if with_fields else 0)
    reference = Reference(parameters, fields)
    X = make_input("squared")[0]
    scores = np.empty(N_ROWS, np.float32)
    _core.machine.predict(_core.machine.Design(as_core(X), N_ROWS), machine_of(parameters, fields), scores, 2)
    expected = [
        reference.score(
            X[row].indices, X[row].data, *(c[0] for c in (reference.w0, reference.w, reference.v, reference.r))
        )
        for row in range(N_ROWS)
    ]
    assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("with_fields", [False, True], ids=["plain", "fields"])
def test_blocks_are_the_same_as_the_flat_matrix(with_fields):
    rng = np.random.RandomState(2)
    users, repeated = rng.randint(3, size=N_ROWS).astype(np.int32), rng.randint(4, size=N_ROWS).astype(np.int32)
    own, shared = (sp.random(n, 3, 0.6, "csr", np.float32, random_state=rng) for n in (N_ROWS, 4))
    blocks = [(users, None, None, None, 0), (repeated, *as_core(shared)[0][1:4], 3), (None, *as_core(own)[0][1:4], 6)]
    flat = sp.hstack([sp.eye(3, dtype=np.float32, format="csr")[users], shared[repeated], own]).tocsr()
    fields, n_fields = (COLUMN_FIELDS, 4) if with_fields else (None, 0)
    _, targets, weights = make_input("logistic")
    states = []
    for form in (blocks, as_core(flat)):
        parameters = make_parameters(10, "adagrad", n_fields)
        fit_epoch("logistic", "adagrad", form, targets, weights, machine_of(parameters, fields), 0)
        states.append((parameters.table.rows, parameters.table.biases, parameters.shared))
    for in_blocks, in_one in zip(*states, strict=True):
        assert_array_equal(in_blocks, in_one)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000, 4097])
def test_order_is_a_permutation_and_another_each_epoch(size):
    first, second = (_core.machine.positions(size, SEED, epoch) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(size))
    assert _core.machine.positions(size, SEED, 0) == first
    if size > 60:
        assert first != second
        for order in (first, second):  # neither order is close to the identity or to an arithmetic progression
            assert abs(np.corrcoef(order, np.arange(size))[0, 1]) < 5 / np.sqrt(size)
            steps = np.diff(order)
            assert len(np.unique(steps)) > size / 3


def test_every_position_is_about_as_likely():
    """Of 8 rows, each comes first in an eighth of 4000 epochs: within 5 standard deviations."""
    first = [_core.machine.positions(8, SEED, epoch)[0] for epoch in range(4000)]
    counts = np.bincount(first, minlength=8)
    assert np.abs(counts - 500).max() < 5 * np.sqrt(4000 * 7 / 64)


@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_a_step_does_not_leave_the_target_behind(loss, schedule):
    """A row of the largest weight and values is trained repeatedly, and its loss never grows by much."""
    for factor in (1.0, 30.0, 1000.0):
        parameters = make_parameters(4, schedule, 0)
        X = sp.csr_matrix(np.full((1, N_COLUMNS), factor, np.float32))
        target, weight = np.ones(1, np.float32), np.full(1, 100 * factor, np.float32)
        losses = []
        for epoch in range(30):
            arguments = as_core(X), target, weight, machine_of(parameters, None, (0.0, 0.0)), epoch, 1
            total, diverged = fit_epoch(loss, schedule, *arguments, learning_rate=1.0)
            assert not diverged
            losses.append(total / weight[0])
        assert np.all(np.array(losses[1:]) <= 1.01 * losses[0] + 1e-3)
        assert losses[-1] < 0.01 * max(losses[0], 1.0)


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_divergence_is_told_and_stops_before_infinity(loss):
    parameters = make_parameters(4, "adagrad", 0)
    X, targets, weights = make_input(loss)
    X.data *= 1e7  # scores beyond the core's range
    machine = machine_of(parameters, None)
    outcomes = [fit_epoch(loss, "adagrad", as_core(X), targets, weights, machine, 0, learning_rate=10.0)[1]]
    assert any(outcomes)
