# distutils: language = c++
"""Scoring: representations, scores of pairs, ranks and the best items within the whole catalogue."""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t
from libcpp.algorithm cimport binary_search
from libcpp.vector cimport vector

from arrays cimport start
from kernels cimport FeatureRows, Table


cdef extern from "<kernels/vec.hpp>" namespace "lightfm_fast" nogil:
    float dot(const float* a, const float* b, int width)
    float inverse_length(float square)

cdef extern from "<kernels/features.hpp>" namespace "lightfm_fast" nogil:
    ctypedef float (*Represent)(
        const Table& table, const FeatureRows& features, int64_t first, int64_t last, float* embedding) noexcept
    Represent choose_represent(bint all_pairs)

cdef extern from "<kernels/ranking.hpp>" namespace "lightfm_fast" nogil:
    const int TILE "lightfm_fast::kTile"
    const float NOT_COUNTED "lightfm_fast::kNotCounted"
    int64_t n_tiles(int64_t n_items)
    int64_t ranked_per_task(int64_t n_users, int num_threads)
    void pack_tile(const float* embeddings, int64_t stride, const int64_t* rows, int64_t n_items, int n_components,
                   bint by_length, int64_t tile, float* tiles)

    cdef cppclass Catalogue:
        const float* tiles
        const float* biases
        const float* embeddings
        int64_t stride
        int64_t n_items
        int32_t n_components
        bint by_length

    cdef cppclass RankBuffers:
        pass

    void rank_users(const Catalogue& catalogue, const float* const* users, const int64_t* rows, int n_users,
                    const int64_t* test_indptr, const int32_t* test_items, const int64_t* train_indptr,
                    const int32_t* train_items, RankBuffers& buffers, float* ranks)

cdef extern from "<kernels/selection.hpp>" namespace "lightfm_fast" nogil:
    const int64_t BLOCK "lightfm_fast::kBlock"

    cdef cppclass Candidates:
        const float* embeddings
        const float* biases
        const int64_t* rows
        int64_t stride
        int64_t bias_stride
        int64_t n_items
        int32_t n_components
        int32_t n_readable
        bint by_length

    cdef cppclass Best:
        void start(int64_t n)
        void merge(const Best& other)
        void write(int64_t* items, float* scores, int64_t size)

    cdef cppclass BlockBuffers:
        pass

    void offer_items(const Candidates& items, int64_t first, int64_t last, const float* const* users,
                     int64_t n_users, const int64_t* seen_indptr, const int32_t* seen_items, BlockBuffers& buffers,
                     Best* best)


cdef enum:
    FEWEST_USERS = 32  # for each thread, that the threads share
    MOST_USERS = 256  # of a task


def represent(float[:, ::1] rows, float[:, ::1] biases, int width, const int64_t[::1] indptr,
              const int32_t[::1] indices, const float[::1] values, bint all_pairs, float[:, ::1] out,
              float[::1] out_biases, int num_threads):
    """Sum every row's feature embeddings, weighted, into `out` (n x width), and biases into `out_biases`.

    With `all_pairs`, the products of the row's features with one another join its bias.
    """
    cdef Table table
    cdef FeatureRows features
    table.rows, table.biases, table.width = &rows[0, 0], &biases[0, 0], width
    table.segments = <int32_t>(rows.shape[1] // width)
    table.bias_segments = <int32_t>biases.shape[1]
    features.indptr, features.indices, features.values = start(indptr), start(indices), start(values)
    cdef Represent sum_up = choose_represent(all_pairs)
    cdef int64_t row
    for row in prange(out.shape[0], nogil=True, num_threads=num_threads, schedule="static"):
        out_biases[row] = sum_up(table, features, indptr[row], indptr[row + 1], &out[row, 0])


def score_pairs(const float[:, :] users, const float[:] user_biases, const int64_t[::1] user_rows,
                const float[:, :] items, const float[:] item_biases, const int64_t[::1] item_rows, int width,
                bint by_length, float[::1] out, int num_threads):
    """out[p] = users[user_rows[p]] . items[item_rows[p]] + both biases; rows are contiguous, `width` floats long.

    `by_length`, the product is divided by the lengths of both.
    """
    cdef int64_t pair
    cdef const float* user
    cdef const float* item
    if by_length:
        for pair in prange(out.shape[0], nogil=True, num_threads=num_threads, schedule="static"):
            user, item = &users[user_rows[pair], 0], &items[item_rows[pair], 0]
            out[pair] = (dot(user, item, width) * inverse_length(dot(user, user, width))
                         * inverse_length(dot(item, item, width))
                         + user_biases[user_rows[pair]] + item_biases[item_rows[pair]])
        return
    for pair in prange(out.shape[0], nogil=True, num_threads=num_threads, schedule="static"):
        out[pair] = (dot(&users[user_rows[pair], 0], &items[item_rows[pair], 0], width)
                     + user_biases[user_rows[pair]] + item_biases[item_rows[pair]])


def find_common(const int64_t[::1] indptr, const int32_t[::1] items, const int64_t[::1] other_indptr,
                const int32_t[::1] other_items, uint8_t[::1] common, int num_threads):
    """common[e]: whether entry e of one CSR matrix is stored in another too, whose rows are sorted."""
    cdef const int32_t* others = start(other_items)
    cdef int64_t row, entry
    for row in prange(indptr.shape[0] - 1, nogil=True, num_threads=num_threads, schedule="static"):
        for entry in range(indptr[row], indptr[row + 1]):
            common[entry] = binary_search(others + other_indptr[row], others + other_indptr[row + 1], items[entry])


def rank(const float[:, :] users, const float[:, :] items, const float[:] item_biases, int n_components, bint by_length,
         const int64_t[::1] test_indptr, const int32_t[::1] test_items, const int64_t[::1] train_indptr,
         const int32_t[::1] train_items, float[::1] ranks, int num_threads):
    """ranks[t]: how many items outside the user's train items score at least as high as test item t, itself apart.

    `by_length`, items' embeddings are divided by their lengths. `train_indptr` and `train_items` may be None. `ranks`
    lines up with `test_items`.
    """
    cdef vector[float] tiles, biases
    cdef Catalogue catalogue = pack(items, item_biases, None, items.shape[0], n_components, by_length, tiles, biases,
                                    num_threads)

    cdef vector[int64_t] tested
    cdef vector[const float*] embeddings
    cdef int64_t index, task
    for index in range(test_indptr.shape[0] - 1):
        if test_indptr[index + 1] > test_indptr[index]:
            tested.push_back(index)
            embeddings.push_back(&users[index, 0])
    cdef int64_t n_tested = tested.size()
    cdef int64_t per_task = ranked_per_task(n_tested, num_threads)
    cdef const int64_t* trained = start(train_indptr)
    cdef const int32_t* seen = start(train_items)
    cdef vector[RankBuffers] buffers
    buffers.resize(num_threads)
    for task in prange((n_tested + per_task - 1) // per_task, nogil=True, num_threads=num_threads, schedule="dynamic"):
        rank_users(catalogue, embeddings.data() + task * per_task, tested.data() + task * per_task,
                   <int>min(per_task, n_tested - task * per_task), &test_indptr[0],
                   &test_items[0], trained, seen, buffers[threadid()], &ranks[0])


def select(const float[:, :] users, const int64_t[::1] user_rows, const float[:, :] items, const float[:] item_biases,
           const int64_t[::1] item_rows, int n_components, bint by_length, const int64_t[::1] seen_indptr,
           const int32_t[::1] seen_items, int64_t[:, ::1] out, float[:, ::1] scores, int num_threads):
    """Fill row u of `out` with the best items for users[user_rows[u]], best first, by u . i + the item's bias.

    Item i is the one in items[item_rows[i]], or items[i] where `item_rows` is None; of items that tie the lower i comes
    first. `by_length`, items' embeddings are divided by their lengths. The items of
    seen_items[seen_indptr[u]:seen_indptr[u + 1]], sorted, are left out; both arrays may be None.
    Where there are fewer items than columns, `out` is -1 and `scores` -inf.
    """
    cdef Candidates candidates
    candidates.embeddings, candidates.biases, candidates.rows = &items[0, 0], &item_biases[0], start(item_rows)
    candidates.stride = items.strides[0] // <int64_t>sizeof(float)
    candidates.bias_stride = item_biases.strides[0] // <int64_t>sizeof(float)
    candidates.n_items = items.shape[0] if item_rows is None else item_rows.shape[0]
    candidates.n_components, candidates.n_readable = n_components, <int32_t>items.shape[1]
    candidates.by_length = by_length
    cdef int64_t n_users = user_rows.shape[0], size = out.shape[1]
    cdef int64_t n = min(size, candidates.n_items), n_blocks = (candidates.n_items + BLOCK - 1) // BLOCK
    # Users that share a task share the work of laying the items out. Where there are too few users for that, the
    # threads share the items instead, and what they find is merged.
    cdef int64_t users_per_task = n_users, n_ranges = min(<int64_t>num_threads, n_blocks)
    if n_users >= num_threads * FEWEST_USERS:
        users_per_task, n_ranges = min(MOST_USERS, (n_users + num_threads - 1) // num_threads), 1
    cdef int64_t n_tasks = (n_users + users_per_task - 1) // users_per_task * n_ranges
    cdef int64_t blocks_per_range = (n_blocks + n_ranges - 1) // n_ranges
    cdef vector[const float*] embeddings
    cdef int64_t user, task, first, first_item, part
    for user in range(n_users):
        embeddings.push_back(&users[user_rows[user], 0])
    cdef const int64_t* seen_starts = start(seen_indptr)
    cdef const int32_t* seen = start(seen_items)
    cdef vector[BlockBuffers] buffers
    cdef vector[vector[Best]] best
    buffers.resize(num_threads)
    best.resize(n_tasks if n_ranges > 1 else num_threads)
    for task in prange(n_tasks, nogil=True, num_threads=num_threads, schedule="dynamic"):
        first = task // n_ranges * users_per_task
        first_item = task % n_ranges * blocks_per_range * BLOCK
        find_best(candidates, first_item, min(first_item + blocks_per_range * BLOCK, candidates.n_items),
                  embeddings.data() + first, min(users_per_task, n_users - first), n,
                  seen_starts + first if seen_starts else NULL, seen, buffers[threadid()],
                  best[task if n_ranges > 1 else threadid()])
        if n_ranges == 1:
            for user in range(min(users_per_task, n_users - first)):
                best[threadid()][user].write(&out[first + user, 0], &scores[first + user, 0], size)
    if n_ranges > 1:
        for user in range(n_users):
            for part in range(1, n_ranges):
                best[0][user].merge(best[part][user])
            best[0][user].write(&out[user, 0], &scores[user, 0], size)


cdef void find_best(const Candidates& candidates, int64_t first, int64_t last, const float* const* users,
                    int64_t n_users, int64_t n, const int64_t* seen_indptr, const int32_t* seen_items,
                    BlockBuffers& buffers, vector[Best]& best) noexcept nogil:
    cdef int64_t user
    best.resize(n_users)
    for user in range(n_users):
        best[user].start(n)
    offer_items(candidates, first, last, users, n_users, seen_indptr, seen_items, buffers, best.data())


cdef Catalogue pack(const float[:, :] items, const float[:] item_biases, const int64_t[::1] item_rows,
                    int64_t n_items, int n_components, bint by_length, vector[float]& tiles, vector[float]& biases,
                    int num_threads):
    tiles.resize(n_tiles(n_items) * n_components * TILE)
    biases.resize(n_tiles(n_items) * TILE, NOT_COUNTED)
    cdef const int64_t* rows = start(item_rows)
    cdef int64_t index
    for index in range(n_items):
        biases[index] = item_biases[rows[index] if rows else index]
    cdef Catalogue catalogue
    catalogue.embeddings, catalogue.stride = &items[0, 0], items.strides[0] // <int64_t>sizeof(float)
    for index in prange(n_tiles(n_items), nogil=True, num_threads=num_threads, schedule="static"):
        pack_tile(catalogue.embeddings, catalogue.stride, rows, n_items, n_components, by_length, index, tiles.data())
    catalogue.tiles, catalogue.biases = tiles.data(), biases.data()
    catalogue.n_items, catalogue.n_components, catalogue.by_length = n_items, n_components, by_length
    return catalogue
