"""The kernels' types that more than one module hands over."""

from libc.stdint cimport int32_t, int64_t
from libcpp cimport bool as cbool


cdef extern from "<kernels/table.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass Table:
        float* rows
        float* biases
        int32_t width
        int32_t segments
        int32_t bias_segments

cdef extern from "<kernels/optimizers.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass Schedule:
        cbool is_adadelta
        float learning_rate
        float rho
        float epsilon

cdef extern from "<kernels/features.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass FeatureRows:
        const int64_t* indptr
        const int32_t* indices
        const float* values
        const int32_t* n_own
        const int32_t* copied
        int32_t n_copied

cdef extern from "<kernels/outcome.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass Outcome:
        Outcome()
        double loss
        int64_t samples
        cbool diverged

    cdef cppclass EpochTasks[Epoch, Run]:
        Run run
        const Epoch* epoch
        int64_t first
        Outcome* outcomes


cdef inline Schedule read_schedule(str name, float learning_rate, float rho, float epsilon) except *:
    cdef Schedule schedule
    if name not in ("adagrad", "adadelta"):
        raise ValueError(f"learning_schedule is {name!r}, expected 'adagrad' or 'adadelta'")
    schedule.is_adadelta = name == "adadelta"
    schedule.learning_rate, schedule.rho, schedule.epsilon = learning_rate, rho, epsilon
    return schedule
