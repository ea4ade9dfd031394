"""The users' and the items' parameters: their arrays, the feature matrices that fit them, and representations."""

from __future__ import annotations

import weakref
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast import _core
from lightfm_fast._arguments import check_is_unchanged, check_may_reshape, shorten
from lightfm_fast._autoencoder import Autoencoder
from lightfm_fast._content import Content
from lightfm_fast._feature_rows import identity, is_identity, row_arrays
from lightfm_fast._feature_scaling import FeatureScaling, Parts
from lightfm_fast._mapping import FeatureMapping
from lightfm_fast._matrices import check_features, check_state_array
from lightfm_fast._parameters import (
    FIELDS,
    Floats,
    MappedTable,
    ParameterTable,
    aligned_zeros,
    check_accumulator,
    padded_width,
    to_directions,
)

Table = ParameterTable | MappedTable
Contents = tuple[Table | None, dict[str, Floats], bool, FeatureScaling | None, FeatureMapping | None]
Represented = tuple[Floats, Floats, NDArray[np.int64] | None]  # embeddings, biases and the rows to use; None for all


def count_rows(ids: NDArray[np.int64]) -> int:
    """Return the number of rows that a matrix needs to have all these row numbers."""
    return int(ids.max()) + 1 if ids.size else 0


def check_represented(name: str, embeddings: Floats, biases: Floats) -> None:
    """Raise ValueError if what represents users or items is not finite: it would be compared with wrong results."""
    sums = embeddings.sum(axis=1, dtype=np.float64)
    if not (np.isfinite(sums).all() and np.isfinite(biases).all()):
        raise ValueError(
            f"what represents {name}s is NaN or infinite: assign finite parameters, give smaller features, or fit anew"
        )


def check_sides(sides: Any, user_features: Any, item_features: Any) -> None:
    """Raise ValueError if ``sides`` holds other names than "user" and "item", or lacks a side with features given."""
    is_list = isinstance(sides, Collection) and not isinstance(sides, str) and not hasattr(sides, "shape")
    named = tuple(sides) if is_list else ()
    if not named or any(not isinstance(side, str) or side not in ("user", "item") for side in named):
        raise ValueError(f"sides is {shorten(sides)}, expected a list of 'user', 'item' or both")
    for side, features in (("user", user_features), ("item", item_features)):
        if side not in named and features is not None:
            raise ValueError(f"{side}_features are given but sides is {sides!r}: leave them out, or name {side!r} too")


class Side:
    """The six state arrays of the users or of the items: unset, assigned one by one, or packed in a table.

    An assigned array of the same shape is copied into the table. An array of another shape unpacks the table into six
    separate arrays, which are packed again at their next use. Their shapes must agree by then.

    Attributes
    ----------
    name : str
        "user" or "item".
    needs_features : bool
        Whether the rows of the arrays are features of a feature matrix, rather than users or items.
    scaling : FeatureScaling or None
        The scales of the features' weights; None where weights are used as given.
    mapping : FeatureMapping or None
        What represents rows without a past; None where the sums of their features do.
    is_training : bool
        Whether epochs run over the table: its values may change, but not its shape.
    version : object
        Another object after each change of the parameters, their scales or the mapping, or of what may write to them.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.needs_features = False
        self.scaling: FeatureScaling | None = None
        self._mapping: FeatureMapping | None = None
        self.is_training = False
        self.version = object()
        self._table: Table | None = None
        self._loose: dict[str, Floats] = {}
        self._lent: list[weakref.ref[Floats]] = []  # the writable arrays that callers hold

    def __getstate__(self) -> dict[str, Any]:
        # No epochs run over a copy, also if a callback makes it, and nobody holds its arrays.
        return {**self.__dict__, "is_training": False, "version": None, "_lent": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.version = object()

    def contents(self) -> Contents:
        """Return the arguments by which :meth:`put_back` restores this state; arrays are not copied."""
        return self._table, dict(self._loose), self.needs_features, self.scaling, self.mapping

    def put_back(
        self,
        table: Table | None,
        loose: dict[str, Floats],
        needs_features: bool,
        scaling: FeatureScaling | None,
        mapping: FeatureMapping | None,
    ) -> None:
        self._table, self._loose, self.needs_features = table, loose, needs_features
        self.scaling, self.mapping = scaling, mapping

    @property
    def mapping(self) -> FeatureMapping | None:
        return self._mapping

    @mapping.setter
    def mapping(self, mapping: FeatureMapping | None) -> None:
        self._mapping = mapping
        self.version = object()

    def lend(self, field: str) -> Floats | None:
        """Return :meth:`get` for a caller of the library, who may write to it as long as the array is held."""
        array = self.get(field)
        if array is None or not array.flags.writeable:
            return array
        lent = np.asarray(_Lent(array))
        self._lent = [*(reference for reference in self._lent if reference() is not None), weakref.ref(lent)]
        self.version = object()
        return lent

    @property
    def is_lent(self) -> bool:
        """Whether a caller holds an array that :meth:`lend` returned, or a view of it."""
        return any(reference() is not None for reference in self._lent)

    def get(self, field: str) -> Floats | None:
        """Return a field's array itself, so that writing to it writes to the model; None before fitting."""
        if self._table is not None:
            return self._table.view(field)
        return self._loose.get(field)

    def holds(self, field: str, value: Any) -> bool:
        """Tell whether a field's array has these values already."""
        held = self.get(field)
        return held is not None and value is not None and np.array_equal(held, value)

    def set(self, field: str, value: Any) -> None:
        if value is not None:
            value = check_state_array(value, f"{self.name}_{field}", 1 if field.startswith("bias") else 2)
        self.version = object()
        if isinstance(self._table, MappedTable):
            self._table = self._table.copy()
        if value is not None and self._table is not None:
            view = self._table.view(field)
            if view.shape == value.shape and (self._table.stores(field) or self.is_training):
                check_accumulator(value, self.name, field, self._table.learning_schedule)
                view[...] = value  # no effect on a field that the table does not store
                return
        check_may_reshape(self.is_training, f"{self.name}_{field}")
        if value is not None and self.scaling is not None and len(value) != len(self.scaling.weights):
            self.scaling = None  # the arrays of another model, which come without scales
        if self._table is not None:
            self._loose = {name: self._table.view(name).copy() for name in FIELDS}
            self._table = None
        if value is None:
            self._loose.pop(field, None)
        else:
            self._loose[field] = value

    def is_finite(self, num_threads: int) -> bool:
        """Return whether all values in the table are finite."""
        return self._table is None or self._table.all_finite(num_threads)

    @property
    def is_complete(self) -> bool:
        return self._table is not None or len(self._loose) == len(FIELDS)

    @property
    def n_rows(self) -> int:
        embeddings = self.get("embeddings")
        return 0 if embeddings is None else embeddings.shape[0]

    def replace(self, table: Table) -> None:
        self._table, self._loose = table, {}
        self.version = object()

    def trainable_table(self, no_components: int, learning_schedule: str) -> ParameterTable:
        """Return :meth:`table` to a caller that holds the model's turn and will write to it.

        A mapped table is replaced by a copy that can be trained.
        """
        self.version = object()
        table = self.table(no_components, learning_schedule)
        if isinstance(table, MappedTable):
            table = table.copy()
            self.replace(table)
        return table

    def table(self, no_components: int, learning_schedule: str) -> Table:
        """Return the table, packing the six arrays if necessary.

        Raises
        ------
        ValueError
            If the assigned arrays do not agree in shape, or an accumulator has an invalid value.
        RuntimeError
            If epochs run over a table with another number of components or another schedule.
        """
        table = self._table
        if table is not None and (table.no_components, table.learning_schedule) == (no_components, learning_schedule):
            return table
        check_may_reshape(self.is_training, "no_components or learning_schedule")
        arrays = {field: self.get(field) for field in FIELDS}
        shape = (self.n_rows, no_components)
        for field, array in arrays.items():
            expected = shape[:1] if field.startswith("bias") else shape
            if array is None or array.shape != expected:
                raise ValueError(
                    f"{self.name}_{field} has shape {None if array is None else array.shape} but "
                    f"{self.name}_embeddings and no_components call for {expected}: set no_components back, fit anew, "
                    "or assign all arrays of one model"
                )
            check_accumulator(array, self.name, field, learning_schedule)
        packed = ParameterTable(*shape, learning_schedule)
        packed.fill(arrays)
        self.replace(packed)
        return packed

    def feature_matrix(
        self,
        n_rows: int,
        features: Any,
        may_grow: bool = False,
        source: str | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> sp.csr_matrix:
        """Return features as a canonical float32 CSR matrix that fits the parameters, or the identity for None.

        Parameters
        ----------
        n_rows : int
            The number of rows that the caller needs.
        features : sparse matrix or array, dense array or None
        may_grow : bool
            Accept more columns, or more rows of an identity, than there are parameters.
        source : str, optional
            The argument that needs the rows, for error messages.
        rows : int64 array, optional
            The rows that will be read, by default all: see :func:`check_features`.

        Raises
        ------
        ValueError
            If there are too few rows, other columns than in fitting, or no features although the model needs them.
        """
        n_fitted = self.n_rows if self.is_complete else None
        if features is not None:
            if source is not None:
                self._check_enough(n_rows, features, source)
            matrix = check_features(features, self.name, n_rows, rows)
        elif self.needs_features:
            raise ValueError(
                f"the model was fitted with {self.name}_features of {n_fitted:,} columns and needs them here too"
            )
        else:
            if n_fitted is not None and n_rows > n_fitted and not may_grow:
                raise ValueError(
                    f"{'' if source is None else f'{source}: '}{n_rows:,} {self.name}s are asked for but the model was "
                    f"fitted for {n_fitted:,}: {self.name}s that it has not seen need {self.name}_features, in fitting "
                    "too"
                )
            matrix = identity(max(n_rows, n_fitted or 0))
        if n_fitted is not None:
            self.check_width(matrix, may_grow)
        return matrix

    def _check_enough(self, n_rows: int, features: Any, source: str) -> None:
        shape = getattr(features, "shape", ())
        if isinstance(shape, tuple) and len(shape) == 2 and n_rows > shape[0]:
            raise ValueError(
                f"{source} but {self.name}_features has only {shape[0]:,} rows, from 0: it needs a row for each "
                f"{self.name}"
            )

    def scaled(self, features: sp.csr_matrix) -> sp.csr_matrix:
        """Return features with the weights that enter the model."""
        return features if self.scaling is None else self.scaling.apply(features)

    def learn_scaling(self, parts: Parts, n_columns: int, n_unscaled: int) -> None:
        """Learn the scales of the columns that have none yet.

        Parameters
        ----------
        parts, n_columns
            As :meth:`FeatureScaling.extended` takes them.
        n_unscaled : int
            How many columns the model has learned without scales, which keep their weights, if it has no scales.
        """
        known = FeatureScaling.unscaled(n_unscaled) if self.scaling is None else self.scaling
        self.scaling = known.extended(parts, n_columns, self.name)
        self.version = object()

    def check_width(self, features: sp.csr_matrix, may_grow: bool = False) -> None:
        """Raise ValueError if the number of columns differs from fitting. With ``may_grow`` it may be larger."""
        n_columns = features.shape[1]
        if n_columns < self.n_rows or (n_columns > self.n_rows and not may_grow):
            raise ValueError(
                f"{self.name}_features has {n_columns:,} columns but the model was fitted with {self.n_rows:,}: "
                "give the matrix with the columns of fitting, in their order"
            )


class _Lent:
    """Shows an array's memory to NumPy, so that the array made of it is the base of all its views.

    NumPy gives a view of a view the owner of the memory as its base. Then a view could outlive the lent array, and
    nothing would tell that somebody can still write.
    """

    def __init__(self, array: Floats) -> None:
        self._array = array  # keeps the memory
        self.__array_interface__ = array.__array_interface__


@dataclass(frozen=True)
class Sides:
    """The users' and items' parameters at the time of a call, and how they make a score.

    Attributes
    ----------
    users, items : Side
    no_components : int
    learning_schedule : str
    has_pairs : bool
        Whether pairs of features within a row are added to the row's bias.
    are_cosines : bool
        Whether scores are cosines, so that representations have length 1.
    n_epochs : int
        The number of epochs that the parameters were trained for.
    content : Content or None
        What represents items without a past; None where the sums of features do.
    autoencoder : Autoencoder or None
        What is added to the scores of known users and items; None for nothing.
    """

    users: Side
    items: Side
    no_components: int
    learning_schedule: str
    has_pairs: bool = False
    are_cosines: bool = False
    n_epochs: int = 0
    content: Content | None = None
    autoencoder: Autoencoder | None = None

    @property
    def length(self) -> int:
        """The length of representations: the embedding, and the coordinates of content and autoencoder, if any."""
        return int(self.no_components) + sum(
            0 if part is None else part.n_coordinates for part in (self.content, self.autoencoder)
        )

    @property
    def both(self) -> tuple[Side, Side]:
        return self.users, self.items

    def __getitem__(self, name: str) -> Side:
        return self.items if name == "item" else self.users

    def table(self, name: str) -> Table:
        """Return the table of one side; see :meth:`Side.table`."""
        return self[name].table(self.no_components, self.learning_schedule)

    def trainable_table(self, name: str) -> ParameterTable:
        return self[name].trainable_table(self.no_components, self.learning_schedule)

    def trainable_tables(self) -> list[ParameterTable]:
        return [self.trainable_table(name) for name in ("user", "item")]

    def state(self) -> tuple[Any, ...]:
        """Return values that training changes, for comparison with an earlier state."""
        return self.n_epochs, self.length, self.table("user"), self.table("item")

    def other_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays beside the tables on which scores depend, by their names in a file."""
        found: dict[str, NDArray[Any]] = {}
        for side in self.both:
            if side.scaling is not None:
                found[f"{side.name}_feature_scales"] = side.scaling.packed()
            if side.mapping is not None:
                found |= {f"{side.name}_mapping_{part}": array for part, array in side.mapping.to_arrays().items()}
        for name, part in (("content", self.content), ("autoencoder", self.autoencoder)):
            if part is not None:
                found |= {f"{name}_{of_part}": array for of_part, array in part.to_arrays()[1].items()}
        return found

    def check_both_are_converted(self, sides: Collection[str]) -> tuple[str, str]:
        """Return the names of both sides; ValueError if one has features and is not among ``sides``."""
        part, instead = "content", "cold_start='features'"
        if self.content is None:
            part, instead = "the linear autoencoder", "linear_components=0"
        for side in (self.users, self.items):
            if side.needs_features and side.name not in sides:
                raise ValueError(
                    f"sides is {list(sides)} but {part} needs {side.name}_features as well: convert both sides, or fit "
                    f"with {instead}"
                )
        return "user", "item"

    def check_initialized(self) -> None:
        """Raise ValueError if a state array is missing."""
        for side in (self.users, self.items):
            for field in () if side.is_complete else FIELDS:
                if side.get(field) is None:
                    raise ValueError(f"the model is not fitted, {side.name}_{field} is None: fit the model first")

    def check_finite(self, num_threads: int) -> None:
        """Raise ValueError if a parameter is NaN or infinite."""
        for side in (self.users, self.items):
            if not side.is_finite(num_threads):
                raise ValueError(
                    f"the {side.name} parameters hold NaN or infinity, written into them since they were learned: "
                    "assign finite arrays, or fit anew"
                )

    def represent(
        self, name: str, features: sp.csr_matrix, rows: NDArray[np.int64] | None, num_threads: int
    ) -> Represented:
        """Compute representations: the weighted sums of features' embeddings and biases.

        Parameters
        ----------
        name : str
            The side.
        features : csr_matrix
            A matrix made by :meth:`Side.feature_matrix`.
        rows : int64 array or None
            Rows of ``features``; None for all.
        num_threads : int

        Returns
        -------
        embeddings, biases, places
            Embeddings are followed by the coordinates of content and of the autoencoder, if any, and padded. They are
            not divided by their lengths, even if scores are cosines. ``places`` has the row of each of ``rows`` in
            both arrays; None for all rows in order.
        """
        table = self.table(name)
        check_is_unchanged(len(table.rows) == features.shape[1])
        places = rows
        is_sum = self.length > self.no_components or self[name].mapping is not None or not is_identity(features)
        if rows is not None and len(rows) < features.shape[0] and is_sum:
            occurring, places = np.unique(rows, return_inverse=True)  # each distinct row is summed once
            features = features[occurring]
        content_of, features = features, self[name].scaled(features)
        if is_identity(features):
            embeddings, biases = table.rows[:, : table.width], table.biases[:, 0]
            return self._placed(name, content_of, embeddings, biases, places)
        embeddings = np.empty((features.shape[0], table.width), dtype=np.float32)
        biases = np.empty(features.shape[0], dtype=np.float32)
        _core.ranking.represent(
            table.rows,
            table.biases,
            table.width,
            *row_arrays(features),
            self.has_pairs,
            embeddings,
            biases,
            num_threads,
        )
        return self._placed(name, content_of, embeddings, biases, places)

    def _placed(
        self, name: str, features: sp.csr_matrix, embeddings: Floats, biases: Floats, places: NDArray[np.int64] | None
    ) -> Represented:
        mapping = self[name].mapping
        owners: list[NDArray[Any]] = [] if mapping is None else [mapping.owners]
        if self.content is not None:
            owners.append(self.content.profiles if name == "user" else self.content.owners)
        check_is_unchanged(all(len(of_columns) <= features.shape[1] for of_columns in owners))
        if mapping is not None:
            embeddings, biases = mapping.represent(features, embeddings, biases, name == "user")
        if self.content is not None and name == "user":
            embeddings = self.content.users(features, embeddings)
        elif self.content is not None:
            embeddings, biases = self.content.items(features, embeddings, biases, mapping is not None)
        if self.autoencoder is not None:
            extended = aligned_zeros(len(embeddings), padded_width(self.length))
            first = self.length - self.autoencoder.n_coordinates
            extended[:, :first] = embeddings[:, :first]
            extended[:, first : self.length] = self.autoencoder.coordinates(name, features)
            embeddings = extended
        return embeddings, biases, places

    def extended_by_items(self, embeddings: Floats, item_features: sp.csr_matrix, positives: sp.csr_matrix) -> Floats:
        """Return embeddings of new users, followed by the coordinates that their items give them."""
        parts = [embeddings]
        chosen = np.unique(positives.indices)
        for part in (self.content, self.autoencoder):
            if part is not None:
                parts.append(part.of_new_users(item_features[chosen], positives[:, chosen]))
        return np.column_stack(parts)

    def padded(self, embeddings: Floats) -> Floats:
        """Return embeddings of new items, followed by zeros: their interactions say where they are."""
        return np.pad(embeddings, ((0, 0), (0, self.length - embeddings.shape[1])))

    def representations(
        self, name: str, features: Any, num_threads: int, n_rows: int | None = None, source: str | None = None
    ) -> tuple[Floats, Floats]:
        """Return the embeddings and biases that represent the first ``n_rows`` users or items, or all."""
        matrix = self[name].feature_matrix(n_rows or 0, features, source=source)
        embeddings, biases, _ = self.represent(name, matrix, None, num_threads)
        embeddings = embeddings[:n_rows, : self.length]
        check_represented(name, embeddings, biases)
        return to_directions(embeddings) if self.are_cosines else embeddings, biases[:n_rows]
