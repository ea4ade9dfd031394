"""Who answered which question on a StackExchange site, as prepared by LightFM's author."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from lightfm_fast._arguments import check_choice, check_feature_choice, check_least, check_proper_fraction
from lightfm_fast.datasets._archive import locate_archive, open_archive

_URL = "https://github.com/maciejkula/lightfm_datasets/releases/download/v0.1.0/"
_DATASETS = ("crossvalidated", "stackoverflow")
# The most bytes of a file, the most bytes that it unpacks to, and the most users, questions or tags.
_LIMITS = {
    "crossvalidated": (64_000_000, 512_000_000, 1_000_000),
    "stackoverflow": (2_000_000_000, 8_000_000_000, 50_000_000),
}
_MATRIX_PARTS = ("data", "row", "col", "shape")
_KEYS = [f"{matrix}_{part}" for matrix in ("interactions", "features") for part in _MATRIX_PARTS] + ["labels"]


def fetch_stackexchange(
    dataset: str,
    test_set_fraction: float = 0.2,
    min_training_interactions: int = 1,
    data_home: str | os.PathLike[str] | None = None,
    indicator_features: bool = True,
    tag_features: bool = False,
    download_if_missing: bool = True,
) -> dict[str, Any]:
    """Answers on CrossValidated or StackOverflow: a user interacts with the questions they answered.

    The file ``stackexchange_<dataset>.npz`` of the ``maciejkula/lightfm_datasets`` releases is looked for,
    and downloaded to, where :func:`fetch_movielens` looks. No checksum of it is published. Verified are the announced
    length of a download, the CRC-32 of every member of the archive, and the presence and the declared sizes of the
    expected arrays. They are loaded with ``allow_pickle=False``.

    A file for CrossValidated has at most 64 MB and unpacks to at most 512 MB, with at most a million users, questions
    or tags. For StackOverflow the limits are 2 GB, 8 GB and 50 million.

    Parameters
    ----------
    dataset : {"crossvalidated", "stackoverflow"}
        About 9,000 users, 72,000 questions and 70,000 answers; or 1.3 million, 11 million and 18 million.
    test_set_fraction : float
        Between 0 and 1, both excluded. The latest answers, this fraction of them, are the test set.
    min_training_interactions : int
        Keep users with more than this many training interactions; 0 keeps everyone.
    data_home : path, optional
        Folder that holds, or shall hold, the file.
    indicator_features : bool
        Give each question one feature: an identity matrix.
    tag_features : bool
        Describe questions by their tags. With ``indicator_features`` the matrix has both, identity first.
    download_if_missing : bool
        Whether a missing file is downloaded.

    Returns
    -------
    dict
        - ``train``, ``test`` : coo_matrix of float32 ones, shape (n_users, n_items)
        - ``item_features`` : csr_matrix, shape (n_items, n_features)
        - ``item_feature_labels`` : array of str, shape (n_features,); ``question_id:0`` …, then tags

    Raises
    ------
    ValueError
        If an argument is out of range, or the file is incomplete or altered.
    OSError
        If the file is missing and downloads are not allowed or fail.
    """
    check_feature_choice(indicator_features=indicator_features, tag_features=tag_features)
    check_choice(dataset, "dataset", _DATASETS)
    test_set_fraction = check_proper_fraction(test_set_fraction, "test_set_fraction")
    check_least(min_training_interactions, "min_training_interactions", 0)
    name = f"stackexchange_{dataset}.npz"
    largest, largest_unpacked, most_rows = _LIMITS[dataset]

    def verify(path: Path) -> None:
        _verify(path, largest_unpacked, most_rows)

    path = locate_archive(
        name,
        _URL + name,
        largest=largest,
        verify_cached=verify,
        verify_download=verify,
        data_home=data_home,
        download_if_missing=download_if_missing,
    )
    with np.load(path, allow_pickle=False) as arrays:
        answer_times = _read_matrix(arrays, "interactions")
        tags = _read_matrix(arrays, "features")
        tag_labels = arrays["labels"]
    # As LightFM's loader does: a repeated answer counts once, at the sum of its times.
    answer_times.sum_duplicates()

    train, test = _split_by_time(answer_times, test_set_fraction)
    if min_training_interactions > 0:
        kept = train.getnnz(axis=1) > min_training_interactions
        train, test = (matrix.tocsr()[kept].tocoo() for matrix in (train, test))

    n_items = answer_times.shape[1]
    blocks, labels = [], []
    if indicator_features:
        blocks.append(sp.identity(n_items, format="csr", dtype=np.float32))
        labels.append(np.array([f"question_id:{item}" for item in range(n_items)]))
    if tag_features:
        blocks.append(tags.tocsr())
        labels.append(tag_labels)
    return {
        "train": train,
        "test": test,
        "item_features": sp.csr_matrix(sp.hstack(blocks, format="csr")),
        "item_feature_labels": np.concatenate(labels),
    }


def _verify(path: Path, largest_unpacked: int, most_rows: int) -> None:
    with open_archive(path, largest_unpacked) as archive:
        present = {name.removesuffix(".npy") for name in archive.namelist()}
        missing = [key for key in _KEYS if key not in present]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        for key in _KEYS:
            _verify_array(archive, key)
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"its member {damaged} is damaged")
    with np.load(path, allow_pickle=False) as arrays:
        for name in ("interactions_shape", "features_shape"):
            shape = arrays[name].ravel()
            if len(shape) != 2 or shape.dtype.kind not in "iu" or not 0 < shape.min() <= shape.max() <= most_rows:
                raise ValueError(f"its {name} is {shape[:5]}, expected two numbers from 1 to {most_rows:,}")


def _verify_array(archive: zipfile.ZipFile, key: str) -> None:
    """Raise ValueError if an array declares another size than its member has: NumPy allocates before it reads."""
    member = archive.getinfo(f"{key}.npy")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if dtype.hasobject:
            raise ValueError(f"its {key} holds objects, which allow_pickle=False does not load")
        if math.prod(shape) * dtype.itemsize != member.file_size - file.tell():
            raise ValueError(f"its {key} of shape {shape} is not of the {member.file_size:,} bytes that it has")


def _read_matrix(arrays: Any, name: str) -> sp.coo_matrix:
    data, row, col, shape = (arrays[f"{name}_{part}"] for part in _MATRIX_PARTS)
    return sp.coo_matrix((data, (row, col)), shape=tuple(int(size) for size in shape.flatten()))


def _split_by_time(answer_times: sp.coo_matrix, test_fraction: float) -> tuple[sp.coo_matrix, sp.coo_matrix]:
    n_train = int(answer_times.nnz * (1.0 - test_fraction))
    before = answer_times.data < np.partition(answer_times.data, n_train)[n_train]

    def select(mask: np.ndarray) -> sp.coo_matrix:
        ones = np.ones(np.count_nonzero(mask), dtype=np.float32)
        positions = answer_times.row[mask], answer_times.col[mask]
        return sp.coo_matrix((ones, positions), shape=answer_times.shape)

    return select(before), select(~before)
