"""What a notebook shows of a model: what was chosen in one line, all parameters below it."""

import numpy as np

from lightfm_fast import LightFM


def test_a_model_shows_what_was_chosen_and_lists_all():
    page = LightFM(loss="warp", item_alpha=1e-4)._repr_html_()
    assert "<summary><code>LightFM(loss=&#x27;warp&#x27;, item_alpha=0.0001)</code> not fitted</summary>" in page
    assert page.count("<tr><td>") == len(LightFM().get_params())
    assert "<td><b>loss</b></td><td><code>&#x27;warp&#x27;</code>" in page
    assert "<td>no_components</td><td><code>10</code>" in page


def test_a_fitted_model_shows_its_size():
    model = LightFM(random_state=1).fit(np.eye(3, 4), epochs=1)
    assert "</code> fitted for 1 epoch: 3 user features, 4 item features</summary>" in model._repr_html_()
    model.item_embeddings = None
    assert " not fitted</summary>" in model._repr_html_()
