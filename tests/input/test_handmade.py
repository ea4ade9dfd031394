"""Matrices with handmade arrays are used or raise an error, and never crash."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lightfm_fast import LightFM

from .data import INTERACTIONS, N_ITEMS, N_USERS, finite_or_refused, set_coordinates, state_of

VALUE_TYPES = [np.float32, np.float64, np.float16, np.int64, np.int8, np.uint16, np.bool_, np.complex64, object]
INDEX_TYPES = [np.int32, np.int64, np.int32, np.int64, np.int16, np.uint32, np.uint64, np.float64]


@st.composite
def numbers_below(draw, n, size, is_sound):
    """Row or column numbers, repeated and in any order; unless sound, also outside and far outside the matrix."""
    numbers = st.integers(0, n - 1)
    if not is_sound:
        numbers = st.one_of(numbers, st.integers(-3, n + 5), st.sampled_from([2**31 - 1, 2**31, 2**40, -(2**40)]))
    dtype = draw(st.sampled_from([np.int32, np.int64] if is_sound else INDEX_TYPES))
    drawn = draw(st.lists(numbers, min_size=size, max_size=size))
    with np.errstate(invalid="ignore"):
        return np.array(drawn, dtype=np.int64).astype(dtype)


@st.composite
def values(draw, size, is_sound):
    """Values, also zeros; unless sound, also values that are not finite, and too few or too many."""
    finite = st.one_of(st.floats(-2, 2, width=16), st.sampled_from([0.0, -0.0, 1.0]))
    if is_sound:
        drawn = draw(st.lists(finite, min_size=size, max_size=size))
        return np.array(drawn, dtype=draw(st.sampled_from([np.float32, np.float64, np.int64, np.int8, np.bool_])))
    drawn = draw(
        st.lists(
            st.one_of(finite, st.sampled_from([np.nan, np.inf, 1e30])), min_size=max(0, size - 1), max_size=size + 1
        )
    )
    with np.errstate(invalid="ignore", over="ignore"):
        return np.array(drawn, dtype=np.float64).astype(draw(st.sampled_from(VALUE_TYPES)))


@st.composite
def handmade_compressed(draw, shape):
    """CSR and CSC with arrays of any kind, set without the constructors, which would check them."""
    is_sound = draw(st.booleans())
    matrix_type = draw(st.sampled_from([sp.csr_matrix, sp.csc_matrix, sp.csr_array, sp.csc_array]))
    matrix = matrix_type(shape, dtype=np.float32)
    n_entries = draw(st.integers(0, 12))
    n_lines = len(matrix.indptr) - 1
    n_across = shape[0] if matrix.format == "csc" else shape[1]
    # equal bounds are empty rows
    bounds = st.lists(st.integers(0, n_entries), min_size=n_lines - 1, max_size=n_lines - 1)
    indptr = np.array([0, *sorted(draw(bounds)), n_entries])
    if not is_sound and draw(st.booleans()):
        indptr = draw(numbers_below(n_entries + 1, draw(st.integers(0, n_lines + 4)), False))
    matrix.indptr = indptr.astype(draw(st.sampled_from([np.int32, np.int64])) if is_sound else indptr.dtype)
    matrix.indices = draw(numbers_below(n_across, n_entries, is_sound))
    matrix.data = draw(values(n_entries, is_sound))
    if draw(st.booleans()):  # SciPy trusts the flags, whatever the drawn order
        matrix.has_sorted_indices = matrix.has_canonical_format = True
    return matrix


@st.composite
def handmade_coordinates(draw, shape):
    """COO with arrays of any kind, set in the same way."""
    is_sound = draw(st.booleans())
    matrix = sp.coo_matrix(shape, dtype=np.float32)
    n_entries = draw(st.integers(0, 12))
    longer = st.integers(0, 0 if is_sound else 1)
    set_coordinates(matrix, *(draw(numbers_below(n, n_entries + draw(longer), is_sound)) for n in shape))
    matrix.data = draw(values(n_entries, is_sound))
    matrix.has_canonical_format = draw(st.booleans())
    return matrix


def handmade(shape):
    return st.one_of(handmade_compressed(shape), handmade_coordinates(shape))


@pytest.mark.parametrize("make", [sp.csr_matrix, sp.csc_array])
@pytest.mark.parametrize(
    ("dtype", "bounds"),
    [
        (np.int32, [2**31 - 1, 0]),  # far outside, although by the last bound there are no entries
        (np.uint32, [3, 1]),  # the difference is a large number, not a negative one
        (np.int16, [30_000, -30_000]),  # likewise, by overflow
        (np.uint64, [2**63 + 1, 3]),
        (np.float32, [1, 2]),
    ],
)
def test_bounds_that_do_not_ascend_are_refused(make, dtype, bounds):
    matrix = make((N_USERS, N_ITEMS), dtype=np.float32)
    last = 0 if bounds[-1] == 0 else 3
    rest = [last] * (len(matrix.indptr) - 3)
    matrix.indptr = np.array([0, *bounds, *rest]).astype(dtype)
    matrix.indices, matrix.data = np.zeros(3, dtype=np.int32), np.ones(3, dtype=np.float32)
    model = LightFM(random_state=1).fit(INTERACTIONS)
    for use in (model.fit, model.predict_rank):
        with pytest.raises(ValueError, match="is a malformed matrix"):
            use(matrix)


@settings(max_examples=150)
@given(interactions=handmade((N_USERS, N_ITEMS)), loss=st.sampled_from(["logistic", "bpr", "warp", "warp-kos"]))
def test_handmade_interactions(interactions, loss):
    model = LightFM(no_components=2, loss=loss, random_state=1)
    if finite_or_refused(lambda: model.fit(interactions, epochs=2)) is None:
        assert model.history_ == []
    else:
        assert all(np.isfinite(array).all() for array in state_of(model))
    fitted = LightFM(no_components=2, random_state=1).fit(INTERACTIONS)
    ranks = finite_or_refused(lambda: fitted.predict_rank(interactions))
    assert ranks is None or ((ranks.data >= 0) & (ranks.data < N_ITEMS)).all()
    finite_or_refused(lambda: fitted.predict_rank(INTERACTIONS, interactions, check_intersections=False))
    finite_or_refused(lambda: fitted.predict_rank(interactions, INTERACTIONS))
    finite_or_refused(lambda: fitted.fit_partial(INTERACTIONS, sample_weight=interactions))
    assert all(np.isfinite(array).all() for array in state_of(fitted))


@settings(max_examples=150)
@given(
    item_features=handmade((N_ITEMS, N_ITEMS)),
    user_features=handmade((N_USERS, 7)),
    loss=st.sampled_from(["logistic", "bpr", "warp", "warp-kos"]),
    schedule=st.sampled_from(["adagrad", "adadelta"]),
)
def test_handmade_features(item_features, user_features, loss, schedule):
    model = LightFM(no_components=2, loss=loss, learning_schedule=schedule, random_state=1)
    given = {"item_features": item_features, "user_features": user_features}
    if finite_or_refused(lambda: model.fit(INTERACTIONS, epochs=2, **given)) is not None:
        assert all(np.isfinite(array).all() for array in state_of(model))
        assert model.predict(np.arange(N_ITEMS), np.arange(N_ITEMS), **given).shape == (N_ITEMS,)
        assert model.predict_rank(INTERACTIONS, **given).nnz == INTERACTIONS.nnz
        model.get_item_representations(item_features)
    fitted = LightFM(no_components=2, random_state=1).fit(INTERACTIONS)
    finite_or_refused(lambda: fitted.predict(0, [0, 1, 2], item_features=item_features))
    finite_or_refused(lambda: fitted.get_item_representations(item_features))


@settings(max_examples=150)
@given(st.data())
def test_any_ids(data):
    model = LightFM(no_components=2, random_state=1).fit(INTERACTIONS)
    ids = st.one_of(
        st.integers(-(2**70), 2**70),
        st.lists(st.integers(-3, 14), max_size=5),
        st.lists(st.one_of(st.floats(), st.integers(), st.none(), st.text(), st.booleans()), max_size=4),
    )
    users, items = data.draw(ids), data.draw(ids)
    scores = finite_or_refused(lambda: model.predict(users, items))
    assert scores is None or (scores.dtype == np.float32 and np.isfinite(scores).all())
