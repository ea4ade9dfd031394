# distutils: language = c++
"""Training: one epoch of Hogwild-parallel SGD over arrays.

Arrays are not checked here: the Python side has checked them. The arrays of parameters are changed in place.
"""

from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport prange
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

from arrays cimport start
from kernels cimport EpochTasks, FeatureRows, Outcome, Schedule, Table, read_schedule
from team cimport Team, finish, look_at_signals


cdef extern from "<kernels/membership.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass Membership:
        const uint8_t* bytes
        int64_t row_bits
        int64_t bitmap_row_bits(int64_t n_users, int64_t n_items)
        int64_t n_bytes(int64_t n_users, int64_t size)

    cdef cppclass KnownItems:
        const int64_t* indptr
        const int32_t* items
        int32_t n_users
        int32_t n_items
        Membership membership

    cdef cppclass MembershipTasks:
        const KnownItems* known
        uint8_t* bytes

    const int MEMBERSHIP_PARTS "lightfm_fast::KnownItems::kParts"

cdef extern from "<kernels/samples.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass CSamples "lightfm_fast::Samples":
        const int64_t* indptr
        const int32_t* users
        const int32_t* items
        const float* weights
        const int8_t* labels
        int32_t n_users
        int32_t n_items
        const int32_t* drawable
        int32_t n_drawable
        KnownItems known
        int64_t size()

cdef extern from "<kernels/group_by_user.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass GroupByUser:
        int64_t size
        const int32_t* users
        const int32_t* items
        const float* weights
        const int8_t* labels
        int32_t n_users
        int64_t n_items
        int64_t* indptr
        int32_t* out_users
        int32_t* out_items
        float* out_weights
        int8_t* out_labels
        int64_t begin(int step) except +

    const int GROUPING_STEPS "lightfm_fast::GroupByUser::kSteps"

cdef extern from "<kernels/counts.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass CountTasks:
        CountTasks(int64_t size, const int32_t* items, const int8_t* labels, int64_t n_items, int n_threads) except +
        int64_t n_tasks()
        void write(double* counts)

    void c_find_positives "lightfm_fast::find_positives"(
        const int64_t* indptr, const int8_t* labels, int64_t n_users, uint8_t* have)

cdef extern from "<kernels/memory.hpp>" namespace "lightfm_fast" nogil:
    void ask_for_huge_pages(void* memory, size_t size)

    cdef cppclass CopyTasks:
        int64_t size
        const uint8_t* source
        uint8_t* target
        int64_t n_tasks()

cdef extern from "<kernels/order.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass Plan:
        pass

cdef extern from "<kernels/inspect.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass CEntryCheck "lightfm_fast::EntryCheck":
        cbool is_sound
        cbool is_sorted
        cbool is_positive

    cdef cppclass EntryCheckTasks:
        int64_t size
        const int32_t* rows
        const int32_t* columns
        const float* values
        int64_t n_rows
        int64_t n_columns
        CEntryCheck* checks
        int64_t n_tasks()

    cdef cppclass ValueTasks:
        int64_t size
        const float* values
        int8_t* labels
        cbool are_finite
        cbool are_positive
        int64_t n_tasks()

    void find_users(
        const vector[CEntryCheck]& checks, int64_t size, const int32_t* users, int32_t n_users, int64_t* indptr)

cdef extern from "<kernels/copies.hpp>" namespace "lightfm_fast" nogil:
    const int COPIES_PARTS "lightfm_fast::Copies::kParts"

cdef extern from "<kernels/merge.hpp>" namespace "lightfm_fast" nogil:
    float coupling_of(float learning_rate, double features_a_row)

    cdef cppclass CopiedRows:
        const int32_t* indices
        int64_t size
        const float* rows
        const float* biases

    cdef cppclass MergeTasks:
        Table table
        float coupling
        const CopiedRows* copies
        int64_t n_copies
        int64_t first
        int64_t last
        int64_t n_tasks()

cdef extern from "<kernels/shrink.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass ShrinkTasks:
        Table table
        cbool has_biases
        double strength
        float epsilon
        const int64_t* rows
        const double* squares
        int64_t stride
        int64_t size
        int64_t n_tasks()

cdef extern from "<kernels/sketches.hpp>" namespace "lightfm_fast" nogil:
    const int SKETCHES_PARTS "lightfm_fast::Sketches::kParts"

cdef extern from "<kernels/samplers/alias.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass PopularityCell "lightfm_fast::Popularity::Cell":
        pass

    cdef cppclass Popularity:
        const PopularityCell* cells
        int32_t n_items

    cdef cppclass PopularityTask:
        const double* weights
        int32_t n_items
        PopularityCell* cells

cdef extern from "<kernels/table.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass FiniteTasks:
        const float* values
        int64_t size
        int64_t n_tasks()
        cbool are_finite()

cdef extern from "<kernels/settings.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass CSettings "lightfm_fast::Settings":
        Schedule schedule
        cbool all_pairs
        double identity_dropout
        const float* log_rank
        int32_t max_sampled
        int32_t k
        int32_t n
        int32_t n_negatives
        float temperature

cdef extern from "<kernels/epoch.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass CSide "lightfm_fast::Side":
        Table table
        FeatureRows features
        float alpha

    cdef cppclass Round:
        int64_t n_tasks
        int n_threads

    cdef cppclass Epoch:
        Epoch(const CSamples& samples, const Popularity& popularity, const CSide& users,
              const CSide& items, const CSettings& settings, const Plan& plan,
              uint64_t seed, uint64_t number, int n_threads) except +
        int64_t n_tasks()
        Round round_from(int64_t first)
        cbool has_copies()
        void fill_copies(int thread)
        void merge(int part)
        cbool has_sketches()

    cdef cppclass SketchTasks:
        const Epoch* epoch

cdef extern from "<kernels/losses.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass Charge:
        float value
        float slope

cdef extern from "<kernels/dispatch.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass Run:
        pass

    cdef cppclass LossEntry:
        const char* name
        const char* negatives
        cbool takes_labels
        cbool takes_weights
        cbool needs_popularity
        cbool needs_membership
        cbool scores_are_cosines
        cbool gives_probabilities
        Charge (*at)(float) noexcept
        Plan plan

    const LossEntry[1] kLosses
    const int kNumLosses
    const LossEntry* c_find_loss "lightfm_fast::find_loss"(const char* name, const char* negatives)
    Run choose(const LossEntry& entry, const CSettings& settings, const CSide& users, const CSide& items)

# One thread works on fewer numbers, or fewer entries of a matrix, since waking others takes as long.
cdef int64_t LEAST_SHARED = 1 << 20
cdef int64_t LEAST_ENTRIES = 1 << 18

# Facts of each loss, one dictionary for each entry of kLosses. An entry with `negatives` is for that kind of
# negatives only, and the entry without is for all others.
LOSSES = tuple(
    {
        "name": kLosses[i].name.decode(),
        "negatives": kLosses[i].negatives.decode(),
        "takes_labels": kLosses[i].takes_labels,
        "takes_weights": kLosses[i].takes_weights,
        "needs_popularity": kLosses[i].needs_popularity,
        "needs_membership": kLosses[i].needs_membership,
        "scores_are_cosines": kLosses[i].scores_are_cosines,
        "gives_probabilities": kLosses[i].gives_probabilities,
    }
    for i in range(kNumLosses)
)


cdef const LossEntry* find_loss(str name, str negatives) except NULL:
    cdef bytes utf8_name = name.encode(), utf8_negatives = negatives.encode()
    cdef const LossEntry* found = c_find_loss(utf8_name, utf8_negatives)
    if found == NULL:
        names = dict.fromkeys(repr(entry["name"]) for entry in LOSSES)
        raise ValueError(f"loss is {name!r}, expected one of {', '.join(names)}")
    return found


def loss_at(str loss, float margin):
    """Return value and slope of a loss at a score or a margin, for the tests; None if it depends on more numbers.

    Raises ValueError for an unknown loss.
    """
    cdef const LossEntry* entry = find_loss(loss, "")
    if entry.at == NULL:
        return None
    cdef Charge charge = entry.at(margin)
    return charge.value, charge.slope


cdef class Settings:
    """Settings of training, which are the same for all samples of an epoch.

    `log_rank` is WARP's weight by the number of draws, from 0 to max_sampled. With `all_pairs` scores include the pairs
    of features within a row. Raises ValueError for an unknown loss or learning schedule.
    """

    cdef const LossEntry* loss
    cdef CSettings view
    cdef object held

    def __init__(self, *, str loss, str negatives, str learning_schedule, float learning_rate, float rho,
                 float epsilon, const float[::1] log_rank, int k, int n, bint all_pairs, double identity_dropout,
                 int n_negatives, float temperature):
        self.loss = find_loss(loss, negatives)
        self.held = log_rank
        self.view.schedule = read_schedule(learning_schedule, learning_rate, rho, epsilon)
        self.view.log_rank, self.view.max_sampled = &log_rank[0], <int32_t>(log_rank.shape[0] - 1)
        self.view.k, self.view.n = k, n
        self.view.all_pairs, self.view.identity_dropout = all_pairs, identity_dropout
        self.view.n_negatives, self.view.temperature = n_negatives, temperature


cdef class EntryCheck:
    """Checks a matrix's entries, given as three arrays of equal length.

    `is_sound`: all indices are within the shape, and all values finite. `is_sorted`: entries are sorted by row and
    column. `is_positive`: all values are above 0.
    """

    cdef readonly bint is_sound, is_sorted, is_positive
    cdef vector[CEntryCheck] stretches

    def __init__(self, const int32_t[::1] rows, const int32_t[::1] columns, const float[::1] values, int64_t n_rows,
                 int64_t n_columns, int num_threads):
        cdef Team team
        cdef EntryCheckTasks tasks
        cdef int64_t stretch
        cdef int thread
        tasks.size, tasks.rows, tasks.columns, tasks.values = rows.shape[0], start(rows), start(columns), start(values)
        tasks.n_rows, tasks.n_columns = n_rows, n_columns
        self.stretches.resize(tasks.n_tasks())
        tasks.checks = self.stretches.data()
        if tasks.size < LEAST_ENTRIES:
            num_threads = 1
        team.start(tasks.n_tasks(), look_at_signals)
        for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
            team.work(thread, tasks)
        finish(team)
        self.is_sound = self.is_sorted = self.is_positive = True
        for stretch in range(tasks.n_tasks()):
            self.is_sound = self.is_sound and self.stretches[stretch].is_sound
            self.is_sorted = self.is_sorted and self.stretches[stretch].is_sorted
            self.is_positive = self.is_positive and self.stretches[stretch].is_positive

    def find_users(self, const int32_t[::1] users, int64_t[::1] indptr):
        """Fill in CSR's `indptr` for `users`, the rows that were checked; they must be sound and sorted."""
        find_users(self.stretches, users.shape[0], start(users), <int32_t>(indptr.shape[0] - 1), &indptr[0])


def group_by_user(const int32_t[::1] users, const int32_t[::1] items, const float[::1] weights,
                  const int8_t[::1] labels, int64_t n_items, int64_t[::1] indptr, int32_t[::1] out_users,
                  int32_t[::1] out_items, float[::1] out_weights, int8_t[::1] out_labels, int num_threads=1):
    """Sort interactions by user and item into CSR arrays and their users; `weights` and `labels` may be None.

    `out_labels` may be `labels`.
    """
    cdef Team team
    cdef GroupByUser task
    cdef int step, thread
    task.size, task.users, task.items = users.shape[0], start(users), start(items)
    task.weights, task.labels = start(weights), start(labels)
    task.n_users, task.n_items, task.indptr = <int32_t>(indptr.shape[0] - 1), n_items, &indptr[0]
    task.out_users, task.out_items = <int32_t*>start(out_users), <int32_t*>start(out_items)
    task.out_weights, task.out_labels = <float*>start(out_weights), <int8_t*>start(out_labels)
    if task.size < LEAST_ENTRIES:
        num_threads = 1
    for step in range(GROUPING_STEPS):
        team.start(task.begin(step), look_at_signals)
        for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
            team.work(thread, task)
        finish(team)


def membership_bytes(int64_t n_users, int64_t n_items, int64_t size):
    """Return the bytes that the membership of `size` entries needs."""
    cdef Membership membership
    membership.row_bits = membership.bitmap_row_bits(n_users, n_items)
    return membership.n_bytes(n_users, size)


def count_items(const int32_t[::1] items, const int8_t[::1] labels, double[:, ::1] counts, int num_threads):
    """Count how often each item occurs: in row 0 of `counts` all entries and, in row 1, those with the label +1.

    `counts` has one row if `labels`, of -1 and +1, are None.
    """
    cdef Team team
    cdef CountTasks* tasks = new CountTasks(items.shape[0], start(items), start(labels), counts.shape[1], num_threads)
    cdef int thread
    try:
        team.start(tasks.n_tasks(), look_at_signals)
        for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
            team.work(thread, tasks[0])
        finish(team)
        tasks.write(&counts[0, 0])
    finally:
        del tasks


def find_positives(const int64_t[::1] indptr, const int8_t[::1] labels, uint8_t[::1] have):
    """Mark in `have` the users with an entry of label +1; `indptr` and `labels` are of CSR entries."""
    if have.shape[0] and labels.shape[0]:
        c_find_positives(&indptr[0], &labels[0], have.shape[0], &have[0])


def judge_values(const float[::1] values, int num_threads, int8_t[::1] labels=None):
    """Return whether all values are finite, and whether all are above 0.

    Fill in `labels`, if given: +1 where a value is above 0, else -1.
    """
    cdef Team team
    cdef ValueTasks tasks
    cdef int thread
    tasks.size, tasks.values, tasks.labels = values.shape[0], start(values), <int8_t*>start(labels)
    if tasks.size < LEAST_ENTRIES:
        num_threads = 1
    team.start(tasks.n_tasks(), look_at_signals)
    for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
        team.work(thread, tasks)
    finish(team)
    return tasks.are_finite, tasks.are_positive


def copy_to_bytes(arrays, int num_threads):
    """Return a copy of the memory of arrays of bytes, one after the other, which nobody can change."""
    cdef Team team
    cdef CopyTasks tasks
    cdef const uint8_t[::1] array
    cdef int64_t size = sum([len(array) for array in arrays])
    cdef int thread, n_threads
    copy = PyBytes_FromStringAndSize(NULL, size)
    tasks.target = <uint8_t*>PyBytes_AsString(copy)
    ask_for_huge_pages(tasks.target, size)
    for array in arrays:
        tasks.size, tasks.source = array.shape[0], start(array)
        n_threads = 1 if tasks.size < LEAST_SHARED else num_threads
        team.start(tasks.n_tasks(), look_at_signals)
        for thread in prange(n_threads, nogil=True, num_threads=n_threads, schedule="static", chunksize=1):
            team.work(thread, tasks)
        finish(team)
        tasks.target += tasks.size
    return copy


def all_finite(const float[:, ::1] array, int num_threads):
    """Return whether all values of the array are finite."""
    cdef Team team
    cdef FiniteTasks tasks
    cdef int thread
    tasks.size = array.shape[0] * array.shape[1]
    if tasks.size == 0:
        return True
    tasks.values = &array[0, 0]
    if tasks.size < LEAST_SHARED:
        num_threads = 1
    team.start(tasks.n_tasks(), look_at_signals)
    for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
        team.work(thread, tasks)
    finish(team)
    return tasks.are_finite()


def merge(float[:, ::1] rows, float[:, ::1] biases, int width, copies, int64_t first, int64_t last,
          float learning_rate, double features_a_row, int num_threads):
    """Merge the copies of several workers into rows `first` to `last` - 1 of a table, in place.

    All copies began as the table is; see kernels/merge.hpp for the rule. `copies` has a tuple of three arrays for each
    worker: the int32 numbers of its rows, ascending, or None for all rows; the rows, as wide as `rows`; and their
    biases. A row is merged in the order of `copies`, whatever the range and the number of threads, so the result
    has the same bits.
    """
    cdef Team team
    cdef MergeTasks tasks
    cdef CopiedRows copy
    cdef vector[CopiedRows] copied
    cdef const int32_t[::1] indices
    cdef const float[:, ::1] copied_rows, copied_biases
    cdef int thread
    held = []  # the memory views, while the threads read them
    for of_worker in copies:
        indices, copied_rows, copied_biases = of_worker
        held.append((indices, copied_rows, copied_biases))
        if copied_rows.shape[0] == 0:
            continue
        copy.indices, copy.size = start(indices), copied_rows.shape[0]
        copy.rows, copy.biases = &copied_rows[0, 0], &copied_biases[0, 0]
        copied.push_back(copy)
    if rows.shape[0] == 0:
        return
    tasks.table.rows, tasks.table.biases, tasks.table.width = &rows[0, 0], &biases[0, 0], width
    tasks.table.segments, tasks.table.bias_segments = <int32_t>(rows.shape[1] // width), <int32_t>biases.shape[1]
    tasks.coupling = coupling_of(learning_rate, features_a_row)
    tasks.copies, tasks.n_copies, tasks.first, tasks.last = copied.data(), copied.size(), first, last
    team.start(tasks.n_tasks(), look_at_signals)
    for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
        team.work(thread, tasks)
    finish(team)


def shrink(float[:, ::1] rows, float[:, ::1] biases, int width, const int64_t[::1] chosen, const double[:] squares,
           double strength, float epsilon, bint has_biases, int num_threads):
    """Step the `chosen` rows of a table by a penalty of `strength` times their `squares`, in place.

    See kernels/shrink.hpp. Without `has_biases` the biases stay. `epsilon` is Adadelta's.
    """
    cdef Team team
    cdef ShrinkTasks tasks
    cdef int thread
    if chosen.shape[0] == 0:
        return
    tasks.table.rows, tasks.table.biases, tasks.table.width = &rows[0, 0], &biases[0, 0], width
    tasks.table.segments, tasks.table.bias_segments = <int32_t>(rows.shape[1] // width), <int32_t>biases.shape[1]
    tasks.has_biases, tasks.strength, tasks.epsilon = has_biases, strength, epsilon
    tasks.rows, tasks.squares, tasks.size = &chosen[0], &squares[0], chosen.shape[0]
    tasks.stride = squares.strides[0] // <int64_t>sizeof(double)
    if tasks.size * rows.shape[1] < LEAST_SHARED:
        num_threads = 1
    team.start(tasks.n_tasks(), look_at_signals)
    for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
        team.work(thread, tasks)
    finish(team)


cdef class Side:
    """The parameters and features of one side; keeps the arrays alive while an epoch runs."""

    cdef CSide view
    cdef object held

    def __init__(self, float[:, ::1] rows, float[:, ::1] biases, int width, const int64_t[::1] indptr,
                 const int32_t[::1] indices, const float[::1] values, const int32_t[::1] n_own,
                 const int32_t[::1] copied, float alpha):
        """Take the arrays of one side.

        `n_own` is the number of first features of each row that identity dropout may leave out; None for no dropout.
        `copied` are the rows of parameters that each thread copies, or None. `indices` has ~i for copied[i]; see
        kernels/copies.hpp.
        """
        self.held = (rows, biases, indptr, indices, values, n_own, copied)
        self.view.table.rows = &rows[0, 0]
        self.view.table.biases = &biases[0, 0]
        self.view.table.width = width
        self.view.table.segments = <int32_t>(rows.shape[1] // width)
        self.view.table.bias_segments = <int32_t>biases.shape[1]
        self.view.features.indptr = start(indptr)
        self.view.features.indices = start(indices)
        self.view.features.values = start(values)
        self.view.features.n_own = start(n_own)
        self.view.features.copied = start(copied)
        self.view.features.n_copied = 0 if copied is None else <int32_t>copied.shape[0]
        self.view.alpha = alpha


cdef class Samples:
    """The samples of an epoch, grouped by user, and the popularity of the items."""

    cdef CSamples view
    cdef Popularity popularity
    cdef vector[PopularityCell] cells
    cdef object held

    def __init__(self, const int64_t[::1] indptr, const int32_t[::1] users, const int32_t[::1] items,
                 const float[::1] weights, const int8_t[::1] labels, int n_items, const int32_t[::1] drawable,
                 const double[::1] popularity, const int64_t[::1] known_indptr, const int32_t[::1] known_items,
                 uint8_t[::1] membership, int num_threads):
        """Take the arrays of the samples.

        `drawable` are the items that uniform draws choose from, or None for all. `popularity` are weights by which
        items are drawn, or None if the loss does not need them. `known_indptr` and `known_items` are CSR arrays of all
        entries, which are never negatives of their users; None if all entries are samples. `membership` is
        memory of membership_bytes() to be filled in, or None if the loss does not need it.
        """
        cdef Team team
        cdef MembershipTasks members
        cdef PopularityTask popular
        cdef int thread
        self.held = (indptr, users, items, weights, labels, drawable, known_indptr, known_items, membership)
        self.view.indptr = start(indptr)
        self.view.users = start(users)
        self.view.items = start(items)
        self.view.weights = start(weights)
        self.view.labels = start(labels)
        self.view.n_users = <int32_t>(indptr.shape[0] - 1)
        self.view.n_items = <int32_t>n_items
        self.view.drawable = start(drawable)
        self.view.n_drawable = <int32_t>(n_items if drawable is None else drawable.shape[0])
        self.view.known.indptr = start(indptr if known_indptr is None else known_indptr)
        self.view.known.items = start(items if known_items is None else known_items)
        self.view.known.n_users, self.view.known.n_items = self.view.n_users, self.view.n_items
        if membership is not None:
            self.view.known.membership.row_bits = self.view.known.membership.bitmap_row_bits(
                self.view.n_users, self.view.n_items)
            self.view.known.membership.bytes = &membership[0]
            members.known, members.bytes = &self.view.known, &membership[0]
            if self.view.size() < LEAST_ENTRIES:
                num_threads = 1
            team.start(MEMBERSHIP_PARTS, look_at_signals)
            for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
                team.work(thread, members)
            finish(team)
        if popularity is not None:
            self.cells.resize(popularity.shape[0])
            popular.weights, popular.n_items, popular.cells = &popularity[0], self.view.n_items, self.cells.data()
            team.start(1, look_at_signals)
            with nogil:
                team.work(0, popular)
            finish(team)
            self.popularity.cells = self.cells.data()
            self.popularity.n_items = self.view.n_items


def fit_epoch(Settings settings, Samples samples, Side users, Side items, uint64_t seed, uint64_t number,
              int num_threads):
    """Train one epoch by SGD; return (sum of the losses, samples visited, whether it diverged).

    The parameters are changed in place. An epoch that diverges stops at once, before a step that is not finite. After
    Ctrl-C, which also stops a running task, or a lack of memory the parameters are finite. Raises ValueError for
    samples that were made without the popularity or the membership that the loss needs.
    """
    if settings.loss.needs_popularity and samples.popularity.cells == NULL:
        raise ValueError("the loss draws items by popularity, and the samples were made without")
    if settings.loss.needs_membership and samples.view.known.membership.bytes == NULL:
        raise ValueError("the loss asks for users' known items, and the samples were made without membership")
    cdef Epoch* epoch = new Epoch(samples.view, samples.popularity, users.view, items.view, settings.view,
                                  settings.loss.plan, seed, number, num_threads)
    try:
        return run_epoch(choose(settings.loss[0], settings.view, users.view, items.view), epoch, num_threads)
    finally:
        del epoch


cdef tuple run_epoch(Run run, Epoch* epoch, int num_threads):
    cdef Team team
    cdef SketchTasks sketching
    cdef EpochTasks[Epoch, Run] tasks
    cdef vector[Outcome] outcomes
    cdef Round round
    cdef int64_t task
    cdef int thread, part
    cdef bint diverged = False
    cdef double loss = 0.0
    cdef int64_t samples = 0
    if epoch.has_copies():
        for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
            epoch.fill_copies(thread)
    if epoch.has_sketches():
        sketching.epoch = epoch
        team.start(SKETCHES_PARTS, look_at_signals)
        for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
            team.work(thread, sketching)
        finish(team)
    tasks.run, tasks.epoch, tasks.first = run, epoch, 0
    while tasks.first < epoch.n_tasks() and not diverged:
        round = epoch.round_from(tasks.first)
        outcomes.assign(round.n_tasks, Outcome())
        tasks.outcomes = outcomes.data()
        team.start(round.n_tasks, look_at_signals)
        for thread in prange(round.n_threads, nogil=True, num_threads=round.n_threads, schedule="static", chunksize=1):
            team.work(thread, tasks)
        for task in range(round.n_tasks):
            loss += outcomes[task].loss
            samples += outcomes[task].samples
            diverged = diverged or outcomes[task].diverged
        tasks.first += round.n_tasks
        if epoch.has_copies():
            for part in prange(COPIES_PARTS, nogil=True, num_threads=num_threads, schedule="dynamic", chunksize=1):
                epoch.merge(part)
        finish(team)
        PyErr_CheckSignals()
    return loss, samples, diverged
