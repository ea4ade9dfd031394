"""Export of a model as an ONNX graph, to run without Python."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from lightfm_fast import _version
from lightfm_fast._arguments import check_choice, import_optional
from lightfm_fast._feature_scaling import FLOOR
from lightfm_fast._mapping import FeatureMapping
from lightfm_fast._sides import Sides
from lightfm_fast.persistence import replaced

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
    if inputs == "features":  # a user is a row of weights: the graph sums the features' parameters
        _check_no_user_features(user_features)
        user_embeddings, user_biases = (sides.table("user").view(field) for field in ("embeddings", "biases"))
    else:
        user_embeddings, user_biases = sides.representations("user", user_features, 1)
    item_embeddings, item_biases = sides.representations("item", item_features, 1)
    # The score is one product plus the item's bias: a user is (embedding, bias), an item (embedding, 1).
    constants = {
        "users": np.column_stack([user_embeddings, user_biases]),
        "items": np.column_stack([item_embeddings, np.ones_like(item_biases)]).T,
        "item_biases": item_biases,
        "n_items": np.array([len(item_biases)]),
        "no_pads": np.zeros(3, np.int64),  # rows before and after, and columns before
        "no_id": np.array(-1),
        "no_score": np.array(-np.inf, np.float32),
    }
    # A user is the sum of its features. Cosines also need its length, and pairs within the user need their products.
    are_sums_divided = inputs == "features" and sides.are_cosines
    has_pairs = inputs == "features" and sides.has_pairs
    has_profiles = inputs == "features" and sides.content is not None
    mapping = sides.users.mapping if inputs == "features" else None
    has_linear = inputs == "features" and sides.autoencoder is not None
    are_sums_split = are_sums_divided or has_pairs or has_profiles or has_linear
    if are_sums_split:
        constants["parts"] = np.array([user_embeddings.shape[1], 1])
    if sides.content is not None and has_profiles:
        constants["profiles"] = sides.content.profiles
    if sides.autoencoder is not None and has_linear:
        constants["linear"] = sides.autoencoder.per_user_feature()
    if are_sums_divided or has_profiles:
        constants["least"] = np.full(1, np.finfo(np.float32).tiny)  # the divisor of a zero embedding, whose length is 0
    scaling = sides.users.scaling if inputs == "features" else None
    if scaling is not None:  # weights of shared columns are divided by the length of their row, see FeatureScaling
        is_shared = scaling.lengths > 0
        constants["scales_of_lengths"] = scaling.lengths
        constants["floor"] = np.full(1, FLOOR**2, dtype=np.float32)
        constants["shared_scales"] = np.where(is_shared, scaling.weights, np.float32(0))
        constants["own_scales"] = np.where(is_shared, np.float32(0), scaling.weights)
    if has_pairs:  # (|sum of w e|^2 - sum of |w e|^2) / 2, over weights w and embeddings e of the user's features
        constants["squares"] = np.square(user_embeddings).sum(axis=1, keepdims=True)
        constants["half"] = np.full(1, 0.5, dtype=np.float32)
    if mapping is not None:
        constants.update(_mapping_constants(mapping))
    _check_graph_size(sum(array.nbytes for array in constants.values()))
    tensors = [onnx.numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()]
    if inputs == "ids":
        given = helper.make_tensor_value_info("user_ids", kinds.INT64, ["n_users"])
        represent = [helper.make_node("Gather", ["users", "user_ids"], ["representations"], axis=0)]
    else:
        given = helper.make_tensor_value_info("user_features", kinds.FLOAT, ["n_users", len(user_biases)])
        weights = "user_features" if scaling is None else "weights"
        sums = "sums" if are_sums_split else "representations"
        products = sums if mapping is None else "trained"
        represent = [helper.make_node("MatMul", [weights, "users"], [products])]
        if scaling is not None:
            represent[:0] = [
                helper.make_node("Mul", ["user_features", "scales_of_lengths"], ["parts_of_lengths"]),
                helper.make_node("ReduceSumSquare", ["parts_of_lengths"], ["squared_lengths"], axes=[1], keepdims=1),
                helper.make_node("Add", ["squared_lengths", "floor"], ["squared_divisors"]),
                helper.make_node("Sqrt", ["squared_divisors"], ["divisors_of_rows"]),
                helper.make_node("Mul", ["user_features", "shared_scales"], ["undivided_weights"]),
                helper.make_node("Div", ["undivided_weights", "divisors_of_rows"], ["shared_weights"]),
                helper.make_node("Mul", ["user_features", "own_scales"], ["own_weights"]),
                helper.make_node("Add", ["shared_weights", "own_weights"], ["weights"]),
            ]
    if mapping is not None:  # a row without any identity column is new, see FeatureMapping
        represent += [
            helper.make_node("Abs", ["user_features"], ["sizes"]),
            helper.make_node("MatMul", ["sizes", "are_own"], ["sizes_of_own"]),
            helper.make_node("Greater", ["sizes_of_own", "nothing"], ["are_known"]),
            helper.make_node("Gather", ["user_features", "mapped_columns"], ["mapped_weights"], axis=1),
            helper.make_node("Abs", ["mapped_weights"], ["all_sizes"]),
            helper.make_node("Where", ["are_dense", "nothing", "all_sizes"], ["mapped_sizes"]),
            helper.make_node("ReduceMax", ["mapped_sizes"], ["largest_sizes"], axes=[1], keepdims=1),
            helper.make_node("Max", ["largest_sizes", "tiny"], ["largest_divisors"]),
            helper.make_node("Div", ["mapped_weights", "largest_divisors"], ["divided_weights"]),
            helper.make_node("Greater", ["all_sizes", "nothing"], ["are_given"]),
            helper.make_node("Sub", ["mapped_weights", "mapped_centres"], ["given_distances"]),
            helper.make_node("Where", ["are_given", "given_distances", "nothing"], ["distances"]),
            helper.make_node("Where", ["are_dense", "distances", "divided_weights"], ["even_weights"]),
            helper.make_node("Mul", ["even_weights", "mapped_scales"], ["long_words"]),
            helper.make_node("ReduceL2", ["long_words"], ["word_lengths"], axes=[1], keepdims=1),
            helper.make_node("Max", ["word_lengths", "tiny"], ["word_divisors"]),
            helper.make_node("Div", ["long_words", "word_divisors"], ["words"]),
            helper.make_node("MatMul", ["words", "mapped_vectors"], ["deviations"]),
            helper.make_node("Add", ["deviations", "mean_user"], ["mapped"]),
            helper.make_node("Where", ["are_known", "trained", "mapped"], [sums]),
        ]
    if are_sums_split:
        represent.append(helper.make_node("Split", ["sums", "parts"], ["embeddings", "biases"], axis=1))
    if has_pairs:
        represent += [
            helper.make_node("ReduceSumSquare", ["embeddings"], ["squares_of_sums"], axes=[1], keepdims=1),
            helper.make_node("Mul", [weights, weights], ["squares_of_weights"]),
            helper.make_node("MatMul", ["squares_of_weights", "squares"], ["sums_of_squares"]),
            helper.make_node("Sub", ["squares_of_sums", "sums_of_squares"], ["twice_pairs"]),
            helper.make_node("Mul", ["twice_pairs", "half"], ["pairs"]),
            helper.make_node("Add", ["biases", "pairs"], ["biases_with_pairs"]),
            helper.make_node("Concat", ["embeddings", "biases_with_pairs"], ["representations"], axis=1),
        ]
    if are_sums_divided:
        represent += [
            helper.make_node("ReduceL2", ["embeddings"], ["lengths"], axes=[1], keepdims=1),
            helper.make_node("Max", ["lengths", "least"], ["divisors"]),
            helper.make_node("Div", ["embeddings", "divisors"], ["directions"]),
            helper.make_node("Concat", ["directions", "biases"], ["representations"], axis=1),
        ]
    coordinates = []
    if has_profiles:  # of length 1
        coordinates.append("unit_profiles")
        represent += [
            helper.make_node("MatMul", ["user_features", "profiles"], ["profile_sums"]),
            helper.make_node("ReduceL2", ["profile_sums"], ["profile_lengths"], axes=[1], keepdims=1),
            helper.make_node("Max", ["profile_lengths", "least"], ["profile_divisors"]),
            helper.make_node("Div", ["profile_sums", "profile_divisors"], ["unit_profiles"]),
        ]
    if has_linear:
        coordinates.append("linear_sums")
        represent.append(helper.make_node("MatMul", ["user_features", "linear"], ["linear_sums"]))
    if coordinates:  # between the embedding and the bias
        represent.append(
            helper.make_node("Concat", ["embeddings", *coordinates, "biases"], ["representations"], axis=1)
        )
    nodes = [
        *represent,
        helper.make_node("MatMul", ["representations", "items"], ["products"]),
        helper.make_node("Add", ["products", "item_biases"], ["scores"]),
        # TopK fails for k above the number of items. The graph takes fewer and pads the rest, as recommend does.
        helper.make_node("Min", ["k", "n_items"], ["n_best"]),
        helper.make_node("TopK", ["scores", "n_best"], ["best_scores", "best_ids"], axis=1),
        helper.make_node("Sub", ["k", "n_best"], ["n_lacking"]),
        helper.make_node("Concat", ["no_pads", "n_lacking"], ["pads"], axis=0),
        helper.make_node("Pad", ["best_ids", "pads", "no_id"], ["top_ids"]),
        helper.make_node("Pad", ["best_scores", "pads", "no_score"], ["top_scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "LightFM",
        [given, helper.make_tensor_value_info("k", kinds.INT64, [1])],
        [
            helper.make_tensor_value_info("scores", kinds.FLOAT, ["n_users", len(item_biases)]),
            helper.make_tensor_value_info("top_ids", kinds.INT64, ["n_users", None]),
            helper.make_tensor_value_info("top_scores", kinds.FLOAT, ["n_users", None]),
        ],
        tensors,
    )
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=8,  # supports the opset; older runtimes refuse the newest version, onnx's default
        producer_name="lightfm_fast",
        producer_version=_version.__version__,
    )
    onnx.checker.check_model(proto)
    with replaced(path) as temporary:
        onnx.save(proto, temporary, format="protobuf")  # named, since onnx would choose by the file's suffix


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


def _check_no_user_features(user_features: Any) -> None:
    """Raise ValueError if features of users are given to a graph that takes them as its input."""
    if user_features is not None:
        raise ValueError('with inputs="features" the graph is given user_features when it runs: leave them out here')


def _check_graph_size(n_bytes: int) -> None:
    """Raise ValueError if tensors of ``n_bytes`` bytes do not fit in one ONNX file."""
    if n_bytes > LARGEST_GRAPH:
        raise ValueError(
            f"the representations take {n_bytes / 2**30:.1f} GiB but an ONNX file holds 2: export fewer users or "
            'items, or inputs="features"'
        )
