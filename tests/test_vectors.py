"""Inner products of exported vectors are the model's scores."""

import os
from uuid import UUID

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM, vectors
from lightfm_fast.data import Dataset
from lightfm_fast.vectors import export_vectors

from .models import N_ITEMS, N_USERS, drawn_model, make_cold_items, make_data

parquet = pytest.importorskip("pyarrow.parquet")


def fitted(case):
    """Return a model, and the features that it takes."""
    if case == "content":
        train, _, features = make_cold_items()
        model = LightFM.recommended(random_state=0, cold_start="content")
        return model.fit(train, item_features=features, epochs=4), {"item_features": features}, train.shape
    train, features = make_data()
    if case == "identity":
        return LightFM(random_state=0).fit(train, epochs=2), {}, train.shape
    options = {"cosines": {"loss": "softmax"}, "pairs": {"interactions": "all"}}.get(case, {})
    return LightFM(random_state=0, **options).fit(train, **features, epochs=2), features, train.shape


@pytest.mark.parametrize("case", ["identity", "features", "cosines", "pairs", "content"])
def test_inner_products_are_scores(case, tmp_path, monkeypatch):
    monkeypatch.setattr(vectors, "ROWS_AT_ONCE", 13)
    model, features, shape = fitted(case)
    read = {}
    for side, n_rows in zip(("user", "item"), shape, strict=True):
        path = tmp_path / f"{side}s.parquet"
        written = export_vectors(model, path, side, features.get(f"{side}_features"))
        table = parquet.read_table(path)
        assert written == (n_rows, table.schema.field("vector").type.list_size)
        assert table[f"{side}_id"].to_pylist() == list(range(n_rows))
        read[side] = np.array(table["vector"].to_pylist(), dtype=np.float32), np.array(table["bias"].to_pylist())
    scores = read["user"][0] @ read["item"][0].T + read["user"][1][:, None]
    users, items = (part.ravel() for part in np.indices(shape))
    expected = model.predict(users, items, features.get("item_features"), features.get("user_features"))
    assert_allclose(scores.ravel(), expected, atol=1e-5)


def test_columns_ids_and_vectors_without_bias(tmp_path):
    model = drawn_model(N_USERS, N_ITEMS)
    dataset = Dataset()
    dataset.fit((f"user {row}" for row in range(N_USERS)), (UUID(int=row) for row in range(N_ITEMS)))
    path = tmp_path / "vectors.pq"
    assert export_vectors(model, path, dataset=dataset, bias=False, column="film") == (N_ITEMS, model.no_components)
    table = parquet.read_table(path)
    names_and_types = list(zip(table.column_names, map(str, table.schema.types), strict=True))
    vector_type = f"fixed_size_list<element: float>[{model.no_components}]"
    assert names_and_types == [("film", "string"), ("vector", vector_type), ("bias", "float")]
    assert table["film"].to_pylist() == [str(UUID(int=row)) for row in range(N_ITEMS)]
    assert_array_equal(np.array(table["vector"].to_pylist(), dtype=np.float32), model.item_embeddings)
    assert_array_equal(np.array(table["bias"].to_pylist(), dtype=np.float32), model.item_biases)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "vectors.csv"}, r"vectors\.csv: expected a name that ends in \.parquet"),
        ({"side": "film"}, "side"),
        ({"features": np.ones((3, 7))}, "item_features has 7 columns"),
        ({"column": "bias"}, "three different names"),
        ({"dataset": Dataset()}, "the dataset has 0 items but the model represents 20"),
    ],
)
def test_refused_without_a_file(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        export_vectors(**{"model": drawn_model(N_USERS, N_ITEMS), "path": "vectors.parquet", **arguments})
    assert not os.listdir()
