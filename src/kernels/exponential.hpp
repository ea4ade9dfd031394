// The exponential function, without a branch.
#pragma once

#include <cstdint>
#include <cstring>

#include "simd/target.hpp"

namespace lightfm_fast {

// exp(x), with relative error below 3e-7 + |x| 2^-24 for |x| < 87, and 2^-126 or 2^126 beyond. It is 2^n 2^f with an
// integer n and f in [-1/2, 1/2]. 2^f is a Taylor polynomial of degree 6, with remainder (f ln 2)^7 / 7! < 1.3e-7. A
// step waits for this function, so it has no branch and moves between register files only once. It is always inlined,
// so that compilers make vectors of loops over it.
LIGHTFM_FAST_INLINE inline float exponential(float x) {
    constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the lowest bits
    float y = x * 1.44269504f;
    y = y < 126.0f ? y : 126.0f;
    y = y > -126.0f ? y : -126.0f;
    const float rounded = y + kRound;
    const float f = y - (rounded - kRound);
    const float square = f * f;
    const float low = 1.0f + 6.9314718e-1f * f;
    const float middle = 2.4022651e-1f + 5.5504109e-2f * f;
    const float high = 9.6181291e-3f + 1.3333558e-3f * f + 1.5403530e-4f * square;
    const float power_of_f = low + square * (middle + square * high);
    uint32_t bits;
    std::memcpy(&bits, &rounded, sizeof(bits));
    bits = (bits + 127u) << 23;
    float power_of_n;
    std::memcpy(&power_of_n, &bits, sizeof(power_of_n));
    return power_of_f * power_of_n;
}

}  // namespace lightfm_fast
