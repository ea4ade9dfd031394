"""Numbers for texts: no choice of texts makes numbering slow."""

import importlib

import numpy as np
import pytest

MASK = (1 << 64) - 1


@pytest.fixture(scope="module")
def tables(level):
    return importlib.import_module(f"lightfm_fast._core.{level}.columns")


def number(tables, texts):
    """Return the table of these texts, which are all different."""
    numbers = tables.TextNumbers()
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int32)
    codes = np.empty(len(texts), np.int32)
    numbers.add(offsets, np.frombuffer(b"".join(texts), np.uint8), None, 0, codes)
    np.testing.assert_array_equal(codes, np.arange(len(texts)))
    return numbers


def colliding_without_a_secret(n):
    """Texts of 16 bytes that collide in an earlier hash table, whose hash had no secret."""
    for first in range(n):
        mixed = (16 ^ first) * 0x9E3779B97F4A7C15 & MASK
        mixed ^= mixed >> 32
        yield first.to_bytes(8, "little") + (mixed ^ 12345).to_bytes(8, "little")


def differing_in(n, size, place):
    """Texts of equal length that differ in four bytes from ``place`` on."""
    for i in range(n):
        text = bytearray(size)
        text[place : place + 4] = i.to_bytes(4, "little")
        yield bytes(text)


def test_no_texts_are_made_to_meet(tables):
    # A table at most half full of 16,384 random places has a run of about 60.
    assert number(tables, list(colliding_without_a_secret(8_000))).longest_run() < 400


def test_texts_alike_are_spread(tables):
    for size, place in ((4, 0), (7, 3), (8, 0), (12, 8), (16, 0), (16, 12), (17, 0), (40, 20), (40, 36)):
        assert number(tables, list(differing_in(8_000, size, place))).longest_run() < 400


def test_texts_that_differ_in_length_alone_are_apart(tables):
    assert number(tables, [b"\0" * size for size in range(2_000)]).longest_run() < 200
