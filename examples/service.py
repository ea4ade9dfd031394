"""Recommendations over HTTP, by a model that all worker processes share in memory.

    lightfm-fast fit interactions.csv -o model.safetensors --users users.csv --user-features age:bins town
    python examples/service.py model.safetensors --workers 4

    GET  /users/{user}/recommendations?n=10   for a user of the model
    POST /recommendations?n=10                for a newcomer: {"features": {"age": 31, "town": "Oslo"}, "items": [7, 9]}
    GET  /items/{item}/similar?n=10
    GET  /health                              sizes of the model; /docs describes all of them

Needs ``pip install fastapi uvicorn``. Ids in a path are text, and are looked up as such, or else as the number they
spell. An id that the model does not know in a path is answered by 404, a request that makes no sense by 422.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import scipy.sparse as sp
import uvicorn
from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, ConfigDict

from lightfm_fast import LightFM

MODEL = "LIGHTFM_FAST_SERVICE_MODEL"  # how the worker processes are told of the file

Length = Annotated[int, Query(ge=1, le=1000)]


class Newcomer(BaseModel):
    """A user whom the model does not know: by columns of the table of users, by what they have chosen, or both."""

    model_config = ConfigDict(extra="forbid")
    features: dict[str, str | int | float | list[str] | None] = {}
    items: list[str | int] = []


def create_app(path: str | os.PathLike[str]) -> FastAPI:
    model = LightFM.load(path, mmap=True)
    dataset, encoder = model.dataset_, model.encoders_.get("user")
    if dataset is None:
        raise ValueError(f"{path} was saved without its Dataset: save(path, dataset=dataset)")
    user_numbers, _, item_numbers, _ = dataset.mapping()
    item_ids = list(item_numbers)
    columns = [] if encoder is None else list(encoder.encoders)
    app = FastAPI(title="lightfm_fast")

    def answer(ids: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
        chosen = ids >= 0  # places stay empty where there are fewer items
        pairs = zip(ids[chosen].tolist(), scores[chosen].tolist(), strict=True)
        return {"items": [{"item": item_ids[number], "score": score} for number, score in pairs]}

    # Plain functions, not coroutines: FastAPI runs them in threads, and the model lets go of the GIL.
    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"users": len(user_numbers), "items": len(item_ids), "user_columns": columns}

    @app.get("/users/{user}/recommendations")
    def recommend(user: str, n: Length = 10) -> dict[str, Any]:
        features = {"user_features": dataset.user_features, "item_features": dataset.item_features}
        ids, scores = model.recommend(find(user_numbers, user, "user"), n, **features)
        return answer(ids[0], scores[0])

    @app.post("/recommendations")
    def recommend_to_newcomer(newcomer: Newcomer, n: Length = 10) -> dict[str, Any]:
        wrong = sorted(set(newcomer.features).difference(columns))
        if wrong:
            raise HTTPException(422, f"no feature is made of {wrong}; features are made of {columns}")
        unknown = [item for item in newcomer.items if item not in item_numbers]
        if unknown:
            raise HTTPException(422, f"no items with ids {unknown}")
        numbers = np.array(sorted({item_numbers[item] for item in newcomer.items}), dtype=np.int32)
        chosen = sp.csr_matrix((np.ones(len(numbers)), numbers, [0, len(numbers)]), shape=(1, len(item_ids)))
        features = None
        if encoder is not None:  # what is not told of is missing
            table = {column: [newcomer.features.get(column)] for column in columns}
            try:
                features = dataset.encode_new_users(table, encoder)
            except (TypeError, ValueError) as error:
                raise HTTPException(422, str(error)) from error
        users = model.fold_in_users(chosen, user_features=features, item_features=dataset.item_features)
        ids, scores = model.recommend(
            0, n, interactions=chosen, item_features=dataset.item_features, user_representations=users
        )
        return answer(ids[0], scores[0])

    @app.get("/items/{item:path}/similar")
    def similar(item: str, n: Length = 10) -> dict[str, Any]:
        found = model.similar_items(find(item_numbers, item, "item"), n, item_features=dataset.item_features)
        return answer(found.ids[0], found.scores[0])

    return app


def find(numbers: Mapping[Hashable, int], text: str, kind: str) -> int:
    names: list[Hashable] = [text]
    if text.removeprefix("-").isdecimal():
        names.append(int(text))
    for name in names:
        if name in numbers:
            return numbers[name]
    raise HTTPException(404, f"no {kind} with id {text!r}")


def app() -> FastAPI:
    """Make the app of the environment: what each worker process starts from."""
    return create_app(os.environ[MODEL])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    os.environ[MODEL] = options.model
    LightFM.load(options.model, mmap=True)  # a file that is no model is told of here, once
    folder = str(Path(__file__).parent)
    uvicorn.run(
        "service:app", factory=True, app_dir=folder, host=options.host, port=options.port, workers=options.workers
    )


if __name__ == "__main__":
    main()
