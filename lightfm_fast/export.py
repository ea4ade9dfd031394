"""Export of a model as an ONNX graph, to run without Python."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from lightfm_fast import _version
from lightfm_fast._arguments import check_choice, import_optional
from lightfm_fast._feature_scaling import FLOOR, FeatureScaling
from lightfm_fast._files import replaced
from lightfm_fast._mapping import FeatureMapping
from lightfm_fast._sides import Sides

__all__: list[str] = []

_OPSET = 13
LARGEST_GRAPH = (1 << 31) - (1 << 20)  # bytes of tensors; an ONNX file is one protocol buffer, which is limited


def export_onnx(
    sides: Sides, path: str | os.PathLike[str], inputs: str, user_features: Any, item_features: Any
) -> None:
    """Write the graph that :meth:`lightfm_fast.LightFM.export_onnx` describes."""
    check_choice(inputs, "inputs", ("ids", "features"))
    onnx = import_optional("onnx", "onnx", "The ONNX export")
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = _Graph(helper.make_node)
    if inputs == "features":
        if user_features is not None:
            raise ValueError(
                'with inputs="features" the graph is given user_features when it runs: leave them out here'
            )
        n_features = _add_users_of_features(graph, sides)
        given = helper.make_tensor_value_info("user_features", kinds.FLOAT, ["n_users", n_features])
    else:
        graph.constants["users"] = np.column_stack(sides.representations("user", user_features, 1))
        graph.add("Gather", ["users", "user_ids"], "representations", axis=0)
        given = helper.make_tensor_value_info("user_ids", kinds.INT64, ["n_users"])
    item_embeddings, item_biases = sides.representations("item", item_features, 1)
    _add_ranking(graph, item_embeddings, item_biases)
    _check_graph_size(sum(array.nbytes for array in graph.constants.values()))
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "LightFM",
            [given, helper.make_tensor_value_info("k", kinds.INT64, [1])],
            [
                helper.make_tensor_value_info("scores", kinds.FLOAT, ["n_users", len(item_biases)]),
                helper.make_tensor_value_info("top_ids", kinds.INT64, ["n_users", None]),
                helper.make_tensor_value_info("top_scores", kinds.FLOAT, ["n_users", None]),
            ],
            [
                onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
                for name, array in graph.constants.items()
            ],
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=8,  # supports the opset; older runtimes refuse the newest version, onnx's default
        producer_name="lightfm_fast",
        producer_version=_version.__version__,
    )
    onnx.checker.check_model(proto)
    with replaced(path) as temporary:
        onnx.save(proto, temporary, format="protobuf")  # named, since onnx would choose by the file's suffix


class _Graph:
    """A graph as it grows: its nodes in the order in which they run, and its constants by name."""

    def __init__(self, make_node: Callable[..., Any]) -> None:
        self._make_node = make_node
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def add(self, operation: str, inputs: list[str], *outputs: str, **attributes: Any) -> None:
        """Add a node."""
        self.nodes.append(self._make_node(operation, inputs, outputs, **attributes))


def _add_users_of_features(graph: _Graph, sides: Sides) -> int:
    """Make ``representations`` of ``user_features``, and return how many columns these have.

    A user is the sum of its features. Cosines also need its length, pairs within the user its features' products, and
    other parts have coordinates between the embedding and the bias.
    """
    embeddings, biases = (sides.table("user").view(field) for field in ("embeddings", "biases"))
    mapping, scaling = sides.users.mapping, sides.users.scaling
    has_coordinates = sides.content is not None or sides.autoencoder is not None
    are_sums_split = sides.are_cosines or sides.has_pairs or has_coordinates
    graph.constants["users"] = np.column_stack([embeddings, biases])
    weights, sums = "user_features", "sums" if are_sums_split else "representations"
    if scaling is not None:
        weights = "weights"
        _add_weights(graph, scaling)
    graph.add("MatMul", [weights, "users"], sums if mapping is None else "trained")
    if mapping is not None:
        _add_mapping(graph, mapping, sums)
    if are_sums_split:
        graph.constants["parts"] = np.array([embeddings.shape[1], 1])
        graph.add("Split", ["sums", "parts"], "embeddings", "biases", axis=1)
    if sides.has_pairs:
        _add_pairs(graph, weights, embeddings)
    if sides.are_cosines:
        _add_directions(graph, "embeddings", ["lengths", "divisors", "directions"])
        graph.add("Concat", ["directions", "biases"], "representations", axis=1)
    coordinates = []
    if sides.content is not None:
        coordinates.append("unit_profiles")
        graph.constants["profiles"] = sides.content.profiles
        graph.add("MatMul", ["user_features", "profiles"], "profile_sums")
        _add_directions(graph, "profile_sums", ["profile_lengths", "profile_divisors", "unit_profiles"])
    if sides.autoencoder is not None:
        coordinates.append("linear_sums")
        graph.constants["linear"] = sides.autoencoder.per_user_feature()
        graph.add("MatMul", ["user_features", "linear"], "linear_sums")
    if coordinates:
        graph.add("Concat", ["embeddings", *coordinates, "biases"], "representations", axis=1)
    return len(biases)


def _add_weights(graph: _Graph, scaling: FeatureScaling) -> None:
    """Make ``weights``: those of shared columns are divided by the length of their row, see FeatureScaling."""
    is_shared = scaling.lengths > 0
    graph.constants["scales_of_lengths"] = scaling.lengths
    graph.constants["floor"] = np.full(1, FLOOR**2, dtype=np.float32)
    graph.constants["shared_scales"] = np.where(is_shared, scaling.weights, np.float32(0))
    graph.constants["own_scales"] = np.where(is_shared, np.float32(0), scaling.weights)
    graph.add("Mul", ["user_features", "scales_of_lengths"], "parts_of_lengths")
    graph.add("ReduceSumSquare", ["parts_of_lengths"], "squared_lengths", axes=[1], keepdims=1)
    graph.add("Add", ["squared_lengths", "floor"], "squared_divisors")
    graph.add("Sqrt", ["squared_divisors"], "divisors_of_rows")
    graph.add("Mul", ["user_features", "shared_scales"], "undivided_weights")
    graph.add("Div", ["undivided_weights", "divisors_of_rows"], "shared_weights")
    graph.add("Mul", ["user_features", "own_scales"], "own_weights")
    graph.add("Add", ["shared_weights", "own_weights"], "weights")


def _add_mapping(graph: _Graph, mapping: FeatureMapping, sums: str) -> None:
    """Make ``sums`` of ``trained``, where a row without any identity column is new, see FeatureMapping."""
    graph.constants.update(_mapping_constants(mapping))
    graph.add("Abs", ["user_features"], "sizes")
    graph.add("MatMul", ["sizes", "are_own"], "sizes_of_own")
    graph.add("Greater", ["sizes_of_own", "nothing"], "are_known")
    graph.add("Gather", ["user_features", "mapped_columns"], "mapped_weights", axis=1)
    graph.add("Abs", ["mapped_weights"], "all_sizes")
    graph.add("Where", ["are_dense", "nothing", "all_sizes"], "mapped_sizes")
    graph.add("ReduceMax", ["mapped_sizes"], "largest_sizes", axes=[1], keepdims=1)
    graph.add("Max", ["largest_sizes", "tiny"], "largest_divisors")
    graph.add("Div", ["mapped_weights", "largest_divisors"], "divided_weights")
    graph.add("Greater", ["all_sizes", "nothing"], "are_given")
    graph.add("Sub", ["mapped_weights", "mapped_centres"], "given_distances")
    graph.add("Where", ["are_given", "given_distances", "nothing"], "distances")
    graph.add("Where", ["are_dense", "distances", "divided_weights"], "even_weights")
    graph.add("Mul", ["even_weights", "mapped_scales"], "long_words")
    graph.add("ReduceL2", ["long_words"], "word_lengths", axes=[1], keepdims=1)
    graph.add("Max", ["word_lengths", "tiny"], "word_divisors")
    graph.add("Div", ["long_words", "word_divisors"], "words")
    graph.add("MatMul", ["words", "mapped_vectors"], "deviations")
    graph.add("Add", ["deviations", "mean_user"], "mapped")
    graph.add("Where", ["are_known", "trained", "mapped"], sums)


def _add_pairs(graph: _Graph, weights: str, embeddings: Any) -> None:
    """Add half of |sum of w e|^2 - sum of |w e|^2 to the biases, over the features' weights w and embeddings e."""
    graph.constants["squares"] = np.square(embeddings).sum(axis=1, keepdims=True)
    graph.constants["half"] = np.full(1, 0.5, dtype=np.float32)
    graph.add("ReduceSumSquare", ["embeddings"], "squares_of_sums", axes=[1], keepdims=1)
    graph.add("Mul", [weights, weights], "squares_of_weights")
    graph.add("MatMul", ["squares_of_weights", "squares"], "sums_of_squares")
    graph.add("Sub", ["squares_of_sums", "sums_of_squares"], "twice_pairs")
    graph.add("Mul", ["twice_pairs", "half"], "pairs")
    graph.add("Add", ["biases", "pairs"], "biases_with_pairs")
    graph.add("Concat", ["embeddings", "biases_with_pairs"], "representations", axis=1)


def _add_directions(graph: _Graph, rows: str, names: list[str]) -> None:
    """Divide rows by their lengths, in nodes of three names; a row of zeros stays one."""
    lengths, divisors, directions = names
    graph.constants["least"] = np.full(1, np.finfo(np.float32).tiny)
    graph.add("ReduceL2", [rows], lengths, axes=[1], keepdims=1)
    graph.add("Max", [lengths, "least"], divisors)
    graph.add("Div", [rows, divisors], directions)


def _add_ranking(graph: _Graph, embeddings: Any, biases: Any) -> None:
    """Make ``scores``, ``top_ids`` and ``top_scores`` of ``representations``.

    The score is one product plus the item's bias: a user is (embedding, bias), an item (embedding, 1).
    """
    graph.constants |= {
        "items": np.column_stack([embeddings, np.ones_like(biases)]).T,
        "item_biases": biases,
        "n_items": np.array([len(biases)]),
        "no_pads": np.zeros(3, np.int64),  # rows before and after, and columns before
        "no_id": np.array(-1),
        "no_score": np.array(-np.inf, np.float32),
    }
    graph.add("MatMul", ["representations", "items"], "products")
    graph.add("Add", ["products", "item_biases"], "scores")
    # TopK fails for k above the number of items. The graph takes fewer and pads the rest, as recommend does.
    graph.add("Min", ["k", "n_items"], "n_best")
    graph.add("TopK", ["scores", "n_best"], "best_scores", "best_ids", axis=1)
    graph.add("Sub", ["k", "n_best"], "n_lacking")
    graph.add("Concat", ["no_pads", "n_lacking"], "pads", axis=0)
    graph.add("Pad", ["best_ids", "pads", "no_id"], "top_ids")
    graph.add("Pad", ["best_scores", "pads", "no_score"], "top_scores")


def _mapping_constants(mapping: FeatureMapping) -> dict[str, Any]:
    """Return the constants by which a graph maps new users.

    Raises
    ------
    ValueError
        If a known user has several features that no other user has: to tell it from a new one takes more than a graph.
    """
    owners = mapping.owners[mapping.owners >= 0]
    if (np.bincount(owners) > 1).any():
        raise ValueError(
            'inputs="features" needs one identity column a user to tell new users, but some have several columns that '
            'no other user has: merge rare values into one, export with inputs="ids", or fit with '
            "cold_start='features'"
        )
    words = mapping.words
    are_dense, centres = np.zeros(len(words.columns), bool), np.zeros(len(words.columns), np.float32)
    are_dense[words.dense], centres[words.dense] = True, words.centres
    return {
        "are_own": (mapping.owners >= 0).astype(np.float32)[:, None],
        "nothing": np.zeros(1, np.float32),
        "tiny": np.full(1, np.finfo(np.float32).tiny),
        "mapped_columns": words.columns,
        "mapped_scales": words.scales,
        "mapped_centres": centres,
        "are_dense": are_dense,
        "mapped_vectors": mapping.vectors,
        "mean_user": mapping.mean,
    }


def _check_graph_size(n_bytes: int) -> None:
    """Raise ValueError if tensors of ``n_bytes`` bytes do not fit in one ONNX file."""
    if n_bytes > LARGEST_GRAPH:
        raise ValueError(
            f"the representations take {n_bytes / 2**30:.1f} GiB but an ONNX file holds 2: export fewer users or "
            'items, or inputs="features"'
        )
