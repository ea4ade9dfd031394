// What this file is compiled with and for: the compiler, the instruction set and the widest vector of floats.
#pragma once

#if defined(__AVX512F__) || defined(__AVX2__) || defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#define LIGHTFM_FAST_X86 1
#endif

namespace lightfm_fast {

// For what the inner loops call: as a function it would read its object's members anew after every store, and compilers
// stop inlining by themselves where a file has as many instances as the training steps.
#if defined(__GNUC__)
#define LIGHTFM_FAST_INLINE __attribute__((always_inline))
#else
#define LIGHTFM_FAST_INLINE
#endif

// Rows of parameters are padded to kRowAlignment floats, one cache line and a whole number of vectors at every
// instruction-set level, so no loop over a row has a tail and the layout is the same in every build.
constexpr int kRowAlignment = 16;

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

// The pointer, its origin hidden from the compiler, which would compute each address beside it from the beginning.
LIGHTFM_FAST_INLINE inline float* opaque(float* pointer) {
#if defined(__GNUC__)
    asm("" : "+r"(pointer));
#endif
    return pointer;
}

}  // namespace lightfm_fast
