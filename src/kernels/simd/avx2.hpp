// AVX2: 8 lanes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "x86.hpp"

namespace lightfm_fast {

constexpr int kLanes = 8;
constexpr int kVectorRegisters = 16;
constexpr bool kIsFallback = false;

struct Vec {
    __m256 raw;
};
struct Ints {
    __m256i raw;
};
struct Mask {
    __m256 raw;
};

LIGHTFM_FAST_INLINE inline Vec load(const float* address) { return {_mm256_loadu_ps(address)}; }
LIGHTFM_FAST_INLINE inline void store(float* address, Vec value) { _mm256_storeu_ps(address, value.raw); }
LIGHTFM_FAST_INLINE inline Vec splat(float value) { return {_mm256_set1_ps(value)}; }
LIGHTFM_FAST_INLINE inline Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec larger(Vec a, Vec b) { return {_mm256_max_ps(a.raw, b.raw)}; }

LIGHTFM_FAST_INLINE inline void store(int32_t* address, Ints value) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(address), value.raw);
}
LIGHTFM_FAST_INLINE inline Ints splat(int32_t value) { return {_mm256_set1_epi32(value)}; }
LIGHTFM_FAST_INLINE inline Ints operator+(Ints a, Ints b) { return {_mm256_add_epi32(a.raw, b.raw)}; }

LIGHTFM_FAST_INLINE inline Vec interleave_low(Vec a, Vec b) { return {_mm256_unpacklo_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec interleave_high(Vec a, Vec b) { return {_mm256_unpackhi_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec interleave_low_pairs(Vec a, Vec b) {
    return {_mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a.raw), _mm256_castps_pd(b.raw)))};
}
LIGHTFM_FAST_INLINE inline Vec interleave_high_pairs(Vec a, Vec b) {
    return {_mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a.raw), _mm256_castps_pd(b.raw)))};
}
LIGHTFM_FAST_INLINE inline Ints interleave_low(Ints a, Ints b) { return {_mm256_unpacklo_epi32(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Ints interleave_high(Ints a, Ints b) { return {_mm256_unpackhi_epi32(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Ints interleave_low_pairs(Ints a, Ints b) { return {_mm256_unpacklo_epi64(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Ints interleave_high_pairs(Ints a, Ints b) { return {_mm256_unpackhi_epi64(a.raw, b.raw)}; }

LIGHTFM_FAST_INLINE inline Mask is_greater(Vec a, Vec b) { return {_mm256_cmp_ps(a.raw, b.raw, _CMP_GT_OQ)}; }
LIGHTFM_FAST_INLINE inline Mask is_equal(Vec a, Vec b) { return {_mm256_cmp_ps(a.raw, b.raw, _CMP_EQ_OQ)}; }
LIGHTFM_FAST_INLINE inline Mask is_not_at_least(Vec a, Vec b) { return {_mm256_cmp_ps(a.raw, b.raw, _CMP_NGE_UQ)}; }
LIGHTFM_FAST_INLINE inline Vec select(Mask mask, Vec a, Vec b) { return {_mm256_blendv_ps(b.raw, a.raw, mask.raw)}; }
LIGHTFM_FAST_INLINE inline uint32_t bits(Mask mask) { return static_cast<uint32_t>(_mm256_movemask_ps(mask.raw)); }

// A true comparison is -1.
LIGHTFM_FAST_INLINE inline void count_at_least(Vec a, Vec b, Ints& counts) {
    counts.raw = _mm256_sub_epi32(counts.raw, _mm256_castps_si256(_mm256_cmp_ps(a.raw, b.raw, _CMP_GE_OQ)));
}

LIGHTFM_FAST_INLINE inline Vec magnitude(Vec value) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), value.raw)}; }
LIGHTFM_FAST_INLINE inline Vec estimate_inverse_sqrt(Vec x) { return {_mm256_rsqrt_ps(x.raw)}; }
LIGHTFM_FAST_INLINE inline float sum(Vec value) {
    return sum_quad(_mm_add_ps(_mm256_castps256_ps128(value.raw), _mm256_extractf128_ps(value.raw, 1)));
}
LIGHTFM_FAST_INLINE inline int32_t sum(Ints value) {
    return sum_quad(_mm_add_epi32(_mm256_castsi256_si128(value.raw), _mm256_extracti128_si256(value.raw, 1)));
}
LIGHTFM_FAST_INLINE inline float largest_lane(Vec value) {
    return largest_of_quad(_mm_max_ps(_mm256_castps256_ps128(value.raw), _mm256_extractf128_ps(value.raw, 1)));
}

template <int kOrder>
LIGHTFM_FAST_INLINE inline Vec choose_blocks(Vec a, Vec b) {
    return {_mm256_permute2f128_ps(a.raw, b.raw, kOrder)};
}
template <int kOrder>
LIGHTFM_FAST_INLINE inline Ints choose_blocks(Ints a, Ints b) {
    return {_mm256_permute2x128_si256(a.raw, b.raw, kOrder)};
}

// Half q is the sum of the halves of quads[q].
template <class Lanes>
LIGHTFM_FAST_INLINE inline Lanes sum_blocks(const Lanes* quads) {
    return choose_blocks<0x20>(quads[0], quads[1]) + choose_blocks<0x31>(quads[0], quads[1]);
}

LIGHTFM_FAST_INLINE inline void transpose(Vec* rows) {
    transpose_quads(rows);
    transpose_quads(rows + 4);
    for (int i = 0; i < 4; ++i) {
        const Vec low = choose_blocks<0x20>(rows[i], rows[4 + i]);
        rows[4 + i] = choose_blocks<0x31>(rows[i], rows[4 + i]);
        rows[i] = low;
    }
}

LIGHTFM_FAST_INLINE inline Ints round_to_ints(Vec value, int) { return {_mm256_cvtps_epi32(value.raw)}; }

template <class Byte>
LIGHTFM_FAST_INLINE inline void store_bytes(Byte* address, Ints value) {
    const __m256i low = _mm256_and_si256(value.raw, _mm256_set1_epi32(0xFF));
    const __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(address), _mm_packus_epi16(halves, halves));
}

// Adds the products of bytes 4 i to 4 i + 3 to lane i.
// Two products, of 2^14 at most, fit into 16 bits.
LIGHTFM_FAST_INLINE inline Ints add_products(Ints total, const uint8_t* a, const int8_t* b) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(a)),
                                               _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b)));
    return {_mm256_add_epi32(total.raw, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))};
}

// Bit i, of 16, is set if the word at base + 4 places[i] has all bits of masks[i]. Not by gathers, which are slow on
// AMD's processors.
inline uint32_t words_with_all(const uint8_t* base, const uint32_t* places, const uint32_t* masks) {
    const auto word = [&](int i) LIGHTFM_FAST_INLINE {
        int32_t found;
        std::memcpy(&found, base + 4 * static_cast<size_t>(places[i]), sizeof(found));
        return found;
    };
    uint32_t bits = 0;
    for (int i = 0; i < 16; i += kLanes) {
        const __m256i words = _mm256_setr_epi32(word(i), word(i + 1), word(i + 2), word(i + 3), word(i + 4),
                                                word(i + 5), word(i + 6), word(i + 7));
        const __m256i mask = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(masks + i));
        const __m256i has_all = _mm256_cmpeq_epi32(_mm256_and_si256(words, mask), mask);
        bits |= static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(has_all))) << i;
    }
    return bits;
}

}  // namespace lightfm_fast
