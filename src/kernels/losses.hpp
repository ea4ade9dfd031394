// Every loss, once: its value and its slope at a score (pointwise) or a margin score_positive - score_negative
// (pairwise).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace lightfm_fast {

struct LossAt {
    float value;
    float slope;
};

// exp(x) for x <= 0, relative error below 3e-7: 2^n 2^f with n an integer and f in [-1/2, 1/2], and 2^f by the
// Taylor polynomial of degree 6, whose remainder there is (f ln 2)^7 / 7! < 1.3e-7.
inline float exp_of_negative(float x) {
    float y = x * 1.44269504f;
    y = y > -126.0f ? y : -126.0f;  // NaN goes to the floor too: callers judge the score, not this
    const int32_t n = static_cast<int32_t>(y - 0.5f);
    const float f = y - static_cast<float>(n);
    float p = 1.5403530e-4f;
    p = p * f + 1.3333558e-3f;
    p = p * f + 9.6181291e-3f;
    p = p * f + 5.5504109e-2f;
    p = p * f + 2.4022651e-1f;
    p = p * f + 6.9314718e-1f;
    p = p * f + 1.0f;
    const int32_t bits = (n + 127) << 23;
    float scale;
    std::memcpy(&scale, &bits, sizeof(scale));
    return p * scale;
}

// log(1 + e) for e in [0, 1], absolute error below 1e-6, by the series of atanh: with z = e / (2 + e) <= 1/3,
// log(1 + e) = 2 (z + z^3/3 + z^5/5 + ...).
inline float log1p_of_unit(float e) {
    const float z = e / (2.0f + e);
    const float q = z * z;
    float p = 2.0f / 11.0f;
    p = p * q + 2.0f / 9.0f;
    p = p * q + 2.0f / 7.0f;
    p = p * q + 2.0f / 5.0f;
    p = p * q + 2.0f / 3.0f;
    p = p * q + 2.0f;
    return p * z;
}

// log(1 + exp(-m)), m the score times the label in {-1, +1}, or the margin of a pair (Rendle 2009). Its slope is
// -1 / (1 + exp(m)). Both go through exp(-|m|), which cannot overflow.
struct Logistic {
    static LossAt at(float m) {
        const float e = exp_of_negative(-std::fabs(m));
        const float larger = 1.0f / (1.0f + e);
        return {(m < 0.0f ? -m : 0.0f) + log1p_of_unit(e), m < 0.0f ? -larger : -(e * larger)};
    }
};

// max(0, 1 - m) (Weston 2011), for margins that the sampler has found below 1.
struct Hinge {
    static LossAt at(float m) { return {1.0f - m, -1.0f}; }
};

}  // namespace lightfm_fast
