"""The estimator: LightFM's interface over the compiled core. It holds parameters and moves arrays; it does no maths."""

from __future__ import annotations

import copy
import importlib
import inspect
import os
import time
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast import persistence
from lightfm_fast._arguments import (
    DivergedError,
    Seed,
    check_candidates,
    check_choice,
    check_flag,
    check_learning_rate_factor,
    check_may_reshape,
    check_num_threads,
    check_random_state,
    check_row_numbers,
    check_run,
    check_verbose,
    check_within,
    counted,
    shorten,
)
from lightfm_fast._autoencoder import Autoencoder
from lightfm_fast._averaging import averaged
from lightfm_fast._beside import Beside
from lightfm_fast._cold_start import Newcomers
from lightfm_fast._content import Content
from lightfm_fast._feature_rows import has_identity_columns, identity, is_identity
from lightfm_fast._feature_scaling import FeatureScaling
from lightfm_fast._fingerprint import Fingerprint
from lightfm_fast._html import changed_parameters, show_estimator
from lightfm_fast._hyperparameters import (
    ALPHAS,
    MAY_BE_NONE,
    PRESETS,
    ParameterError,
    check_loss_fits,
    check_parameters,
    is_auto,
    takes_content,
)
from lightfm_fast._learned import Learned, learn
from lightfm_fast._losses import facts_of
from lightfm_fast._mapping import FeatureMapping
from lightfm_fast._matrices import Interactions, check_interactions, check_seen, known_positives, unsealed
from lightfm_fast._met import (
    Met,
    divided,
    longest,
    low_bias,
    newly_met,
    popular_embedding,
    unmet_items,
    unmet_users,
)
from lightfm_fast._parameters import FIELDS, MappedTable, ParameterTable, to_directions
from lightfm_fast._quick import QuickCopy
from lightfm_fast._regularization import USUAL_ALPHA, Problem, find_alpha, has_no_autoencoder
from lightfm_fast._scoring import check_ids, check_ranked_items, check_test_and_train, rank, score_pairs
from lightfm_fast._sides import Side, Sides, check_sides, count_rows
from lightfm_fast._start import Start, break_ties, popularity
from lightfm_fast._training import ShardedInput, exponent_of, prepared, train_epoch, warn_of_loss
from lightfm_fast._training_data import TrainingData, training_data
from lightfm_fast._training_input import SideInput, TrainingInput, mean_weight
from lightfm_fast._turns import Snapshot, Turn
from lightfm_fast.callbacks import ProgressBar, check_callbacks, running, stage, tell
from lightfm_fast.cross_validation import Entries
from lightfm_fast.data import Dataset
from lightfm_fast.evaluation import evaluate
from lightfm_fast.explanation import (
    Explanation,
    Folded,
    Row,
    check_feature_names,
    check_row_number,
    check_title,
    explain,
)
from lightfm_fast.export import export_onnx
from lightfm_fast.fold_in import FrozenItems, Representations, check_known_interactions, fold_in
from lightfm_fast.index import N_COMPARED, ItemIndex
from lightfm_fast.recommendation import Catalogue, Recommendations, asked_users, check_n, most_similar
from lightfm_fast.recommendation_files import Lists, Request, Written, write_lists

__all__ = ["LightFM"]

RACE_EPOCHS = 4  # the race of cold_start="auto" takes this part of the epochs
WITHOUT_COORDINATES = {"cold_start": "features", "linear_components": 0}  # whose embeddings alone make the scores
STRUCTURAL = ("no_components", "learning_schedule")  # arguments that the tables' shape depends on


def state_array(side: str, field: str, meaning: str) -> Any:
    """Make the property that shows and sets one state array."""
    held = f"_{side}s"  # the attribute with the Side

    def get(self: LightFM) -> NDArray[np.float32] | None:
        return getattr(self, held).lend(field)

    def set_(self: LightFM, value: Any) -> None:
        kept = getattr(self, held)
        is_other = field in ("embeddings", "biases") and not kept.holds(field, value)
        kept.set(field, value)
        if is_other:  # content, autoencoder and mappings are of what was learned
            self._content = self._autoencoder = kept.mapping = None
        if (side, field) == ("user", "embeddings") and value is not None:
            self._met = self._met.of_width(np.shape(value)[1])

    shape = f"(n_{side}_features,)" if field.startswith("bias") else f"(n_{side}_features, no_components)"
    return property(get, set_, doc=f"float32 array of shape {shape}, or None before fitting: {meaning}.")


class LightFM:
    r"""A recommender that learns from interactions and from features of users and items.

    A user's representation is the weighted sum of the embeddings of the user's features,
    :math:`q_u = \sum_j f_{uj} e^U_j`. An item's representation is :math:`p_i = \sum_j f_{ij} e^I_j`. Biases are summed
    likewise. The score is :math:`q_u \cdot p_i + b_u + b_i` (Kula 2015). Without a feature matrix each user (item) has
    one identity feature that no other user (item) has, and the model is matrix factorisation.

    The defaults are LightFM's. :meth:`recommended` makes a model whose settings often rank better. docs/algorithm.md
    says how to choose each parameter. :class:`Recommender` holds a model, and takes tables and ids in place of matrices
    and row numbers.

    Parameters
    ----------
    no_components : int
        Length of the embeddings, from 1 to 2**20. More components can tell more tastes apart, and cost time and memory.
    k : int
        With ``loss="warp-kos"``: train on the k-th best of the ``n`` positives drawn. From 1 to 2**16.
    n : int
        With ``loss="warp-kos"``: the number of positives drawn, with replacement. From 1 to 2**16.
    learning_schedule : {"adagrad", "adadelta"}
        How step sizes adapt (Duchi 2011; Zeiler 2012).
    loss : {"logistic", "bpr", "warp", "warp-kos", "softmax"}
        The objective. Every loss but logistic is a ranking loss: it trains on positives, and compares them with items
        drawn as negatives. Items that have had no positive interaction are not drawn: see the notes.

        logistic
            For likes and dislikes: :math:`-\log \sigma(\pm score)`, plus for entries above 0, minus for other entries
            (Kula 2015). :meth:`predict_proba` gives probabilities.
        bpr
            For the whole order of items: :math:`-\log \sigma(score_i - score_j)` against an item j for which the user
            has no entry (Rendle 2009). ``negatives`` says how j is drawn.
        warp
            For the top of the list: items are drawn until one without an entry of the user scores more than
            :math:`score_i - 1`. The hinge is weighted by :math:`\log \lfloor (n - 1) / draws \rfloor`, at most 10, for
            n items that may be drawn (Weston 2011).
        warp-kos
            WARP for the k-th best of n of the user's positives (Weston 2013): for users with tastes of several kinds.
        softmax
            For the top of the list, with time to spare: :math:`-\log (e_i / (e_i + \sum_j e_j))` with
            :math:`e = \exp(\cos(q_u, p) / temperature)` over ``n_negatives`` items j drawn uniformly (Jean 2015). The
            score is the cosine, and biases are not trained: see the notes.
    learning_rate : float
        Size of adagrad's first steps, from 0 to 3.4e38, the largest float32. If a large value makes
        training diverge, ``fit`` raises ValueError.
    rho : float
        Decay of adadelta's moving averages, above 0 and below 1.
    epsilon : float
        Conditioning term of adadelta, from 0 to 3.4e38. A larger value makes the first steps longer.
    item_alpha, user_alpha : float or "auto"
        Strength of the L2 penalty on items and on users, from 0 to 3.4e38. Every sample adds
        :math:`\alpha / 2 \, (|q|^2 + b^2)` to the objective for each user or item that it steps, with representation q
        and bias b. So an alpha that suits ids also suits features. LightFM's alphas are other numbers:
        docs/notebooks/from_lightfm.md converts them. With "auto", which only the bpr loss takes, short runs before
        training find the value: see the notes.
    max_sampled : int
        With WARP and k-OS: the largest number of draws in search of an item that scores too high, from 0 to 2**20.
        With 0 no such item is found, and nothing is trained.
    random_state : int, RandomState, Generator or None
        Seed of the initial embeddings and of all sampling. With the same seed and one thread, two fits by the same
        build give the same bits. With more threads results differ from run to run, since threads write to shared rows
        without locks (Hogwild, Niu 2011).
    interactions : {"cross", "all"}
        Which pairs of features add to the score.

        cross
            Each feature of the user with each feature of the item, as in the formula above: LightFM's model.
        all
            Also the pairs within the user's features and within the item's features: the factorization machine of
            both rows (Rendle 2010). These pairs are added to the biases: with :math:`t_j = f_{uj} e^U_j`,
            :math:`b_u = \sum_j f_{uj} b_j + \tfrac12 (|q_u|^2 - \sum_j |t_j|^2)`, and :math:`b_i` likewise. For rows
            with a single feature this is the same model as cross. The softmax loss refuses it.
    identity_dropout : float
        Probability, at least 0 and below 1, with which training leaves a row's identity columns out, drawn anew for
        each row and group of samples. The row's other features must then explain its samples. This helps new users or
        items, which have no identity (DropoutNet, Volkovs 2017).

        An identity column has entries in one row only. Columns count as identity columns if every row that is trained
        on has one, as in the matrices that :class:`~lightfm_fast.data.Dataset` makes. If neither side has identity
        columns, ``fit`` raises ValueError.
    negatives : {"popularity", "uniform", "hardest"}
        With ``loss="bpr"``: how the negative is drawn among the items for which the user has no entry.

        popularity
            In proportion to the item's number of interactions, dislikes among them, raised to ``popularity_exponent``.
        uniform
            All items equally often.
        hardest
            ``n_negatives`` items are drawn uniformly, and the one with the highest score is used (dynamic negative
            sampling, Zhang 2013). It needs an L2 penalty.
    n_negatives : int or None
        Number of items drawn for a positive, from 1 to 2**16. None means 256 for the softmax loss. For
        ``negatives="hardest"`` it means 4 with up to 1,000 items, 8 with up to 10,000 items, and 16 with more.
    popularity_exponent : float
        For ``negatives="popularity"``: 1 draws in proportion to popularity, 0 uniformly. From 0 to 4.
    temperature : float
        Softmax loss: the divisor of the cosines, from 0.001 to 1000. With a lower one the hardest negatives count more.
    initial_accumulator : float
        Initial value of adagrad's sums of squared gradients, from 1e-12 to 1e12. With a smaller value a feature's
        first steps are larger.
    init_scale : float or None
        Standard deviation of the normal distribution from which embeddings are drawn, from 0 to 100. None draws
        uniformly from -0.5 to 0.5, divided by ``no_components``.
    feature_scaling : {"balanced"} or None
        "balanced" scales the weights of features, so that features of any scale and number train as steadily as ids do.
        None uses the weights of the feature matrices as they are. docs/features.md has the rules.

        The scales of a column are learned when ``fit`` or ``fit_partial`` first trains it. They are saved with the
        model and applied to every feature matrix that it is given. ``item_embeddings`` and ``user_embeddings`` belong
        to the scaled weights: :meth:`get_item_representations` sums them up.

        "balanced" also divides ``sample_weight`` by its mean in the call, and trains on a sample of a weight w above
        1.5 as round(w) samples of w / round(w). So weights of any scale train as steadily as samples without weights.
    cold_start : {"features", "mapping", "content", "mapping+content", "auto"}
        What represents users and items without positive interactions. Known users and items stay as they are. The notes
        have the formulas.

        features
            The sum of their features' embeddings (Kula 2015).
        mapping
            A regression of the known rows' embeddings and biases on their features (Gantner 2010), for users and items.
        content
            The known items that are most like a new item, and how well its features suit the user's items. Users as
            with "mapping".
        mapping+content
            The regression, and how well the features suit the user's items. Users as with "mapping".
        auto
            The choice that ranks held-out items best; "mapping" in doubt. For this ``fit`` trains a quarter of the
            epochs more.

        The softmax loss and ``interactions="all"`` refuse all but "features" and "auto", which then are the same.

        If the model has a mapping or content, ``fit_partial`` keeps their kinds. With "features" it drops them; only
        ``fit`` heeds other changes.
    average : bool
        True: ``fit`` and ``fit_partial`` end with the means of the parameters over the call's epochs, which are less
        noisy than the last epoch's (Polyak and Juditsky 1992). Later epochs count more: after epoch t of the call the
        mean moves by :math:`4 / (t + 3)` of the way to the parameters (Shamir and Zhang 2013, with :math:`\eta = 3`).
        False: they end with the last epoch's.

        Callbacks see the means. If they assign parameters, training goes on from these, and the means begin anew.
        While the call lasts, the means take about half the memory of the parameters with the optimiser's state, and as
        much again if there are callbacks.
    linear_components : int or "auto"
        Largest number of coordinates of a linear autoencoder, from 0 (none) to 4096. After training it adds a term to
        the scores of known users and items: how well the item goes with the user's other items, by how many users have
        both. The notes have the formula. :attr:`linear_components_` tells the number in use.

        Each user and item with positives needs an identity column, as :class:`~lightfm_fast.data.Dataset` makes them.
        The softmax loss and ``interactions="all"`` refuse other numbers than 0.

        "auto" means 256 for up to 30,000 items, and up to 500,000 users and items together, where data are dense
        enough: see the notes. Otherwise it means 0. It also means 0 if an alpha of "auto" became 0.2.
    user_shrinkage : float
        Each user gets the L2 penalty of this many further samples, from 0 to 1,000,000. This matters most for users
        with few interactions, whom the model then fits less closely: they stay nearer to what their shared features say
        or, without shared features, to the popular items.

        Each epoch adds :math:`c \alpha / 2 \, |f e|^2` for each user with samples: c is ``user_shrinkage``,
        :math:`\alpha` is ``user_alpha``, e is the embedding and f the weight of a feature that the user alone has,
        such as the identity feature. With the logistic loss the feature's bias has this penalty too. An epoch ends
        with the proximal step of these terms (Duchi 2011). :meth:`fold_in_users` penalises the distance from where the
        new user starts.

    Attributes
    ----------
    item_embeddings, user_embeddings : float32 array of shape (n_features, no_components)
        The embeddings of features; None before fitting. Can be assigned.
    item_biases, user_biases : float32 array of shape (n_features,)
        The biases of features; None before fitting. They and the optimiser's state (``*_gradients``,
        ``*_momentum``) can be assigned.
    history_ : list of dict
        One record an epoch since ``fit``: ``epoch`` (from 1), ``loss`` (mean over the samples, before the L2
        penalty), ``seconds``, ``samples``.
    item_alpha_, user_alpha_ : float or None
        The penalties that the model was last trained with: numbers also for "auto". None before training.
    initial_random_state : int, RandomState, Generator or None
        The constructor's argument ``random_state``, as given; for a Generator, the RandomState that it seeded.
    learning_rate_factor : float
        Training multiplies ``learning_rate`` by this factor, at least 0. It is 1 unless a callback changes it for the
        next epoch.
    trained_on_ : Fingerprint
        Hashes of a few hundred positives that the model was trained on. With them
        :func:`lightfm_fast.evaluation.evaluate` notices test data that were trained on. Saved with the model.
    dataset_ : Dataset or None
        The dataset that was saved with the model; see :meth:`load`. Can be assigned.
    encoders_ : dict
        The encoders that were saved with the model; see :meth:`load`. Can be assigned.

    Raises
    ------
    ParameterError
        If an argument is out of range or does not go with the loss. It is both a ``ValueError`` and an
        ``AssertionError``.

    Notes
    -----
    **Items without positives** are not drawn as negatives. They may be new, so users have not rejected them. Positives
    of earlier calls of ``fit_partial`` count. At the end of a call, an item without positives whose identity is its
    only feature scores below every other item's bias, or has a cosine of 0. A user without positives and features gets
    an embedding that puts popular items first. Only ``negatives="popularity"`` draws, and so trains, an item that has
    dislikes alone, as LightFM does.

    **Softmax.** The negatives are drawn without the items for which the user has an entry. Up to 32 positives of a user
    share the draws and one step of the user. A negative is stepped only if its probabilities, summed over these
    positives, reach 0.01. An item's bias is its popularity times a very small factor, which orders items of equal
    cosine. So a user without a past, whose representation is zero, gets popular items.

    **Alphas of "auto"** share one value. The first call that trains finds it, and later calls keep it. A fifth of the
    positives of up to 2,000 users is held out. Models with an alpha of 0.05, 0.03, 0.08 and, where weaker is better,
    0.02, 0.012 and 0.008 train for 2 to 6 epochs each, without these positives and without ``user_shrinkage``. They are
    compared by the mean of :math:`1 / \log_2(2 + rank)` over a user's positives (Järvelin 2002). 0.03 must win by 3
    standard errors over users, still weaker alphas by 2 and 0.08 by 1, since short runs favour weak penalties. If the
    order of items by their numbers of users beats the winner by 3, the value is 0.2. Then training starts from scratch
    on all interactions, with the same draws as if the number had been given. Callbacks do not see these runs, which
    take two fifths of the call's epochs at most. With fewer than 24 epochs, or fewer than 50 users who have two
    positives, nothing is compared and the value is 0.05.

    **cold_start="mapping"**: the mean embedding and bias of the known rows, plus the row's prediction by a ridge
    regression with a penalty of 0.5. Features are weighted by :math:`\sqrt{\log(N / n)}` if n of the N known rows have
    them, and a row's weights have length 1. Numbers and dimensions of vectors, which all rows have, are centred and
    divided by their deviation, and have a penalty of 5. A side without features that known rows share keeps the sums.
    An item that shares no feature with known items is the sum of its features. Such a user is the mean user, who likes
    popular items.

    **cold_start="content"**: the mean embedding and bias of the ten known items of the highest cosine :math:`c` with
    the item, weighted by :math:`c^3`. Features are weighted by :math:`\log(N / n)` (Spärck Jones 1972). The score gains
    :math:`w \, c_i \cdot p_u - o`. Here :math:`c_i` is the item's content, and :math:`p_u` the sum over the user's
    items, both of length 1 in up to 256 coordinates (latent semantic analysis, Deerwester 1990). In representations
    these coordinates stand after the embeddings. With the weight w the gain spreads over items as much as the rest of
    the score, and o is the mean gain. Without neighbours the item is the sum of its features. **"mapping+content"**
    places the item as "mapping" does, and the score has the same gain.

    **cold_start="auto"** holds out a tenth of the items and trains on the others for a quarter of the epochs. Another
    way must rank the held-out items better than "mapping" by 2 standard errors of NDCG@10. If neither side has features
    that known rows share, "auto" means "features". ``fit_partial`` keeps the choice of the first call that trained to
    its end, and adds its users and items. Users are mapped, by vectors Z of their features and, last, the mean user.
    With 50 users or more, Z moves from the regression :math:`Z_0` to the maximum of

    .. math::

        \sum_u \frac{1}{|I_u|} \sum_{i \in I_u} \log \frac{\exp(z_u \cdot p_i + b_i)}{\sum_j \exp(z_u \cdot p_j + b_j)}
        - 15 \, \lVert (Z - Z_0) C^{1/2} \rVert^2

    in ten steps (multinomial logit, McFadden 1974). Here :math:`z_u` is what the features of user u give,
    :math:`I_u` are the items that u has chosen, and C is the covariance of chosen items' embeddings. Up to 3,000 users,
    their 10,000 most common features and the 1,000 most popular items take part. This must rank better for users held
    out, a third at a time, by a standard error of NDCG@10. Later calls with fewer than half of the users keep
    :math:`Z - Z_0`. Embeddings or biases with other values, if assigned, come without content and mapping; values that
    are written into an array are not noticed.

    **The linear autoencoder** is EASE (Steck 2019) in a form of low rank (Jin 2021). For user u and item i its term is

    .. math::

        w \; x_u V D \cdot \frac{V_i}{1 - h_i}, \quad D = \frac{s^2}{s^2 + \lambda}, \quad h_i = V_i D V_i^\top.

    :math:`x_u` is the user's row in the matrix of positives, which has ones. s are the largest singular values of
    this matrix, and V are their right singular vectors. With more than 20,000 users, they come from 20,000 drawn at
    random. :math:`\lambda` is 3 times the mean number of positives of the users who have at least 5 or, if these
    users have less than half of all positives, of all users who have any. It is 30 or 90 times this number if 10
    times ranks the positives of up to 1,000 users clearly better (3 standard errors) in a regression that leaves
    the user out (PRESS, Allen 1974). The mean over known items is subtracted from :math:`V_i / (1 - h_i)`. The
    weight w makes the term vary among each user's 20 best unseen items as much as the rest of the score does, times
    the share :math:`\sum s^2 / n` of the n positives. "auto" takes 256 values if there are up to 30,000 items, and
    500,000 users and items together, and if these values have a share of a fifth. It takes 512 if 256 have less
    than half, and there are up to 250,000 users and items.

    Representations gain the coordinates, after those of ``cold_start``. Users and items without positives have zeros.
    ``fit_partial`` keeps V. Its new users have coordinates, its new items do not. Known users keep their items from
    before and gain those of the call; an item that is among both counts twice. But if the call has at least as many
    items of a user, these replace the earlier ones. With ``linear_components=0``, ``fit_partial`` drops the
    coordinates; only ``fit`` heeds other changes of the number. If Ctrl-C or a callback's exception ends ``fit``,
    there are none until ``fit_partial`` goes on with at least half of the users.

    Examples
    --------
    >>> from lightfm_fast import LightFM
    >>> from lightfm_fast.datasets import make_interactions
    >>> data = make_interactions(n_users=100, n_items=50, n_interactions=1000, random_state=0)
    >>> model = LightFM(loss="warp", random_state=0)
    >>> model = model.fit(data["train"], item_features=data["item_features"], epochs=5)
    >>> scores = model.predict(3, [0, 1, 2], item_features=data["item_features"])
    >>> best = model.recommend([3, 5], n=2, interactions=data["train"], item_features=data["item_features"])
    >>> best.ids.shape, best.scores.shape
    ((2, 2), (2, 2))
    """

    _training_input: TrainingInput | ShardedInput | None
    _entries: Entries | None  # the last Entries that the model was trained on, which score leaves out of the ranking
    _met: Met
    _without_past: NDArray[np.bool_] | None = None  # user features that no positive has, while rows start
    _scratch: str | None = None  # the folder of the users' rows, while they start; None for memory
    _content: Content | None = None
    _autoencoder: Autoencoder | None = None
    _is_settled: bool = False  # whether a call has trained to its end, and so chosen for cold_start="auto"
    learning_rate_factor: float = 1.0
    history_ = Learned[list[dict[str, float]]]()
    item_alpha_ = Learned["float | None"]()
    user_alpha_ = Learned["float | None"]()
    trained_on_ = Learned[Fingerprint]()
    dataset_ = Learned["Dataset | None"](lambda value: isinstance(value, Dataset | None), "a Dataset, or None")
    encoders_ = Learned["Mapping[str, Any]"](lambda value: isinstance(value, Mapping), "a dict from names to encoders")

    def __init__(
        self,
        no_components: int = 10,
        k: int = 5,
        n: int = 10,
        learning_schedule: str = "adagrad",
        loss: str = "logistic",
        learning_rate: float = 0.05,
        rho: float = 0.95,
        epsilon: float = 1e-6,
        item_alpha: float | str = 0.0,
        user_alpha: float | str = 0.0,
        max_sampled: int = 10,
        random_state: Seed = None,
        interactions: str = "cross",
        identity_dropout: float = 0.0,
        negatives: str = "popularity",
        n_negatives: int | None = None,
        popularity_exponent: float = 1.0,
        temperature: float = 0.15,
        initial_accumulator: float = 1.0,
        init_scale: float | None = None,
        feature_scaling: str | None = None,
        cold_start: str = "features",
        average: bool = False,
        linear_components: int | str = 0,
        user_shrinkage: float = 0.0,
    ) -> None:
        self.no_components = no_components
        self.k = k
        self.n = n
        self.learning_schedule = learning_schedule
        self.loss = loss
        self.learning_rate = learning_rate
        self.rho = rho
        self.epsilon = epsilon
        self.item_alpha = item_alpha
        self.user_alpha = user_alpha
        self.max_sampled = max_sampled
        self.interactions = interactions
        self.identity_dropout = identity_dropout
        self.negatives = negatives
        self.n_negatives = n_negatives
        self.popularity_exponent = popularity_exponent
        self.temperature = temperature
        self.initial_accumulator = initial_accumulator
        self.init_scale = init_scale
        self.feature_scaling = feature_scaling
        self.cold_start = cold_start
        self.average = average
        self.linear_components = linear_components
        self.user_shrinkage = user_shrinkage
        self.random_state = random_state
        self._check_parameters()
        self._turn = Turn()
        self._forget()  # also where a subclass's _reset_state sets the state arrays alone
        self._reset_state()

    _PARAMETERS = tuple(inspect.signature(__init__).parameters)[1:]  # without self

    def _assign(self, parameters: dict[str, Any]) -> None:
        check_parameters(parameters, MAY_BE_NONE)
        known = {**vars(self), **parameters}
        check_loss_fits(known["loss"], known)
        for name, value in parameters.items():
            setattr(self, name, value)

    item_embeddings = state_array("item", "embeddings", "what is learned of each item feature")
    item_embedding_gradients = state_array("item", "embedding_gradients", "accumulated squared gradients")
    item_embedding_momentum = state_array("item", "embedding_momentum", "adadelta's accumulated squared updates")
    item_biases = state_array("item", "biases", "the bias of each item feature")
    item_bias_gradients = state_array("item", "bias_gradients", "accumulated squared gradients")
    item_bias_momentum = state_array("item", "bias_momentum", "adadelta's accumulated squared updates")
    user_embeddings = state_array("user", "embeddings", "what is learned of each user feature")
    user_embedding_gradients = state_array("user", "embedding_gradients", "accumulated squared gradients")
    user_embedding_momentum = state_array("user", "embedding_momentum", "adadelta's accumulated squared updates")
    user_biases = state_array("user", "biases", "the bias of each user feature")
    user_bias_gradients = state_array("user", "bias_gradients", "accumulated squared gradients")
    user_bias_momentum = state_array("user", "bias_momentum", "adadelta's accumulated squared updates")

    @classmethod
    def recommended(cls, kind: str = "fast", **parameters: Any) -> LightFM:
        """Make a model with settings that rank well on many kinds of data; docs/quality.md has the measurements.

        Parameters
        ----------
        kind : {"fast", "ranking"}
            "fast" is BPR against the hardest of 4, 8 or 16 negatives, depending on the number of items. It finds the
            strength of L2, which is larger for users with few interactions, and the best way to represent new items. If
            data are dense, it adds a linear autoencoder. An epoch takes about as long as with WARP.

            "ranking" is the softmax loss against 256 negatives. An epoch takes some 4 times as long, and it can rank
            better with a few thousand users and items. Both have 64 components, and end with means over the epochs.
        **parameters
            Constructor arguments that replace the preset's values.

        Returns
        -------
        LightFM
            The model, not fitted. Start with ``fit(..., epochs=40)``.

        Raises
        ------
        ValueError
            If ``kind`` is unknown.
        ParameterError, TypeError
            As the constructor.

        Examples
        --------
        >>> from lightfm_fast import LightFM
        >>> model = LightFM.recommended(random_state=0)
        >>> model.loss, model.negatives, model.no_components
        ('bpr', 'hardest', 64)
        """
        check_choice(kind, "kind", tuple(PRESETS))
        return cls(**{**PRESETS[kind], **parameters})

    @property
    def random_state(self) -> np.random.RandomState:
        """The RandomState in use. Accepts an int, a RandomState, a Generator, which seeds one, or None."""
        return self._random_state

    @random_state.setter
    def random_state(self, value: Any) -> None:
        self._random_state = check_random_state(value)
        # A Generator is used up to seed, so that a file, a clone and a copy have the RandomState instead.
        self.initial_random_state = self._random_state if isinstance(value, np.random.Generator) else value

    @property
    def linear_components_(self) -> int:
        """The number of coordinates that a linear autoencoder adds to representations; 0 for none."""
        return 0 if self._autoencoder is None else self._autoencoder.n_coordinates

    # ------------------------------------------------------------------ training

    def fit(
        self,
        interactions: Any,
        user_features: Any = None,
        item_features: Any = None,
        sample_weight: Any = None,
        epochs: int = 1,
        num_threads: int = 1,
        verbose: bool = False,
        callbacks: Iterable[Any] | None = None,
    ) -> LightFM:
        """Train from scratch. What the model had learned is forgotten, unless the input is refused.

        Parameters
        ----------
        interactions : sparse matrix or array, or dense array, shape (n_users, n_items)
            Stored entries are the samples. Entries above 0 are positives. The logistic loss takes all other entries
            as negatives; the ranking losses do not train on them. Any numeric dtype; an entry given twice is two
            samples. For interactions larger than memory: a :class:`lightfm_fast.sharded.ShardedDataset`.
        user_features : same kinds, shape (n_users or more, n_user_features), optional
            Row u holds the weights of user u's features. By default each user has one identity feature.
        item_features : same kinds, shape (n_items or more, n_item_features), optional
            The same for items.
        sample_weight : COO matrix or array, shape (n_users, n_items), optional
            Multiplies the loss of each sample, by 0 or more; see also ``feature_scaling``. It must have the same
            entries as ``interactions``, in the same order.
        epochs : int
            Passes over the interactions, from 0 to 2**31 - 1.
        num_threads : int
            Threads that train, from 1 to 1024. The first samples, whose steps are long, are trained by one thread. A
            process that was forked after its parent had used several threads works on one thread, and warns once.
        verbose : bool
            Show a progress bar with loss and speed if tqdm is installed (extra ``progress``), else a line an epoch.
        callbacks : iterable of callable, optional
            Called with the model after every epoch, in the given order; see :mod:`lightfm_fast.callbacks`. If a
            callback raises, training ends, and the model stays as the epoch left it. Callbacks may assign state
            arrays of the same shape.

        Returns
        -------
        LightFM
            The model itself.

        Raises
        ------
        ValueError
            If the input does not fit together or holds NaN, infinity or a weight below 0, or if training diverges.
        NotImplementedError
            For ``sample_weight`` with ``loss="warp-kos"``.
        RuntimeError
            If the model is being trained already, by another thread or by the call that runs this callback. Other
            threads may predict meanwhile. Once training has begun, they use the parameters learned so far.

        Notes
        -----
        After these exceptions, or a MemoryError, the model is as it was before the call. After Ctrl-C or a callback's
        exception the model keeps the epochs trained so far, if there are any.
        """
        with self._turn.taken(hands_over=True):
            before = self._snapshot()
            try:
                self._reset_state()
                return self.fit_partial(
                    interactions,
                    user_features=user_features,
                    item_features=item_features,
                    sample_weight=sample_weight,
                    epochs=epochs,
                    num_threads=num_threads,
                    verbose=verbose,
                    callbacks=callbacks,
                )
            except BaseException:
                if not self._turn.has_trained:
                    before.restore()
                raise

    def fit_partial(
        self,
        interactions: Any,
        user_features: Any = None,
        item_features: Any = None,
        sample_weight: Any = None,
        epochs: int = 1,
        num_threads: int = 1,
        verbose: bool = False,
        callbacks: Iterable[Any] | None = None,
    ) -> LightFM:
        """Continue training. Takes, returns and raises the same as :meth:`fit`.

        The model grows with its input. New users, items or feature columns get new rows at the end of the parameters;
        existing rows keep their values and accumulators. Columns are matched by number, so new columns must come
        last, as :meth:`lightfm_fast.data.Dataset.fit_partial` numbers them. Fewer columns than before are refused.

        A new feature starts at random, as in ``fit``. But it starts at 0 if every row that has it also has features
        that the model knows: a new item thus starts where its known features put it.
        """
        with self._turn.taken():
            before = self._snapshot()
            try:
                self._train(
                    interactions,
                    user_features,
                    item_features,
                    sample_weight,
                    epochs,
                    num_threads,
                    verbose,
                    callbacks,
                    before,
                )
            except BaseException as error:
                is_kept = self._turn.has_trained and not isinstance(error, (DivergedError, MemoryError))
                if not (is_kept and self._users.is_finite(1) and self._items.is_finite(1)):
                    self._turn.has_trained = False  # for fit, which calls this
                    before.restore()
                raise
        return self

    def _train(
        self,
        interactions: Any,
        user_features: Any,
        item_features: Any,
        sample_weight: Any,
        epochs: int,
        num_threads: int,
        verbose: bool,
        callbacks: Iterable[Any] | None,
        before: Snapshot,
    ) -> None:
        """Do the work of :meth:`fit_partial`, which holds the model's turn and restores ``before`` if this raises."""
        self._check_parameters()
        self._forget_remains()
        if isinstance(interactions, Entries):
            self._entries = interactions
            interactions, user_features, item_features, sample_weight = interactions.unpacked(
                user_features, item_features, sample_weight
            )
        epochs, num_threads = check_run(epochs, num_threads)
        callbacks = [*([ProgressBar()] if check_verbose(verbose) else []), *check_callbacks(callbacks)]
        judge = partial(self._judge, interactions, user_features, item_features, sample_weight, num_threads)
        (data, item_features, given), judged_for = judge(), self._judged_for()
        user_features, n_items = data.user_features, data.shape[1]
        with running(self, epochs, callbacks) as goes_on:
            if callbacks:  # Callback.begin may have assigned hyperparameters
                self._check_parameters()
                if self._judged_for() != judged_for:
                    (data, item_features, given), judged_for = judge(), self._judged_for()
                    user_features = data.user_features
            self._make_room(data, item_features, given, bool(callbacks))
            if not epochs:
                return
            trained = self._judged_sides()
            trained.check_finite(num_threads)
            before.keep_values()
            n_before, is_first = self._n_epochs, self._is_first(data)
            if trained.are_cosines:
                shares = popularity(data.positives, trained.items.scaled(item_features))
                break_ties(trained.trainable_table("item").view("biases"), shares)
            of_users, entries, weights = data.excerpt(self._users.scaling, num_threads)
            self._settle_alphas(item_features, of_users, entries, weights, epochs, num_threads, callbacks)
            weight = mean_weight(entries, weights, facts_of(self.loss).takes_labels)
            del of_users, entries, weights  # of a shard, which training reads again
            beside, is_watched = None, any(not isinstance(callback, ProgressBar) for callback in callbacks)
            may_have = self.linear_components != 0 and takes_content(self.loss, self.interactions)
            may_have &= not has_no_autoencoder(vars(self), {name: getattr(self, f"{name}_") for name in ALPHAS})
            if may_have and (is_first or self._autoencoder is not None):
                with stage(callbacks, "Fitting the linear autoencoder"):
                    beside = data.beside(self.linear_components, item_features, self._autoencoder, num_threads)
            with self._fixed_shapes(), self._set_aside() as newcomers:
                has_warned = False
                with averaged(trained.trainable_tables, self.average and epochs > 1) as average:
                    for _ in range(epochs):
                        self._run_epoch(
                            item_features, user_features, data.samples, data.weights, num_threads, self.loss
                        )
                        self._turn.has_trained = True
                        if self.history_ and not has_warned:  # a subclass that trains in another way has no history
                            has_warned = warn_of_loss(self.get_params(), n_items, weight, self.history_[-1])
                        with average(bool(callbacks)):
                            if beside is not None and is_watched:
                                self._take_autoencoder(beside, data, item_features, num_threads)
                            is_over = not goes_on()
                        self._autoencoder = None
                        if callbacks:  # they may have written to the state arrays
                            trained.check_finite(num_threads)
                        if is_over:
                            break
        self._place_unmet(data, item_features, num_threads)
        if beside is not None:
            self._take_autoencoder(beside, data, item_features, num_threads)
        if self.cold_start != "features" and takes_content(self.loss, self.interactions):
            if self._judged_for() != judged_for:  # a callback has assigned the choice since
                data.check_content(self.cold_start, item_features, newcomers[0])
            may_learn = is_first or self.cold_start != "auto"
            if any(part is not None for part in newcomers) or (may_learn and data.have_content(item_features)):
                if verbose:
                    tell("Learning to represent new users and items")
                # With the epochs of an interrupted call, this call learns as if there had been no interruption.
                self._learn_newcomers(newcomers, data, item_features, n_before + epochs, num_threads)
        self._is_settled = True

    def _judge(
        self, interactions: Any, user_features: Any, item_features: Any, sample_weight: Any, num_threads: int
    ) -> tuple[TrainingData, sp.csr_matrix, dict[str, bool]]:
        """Check the input of training: return the data, the items' features, and for which sides features are given."""
        data = training_data(interactions, user_features, sample_weight, vars(self), num_threads)
        given = {"user": data.given_features is not None, "item": item_features is not None}
        data.user_features, item_features = self._feature_matrices(
            *data.shape, data.given_features, item_features, may_grow=True
        )
        data.check_dropout(self.identity_dropout, item_features)
        data.check_content(self.cold_start, item_features, self._content)
        data.check_autoencoder(self.linear_components, item_features, self._autoencoder)
        return data, item_features, given

    def _judged_for(self) -> tuple[Any, ...]:
        """Return the hyperparameters on which :meth:`_judge` depends."""
        return self.loss, self.feature_scaling, self.identity_dropout, self.cold_start, self.linear_components

    def _make_room(
        self, data: TrainingData, item_features: sp.csr_matrix, given: Mapping[str, bool], has_callbacks: bool
    ) -> None:
        """Initialise the tables, or let them and what was learned beside them grow to the columns of the features.

        ``given`` tells for which sides the caller gave features.
        """
        features = {"user": data.user_features, "item": item_features}
        is_fresh = self._forget_remains()
        n_known = 0 if is_fresh else self._users.n_rows
        self._without_past, self._scratch = data.without_past(n_known), data.scratch
        try:
            if is_fresh:
                self._initialize(self.no_components, features["item"].shape[1], features["user"].shape[1])
            known = self._judged_sides()
            if data.scratch is not None:  # the folder of earlier shards may be gone
                known.trainable_table("user").folder = data.scratch
            if is_fresh or has_callbacks:  # a subclass's _initialize, or a callback, may have made other shapes
                for name, matrix in features.items():
                    known[name].check_width(matrix, may_grow=not is_fresh)
            data.check_may_grow(known.users.n_rows)
            grown = {name: self._grown(known.trainable_table(name), name, matrix) for name, matrix in features.items()}
        finally:
            self._without_past = self._scratch = None
        for name, table in grown.items():
            if is_fresh or table is not None:
                known[name].needs_features |= given[name] and not is_identity(features[name])
            self._learn_scaling(known[name], features[name], data, is_fresh, table is not None)
            if table is not None:
                known[name].replace(table)
        n_columns = self._users.n_rows, self._items.n_rows
        if self._content is not None:
            self._content = self._content.widened(*n_columns)
        if self._autoencoder is not None:
            self._autoencoder = self._autoencoder.widened(*n_columns)
        for side in (self._users, self._items):
            if side.mapping is not None:
                side.mapping = side.mapping.widened(side.n_rows)

    def _is_first(self, data: TrainingData) -> bool:
        """Tell whether a call is the first, or goes on with most of the users of a first call that was interrupted."""
        if self._is_settled or not self._n_epochs:
            return not self._is_settled
        return 2 * data.count_likers() >= int(np.count_nonzero(self._met.users))

    def _take_autoencoder(
        self, beside: Beside, data: TrainingData, item_features: sp.csr_matrix, num_threads: int
    ) -> None:
        """Add the autoencoder to scores, with its weight beside the factors as they are."""
        user_features = data.features_of(beside.users)
        self._autoencoder = beside.weighed_in(self._judged_sides(), user_features, item_features, num_threads)

    def _place_unmet(self, data: TrainingData, item_features: sp.csr_matrix, num_threads: int) -> None:
        """Make users without positives score popular items highest, and items without positives below other items.

        This changes only users and items without known features. If scores are cosines, such items' embeddings become
        zeros, so their cosines are 0. Such users' embeddings have been zeros from the start.
        """
        sides = self._judged_sides()
        users, items = sides.trainable_table("user"), sides.trainable_table("item")
        columns, weights = unmet_items(items.view("biases"), sides.items.scaled(item_features), self._met)
        if sides.are_cosines:
            items.view("embeddings")[columns] = 0
            return
        rows = unmet_users(users.view("embeddings"), self._met) if is_identity(data.user_features) else columns[:0]
        if not len(columns) and not len(rows):
            return
        embeddings, biases, _ = sides.represent("item", item_features, None, num_threads)
        n_items = min(len(self._met.items), len(biases))
        counts, biases = self._met.items[:n_items], biases[:n_items]
        if len(rows):
            placed = popular_embedding(embeddings[:n_items, : self.no_components], biases, counts)
            users.view("embeddings")[rows] = placed
            self._met = replace(self._met, placed=placed)
        if len(columns):
            of_users = (sides.represent("user", block, None, num_threads)[0] for block in data.blocks_of_users())
            of_items = weights[:, None] * items.view("embeddings")[columns]
            low = low_bias(max(map(longest, of_users)), of_items, biases[counts > 0])
            items.view("biases")[columns] = divided(low, weights)
            self._met = replace(self._met, low=low)

    def _settle_alphas(
        self,
        item_features: sp.csr_matrix,
        of_users: SideInput,
        interactions: Interactions,
        weights: NDArray[np.float32],
        epochs: int,
        num_threads: int,
        callbacks: Sequence[Any],
    ) -> None:
        """Find the alphas that are "auto", unless an earlier call has, and note all as they are trained with."""
        alphas = {name: getattr(self, name) for name in ALPHAS}
        earlier = {name: getattr(self, f"{name}_") for name in ALPHAS}
        to_find = [name for name in ALPHAS if is_auto(alphas[name]) and earlier[name] is None]
        if to_find:
            features = of_users.scaled(), self._items.scaled(item_features)
            problem = Problem(self.get_params(), *features, interactions, weights, num_threads)
            # The race draws from a copy: training goes on as if the alphas had been given.
            with stage(callbacks, "Choosing the L2 penalty") as is_shown:
                found = find_alpha(problem, epochs, copy.deepcopy(self.random_state))
            earlier.update(dict.fromkeys(to_find, found.alpha))
            if is_shown:
                tell(f"{', '.join(to_find)} {found.alpha}: {found.report}")
        for name in ALPHAS:
            learn(self, **{f"{name}_": earlier[name] if is_auto(alphas[name]) else float(alphas[name])})

    def _settled_parameters(self) -> dict[str, Any]:
        """Return the constructor's arguments with numbers for alphas that are "auto"."""
        parameters = self.get_params()
        for name in ALPHAS:
            if is_auto(parameters[name]):
                found = getattr(self, f"{name}_")
                parameters[name] = USUAL_ALPHA if found is None else found
        return parameters

    def _learn_newcomers(
        self,
        before: Newcomers,
        data: TrainingData,
        item_features: sp.csr_matrix,
        epochs: int,
        num_threads: int,
    ) -> None:
        """Learn what represents new users and items, or bring up to date what earlier training has learned."""
        seed = self._seed or 0
        self._set_newcomers(before)

        def race(held: NDArray[np.bool_]) -> Sides:
            of_users, interactions, weights = data.excerpt(None, num_threads)
            user_features = of_users.features
            kept, numbers = ~held[interactions.col], np.cumsum(~held) - 1
            pairs = interactions.row[kept], numbers[interactions.col[kept]]
            shape = interactions.shape[0], int((~held[: interactions.shape[1]]).sum())
            entries = sp.coo_matrix((interactions.data[kept], pairs), shape)
            settings = {**self._settled_parameters(), **WITHOUT_COORDINATES, "random_state": seed}
            if not has_identity_columns(user_features, item_features[~held], entries):
                settings["identity_dropout"] = 0.0  # a column that two items had may be one item's here
            model = LightFM(**settings)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of a high loss, which training itself reports
                model.fit(
                    entries,
                    user_features=user_features,
                    item_features=item_features[~held],
                    sample_weight=sp.coo_matrix((weights[kept], pairs), shape) if weights.strides != (0,) else None,
                    epochs=-(-epochs // RACE_EPOCHS),
                    num_threads=num_threads,
                )
            return model._judged_sides()

        try:
            self._content = data.learn_newcomers(
                replace(self._judged_sides(), autoencoder=None),
                before,
                item_features,
                self.cold_start,
                seed,
                race,
                num_threads,
            )
        except BaseException:  # such as Ctrl-C, after which the trained parameters stay
            self._set_newcomers(before)
            raise

    @contextmanager
    def represented_by(self, cold_start: str, entries: Entries, num_threads: int) -> Iterator[None]:
        """Represent newcomers in another way within a ``with`` block, so that :mod:`lightfm_fast.tuning` compares ways.

        Parameters
        ----------
        cold_start : str
            The way, as in the constructor.
        entries : Entries
            What the model was trained on.
        num_threads : int
        """
        before, own = (self._content, self._users.mapping, self._items.mapping), self.cold_start
        matrix, user_features, item_features, weights = entries.unpacked(None, None, None)
        data = training_data(matrix, user_features, weights, vars(self), num_threads)
        data.user_features, item_features = self._feature_matrices(*data.shape, user_features, item_features)
        try:
            self.cold_start = cold_start
            self._set_newcomers((None, None, None))
            if cold_start != "features":
                self._learn_newcomers((None, None, None), data, item_features, self._n_epochs, num_threads)
            yield
        finally:
            self.cold_start = own
            self._set_newcomers(before)

    @contextmanager
    def _fixed_shapes(self) -> Iterator[None]:
        """Refuse changes of the parameters' shape while epochs run; values may change."""
        sides = self._users, self._items
        for side in sides:
            side.is_training = True
        try:
            yield
        finally:
            self._training_input = None
            for side in sides:
                side.is_training = False

    @contextmanager
    def _set_aside(self) -> Iterator[Newcomers]:
        """Set content, mappings and autoencoder aside during training, and yield the first two.

        They come back only if training raises.
        """
        newcomers, autoencoder = (self._content, self._users.mapping, self._items.mapping), self._autoencoder
        is_settled = self._is_settled
        self._set_newcomers((None, None, None))
        self._autoencoder, self._is_settled = None, False  # also in a checkpoint, with which training goes on
        try:
            yield newcomers
        except BaseException:
            self._set_newcomers(newcomers)
            self._autoencoder = autoencoder
            raise
        finally:
            self._is_settled = is_settled

    def _set_newcomers(self, newcomers: Newcomers) -> None:
        self._content, self._users.mapping, self._items.mapping = newcomers

    @property
    def _is_training(self) -> bool:
        return self._users.is_training or self._items.is_training

    def _check_parameters(self) -> None:
        """Check the constructor's arguments again: their attributes may have been assigned since."""
        check_parameters(self.get_params(), MAY_BE_NONE)
        check_loss_fits(self.loss, vars(self))

    def _reset_state(self) -> None:
        """Forget everything learned, and go back to the seed if it was a number."""
        check_may_reshape(self._is_training, "what the model has learned")
        self._forget()
        self.random_state = self.initial_random_state

    def _forget(self) -> None:
        self._users, self._items = Side("user"), Side("item")
        self._quick = QuickCopy()
        self._seed: int | None = None
        self._n_epochs = 0
        self._content = self._autoencoder = None
        self._is_settled = False
        self._training_input = None
        self._entries = None
        self._met = Met.nobody()
        trained_on = Fingerprint()
        learn(
            self, history_=[], item_alpha_=None, user_alpha_=None, trained_on_=trained_on, dataset_=None, encoders_={}
        )

    def _forget_remains(self) -> bool:
        """Forget what a model without all state arrays still has, as if they were None too; tell if it lacks any."""
        is_fresh = not (self._users.is_complete and self._items.is_complete)
        if is_fresh:
            entries = self._entries
            self._forget()
            self._entries = entries
        return is_fresh

    def _initialize(self, no_components: int, no_item_features: int, no_user_features: int) -> None:
        """Start every embedding at N(0, init_scale), or U(-0.5, 0.5) / no_components, and every bias at 0.

        Embeddings of the user features in ``_without_past`` start at 0.
        """
        start = self._start()
        for side, n_rows, at_zero in (
            (self._items, no_item_features, None),
            (self._users, no_user_features, self._without_past),
        ):
            folder = self._scratch if side is self._users else None
            side.replace(start.new_table(n_rows, no_components, self.learning_schedule, at_zero, folder))

    def _start(self) -> Start:
        return Start(self.random_state, self.init_scale, self.initial_accumulator)

    def _grown(self, table: ParameterTable, name: str, features: sp.csr_matrix) -> ParameterTable | None:
        """Return a larger table if ``features`` has columns without rows in ``table``, else None."""
        at_zero = self._without_past if name == "user" else None
        return self._start().grown(table, features, at_zero)

    def _learn_scaling(
        self,
        side: Side,
        features: sp.csr_matrix,
        data: TrainingData,
        is_fresh: bool,
        grows: bool,
    ) -> None:
        """Learn the scales of a side's features that have none, before the side's table grows."""
        begins = self.feature_scaling is not None and not is_identity(features) and (is_fresh or grows)
        if begins or side.scaling is not None:
            parts = data.visited(side.name, features, facts_of(self.loss).takes_labels)
            side.learn_scaling(parts, features.shape[1], 0 if is_fresh else side.n_rows)

    @property
    def _sides(self) -> Sides:
        """The current parameters and how they make a score. Checks the attributes that they depend on."""
        check_parameters({"no_components": self.no_components, "learning_schedule": self.learning_schedule})
        sides = self._judged_sides()
        if (sides.content, sides.autoencoder) != (None, None) and not takes_content(self.loss, self.interactions):
            raise ParameterError(
                f"loss is {self.loss!r} and interactions {self.interactions!r}, but the model was fitted with a linear "
                "autoencoder or content, which suit products of embeddings only: assign what it was fitted with, or "
                "fit it anew"
            )
        return sides

    def _judged_sides(self) -> Sides:
        """Return :attr:`_sides` without a check, for callers that have checked the attributes or read none."""
        return Sides(
            self._users,
            self._items,
            self.no_components,
            self.learning_schedule,
            self.interactions == "all",
            facts_of(self.loss).scores_are_cosines,
            self._n_epochs,
            self._content,
            self._autoencoder,
        )

    def _snapshot(self) -> Snapshot:
        return Snapshot(vars(self), (self._users, self._items), self.history_, self.random_state)

    def _check_initialized(self) -> None:
        self._judged_sides().check_initialized()  # this check reads no attribute that may be wrong

    def _construct_feature_matrices(
        self, n_users: int, n_items: int, user_features: Any, item_features: Any
    ) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """Return both sides' features as float32 CSR matrices; the identity if no features are given.

        The matrices may have more columns than the model knows: the result of a subclass's hook is checked afterwards.
        """
        return (
            unsealed(self._users.feature_matrix(n_users, user_features, may_grow=True)),
            unsealed(self._items.feature_matrix(n_items, item_features, may_grow=True)),
        )

    def _feature_matrices(
        self,
        n_users: int,
        n_items: int,
        user_features: Any,
        item_features: Any,
        may_grow: bool = False,
        sources: tuple[str | None, str | None] = (None, None),
        rows: tuple[NDArray[np.int64] | None, NDArray[np.int64] | None] = (None, None),
    ) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """Return both sides' features, checked once. If a subclass overrides the hook, use the hook's matrices."""
        if type(self)._construct_feature_matrices is not LightFM._construct_feature_matrices:
            sources = None, None  # the hook may know rows that the caller's features lack
            user_features, item_features = self._construct_feature_matrices(
                n_users, n_items, user_features, item_features
            )
        return (
            self._users.feature_matrix(n_users, user_features, may_grow, sources[0], rows[0]),
            self._items.feature_matrix(n_items, item_features, may_grow, sources[1], rows[1]),
        )

    def _run_epoch(
        self,
        item_features: Any,
        user_features: Any,
        interactions: Any,
        sample_weight: Any,
        num_threads: int,
        loss: str,
    ) -> None:
        """Train one epoch. Raises ValueError if it diverges; :meth:`fit_partial` then restores the model."""
        self._check_parameters()
        item_side = SideInput(item_features, self._items.scaling)
        user_side = SideInput(user_features, self._users.scaling)
        facts = facts_of(loss, self.negatives)
        given = (item_side, user_side, interactions, sample_weight, facts)
        inputs = (*given, self.identity_dropout > 0, exponent_of(vars(self)))
        is_new = self._training_input is None or not self._training_input.is_made_of(*inputs)
        if self._training_input is None or is_new:
            self._training_input = prepared(*inputs, num_threads=num_threads, met=self._met)
        training_input = self._training_input
        sides = self._judged_sides()
        users, items = sides.trainable_table("user"), sides.trainable_table("item")
        training_input.check_tables(users, items)
        met = training_input.met
        if is_new and sides.are_cosines and self._met.items.any():
            self._start().wake(items.view("embeddings"), newly_met(self._met, met, item_features))
        # Made before the epoch: a MemoryError after the epoch would leave a trained epoch that history_ lacks.
        trained_on = self.trained_on_.merged(training_input.fingerprint()) if is_new else self.trained_on_
        # Each epoch moves the generator on, as LightFM's.
        drawn = int(self.random_state.randint(1 << 32, dtype=np.uint64))
        if self._seed is None:
            self._seed = drawn
        learning_rate = float(self.learning_rate) * check_learning_rate_factor(self.learning_rate_factor)
        parameters = {
            **self._settled_parameters(),
            "loss": loss,
            "learning_rate": learning_rate,
            "learning_schedule": items.learning_schedule,
        }
        started = time.perf_counter()
        try:
            self._turn.has_trained = True  # set before the epoch, since Ctrl-C may end it early
            total, samples, diverged = train_epoch(
                parameters, training_input, users, items, self._seed, self._n_epochs, num_threads
            )
        except Exception:
            self._turn.has_trained = False
            raise
        if diverged:
            self._turn.has_trained = False
            raise DivergedError(
                f"training diverged in epoch {self._n_epochs + 1}: scores are no longer finite, and the model is as it "
                f"was before. Try a smaller learning_rate (now {learning_rate}), or scale down feature values and "
                "sample weights"
            )
        self._n_epochs += 1
        self.history_.append(
            {
                "epoch": self._n_epochs,
                "loss": total / max(samples, 1),
                "seconds": time.perf_counter() - started,
                "samples": samples,
            }
        )
        learn(self, trained_on_=trained_on)
        self._met = met

    def get_state(self) -> dict[str, NDArray[np.float32]]:
        """Copy the parameters and the optimiser's accumulators, for :meth:`set_state` to restore later.

        Returns
        -------
        dict
            The state arrays by name, such as ``"item_embeddings"``, without arrays that the optimiser does not use.

        Raises
        ------
        ValueError
            If the model is not fitted.
        """
        self._check_initialized()
        sides = self._sides
        tables = {name: sides.table(name) for name in ("user", "item")}
        return {
            f"{name}_{field}": np.array(table.view(field))
            for name, table in tables.items()
            for field in filter(table.stores, FIELDS)
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Assign the state arrays that :meth:`get_state` has returned; the history stays.

        Raises
        ------
        TypeError
            If ``state`` is no mapping.
        ValueError
            If a name is no state array's, or an array is not finite or has another number of dimensions. The model is
            then as it was before.
        RuntimeError
            If an array has another shape while the model trains.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state is {shorten(state)}, expected the dict that get_state returned")
        known = tuple(f"{name}_{field}" for name in ("user", "item") for field in FIELDS)
        for name in state:
            check_choice(name, "the name of a state array", known)
        before = self._snapshot()
        before.keep_values()
        try:
            for name, array in state.items():
                setattr(self, name, array)
        except BaseException:
            before.restore()
            raise

    # ------------------------------------------------------------------ scoring

    def predict(
        self,
        user_ids: Any,
        item_ids: Any,
        item_features: Any = None,
        user_features: Any = None,
        num_threads: int = 1,
    ) -> NDArray[np.float32]:
        """Score pairs of a user and an item.

        Parameters
        ----------
        user_ids : int or sequence of int, shape (n_pairs,)
            Row numbers; a single user is paired with every item.
        item_ids : sequence of int, shape (n_pairs,)
            Row numbers.
        item_features, user_features : sparse matrix or array, or dense array, optional
            As in fitting: the same columns, and a row for every id.
        num_threads : int
            Threads that score.

        Returns
        -------
        float32 array of shape (n_pairs,)
            A larger score is a better match. Scores of different users are not comparable.

        Raises
        ------
        ValueError
            If the model is not fitted, or ids or features do not fit it. If few rows are asked for of a CSR matrix of
            features with at least 4,096 rows, only these rows are checked.
        """
        self._check_initialized()
        num_threads = check_num_threads(num_threads)
        users, items = check_ids(user_ids, item_ids)
        n_users, n_items = count_rows(users), count_rows(items)
        sources = f"user_ids goes up to {n_users - 1:,}", f"item_ids goes up to {n_items - 1:,}"
        user_matrix, item_matrix = self._feature_matrices(
            n_users, n_items, user_features, item_features, sources=sources, rows=(users, items)
        )
        check_within(users, "user", user_matrix.shape[0])
        check_within(items, "item", item_matrix.shape[0])
        if not len(users):
            return np.empty(0, dtype=np.float32)
        return score_pairs(self._sides, user_matrix, item_matrix, users, items, num_threads)

    def predict_proba(
        self,
        user_ids: Any,
        item_ids: Any,
        item_features: Any = None,
        user_features: Any = None,
        num_threads: int = 1,
    ) -> NDArray[np.float32]:
        r"""Probability that an interaction is positive, :math:`\sigma(score)`, for the logistic loss.

        It takes the same arguments as :meth:`predict`.

        Returns
        -------
        float32 array of shape (n_pairs,), from 0 to 1

        Raises
        ------
        ValueError
            For a ranking loss, whose scores only order items; and as :meth:`predict`.
        """
        if not facts_of(self.loss).gives_probabilities:
            raise ValueError(
                f"loss={self.loss!r} learns an order of items, not probabilities: use predict, or loss='logistic'"
            )
        from scipy.special import expit  # imported here, since it is slow to import

        return expit(self.predict(user_ids, item_ids, item_features, user_features, num_threads))

    def predict_rank(
        self,
        test_interactions: Any,
        train_interactions: Any = None,
        item_features: Any = None,
        user_features: Any = None,
        num_threads: int = 1,
        check_intersections: bool = True,
    ) -> sp.csr_matrix:
        """Rank each test item among all items for its user.

        Parameters
        ----------
        test_interactions : sparse matrix or array, or dense array, shape (n_users, n_items)
            Stored entries are the items to rank.
        train_interactions : same kinds and shape, optional
            Stored entries are left out of the ranking.
        item_features, user_features : sparse matrix or array, or dense array, optional
            As in fitting.
        num_threads : int
            Threads that rank.
        check_intersections : bool
            Refuse entries that are in both matrices. If False, an item that is in both is ranked like any other.

        Returns
        -------
        csr_matrix of shape (n_users, n_items), float32
            The same entries as ``test_interactions``, sorted. Each value is the number of other items that score at
            least as high: 0 is the best rank, and ties count against the item.

        Raises
        ------
        ValueError
            If the model is not fitted, a parameter is NaN or infinite, shapes do not fit, or the matrices intersect.
        """
        self._check_initialized()
        num_threads = check_num_threads(num_threads)
        test, train = check_test_and_train(test_interactions, train_interactions, check_intersections)
        sources = f"test_interactions has {test.shape[0]:,} users", f"test_interactions has {test.shape[1]:,} items"
        user_matrix, item_matrix = self._feature_matrices(*test.shape, user_features, item_features, sources=sources)
        if item_features is None:
            check_ranked_items(test.shape[1], self._items.n_rows)
        if not test.nnz:
            return test.astype(np.float32)
        return rank(self._sides, user_matrix, item_matrix, test, train, num_threads)

    def recommend(
        self,
        user_ids: Any,
        n: int = 10,
        interactions: Any = None,
        filter_seen: bool = True,
        items: Any = None,
        exclude: Any = None,
        user_features: Any = None,
        item_features: Any = None,
        num_threads: int = 1,
        user_representations: Representations | None = None,
        dataset: Dataset | None = None,
    ) -> Recommendations:
        """Choose the items that score highest for each user.

        The memory used grows with the result only: scores of all users and items are never held at once. With
        ``item_features`` every call computes all items' representations; :meth:`to_matrix_factorization` computes them
        once.

        Requests for one user in a row are quicker from the second on, with the same answers. The model then keeps a
        copy of its items, of 12 bytes an item and one for each component, until its parameters change
        (docs/recommend.md).

        Parameters
        ----------
        user_ids : int or sequence of int, shape (n_users,)
            Row numbers, in any order.
        n : int
            Number of items for each user: from 1 to 65,536, or to the number of items if that is larger.
        interactions : sparse matrix or array, or dense array, shape (all users, n_items or fewer), optional
            The users' past interactions. CSR is the fastest format for few users.
        filter_seen : bool
            Leave out the items for which the user has an entry other than zero in ``interactions``.
        items : sequence of int, optional
            Choose among these items only. By default all rows of ``item_features``, or all items of fitting.
        exclude : sequence of int, optional
            Never recommend these items.
        user_features, item_features : sparse matrix or array, or dense array, optional
            As in fitting: the same columns, and a row for every id.
        num_threads : int
            Threads that score.
        user_representations : Representations, optional
            Users that the model does not know, as :meth:`fold_in_users` represents them. ``user_ids`` and the rows of
            ``interactions`` then number the rows of these representations.
        dataset : Dataset, optional
            Take ``user_ids``, ``items`` and ``exclude`` as ids of this dataset, and return its ids. A tuple is one id.
            With ``user_representations``, ``user_ids`` stay row numbers.

        Returns
        -------
        Recommendations
            A tuple of ``ids``, int64, and ``scores``, float32, both of shape (n_users, n), best first. Scores equal
            those of :meth:`predict` to single precision. Items are ordered before the user's bias is added, and the
            lower number comes first among equal scores. If a user has fewer than ``n`` items left, the rest of the
            row has ids -1 and scores -inf.

        Raises
        ------
        ValueError
            If the model is not fitted, ``n`` is no whole number of at least 1, or ids, features or interactions do
            not fit the model. For few users only their rows of features are checked, as in :meth:`predict`.
        """
        self._check_initialized()
        num_threads = check_num_threads(num_threads)
        sides = self._sides
        filter_seen = check_flag(filter_seen, "filter_seen")
        users, represented = asked_users(sides, user_ids, user_features, user_representations, dataset, num_threads)

        def seen_among(n_items: int) -> sp.csr_matrix | None:
            return check_seen(interactions, users, n_items) if filter_seen and interactions is not None else None

        shortlist = None
        if len(users) == 1 and items is None and exclude is None and not self._turn.is_taken:
            shortlist = self._quick.shortlist(sides, item_features, represented, n, seen_among, num_threads)
        catalogue = Catalogue(sides, n, items, exclude, item_features, dataset, num_threads, shortlist)
        seen = seen_among(catalogue.n_items) if shortlist is None else None
        best = catalogue.best(represented, n, seen, num_threads)
        return Recommendations(catalogue.vocabulary.ids(best.ids), best.scores)

    def recommend_in_blocks(
        self,
        users: Any = None,
        n: int = 10,
        interactions: Any = None,
        filter_seen: bool = True,
        items: Any = None,
        exclude: Any = None,
        user_features: Any = None,
        item_features: Any = None,
        num_threads: int | None = None,
        user_representations: Representations | None = None,
        dataset: Dataset | None = None,
        users_per_block: int | None = None,
    ) -> Iterator[Lists]:
        """Choose the best items for many users, one block of users after another, in memory that does not grow.

        Items are represented once. The input is checked in this call, before the first block. Do not train the model
        before the last block.

        Parameters
        ----------
        users : sequence, optional
            As ``user_ids`` of :meth:`recommend`. By default all users: of the dataset, of ``user_representations`` or
            of ``user_features``, and without these of fitting.
        n, interactions, filter_seen, items, exclude, user_features, item_features : optional
        user_representations, dataset : optional
            As in :meth:`recommend`.
        num_threads : int, optional
            Threads that score. By default as many as the process has CPUs.
        users_per_block : int, optional
            By default as many as have lists of some two million places, at most 65,536.

        Returns
        -------
        iterator of Lists
            Tuples of ``users``, ``ids`` and ``scores``: the answers of :meth:`recommend`, with at most as many columns
            as there are items. Without users, one tuple of empty arrays.

        Raises
        ------
        TypeError, ValueError
            In the cases of :meth:`recommend`.
        """
        self._check_initialized()
        return iter(
            Request(
                self._sides,
                users,
                n,
                interactions,
                filter_seen,
                items,
                exclude,
                user_features,
                item_features,
                num_threads,
                user_representations,
                dataset,
                users_per_block,
            )
        )

    def recommend_to(
        self,
        path: str | os.PathLike[str],
        users: Any = None,
        n: int = 10,
        interactions: Any = None,
        filter_seen: bool = True,
        items: Any = None,
        exclude: Any = None,
        user_features: Any = None,
        item_features: Any = None,
        num_threads: int | None = None,
        user_representations: Representations | None = None,
        dataset: Dataset | None = None,
        users_per_block: int | None = None,
        user_names: Sequence[Any] | None = None,
        user: str = "user_id",
        item: str = "item_id",
        verbose: bool = False,
    ) -> Written:
        """Write the best items of many users to Parquet, in memory that does not grow (extra ``cli``).

        A row for each recommendation: the user, the item, the rank from 1 (int32) and the score (float32). Users are in
        the order asked for, items best first.

        Parameters
        ----------
        path : path
            A name that ends in .parquet is one file, written whole or not at all. A name without an ending, or an
            existing folder, is a folder of files ``part-00000.parquet`` and so on, one a block of users, each written
            whole or not at all. A file named ``_SUCCESS`` is added last. The same call again goes on after an
            interruption: parts that answer the same question, by a hash of the representations and all else that the
            lists depend on, are kept. Parts of another question are replaced. A folder that holds other files is
            refused.
        users, n, interactions, filter_seen, items, exclude, user_features, item_features : optional
        num_threads, user_representations, dataset, users_per_block : optional
            As in :meth:`recommend_in_blocks`. With a dataset its ids are written, as text (also UUIDs), whole numbers,
            floats, booleans or bytes; without one, row numbers. Each part has ``users_per_block`` users.
        user_names : sequence, optional
            What to write for the users, one for each in their order: the ids of newcomers with
            ``user_representations``.
        user, item : str
            Names of the columns of users and items.
        verbose : bool
            Show a progress bar if tqdm is installed (extra ``progress``), else log a line for each block.

        Returns
        -------
        Written
            The numbers of users and of rows, and of users whose lists were kept.

        Raises
        ------
        ImportError
            If pyarrow is not installed.
        TypeError, ValueError
            In the cases of :meth:`recommend`; also if ``path`` has another ending, its folder holds other files, ids
            are of types that a column cannot hold, or the columns' names are not different.
        OSError
            If a file cannot be written. One file is then as it was before; a folder keeps its complete parts.
        """
        self._check_initialized()
        request = Request(
            self._sides,
            users,
            n,
            interactions,
            filter_seen,
            items,
            exclude,
            user_features,
            item_features,
            num_threads,
            user_representations,
            dataset,
            users_per_block,
        )
        return write_lists(request, path, user_names, user, item, verbose)

    def index(self, item_features: Any = None, n_compared: int = N_COMPARED, num_threads: int = 1) -> ItemIndex:
        """Build an approximate index of the items, for catalogues too large to score in full.

        Parameters
        ----------
        item_features : sparse matrix or array, or dense array, optional
            As in fitting.
        n_compared : int
            The smallest number of items that a search compares. With a larger number a search finds more of the best
            items, and takes longer. With no more items than this in all, the index is exact. The number can be changed
            later: ``index.n_compared = 50_000``.
        num_threads : int
            Threads that build.

        Returns
        -------
        ItemIndex
            Its ``recommend`` approximates the model's; its ``recall`` measures how closely; its ``save`` writes it to
            a file.

        Raises
        ------
        ValueError
            If the model is not fitted, or an argument does not fit.
        """
        num_threads = check_num_threads(num_threads)
        self._check_initialized()
        return ItemIndex.build(lambda: self._sides, item_features, n_compared, num_threads)

    def load_index(self, path: str | os.PathLike[str], verify: str = "all") -> ItemIndex:
        """Map an index of this model, which :meth:`lightfm_fast.index.ItemIndex.save` wrote, into memory.

        Processes that map the file share one copy.

        Parameters
        ----------
        path : path
        verify : {"all", "structure"}
            "all" reads the whole file, to compare it with its SHA-256; "structure" skips the vectors.

        Returns
        -------
        ItemIndex

        Raises
        ------
        ValueError
            If the file is truncated or altered, no index, or the index of another model or of another state of it.
        OSError
            If it cannot be opened.
        """
        self._check_initialized()
        return ItemIndex.load(path, lambda: self._sides, verify)

    def export_onnx(
        self, path: str | os.PathLike[str], inputs: str = "ids", user_features: Any = None, item_features: Any = None
    ) -> None:
        """Write the scores and the best items of users as an ONNX graph (extra ``onnx``).

        Inputs of the graph: ``user_ids`` (int64, one dimension) or ``user_features`` (float32, a row per user, a column
        per feature), and ``k`` (int64, one number in one dimension).

        Outputs of the graph: ``scores`` (float32, a row per user, a column per item), and the k best items as
        ``top_ids`` (int64) and ``top_scores`` (float32), the lower row first among equal scores. If k exceeds the
        number of items, rows end with -1 and -inf, as in ``recommend``. A runtime computes only the outputs asked for.

        Parameters
        ----------
        path : path
            The file to write.
        inputs : {"ids", "features"}
            Whether the graph takes ``user_ids`` or ``user_features``.
        user_features : sparse matrix or array, or dense array, optional
            Features of the users, a row for each id that the graph takes. Refused with ``inputs="features"``.
        item_features : sparse matrix or array, or dense array, optional
            Features of the items. The graph holds the items' representations.

        Raises
        ------
        ImportError
            If onnx is not installed.
        ValueError
            If the model is not fitted, features do not fit it, or the graph would exceed ONNX's limit of 2 GiB.
        OSError
            If the file cannot be written.
        """
        self._check_initialized()
        export_onnx(self._sides, path, inputs, user_features, item_features)

    def to_matrix_factorization(
        self,
        user_features: Any = None,
        item_features: Any = None,
        num_threads: int = 1,
        sides: Collection[str] = ("user", "item"),
    ) -> LightFM:
        """Make a model without features that scores as this model does with the given features.

        The embeddings of its users and items are their representations in this model. Save it and map it into memory
        to serve without features.

        Parameters
        ----------
        user_features, item_features : sparse matrix or array, or dense array, optional
            As in fitting.
        num_threads : int
            Threads that compute the representations.
        sides : collection of {"user", "item"}
            The sides to convert. The other side keeps its features: with ``sides=["item"]`` the new model still takes
            ``user_features``, also of new users, while its items need no features.

        Returns
        -------
        LightFM
            A model with the same hyperparameters, ``dataset_`` and ``encoders_``. Its history is empty and its
            accumulators are new. Where content places new items or there is a linear autoencoder, its embeddings are
            longer by these coordinates, ``cold_start`` is "features" and ``linear_components`` is 0.

        Raises
        ------
        ValueError
            If the model is not fitted, or features do not fit it; or if there are coordinates of content or of a linear
            autoencoder and a side with features is not among ``sides``.
        """
        self._check_initialized()
        num_threads = check_num_threads(num_threads)
        check_sides(sides, user_features, item_features)
        own = self._sides
        parameters = self.get_params()
        if own.length > own.no_components:
            sides = own.check_both_are_converted(sides)
            parameters = {**parameters, **WITHOUT_COORDINATES, "no_components": own.length}
        model = type(self)(**parameters)
        made = model._judged_sides()
        for side, features in (("user", user_features), ("item", item_features)):
            if side in sides:
                embeddings, biases = own.representations(side, features, num_threads)
            else:
                embeddings, biases = (own.table(side).view(field) for field in ("embeddings", "biases"))
                made[side].needs_features, made[side].scaling = own[side].needs_features, own[side].scaling
                made[side].mapping = own[side].mapping
            table = ParameterTable(len(biases), model.no_components, self.learning_schedule, self.initial_accumulator)
            table.view("embeddings")[...], table.view("biases")[...] = embeddings, biases
            made[side].replace(table)
        learn(model, **{name: getattr(self, name) for name in ("item_alpha_", "user_alpha_", "dataset_", "encoders_")})
        model._seed = self._seed  # new users and items are folded in with the same draws
        model._met = self._met.widened(model.no_components)
        return model

    def similar_items(
        self,
        item_ids: Any,
        n: int = 10,
        item_features: Any = None,
        num_threads: int = 1,
        among: Any = None,
        exclude: Any = None,
    ) -> Recommendations:
        """Find the items most similar to each given item, by the cosine of their embeddings; biases do not count.

        Parameters
        ----------
        item_ids : int or sequence of int, shape (n_given,)
            Row numbers.
        n : int
            Number of similar items, as in :meth:`recommend`; the item itself is left out.
        item_features : sparse matrix or array, or dense array, optional
            As in fitting. Its rows are the items to choose from; by default all items of fitting.
        num_threads : int
            Threads that score.
        among, exclude : sequence of int, optional
            Choose among the items ``among`` only, and never choose ``exclude``.

        Returns
        -------
        Recommendations
            A tuple of ``ids``, int64, and ``scores``, float32 cosines, both of shape (n_given, n). The most similar
            comes first, and the lower number first among equal cosines. If fewer than ``n`` items are left, the rest
            of the row has -1 and -inf. An item whose representation is zero has the cosine 0 with every item.

        Raises
        ------
        ValueError
            If the model is not fitted, ``n`` is no whole number of at least 1, or ids or features do not fit the
            model.
        """
        return self._similar("item", item_ids, n, item_features, num_threads, among, exclude)

    def similar_users(
        self, user_ids: Any, n: int = 10, user_features: Any = None, num_threads: int = 1
    ) -> Recommendations:
        """Find the users most similar to each given user; see :meth:`similar_items`."""
        return self._similar("user", user_ids, n, user_features, num_threads)

    def _similar(
        self,
        side: str,
        ids: Any,
        n: int,
        features: Any,
        num_threads: int,
        among: Any = None,
        exclude: Any = None,
    ) -> Recommendations:
        self._check_initialized()
        num_threads = check_num_threads(num_threads)
        rows = np.atleast_1d(check_row_numbers(ids, f"{side}_ids"))
        n_asked = count_rows(rows)
        sides = self._sides
        matrix = sides[side].feature_matrix(n_asked, features, source=f"{side}_ids goes up to {n_asked - 1:,}")
        n = check_n(n, matrix.shape[0])
        candidates = check_candidates(among, exclude, matrix.shape[0], "among")
        embeddings, _, _ = sides.represent(side, matrix, None, num_threads)
        return most_similar(embeddings[:, : sides.no_components], rows, n, candidates, num_threads)

    def explain(
        self,
        user_id: int,
        item_id: int,
        user_features: Any = None,
        item_features: Any = None,
        user_feature_names: Any = None,
        item_feature_names: Any = None,
        user_name: str | None = None,
        item_name: str | None = None,
        user_representations: Representations | None = None,
    ) -> Explanation:
        """Split one score into contributions: one of each feature's bias, and one of each pair of features.

        Parameters
        ----------
        user_id, item_id : int
            Row numbers.
        user_features, item_features : sparse matrix or array, or dense array, optional
            As in fitting.
        user_feature_names, item_feature_names : sequence, or mapping from names to columns, optional
            A name for each column, such as the mappings of :meth:`lightfm_fast.data.Dataset.mapping`. By default
            "user 3" if each user has one identity feature, else "user feature 3".
        user_name, item_name : str, optional
            Names of the user and the item in the explanation, such as a film's title. By default "user 3" and
            "item 11".
        user_representations : Representations, optional
            Users that the model does not know, as :meth:`fold_in_users` represents them; ``user_id`` is a row of them.
            ``user_features``, if given, are those that they were folded in with. What the interactions add to these
            is named "history".

        Returns
        -------
        Explanation
            The contributions add up to the score that :meth:`predict` gives. ``rows()`` lists and ``plot()`` draws
            them.

        Raises
        ------
        ValueError
            If the model is not fitted, or ids, features, representations or the number of names do not fit it.
        TypeError
            If names are no sequence, or ``user_name`` or ``item_name`` is no text.
        """
        self._check_initialized()
        check_title(user_name, "user_name")
        check_title(item_name, "item_name")
        sides = self._sides
        numbers = {"user": check_row_number(user_id, "user_id"), "item": check_row_number(item_id, "item_id")}

        def row_of(side: str, features: Any, names: Any) -> Row:
            number = numbers[side]
            matrix = sides[side].feature_matrix(number + 1, features, source=f"{side}_id is {number:,}")
            return Row(number, matrix, check_feature_names(names, side, matrix.shape[1]))

        user = folded = None
        if user_representations is not None:
            folded = Folded.of(user_representations, numbers["user"], sides)
        if folded is None or user_features is not None:
            user = row_of("user", user_features, user_feature_names)
        item = row_of("item", item_features, item_feature_names)
        return replace(explain(sides, numbers["user"], user, item, folded), user_name=user_name, item_name=item_name)

    def get_item_representations(self, features: Any = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return biases and embeddings of items. A score is the embeddings' dot product plus both biases.

        Parameters
        ----------
        features : sparse matrix or array, or dense array, shape (n_items, n_item_features), optional
            Rows to represent. By default each feature is represented by itself.

        Returns
        -------
        item_biases : float32 array of shape (n_items,)
            With ``interactions="all"`` they include the products of each two features of the item.
        item_embeddings : float32 array of shape (n_items, no_components)
            Longer by the coordinates of content, where ``cold_start`` uses them, and by ``linear_components_``.

        Raises
        ------
        ValueError
            If the model is not fitted, or for another number of features.
        """
        return self._get_representations("item", features)

    def get_user_representations(self, features: Any = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return biases and embeddings of users; see :meth:`get_item_representations`."""
        return self._get_representations("user", features)

    def _get_representations(self, side: str, features: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self._check_initialized()
        sides = self._sides
        matrix = identity(sides[side].n_rows) if features is None else sides[side].feature_matrix(0, features)
        embeddings, biases, _ = sides.represent(side, matrix, None, 1)
        embeddings = embeddings[:, : sides.length]
        return biases.copy(), to_directions(embeddings) if sides.are_cosines else embeddings.copy()

    # ------------------------------------------------------------------ newcomers

    def fold_in_users(
        self,
        interactions: Any,
        user_features: Any = None,
        item_features: Any = None,
        epochs: int = 20,
        num_threads: int = 1,
        frozen_items: FrozenItems | None = None,
    ) -> Representations:
        """Represent users that came after training by a few interactions. The model does not change.

        Only the new users are trained: with the model's loss, by AdaGrad at the model's learning rate. The items'
        representations are fixed. ``negatives="popularity"`` draws by the popularity in training. The softmax loss
        leaves out items whose representation is zero.

        Parameters
        ----------
        interactions : sparse matrix or array, or dense array, shape (n_new_users, n_items)
            Row u is new user u; column i is item i of the model.
        user_features : same kinds, shape (n_new_users or more, n_user_features), optional
            Features of the new users, from which they start. Without features they start at 0. A user without
            interactions stays at the start.
        item_features, epochs, num_threads
            As in :meth:`fit`. With one thread, the same model and input give the same bits.
        frozen_items : FrozenItems, optional
            What :meth:`freeze_items` has made of the same ``item_features``, which saves representing all items in
            every call.

        Returns
        -------
        Representations
            ``embeddings`` of shape (n_new_users, no_components) and ``biases`` of shape (n_new_users,), float32.
            Embeddings are as long as in :meth:`get_item_representations`. A score is the dot product of a user's and an
            item's embedding, plus both biases.

        Raises
        ------
        ValueError
            If the model is not fitted, the input does not fit it, or the learning rate makes training diverge.
        """
        self._check_initialized()
        epochs, num_threads = check_run(epochs, num_threads)
        interactions = check_interactions(interactions)
        n_users, n_items = interactions.shape
        full, sides = self._sides_and_bare()
        source = f"interactions has {n_items:,} items"
        items: Representations | FrozenItems
        if frozen_items is None:
            items = Representations(*sides.representations("item", item_features, num_threads, n_items, source))
        elif not isinstance(frozen_items, FrozenItems):
            raise TypeError(f"frozen_items is {shorten(frozen_items)}, expected what freeze_items returned")
        else:
            items = frozen_items.checked(n_items, sides.no_components)
        users = self._newcomers(sides, "user", n_users, user_features, num_threads)
        folded = fold_in(
            *self._folding(sides), interactions, users, items, slice(None), slice(0, 0), epochs, num_threads
        )[0]
        if full.length == full.no_components:
            return folded
        positives = known_positives(interactions, above_zero=True)
        rows = np.unique(interactions.col).astype(np.int64)
        matrix = sides.items.feature_matrix(n_items, item_features, rows=rows)
        return folded._replace(embeddings=full.extended_by_items(folded.embeddings, matrix, positives))

    def freeze_items(self, item_features: Any = None, num_threads: int = 1) -> FrozenItems:
        """Prepare the items for many calls of :meth:`fold_in_users`. Later training does not change the result.

        Parameters
        ----------
        item_features : sparse matrix or array, or dense array, shape (n_items, n_item_features), optional
            As in fitting.
        num_threads : int

        Returns
        -------
        FrozenItems
            It takes about as much memory as the items' embeddings, twice.

        Raises
        ------
        ValueError
            If the model is not fitted, or the features do not fit it.
        """
        self._check_initialized()
        num_threads = check_num_threads(num_threads)
        _, sides = self._sides_and_bare()
        items = Representations(*sides.representations("item", item_features, num_threads))
        return FrozenItems(items, self.initial_accumulator)

    def fold_in_items(
        self,
        interactions: Any,
        known_interactions: Any = None,
        user_features: Any = None,
        item_features: Any = None,
        known_item_features: Any = None,
        epochs: int = 5,
        num_threads: int = 1,
    ) -> Representations:
        """Represent items that came after training by their interactions. The model does not change.

        Training runs with everything but the new items fixed. A ranking loss compares items, so it needs the known
        interactions too: without them new items would only ever be positives, and would rank far too high.

        Parameters
        ----------
        interactions : sparse matrix or array, or dense array, shape (n_users, n_new_items)
            Column j is new item j; row u is user u of the model.
        known_interactions : same kinds, shape (n_users, n_items)
            Interactions with the items that the model knows. The logistic loss does not use them.
        item_features : same kinds, shape (n_new_items or more, n_item_features), optional
            Features of the new items, from which they start. Without features they start at 0.
        known_item_features : same kinds, shape (n_items or more, n_item_features), optional
            Features of the items that the model knows.
        user_features, epochs, num_threads
            As in :meth:`fit`. With one thread, the same model and input give the same bits.

        Returns
        -------
        Representations
            ``embeddings`` of shape (n_new_items, no_components) and ``biases`` of shape (n_new_items,), float32.

        Raises
        ------
        ValueError
            As :meth:`fold_in_users`; also if a ranking loss is not given the known interactions.
        """
        self._check_initialized()
        epochs, num_threads = check_run(epochs, num_threads)
        interactions = check_interactions(interactions)
        n_users, n_new = interactions.shape
        full, sides = self._sides_and_bare()
        users = Representations(
            *sides.representations("user", user_features, num_threads, n_users, f"interactions has {n_users:,} users")
        )
        new = self._newcomers(sides, "item", n_new, item_features, num_threads)
        if not facts_of(self.loss).needs_membership:
            folded = fold_in(
                *self._folding(sides), interactions, users, new, slice(0, 0), slice(None), epochs, num_threads
            )[1]
            return folded._replace(embeddings=full.padded(folded.embeddings))
        known = check_known_interactions(known_interactions, n_users, self.loss)
        n_known = known.shape[1]
        items = sides.representations(
            "item", known_item_features, num_threads, n_known, f"known_interactions has {n_known:,} items"
        )
        both = check_interactions(sp.hstack([known, interactions]))
        items = Representations(*(np.concatenate(pair) for pair in zip(items, new, strict=True)))
        folded = fold_in(
            *self._folding(sides), both, users, items, slice(0, 0), slice(n_known, None), epochs, num_threads
        )[1]
        return folded._replace(embeddings=full.padded(folded.embeddings))

    def _sides_and_bare(self) -> tuple[Sides, Sides]:
        """Return the sides, and as training knows them: without coordinates of content and autoencoder."""
        sides = self._sides
        return sides, replace(sides, content=None, autoencoder=None)

    def _folding(self, sides: Sides) -> tuple[dict[str, Any], bool, int, Met]:
        """Return what :func:`fold_in` takes of the model: its first arguments."""
        return self._settled_parameters(), sides.are_cosines, self._seed or 0, self._met

    def _newcomers(self, sides: Sides, name: str, n_rows: int, features: Any, num_threads: int) -> Representations:
        """Represent new users or items before training: by their features, or by zeros without features."""
        if features is None:
            return Representations(np.zeros((n_rows, self.no_components), np.float32), np.zeros(n_rows, np.float32))
        source = f"interactions has {n_rows:,} {name}s"
        return Representations(*sides.representations(name, features, num_threads, n_rows, source))

    # ------------------------------------------------------------------ files

    def save(
        self,
        path: str | os.PathLike[str],
        optimizer_state: bool = True,
        dataset: Dataset | None = None,
        encoders: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the model to a safetensors file. If writing fails, an existing file stays as it was.

        Parameters
        ----------
        path : path
            A file in a folder that exists. An existing file is replaced atomically.
        optimizer_state : bool
            Save the optimiser's accumulators too, so that training continues where it stopped. Without them
            accumulators start anew, and the file is about half as large.
        dataset : Dataset, optional
            Saved with the model, with its ``user_features`` and ``item_features``. The loaded model has it as
            ``dataset_``. By default the dataset that this model was loaded with.
        encoders : mapping from names to encoders, optional
            Encoders of :mod:`lightfm_fast.features`, saved with the model. The loaded model has them as ``encoders_``,
            beside the dataset's own. By default the encoders that this model was loaded with.

        Raises
        ------
        TypeError
            If ``dataset`` is no Dataset or ``encoders`` no mapping from names.
        ValueError
            If the model is not fitted, a parameter is NaN, infinite or out of range, the dataset has other users, items
            or features than the model, or the type of an id, an encoder or the random state cannot be saved.
        OSError
            If the file cannot be written.
        """
        contents = self.to_contents(optimizer_state, dataset, encoders)
        persistence.write(path, contents.document, contents.tensors, contents.dataset, contents.encoders)

    def to_contents(
        self,
        optimizer_state: bool = True,
        dataset: Dataset | None = None,
        encoders: Mapping[str, Any] | None = None,
    ) -> persistence.Contents:
        """Return what :meth:`save` writes to a file; arguments and exceptions are the same."""
        self._check_initialized()
        self._check_parameters()  # a file with others, or with NaN, could not be read
        self._sides.check_finite(1)
        document, tensors = self._to_state(check_flag(optimizer_state, "optimizer_state"))
        dataset = self.dataset_ if dataset is None else dataset
        self._check_dataset(dataset)
        return persistence.Contents(document, tensors, dataset, self.encoders_ if encoders is None else encoders)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], mmap: bool = False, verify: str = "all", trusted: bool = False
    ) -> LightFM:
        """Read a model that :meth:`save` wrote. No code in the file is run, so files of others are safe to load.

        Parameters
        ----------
        path : path
        mmap : bool
            Map the file into memory instead of reading the parameters and the dataset's feature matrices. All
            processes that map the file share one copy. The state arrays are read-only; training copies them first.
            Replace a mapped file only as ``save`` does. If it is overwritten in place, the model changes with it; if
            it is cut short, the system kills the process at the next read.
        verify : {"all", "structure"}
            "all" reads the whole file: it compares the SHA-256 and checks every parameter. "structure" skips the
            SHA-256 and the parameters' values, so it opens a mapped file of any size at once, for many workers that
            serve one file. If the file was damaged since a full check, scores can be wrong or NaN. Training checks
            the parameters that it copies.
        trusted : bool
            Accept text encoders whose ``token_pattern`` may run for very long. Set it only for a file that you or
            people you trust have written. By default only patterns known to be fast are accepted.

        Returns
        -------
        LightFM
            With ``dataset_`` and ``encoders_`` as saved.

        Raises
        ------
        ValueError
            If the file is truncated, altered, of a newer format or no LightFM model of this library.
        OSError
            If it cannot be opened.
        """
        return cls.from_contents(path, persistence.read(path, mmap, verify, trusted), mmap, verify)

    @classmethod
    def from_contents(
        cls, path: str | os.PathLike[str], contents: persistence.Contents, mmap: bool = False, verify: str = "all"
    ) -> LightFM:
        """Make the model from the contents of a file that was read already; otherwise as :meth:`load`."""
        try:
            model = cls._from_state(contents.document, contents.tensors, mmap, verify == "all")
            model._check_dataset(contents.dataset)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)} holds no LightFM model: {error}") from error
        except persistence.MALFORMED as error:
            raise ValueError(f"{os.fspath(path)} holds a malformed LightFM model: {error!r}") from error
        learn(model, dataset_=contents.dataset, encoders_=contents.encoders)
        return model

    def _check_dataset(self, dataset: Dataset | None) -> None:
        if dataset is not None:
            persistence.check_dataset(
                dataset,
                {side.name: side.n_rows for side in (self._users, self._items)},
                {side.name: side.needs_features for side in (self._users, self._items)},
            )

    def _to_state(self, optimizer_state: bool) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        tensors: dict[str, NDArray[Any]] = {}
        sides = self._sides
        for side in ("user", "item"):
            table = sides.table(side)
            tensors[f"{side}_embeddings"] = table.rows[:, : table.width]  # with padding, so that a file can be mapped
            tensors[f"{side}_biases"] = table.view("biases")
            if optimizer_state:
                fields = (field for field in FIELDS if field not in ("embeddings", "biases") and table.stores(field))
                tensors.update({f"{side}_{field}": table.view(field) for field in fields})
        tensors.update(sides.other_arrays())
        tensors["trained_on"] = self.trained_on_.keys.astype(np.int64)
        tensors.update(persistence.pack_met(self._met))
        generator, tensors["random_state"] = persistence.pack_generator(self.random_state)
        seed = self.initial_random_state
        document = {
            "estimator": "LightFM",
            "parameters": {**self.get_params(), "random_state": None if seed is self.random_state else seed},
            "generator_is_parameter": seed is self.random_state,
            "generator": generator,
            "needs_features": {side.name: side.needs_features for side in sides.both},
            "typical_lengths": {side.name: side.scaling.typical for side in sides.both if side.scaling is not None},
            "history": self.history_,
            **{f"{name}_": getattr(self, f"{name}_") for name in ALPHAS},
            "seed": self._seed,
            "n_epochs": self._n_epochs,
            "is_settled": self._is_settled,
            "content": None if sides.content is None else sides.content.to_arrays()[0],
            "autoencoder": None if sides.autoencoder is None else sides.autoencoder.to_arrays()[0],
            "mappings": {side.name: side.mapping.strength for side in sides.both if side.mapping is not None},
        }
        return document, tensors

    @classmethod
    def _from_state(
        cls, document: dict[str, Any], tensors: dict[str, NDArray[Any]], mmap: bool, with_values: bool
    ) -> LightFM:
        if document["estimator"] != "LightFM":
            raise ValueError(f"it is a model of {document['estimator']}")
        model = cls(**document["parameters"])
        generator = persistence.unpack_generator(document["generator"], tensors["random_state"])
        if check_flag(document["generator_is_parameter"], "generator_is_parameter"):
            model.random_state = generator
        else:
            model._random_state = generator
        flags = document["needs_features"]
        for side in (model._users, model._items):
            arrays = {field: tensors[f"{side.name}_{field}"] for field in FIELDS if f"{side.name}_{field}" in tensors}
            table = MappedTable.of(
                arrays, side.name, model.no_components, model.learning_schedule, model.initial_accumulator, with_values
            )
            side.replace(table if mmap else table.copy())
            side.needs_features = check_flag(flags[side.name], f"whether {side.name}s need features")
            if (scales := tensors.get(f"{side.name}_feature_scales")) is not None:
                side.scaling = FeatureScaling.restored(scales, document["typical_lengths"][side.name], side.n_rows)
            if (strength := document["mappings"].get(side.name)) is not None:
                arrays = persistence.arrays_after(tensors, f"{side.name}_mapping_", mmap)
                side.mapping = FeatureMapping.of_arrays(arrays, strength, model.no_components, side.n_rows)
        learn(model, history_=persistence.unpack_history(document["history"]))
        for name in (f"{name}_" for name in ALPHAS):
            learn(model, **{name: persistence.unpack_alpha(document[name], name)})
        if document["seed"] is not None:
            model._seed = persistence.unpack_whole(document["seed"], "the seed of training", (1 << 32) - 1)
        model._n_epochs = persistence.unpack_whole(document["n_epochs"], "the number of epochs", 1 << 62)
        model._is_settled = check_flag(document["is_settled"], "is_settled")
        learn(model, trained_on_=Fingerprint.restored(tensors["trained_on"]))
        model._met = persistence.unpack_met(tensors, model.no_components)
        n_features = model._users.n_rows, model._items.n_rows
        if (numbers := document["content"]) is not None:
            arrays = persistence.arrays_after(tensors, "content_", mmap)
            model._content = Content.of_arrays(numbers, arrays, model.no_components, *n_features)
        if (numbers := document["autoencoder"]) is not None:
            arrays = persistence.arrays_after(tensors, "autoencoder_", mmap)
            model._autoencoder = Autoencoder.of_arrays(numbers, arrays, *n_features)
        return model

    # ------------------------------------------------------------------ scikit-learn's conventions

    def score(
        self,
        interactions: Any,
        y: Any = None,
        train_interactions: Any = None,
        user_features: Any = None,
        item_features: Any = None,
        metric: str = "ndcg",
        k: int = 10,
        num_threads: int = 1,
    ) -> float:
        """Return the mean of a ranking metric over the users with held-out positives; higher is better.

        scikit-learn's searches and ``cross_val_score`` call it with :class:`lightfm_fast.cross_validation.Entries`. For
        several metrics at once, errors and more, call :func:`lightfm_fast.evaluation.evaluate`.

        Parameters
        ----------
        interactions : Entries, or sparse matrix or array, or dense array, shape (n_users, n_items)
            Entries above 0 are the positives to be found. ``Entries`` include their features.
        y
            Not used; accepted for scikit-learn.
        train_interactions : sparse matrix or array, or dense array, same shape, optional
            Entries to leave out of the ranking. For ``Entries``, by default the entries that the model was last fitted
            on. A saved file does not hold them.
        user_features, item_features : sparse matrix or array, or dense array, optional
            As in fitting.
        metric : str
            One of :data:`lightfm_fast.evaluation.METRICS`.
        k : int
            Length of the lists that the metric looks at.
        num_threads : int

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If the model is not fitted, the input does not fit it, or there is no positive to find. Also if a matrix has
            fewer users than the model.
        """
        if isinstance(interactions, Entries):
            interactions, user_features, item_features, _ = interactions.unpacked(user_features, item_features)
            if train_interactions is None and self._entries is not None:
                train_interactions = self._entries.interactions
        self._check_initialized()
        result = evaluate(
            self,
            interactions,
            train_interactions,
            [metric],
            [k],
            user_features=user_features,
            item_features=item_features,
            num_threads=num_threads,
            check_intersections=False,
        )
        n_rows, n_users = np.shape(interactions)[0], self._users.n_rows
        if user_features is None and n_rows < n_users:  # a fold of scikit-learn, whose rows are other users
            raise ValueError(
                f"interactions has {n_rows:,} rows but the model was fitted for {n_users:,} users: score needs a row "
                "for each. To cross-validate, pass lightfm_fast.cross_validation.Entries in place of the matrix"
            )
        (value,) = result.mean.values()
        return value

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_training_input": None}  # the next epoch makes it anew from the input
        if self._turn.is_taken:  # the factor is for the next epoch of the call, which does not train the copy
            state.pop("learning_rate_factor", None)
        return state

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that fit takes no target. Only scikit-learn calls this."""
        tags = importlib.import_module("sklearn.utils")
        return tags.Tags(
            estimator_type=None,
            target_tags=tags.TargetTags(required=False),
            input_tags=tags.InputTags(sparse=True),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return self._users.is_complete and self._items.is_complete

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments as given. ``deep`` is accepted for scikit-learn and has no effect."""
        parameters = {name: getattr(self, name) for name in self._PARAMETERS}
        parameters["random_state"] = self.initial_random_state
        return parameters

    def set_params(self, **params: Any) -> LightFM:
        """Set constructor arguments. Learned parameters stay.

        Raises
        ------
        ValueError
            If a name is no parameter or a value is out of range. Nothing is changed then.
        RuntimeError
            If ``no_components`` or ``learning_schedule`` would change while the model trains.
        """
        unknown = sorted(set(params).difference(self._PARAMETERS))
        if unknown:
            raise ValueError(
                f"{unknown[0]!r} is no parameter of {type(self).__name__}; it has {', '.join(self._PARAMETERS)}"
            )
        check_parameters(params, MAY_BE_NONE)  # values of other types may not even compare
        if any(params.get(name, getattr(self, name)) != getattr(self, name) for name in STRUCTURAL):
            check_may_reshape(self._is_training, " or ".join(STRUCTURAL))
        self._assign(params)
        return self

    def __repr__(self) -> str:
        changed = changed_parameters(LightFM, self.get_params())
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    def _repr_html_(self) -> str:
        parameters = self.get_params()
        facts = "not fitted"
        if self.__sklearn_is_fitted__():
            n_users, n_items = self._users.n_rows, self._items.n_rows
            n_epochs = counted(len(self.history_), "epoch")
            facts = f"fitted for {n_epochs}: {n_users:,} user features, {n_items:,} item features"
        return show_estimator(repr(self), facts, parameters, changed_parameters(LightFM, parameters))
