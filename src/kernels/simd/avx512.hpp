// AVX-512 with BW: 16 lanes, comparisons into masks.
#pragma once

#include <cstdint>
#include <cstring>

#include "x86.hpp"

namespace lightfm_fast {

constexpr int kLanes = 16;
constexpr int kVectorRegisters = 32;
constexpr bool kIsFallback = false;

struct Vec {
    __m512 raw;
};
struct Ints {
    __m512i raw;
};
struct Mask {
    __mmask16 raw;
};

LIGHTFM_FAST_INLINE inline Vec load(const float* address) { return {_mm512_loadu_ps(address)}; }
LIGHTFM_FAST_INLINE inline void store(float* address, Vec value) { _mm512_storeu_ps(address, value.raw); }
LIGHTFM_FAST_INLINE inline Vec splat(float value) { return {_mm512_set1_ps(value)}; }
LIGHTFM_FAST_INLINE inline Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec larger(Vec a, Vec b) { return {_mm512_max_ps(a.raw, b.raw)}; }

LIGHTFM_FAST_INLINE inline void store(int32_t* address, Ints value) { _mm512_storeu_si512(address, value.raw); }
LIGHTFM_FAST_INLINE inline Ints splat(int32_t value) { return {_mm512_set1_epi32(value)}; }
LIGHTFM_FAST_INLINE inline Ints operator+(Ints a, Ints b) { return {_mm512_add_epi32(a.raw, b.raw)}; }

LIGHTFM_FAST_INLINE inline Vec interleave_low(Vec a, Vec b) { return {_mm512_unpacklo_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec interleave_high(Vec a, Vec b) { return {_mm512_unpackhi_ps(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec interleave_low_pairs(Vec a, Vec b) {
    return {_mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a.raw), _mm512_castps_pd(b.raw)))};
}
LIGHTFM_FAST_INLINE inline Vec interleave_high_pairs(Vec a, Vec b) {
    return {_mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a.raw), _mm512_castps_pd(b.raw)))};
}
LIGHTFM_FAST_INLINE inline Ints interleave_low(Ints a, Ints b) { return {_mm512_unpacklo_epi32(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Ints interleave_high(Ints a, Ints b) { return {_mm512_unpackhi_epi32(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Ints interleave_low_pairs(Ints a, Ints b) { return {_mm512_unpacklo_epi64(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Ints interleave_high_pairs(Ints a, Ints b) { return {_mm512_unpackhi_epi64(a.raw, b.raw)}; }

LIGHTFM_FAST_INLINE inline Mask is_greater(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.raw, b.raw, _CMP_GT_OQ)}; }
LIGHTFM_FAST_INLINE inline Mask is_equal(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.raw, b.raw, _CMP_EQ_OQ)}; }
LIGHTFM_FAST_INLINE inline Mask is_not_at_least(Vec a, Vec b) {
    return {_mm512_cmp_ps_mask(a.raw, b.raw, _CMP_NGE_UQ)};
}
LIGHTFM_FAST_INLINE inline Vec select(Mask mask, Vec a, Vec b) {
    return {_mm512_mask_blend_ps(mask.raw, b.raw, a.raw)};
}
LIGHTFM_FAST_INLINE inline uint32_t bits(Mask mask) { return mask.raw; }

// A masked addition: it runs on another port than comparisons into masks, which limit the speed.
LIGHTFM_FAST_INLINE inline void count_at_least(Vec a, Vec b, Ints& counts) {
    const __mmask16 reached = _mm512_cmp_ps_mask(a.raw, b.raw, _CMP_GE_OQ);
    counts.raw = _mm512_mask_add_epi32(counts.raw, reached, counts.raw, _mm512_set1_epi32(1));
}

LIGHTFM_FAST_INLINE inline Vec magnitude(Vec value) { return {_mm512_abs_ps(value.raw)}; }
LIGHTFM_FAST_INLINE inline Vec estimate_inverse_sqrt(Vec x) { return {_mm512_rsqrt14_ps(x.raw)}; }
LIGHTFM_FAST_INLINE inline float sum(Vec value) { return _mm512_reduce_add_ps(value.raw); }
LIGHTFM_FAST_INLINE inline int32_t sum(Ints value) { return _mm512_reduce_add_epi32(value.raw); }
LIGHTFM_FAST_INLINE inline float largest_lane(Vec value) { return _mm512_reduce_max_ps(value.raw); }

template <int kOrder>
LIGHTFM_FAST_INLINE inline Vec choose_blocks(Vec a, Vec b) {
    return {_mm512_shuffle_f32x4(a.raw, b.raw, kOrder)};
}
template <int kOrder>
LIGHTFM_FAST_INLINE inline Ints choose_blocks(Ints a, Ints b) {
    return {_mm512_shuffle_i32x4(a.raw, b.raw, kOrder)};
}

// Quarter q is the sum of the quarters of quads[q].
template <class Lanes>
LIGHTFM_FAST_INLINE inline Lanes sum_blocks(const Lanes* quads) {
    const Lanes low = choose_blocks<0x44>(quads[0], quads[1]) + choose_blocks<0xEE>(quads[0], quads[1]);
    const Lanes high = choose_blocks<0x44>(quads[2], quads[3]) + choose_blocks<0xEE>(quads[2], quads[3]);
    return choose_blocks<0x88>(low, high) + choose_blocks<0xDD>(low, high);
}

LIGHTFM_FAST_INLINE inline void transpose(Vec* rows) {
    for (int quad = 0; quad < kLanes; quad += 4) transpose_quads(rows + quad);
    for (int i = 0; i < 4; ++i) {
        const Vec low_first = choose_blocks<0x44>(rows[i], rows[4 + i]);
        const Vec low_last = choose_blocks<0xEE>(rows[i], rows[4 + i]);
        const Vec high_first = choose_blocks<0x44>(rows[8 + i], rows[12 + i]);
        const Vec high_last = choose_blocks<0xEE>(rows[8 + i], rows[12 + i]);
        rows[i] = choose_blocks<0x88>(low_first, high_first);
        rows[4 + i] = choose_blocks<0xDD>(low_first, high_first);
        rows[8 + i] = choose_blocks<0x88>(low_last, high_last);
        rows[12 + i] = choose_blocks<0xDD>(low_last, high_last);
    }
}

LIGHTFM_FAST_INLINE inline Ints round_to_ints(Vec value, int) { return {_mm512_cvtps_epi32(value.raw)}; }

template <class Byte>
LIGHTFM_FAST_INLINE inline void store_bytes(Byte* address, Ints value) {
    const __m128i bytes = _mm512_cvtepi32_epi8(value.raw);
    std::memcpy(address, &bytes, sizeof(bytes));
}

// Adds the products of bytes 4 i to 4 i + 3 to lane i.
// Two products, of 2^14 at most, fit into 16 bits.
LIGHTFM_FAST_INLINE inline Ints add_products(Ints total, const uint8_t* a, const int8_t* b) {
    const __m512i pairs = _mm512_maddubs_epi16(_mm512_loadu_si512(a), _mm512_loadu_si512(b));
    return {_mm512_add_epi32(total.raw, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))};
}

// numbers[i] = base[places[i]] for i < 16. `numbers` may be `places`.
inline void gather(const int32_t* base, const int32_t* places, int32_t* numbers) {
    _mm512_storeu_si512(numbers, _mm512_i32gather_epi32(_mm512_loadu_si512(places), base, 4));
}

// Bit i, of 16, is set if the word at base + 4 places[i] has all bits of masks[i].
inline uint32_t words_with_all(const uint8_t* base, const uint32_t* places, const uint32_t* masks) {
    const __m512i mask = _mm512_loadu_si512(masks);
    const __m512i words = _mm512_i32gather_epi32(_mm512_loadu_si512(places), base, 4);
    return _mm512_cmpeq_epi32_mask(_mm512_and_si512(words, mask), mask);
}

}  // namespace lightfm_fast
