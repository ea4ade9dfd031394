"""Write the golden files of the current format version. From the release that introduces it, they stay as they are.

Run it from the root of the repository: ``python -m tests.golden.make_golden``.
"""

import json
from pathlib import Path
from uuid import UUID

import numpy as np

from lightfm_fast import LightFM
from lightfm_fast.data import Dataset
from lightfm_fast.persistence import FORMAT_VERSION

FOLDER = Path(__file__).parent
ITEMS = [7, 2**40, -3, UUID(int=5), ("by", "woolf", 1.5), b"\x00\xff", None]


def main() -> None:
    dataset = Dataset(user_identity_features=False)
    dataset.fit(["ann", "bob", "čeněk"], ITEMS, user_features=["young", "old"], item_features=["novel"])
    interactions, _ = dataset.build_interactions([("ann", 7), ("ann", -3), ("bob", None), ("čeněk", 2**40)])
    user_features = dataset.build_user_features([("ann", ["young"]), ("bob", ["old"]), ("čeněk", ["young", "old"])])
    item_features = dataset.build_item_features([(7, ["novel"]), (None, ["novel"])])
    expected = {}
    for schedule in ("adagrad", "adadelta"):
        model = LightFM(no_components=3, loss="warp", learning_schedule=schedule, random_state=1)
        model.fit(interactions, user_features, item_features, epochs=3)
        model.save(FOLDER / f"format-{FORMAT_VERSION}-{schedule}.safetensors", dataset=dataset)
        users, items = (grid.ravel() for grid in np.indices(interactions.shape))
        expected[schedule] = {
            "scores": model.predict(users, items, item_features, user_features).tolist(),
            "item_embedding_gradients": model.item_embedding_gradients.tolist(),
            "losses": [record["loss"] for record in model.history_],
        }
    (FOLDER / f"format-{FORMAT_VERSION}.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
