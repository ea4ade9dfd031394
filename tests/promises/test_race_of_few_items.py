"""The race of cold_start="auto" trains on fewer items than fit does, which may leave no identity column to drop."""

import numpy as np
import scipy.sparse as sp

from lightfm_fast import LightFM


def test_identity_dropout_with_a_tag_of_two_items():
    """Whichever of the two items the race holds out, the tag is left with one item."""
    train = np.ones((6, 3), dtype=np.float32)
    tag = np.array([[1], [1], [0]])
    features = sp.csr_matrix(np.hstack([np.eye(3), tag]), dtype=np.float32)
    for seed in range(4):
        model = LightFM(loss="bpr", cold_start="auto", identity_dropout=0.5, random_state=seed)
        model.fit(train, item_features=features, epochs=2)
        assert len(model.history_) == 2
