# distutils: language = c++
"""Single parts of the kernels, for the tests only: optimisers, the order, draws, copies, sketches."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

from arrays cimport start
from kernels cimport FeatureRows, Table


cdef extern from "<hooks.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass Adagrad:
        float learning_rate

    cdef cppclass Adadelta:
        float rho
        float epsilon

    cdef cppclass Cells:
        float* weights
        float* state[2]
        const float* gradients
        int64_t size

    void step_cells[Optimizer](const Optimizer& optimizer, const Cells& cells, cbool by_vectors)

    vector[int64_t] c_positions "lightfm_fast::positions"(
        int64_t size, uint64_t seed, uint64_t epoch, int64_t stratum) except +

    int64_t c_choose_n_blocks "lightfm_fast::Order::choose_n_blocks"(
        int64_t size, int64_t n_users, int64_t least, cbool spreads)
    bint c_is_listed "lightfm_fast::is_listed"(const int32_t* items, int64_t size, int32_t n_items, int32_t item)
    vector[int64_t] c_positions_of_block "lightfm_fast::positions_of_block"(
        int64_t size, int64_t n_blocks, int64_t spread, int64_t block) except +

    cdef cppclass Stream:
        uint64_t bits(uint64_t counter)
        uint32_t below(uint32_t n, uint32_t high, uint32_t low)

    cdef cppclass CDraws "lightfm_fast::Draws":
        Stream stream
        void start(const double* weights, int32_t n_items, uint64_t seed, uint64_t epoch, uint64_t task) except +
        int32_t popular(uint64_t counter)

    void c_merge_copies "lightfm_fast::merge_copies"(
        const Table& table, const FeatureRows& features, int n_threads, float coupling, const float* row_changes,
        const float* bias_changes) except +

    cdef cppclass Round:
        int64_t n_tasks
        int n_threads

    vector[Round] c_rounds "lightfm_fast::rounds"(
        int64_t size, int32_t n_users, int32_t n_copied, cbool by_user, uint64_t number, int n_threads) except +

    vector[int64_t] c_parts_sketched "lightfm_fast::parts_sketched"(
        int64_t size, int32_t n_users, int32_t n_items, cbool hardest, uint64_t number) except +

    void c_score_by_sketches "lightfm_fast::score_by_sketches"(
        const float* users, const Table& items, float* scores) except +

    const int64_t STRATA_PER_TASK "lightfm_fast::Epoch::kStrataPerTask"

    const int GROUP_SIZE "lightfm_fast::kGroup"
    const int DRAWS "lightfm_fast::kDraws"
    const int SHARING "lightfm_fast::HardestOfUniform::kSharing"
    const int PARTS_OF_SKETCHES "lightfm_fast::Sketches::kParts"

strata_per_task = STRATA_PER_TASK
group_size = GROUP_SIZE
draws = DRAWS
sharing = SHARING
parts_of_sketches = PARTS_OF_SKETCHES


def step_adagrad(float[::1] weights, float[::1] seen, const float[::1] gradients, float learning_rate,
                 bint by_vectors):
    """Step in place; `by_vectors`, the size is a multiple of 16."""
    cdef Adagrad optimizer
    optimizer.learning_rate = learning_rate
    step_cells(optimizer, make_cells(weights, seen, None, gradients), by_vectors)


def step_adadelta(float[::1] weights, float[::1] seen, float[::1] moved, const float[::1] gradients, float rho,
                  float epsilon, bint by_vectors):
    """Step in place; `by_vectors`, the size is a multiple of 16."""
    cdef Adadelta optimizer
    optimizer.rho, optimizer.epsilon = rho, epsilon
    step_cells(optimizer, make_cells(weights, seen, moved, gradients), by_vectors)


cdef Cells make_cells(float[::1] weights, float[::1] seen, float[::1] moved, const float[::1] gradients):
    cdef Cells cells
    cells.weights, cells.gradients, cells.size = <float*>start(weights), start(gradients), weights.shape[0]
    cells.state[0], cells.state[1] = <float*>start(seen), <float*>start(moved)
    return cells


def positions(int64_t size, uint64_t seed, uint64_t epoch, int64_t stratum):
    """Return the position that a stratum deals to each block; in the last stratum some are past the end."""
    return c_positions(size, seed, epoch, stratum)


def choose_n_blocks(int64_t size, int64_t n_users, int64_t least, bint spreads):
    """Return the number of blocks of an epoch over `size` samples."""
    return c_choose_n_blocks(size, n_users, least, spreads)


def is_listed(const int32_t[::1] items, int32_t n_items, int32_t item):
    """Return whether an item is among a user's `items`, which are sorted."""
    return c_is_listed(&items[0], items.shape[0], n_items, item)


def positions_of_block(int64_t size, int64_t n_blocks, int64_t spread, int64_t block):
    """Return the positions of a block in the order of training: samples of a group are `spread` strata apart."""
    return c_positions_of_block(size, n_blocks, spread, block)


def merge_copies(float[:, ::1] rows, float[:, ::1] biases, int width, const int64_t[::1] indptr,
                 const int32_t[::1] copied, float coupling, const float[:, :, ::1] row_changes,
                 const float[:, :, ::1] bias_changes):
    """Merge the changes of the threads' copies in place. `indptr` is of feature rows, or None for the identity."""
    cdef Table table
    cdef FeatureRows features
    table.rows, table.biases, table.width = &rows[0, 0], &biases[0, 0], width
    table.segments, table.bias_segments = <int32_t>(rows.shape[1] // width), <int32_t>biases.shape[1]
    features.indptr, features.copied, features.n_copied = start(indptr), start(copied), <int32_t>copied.shape[0]
    c_merge_copies(table, features, <int>row_changes.shape[0], coupling, &row_changes[0, 0, 0], &bias_changes[0, 0, 0])


def rounds(int64_t size, int32_t n_users, int32_t n_copied, bint by_user, uint64_t number, int n_threads):
    """Return the tasks and threads of each round of an epoch with `n_copied` copied rows."""
    cdef vector[Round] found = c_rounds(size, n_users, n_copied, by_user, number, n_threads)
    cdef size_t i
    return [(found[i].n_tasks, found[i].n_threads) for i in range(found.size())]


def parts_sketched(int64_t size, int32_t n_users, int32_t n_items, bint hardest, uint64_t number):
    """Return the number of parts of the items that are refreshed before each task of an epoch, and after the last."""
    return c_parts_sketched(size, n_users, n_items, hardest, number)


def score_by_sketches(const float[:, ::1] users, float[:, ::1] items, float[::1] biases):
    """Score a group's users by sketches, each with one item. Rows have a multiple of 16 numbers."""
    cdef Table table
    cdef float[::1] scores = biases.copy()
    table.rows, table.biases, table.width = &items[0, 0], &biases[0], <int32_t>items.shape[1]
    table.segments = table.bias_segments = 1
    c_score_by_sketches(&users[0, 0], table, &scores[0])
    return scores.base


cdef class Draws:
    """Return the draws of one task of an epoch. Items are drawn in proportion to `weights`."""

    cdef CDraws draws

    def __init__(self, const double[::1] weights, uint64_t seed, uint64_t epoch, uint64_t task):
        self.draws.start(&weights[0], <int32_t>weights.shape[0], seed, epoch, task)

    def bits(self, uint64_t counter):
        return self.draws.stream.bits(counter)

    def below(self, uint64_t n, uint64_t counter):
        return self.draws.stream.below(<uint32_t>n, <uint32_t>(counter >> 32), <uint32_t>counter)

    def popular(self, uint64_t counter):
        return self.draws.popular(counter)
