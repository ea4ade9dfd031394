"""The kernels' types that more than one module hands over."""

from libc.stdint cimport int32_t, int64_t


cdef extern from "<kernels/table.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass Table:
        float* rows
        float* biases
        int32_t width
        int32_t segments
        int32_t bias_segments

cdef extern from "<kernels/features.hpp>" namespace "lightfm_fast" nogil:
    cdef cppclass FeatureRows:
        const int64_t* indptr
        const int32_t* indices
        const float* values
        const int32_t* n_own
        const int32_t* copied
        int32_t n_copied
