# distutils: language = c++
"""Scoring: representations, scores of pairs, ranks and the best items for users."""

from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libcpp.vector cimport vector

from arrays cimport start
from kernels cimport FeatureRows, Table
from team cimport Team, finish, look_at_signals


cdef extern from "<kernels/features.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass Represent:
        pass

    Represent choose_represent(bint all_pairs)

    cdef cppclass RepresentTasks:
        Table table
        FeatureRows features
        Represent sum_up
        int64_t n_rows
        float* embeddings
        int64_t stride
        float* biases
        int64_t n_tasks()

cdef extern from "<kernels/ranking.hpp>" namespace "lightfm_fast" nogil:
    const int TILE "lightfm_fast::kTile"
    const float NOT_COUNTED "lightfm_fast::kNotCounted"
    int64_t n_tiles(int64_t n_items)
    int64_t ranked_per_task(int64_t n_users, int num_threads)

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

    cdef cppclass PackTasks:
        const float* embeddings
        int64_t stride
        int64_t n_items
        int32_t n_components
        bint by_length
        float* tiles
        int64_t n_tasks()

    cdef cppclass RankTasks:
        Catalogue catalogue
        const float* const* users
        const int64_t* tested
        int64_t n_tested
        int64_t per_task
        const int64_t* test_indptr
        const int32_t* test_items
        const int64_t* train_indptr
        const int32_t* train_items
        RankBuffers* buffers
        float* ranks
        int64_t n_tasks()

    cdef cppclass ScorePairsTasks:
        const float* users
        const float* user_biases
        const float* items
        const float* item_biases
        int64_t user_stride
        int64_t user_bias_stride
        int64_t item_stride
        int64_t item_bias_stride
        const int64_t* user_rows
        const int64_t* item_rows
        int64_t n_pairs
        int32_t width
        bint by_length
        float* scores
        int64_t n_tasks()

    cdef cppclass CommonTasks:
        const int64_t* indptr
        const int32_t* items
        const int64_t* other_indptr
        const int32_t* other_items
        int64_t n_rows
        uint8_t* common
        int64_t n_tasks()

cdef extern from "<kernels/selection.hpp>" namespace "lightfm_fast" nogil:
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

    cdef cppclass SelectTasks:
        Candidates items
        const float* const* users
        int64_t n_users
        int64_t n
        const int64_t* seen_indptr
        const int32_t* seen_items
        int64_t* out
        float* scores
        int64_t n_columns
        int64_t n_ranges
        void plan(int num_threads) except +
        int64_t n_tasks()
        void merge() except +

cdef extern from "<kernels/shortlist.hpp>" namespace "lightfm_fast" nogil:
    const int32_t MOST_QUICK_COMPONENTS "lightfm_fast::QuickItems::kMostComponents"

    cdef cppclass CQuickItems "lightfm_fast::QuickItems":
        CQuickItems(int64_t n_items, int32_t n_components) except +
        int64_t n_items()
        int64_t n_bytes()
        bint is_sound()

    cdef cppclass QuickTasks:
        CQuickItems* quick
        Candidates items
        int64_t n_tasks()

    cdef cppclass ShortlistTasks:
        const CQuickItems* quick
        const float* user
        int64_t n
        const int32_t* seen
        int64_t n_seen
        bint plan(int num_threads) except +
        int64_t n_tasks()
        bint take(vector[int64_t]& items) except +

cdef extern from "<kernels/digest.hpp>" namespace "lightfm_fast" nogil:
    uint64_t c_digest "lightfm_fast::digest"(const uint8_t* bytes, int64_t size)


def represent(float[:, ::1] rows, float[:, ::1] biases, int width, const int64_t[::1] indptr,
              const int32_t[::1] indices, const float[::1] values, bint all_pairs, float[:, ::1] out,
              float[::1] out_biases, int num_threads):
    """Write each row's weighted sum of feature embeddings to `out` (n x width), and of biases to `out_biases`.

    With `all_pairs` the products of each two of the row's features are added to its bias.
    """
    cdef Team team
    cdef RepresentTasks tasks
    cdef int thread
    tasks.table.rows, tasks.table.biases, tasks.table.width = &rows[0, 0], &biases[0, 0], width
    tasks.table.segments = <int32_t>(rows.shape[1] // width)
    tasks.table.bias_segments = <int32_t>biases.shape[1]
    tasks.features.indptr, tasks.features.indices, tasks.features.values = start(indptr), start(indices), start(values)
    tasks.sum_up = choose_represent(all_pairs)
    tasks.n_rows, tasks.stride = out.shape[0], out.shape[1]
    tasks.embeddings, tasks.biases = &out[0, 0], &out_biases[0]
    team.start(tasks.n_tasks(), look_at_signals)
    for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
        team.work(thread, tasks)
    finish(team)


def score_pairs(const float[:, :] users, const float[:] user_biases, const int64_t[::1] user_rows,
                const float[:, :] items, const float[:] item_biases, const int64_t[::1] item_rows, int width,
                bint by_length, float[::1] out, int num_threads):
    """Write out[p] = users[user_rows[p]] . items[item_rows[p]] + both biases. Rows are `width` contiguous floats.

    With `by_length` the product is divided by the lengths of both embeddings.
    """
    cdef Team team
    cdef ScorePairsTasks tasks
    cdef int thread
    tasks.users, tasks.user_biases, tasks.user_rows = &users[0, 0], &user_biases[0], start(user_rows)
    tasks.items, tasks.item_biases, tasks.item_rows = &items[0, 0], &item_biases[0], start(item_rows)
    tasks.user_stride, tasks.user_bias_stride = in_floats(users.strides[0]), in_floats(user_biases.strides[0])
    tasks.item_stride, tasks.item_bias_stride = in_floats(items.strides[0]), in_floats(item_biases.strides[0])
    tasks.n_pairs, tasks.width, tasks.by_length, tasks.scores = out.shape[0], width, by_length, <float*>start(out)
    team.start(tasks.n_tasks(), look_at_signals)
    for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
        team.work(thread, tasks)
    finish(team)


cdef inline int64_t in_floats(Py_ssize_t n_bytes) noexcept:
    return n_bytes // <int64_t>sizeof(float)


def find_common(const int64_t[::1] indptr, const int32_t[::1] items, const int64_t[::1] other_indptr,
                const int32_t[::1] other_items, uint8_t[::1] common, int num_threads):
    """Write to common[e] whether entry e of one CSR matrix is stored in another, whose rows are sorted."""
    cdef Team team
    cdef CommonTasks tasks
    cdef int thread
    tasks.indptr, tasks.items, tasks.n_rows = start(indptr), start(items), indptr.shape[0] - 1
    tasks.other_indptr, tasks.other_items = start(other_indptr), start(other_items)
    tasks.common = <uint8_t*>start(common)
    team.start(tasks.n_tasks(), look_at_signals)
    for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
        team.work(thread, tasks)
    finish(team)


def rank(const float[:, :] users, const float[:, :] items, const float[:] item_biases, int n_components, bint by_length,
         const int64_t[::1] test_indptr, const int32_t[::1] test_items, const int64_t[::1] train_indptr,
         const int32_t[::1] train_items, float[::1] ranks, int num_threads):
    """Rank each test item t: ranks[t] is the number of other items, but train items, that score at least as high.

    `ranks` has an element for each of `test_items`. With `by_length` items' embeddings are divided by their lengths.
    `train_indptr` and `train_items` may be None.
    """
    cdef Team team
    cdef PackTasks packing
    cdef RankTasks tasks
    cdef int64_t index, n_items = items.shape[0]
    cdef int thread
    cdef vector[float] tiles, biases
    tiles.resize(n_tiles(n_items) * n_components * TILE)
    biases.resize(n_tiles(n_items) * TILE, NOT_COUNTED)
    for index in range(n_items):
        biases[index] = item_biases[index]
    packing.embeddings, packing.stride = &items[0, 0], in_floats(items.strides[0])
    packing.n_items, packing.n_components, packing.by_length = n_items, n_components, by_length
    packing.tiles = tiles.data()
    team.start(packing.n_tasks(), look_at_signals)
    for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
        team.work(thread, packing)
    finish(team)
    tasks.catalogue.embeddings, tasks.catalogue.stride = packing.embeddings, packing.stride
    tasks.catalogue.tiles, tasks.catalogue.biases = tiles.data(), biases.data()
    tasks.catalogue.n_items, tasks.catalogue.n_components = n_items, n_components
    tasks.catalogue.by_length = by_length

    cdef vector[int64_t] tested
    cdef vector[const float*] embeddings
    for index in range(test_indptr.shape[0] - 1):
        if test_indptr[index + 1] > test_indptr[index]:
            tested.push_back(index)
            embeddings.push_back(&users[index, 0])
    cdef vector[RankBuffers] buffers
    buffers.resize(num_threads)
    tasks.users, tasks.tested, tasks.n_tested = embeddings.data(), tested.data(), tested.size()
    tasks.per_task = ranked_per_task(tasks.n_tested, num_threads)
    tasks.test_indptr, tasks.test_items = start(test_indptr), start(test_items)
    tasks.train_indptr, tasks.train_items = start(train_indptr), start(train_items)
    tasks.buffers, tasks.ranks = buffers.data(), <float*>start(ranks)
    team.start(tasks.n_tasks(), look_at_signals)
    for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
        team.work(thread, tasks)
    finish(team)


cdef Candidates candidates_of(const float[:, :] items, const float[:] biases, const int64_t[::1] rows,
                              int n_components, bint by_length):
    cdef Candidates candidates
    candidates.embeddings, candidates.biases, candidates.rows = &items[0, 0], &biases[0], start(rows)
    candidates.stride, candidates.bias_stride = in_floats(items.strides[0]), in_floats(biases.strides[0])
    candidates.n_items = items.shape[0] if rows is None else rows.shape[0]
    candidates.n_components, candidates.n_readable = n_components, <int32_t>items.shape[1]
    candidates.by_length = by_length
    return candidates


def select(const float[:, :] users, const int64_t[::1] user_rows, const float[:, :] items, const float[:] item_biases,
           const int64_t[::1] item_rows, int n_components, bint by_length, const int64_t[::1] seen_indptr,
           const int32_t[::1] seen_items, int64_t[:, ::1] out, float[:, ::1] scores, int num_threads):
    """Fill row u of `out` with the best items for users[user_rows[u]], best first, by u . i + the item's bias.

    Item i's embedding is items[item_rows[i]], or items[i] if `item_rows` is None. Among equal scores the lower i comes
    first. With `by_length` items' embeddings are divided by their lengths. The sorted items
    seen_items[seen_indptr[u]:seen_indptr[u + 1]] are left out; both arrays may be None. If there are fewer items than
    columns, rows end with -1 in `out` and -inf in `scores`.
    """
    cdef Team team
    cdef SelectTasks tasks
    cdef vector[const float*] embeddings
    cdef int64_t user
    cdef int thread
    for user in range(user_rows.shape[0]):
        embeddings.push_back(&users[user_rows[user], 0])
    tasks.items = candidates_of(items, item_biases, item_rows, n_components, by_length)
    tasks.users, tasks.n_users = embeddings.data(), user_rows.shape[0]
    tasks.seen_indptr, tasks.seen_items = start(seen_indptr), start(seen_items)
    tasks.out, tasks.scores, tasks.n_columns = &out[0, 0], &scores[0, 0], out.shape[1]
    tasks.n = min(tasks.n_columns, tasks.items.n_items)
    tasks.plan(num_threads)
    team.start(tasks.n_tasks(), look_at_signals)
    for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
        team.work(thread, tasks)
    finish(team)
    if tasks.n_ranges > 1:
        tasks.merge()


cdef class QuickItems:
    """All items in 7 bits a component, which find the few items among which a user's best must be.

    `n_bytes` is the memory taken. The arguments have the meaning that they have in select(). The arrays are not kept.
    Raises ValueError if an item is not finite or too large for sound bounds, or there are too many components.
    """

    cdef CQuickItems* quick
    cdef readonly int64_t n_items, n_bytes

    def __cinit__(self, const float[:, :] items, const float[:] item_biases, int n_components, bint by_length,
                  int num_threads):
        cdef Team team
        cdef QuickTasks tasks
        cdef int thread
        if n_components > MOST_QUICK_COMPONENTS:
            raise ValueError(f"there are {n_components} components, at most {MOST_QUICK_COMPONENTS} have bounds")
        self.quick = new CQuickItems(items.shape[0], n_components)
        self.n_items, self.n_bytes = items.shape[0], self.quick.n_bytes()
        tasks.quick, tasks.items = self.quick, candidates_of(items, item_biases, None, n_components, by_length)
        team.start(tasks.n_tasks(), look_at_signals)
        for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
            team.work(thread, tasks)
        finish(team)
        if not self.quick.is_sound():
            raise ValueError("an item's parameters are not finite, or too large for sound bounds")

    def __dealloc__(self):
        del self.quick

    def shortlist(self, const float[::1] user, int64_t n, const int32_t[::1] seen, int num_threads):
        """Return a superset of the user's `n` best items as an ascending list, or None if it would be too long.

        `seen` are the items to leave out, ascending; None for no items.
        """
        cdef Team team
        cdef ShortlistTasks tasks
        cdef vector[int64_t] items
        cdef int thread
        tasks.quick, tasks.user, tasks.n = self.quick, start(user), n
        tasks.seen, tasks.n_seen = start(seen), 0 if seen is None else seen.shape[0]
        if not tasks.plan(num_threads):
            return None
        team.start(tasks.n_tasks(), look_at_signals)
        for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
            team.work(thread, tasks)
        finish(team)
        return items if tasks.take(items) else None


def digest(const uint8_t[::1] array):
    """Return a hash of an array's memory, by which equal contents are recognised."""
    cdef uint64_t found = 0
    with nogil:
        if array.shape[0]:
            found = c_digest(&array[0], array.shape[0])
    return found
