// A counter-based generator: the n-th draw of a stream is a function of (stream, n), so a sample's draws can be
// known before the sample is reached, by any thread, and do not depend on how many were used before.
//
// The mixing function is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
#pragma once

#include <cstdint>

namespace lightfm_fast {

constexpr uint64_t kGoldenRatio = 0x9E3779B97F4A7C15ull;

inline uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

// One stream of draws. A sample of ordinal t uses the counters (t << 32) + 0, 1, 2, ...
struct Stream {
    uint64_t key;

    Stream(uint64_t seed, uint64_t epoch, uint64_t block)
        : key(mix(mix(seed + kGoldenRatio * (epoch + 1)) + kGoldenRatio * (block + 1))) {}

    uint64_t bits(uint64_t counter) const { return mix(key + kGoldenRatio * counter); }

    // Uniform over 0 .. n-1 for n < 2^32; the bias of multiply-and-shift is n / 2^32.
    uint64_t below(uint64_t n, uint64_t counter) const { return ((bits(counter) >> 32) * n) >> 32; }
};

}  // namespace lightfm_fast
