# distutils: language = c++
"""Scoring: representations, scores of pairs, ranks within the whole catalogue."""

from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t
from libcpp.vector cimport vector

from arrays cimport start
from kernels cimport FeatureRows, Table


cdef extern from "<kernels/vec.hpp>" namespace "lightfm_fast" nogil:
    float dot(const float* a, const float* b, int width)

cdef extern from "<kernels/features.hpp>" namespace "lightfm_fast" nogil:
    float c_represent "lightfm_fast::represent"(
        const Table& table, const FeatureRows& features, int64_t index, float* embedding)

cdef extern from "<kernels/ranking.hpp>" namespace "lightfm_fast" nogil:
    const int TILE "lightfm_fast::kTile"
    const int USERS_AT_ONCE "lightfm_fast::kUsersAtOnce"
    int64_t n_tiles(int64_t n_items)
    void pack_tile(const float* embeddings, int64_t stride, int64_t n_items, int n_components, int64_t tile,
                   float* tiles)

    cdef cppclass Catalogue:
        const float* tiles
        const float* biases
        int64_t n_items
        int32_t n_components

    void rank_users(const Catalogue& catalogue, const float* const* users, const int64_t* rows, int n_users,
                    const int64_t* test_indptr, const int32_t* test_items, const int64_t* train_indptr,
                    const int32_t* train_items, vector[float]& buffer, float* ranks)


def represent(float[:, ::1] rows, float[:, ::1] biases, int width, const int64_t[::1] indptr,
              const int32_t[::1] indices, const float[::1] values, float[:, ::1] out, float[::1] out_biases,
              int num_threads):
    """Sum every row's feature embeddings, weighted, into `out` (n x width), and biases into `out_biases`."""
    cdef Table table
    cdef FeatureRows features
    table.rows, table.biases, table.width = &rows[0, 0], &biases[0, 0], width
    table.segments = <int32_t>(rows.shape[1] // width)
    table.bias_segments = <int32_t>biases.shape[1]
    features.indptr, features.indices, features.values = start(indptr), start(indices), start(values)
    cdef int64_t row
    for row in prange(out.shape[0], nogil=True, num_threads=num_threads, schedule="static"):
        out_biases[row] = c_represent(table, features, row, &out[row, 0])


def score_pairs(const float[:, :] users, const float[:] user_biases, const int64_t[::1] user_rows,
                const float[:, :] items, const float[:] item_biases, const int64_t[::1] item_rows, int width,
                float[::1] out, int num_threads):
    """out[p] = users[user_rows[p]] . items[item_rows[p]] + both biases; rows are contiguous, `width` floats long."""
    cdef int64_t pair
    for pair in prange(out.shape[0], nogil=True, num_threads=num_threads, schedule="static"):
        out[pair] = (dot(&users[user_rows[pair], 0], &items[item_rows[pair], 0], width)
                     + user_biases[user_rows[pair]] + item_biases[item_rows[pair]])


def rank(const float[:, :] users, const float[:, :] items, const float[:] item_biases, int n_components,
         const int64_t[::1] test_indptr, const int32_t[::1] test_items, const int64_t[::1] train_indptr,
         const int32_t[::1] train_items, float[::1] ranks, int num_threads):
    """ranks[t]: how many items outside the user's train items score at least as high as test item t, itself apart.

    `train_indptr` and `train_items` may be None. `ranks` lines up with `test_items`.
    """
    cdef int64_t n_items = items.shape[0]
    cdef vector[float] tiles, biases
    tiles.resize(n_tiles(n_items) * n_components * TILE)
    biases.resize(n_tiles(n_items) * TILE)
    cdef int64_t index, group
    for index in range(n_items):
        biases[index] = item_biases[index]
    for index in prange(n_tiles(n_items), nogil=True, num_threads=num_threads, schedule="static"):
        pack_tile(&items[0, 0], items.strides[0] // <int64_t>sizeof(float), n_items, n_components, index,
                  tiles.data())

    cdef Catalogue catalogue
    catalogue.tiles, catalogue.biases = tiles.data(), biases.data()
    catalogue.n_items, catalogue.n_components = n_items, n_components

    cdef vector[int64_t] tested
    cdef vector[const float*] embeddings
    for index in range(test_indptr.shape[0] - 1):
        if test_indptr[index + 1] > test_indptr[index]:
            tested.push_back(index)
            embeddings.push_back(&users[index, 0])
    cdef int64_t n_tested = tested.size()
    cdef int64_t n_groups = (n_tested + USERS_AT_ONCE - 1) // USERS_AT_ONCE
    cdef const int64_t* trained = start(train_indptr)
    cdef const int32_t* seen = start(train_items)
    for group in prange(n_groups, nogil=True, num_threads=num_threads, schedule="dynamic"):
        rank_group(catalogue, embeddings, tested, group, &test_indptr[0], &test_items[0], trained, seen, &ranks[0])


cdef void rank_group(const Catalogue& catalogue, const vector[const float*]& embeddings,
                     const vector[int64_t]& tested, int64_t group, const int64_t* test_indptr,
                     const int32_t* test_items, const int64_t* train_indptr, const int32_t* train_items,
                     float* ranks) noexcept nogil:
    cdef vector[float] buffer
    cdef int64_t first = group * USERS_AT_ONCE
    cdef int64_t count = min(<int64_t>USERS_AT_ONCE, <int64_t>tested.size() - first)
    rank_users(catalogue, embeddings.data() + first, tested.data() + first, <int>count, test_indptr, test_items,
               train_indptr, train_items, buffer, ranks)
