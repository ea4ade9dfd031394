"""Threads that share tasks, as Python's callers see them: they are interrupted by signals and raise MemoryError.

    team.start(n_tasks, look_at_signals)
    for thread in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static", chunksize=1):
        team.work(thread, task)
    finish(team)
"""

from libc.stdint cimport int64_t
from libcpp cimport bool as cbool


cdef extern from "<kernels/team.hpp>" namespace "lightfm_fast" nogil:
    ctypedef cbool (*Ask)() noexcept

    cdef cppclass Team:
        Team()
        void start(int64_t n_tasks, Ask ask)
        void work[Task](int thread, Task& task)
        cbool is_interrupted()
        cbool lacks_memory()

cdef extern from "Python.h":
    int run_signal_handlers "PyErr_CheckSignals"() noexcept


cdef inline cbool look_at_signals() noexcept nogil:
    """Whether a signal's handler raised. Its exception stays set until finish()."""
    with gil:
        return run_signal_handlers() < 0


cdef inline int finish(Team& team) except -1:
    """Raise what stopped the team, if anything did."""
    if team.is_interrupted():
        return -1  # with the handler's exception set
    if team.lacks_memory():
        raise MemoryError(
            "not enough memory for the working space of every thread: use fewer threads, or ask for less at once "
            "(components, negatives or recommendations)")
    return 0
