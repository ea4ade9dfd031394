// The compiler and the instruction set of this build. One header per instruction set holds the same operations.
#pragma once

#include <cstdint>

// Forces a function to be inlined. In files with as many instances as the training steps compilers stop inlining, and a
// call makes the inner loops reload their object's members after every store.
//
// The opposite keeps one copy of a function that many instances call: the core compiles in less time.
#if defined(__GNUC__)
#define LIGHTFM_FAST_INLINE __attribute__((always_inline))
#define LIGHTFM_FAST_NOT_INLINE __attribute__((noinline))
#else
#define LIGHTFM_FAST_INLINE
#define LIGHTFM_FAST_NOT_INLINE
#endif

namespace lightfm_fast {

// Rows of parameters are padded to a multiple of kRowAlignment floats: one cache line, and a whole number of vectors at
// every instruction-set level. So no loop over a row has a tail, and all builds have the same layout.
constexpr int kRowAlignment = 16;

// Hides the pointer's origin. Otherwise the compiler computes each address near it from the start of the table.
LIGHTFM_FAST_INLINE inline float* opaque(float* pointer) {
#if defined(__GNUC__)
    asm("" : "+r"(pointer));
#endif
    return pointer;
}

}  // namespace lightfm_fast

#if defined(__AVX512BW__)
#include "avx512.hpp"
#elif defined(__AVX2__)
#include "avx2.hpp"
#elif defined(__SSE2__) || defined(_M_X64)
#include "sse2.hpp"
#elif defined(__aarch64__) || defined(_M_ARM64)
#include "neon.hpp"
#else
#include "portable.hpp"
#endif
