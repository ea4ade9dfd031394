"""Subclasses replace the hooks that LightFM has."""

from __future__ import annotations

import copy

import numpy as np
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM

from ..models import (
    N_ITEMS,
    N_USERS,
    STATE,
    assert_same_state,
    make_data,
)


class Recorder(LightFM):
    """Records the arguments of each hook."""

    def __init__(self, *arguments, **parameters):
        self.calls = []
        super().__init__(*arguments, **parameters)

    def _reset_state(self):
        self.calls.append(("reset_state",))
        super()._reset_state()

    def _check_initialized(self):
        self.calls.append(("check_initialized",))
        super()._check_initialized()

    def _initialize(self, no_components, no_item_features, no_user_features):
        self.calls.append(("initialize", no_components, no_item_features, no_user_features))
        super()._initialize(no_components, no_item_features, no_user_features)

    def _construct_feature_matrices(self, n_users, n_items, user_features, item_features):
        self.calls.append(("construct", n_users, n_items, user_features, item_features))
        return super()._construct_feature_matrices(n_users, n_items, user_features, item_features)

    def _run_epoch(self, item_features, user_features, interactions, sample_weight, num_threads, loss):
        self.calls.append(("run_epoch", item_features, user_features, interactions, sample_weight, num_threads, loss))
        super()._run_epoch(item_features, user_features, interactions, sample_weight, num_threads, loss)

    def taken(self):
        calls, self.calls = self.calls, []
        return calls


def test_hooks_are_called_as_lightfm_calls_them():
    interactions, features = make_data()
    model = Recorder(loss="warp", no_components=4, random_state=1)
    assert model.taken() == [("reset_state",)]
    model.fit(interactions, epochs=2, **features)
    reset, construct, initialize, first, second = model.taken()
    assert reset == ("reset_state",)
    assert construct == ("construct", N_USERS, N_ITEMS, features["user_features"], features["item_features"])
    assert initialize == ("initialize", 4, N_ITEMS + 2, N_USERS + 2)
    name, item_features, user_features, samples, weights, num_threads, loss = first
    assert all(a is b for a, b in zip(first, second, strict=True))
    assert (name, num_threads, loss) == ("run_epoch", 1, "warp")
    assert (item_features.format, item_features.dtype) == ("csr", np.float32)
    assert_array_equal(item_features.toarray(), features["item_features"].toarray())
    assert_array_equal(user_features.toarray(), features["user_features"].toarray())
    assert samples.format == "coo"
    assert_array_equal(samples.toarray(), interactions.toarray())
    assert weights.dtype == np.float32
    assert_array_equal(weights, np.ones(interactions.nnz))

    model.fit_partial(interactions, **features)
    assert [call[0] for call in model.taken()] == ["construct", "run_epoch"]
    model.predict([3, 1], [2, 8], **features)
    check, construct = model.taken()
    assert check == ("check_initialized",)
    assert construct[:3] == ("construct", 4, 9)
    model.predict_rank(interactions.tocsr(), **features)
    assert [call[0] for call in model.taken()] == ["check_initialized", "construct"]
    model.get_item_representations()
    model.get_user_representations()
    assert model.taken() == [("check_initialized",)] * 2


def test_a_subclass_starts_from_its_own_embeddings():
    interactions, _ = make_data()
    start = np.full((N_ITEMS, 6), 0.125, dtype=np.float32)

    class Pretrained(LightFM):
        def _initialize(self, *arguments):
            super()._initialize(*arguments)
            self.item_embeddings = start

    assert_array_equal(Pretrained(no_components=6).fit(interactions, epochs=0).item_embeddings, start)


def test_a_subclass_replaces_the_hooks_whole():
    interactions, _ = make_data()

    class Own(LightFM):
        def _reset_state(self):
            for name in STATE:
                setattr(self, name, None)

        def _initialize(self, no_components, no_item_features, no_user_features):
            for name in STATE:
                rows = no_item_features if name.startswith("item") else no_user_features
                shape = (rows,) if "bias" in name else (rows, no_components)
                setattr(self, name, np.full(shape, 0.5, dtype=np.float32))

        def _run_epoch(self, *arguments):
            self.item_biases[:] = 2

    model = Own(no_components=2).fit(interactions, epochs=2, verbose=True)
    assert_array_equal(model.predict(1, [0, 1]), np.full(2, 2 * 0.25 + 0.5 + 2))
    assert (Own().fit(interactions, epochs=0).item_biases == 0.5).all()


def test_a_subclass_makes_features_of_its_own():
    interactions, features = make_data()

    class Featured(LightFM):
        def _construct_feature_matrices(self, n_users, n_items, user_features, item_features):
            return super()._construct_feature_matrices(n_users, n_items, *features.values())

    own = Featured(random_state=1).fit(interactions)
    given = LightFM(random_state=1).fit(interactions, **features)
    assert_same_state(own, given)
    assert_array_equal(own.predict(0, [1, 2]), given.predict(0, [1, 2], **features))


def test_a_subclass_trains_on_a_part_and_keeps_every_epoch():
    interactions, _ = make_data()
    part = np.arange(0, interactions.nnz, 2)

    class Sampling(LightFM):
        def _run_epoch(self, item_features, user_features, interactions, sample_weight, num_threads, loss):
            samples = sp.coo_matrix(
                (interactions.data[part], (interactions.row[part], interactions.col[part])), interactions.shape
            )
            super()._run_epoch(item_features, user_features, samples, sample_weight[part], num_threads, loss)
            copies.append(copy.deepcopy(self))  # a deep copy uses __getstate__, like a pickle

    copies = []
    model = Sampling(random_state=1).fit(interactions, epochs=2)
    assert [len(saved.history_) for saved in copies] == [1, 2]
    assert [record["samples"] for record in model.history_] == [len(part)] * 2
    assert_same_state(model, copies[1])
