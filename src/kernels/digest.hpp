// Hashes of memory, by which a caller's arrays are recognised.
#pragma once

#include <cstdint>
#include <cstring>

namespace lightfm_fast {

// Returns a hash of `size` bytes. Four words are mixed at a time, each by steps that can be undone: two stretches of
// memory that differ in one word never have the same hash of that word's lane. Not for memory that somebody could have
// chosen to collide.
inline uint64_t digest(const uint8_t* bytes, int64_t size) {
    constexpr int kAbreast = 4;
    constexpr uint64_t kFactor = 0x9E3779B97F4A7C15u;
    const auto mix = [](uint64_t hash, uint64_t word) {
        hash = (hash ^ word) * kFactor;
        return hash ^ hash >> 32;
    };
    uint64_t hashes[kAbreast] = {1, 2, 3, 4}, words[kAbreast];
    int64_t byte = 0;
    for (; byte + static_cast<int64_t>(sizeof(words)) <= size; byte += sizeof(words)) {
        std::memcpy(words, bytes + byte, sizeof(words));
        for (int i = 0; i < kAbreast; ++i) hashes[i] = mix(hashes[i], words[i]);
    }
    std::memset(words, 0, sizeof(words));
    std::memcpy(words, bytes + byte, size - byte);
    uint64_t hash = mix(0, static_cast<uint64_t>(size));
    for (int i = 0; i < kAbreast; ++i) hash = mix(hash, mix(hashes[i], words[i]));
    return hash;
}

}  // namespace lightfm_fast
