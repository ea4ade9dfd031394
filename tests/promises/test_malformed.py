"""Every call that takes a matrix refuses malformed ones with the library's message, and accepts sound ones.

:mod:`tests.promises.malformed` has the doors and the matrices, and runs in its own process. Where a case ends the
process, the case fails, and a new process continues with the next case.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("sklearn", minversion="1.6", reason="scikit-learn 1.6 is not installed")
from lightfm_fast import FMClassifier
from lightfm_fast.design import DesignMatrix, design_matrix

from . import malformed

MOST_CRASHES = 40
# The tree is last on the path, since the library tested may be an installed one.
RUN = f"""import runpy, sys
sys.path.append({str(Path(__file__).parents[2])!r})
runpy.run_module("tests.promises.malformed", run_name="__main__", alter_sys=True)"""


@pytest.fixture(scope="module")
def outcomes():
    found = {}
    for _ in range(MOST_CRASHES):
        command = [sys.executable, "-c", RUN, str(len(found))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        for line in done.stdout.splitlines():
            place, end = json.JSONDecoder().raw_decode(line)
            found[tuple(place)] = json.loads(line[end:] or '"ended the process"')
        if done.returncode == 0:
            break
    return found


@pytest.mark.parametrize("door", malformed.DOORS)
def test_malformed_matrices_are_refused(outcomes, door):
    wrong = {case: found for case in malformed.BAD if not (found := outcomes[door, case]).startswith("refused: ")}
    assert wrong == {}


@pytest.mark.parametrize("door", malformed.DOORS)
def test_unusual_but_sound_matrices_are_taken(outcomes, door):
    assert {case: found for case in malformed.GOOD if (found := outcomes[door, case]) != "same"} == {}


def test_messages_name_the_place(outcomes):
    message = outcomes["FMClassifier.fit", "csr_matrix: indices 1000000000"]
    assert "X is a malformed matrix" in message
    assert "column 1,000,000,000, outside of 0 to 8" in message
    assert "nan in row 0, column 7" in outcomes["LightFM.fit(user_features)", "csr_matrix: data NaN"]


@pytest.mark.parametrize("number", malformed.BEYOND)
def test_rows_of_a_design_matrix_that_lead_outside_are_refused(number):
    design = design_matrix(malformed.CELLS, malformed.sound(sp.csr_matrix))
    model = FMClassifier(epochs=1).fit(design, malformed.CLASSES)
    rows = malformed.with_number(design.blocks[2].rows, 3, number)
    design = DesignMatrix([*design.blocks[:2], replace(design.blocks[2], rows=rows)], design.y)
    for use in (model.predict, lambda X: model.fit(X, malformed.CLASSES), DesignMatrix.to_csr):
        with pytest.raises(ValueError, match="the rows of the block 'user"):
            use(design)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (sp.csr_matrix((1, 9)), "fields has shape"),
        ([0] * 8, "fields has shape"),
        ([None, "a", 1] * 3, "labels of one type"),
    ],
)
def test_malformed_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        FMClassifier(fields=fields).fit(malformed.sound(sp.csr_matrix), malformed.CLASSES)


def test_more_features_than_were_fitted_are_refused_whatever_the_attributes_say():
    model = FMClassifier(epochs=1).fit(malformed.sound(sp.csr_matrix), malformed.CLASSES)
    model.n_features_in_ = 10**6
    with pytest.raises(ValueError, match="parameters of 9"):
        model.predict(sp.csr_matrix(([1.0], ([0], [10**6 - 1])), shape=(1, 10**6)))


@pytest.mark.parametrize("change", [slice(None), 3])
def test_training_walks_over_arrays_of_its_own(change):
    """A class whose comparison writes into X: it runs between the check of X and the epochs."""
    X = malformed.sound(sp.csr_matrix)
    wanted = FMClassifier(epochs=1, random_state=0).fit(X.copy(), malformed.CLASSES).embeddings_

    class Meddling(FMClassifier):
        def _encode(self, *given):
            X.indices[change] = 10**9
            X.indptr[1:] = 2**31 - 1
            return super()._encode(*given)

    np.testing.assert_array_equal(Meddling(epochs=1, random_state=0).fit(X, malformed.CLASSES).embeddings_, wanted)


def test_sparse_columns_of_pandas():
    pandas = pytest.importorskip("pandas")
    table = malformed.sound(np.array)
    wanted = FMClassifier(epochs=1, random_state=0).fit(table > 0, malformed.CLASSES).embeddings_
    for dtype in (bool, "float64", "int8", pandas.SparseDtype("float32", np.nan), pandas.SparseDtype(bool, True)):
        kind = dtype if isinstance(dtype, pandas.SparseDtype) else pandas.SparseDtype(dtype)
        frame = pandas.DataFrame(table > 0, columns=list("abcdefghi")).astype(kind.subtype).astype(kind)
        model = FMClassifier(epochs=1, random_state=0).fit(frame, malformed.CLASSES)
        np.testing.assert_array_equal(model.embeddings_, wanted)
        assert model.feature_names_in_.tolist() == list("abcdefghi")
        assert np.isfinite(model.predict_proba(frame)).all()
