"""Factorization machines as scikit-learn estimators; they hold parameters and move arrays, and do no maths."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import expit

from lightfm_fast import _core
from lightfm_fast._parameters import ParameterTable, aligned_zeros
from lightfm_fast._training import Turn
from lightfm_fast._validation import (
    check_block,
    check_fields,
    check_num_threads,
    check_parameters,
    check_run,
    import_optional,
)
from lightfm_fast.design import CoreBlock, DesignMatrix

import_optional("sklearn", "sklearn", "A factorization machine")  # before the imports that do not name the extra

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin  # noqa: E402
from sklearn.utils import check_random_state  # noqa: E402
from sklearn.utils.multiclass import check_classification_targets, type_of_target  # noqa: E402
from sklearn.utils.validation import (  # noqa: E402
    _check_sample_weight,
    check_array,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

__all__ = ["FMClassifier", "FMRegressor"]

Floats = NDArray[np.float32]
LARGEST_TARGET = 1e30  # coef_ and embeddings_, in the unit of y, stay finite in single precision


class MachineParameters:
    """The parameters of a machine and the optimiser's state, as the core reads them.

    Attributes
    ----------
    table : ParameterTable
        v and w of every feature, as embeddings and biases.
    shared : float32 array of shape (1 + n_pairs, 2 or 4)
        w0, then the weights of the pairs of fields (0, 0), (0, 1), (1, 1), (0, 2), ..., and their accumulators.
    """

    def __init__(self, n_features: int, no_components: int, learning_schedule: str, n_fields: int) -> None:
        self.n_fields = n_fields
        self.table = ParameterTable(n_features, no_components, learning_schedule)
        self.shared = aligned_zeros(1 + n_fields * (n_fields + 1) // 2, self.table.biases.shape[1])
        if learning_schedule == "adagrad":
            self.shared[:, 1] = 1.0
        self.shared[1:, 0] = 1.0

    def __getstate__(self) -> dict[str, Any]:
        return {"n_fields": self.n_fields, "table": self.table, "shared": np.array(self.shared)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # An unpickled array may be read-only, and start anywhere.
        self.n_fields, self.table = state["n_fields"], state["table"]
        self.shared = aligned_zeros(*state["shared"].shape)
        np.copyto(self.shared, state["shared"])

    def like(self) -> MachineParameters:
        return MachineParameters(
            len(self.table.rows), self.table.no_components, self.table.learning_schedule, self.n_fields
        )

    def save_to(self, other: MachineParameters) -> None:
        self.table.save_to(other.table)
        np.copyto(other.shared, self.shared)

    def all_finite(self, num_threads: int) -> bool:
        return self.table.all_finite(num_threads) and bool(np.isfinite(self.shared).all())

    def pair_weights(self) -> Floats:
        """Return the weights of the pairs of fields as a symmetric matrix."""
        weights = np.empty((self.n_fields, self.n_fields), dtype=np.float32)
        high, low = np.tril_indices(self.n_fields)
        weights[high, low] = weights[low, high] = self.shared[1:, 0]
        return weights


# Not among a model's attributes: scikit-learn wants those of a model that is not fitted to be its parameters alone.
_TURNS: WeakKeyDictionary[Any, Turn] = WeakKeyDictionary()


class _FactorizationMachine(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: everything but what a target is."""

    _loss: ClassVar[str]

    def __init__(
        self,
        no_components: int = 10,
        *,
        fields: Any = None,
        learning_rate: float = 0.1,
        learning_schedule: str = "adagrad",
        rho: float = 0.95,
        epsilon: float = 1e-6,
        alpha_w: float = 1e-4,
        alpha_v: float = 0.01,
        epochs: int = 20,
        init_scale: float = 0.01,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        num_threads: int = 1,
        random_state: Any = None,
    ) -> None:
        self.no_components = no_components
        self.fields = fields
        self.learning_rate = learning_rate
        self.learning_schedule = learning_schedule
        self.rho = rho
        self.epsilon = epsilon
        self.alpha_w = alpha_w
        self.alpha_v = alpha_v
        self.epochs = epochs
        self.init_scale = init_scale
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.num_threads = num_threads
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.non_deterministic = self.num_threads != 1
        return tags

    # ------------------------------------------------------------------ what was learned

    @property
    def embeddings_(self) -> Floats:
        """float32 array of shape (n_features, no_components): v of every feature."""
        model = self._now()
        embeddings = model._parameters.table.view("embeddings") * np.float32(np.sqrt(model._scale))
        return embeddings if model._divisors is None else embeddings / model._divisors[:, None]

    @property
    def coef_(self) -> Floats:
        """float32 array of shape (n_features,): w of every feature."""
        model = self._now()
        weights = model._parameters.table.view("biases") * np.float32(model._scale)
        return weights if model._divisors is None else weights / model._divisors

    @property
    def intercept_(self) -> float:
        """w0."""
        return float(self._center + self._scale * self._parameters.shared[0, 0])

    @property
    def field_weights_(self) -> Floats:
        """float32 array of shape (n_fields, n_fields), symmetric: r of every pair of the labels ``fields_``."""
        if not self._parameters.n_fields:
            raise AttributeError("field_weights_ is there only if the model was fitted with fields")
        return self._parameters.pair_weights()

    # ------------------------------------------------------------------ training

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train from scratch.

        Parameters
        ----------
        X : sparse matrix, dense array or DesignMatrix, shape (n_samples, n_features)
            Any numeric dtype; computed with in single precision.
        y : array of shape (n_samples,)
            Classes or values.
        sample_weight : array of shape (n_samples,), optional
            Multiplies the loss of each sample; samples of weight 0 are left out.

        Returns
        -------
        FMClassifier or FMRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter is out of range or the input does not fit together or holds NaN or infinity; nothing has
            changed then. Also if training diverges: the model is then as the last finite epoch left it, or as before
            the call where there was none.
        RuntimeError
            If another call trains the model.
        """
        with self._becoming() as model:
            model._check_parameters()
            X, y, weights = model._check_training_input(X, y, sample_weight, reset=True)
            rng = check_random_state(model.random_state)
            targets = model._encode(y, weights, None)
            model._initialize(X, rng)
            model._run_epochs(*model._hold_out(X, targets, weights, rng))
        return self

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any) -> Any:
        with self._becoming() as model:
            first = not hasattr(model, "_parameters")
            model._check_parameters()
            X, y, weights = model._check_training_input(X, y, sample_weight, reset=first)
            targets = model._encode(y, weights, classes) if first else model._encode_known(y, classes)
            if first:
                model._initialize(X, check_random_state(model.random_state))
            model._check_unchanged()
            model._run_epoch(model._design(X), targets, weights, model._parameters.like())
        return self

    def _now(self) -> Any:
        """Return a model of the same arrays, which does not change when another call gives this one others."""
        model = object.__new__(type(self))
        model.__dict__.update(self.__dict__)
        return model

    @contextmanager
    def _becoming(self) -> Iterator[Any]:
        """Hold the turn to train and yield a model, which this one becomes at the end.

        After an exception it does so only if epochs were run that it does not have yet.
        """
        with _TURNS.setdefault(self, Turn()).taken():
            model = self._now()
            before = model.__dict__.get("_parameters")
            try:
                yield model
            except BaseException:
                if model.__dict__.get("_parameters") is before or not getattr(model, "n_iter_", 0):
                    raise
                self._become(model)
                raise
            self._become(model)

    def _become(self, model: Any) -> None:
        model.__dict__.update(self.get_params(deep=False))  # another thread may have set them
        self.__dict__ = model.__dict__

    def _check_parameters(self) -> None:
        check_parameters({name: value for name, value in self.get_params().items() if name != "random_state"})
        check_run(self.epochs, self.num_threads)

    def _check_unchanged(self) -> None:
        table = self._parameters.table
        if (table.no_components, table.learning_schedule) != (self.no_components, self.learning_schedule):
            raise ValueError(
                f"no_components or learning_schedule changed since training began (from {table.no_components} and "
                f"{table.learning_schedule!r}): set them back, or fit anew"
            )
        if not isinstance(self.n_iter_, int) or not 0 <= self.n_iter_ < 1 << 63:
            raise ValueError(f"n_iter_ is {self.n_iter_!r}, expected the epochs that were run: leave it to fit")

    def _check_training_input(self, X: Any, y: Any, sample_weight: Any, reset: bool) -> tuple[Any, Any, Floats | None]:
        X = _own(X)
        if isinstance(X, DesignMatrix):
            self._check_design(X, reset)
            if y is None:
                raise ValueError("y is None: pass the targets, as in fit(design, design.y)")
            y = column_or_1d(check_array(y, ensure_2d=False, dtype=None, ensure_min_samples=0), warn=True)
            if len(y) != len(X):
                raise ValueError(f"X has {len(X):,} rows and y has {len(y):,}: give one target for each row")
        else:
            with np.errstate(over="ignore"):  # what is too large becomes infinite, and that is refused
                X, y = validate_data(
                    self, X, y, reset=reset, accept_sparse="csr", dtype=np.float32, y_numeric=self._loss == "squared"
                )
            X = _to_csr(X)
        if not X.shape[0]:
            raise ValueError("X has 0 rows: there is nothing to train on")
        if sample_weight is None:
            return X, y, None
        weights = _check_sample_weight(sample_weight, X, dtype=np.float32, ensure_non_negative=True)
        if not np.isfinite(weights).all():
            raise ValueError("sample_weight holds values too large for single precision")
        return X, y, np.array(weights, order="C")

    def _check_design(self, X: DesignMatrix, reset: bool) -> None:
        if reset:
            self.n_features_in_ = X.shape[1]
            self.__dict__.pop("feature_names_in_", None)
        elif X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} features "
                "as input"
            )

    def _initialize(self, X: Any, rng: np.random.RandomState) -> None:
        """Start v at N(0, init_scale), w at 0 and the weights of pairs of fields at 1."""
        n_features = X.shape[1]
        self._divisors = _largest_beyond_1(_blocks_of(X), n_features)
        self.fields_: NDArray[Any] | None = None
        self._field_of: NDArray[np.int32] | None = None
        if self.fields is not None:
            self.fields_, self._field_of = check_fields(self.fields, n_features)
        n_fields = 0 if self.fields_ is None else len(self.fields_)
        self._parameters = MachineParameters(n_features, self.no_components, self.learning_schedule, n_fields)
        embeddings = self._parameters.table.view("embeddings")
        for first in range(0, n_features, 4096):  # by stretches: the generator's doubles take twice the room
            stretch = embeddings[first : first + 4096]
            stretch[...] = rng.standard_normal(stretch.shape) * self.init_scale
        self._parameters.shared[0, 0] = self._start
        self._seed = int(rng.randint(1 << 32, dtype=np.uint64))
        self.history_: list[dict[str, float]] = []
        self.n_iter_ = 0

    def _hold_out(
        self, X: Any, targets: Floats, weights: Floats | None, rng: np.random.RandomState
    ) -> tuple[Any, Floats, Floats | None, Any]:
        """Split into what is trained on and, with early stopping, what is held out: (X, targets, weights) or None."""
        if not self.early_stopping:
            return X, targets, weights, None
        from sklearn.model_selection import train_test_split

        # Either part shall have both classes, where there are enough rows for it.
        rows = np.arange(len(targets)) if weights is None else np.flatnonzero(weights)
        rarer = min((targets[rows] > 0).sum(), (targets[rows] < 0).sum())
        by_class = self._loss == "logistic" and rarer > 1 and self.validation_fraction * len(rows) > 1
        train, held_out = train_test_split(
            rows,
            test_size=self.validation_fraction,
            random_state=rng,
            stratify=targets[rows] if by_class else None,
        )
        of = (lambda rows: None) if weights is None else (lambda rows: weights[rows])
        return X[train], targets[train], of(train), (X[held_out], targets[held_out], of(held_out))

    def _run_epochs(self, X: Any, targets: Floats, weights: Floats | None, held_out: Any) -> None:
        design, before = self._design(X), self._parameters.like()
        if held_out is None:
            for _ in range(self.epochs):
                self._run_epoch(design, targets, weights, before)
            return
        judged = self._design(held_out[0])
        best, lowest, n_worse = self._parameters.like(), np.inf, 0
        self._parameters.save_to(best)
        try:
            for _ in range(self.epochs):
                self._run_epoch(design, targets, weights, before)
                loss = self._mean_loss(self._scores(judged, len(held_out[1])), *held_out[1:])
                self.history_[-1]["validation_loss"] = loss
                n_worse += 1
                if loss < lowest:
                    self._parameters.save_to(best)
                    lowest, n_worse, self.best_epoch_ = loss, 0, self.n_iter_
                if n_worse == self.n_iter_no_change:
                    break
        finally:
            best.save_to(self._parameters)

    def _run_epoch(self, design: Any, targets: Floats, weights: Floats | None, before: MachineParameters) -> None:
        """Train one epoch; a diverged one is undone and raises ValueError."""
        self._parameters.save_to(before)
        started = time.perf_counter()
        diverged = False
        try:
            total, diverged = _core.machine.fit_epoch(
                self._loss,
                self.learning_schedule == "adadelta",
                design,
                targets,
                weights,
                self._machine(self.alpha_w, self.alpha_v),
                self.learning_rate,
                self.rho,
                self.epsilon,
                self._seed,
                self.n_iter_,
                check_num_threads(self.num_threads),
            )
        except Exception:  # such as a lack of memory: half an epoch is none
            before.save_to(self._parameters)
            raise
        finally:  # also when Ctrl-C ends the epoch early
            diverged = diverged or not self._parameters.all_finite(check_num_threads(self.num_threads))
            if diverged:
                before.save_to(self._parameters)
        if diverged:
            raise ValueError(
                f"training diverged in epoch {self.n_iter_ + 1}: scores are no longer finite, and the model is as the "
                f"epoch before left it. Try a smaller learning_rate (now {self.learning_rate}), or scale the features "
                "and sample weights down"
            )
        self.n_iter_ += 1
        self.history_.append(
            {
                "epoch": self.n_iter_,
                "loss": total / (len(targets) if weights is None else max(float(weights.sum()), 1e-30)),
                "seconds": time.perf_counter() - started,
                "samples": len(targets),
            }
        )

    # ------------------------------------------------------------------ the core's views

    def _design(self, X: Any) -> Any:
        if X.shape[1] != (n_features := len(self._parameters.table.rows)):
            raise ValueError(
                f"X has {X.shape[1]:,} features but there are parameters of {n_features:,}: leave n_features_in_ to fit"
            )
        blocks = _blocks_of(X)
        if self._divisors is not None:
            blocks = [
                (rows, indptr, indices, values / self._divisors[first + indices], first)
                if indices is not None and values is not None
                else (rows, indptr, indices, values, first)
                for rows, indptr, indices, values, first in blocks
            ]
        return _core.machine.Design(blocks, X.shape[0])

    def _machine(self, alpha_w: float = 0.0, alpha_v: float = 0.0) -> Any:
        parameters = self._parameters
        table = parameters.table
        return _core.machine.Machine(
            table.rows,
            table.biases,
            table.width,
            parameters.shared,
            self._field_of,
            parameters.n_fields,
            alpha_w,
            alpha_v,
        )

    def _scores(self, design: Any, n_rows: int) -> Floats:
        scores = np.empty(n_rows, dtype=np.float32)
        _core.machine.predict(design, self._machine(), scores, check_num_threads(self.num_threads))
        return scores

    def _score_rows(self, X: Any) -> NDArray[np.float64]:
        model = self._now()  # training beside this call changes values, not shapes
        check_is_fitted(model)
        X = _own(X)
        if isinstance(X, DesignMatrix):
            model._check_design(X, reset=False)
        else:
            with np.errstate(over="ignore"):
                X = validate_data(model, X, reset=False, accept_sparse="csr", dtype=np.float32)
            X = _to_csr(X)
        return model._center + model._scale * model._scores(model._design(X), X.shape[0]).astype(np.float64)

    # ------------------------------------------------------------------ what a target is

    _divisors: Floats | None = None
    _center = 0.0
    _scale = 1.0
    _start = 0.0

    def _encode(self, y: Any, weights: Floats | None, classes: Any) -> Floats:
        raise NotImplementedError

    def _encode_known(self, y: Any, classes: Any) -> Floats:
        raise NotImplementedError

    def _mean_loss(self, scores: Floats, targets: Floats, weights: Floats | None) -> float:
        raise NotImplementedError


class FMClassifier(ClassifierMixin, _FactorizationMachine):  # type: ignore[misc]
    r"""A factorization machine for two classes.

    A row x scores :math:`w_0 + \sum_p w_p x_p + \sum_{p<q} \langle v_p, v_q \rangle x_p x_q` (Rendle 2010),
    the log-odds of the second class.
    Training is stochastic gradient descent over the rows in random order, in time linear in their entries. A feature
    with values beyond -1 to 1 is divided by the largest of them for training, so that its unit does not matter; what
    is learned is shown in the features' own units.

    Parameters
    ----------
    no_components : int
        Length of the embeddings v.
    fields : array of shape (n_features,), optional
        The label of each feature's field. The pairs then weigh :math:`r_{F(p)F(q)}`, one number for each pair of
        fields, learned from 1 (Pan 2018); ``DesignMatrix.fields`` has the labels of a design matrix.
    learning_rate : float
        Initial step size of adagrad.
    learning_schedule : {"adagrad", "adadelta"}
        How step sizes adapt (Duchi 2011; Zeiler 2012).
    rho, epsilon : float
        Decay of adadelta's averages, and its conditioning term.
    alpha_w, alpha_v : float
        L2 penalty of w and of v: every sample adds :math:`\alpha / 2 \, w^2` to the objective for each parameter it
        touches.
    epochs : int
        Passes over the data, at most so many with early stopping.
    init_scale : float
        Standard deviation of the initial v.
    early_stopping : bool
        Hold ``validation_fraction`` of the data out, stop when its loss has not fallen for ``n_iter_no_change``
        epochs, and keep the best epoch's parameters.
    validation_fraction : float
    n_iter_no_change : int
    num_threads : int
        Threads that train and predict. With the same seed and one thread, two fits by the same build give the same
        bits; with more they race, as Hogwild does (Niu 2011).
    random_state : int, RandomState or None
        Seed of the initial v, of the order and of the held-out part.

    Attributes
    ----------
    intercept_ : float
    coef_ : float32 array of shape (n_features,)
    embeddings_ : float32 array of shape (n_features, no_components)
        w0, w and v.
    classes_ : array of shape (2,)
        The classes, sorted.
    fields_, field_weights_ : array of shape (n_fields,), float32 array of shape (n_fields, n_fields)
        The labels of the fields, sorted, and r of every pair; with ``fields`` only.
    n_features_in_, n_iter_ : int
        Features and epochs run; the epoch kept is ``best_epoch_`` with early stopping.
    history_ : list of dict
        One record an epoch: ``epoch`` (from 1), ``loss`` (mean log loss, before L2), ``seconds``, ``samples``,
        and ``validation_loss`` with early stopping.

    Examples
    --------
    >>> import numpy as np
    >>> from lightfm_fast import FMClassifier
    >>> X = np.random.RandomState(0).randint(2, size=(500, 6))
    >>> y = X[:, 0] ^ X[:, 1]  # no sum of the features tells, but the pair does
    >>> model = FMClassifier(epochs=60, init_scale=0.1, learning_rate=0.2, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    _loss = "logistic"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> FMClassifier:
        """Train one epoch on a batch, from where the model stands; early stopping plays no part.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.
        classes : array of shape (2,)
            All classes; needed at the first call only.

        Returns
        -------
        FMClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            In the cases of :meth:`fit`, if the first call lacks ``classes`` or a later one has others.
        """
        if classes is None and not hasattr(self, "_parameters"):
            raise ValueError("classes is None: give all classes at the first call of partial_fit")
        return self._partial_fit(X, y, sample_weight, classes)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the score of every row, the log-odds of ``classes_[1]``: float64 array of shape (n_samples,)."""
        return self._score_rows(X)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class: float64 array of shape (n_samples, 2), in the order of ``classes_``."""
        scores = self._score_rows(X)
        return np.column_stack([expit(-scores), expit(scores)])

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the more probable class of every row: array of shape (n_samples,)."""
        model = self._now()
        positive = model._score_rows(X) > 0
        return model.classes_[positive.astype(np.intp)]

    def _encode(self, y: Any, weights: Floats | None, classes: Any) -> Floats:
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        found = np.unique(y if classes is None else classes)
        if kind not in ("binary", "multiclass") or len(found) > 2:
            raise ValueError(
                f"Only binary classification is supported. The type of the target is {kind}. For more classes wrap the "
                "estimator in sklearn.multiclass.OneVsRestClassifier"
            )
        if len(found) < 2:
            raise ValueError(f"y has one class only, {found[0]!r}: a classifier needs samples of two classes")
        self.classes_ = found
        targets = self._encode_known(y, None)
        positive = float((targets > 0).sum() if weights is None else weights[targets > 0].sum())
        negative = float((targets < 0).sum() if weights is None else weights[targets < 0].sum())
        self._start = float(np.log((positive + 0.5) / (negative + 0.5)))
        return targets

    def _encode_known(self, y: Any, classes: Any) -> Floats:
        if classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes is {classes!r} but the first call of partial_fit had {self.classes_.tolist()}")
        if not np.isin(y, self.classes_).all():
            raise ValueError(f"y has classes other than {self.classes_.tolist()}, those of the first call")
        return np.where(y == self.classes_[1], np.float32(1), np.float32(-1))

    def _mean_loss(self, scores: Floats, targets: Floats, weights: Floats | None) -> float:
        return float(np.average(np.logaddexp(0.0, -(targets * scores).astype(np.float64)), weights=weights))


class FMRegressor(RegressorMixin, _FactorizationMachine):  # type: ignore[misc]
    """A factorization machine for real values, by squared error.

    The score of a row, as in :class:`FMClassifier`, is its value. Values are standardised for training, so that their
    unit does not matter, and ``intercept_``, ``coef_`` and ``embeddings_`` show what was learned in their own unit.
    Parameters and attributes are those of :class:`FMClassifier`, without ``classes_``; the ``loss`` of ``history_`` is
    half the mean squared error of the standardised values.

    Examples
    --------
    >>> import numpy as np
    >>> from lightfm_fast import FMRegressor
    >>> X = np.random.RandomState(0).randint(2, size=(500, 6))
    >>> y = 100.0 + 30 * X[:, 0] * X[:, 1]
    >>> model = FMRegressor(epochs=60, init_scale=0.1, learning_rate=0.2, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    _loss = "squared"

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> FMRegressor:
        """Train one epoch on a batch, from where the model stands; early stopping plays no part.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`. The first batch sets what values are standardised by.

        Returns
        -------
        FMRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            In the cases of :meth:`fit`.
        """
        return self._partial_fit(X, y, sample_weight, None)

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the value of every row: float64 array of shape (n_samples,)."""
        return self._score_rows(X)

    def _encode(self, y: Any, weights: Floats | None, classes: Any) -> Floats:
        y = np.asarray(y, dtype=np.float64)
        if weights is not None and not weights.any():
            raise ValueError("sample_weight is 0 for every sample: there is nothing to train on")
        if not (largest := np.abs(y).max(initial=0.0)) <= LARGEST_TARGET:
            raise ValueError(f"y holds values up to {largest:.3g}, expected at most {LARGEST_TARGET:.0e}: scale y down")
        self._center = float(np.average(y, weights=weights))
        deviation = float(np.sqrt(np.average((y - self._center) ** 2, weights=weights)))
        self._scale = deviation if deviation > 0 else 1.0
        return self._encode_known(y, None)

    def _encode_known(self, y: Any, classes: Any) -> Floats:
        return ((np.asarray(y, dtype=np.float64) - self._center) / self._scale).astype(np.float32)

    def _mean_loss(self, scores: Floats, targets: Floats, weights: Floats | None) -> float:
        return float(np.average((scores.astype(np.float64) - targets) ** 2, weights=weights) / 2)


def _blocks_of(X: Any) -> list[CoreBlock]:
    if isinstance(X, DesignMatrix):
        return X.core_blocks()
    return [(None, X.indptr.astype(np.int64, copy=False), X.indices.astype(np.int32, copy=False), X.data, 0)]


def _largest_beyond_1(blocks: list[CoreBlock], n_features: int) -> Floats | None:
    """Return the largest absolute value of each feature, 1 where it is less; None where all are."""
    largest = np.ones(n_features, dtype=np.float32)
    for _, _, indices, values, first in blocks:
        if indices is None or values is None:
            continue
        beyond = np.abs(values) > 1
        np.maximum.at(largest, first + indices[beyond], np.abs(values[beyond]))
    return largest if (largest > 1).any() else None


def _own(X: Any) -> Any:
    """Judge ``X`` and copy what others could change under an epoch; of a dense matrix ``_to_csr`` makes the copy."""
    if isinstance(X, DesignMatrix):
        return X.judged()
    if sp.issparse(X):  # scikit-learn's compiled code too trusts indices
        return check_block(X, "X", 0, "samples")
    dtypes = getattr(X, "dtypes", None)
    if dtypes is not None and hasattr(dtypes, "items"):  # sparse columns of pandas whose default is not 0
        dense = {name: dtype.subtype for name, dtype in dtypes.items() if getattr(dtype, "fill_value", 0) != 0}
        return X.astype(dense) if dense else X
    return X


def _to_csr(X: Any) -> sp.csr_matrix:
    """Make canonical CSR of what scikit-learn has checked."""
    X = sp.csr_matrix(X, dtype=np.float32)
    X.sum_duplicates()
    return X
