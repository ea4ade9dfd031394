# distutils: language = c++
"""Columns of frames: numbers for text, and rows sorted by user and item.

Nothing here starts a thread. Every call releases the GIL, so that Python's threads can share the work.
"""

from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libcpp.vector cimport vector

from arrays cimport start

from os import urandom


cdef extern from "<kernels/strings.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass Text:
        const uint8_t* bytes
        int64_t size

    cdef cppclass TextByOffset[Offset]:
        const Offset* offsets
        const uint8_t* bytes

    cdef cppclass TextByView:
        const uint8_t* views
        const uint8_t* const* buffers

    cdef cppclass KeyedHash:
        KeyedHash()
        KeyedHash(uint64_t first, uint64_t second, uint64_t third)

    cdef cppclass CTextNumbers "lightfm_fast::TextNumbers":
        void start(const KeyedHash& hash) except +
        int64_t size()
        int64_t longest_run()
        Text next_text(int64_t& place)
        void add[Texts](const Texts& texts, const uint8_t* validity, int64_t first_bit, int64_t size,
                        int32_t* numbers) except +

cdef extern from "<kernels/strings.hpp>" namespace "lightfm_fast" nogil:
    int64_t c_renumber "lightfm_fast::renumber"(int64_t size, int32_t* codes, int32_t* numbers, int32_t* first_seen)

cdef extern from "<kernels/radix_sort.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass CPairSort "lightfm_fast::PairSort":
        CPairSort()
        CPairSort(int64_t size, const int32_t* users, const int32_t* items, int64_t n_users, int64_t n_items,
                  int n_parts, uint64_t* keys, int64_t* rows) except +
        void count(int part)
        void place()
        void deal(int part)
        void sort(int part) except +
        int64_t place_pairs()
        void write[Count](int part, int32_t* users, int32_t* items, Count* counts)

ctypedef fused offset:
    int32_t
    int64_t

ctypedef fused count:
    int32_t
    float


# Secret and new in each process, so that nobody can prepare ids whose hashes collide.
cdef KeyedHash secret_hash = KeyedHash(
    int.from_bytes(urandom(8), "little"), int.from_bytes(urandom(8), "little"), int.from_bytes(urandom(8), "little"))


cdef class TextNumbers:
    """Numbers for the distinct texts of a column in Arrow's layouts, in the order in which they are first seen.

    `validity` has a bit for each row, from bit `first_bit` on, or is None. A missing row gets -1.
    """

    cdef CTextNumbers numbers

    def __cinit__(self):
        self.numbers.start(secret_hash)

    def add(self, const offset[::1] offsets, const uint8_t[::1] text, const uint8_t[::1] validity, int64_t first_bit,
            int32_t[::1] numbers):
        """Number a chunk of text with n_rows + 1 offsets."""
        cdef TextByOffset[offset] texts
        texts.offsets, texts.bytes = &offsets[0], start(text)
        with nogil:
            self.numbers.add(texts, start(validity), first_bit, numbers.shape[0], &numbers[0])

    def add_views(self, const uint8_t[::1] views, list buffers, const uint8_t[::1] validity, int64_t first_bit,
                  int32_t[::1] numbers):
        """Number a chunk of views, of 16 bytes each, into buffers."""
        cdef TextByView texts
        cdef vector[const uint8_t*] starts
        cdef const uint8_t[::1] buffer
        for buffer in buffers:
            starts.push_back(start(buffer))
        texts.views, texts.buffers = &views[0], starts.data()
        with nogil:
            self.numbers.add(texts, start(validity), first_bit, numbers.shape[0], &numbers[0])

    def longest_run(self):
        """Return the longest run of taken slots of the hash table; for the tests."""
        return self.numbers.longest_run()

    def distinct(self):
        """Return the texts as a list of str."""
        cdef int64_t place = 0
        cdef Text text
        cdef list texts = []
        for _ in range(self.numbers.size()):
            text = self.numbers.next_text(place)
            texts.append(PyUnicode_DecodeUTF8(<const char*>text.bytes, text.size, NULL))
        return texts


def renumber(int32_t[::1] codes, int32_t[::1] numbers, int32_t[::1] first_seen):
    """Renumber the codes of a column in the order in which they are first seen; negative codes stay.

    `numbers` holds -1 for each possible code and is filled in; `first_seen` receives the old code of each new number.
    Returns the number of distinct codes.
    """
    cdef int64_t size
    with nogil:
        size = c_renumber(codes.shape[0], <int32_t*>start(codes), <int32_t*>start(numbers), <int32_t*>start(first_seen))
    return size


cdef class PairSort:
    """Rows sorted by user and item, in steps; see kernels/radix_sort.hpp. `keys` and `rows` (or None) are filled in."""

    cdef CPairSort sorter
    cdef object arrays

    def __init__(self, const int32_t[::1] users, const int32_t[::1] items, int64_t n_users, int64_t n_items,
                 int n_parts, int64_t[::1] keys, int64_t[::1] rows):
        self.arrays = users, items, keys, rows  # kept alive
        self.sorter = CPairSort(users.shape[0], start(users), start(items), n_users, n_items, n_parts,
                                <uint64_t*>start(keys), <int64_t*>start(rows))

    def count(self, int part):
        with nogil:
            self.sorter.count(part)

    def place(self):
        self.sorter.place()

    def deal(self, int part):
        with nogil:
            self.sorter.deal(part)

    def sort(self, int part):
        with nogil:
            self.sorter.sort(part)

    def place_pairs(self):
        """Return the number of pairs."""
        return self.sorter.place_pairs()

    def write(self, int part, int32_t[::1] users, int32_t[::1] items, count[::1] counts):
        """Write the part's pairs, and the number of rows of each. Outputs may overwrite the users and items sorted."""
        with nogil:
            self.sorter.write(part, <int32_t*>start(users), <int32_t*>start(items), <count*>start(counts))
