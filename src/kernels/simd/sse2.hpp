// SSE2, which every x86-64 processor has: 4 lanes.
#pragma once

#include <cstdint>
#include <cstring>

#include "x86.hpp"

namespace lightfm_fast {

constexpr int kLanes = 4;
constexpr int kVectorRegisters = 16;
constexpr bool kIsFallback = true;

struct Vec {
    __m128 raw;
};
struct Ints {
    __m128i raw;
};
struct Mask {
    __m128 raw;
};

LIGHTFM_FAST_INLINE inline Vec load(const float* address) { return {_mm_loadu_ps(address)}; }
LIGHTFM_FAST_INLINE inline void store(float* address, Vec value) { _mm_storeu_ps(address, value.raw); }
LIGHTFM_FAST_INLINE inline Vec splat(float value) { return {_mm_set1_ps(value)}; }
LIGHTFM_FAST_INLINE inline Vec operator+(Vec a, Vec b) { return {_mm_add_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec operator-(Vec a, Vec b) { return {_mm_sub_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec operator*(Vec a, Vec b) { return {_mm_mul_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec operator/(Vec a, Vec b) { return {_mm_div_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec larger(Vec a, Vec b) { return {_mm_max_ps(a.raw, b.raw)}; }

LIGHTFM_FAST_INLINE inline void store(int32_t* address, Ints value) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(address), value.raw);
}
LIGHTFM_FAST_INLINE inline Ints splat(int32_t value) { return {_mm_set1_epi32(value)}; }
LIGHTFM_FAST_INLINE inline Ints operator+(Ints a, Ints b) { return {_mm_add_epi32(a.raw, b.raw)}; }

LIGHTFM_FAST_INLINE inline Vec interleave_low(Vec a, Vec b) { return {_mm_unpacklo_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec interleave_high(Vec a, Vec b) { return {_mm_unpackhi_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec interleave_low_pairs(Vec a, Vec b) {
    return {_mm_castpd_ps(_mm_unpacklo_pd(_mm_castps_pd(a.raw), _mm_castps_pd(b.raw)))};
}
LIGHTFM_FAST_INLINE inline Vec interleave_high_pairs(Vec a, Vec b) {
    return {_mm_castpd_ps(_mm_unpackhi_pd(_mm_castps_pd(a.raw), _mm_castps_pd(b.raw)))};
}
LIGHTFM_FAST_INLINE inline Ints interleave_low(Ints a, Ints b) { return {_mm_unpacklo_epi32(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Ints interleave_high(Ints a, Ints b) { return {_mm_unpackhi_epi32(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Ints interleave_low_pairs(Ints a, Ints b) { return {_mm_unpacklo_epi64(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Ints interleave_high_pairs(Ints a, Ints b) { return {_mm_unpackhi_epi64(a.raw, b.raw)}; }

LIGHTFM_FAST_INLINE inline Mask is_greater(Vec a, Vec b) { return {_mm_cmpgt_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Mask is_equal(Vec a, Vec b) { return {_mm_cmpeq_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Mask is_not_at_least(Vec a, Vec b) { return {_mm_cmpnge_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec select(Mask mask, Vec a, Vec b) {
    return {_mm_or_ps(_mm_and_ps(mask.raw, a.raw), _mm_andnot_ps(mask.raw, b.raw))};
}
LIGHTFM_FAST_INLINE inline uint32_t bits(Mask mask) { return static_cast<uint32_t>(_mm_movemask_ps(mask.raw)); }

// A true comparison is -1.
LIGHTFM_FAST_INLINE inline void count_at_least(Vec a, Vec b, Ints& counts) {
    counts.raw = _mm_sub_epi32(counts.raw, _mm_castps_si128(_mm_cmpge_ps(a.raw, b.raw)));
}

LIGHTFM_FAST_INLINE inline Vec magnitude(Vec value) { return {_mm_andnot_ps(_mm_set1_ps(-0.0f), value.raw)}; }
LIGHTFM_FAST_INLINE inline Vec estimate_inverse_sqrt(Vec x) { return {_mm_rsqrt_ps(x.raw)}; }
LIGHTFM_FAST_INLINE inline float sum(Vec value) { return sum_quad(value.raw); }
LIGHTFM_FAST_INLINE inline int32_t sum(Ints value) { return sum_quad(value.raw); }
LIGHTFM_FAST_INLINE inline float largest_lane(Vec value) { return largest_of_quad(value.raw); }

// A vector is one quad.
template <class Lanes>
LIGHTFM_FAST_INLINE inline Lanes sum_blocks(const Lanes* quads) {
    return quads[0];
}

LIGHTFM_FAST_INLINE inline void transpose(Vec* rows) { transpose_quads(rows); }

// Adds an offset and truncates, instead of _mm_cvtps_epi32, which rounds some near-halves the other way: training with
// sketches would give other bits than earlier builds of this level.
LIGHTFM_FAST_INLINE inline Ints round_to_ints(Vec value, int largest) {
    const __m128 moved = _mm_add_ps(value.raw, _mm_set1_ps(static_cast<float>(largest) + 0.5f));
    return {_mm_sub_epi32(_mm_cvttps_epi32(moved), _mm_set1_epi32(largest))};
}

template <class Byte>
LIGHTFM_FAST_INLINE inline void store_bytes(Byte* address, Ints value) {
    const __m128i low = _mm_and_si128(value.raw, _mm_set1_epi32(0xFF));
    const __m128i halves = _mm_packs_epi32(low, low);
    const int32_t bytes = _mm_cvtsi128_si32(_mm_packus_epi16(halves, halves));
    std::memcpy(address, &bytes, sizeof(bytes));
}

// Adds the products of bytes 4 i to 4 i + 3 to lane i.
LIGHTFM_FAST_INLINE inline Ints add_products(Ints total, const uint8_t* a, const int8_t* b) {
    const __m128i left = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a));
    const __m128i right = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)), zero = _mm_setzero_si128();
    // Shifts by a byte extend the sign.
    const __m128i low =
        _mm_madd_epi16(_mm_unpacklo_epi8(left, zero), _mm_srai_epi16(_mm_unpacklo_epi8(zero, right), 8));
    const __m128i high =
        _mm_madd_epi16(_mm_unpackhi_epi8(left, zero), _mm_srai_epi16(_mm_unpackhi_epi8(zero, right), 8));
    const __m128 a_pairs = _mm_castsi128_ps(low), b_pairs = _mm_castsi128_ps(high);
    const __m128i even = _mm_castps_si128(_mm_shuffle_ps(a_pairs, b_pairs, 0x88));
    const __m128i odd = _mm_castps_si128(_mm_shuffle_ps(a_pairs, b_pairs, 0xDD));
    return {_mm_add_epi32(total.raw, _mm_add_epi32(even, odd))};
}

}  // namespace lightfm_fast
