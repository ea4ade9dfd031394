"""A warning names the line of the user's code, through however many of the library's functions it came."""

import numpy as np
import pytest

from lightfm_fast import LightFM, Recommender

ROWS = {"user_id": ["ann", "ann", "bob", "bob"], "item_id": ["x", "y", "y", "z"], "stars": [5, 1, 4, 2]}
USERS = {"user_id": ["ann", "bob"], "town": ["Rome", "Oslo"]}


def make(**options):
    model = LightFM(random_state=1)
    return Recommender.from_tables(ROWS, USERS, user_features=["town"], model=model, epochs=1, **options)


CASES = {
    "in fitting": lambda: make().recommend({"town": "Bern"}),
    "every row is a like": lambda: make(value="stars"),
    "the steps are too long": lambda: LightFM(16, loss="bpr", learning_rate=0.1, initial_accumulator=0.01).fit(
        np.tri(99), user_features=np.hstack([np.eye(99), np.full((99, 10), 3.0)])
    ),
}


@pytest.mark.parametrize("message", CASES)
def test_a_warning_names_the_callers_line(message):
    with pytest.warns(UserWarning, match=message) as told:
        CASES[message]()
    assert {warning.filename for warning in told} == {__file__}
