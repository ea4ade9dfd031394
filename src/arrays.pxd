"""Addresses of arrays that may be None or empty."""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t

ctypedef fused number:
    int8_t
    uint8_t
    int32_t
    int64_t
    float


cdef inline const number* start(const number[::1] array) noexcept nogil:
    if array is None or array.shape[0] == 0:
        return NULL
    return &array[0]
