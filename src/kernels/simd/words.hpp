// Vectors of 32-bit words: gathers, tests of bits, and the lowest bit of a mask.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "target.hpp"

namespace lightfm_fast {

// numbers[i] = base[places[i]], for i < 16; they may take the places of the places.
inline void gather(const int32_t* base, const int32_t* places, int32_t* numbers) {
#if defined(__GNUC__) && defined(__AVX512F__)
    _mm512_storeu_si512(numbers, _mm512_i32gather_epi32(_mm512_loadu_si512(places), base, 4));
#else
    for (int i = 0; i < 16; ++i) numbers[i] = base[places[i]];
#endif
}

// Bit i, of 16: whether all bits of masks[i] are set in the i-th of some words, the one at base + 4 places[i].
inline uint32_t words_with_all(const uint8_t* base, const uint32_t* places, const uint32_t* masks) {
#if defined(__GNUC__) && defined(__AVX512F__)
    const __m512i mask = _mm512_loadu_si512(masks);
    const __m512i words = _mm512_i32gather_epi32(_mm512_loadu_si512(places), base, 4);
    return _mm512_cmpeq_epi32_mask(_mm512_and_si512(words, mask), mask);
#else
    uint32_t bits = 0;
    for (int i = 0; i < 16; ++i) {
        uint32_t word;
        std::memcpy(&word, base + 4 * static_cast<size_t>(places[i]), sizeof(word));
        bits |= static_cast<uint32_t>((word & masks[i]) == masks[i]) << i;
    }
    return bits;
#endif
}

// Index of the lowest bit set; there must be one.
inline int lowest_bit(uint32_t bits) {
#if defined(__GNUC__)
    return __builtin_ctz(bits);
#else
    int index = 0;
    while (!(bits >> index & 1)) ++index;
    return index;
#endif
}

}  // namespace lightfm_fast
