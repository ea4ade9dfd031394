"""Who answered which question on a StackExchange site, as prepared by LightFM's author."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from lightfm_fast._validation import check_choice, check_feature_choice, check_proper_fraction
from lightfm_fast.datasets._archive import locate_archive

_URL = "https://github.com/maciejkula/lightfm_datasets/releases/download/v0.1.0/"
_DATASETS = ("crossvalidated", "stackoverflow")
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
    and downloaded to, where :func:`fetch_movielens` looks. No checksum of it is published: what is verified
    is that a download has the announced length, and that the file is a complete, well-formed archive (the
    CRC-32 of every member) with the expected arrays. They are loaded with ``allow_pickle=False``.

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
        Give each question a feature of its own: an identity matrix.
    tag_features : bool
        Describe questions by their tags. With ``indicator_features`` both, identity first.
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
        If the file is missing and is not to be, or cannot be, downloaded.
    """
    check_feature_choice(indicator_features=indicator_features, tag_features=tag_features)
    check_choice(dataset, "dataset", _DATASETS)
    check_proper_fraction(test_set_fraction, "test_set_fraction")
    name = f"stackexchange_{dataset}.npz"
    path = locate_archive(
        name,
        _URL + name,
        verify_cached=_verify,
        verify_download=_verify,
        data_home=data_home,
        download_if_missing=download_if_missing,
    )
    with np.load(path, allow_pickle=False) as arrays:
        answer_times = _read_matrix(arrays, "interactions")
        tags = _read_matrix(arrays, "features")
        tag_labels = arrays["labels"]
    # Needed for LightFM's order and its split: a repeated answer counts once, at the sum of its times.
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


def _verify(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            present = {name.removesuffix(".npy") for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error
    if damaged is not None:
        raise ValueError(f"its member {damaged} is damaged")
    missing = [key for key in _KEYS if key not in present]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")


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
