// Operations that the x86 instruction sets share.
#pragma once

#include <immintrin.h>

#include "target.hpp"

namespace lightfm_fast {

inline float estimate_inverse_sqrt(float x) { return _mm_cvtss_f32(_mm_rsqrt_ss(_mm_set1_ps(x))); }

inline float sum_quad(__m128 quad) {
    quad = _mm_add_ps(quad, _mm_movehl_ps(quad, quad));
    return _mm_cvtss_f32(_mm_add_ss(quad, _mm_shuffle_ps(quad, quad, 1)));
}

inline int32_t sum_quad(__m128i quad) {
    quad = _mm_add_epi32(quad, _mm_unpackhi_epi64(quad, quad));
    return _mm_cvtsi128_si32(_mm_add_epi32(quad, _mm_shuffle_epi32(quad, 1)));
}

inline float largest_of_quad(__m128 quad) {
    quad = _mm_max_ps(quad, _mm_movehl_ps(quad, quad));
    return _mm_cvtss_f32(_mm_max_ss(quad, _mm_shuffle_ps(quad, quad, 1)));
}

// In each quarter of four lanes: lane i is the sum of that quarter of values[i].
template <class Lanes>
LIGHTFM_FAST_INLINE inline Lanes sum_quads(const Lanes* values) {
    const Lanes ab = interleave_low(values[0], values[1]) + interleave_high(values[0], values[1]);
    const Lanes cd = interleave_low(values[2], values[3]) + interleave_high(values[2], values[3]);
    return interleave_low_pairs(ab, cd) + interleave_high_pairs(ab, cd);
}

// Transposes each quarter of four rows.
template <class Lanes>
LIGHTFM_FAST_INLINE inline void transpose_quads(Lanes* rows) {
    const Lanes ab_low = interleave_low(rows[0], rows[1]), ab_high = interleave_high(rows[0], rows[1]);
    const Lanes cd_low = interleave_low(rows[2], rows[3]), cd_high = interleave_high(rows[2], rows[3]);
    rows[0] = interleave_low_pairs(ab_low, cd_low);
    rows[1] = interleave_high_pairs(ab_low, cd_low);
    rows[2] = interleave_low_pairs(ab_high, cd_high);
    rows[3] = interleave_high_pairs(ab_high, cd_high);
}

}  // namespace lightfm_fast
