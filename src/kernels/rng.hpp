// A counter-based generator: the n-th draw of a stream is a function of (stream, n). So any thread can compute a
// sample's draws ahead of time, and they do not depend on the number of earlier draws.
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

// 32 bits, for frequent draws: vectors have twice as many lanes, and processors multiply them faster. The finaliser of
// MurmurHash3 (Appleby 2011).
inline uint32_t mix(uint32_t x) {
    x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
    x = (x ^ (x >> 13)) * 0xC2B2AE35u;
    return x ^ (x >> 16);
}

// One stream of draws. A sample of ordinal t uses the counters (t << 32) + 0, 1, 2, ...
struct Stream {
    uint64_t key;

    Stream(uint64_t seed, uint64_t epoch, uint64_t block)
        : key(mix(mix(seed + kGoldenRatio * (epoch + 1)) + kGoldenRatio * (block + 1))) {}

    uint64_t bits(uint64_t counter) const { return mix(key + kGoldenRatio * counter); }

    // 32 bits for the counter (high << 32) + low.
    uint32_t word(uint32_t high, uint32_t low) const {
        return mix(mix(static_cast<uint32_t>(key) + high) + (static_cast<uint32_t>(key >> 32) ^ low));
    }

    // Uniform over 0 .. n-1 for n < 2^32; the bias of multiply-and-shift is n / 2^32.
    uint32_t below(uint32_t n, uint32_t high, uint32_t low) const {
        return static_cast<uint32_t>((static_cast<uint64_t>(word(high, low)) * n) >> 32);
    }
};

}  // namespace lightfm_fast
