"""The encoder of the words of a text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._arguments import check_choice, import_optional, shorten
from .._cells import is_missing
from ..data.columns import read_objects
from .encoder import Encoded, Encoder, are_finite, are_names, are_texts

# Limits of the memory that loading a small file may allocate.
MOST_HASHES = 1 << 20
DEFAULT_HASHES = 1 << 12
LONGEST_NGRAM = 32


class Text(Encoder):
    """Words of a text, by scikit-learn's vectorisers: ``pip install 'lightfm_fast[text]'``.

    Parameters
    ----------
    vectorizer : {"tfidf", "hashing"}
        ``TfidfVectorizer``, with a column for each fitted word, or ``HashingVectorizer``, which learns no words and
        hashes them into 4,096 columns.
    normalize : {None, "l1", "l2"}, default "l2"
        As in :class:`Categorical`.
    **options
        Options of the vectoriser, such as ``min_df``, ``max_features``, ``stop_words``, ``ngram_range`` and
        ``n_features``, of types that JSON has. ``alternate_sign`` is False by default. ``ngram_range`` goes up to 32
        and ``n_features`` up to 2**20. A ``token_pattern`` that may be slow makes loading the model need
        ``trusted=True``.

    Examples
    --------
    >>> plot = Text(use_idf=False, normalize="l1").fit(["a spice planet", "a planet of apes"])
    >>> plot.get_feature_names_out().tolist()
    ['apes', 'of', 'planet', 'spice']
    >>> plot.transform(["planet of planet spice", None]).toarray().tolist()
    [[0.0, 0.25, 0.5, 0.25], [0.0, 0.0, 0.0, 0.0]]
    """

    _fitted_names = ("terms_", "idf_")

    terms_: list[str] | None
    idf_: list[float] | None

    def __init__(self, vectorizer: str = "tfidf", normalize: str | None = "l2", **options: Any) -> None:
        super().__init__(normalize)
        check_choice(vectorizer, "vectorizer", ("tfidf", "hashing"))
        ours = sorted({"norm", "dtype", "vocabulary", "input"}.intersection(options))
        if ours:
            raise TypeError(f"{ours[0]} is no option of Text: normalize= scales rows, and fit learns the words")
        try:
            json.dumps(options)
        except TypeError as error:
            raise TypeError(f"the options of Text are saved with it: {error}") from error
        if isinstance(options.get("ngram_range"), list):  # JSON has no tuples
            options["ngram_range"] = tuple(options["ngram_range"])
        known = {**_TEXT_OPTIONS, **(_TFIDF_OPTIONS if vectorizer == "tfidf" else _HASHING_OPTIONS)}
        for name, value in options.items():
            if name not in known:
                raise TypeError(f"{name} is no option of Text with vectorizer={vectorizer!r}: {', '.join(known)} are")
            is_valid, expected = known[name]
            if not is_valid(value):
                raise ValueError(f"{name} is {shorten(value)}, expected {expected}")
        self.vectorizer = vectorizer
        self.options = options

    def _parameters(self) -> dict[str, Any]:
        return {"vectorizer": self.vectorizer, "normalize": self.normalize, **self.options}

    def _make(self, **fitted: Any) -> Any:
        text = import_optional("sklearn.feature_extraction.text", "text", "Text")
        if self.vectorizer == "tfidf":
            return text.TfidfVectorizer(norm=None, **self.options, **fitted)
        defaults = {"n_features": DEFAULT_HASHES, "alternate_sign": False}
        return text.HashingVectorizer(norm=None, **{**defaults, **self.options})

    def _learn(self, values: Any) -> Sequence[Any]:
        texts = _texts(values)
        pattern = self.options.get("token_pattern", "")
        try:  # here rather than in the constructor, since loading a file must not compile a pattern that may be slow
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"token_pattern is {shorten(pattern)}, expected a regular expression: {error}") from error
        vectorizer = self._make()
        if self.vectorizer == "hashing":
            vectorizer.fit(texts)  # checks its options
            return None, None
        try:
            vectorizer.fit(texts)
        except ValueError as error:
            raise ValueError(f"nothing can be learned from {len(texts):,} texts: {error}") from error
        idf = vectorizer.idf_.tolist() if vectorizer.use_idf else None
        return vectorizer.get_feature_names_out().tolist(), idf

    @property
    def n_unlisted(self) -> int:
        """The columns of hashed words."""
        n_features: int = self.options.get("n_features", DEFAULT_HASHES)
        return n_features if self.vectorizer == "hashing" else 0

    def _can_have_learned(self) -> bool:
        if self.vectorizer == "hashing":
            return self.terms_ is None and self.idf_ is None
        if not are_names(self.terms_) or not self.terms_:
            return False
        if not self.options.get("use_idf", True):
            return self.idf_ is None
        return isinstance(self.idf_, list) and are_finite(self.idf_) and len(self.idf_) == len(self.terms_)

    def _names(self) -> list[str]:
        if self.terms_ is not None:
            return self.terms_
        return [f"hash {number}" for number in range(self._make().n_features)]

    def _entries(self, values: Any) -> Encoded:
        texts = _texts(values)
        if self.terms_ is None:
            vectorizer = self._make()
        else:
            vectorizer = self._make(vocabulary=self.terms_)
            if self.idf_ is not None:
                vectorizer.idf_ = np.array(self.idf_)
            else:
                vectorizer.fit([""])  # sets the state that transform needs
        matrix = vectorizer.transform([*texts, ""]).tocoo()  # scikit-learn refuses an empty list
        return Encoded(len(texts), (matrix.row, matrix.col, matrix.data))


def _texts(values: Any) -> list[str]:
    texts = ["" if is_missing(value) else value for value in read_objects(values)]
    wrong = next((text for text in texts if not isinstance(text, str)), None)
    if wrong is not None:
        raise TypeError(f"{wrong!r} is of type {type(wrong).__name__}, expected text")
    return texts


def _is_whole_from_one(value: Any, largest: float = np.inf) -> bool:
    return type(value) is int and 1 <= value <= largest


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_share_or_count(value: Any) -> bool:
    return _is_whole_from_one(value) or (isinstance(value, float) and 0 <= value <= 1)


_FLAG = (_is_flag, "True or False")
_SHARE_OR_COUNT = (_is_share_or_count, "a share from 0.0 to 1.0 or a number of texts")
# The options of scikit-learn's vectorisers of types that JSON has: a check of the value, and its description.
_TEXT_OPTIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "encoding": (lambda x: isinstance(x, str), "a name"),
    "decode_error": (lambda x: x in ("strict", "ignore", "replace"), "'strict', 'ignore' or 'replace'"),
    "strip_accents": (lambda x: x in (None, "ascii", "unicode"), "None, 'ascii' or 'unicode'"),
    "lowercase": _FLAG,
    "preprocessor": (lambda x: x is None, "None, since functions are not saved"),
    "tokenizer": (lambda x: x is None, "None, since functions are not saved"),
    "stop_words": (lambda x: x in (None, "english") or are_texts(x), "None, 'english' or a list of words"),
    "token_pattern": (lambda x: isinstance(x, str), "text"),
    "ngram_range": (
        lambda x: (
            type(x) is tuple and len(x) == 2 and all(_is_whole_from_one(n, LONGEST_NGRAM) for n in x) and x[0] <= x[1]
        ),
        f"two whole numbers from 1 to {LONGEST_NGRAM}, the smaller first",
    ),
    "analyzer": (lambda x: x in ("word", "char", "char_wb"), "'word', 'char' or 'char_wb'"),
    "binary": _FLAG,
}
_TFIDF_OPTIONS = {
    "max_df": _SHARE_OR_COUNT,
    "min_df": _SHARE_OR_COUNT,
    "max_features": (lambda x: x is None or _is_whole_from_one(x), "None or a whole number of at least 1"),
    "use_idf": _FLAG,
    "smooth_idf": _FLAG,
    "sublinear_tf": _FLAG,
}
_HASHING_OPTIONS = {
    "n_features": (lambda x: _is_whole_from_one(x, MOST_HASHES), f"a whole number from 1 to {MOST_HASHES:,}"),
    "alternate_sign": _FLAG,
}
