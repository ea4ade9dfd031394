"""Encoders are transformers of scikit-learn: cloned, searched, and given one column by a ColumnTransformer."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline

from lightfm_fast.features import (
    Categorical,
    FeatureSpec,
    MultiCategorical,
    Periodic,
    PiecewiseLinear,
    QuantileBins,
    Standardized,
    Text,
)

FRAME = pd.DataFrame(
    {
        "town": ["Oslo", "Rome", "Oslo", None] * 10,
        "tags": ["a|b", "b", "c", ""] * 10,
        "age": np.arange(40.0),
        "words": ["red car", "blue car", "green", "a car"] * 10,
    }
)
ENCODERS = [
    ("town", Categorical(min_count=2), "town"),
    ("tags", MultiCategorical("|"), "tags"),
    ("standardized", Standardized(), "age"),
    ("bins", QuantileBins(3), "age"),
    ("ranges", PiecewiseLinear(3), "age"),
    ("circle", Periodic(40, n_bins=4), "age"),
    ("words", Text(), "words"),
]


@pytest.mark.parametrize("encoder", [encoder for _, encoder, _ in ENCODERS], ids=repr)
def test_a_clone_has_the_arguments_and_nothing_learned(encoder):
    copy = clone(encoder)
    assert repr(copy) == repr(encoder)
    assert copy.to_state()["fitted"] == {}


def test_a_column_transformer_agrees_with_the_encoders():
    transformer = ColumnTransformer(ENCODERS, sparse_threshold=1)
    matrix = transformer.fit_transform(FRAME)
    parts = [clone(encoder).fit_transform(FRAME[column]).toarray() for _, encoder, column in ENCODERS]
    np.testing.assert_array_equal(matrix.toarray(), np.hstack(parts))
    assert transformer.get_feature_names_out()[:3].tolist() == ["town__Oslo", "town__Rome", "tags__a"]


def test_a_spec_takes_whole_frames_in_a_pipeline():
    answers = np.arange(40) < 20
    spec = FeatureSpec({"age": QuantileBins(2), "town": Categorical()})
    pipeline = make_pipeline(spec, LogisticRegression())
    wider = {"age": QuantileBins(8)}
    search = GridSearchCV(pipeline, {"featurespec__encoders": [spec.encoders, wider]}, cv=KFold(4, shuffle=True))
    search.fit(FRAME, answers)
    assert repr(search.best_params_["featurespec__encoders"]) in (repr(wider), repr(spec.encoders))
    assert search.best_estimator_[0].transform(FRAME).shape[0] == 40
    assert not hasattr(spec, "encoders_")  # a clone was fitted
    with pytest.raises(TypeError, match="expected an encoder such as Categorical"):
        spec.set_params(encoders={"age": 3})
    assert list(spec.encoders) == ["age", "town"]


def test_a_search_sets_arguments():
    answers = np.arange(40) < 20
    pipeline = make_pipeline(ColumnTransformer(ENCODERS), LogisticRegression())
    search = GridSearchCV(pipeline, {"columntransformer__bins__n_bins": [2]}, cv=2).fit(FRAME, answers)
    assert search.best_estimator_[0].named_transformers_["bins"].n_bins == 2
    assert (search.predict(FRAME) == answers).mean() > 0.9


def test_arguments_that_the_constructor_refuses_change_nothing():
    encoder = QuantileBins(3)
    with pytest.raises(ValueError, match="n_bins"):
        encoder.set_params(n_bins=0)
    assert encoder.n_bins == 3
