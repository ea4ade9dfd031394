// Prefetches of the memory that a kernel reads or writes next.
#pragma once

#include "target.hpp"

namespace lightfm_fast {

// What only fetches ahead is to be inlined, and so is every function of nothing else: GCC takes such a function for one that
// does nothing, and drops calls of it.
LIGHTFM_FAST_INLINE inline void prefetch_read(const void* address) {
#if defined(__GNUC__)
    __builtin_prefetch(address);
#elif defined(LIGHTFM_FAST_X86)
    _mm_prefetch(static_cast<const char*>(address), _MM_HINT_T0);
#endif
}

// How near to fetch, in the numbers of __builtin_prefetch.
enum CacheLevel : int { kSecondLevel = 2, kFirstLevel = 3 };

template <CacheLevel kLevel = kFirstLevel>
LIGHTFM_FAST_INLINE inline void prefetch(const float* address, int width) {
#if defined(__GNUC__)
    for (int i = 0; i < width; i += kRowAlignment) __builtin_prefetch(address + i, 1, kLevel);
#elif defined(LIGHTFM_FAST_X86)
    for (int i = 0; i < width; i += kRowAlignment)
        _mm_prefetch(reinterpret_cast<const char*>(address + i), kLevel == kFirstLevel ? _MM_HINT_T0 : _MM_HINT_T1);
#endif
}

}  // namespace lightfm_fast
