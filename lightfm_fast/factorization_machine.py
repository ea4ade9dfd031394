"""Factorization machines as scikit-learn estimators: ``FMClassifier`` and ``FMRegressor``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import log_expit, logsumexp

from lightfm_fast import _core, persistence
from lightfm_fast._arguments import (
    as_array,
    check_finite_number,
    check_flag,
    check_is_not_masked,
    check_least,
    check_num_threads,
    check_positive,
    check_random_state,
    check_run,
    import_optional,
    shorten,
    warn,
)
from lightfm_fast._hyperparameters import LARGEST_SINGLE, check_parameters
from lightfm_fast._learned import Learned, learn
from lightfm_fast._matrices import check_block, check_block_rows, check_state_array
from lightfm_fast._parameters import (
    FIELDS,
    Floats,
    MappedTable,
    ParameterTable,
    aligned_copy,
    aligned_zeros,
    check_accumulator,
)
from lightfm_fast._turns import Turn
from lightfm_fast.data.ids import pack_ids, unpack_ids
from lightfm_fast.design import CoreBlock, DesignMatrix

import_optional("sklearn", "sklearn", "A factorization machine")  # before the imports that do not name the extra

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.utils import check_random_state as check_legacy_seed  # noqa: E402
from sklearn.utils.class_weight import compute_class_weight  # noqa: E402
from sklearn.utils.multiclass import check_classification_targets, type_of_target  # noqa: E402
from sklearn.utils.validation import (  # noqa: E402
    _check_sample_weight,
    check_array,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

__all__ = ["FMClassifier", "FMRegressor"]

AnyMachine = TypeVar("AnyMachine", bound="_FactorizationMachine")
LABELS = ("object", "str", "bool", *(np.dtype(code).name for code in "bhilBHILefd"))  # types of labels in files
MOST_FIELDS = 4096
ROUNDING = 1e-14  # the mean of equal values may differ from them by this share
LARGEST_TARGET = 1e30  # coef_ and embeddings_, in the unit of y, stay finite in single precision


class MachineParameters:
    """The parameters of one factorization machine and its optimiser's state, in the core's layout.

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
        # The core needs a writable, aligned array; an unpickled one may be neither.
        self.n_fields, self.table = state["n_fields"], state["table"]
        self.shared = aligned_copy(state["shared"])

    def like(self) -> MachineParameters:
        return MachineParameters(
            len(self.table.rows), self.table.no_components, self.table.learning_schedule, self.n_fields
        )

    def copy(self) -> MachineParameters:
        copy = self.like()
        self.save_to(copy)
        return copy

    @classmethod
    def restored(
        cls, tensors: dict[str, NDArray[Any]], prefix: str, no_components: int, learning_schedule: str, n_fields: int
    ) -> MachineParameters:
        """Make a machine from a file's tensors; ValueError if they do not form one."""
        arrays = {field: tensors[prefix + field] for field in FIELDS if prefix + field in tensors}
        mapped = MappedTable.of(arrays, prefix, no_components, learning_schedule)
        machine = cls.__new__(cls)
        machine.n_fields, machine.table = n_fields, mapped.copy()
        shared = check_state_array(tensors[f"{prefix}shared"], f"{prefix}shared", 2)
        if shared.shape != (1 + n_fields * (n_fields + 1) // 2, machine.table.biases.shape[1]):
            raise ValueError(f"the shared parameters have shape {shared.shape}")
        check_accumulator(shared[:, 1], prefix, "shared_gradients", learning_schedule)
        if learning_schedule == "adadelta":
            check_accumulator(shared[:, 2], prefix, "shared_momentum", learning_schedule)
        machine.shared = aligned_copy(shared)
        return machine

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


@dataclass(frozen=True)
class Rows:
    """Rows to train on or to validate with: ``targets`` have shape (n_machines, n_rows), ``weights`` (n_rows,)."""

    X: Any
    targets: Floats
    weights: Floats | None

    def __getitem__(self, rows: NDArray[np.intp]) -> Rows:
        return Rows(
            self.X[rows],
            np.ascontiguousarray(self.targets[:, rows]),
            None if self.weights is None else self.weights[rows],
        )


# Kept outside the models: scikit-learn allows a model that is not fitted only its parameters as attributes.
_TURNS: WeakKeyDictionary[Any, Turn] = WeakKeyDictionary()


class _FactorizationMachine(BaseEstimator):  # type: ignore[misc]
    """Everything that both estimators share. Subclasses say how targets are encoded."""

    _loss: ClassVar[str]
    _saved_as: ClassVar[str]
    history_ = Learned[list[dict[str, float]]]()
    n_iter_ = Learned[int]()
    best_epoch_ = Learned[int]()

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
        warm_start: bool = False,
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
        self.warm_start = warm_start

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.non_deterministic = self.num_threads != 1
        return tags

    # ------------------------------------------------------------------ learned parameters

    @property
    def embeddings_(self) -> Floats:
        """float32 array of shape (n_features, no_components): v of every feature."""
        model = self._now()
        root = np.float32(np.sqrt(model._scale))
        divisors = None if model._divisors is None else model._divisors[:, None]
        return model._of_machines(lambda machine: _divided(machine.table.view("embeddings") * root, divisors))

    @property
    def coef_(self) -> Floats:
        """float32 array of shape (n_features,): w of every feature."""
        model = self._now()
        scale = np.float32(model._scale)
        return model._of_machines(lambda machine: _divided(machine.table.view("biases") * scale, model._divisors))

    @property
    def intercept_(self) -> Any:
        """w0."""
        model = self._now()
        return model._of_machines(lambda machine: float(model._center + model._scale * machine.shared[0, 0]))

    @property
    def field_weights_(self) -> Floats:
        """float32 array of shape (n_fields, n_fields), symmetric: r of every pair of the labels ``fields_``."""
        if not self._machines[0].n_fields:
            raise AttributeError("field_weights_ is there only if the model was fitted with fields")
        return self._of_machines(MachineParameters.pair_weights)

    def _of_machines(self, of: Callable[[MachineParameters], Any]) -> Any:
        """Apply ``of`` to the machine. With a machine for each class, return an array with a row for each."""
        each = [of(machine) for machine in self._machines]
        return each[0] if len(each) == 1 else np.array(each)

    # ------------------------------------------------------------------ training

    def fit(self: AnyMachine, X: Any, y: Any, sample_weight: Any = None) -> AnyMachine:
        """Train from scratch, or with ``warm_start`` continue training.

        Parameters
        ----------
        X : sparse matrix, dense array or DesignMatrix, shape (n_samples, n_features)
            Any numeric dtype; converted to float32.
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
            If a parameter is out of range, the input does not fit together or holds NaN or infinity, or training
            diverges. After any exception the estimator is as it was before the call. Only Ctrl-C keeps the epochs that
            were completed.
        RuntimeError
            If another call trains the model.

        Warns
        -----
        ConvergenceWarning
            If the loss of the last epoch is far above the loss of a constant.
        """
        with self._becoming() as model:
            model._check_parameters()
            goes_on = model.warm_start and hasattr(model, "_machines")
            X, y, weights = model._check_training_input(X, y, sample_weight, reset=not goes_on)
            if goes_on:
                model._check_unchanged()
                targets = model._encode_known(y, None)
                model._machines = [machine.copy() for machine in model._machines]
            else:
                targets = model._initialize(X, y, weights, None)
            rows, held_out = model._hold_out(Rows(X, targets, model._weigh(y, weights)))
            model._run_epochs(rows, held_out)
        self._warn_of_divergence(rows)
        return self

    def _partial_fit(self: AnyMachine, X: Any, y: Any, sample_weight: Any, classes: Any) -> AnyMachine:
        with self._becoming() as model:
            first = not hasattr(model, "_machines")
            model._check_parameters()
            X, y, weights = model._check_training_input(X, y, sample_weight, reset=first)
            if first:
                targets = model._initialize(X, y, weights, classes)
            else:
                model._check_unchanged()
                targets = model._encode_known(y, classes)
            rows = Rows(X, targets, model._weigh(y, weights))
            model._run_epoch(model._design(X), rows, [machine.like() for machine in model._machines])
        self._warn_of_divergence(rows)
        return self

    def _now(self) -> Any:
        """Return a model that shares the arrays, and keeps them when another call gives this model new arrays."""
        model = object.__new__(type(self))
        model.__dict__.update(self.__dict__)
        return model

    @contextmanager
    def _becoming(self) -> Iterator[Any]:
        """Hold the turn to train and yield a copy to train. At the end, or at Ctrl-C, this model takes its state."""
        with _TURNS.setdefault(self, Turn()).taken():
            model = self._now()
            before = model.__dict__.get("_machines")
            try:
                yield model
            except KeyboardInterrupt:
                if model.__dict__.get("_machines") is not before and vars(model).get("n_iter_"):
                    self._become(model)
                raise
            self._become(model)

    def _become(self, model: Any) -> None:
        model.__dict__.update(self.get_params(deep=False))  # another thread may have set parameters meanwhile
        self.__dict__ = model.__dict__

    def _check_parameters(self) -> None:
        check_parameters({name: value for name, value in self.get_params().items() if name != "random_state"})
        check_run(self.epochs, self.num_threads)
        for name in ("early_stopping", "warm_start"):
            check_flag(getattr(self, name), name)

    def _check_unchanged(self) -> None:
        table = self._machines[0].table
        if (table.no_components, table.learning_schedule) != (self.no_components, self.learning_schedule):
            raise ValueError(
                f"no_components or learning_schedule changed since training began (from {table.no_components} and "
                f"{table.learning_schedule!r}): set them back, or fit anew"
            )
        known = None
        if self._field_of is not None:
            if np.asarray(self.fields_).shape != (self._machines[0].n_fields,):
                raise ValueError(
                    f"fields_ is {shorten(self.fields_)}, which are not as many as were trained on: leave it to fit"
                )
            known = np.asarray(self.fields_)[self._field_of].tolist()
        if known != (None if self.fields is None else np.asarray(self.fields).tolist()):
            raise ValueError("fields changed since training began: set them back, or fit anew")
        if not isinstance(self.n_iter_, int) or not 0 <= self.n_iter_ < 1 << 63:
            raise ValueError(f"n_iter_ is {self.n_iter_!r}, expected the epochs that were run: leave it to fit")

    def _check_training_input(self, X: Any, y: Any, sample_weight: Any, reset: bool) -> tuple[Any, Any, Floats | None]:
        X = _own(X)
        for given, name in ((y, "y"), (sample_weight, "sample_weight")):
            check_is_not_masked(given, name)
        if isinstance(X, DesignMatrix):
            self._check_design(X, reset)
            if y is None:
                raise ValueError("y is None: pass the targets, as in fit(design, design.y)")
            y = column_or_1d(check_array(y, ensure_2d=False, dtype=None, ensure_min_samples=0), warn=True)
            if len(y) != len(X):
                raise ValueError(f"X has {len(X):,} rows and y has {len(y):,}: give one target for each row")
        else:
            with np.errstate(over="ignore"):  # values too large for float32 become infinite, which is refused
                X, y = validate_data(
                    self, X, y, reset=reset, accept_sparse="csr", dtype=np.float32, y_numeric=self._loss == "squared"
                )
            X = _to_csr(X)
        if not X.shape[0]:
            raise ValueError("X has 0 rows: there is nothing to train on")
        if sample_weight is None:
            return X, y, None
        too_large = "sample_weight holds values too large for single precision"
        try:
            weights = _check_sample_weight(sample_weight, X, dtype=np.float32, ensure_non_negative=True)
        except OverflowError as error:  # of one int for all samples
            raise ValueError(too_large) from error
        if not np.isfinite(weights).all():
            raise ValueError(too_large)
        if not weights.any():
            raise ValueError("sample_weight is 0 for every sample: there is nothing to train on")
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

    def _initialize(self, X: Any, y: Any, weights: Floats | None, classes: Any) -> Floats:
        """Start v at N(0, init_scale), w at 0 and the weights of pairs of fields at 1; return the targets."""
        rng = _random_state(self.random_state)
        self._learn_targets(y, weights, classes)
        targets = self._encode_known(y, None)
        weighed = self._weigh(y, weights)
        self._starts = self._find_starts(targets, weighed)
        n_features = X.shape[1]
        counted = np.arange(X.shape[0]) if weighed is None else np.flatnonzero(weighed)
        self._divisors = _largest_beyond_1(_blocks_of(X), n_features, counted)
        self.fields_: NDArray[Any] | None = None
        self._field_of: NDArray[np.int32] | None = None
        if self.fields is not None:
            self.fields_, self._field_of = _check_fields(self.fields, n_features)
        n_fields = 0 if self.fields_ is None else len(self.fields_)
        machines = []
        self._seeds: list[int] = []
        for start in self._starts:
            machine = MachineParameters(n_features, self.no_components, self.learning_schedule, n_fields)
            embeddings = machine.table.view("embeddings")
            for first in range(0, n_features, 4096):  # in parts: the generator returns float64, twice the memory
                part = embeddings[first : first + 4096]
                part[...] = rng.standard_normal(part.shape) * float(self.init_scale)
            machine.shared[0, 0] = start
            machines.append(machine)
            self._seeds.append(int(rng.randint(1 << 32, dtype=np.uint64)))
        self._held_out_seed = int(rng.randint(1 << 32, dtype=np.uint64))
        learn(self, history_=[], n_iter_=0)
        self.__dict__.pop("best_epoch_", None)
        self._machines: list[MachineParameters] = machines
        return targets

    def _hold_out(self, rows: Rows) -> tuple[Rows, Rows | None]:
        """Split into training rows and held-out rows; these are None without early stopping."""
        if not self.early_stopping:
            return rows, None
        from sklearn.model_selection import train_test_split

        fraction = float(self.validation_fraction)  # arithmetic in half precision would overflow
        # Both parts get rows of every class if there are enough rows.
        numbers = np.arange(rows.targets.shape[1]) if rows.weights is None else np.flatnonzero(rows.weights)
        targets = rows.targets[:, numbers]
        classes = targets[0] > 0 if len(targets) == 1 else targets.argmax(axis=0)
        counts = np.unique(classes, return_counts=True)[1]
        by_class = (
            self._loss == "logistic"
            and len(counts) > 1
            and counts.min() > 1
            and fraction * len(numbers) > len(counts) - 1
            and (1 - fraction) * len(numbers) >= len(counts)
        )
        train, held_out = train_test_split(
            numbers,
            test_size=fraction,
            random_state=self._held_out_seed,  # so that a warm start holds out the same rows
            stratify=classes if by_class else None,
        )
        return rows[train], rows[held_out]

    def _run_epochs(self, rows: Rows, held_out: Rows | None) -> None:
        design, before = self._design(rows.X), [machine.like() for machine in self._machines]
        if held_out is None:
            for _ in range(self.epochs):
                self._run_epoch(design, rows, before)
        else:
            judged = self._design(held_out.X)
            best, lowest, n_worse = [machine.copy() for machine in self._machines], np.inf, 0
            kept = {"best_epoch_": self.best_epoch_} if hasattr(self, "best_epoch_") else {}
            try:
                for _ in range(self.epochs):
                    self._run_epoch(design, rows, before)
                    loss = self._losses(self._scores(judged, held_out.targets.shape[1]), held_out)
                    self.history_[-1]["validation_loss"] = loss
                    n_worse += 1
                    if loss < lowest:
                        _save(self._machines, best)
                        lowest, n_worse, kept = loss, 0, {"best_epoch_": self.n_iter_}
                    if n_worse == self.n_iter_no_change:
                        break
            finally:
                _save(best, self._machines)
                learn(self, **kept)

    def _run_epoch(self, design: Any, rows: Rows, before: list[MachineParameters]) -> None:
        """Train one epoch. Raises ValueError if it diverges. An epoch that raises is undone."""
        _save(self._machines, before)
        number = self.n_iter_ + 1
        started = time.perf_counter()
        num_threads = check_num_threads(self.num_threads)
        settings = _core.machine.Settings(
            loss=self._loss,
            learning_schedule=self.learning_schedule,
            learning_rate=self.learning_rate,
            rho=self.rho,
            epsilon=self.epsilon,
        )
        total = 0.0
        try:
            for machine, seed, targets in zip(self._machines, self._seeds, rows.targets, strict=True):
                loss, diverged = _core.machine.fit_epoch(
                    settings,
                    design,
                    targets,
                    rows.weights,
                    self._core_machine(machine, self.alpha_w, self.alpha_v),
                    seed,
                    self.n_iter_,
                    num_threads,
                )
                if diverged or not machine.all_finite(num_threads):
                    raise ValueError(
                        f"training diverged in epoch {number}: scores are no longer finite, and the model is "
                        f"as it was before. Try smaller values of learning_rate (now {self.learning_rate}), init_scale "
                        f"(now {self.init_scale}), alpha_w (now {self.alpha_w}) and alpha_v (now {self.alpha_v})"
                        f"{'' if rows.weights is None else ', or scale down the weights'}"
                    )
                total += loss
            n_rows = rows.targets.shape[1]
            weight = n_rows if rows.weights is None else max(float(rows.weights.sum(dtype=np.float64)), 1e-30)
            record = {
                "epoch": number,
                "loss": total / weight / len(self._machines),
                "seconds": time.perf_counter() - started,
                "samples": n_rows,
            }
            self.__dict__.pop("best_epoch_", None)  # these are the parameters of the last epoch
            learn(self, n_iter_=number, history_=[*self.history_, record])  # at once: Ctrl-C may come any time
        except BaseException:
            if self.n_iter_ < number:
                _save(before, self._machines)
            raise

    def _losses(self, scores: Floats, rows: Rows) -> float:
        """Return the mean loss of all machines."""
        pairs = zip(scores, rows.targets, strict=True)
        return float(np.mean([self._mean_loss(*pair, rows.weights) for pair in pairs]))

    def _warn_of_divergence(self, rows: Rows) -> None:
        """Warn if the last epoch's loss is so far above that of a constant that noise cannot explain it."""
        if not self.history_:
            return
        constants = np.repeat(np.array(self._starts, np.float32)[:, None], rows.targets.shape[1], axis=1)
        loss, constant = self.history_[-1]["loss"], self._losses(constants, rows)
        if loss > 2 * constant + 0.01:
            warn(
                f"the loss of epoch {self.n_iter_} is {loss:.3g} but the loss of a constant is {constant:.3g}: "
                "training does not converge. Scale the features to a mean of 0 and a deviation of 1 (StandardScaler), "
                f"or try a smaller learning_rate (now {self.learning_rate})",
                ConvergenceWarning,
            )

    # ------------------------------------------------------------------ models on disk

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to a safetensors file. If writing fails, an existing file stays as it was.

        Parameters
        ----------
        path : path
            A file in a folder that exists. An existing file is replaced atomically.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a parameter is out of range or has changed the shape of the machine since it was trained, or the type of
            a class, of a label of a field or of the random state cannot be saved.
        OSError
            If the file cannot be written.
        """
        model = self._now()
        check_is_fitted(model)
        model._check_parameters()  # a file with others could not be read
        model._check_unchanged()
        if not isinstance(model.random_state, np.random.Generator):
            check_legacy_seed(model.random_state)
        persistence.write(path, *model._to_state())

    @classmethod
    def load(cls: type[AnyMachine], path: str | os.PathLike[str]) -> AnyMachine:
        """Read an estimator that :meth:`save` wrote. No code in the file is run, so files of others are safe to load.

        Parameters
        ----------
        path : path

        Returns
        -------
        FMClassifier or FMRegressor
            Its predictions and further training equal the saved estimator's to the bit.

        Raises
        ------
        ValueError
            If the file is truncated, altered, of a newer format or holds no such estimator.
        OSError
            If it cannot be opened.
        """
        return cls.from_contents(path, persistence.read(path, mmap=False))

    @classmethod
    def from_contents(
        cls: type[AnyMachine], path: str | os.PathLike[str], contents: persistence.Contents
    ) -> AnyMachine:
        """Make the estimator from the contents of a file that was read already; otherwise as :meth:`load`."""
        name, kind = os.fspath(path), cls.__name__
        try:
            return cls._from_state(contents.document, contents.tensors)
        except ValueError as error:
            raise ValueError(f"{name} holds no {kind}: {error}") from error
        except persistence.MALFORMED as error:
            raise ValueError(f"{name} holds a malformed {kind}: {error!r}") from error

    def _to_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        parameters = {**self.get_params(deep=False), "fields": None}
        tensors: dict[str, NDArray[Any]] = {}
        document: dict[str, Any] = {
            "estimator": type(self)._saved_as,
            "parameters": parameters,
            "n_machines": len(self._machines),
            "n_fields": self._machines[0].n_fields,
            "seeds": self._seeds,
            "held_out_seed": self._held_out_seed,
            "starts": self._starts,
            "center": self._center,
            "scale": self._scale,
            "history": self.history_,
            "n_iter": self.n_iter_,
            "best_epoch": getattr(self, "best_epoch_", None),
            "labels": {},
        }
        if isinstance(self.random_state, np.random.RandomState | np.random.Generator):
            generator = _random_state(deepcopy(self.random_state))  # saving draws nothing
            document["generator"], tensors["random_state"] = persistence.pack_generator(generator)
            parameters["random_state"] = None
        if isinstance(weights := parameters.get("class_weight"), dict):
            parameters["class_weight"] = [float(weights.get(label, 1.0)) for label in self.classes_.tolist()]
        for number, machine in enumerate(self._machines):
            table = machine.table
            arrays = {"embeddings": table.rows[:, : table.width], "shared": machine.shared}
            arrays |= {field: table.view(field) for field in FIELDS[1:] if table.stores(field)}
            tensors |= {f"{number}.{field}": array for field, array in arrays.items()}
        if self._divisors is not None:
            tensors["divisors"] = self._divisors
        if self._field_of is not None:
            tensors["field_of"] = self._field_of.astype(np.int64)
        for name in ("classes_", "fields_", "feature_names_in_"):
            labels = getattr(self, name, None)
            if labels is not None:
                kind, parts = pack_ids(labels.tolist())
                document["labels"][name] = [kind, _kind_of(labels, name)]
                tensors |= {f"{name}.{part}": array for part, array in parts.items()}
        return document, tensors

    @classmethod
    def _from_state(cls: type[AnyMachine], document: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> AnyMachine:
        if document["estimator"] != cls._saved_as:
            raise ValueError(f"it is a model of {document['estimator']}")
        model = cls(**document["parameters"])
        labels = {}
        for name, (kind, dtype) in document["labels"].items():
            parts = persistence.arrays_after(tensors, f"{name}.", mmap=True)
            labels[name] = _labels(unpack_ids(kind, parts), dtype)
        if "generator" in document:
            model.random_state = persistence.unpack_generator(document["generator"], tensors["random_state"])
        model._restore_targets(document, labels)
        n_fields = persistence.unpack_whole(document["n_fields"], "the number of fields", MOST_FIELDS)
        n_machines = persistence.unpack_whole(document["n_machines"], "the number of machines", len(tensors))
        model.fields_ = labels.get("fields_")
        if (0 if model.fields_ is None else len(np.unique(model.fields_))) != n_fields:
            raise ValueError(f"it has {n_fields} fields but not as many different labels")
        if n_machines != model._n_machines():
            raise ValueError(f"it has {n_machines} machines, expected {model._n_machines()}")
        model._machines = [
            MachineParameters.restored(tensors, f"{number}.", model.no_components, model.learning_schedule, n_fields)
            for number in range(n_machines)
        ]
        model.n_features_in_ = len(model._machines[0].table.rows)
        if any(len(machine.table.rows) != model.n_features_in_ for machine in model._machines):
            raise ValueError("its machines differ in their number of features")
        model._divisors = tensors.get("divisors")
        if model._divisors is not None:
            model._divisors = check_state_array(model._divisors, "divisors", 1)
            if len(model._divisors) != model.n_features_in_ or model._divisors.min() < 1:
                raise ValueError("its divisors are not one number of at least 1 for each feature")
        model._field_of = None
        if model.fields_ is not None:
            model._field_of = check_block_rows(tensors["field_of"], "the features", model.n_features_in_, n_fields)
            model.fields = model.fields_[model._field_of]
        if "feature_names_in_" in labels:
            if len(labels["feature_names_in_"]) != model.n_features_in_:
                raise ValueError("it does not name each of its features once")
            model.feature_names_in_ = labels["feature_names_in_"]
        for name, attribute in (("seeds", "_seeds"), ("starts", "_starts")):
            if not isinstance(document[name], list) or len(document[name]) != n_machines:
                raise ValueError(f"its {name} are {document[name]!r}, expected one for each machine")
            setattr(model, attribute, document[name])
        for seed in (*model._seeds, document["held_out_seed"]):
            persistence.unpack_whole(seed, "a seed", (1 << 32) - 1)
        for start in model._starts:
            check_finite_number(start, "a start")
        model._held_out_seed = document["held_out_seed"]
        learn(model, history_=persistence.unpack_history(document["history"]))
        learn(model, n_iter_=persistence.unpack_whole(document["n_iter"], "the number of epochs", 1 << 62))
        if document["best_epoch"] is not None:
            learn(model, best_epoch_=persistence.unpack_whole(document["best_epoch"], "the best epoch", 1 << 62))
        model._check_parameters()
        check_legacy_seed(model.random_state)
        return model

    def _restore_targets(self, document: dict[str, Any], labels: dict[str, NDArray[Any]]) -> None:
        """Restore from a file how targets are encoded."""
        raise NotImplementedError

    def _n_machines(self) -> int:
        return 1

    # ------------------------------------------------------------------ the core's views

    def _design(self, X: Any) -> Any:
        if X.shape[1] != (n_features := len(self._machines[0].table.rows)):
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

    def _core_machine(self, machine: MachineParameters, alpha_w: float = 0.0, alpha_v: float = 0.0) -> Any:
        table = machine.table
        return _core.machine.Machine(
            table.rows, table.biases, table.width, machine.shared, self._field_of, machine.n_fields, alpha_w, alpha_v
        )

    def _scores(self, design: Any, n_rows: int) -> Floats:
        """Return scores of shape (n_machines, n_rows)."""
        scores = np.empty((len(self._machines), n_rows), dtype=np.float32)
        num_threads = check_num_threads(self.num_threads)
        for machine, row in zip(self._machines, scores, strict=True):
            _core.machine.predict(design, self._core_machine(machine), row, num_threads)
        return scores

    def _score_rows(self, X: Any) -> NDArray[np.float64]:
        """Return scores of shape (n_rows,), or (n_rows, n_classes) with a machine for each class."""
        model = self._now()  # another thread's training may now change values, but no shapes
        check_is_fitted(model)
        X = _own(X)
        if isinstance(X, DesignMatrix):
            model._check_design(X, reset=False)
        else:
            with np.errstate(over="ignore"):
                X = validate_data(model, X, reset=False, accept_sparse="csr", dtype=np.float32)
            X = _to_csr(X)
        scores = model._center + model._scale * model._scores(model._design(X), X.shape[0]).astype(np.float64)
        if not (finite := np.isfinite(scores).all(axis=0)).all():
            raise ValueError(
                f"row {int(finite.argmin()):,} of X has no finite score: its values are too large for what was fitted"
            )
        return scores[0] if len(scores) == 1 else np.ascontiguousarray(scores.T)

    # ------------------------------------------------------------------ targets

    _divisors: Floats | None = None
    _center = 0.0
    _scale = 1.0

    def _learn_targets(self, y: Any, weights: Floats | None, classes: Any) -> None:
        """Set the attributes by which :meth:`_encode_known` encodes targets."""
        raise NotImplementedError

    def _encode_known(self, y: Any, classes: Any) -> Floats:
        """Return targets of shape (n_machines, n_rows)."""
        raise NotImplementedError

    def _find_starts(self, targets: Floats, weights: Floats | None) -> list[float]:
        """Return the initial w0 of each machine."""
        return [0.0]

    def _weigh(self, y: Any, weights: Floats | None) -> Floats | None:
        return weights

    def _mean_loss(self, scores: Floats, targets: Floats, weights: Floats | None) -> float:
        raise NotImplementedError


class FMClassifier(ClassifierMixin, _FactorizationMachine):  # type: ignore[misc]
    r"""A factorization machine for two classes or more.

    A row x scores :math:`w_0 + \sum_p w_p x_p + \sum_{p<q} \langle v_p, v_q \rangle x_p x_q` (Rendle 2010),
    the log-odds of the second class. With more than two classes each class has a machine that separates it from the
    rest, and probabilities are scaled to a sum of 1.

    Training is stochastic gradient descent over the rows in random order, in time linear in their entries. For
    training, a feature with values outside -1 to 1 is divided by its largest absolute value, so that its unit does not
    matter. ``coef_`` and ``embeddings_`` are in the features' original units.

    Parameters
    ----------
    no_components : int
        Length of the embeddings v, from 1 to 2**20.
    fields : array of shape (n_features,), optional
        The label of each feature's field. Each pair of features is then multiplied by :math:`r_{F(p)F(q)}`, a weight
        of the pair of fields that is learned and starts at 1 (Pan 2018). ``DesignMatrix.fields`` has the labels of a
        design matrix.
    learning_rate : float
        Initial step size of adagrad, from 0 to 3.4e38.
    learning_schedule : {"adagrad", "adadelta"}
        How step sizes adapt (Duchi 2011; Zeiler 2012).
    rho : float
        Decay of adadelta's moving averages, above 0 and below 1.
    epsilon : float
        Conditioning term of adadelta, from 0 to 3.4e38.
    alpha_w, alpha_v : float
        L2 penalty of w and of v: every sample adds :math:`\alpha / 2 \, w^2` to the objective for each parameter of
        its features. From 0 to 3.4e38.
    epochs : int
        Passes over the data; the largest number of passes with early stopping.
    init_scale : float
        Standard deviation of the initial v, from 0 to 100.
    early_stopping : bool
        Hold out ``validation_fraction`` of the data, and stop when their loss has not fallen for
        ``n_iter_no_change`` epochs. The best epoch's parameters are kept.
    validation_fraction : float
        Share of the rows that early stopping holds out, above 0 and below 1.
    n_iter_no_change : int
        Epochs without a gain after which early stopping ends training, from 1 to 2**31 - 1.
    warm_start : bool
        Let ``fit`` continue from the parameters of the previous call, for ``epochs`` more epochs.
    num_threads : int
        Threads that train and predict. With the same seed and one thread, two fits by the same build give the same
        bits. With more threads results differ from run to run, since threads write to shared parameters without locks
        (Hogwild, Niu 2011).
    random_state : int, RandomState, Generator or None
        Seed of the initial v, of the order of samples and of the choice of held-out rows.
    class_weight : dict, "balanced" or None
        Factor of the weight of each class's samples. "balanced" gives all classes the same total weight.

    Attributes
    ----------
    intercept_ : float
    coef_ : float32 array of shape (n_features,)
    embeddings_ : float32 array of shape (n_features, no_components)
        w0, w and v. With more than two classes these and ``field_weights_`` have an additional first axis, the
        classes.
    classes_ : array of shape (n_classes,)
        The classes, sorted.
    fields_, field_weights_ : array of shape (n_fields,), float32 array of shape (n_fields, n_fields)
        The sorted labels of the fields, and r of every pair. Only with ``fields``.
    n_features_in_, n_iter_ : int
        The number of features, and the number of epochs run. With early stopping ``best_epoch_`` is the epoch kept,
        until training goes on without early stopping.
    history_ : list of dict
        One record an epoch: ``epoch`` (from 1), ``loss`` (mean log loss of the machines, before L2), ``seconds``,
        ``samples``, and ``validation_loss`` with early stopping.

    Examples
    --------
    >>> import numpy as np
    >>> from lightfm_fast import FMClassifier
    >>> X = np.random.RandomState(0).randint(2, size=(500, 6))
    >>> y = X[:, 0] ^ X[:, 1]  # exclusive or: a linear model cannot learn it, a pair of features can
    >>> model = FMClassifier(epochs=60, init_scale=0.1, learning_rate=0.2, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    _loss = "logistic"
    _saved_as = "FMClassifier"

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
        warm_start: bool = False,
        num_threads: int = 1,
        random_state: Any = None,
        class_weight: Any = None,
    ) -> None:
        super().__init__(
            no_components,
            fields=fields,
            learning_rate=learning_rate,
            learning_schedule=learning_schedule,
            rho=rho,
            epsilon=epsilon,
            alpha_w=alpha_w,
            alpha_v=alpha_v,
            epochs=epochs,
            init_scale=init_scale,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            warm_start=warm_start,
            num_threads=num_threads,
            random_state=random_state,
        )
        self.class_weight = class_weight

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> FMClassifier:
        """Train one more epoch, on a batch. ``early_stopping`` has no effect.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.
        classes : array of shape (n_classes,)
            All classes; needed at the first call only.

        Returns
        -------
        FMClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            As :meth:`fit`; also if the first call lacks ``classes``, or a later call gives other classes.
        """
        if classes is None and not hasattr(self, "_machines"):
            raise ValueError("classes is None: give all classes at the first call of partial_fit")
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight is {self.class_weight!r}, which needs the whole y: give partial_fit a dict, such as "
                "the result of sklearn.utils.class_weight.compute_class_weight"
            )
        return self._partial_fit(X, y, sample_weight, classes)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the score of every row.

        Returns
        -------
        float64 array of shape (n_samples,), with more than two classes (n_samples, n_classes)
            The log-odds of ``classes_[1]``, or of each class against the rest.
        """
        return self._score_rows(X)

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the logarithm of each class's probability: float64 array of shape (n_samples, n_classes)."""
        scores = self._score_rows(X)
        if scores.ndim == 1:
            return np.column_stack([log_expit(-scores), log_expit(scores)])
        logs = log_expit(scores)
        return logs - logsumexp(logs, axis=1, keepdims=True)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each of ``classes_``: float64 array of shape (n_samples, n_classes)."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of every row: array of shape (n_samples,)."""
        model = self._now()
        scores = model._score_rows(X)
        model._check_classes()
        return model.classes_[(scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)]

    def _learn_targets(self, y: Any, weights: Floats | None, classes: Any) -> None:
        try:
            check_classification_targets(y)
            kind = type_of_target(y, input_name="y", raise_unknown=True)
            found = np.unique(y if classes is None else as_array(classes, "classes"))
        except TypeError as error:  # classes that do not compare, such as None among text
            raise TypeError(f"y holds classes that have no order, expected all text or all numbers: {error}") from error
        if kind not in ("binary", "multiclass"):
            raise ValueError(f"y is {kind}, expected one class for each row")
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            raise ValueError(f"classes is {shorten(classes)}, expected text or finite numbers: leave NaN out")
        if len(found) < 2:
            name = "y" if classes is None else "classes"
            raise ValueError(f"{name} has one class only, {found.tolist()}: a classifier needs samples of two classes")
        self.classes_ = found

    def _n_machines(self) -> int:
        return 1 if len(self.classes_) == 2 else len(self.classes_)

    def _restore_targets(self, document: dict[str, Any], labels: dict[str, NDArray[Any]]) -> None:
        self.classes_ = labels["classes_"]
        if len(self.classes_) < 2 or not np.array_equal(np.unique(self.classes_), self.classes_):
            raise ValueError(f"its classes are {self.classes_.tolist()!r}, expected two or more in their order")
        if isinstance(self.class_weight, list):
            self.class_weight = dict(zip(self.classes_.tolist(), self.class_weight, strict=True))
        if self.class_weight is not None:
            self._check_class_weight(self.classes_)

    def _check_classes(self) -> None:
        if len(self._machines) != self._n_machines():
            raise ValueError(
                f"classes_ is {np.asarray(self.classes_).tolist()}, which are not as many as were trained on: leave it "
                "to fit"
            )

    def _check_unchanged(self) -> None:
        super()._check_unchanged()
        self._check_classes()
        if self.class_weight is not None:
            self._check_class_weight(self.classes_)

    def _encode_known(self, y: Any, classes: Any) -> Floats:
        if classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(
                f"classes is {shorten(classes)} but the first call of partial_fit had {self.classes_.tolist()}"
            )
        if not np.isin(y, self.classes_).all():
            raise ValueError(f"y has classes other than {self.classes_.tolist()}, those of the first call")
        told_apart = self.classes_[1:] if len(self.classes_) == 2 else self.classes_
        return np.where(np.asarray(y) == told_apart[:, None], np.float32(1), np.float32(-1))

    def _find_starts(self, targets: Floats, weights: Floats | None) -> list[float]:
        """Return the log-odds of each class among all rows."""
        positive = (targets > 0) @ (np.ones(targets.shape[1]) if weights is None else weights.astype(np.float64))
        total = targets.shape[1] if weights is None else weights.sum(dtype=np.float64)
        return [float(np.log((some + 0.5) / (total - some + 0.5))) for some in positive]

    def _weigh(self, y: Any, weights: Floats | None) -> Floats | None:
        if self.class_weight is None:
            return weights
        of_classes = self._check_class_weight(y)
        weighed = of_classes[np.searchsorted(self.classes_, y)] * (1.0 if weights is None else weights)
        with np.errstate(over="ignore"):
            single = weighed.astype(np.float32)
        if not np.isfinite(single).all() or not single.any():
            raise ValueError(
                "class_weight times sample_weight is 0 for every sample, or too large for single precision"
            )
        return single

    def _check_class_weight(self, y: Any) -> NDArray[np.float64]:
        given = self.class_weight
        if isinstance(given, dict):
            for label, weight in given.items():
                check_least(weight, f"class_weight[{label!r}]", 0.0)
            if unknown := [label for label in given if label not in self.classes_.tolist()]:
                raise ValueError(f"class_weight has {unknown[0]!r}, which is none of {self.classes_.tolist()}")
            return np.array([float(given.get(label, 1.0)) for label in self.classes_.tolist()])
        if not isinstance(given, str) or given != "balanced":
            raise ValueError(
                f"class_weight is {shorten(given)}, expected None, 'balanced' or a dict from classes to weights"
            )
        present = np.unique(y)
        of_classes = np.ones(len(self.classes_))
        of_classes[np.searchsorted(self.classes_, present)] = compute_class_weight("balanced", classes=present, y=y)
        return of_classes

    def _mean_loss(self, scores: Floats, targets: Floats, weights: Floats | None) -> float:
        return float(np.average(np.logaddexp(0.0, -(targets * scores).astype(np.float64)), weights=weights))


class FMRegressor(RegressorMixin, _FactorizationMachine):  # type: ignore[misc]
    """A factorization machine for real values, by squared error.

    The predicted value of a row is its score, as in :class:`FMClassifier`. Targets are standardised for training, so
    that their unit does not matter. ``intercept_``, ``coef_`` and ``embeddings_`` are in the targets' original unit.

    Parameters and attributes are those of :class:`FMClassifier`, without ``class_weight`` and ``classes_``. The
    ``loss`` in ``history_`` is half the mean squared error of the standardised targets.

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
    _saved_as = "FMRegressor"

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> FMRegressor:
        """Train one more epoch, on a batch. ``early_stopping`` has no effect.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`. The mean and deviation of the first batch's targets standardise all later targets.

        Returns
        -------
        FMRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            As :meth:`fit`.
        """
        return self._partial_fit(X, y, sample_weight, None)

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the value of every row: float64 array of shape (n_samples,)."""
        return self._score_rows(X)

    def _learn_targets(self, y: Any, weights: Floats | None, classes: Any) -> None:
        y = _check_values(y)
        self._center = float(np.average(y, weights=weights))
        deviations = y - self._center
        unit = float(np.abs(deviations).max()) or 1.0  # squares of tiny values would vanish
        deviation = unit * float(np.sqrt(np.average((deviations / unit) ** 2, weights=weights)))
        self._scale = deviation if deviation > ROUNDING * abs(self._center) else abs(self._center) or 1.0

    def _restore_targets(self, document: dict[str, Any], labels: dict[str, NDArray[Any]]) -> None:
        self._center = check_finite_number(document["center"], "the mean of the targets")
        self._scale = check_positive(document["scale"], "the deviation of the targets")
        if max(abs(self._center), self._scale) > LARGEST_TARGET:
            raise ValueError(f"its targets go beyond {LARGEST_TARGET:.0e}")

    def _encode_known(self, y: Any, classes: Any) -> Floats:
        targets = (_check_values(y) - self._center) / self._scale
        return targets.clip(-LARGEST_SINGLE, LARGEST_SINGLE).astype(np.float32)[None]

    def _mean_loss(self, scores: Floats, targets: Floats, weights: Floats | None) -> float:
        return float(np.average((scores.astype(np.float64) - targets) ** 2, weights=weights) / 2)


def _kind_of(labels: NDArray[Any], name: str) -> str:
    """Return the dtype's name that a file stores; for text it is "str", whatever the length."""
    if labels.dtype.kind not in "biufUO":
        raise ValueError(f"{name} holds values of type {labels.dtype}, which cannot be saved")
    return "str" if labels.dtype.kind == "U" else labels.dtype.name


def _labels(values: list[Any], kind: Any) -> NDArray[Any]:
    if kind not in LABELS:
        raise ValueError(f"{kind!r} is no type of labels")
    labels = np.empty(len(values), object)
    labels[:] = values
    return labels if kind == "object" else labels.astype(kind)


def _save(machines: list[MachineParameters], others: list[MachineParameters]) -> None:
    for machine, other in zip(machines, others, strict=True):
        machine.save_to(other)


def _check_values(y: Any) -> NDArray[np.float64]:
    values = np.asarray(y, dtype=np.float64)
    if not (largest := np.abs(values).max(initial=0.0)) <= LARGEST_TARGET:
        raise ValueError(f"y holds values up to {largest:.3g}, expected at most {LARGEST_TARGET:.0e}: scale y down")
    return values


def _divided(values: Floats, divisors: Floats | None) -> Floats:
    return values if divisors is None else values / divisors


def _blocks_of(X: Any) -> list[CoreBlock]:
    if isinstance(X, DesignMatrix):
        return X.core_blocks()
    return [(None, X.indptr.astype(np.int64, copy=False), X.indices.astype(np.int32, copy=False), X.data, 0)]


def _random_state(seed: Any) -> np.random.RandomState:
    """Return a RandomState as scikit-learn's estimators make it; a Generator seeds one."""
    return check_random_state(seed) if isinstance(seed, np.random.Generator) else check_legacy_seed(seed)


def _largest_beyond_1(blocks: list[CoreBlock], n_features: int, counted: NDArray[np.intp]) -> Floats | None:
    """Return each feature's largest absolute value in the rows ``counted``, but at least 1; None if all are 1."""
    largest = np.ones(n_features, dtype=np.float32)
    for rows, indptr, indices, values, first in blocks:
        if indptr is None or indices is None or values is None:
            continue
        # A part of a design matrix has the block rows of the others too.
        is_used = np.zeros(len(indptr) - 1, dtype=bool)
        is_used[counted if rows is None else rows[counted]] = True
        beyond = np.repeat(is_used, np.diff(indptr)) & (np.abs(values) > 1)
        np.maximum.at(largest, first + indices[beyond], np.abs(values[beyond]))
    return largest if (largest > 1).any() else None


def _own(X: Any) -> Any:
    """Check ``X``, and copy what the caller could change during an epoch. ``_to_csr`` copies dense matrices."""
    if isinstance(X, DesignMatrix):
        return X.judged()
    check_is_not_masked(X, "X")
    if sp.issparse(X):  # checked first, since scikit-learn's compiled code also trusts indices
        return check_block(X, "X", 0, "samples")
    dtypes = getattr(X, "dtypes", None)
    if dtypes is not None and hasattr(dtypes, "items"):  # sparse columns of pandas whose default is not 0
        dense = {name: dtype.subtype for name, dtype in dtypes.items() if getattr(dtype, "fill_value", 0) != 0}
        return X.astype(dense) if dense else X
    return X


def _to_csr(X: Any) -> sp.csr_matrix:
    """Convert input that scikit-learn has checked to canonical CSR."""
    X = sp.csr_matrix(X, dtype=np.float32)
    X.sum_duplicates()
    return X


def _check_fields(fields: Any, n_features: int) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Return the distinct labels, sorted, and for each feature the position of its label among them.

    Raises
    ------
    ValueError
        If there is not one label for each feature, or there are more than 4,096 distinct labels.
    """
    labels = as_array(fields, "fields")
    if labels.shape != (n_features,):
        raise ValueError(
            f"fields has shape {labels.shape} but X has {n_features:,} features: give the label of each one's field"
        )
    try:
        different, numbers = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise ValueError(f"fields has labels that cannot be sorted: {error}. Give labels of one type") from error
    if different.dtype.kind in "fc" and np.isnan(different).any():
        raise ValueError("fields has labels that are NaN, which equals no label: give such features a label too")
    if len(different) > MOST_FIELDS:
        raise ValueError(f"fields has {len(different):,} different labels, expected at most {MOST_FIELDS:,}")
    return different, numbers.astype(np.int32)
