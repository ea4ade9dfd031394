"""Files of a small model, and changes to them with the right digest."""

from __future__ import annotations

import json

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from lightfm_fast import LightFM, _safetensors, persistence
from lightfm_fast.data import Dataset
from lightfm_fast.features import (
    Categorical,
    Dense,
    MultiCategorical,
    Periodic,
    PiecewiseLinear,
    QuantileBins,
    Standardized,
    Text,
)

from ..models import N_ITEMS, N_USERS, make_data


def saved(path, **options):
    dataset = Dataset()
    dataset.fit(map("user {}".format, range(N_USERS)), [1, *map("item {}".format, range(1, N_ITEMS))])
    LightFM(no_components=3, random_state=1).fit(make_data()[0], **options).save(path, dataset=dataset)
    return path.read_bytes()


def rewrite(path, change_meta=lambda meta: None, change_tensors=lambda tensors: None):
    """Write the file like a forger who knows the format, with the right digest."""
    tensors = load_file(path)
    with safe_open(path, "np") as file:
        meta = json.loads(file.metadata()["lightfm_fast"])
    meta["sha256"] = persistence.NO_DIGEST
    change_meta(meta)
    change_tensors(tensors)
    save_file(tensors, path, {"lightfm_fast": json.dumps(meta)})
    _safetensors.sign(path)


def nan_in(name):
    return lambda tensors: tensors[name].__setitem__(0, np.nan)


def encoders_of_all_kinds():
    numbers, texts = [1.0, 2.0, 5.0, None], ["spice planet", "apes", "", None]
    return {
        "categorical": Categorical(min_count=2).fit(["a", "a", "b", None]),
        "several": MultiCategorical("|").fit(["a|b", "a", "", None]),
        "standardized": Standardized().fit(numbers),
        "bins": QuantileBins(2).fit(numbers),
        "linear": PiecewiseLinear(2).fit(numbers),
        "periodic": Periodic(24, 4).fit(numbers),
        "words": Text().fit(texts),
        "counts": Text(use_idf=False).fit(texts),
        "hashed": Text("hashing", n_features=8).fit(texts),
        "dense": Dense().fit([[1.0, 2.0], None]),
    }
