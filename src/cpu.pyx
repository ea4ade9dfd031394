# distutils: language = c++
"""The instruction-set level of this CPU and its operating system, and how the core was compiled."""

cdef extern from "cpu.hpp" namespace "lightfm_fast" nogil:
    const char* levels_built_text "lightfm_fast::levels_built"
    const char* compiler_text "lightfm_fast::compiler"
    bint has_openmp
    int count_threads "lightfm_fast::max_threads" ()
    int x86_64_level()

levels_built = tuple(levels_built_text.decode("ascii").split(","))
levels_supported = ("baseline", *(f"x86_64_v{number}" for number in range(3, x86_64_level() + 1)))
openmp = has_openmp
compiler = compiler_text.decode("utf-8")


def max_threads():
    """Return the number of threads that OpenMP would use now: all CPUs, or OMP_NUM_THREADS."""
    return count_threads()
