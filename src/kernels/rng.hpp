// A counter-based generator: the n-th draw of a stream is a function of (stream, n), so a sample's draws can be
// known before the sample is reached, by any thread, and do not depend on how many were used before.
//
// The mixing function is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
#pragma once

#include <cstdint>

#if defined(_MSC_VER)
#include <intrin.h>
#endif

namespace lightfm_fast {

constexpr uint64_t kGoldenRatio = 0x9E3779B97F4A7C15ull;

inline uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

inline uint64_t multiply_high(uint64_t a, uint64_t b) {
#if defined(__SIZEOF_INT128__)
    return static_cast<uint64_t>((static_cast<unsigned __int128>(a) * b) >> 64);
#elif defined(_MSC_VER) && defined(_WIN64)
    return __umulh(a, b);
#else
    const uint64_t low = 0xFFFFFFFFull;
    const uint64_t middle = (a >> 32) * (b & low) + (((a & low) * (b & low)) >> 32);
    const uint64_t carried = (a & low) * (b >> 32) + (middle & low);
    return (a >> 32) * (b >> 32) + (middle >> 32) + (carried >> 32);
#endif
}

// One stream of draws. A sample of ordinal t uses the counters (t << 32) + 0, 1, 2, ...
struct Stream {
    uint64_t key;

    Stream(uint64_t seed, uint64_t epoch, uint64_t block)
        : key(mix(mix(seed + kGoldenRatio * (epoch + 1)) + kGoldenRatio * (block + 1))) {}

    uint64_t bits(uint64_t counter) const { return mix(key + kGoldenRatio * counter); }

    // Uniform over 0 .. n-1; the bias of multiply-and-shift is n / 2^64.
    uint64_t below(uint64_t n, uint64_t counter) const { return multiply_high(bits(counter), n); }
};

}  // namespace lightfm_fast
