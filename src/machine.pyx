# distutils: language = c++
"""The factorization machine: training and scoring over the rows of a design matrix, given as blocks of columns.

Arrays are not checked here: the Python side has checked them. The arrays of parameters are changed in place.
"""

from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t, uint64_t
from libcpp.vector cimport vector

from arrays cimport start
from kernels cimport EpochTasks, Outcome, Schedule, Table, read_schedule
from team cimport Team, finish, look_at_signals


cdef extern from "<kernels/machine.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass Block:
        const int32_t* rows
        const int64_t* indptr
        const int32_t* indices
        const float* values
        int32_t first

    cdef cppclass CDesign "lightfm_fast::Design":
        const Block* blocks
        int32_t n_blocks
        int64_t n_rows

    cdef cppclass Penalty:
        Penalty()
        Penalty(float alpha)

    cdef cppclass CMachine "lightfm_fast::Machine":
        Table table
        float* shared
        const int32_t* fields
        int32_t n_fields
        Penalty penalty_w
        Penalty penalty_v

    cdef cppclass Permutation:
        Permutation(int64_t size, uint64_t seed, uint64_t epoch) except +
        int64_t operator()(int64_t ordinal)

    cdef cppclass MachineEpoch:
        MachineEpoch(const CDesign& design, const float* targets, const float* weights, const CMachine& machine,
                     const Schedule& schedule, uint64_t seed, uint64_t number) except +
        int64_t n_tasks()

    cdef cppclass MachineRun:
        pass

    cdef cppclass MachineLoss:
        const char* name
        MachineRun choose(const Schedule& schedule, const CMachine& machine)

    const MachineLoss[2] kMachineLosses
    const int kNumMachineLosses

    cdef cppclass ScoreTasks:
        const CDesign* design
        const CMachine* machine
        float* scores
        int64_t n_tasks()

LOSSES = tuple(kMachineLosses[i].name.decode() for i in range(kNumMachineLosses))

# Tasks between two checks for divergence.
cdef int64_t TASKS_PER_BURST = 128


cdef class Design:
    """The rows of a matrix in blocks of columns, each (rows, indptr, indices, values, first column).

    Row i of the matrix is row rows[i] of the block, or row i if `rows` is None. Without `indptr`, `indices` and
    `values` the block is an identity.
    """

    cdef CDesign view
    cdef vector[Block] blocks
    cdef object held

    def __init__(self, blocks, int64_t n_rows):
        self.held = blocks
        cdef Block block
        cdef const int32_t[::1] rows, indices
        cdef const int64_t[::1] indptr
        cdef const float[::1] values
        for rows, indptr, indices, values, first in blocks:
            block.rows, block.indptr, block.indices = start(rows), start(indptr), start(indices)
            block.values, block.first = start(values), first
            self.blocks.push_back(block)
        self.view.blocks = self.blocks.data()
        self.view.n_blocks = <int32_t>self.blocks.size()
        self.view.n_rows = n_rows


cdef class Machine:
    """The parameters: a row for each column of the matrix; w0 and the weights of pairs of fields in `shared`."""

    cdef CMachine view
    cdef object held

    def __init__(self, float[:, ::1] rows, float[:, ::1] biases, int width, float[:, ::1] shared,
                 const int32_t[::1] fields, int n_fields, float alpha_w, float alpha_v):
        self.held = (rows, biases, shared, fields)
        self.view.table.rows = &rows[0, 0]
        self.view.table.biases = &biases[0, 0]
        self.view.table.width = width
        self.view.table.segments = <int32_t>(rows.shape[1] // width)
        self.view.table.bias_segments = <int32_t>biases.shape[1]
        self.view.shared = &shared[0, 0]
        self.view.fields = start(fields)
        self.view.n_fields = n_fields
        self.view.penalty_w, self.view.penalty_v = Penalty(alpha_w), Penalty(alpha_v)


cdef class Settings:
    """Settings of a machine's training, which are the same for all epochs.

    Raises ValueError for a loss that is not among LOSSES, or a schedule that is not "adagrad" or "adadelta".
    """

    cdef const MachineLoss* loss
    cdef Schedule schedule

    def __init__(self, *, str loss, str learning_schedule, float learning_rate, float rho, float epsilon):
        if loss not in LOSSES:
            raise ValueError(f"loss is {loss!r}, expected one of {', '.join(map(repr, LOSSES))}")
        self.loss = &kMachineLosses[LOSSES.index(loss)]
        self.schedule = read_schedule(learning_schedule, learning_rate, rho, epsilon)


def fit_epoch(Settings settings, Design design, const float[::1] targets, const float[::1] weights, Machine machine,
              uint64_t seed, uint64_t number, int num_threads):
    """Train one epoch by SGD; return (sum of the losses, whether it diverged). `weights` may be None.

    The parameters are changed in place. An epoch that diverges stops at once, before a step that is not finite. After
    Ctrl-C, which also stops a running task, or a lack of memory the parameters are finite.
    """
    cdef Team team
    cdef EpochTasks[MachineEpoch, MachineRun] tasks
    cdef int thread
    tasks.run = settings.loss.choose(settings.schedule, machine.view)
    cdef MachineEpoch* epoch = new MachineEpoch(
        design.view, start(targets), start(weights), machine.view, settings.schedule, seed, number)
    cdef vector[Outcome] outcomes
    cdef int64_t n_tasks = epoch.n_tasks()
    cdef int64_t task, in_burst
    cdef bint diverged = False
    cdef double total = 0.0
    tasks.epoch = epoch
    try:
        for tasks.first in range(0, n_tasks, TASKS_PER_BURST):
            in_burst = min(TASKS_PER_BURST, n_tasks - tasks.first)
            outcomes.assign(in_burst, Outcome())
            tasks.outcomes = outcomes.data()
            team.start(in_burst, look_at_signals)
            for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
                team.work(thread, tasks)
            finish(team)
            for task in range(in_burst):
                total += outcomes[task].loss
                diverged = diverged or outcomes[task].diverged
            if diverged:
                break
    finally:
        del epoch
    return total, diverged


def predict(Design design, Machine machine, float[::1] scores, int num_threads):
    """Write the score of every row into `scores`."""
    cdef Team team
    cdef ScoreTasks tasks
    cdef int thread
    tasks.design, tasks.machine, tasks.scores = &design.view, &machine.view, &scores[0]
    team.start(tasks.n_tasks(), look_at_signals)
    for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
        team.work(thread, tasks)
    finish(team)


def positions(int64_t size, uint64_t seed, uint64_t epoch):
    """Return the rows in the order in which an epoch visits them, for the tests."""
    cdef Permutation* order = new Permutation(size, seed, epoch)
    try:
        return [order[0](ordinal) for ordinal in range(size)]
    finally:
        del order
