// Words of 32 and 64 bits: gathers, tests of bits, the lowest bit of a mask, and wide products.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(_MSC_VER)
#include <intrin.h>
#endif

#include "target.hpp"

namespace lightfm_fast {

#if !defined(__AVX512BW__)  // AVX-512 has its own versions
// numbers[i] = base[places[i]] for i < 16. `numbers` may be `places`.
inline void gather(const int32_t* base, const int32_t* places, int32_t* numbers) {
    for (int i = 0; i < 16; ++i) numbers[i] = base[places[i]];
}
#endif

#if !defined(__AVX2__)  // AVX2 and AVX-512 have their own versions
// Bit i, of 16, is set if the word at base + 4 places[i] has all bits of masks[i].
inline uint32_t words_with_all(const uint8_t* base, const uint32_t* places, const uint32_t* masks) {
    uint32_t bits = 0;
    for (int i = 0; i < 16; ++i) {
        uint32_t word;
        std::memcpy(&word, base + 4 * static_cast<size_t>(places[i]), sizeof(word));
        bits |= static_cast<uint32_t>((word & masks[i]) == masks[i]) << i;
    }
    return bits;
}
#endif

// Index of the lowest bit set; there must be one.
inline int lowest_bit(uint32_t bits) {
#if defined(_MSC_VER)
    unsigned long index;
    _BitScanForward(&index, bits);
    return static_cast<int>(index);
#else
    return __builtin_ctz(bits);
#endif
}

// The upper half of a product, exclusive-or the lower half.
inline uint64_t fold(uint64_t a, uint64_t b) {
#if defined(__SIZEOF_INT128__)
    const auto product = static_cast<unsigned __int128>(a) * b;
    return static_cast<uint64_t>(product >> 64) ^ static_cast<uint64_t>(product);
#elif defined(_MSC_VER) && (defined(_M_X64) || defined(_M_ARM64))
    return __umulh(a, b) ^ (a * b);
#else
    const uint64_t low = uint64_t{static_cast<uint32_t>(a)} * static_cast<uint32_t>(b);
    const uint64_t cross = (a >> 32) * static_cast<uint32_t>(b) + (low >> 32);
    const uint64_t other = uint64_t{static_cast<uint32_t>(a)} * (b >> 32) + static_cast<uint32_t>(cross);
    const uint64_t high = (a >> 32) * (b >> 32) + (cross >> 32) + (other >> 32);
    return high ^ (other << 32 | static_cast<uint32_t>(low));
#endif
}

}  // namespace lightfm_fast
