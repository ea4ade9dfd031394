"""Numbers are checked by their range, whatever their type, and errors show them in one line."""

from __future__ import annotations

import itertools
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp

from lightfm_fast import LightFM
from lightfm_fast.callbacks import EarlyStopping
from lightfm_fast.evaluation import auc_score, precision_at_k

from .data import FEW, INTERACTIONS, finite_or_refused, state_of

LARGEST = float(np.finfo(np.float32).max)
ENDS = {
    "no_components": (1, None),
    "k": (1, 2**16),
    "n": (1, 2**16),
    "max_sampled": (0, 2**20),
    "n_negatives": (1, 2**16),
    "popularity_exponent": (0, 4),
    "temperature": (1e-3, 1e3),
    "initial_accumulator": (1e-12, 1e12),
    "learning_rate": (0, LARGEST),
    "rho": (1e-300, 1 - 1e-16),
    "epsilon": (0, LARGEST),
    "item_alpha": (0, LARGEST),
    "user_alpha": (0, LARGEST),
    "identity_dropout": (0, 1 - 1e-16),
    "init_scale": (0, 100),
    "user_shrinkage": (0, 10**6),
}


@pytest.mark.filterwarnings("ignore:the mean loss of epoch")  # the ends are no good settings
@pytest.mark.parametrize("name", ENDS)
def test_both_ends_of_a_range(name):
    """At the end of a range training learns or raises that it diverges; beyond, the constructor refuses."""
    for end, beyond in zip(ENDS[name], (-1, 10**400), strict=True):
        with pytest.raises(ValueError, match=f"{name} is .*expected"):
            LightFM(**{name: beyond})
        for value in () if end is None else (end, Fraction(end), np.array(end)[()]):
            for loss, schedule in itertools.product(("warp-kos", "softmax", "bpr"), ("adagrad", "adadelta")):
                parameters = {"no_components": 2, "learning_schedule": schedule, "negatives": "hardest", name: value}
                if isinstance(value, Fraction) and isinstance(end, int) and name not in REAL:
                    continue  # the argument takes whole numbers
                model = LightFM(loss=loss, random_state=1, **parameters)
                features = {"item_features": sp.hstack([sp.identity(4), np.ones((4, 1))])}
                finite_or_refused(lambda m=model, f=features: m.fit(FEW, epochs=2, **f))
                for array in state_of(model):
                    assert array.dtype == object or np.isfinite(array).all()
                if model.item_embeddings is not None:
                    assert np.isfinite(model.predict(0, [0, 1], **features)).all()


def test_an_exponent_of_any_type_draws_alike():
    models = [
        LightFM(loss="bpr", popularity_exponent=exponent, random_state=1).fit(FEW, epochs=2)
        for exponent in (0.5, Fraction(1, 2), np.float16(0.5))
    ]
    for model in models[1:]:
        np.testing.assert_array_equal(model.item_embeddings, models[0].item_embeddings)


REAL = set(ENDS) - {"no_components", "k", "n", "max_sampled", "n_negatives"}
NUMBERS = [
    10**400,
    -(10**400),
    Fraction(10**400, 3),
    Decimal(1),
    True,
    np.bool_(True),
    np.nan,
    np.float64("inf"),
    "1",
    1j,
]


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: type(value).__name__ + repr(value)[:8])
def test_numbers_of_any_kind_are_judged(value):
    for name in ENDS:
        with pytest.raises(ValueError, match=name):
            LightFM(**{name: value})
    model = LightFM(random_state=1).fit(INTERACTIONS)
    for use in (
        lambda: model.fit(INTERACTIONS, epochs=value),
        lambda: model.fit(INTERACTIONS, num_threads=value),
        lambda: model.recommend([0], n=value),
        lambda: model.similar_items([0], n=value),
        lambda: model.predict_rank(INTERACTIONS, num_threads=value),
        lambda: precision_at_k(model, INTERACTIONS, k=value),
        lambda: EarlyStopping(auc_score, INTERACTIONS, patience=value),
    ):
        with pytest.raises((ValueError, TypeError), match="expected"):
            use()
    assert len(model.history_) == 1


def test_one_line_shows_a_number_of_any_length():
    for value in (10**400, 10**5000, "x" * 1000):
        with pytest.raises(ValueError, match="learning_rate") as caught:
            LightFM(learning_rate=value)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("n", [2**16, 10**9])
def test_lists_are_not_longer_than_memory_bears(n):
    model = LightFM(random_state=1).fit(INTERACTIONS)
    for use in (model.recommend, model.similar_items):
        if n == 2**16:
            assert use([0], n=n).ids.shape == (1, n)
        else:
            with pytest.raises(ValueError, match="n is 1000000000, expected at most 65,536"):
                use([0], n=n)


def test_the_largest_initial_embeddings_have_finite_scores():
    model = LightFM(no_components=2**14, init_scale=100, random_state=1).fit(FEW, epochs=0)
    assert np.isfinite(model.item_embeddings).all()
    assert np.abs(model.predict([0, 1, 2], [0, 1, 2])).max() < 1e12


def test_a_model_shows_the_parameters_that_differ_from_their_defaults():
    assert repr(LightFM()) == "LightFM()"
    assert repr(LightFM(loss="warp", no_components=10, k=7)) == "LightFM(k=7, loss='warp')"
    assert repr(LightFM(random_state=3)) == "LightFM(random_state=3)"
    assert repr(LightFM(n_negatives=4).set_params(loss="softmax")) == "LightFM(loss='softmax', n_negatives=4)"


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16])
@pytest.mark.parametrize("loss", ["warp", "warp-kos", "softmax", "bpr"])
def test_narrow_integers_of_numpy_do_not_overflow(kind, loss):
    numbers = {"no_components": 100, "k": 100, "n": 127, "max_sampled": 127, "n_negatives": 100}
    interactions = sp.coo_matrix((np.ones(600, np.float32), (np.arange(600), np.arange(600) % 300)))
    found = []
    for read in (kind, int):
        model = LightFM(loss=loss, random_state=1, **{name: read(number) for name, number in numbers.items()})
        model.fit(interactions, epochs=read(3), num_threads=read(1))
        blocks = [block.ids for block in model.recommend_in_blocks(n=read(100), users_per_block=read(100))]
        scores = precision_at_k(model, interactions, k=read(100))
        found.append([*state_of(model), model.recommend([0], read(100)).ids, *blocks, scores])
    for of_numpy, of_python in zip(*found, strict=True):
        np.testing.assert_array_equal(of_numpy, of_python)
