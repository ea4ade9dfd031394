"""The design matrix: its rows, the rows that it shares, and the input that it refuses."""

import re

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast.data import Dataset
from lightfm_fast.design import design_matrix

USERS, ITEMS = np.array([2, 0, 2, 1]), np.array([1, 1, 0, 1])
SCORES = np.array([5, 0, -1, 2.5], np.float32)


@pytest.fixture
def interactions():
    """Interactions, with a stored zero among them."""
    return sp.coo_matrix((SCORES, (USERS, ITEMS)), shape=(3, 2))


@pytest.fixture
def user_features():
    return sp.csr_matrix(np.array([[1, 0], [0, 2], [3, 4]], np.float32))


@pytest.fixture
def item_features():
    return np.array([[0.5, 0, 1], [0, 0.25, 0]])


def test_rows_hold_ids_features_and_context(interactions, user_features, item_features):
    context = np.arange(8).reshape(4, 2)
    design = design_matrix(interactions, user_features, item_features, context)
    expected = np.hstack(
        [np.eye(3)[USERS], np.eye(2)[ITEMS], user_features.toarray()[USERS], item_features[ITEMS], context]
    )
    assert_array_equal(design.to_csr().toarray(), expected)
    assert design.shape == (4, 12)
    assert len(design) == 4
    assert_array_equal(design.y, SCORES)
    assert design.field_names == ("user", "item", "user_features", "item_features", "context")
    assert_array_equal(design.fields, np.repeat(np.arange(5), [3, 2, 2, 3, 2]))
    assert design.feature_names[[0, 4, 6, 9, 11]].tolist() == [
        "user:0",
        "item:1",
        "user_features:1",
        "item_features:2",
        "context:1",
    ]
    assert design.to_csr().dtype == np.float32


def test_mappings_make_fields_and_context_may_repeat_rows(interactions, user_features):
    design = design_matrix(
        interactions,
        user_features={"age": user_features[:, :1], "city": user_features[:, 1:]},
        context={"weekday": ([6, 0, 6, 1], sp.identity(7)), "price": np.array([[1], [2], [3], [4.0]])},
    )
    assert design.field_names == ("user", "item", "age", "city", "weekday", "price")
    flat = design.to_csr().toarray()
    assert_array_equal(flat[:, 7:14], np.eye(7)[[6, 0, 6, 1]])
    assert_array_equal(flat[:, 14], [1, 2, 3, 4])
    assert len(design.fields) == design.shape[1] == flat.shape[1]


def test_a_field_called_user_takes_the_place_of_the_one_hot(interactions, user_features):
    design = design_matrix(interactions, user_features={"user": user_features})
    assert design.field_names == ("item", "user")
    assert design.shape == (4, 4)


def test_the_rows_of_a_block_are_held_once(interactions, user_features):
    many = sp.coo_matrix((np.ones(5000), (np.arange(5000) % 3, np.zeros(5000, int))), shape=(3, 2))
    block = design_matrix(many, user_features).blocks[2]
    assert block.matrix.shape == (3, 2)
    assert design_matrix(many, user_features)[:100].blocks[2].matrix.shape == (3, 2)


@pytest.mark.parametrize("rows", [slice(1, 3), [3, 0, 3], np.array([True, False, True, False]), slice(0, 0)])
def test_rows_are_sliced(interactions, user_features, rows):
    design = design_matrix(interactions, user_features, context=np.ones((4, 1)))
    part, ellipsis = design[rows], design[rows, ...]
    assert_array_equal(part.to_csr().toarray(), design.to_csr().toarray()[rows])
    assert_array_equal(part.y, SCORES[rows])
    assert_array_equal(ellipsis.y, part.y)
    assert part.blocks[2].matrix is design.blocks[2].matrix
    again = design_matrix(interactions)[::-1][1:]
    assert_array_equal(again.y, SCORES[::-1][1:])


@pytest.mark.parametrize("key", [0, (slice(None), 0), np.int64(1)])
def test_other_than_rows_is_refused(interactions, key):
    with pytest.raises(IndexError):
        design_matrix(interactions)[key]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"user_features": np.ones((2, 1))}, "user_features has 2 rows but there are 3 users"),
        ({"item_features": [[np.nan], [1]]}, "item_features holds NaN"),
        ({"context": np.ones((5, 1))}, "context 'context' has 5 rows but there are 4 interactions"),
        ({"context": np.ones((3, 1))}, "context has 3 rows but there are 4 interactions"),
        ({"context": np.arange(4)}, "expected 2"),
        ({"context": ([0, 1], np.eye(2))}, "the rows of context have shape (2,), expected (4,)"),
        ({"context": ([0, 1, 2, 0], np.eye(2))}, "go up to 2 but its matrix has 2, from 0"),
        ({"context": ([0, 1], np.eye(2), 3)}, "a tuple of 3"),
        ({"context": {"item": np.ones((4, 1))}}, "two blocks have the field 'item'"),
    ],
)
def test_what_does_not_fit_is_refused(interactions, given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        design_matrix(interactions, **given)


def test_inputs_are_not_changed(interactions, user_features):
    before = [array.copy() for array in (interactions.data, user_features.data, user_features.indices)]
    design_matrix(interactions, user_features).to_csr().data[:] = 9
    for old, new in zip(before, (interactions.data, user_features.data, user_features.indices), strict=True):
        assert_array_equal(old, new)


class TestOfDataset:
    def build(self, identity):
        dataset = Dataset(item_identity_features=identity)
        dataset.fit(["ann", "bob"], ["lamp", "rug"], item_features=["soft"])
        interactions, _ = dataset.build_interactions([("bob", "rug"), ("ann", "lamp"), ("bob", "lamp")])
        return dataset, interactions, dataset.build_item_features([("rug", ["soft"])], normalize=False)

    def test_names_are_the_users_words(self):
        dataset, interactions, item_features = self.build(identity=False)
        design = dataset.design_matrix(interactions, item_features=item_features)
        assert design.feature_names.tolist() == ["user:ann", "user:bob", "item:lamp", "item:rug", "item_features:soft"]
        assert_array_equal(design.to_csr().toarray(), [[0, 1, 0, 1, 1], [1, 0, 1, 0, 0], [0, 1, 1, 0, 0]])

    def test_identity_features_are_the_one_hot_columns(self):
        dataset, interactions, item_features = self.build(identity=True)
        design = dataset.design_matrix(interactions, item_features=item_features)
        assert design.feature_names.tolist() == ["user:ann", "user:bob", "item:lamp", "item:rug", "item_features:soft"]
        assert design.fields.tolist() == [0, 0, 1, 1, 2]
        assert_array_equal(design.to_csr().toarray(), [[0, 1, 0, 1, 1], [1, 0, 1, 0, 0], [0, 1, 1, 0, 0]])

    def test_context_goes_with_it(self):
        dataset, interactions, _ = self.build(identity=True)
        assert dataset.design_matrix(interactions, context=np.eye(3)).shape == (3, 7)

    def test_matrices_of_another_size_are_refused(self):
        dataset, interactions, item_features = self.build(identity=True)
        dataset.fit_partial(items=["kettle"])
        with pytest.raises(ValueError, match="names are those of 3"):
            dataset.design_matrix(interactions, item_features=item_features)
        dataset.fit(["ann", "bob"], ["lamp", "rug"], item_features=["soft", "hard"])
        with pytest.raises(ValueError, match="item_features has 3 columns but the dataset knows 4 item features"):
            dataset.design_matrix(interactions, item_features=item_features)
