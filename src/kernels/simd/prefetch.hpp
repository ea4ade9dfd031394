// Prefetches of the memory that a kernel reads or writes next.
#pragma once

#if defined(_MSC_VER)
#include <intrin.h>
#endif

#include "target.hpp"

namespace lightfm_fast {

// The cache level to fetch into, as the locality argument of __builtin_prefetch.
enum CacheLevel : int { kSecondLevel = 2, kFirstLevel = 3 };

// Functions that only prefetch must be inlined: GCC takes such a function for one without effects and drops its calls.
template <CacheLevel kLevel = kFirstLevel, bool kWrites = false>
LIGHTFM_FAST_INLINE inline void prefetch_line(const void* address) {
#if !defined(_MSC_VER)
    __builtin_prefetch(address, kWrites, kLevel);
#elif defined(_M_X64)
    _mm_prefetch(static_cast<const char*>(address), kLevel == kFirstLevel ? _MM_HINT_T0 : _MM_HINT_T1);
#elif defined(_M_ARM64)
    __prefetch(address);
#endif
}

LIGHTFM_FAST_INLINE inline void prefetch_read(const void* address) { prefetch_line(address); }

template <CacheLevel kLevel = kFirstLevel>
LIGHTFM_FAST_INLINE inline void prefetch(const float* address, int width) {
    for (int i = 0; i < width; i += kRowAlignment) prefetch_line<kLevel, true>(address + i);
}

}  // namespace lightfm_fast
