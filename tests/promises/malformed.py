"""Malformed matrices, and every call that takes a matrix (a "door").

``python -m tests.promises.malformed`` tries each matrix at each door and prints one JSON line a case. It runs in its
own process, since an unchecked matrix may crash it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from lightfm_fast import FMClassifier, FMRegressor, LightFM, persistence
from lightfm_fast.cross_validation import cold_items_train_test_split, random_train_test_split
from lightfm_fast.data import Dataset
from lightfm_fast.design import DesignMatrix, design_matrix
from lightfm_fast.evaluation import auc_score, evaluate, precision_at_k

N_ROWS, N_COLUMNS = 12, 9
BEYOND = (-1, 125, 10**9, 2**31 - 1)


def sound(container):
    dense = np.random.RandomState(0).randint(1, 3, (N_ROWS, N_COLUMNS)) * (np.arange(N_COLUMNS) % 2 > 0)
    dense[:, 0] = np.arange(N_ROWS) % 2
    return container(dense.astype(np.float32))


def assign(matrix, **arrays):
    """Set arrays without the constructor's conversion; since SciPy 1.13 COO keeps row and col together."""
    if {"row", "col"} & arrays.keys() and hasattr(matrix, "coords"):
        matrix.coords = arrays.pop("row", matrix.row), arrays.pop("col", matrix.col)
    for name, array in arrays.items():
        setattr(matrix, name, array)
    return matrix


def with_number(array, place, number, dtype=None):
    array = np.array(array, dtype=dtype)
    array[place] = number
    return array


def strided(array):
    return np.repeat(array, 2)[::2]


def read_only(array):
    array = np.array(array)
    array.flags.writeable = False
    return array


def of_index(name):
    """Malformed and unusual but sound variants of the named array."""

    def changed(change):
        return lambda matrix: assign(matrix, **{name: change(getattr(matrix, name))})

    bad = {f"{name} {number}": changed(lambda a, number=number: with_number(a, 3, number)) for number in BEYOND}
    bad |= {
        f"{name} beyond int64": changed(lambda a: with_number(a, 3, 2**63 + 5, np.uint64)),
        f"{name} of fractions": changed(lambda a: a + 0.5),
        f"{name} of objects": changed(lambda a: np.array([None] * len(a))),
        f"{name} in two dimensions": changed(lambda a: np.stack([a, a])),
        f"{name} too short": changed(lambda a: a[:2]),
    }
    return bad, {
        f"{name} int64": changed(lambda a: a.astype(np.int64)),
        f"{name} uint64": changed(lambda a: a.astype(np.uint64)),
        f"{name} int8": changed(lambda a: a.astype(np.int8)),
        f"{name} read-only": changed(read_only),
        f"{name} strided": changed(strided),
    }


def of_data():
    def changed(change):
        return lambda matrix: assign(matrix, data=change(matrix.data))

    return {
        "data NaN": changed(lambda a: with_number(a, 3, np.nan)),
        "data infinite": changed(lambda a: with_number(a, 3, -np.inf)),
        "data complex": changed(lambda a: a.astype(complex)),
        "data of objects": changed(lambda a: a.astype(object)),
        "data of text": changed(lambda a: a.astype(str)),
        "data as a list of lists": changed(lambda a: [[1.0]] * len(a)),
        "data in two dimensions": changed(lambda a: np.stack([a, a])),
        "data too short": changed(lambda a: a[:2]),
    }, {
        "data read-only": changed(read_only),
        "data strided": changed(strided),
        "data of half precision": changed(lambda a: a.astype(np.float16)),
        "data of long doubles": changed(lambda a: a.astype(np.longdouble)),
    }


def shuffled(matrix):
    """Reverse the entries of each row, but flag them as sorted."""
    for i in range(len(matrix.indptr) - 1):
        part = slice(*matrix.indptr[i : i + 2])
        matrix.indices[part], matrix.data[part] = matrix.indices[part][::-1].copy(), matrix.data[part][::-1].copy()
    matrix.has_sorted_indices = matrix.has_canonical_format = True
    return matrix


def make_cases():
    """Return functions that make malformed and sound matrices."""
    bad, good = {}, {}

    def add(container, malformed, unusual):
        for cases, found in ((bad, malformed), (good, unusual)):
            for name, change in found.items():
                cases[f"{container.__name__}: {name}"] = lambda c=container, change=change: change(sound(c))

    data = of_data()
    for container in (sp.csr_matrix, sp.csc_array):
        indices, indptr = of_index("indices"), of_index("indptr")
        add(container, *(indices[i] | indptr[i] | data[i] for i in (0, 1)))
        add(
            container,
            {
                "indptr starts below 0": lambda m: assign(m, indptr=with_number(m.indptr, 0, -5)),
                "indptr starts above 0": lambda m: assign(m, indptr=with_number(m.indptr, 0, 1)),
                "indptr decreases": lambda m: assign(m, indptr=with_number(m.indptr, 5, m.indptr[3])),
                "indptr ends beyond": lambda m: assign(m, indptr=with_number(m.indptr, -1, 10**9)),
                "indptr too long": lambda m: assign(m, indptr=np.append(m.indptr, m.indptr[-1])),
            },
            {},
        )
    add(sp.csr_matrix, {}, {"not in order": shuffled})
    for container in (sp.coo_matrix, sp.coo_array):
        row, column = of_index("row"), of_index("col")
        add(container, *(row[i] | column[i] | data[i] for i in (0, 1)))

    def lil(columns, values):
        matrix = sound(sp.lil_matrix)
        matrix.rows[2], matrix.data[2] = columns, values
        return matrix

    bad["lil_matrix: more values than columns"] = lambda: lil([1], [1.0] * 10**5)
    bad["lil_matrix: more columns than values"] = lambda: lil(list(range(9)), [1.0])
    bad["lil_matrix: columns beyond"] = lambda: lil([10**9], [1.0])
    bad["dok_matrix: a key beyond"] = lambda: with_key(sound(sp.dok_matrix))
    bad["bsr_matrix: blocks beyond"] = lambda: assign(sound(sp.bsr_matrix), indices=np.full(108, 10**8, np.int32))
    bad["ndarray: NaN"] = lambda: with_number(sound(np.array), (1, 1), np.nan)
    bad["ndarray: complex"] = lambda: sound(np.array).astype(complex)
    bad["ndarray: objects"] = lambda: np.full((N_ROWS, N_COLUMNS), {})
    bad["a set"] = lambda: {1, 2}
    bad["one dimension"] = lambda: sp.coo_array(np.ones(N_ROWS)) if hasattr(sp, "coo_array") else np.ones(N_ROWS)
    return bad, good


def with_key(matrix):
    keys = getattr(matrix, "_dict", matrix)
    dict.__setitem__(keys, (0, 10**9), 1.0)
    return matrix


# ------------------------------------------------------------------------------------------------------------ doors

CLASSES = np.arange(N_ROWS) % 2
INTERACTIONS = sound(sp.coo_matrix)
CELLS = sp.coo_matrix((np.ones(N_ROWS), (np.arange(N_ROWS), np.arange(N_ROWS) % N_COLUMNS)), shape=(N_ROWS, N_COLUMNS))


def machine(estimator=FMClassifier):
    return estimator(2, epochs=1, random_state=0)


def model():
    return LightFM(2, random_state=0)


@cache  # no call changes it, refused or not
def fitted():
    return model().fit(CELLS)


@cache
def with_features():
    return model().fit(CELLS, user_features=sound(sp.csr_matrix))


class Encoder:
    """A transformer that makes a matrix of a frame."""

    def __init__(self, matrix):
        self.matrix = matrix

    def transform(self, table):
        return self.matrix

    def get_feature_names_out(self):
        return [f"f{i}" for i in range(N_COLUMNS)]


def encoded(matrix):
    dataset = Dataset()
    dataset.fit(range(N_ROWS), range(N_COLUMNS), user_features=Encoder(None).get_feature_names_out())
    return dataset.encode_new_users({"a": [0] * N_ROWS}, Encoder(matrix)).toarray()


def saved(matrix):
    """Write the features of a dataset to a file, and read them."""
    dataset = Dataset()
    dataset.fit(range(N_ROWS), range(N_COLUMNS), user_features=Encoder(None).get_feature_names_out())
    dataset.user_features = matrix
    with tempfile.TemporaryDirectory() as folder:
        persistence.write(Path(folder, "file"), {}, {}, dataset)
        return persistence.read(Path(folder, "file"), mmap=False).dataset.user_features.toarray()


def tampered(matrix):
    """Change a block of a design matrix after it was made."""
    design = design_matrix(CELLS, {"f": sound(sp.csr_matrix)})
    return DesignMatrix([*design.blocks[:2], replace(design.blocks[2], matrix=matrix)], design.y)


def of_design(design):
    return machine().fit(design, CLASSES).embeddings_


# A function from a matrix of shape (N_ROWS, N_COLUMNS) to numbers.
DOORS = {
    "FMClassifier.fit": lambda m: machine().fit(m, CLASSES).embeddings_,
    "FMRegressor.fit": lambda m: machine(FMRegressor).fit(m, CLASSES).embeddings_,
    "FMClassifier.partial_fit": lambda m: machine().partial_fit(m, CLASSES, classes=[0, 1]).embeddings_,
    "FMRegressor.partial_fit again": lambda m: deepcopy(FITTED_REGRESSOR).partial_fit(m, CLASSES).embeddings_,
    "FMRegressor.predict": lambda m: FITTED_REGRESSOR.predict(m),
    "FMClassifier.predict_proba": lambda m: FITTED.predict_proba(m),
    "FMClassifier.decision_function": lambda m: FITTED.decision_function(m),
    "design_matrix(interactions)": lambda m: design_matrix(m).to_csr().toarray().sum(axis=0),
    "design_matrix(user_features)": lambda m: of_design(design_matrix(CELLS, m)),
    "design_matrix(item_features)": lambda m: of_design(design_matrix(CELLS, None, {"f": m})),
    "design_matrix(context)": lambda m: of_design(design_matrix(CELLS, context=m)),
    "design_matrix(context in rows)": lambda m: of_design(design_matrix(CELLS, context=(np.arange(N_ROWS), m))),
    "DesignMatrix, fit": lambda m: of_design(tampered(m)),
    "DesignMatrix, predict_proba": lambda m: FITTED_DESIGN.predict_proba(tampered(m)),
    "DesignMatrix.to_csr": lambda m: tampered(m).to_csr().toarray(),
    "LightFM.fit": lambda m: model().fit(m).item_embeddings,
    "LightFM.fit_partial": lambda m: model().fit_partial(m).item_embeddings,
    "LightFM.fit(user_features)": lambda m: model().fit(CELLS, user_features=m).item_embeddings,
    "LightFM.fit(item_features)": lambda m: model().fit(CELLS, item_features=m).item_embeddings,
    "LightFM.predict(user_features)": lambda m: with_features().predict(1, [0, 1], user_features=m),
    "LightFM.predict_rank": lambda m: fitted().predict_rank(m).toarray(),
    "LightFM.predict_rank(train_interactions)": lambda m: (
        fitted().predict_rank(CELLS, m, check_intersections=False).toarray()
    ),
    "LightFM.recommend(interactions)": lambda m: fitted().recommend(np.arange(N_ROWS), n=2, interactions=m)[1],
    "LightFM.get_user_representations": lambda m: with_features().get_user_representations(m)[0],
    "LightFM.fold_in_users": lambda m: fitted().fold_in_users(m)[0],
    "precision_at_k": lambda m: precision_at_k(fitted(), m, k=2),
    "auc_score(train_interactions)": lambda m: auc_score(fitted(), CELLS, m, check_intersections=False),
    "evaluate": lambda m: list(evaluate(fitted(), m, metrics=["auc"]).mean.values()),
    "random_train_test_split": lambda m: sum(random_train_test_split(m, random_state=0)).toarray(),
    "cold_items_train_test_split": lambda m: [p.toarray() for p in cold_items_train_test_split(m, random_state=0)],
    "an encoder of Dataset": encoded,
    "features of Dataset, save": saved,
}
FITTED = machine().fit(sound(sp.csr_matrix), CLASSES)
FITTED_DESIGN = machine().fit(tampered(sound(sp.csr_matrix)), CLASSES)
FITTED_REGRESSOR = machine(FMRegressor).fit(sound(sp.csr_matrix), CLASSES)


BAD, GOOD = make_cases()


@cache
def wanted(door):
    return np.ravel(DOORS[door](sound(sp.csr_matrix)))


def outcome(door, case):
    """Return the outcome of a case: "refused: " and the message, "same", or a description of the failure."""
    make = (BAD | GOOD)[case]
    try:
        found = DOORS[door](make())
    except (ValueError, TypeError) as error:
        return f"refused: {error}" if type(error).__module__ in ("builtins", "lightfm_fast._arguments") else repr(error)
    if case in BAD:
        return "was taken"
    return "same" if np.allclose(np.ravel(found), wanted(door), rtol=1e-4, atol=1e-6) else "other numbers"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    done = int(sys.argv[1])
    for door, case in [(door, case) for door in DOORS for case in (BAD | GOOD)][done:]:
        print(json.dumps([door, case]), end=" ", flush=True)
        print(json.dumps(outcome(door, case)), flush=True)
