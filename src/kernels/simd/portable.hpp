// Any other processor: arrays of 4 lanes in loops, which compilers vectorise where they can.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "target.hpp"

namespace lightfm_fast {

constexpr int kLanes = 4;
constexpr int kVectorRegisters = 16;
constexpr bool kIsFallback = true;

struct Vec {
    float lane[kLanes];
};
struct Ints {
    int32_t lane[kLanes];
};
struct Mask {
    uint32_t raw;
};

inline Vec load(const float* address) {
    Vec value;
    std::memcpy(&value, address, sizeof(Vec));
    return value;
}
inline void store(float* address, Vec value) { std::memcpy(address, &value, sizeof(Vec)); }
inline Vec splat(float value) { return {{value, value, value, value}}; }
inline Vec operator+(Vec a, Vec b) {
    for (int i = 0; i < kLanes; ++i) a.lane[i] += b.lane[i];
    return a;
}
inline Vec operator-(Vec a, Vec b) {
    for (int i = 0; i < kLanes; ++i) a.lane[i] -= b.lane[i];
    return a;
}
inline Vec operator*(Vec a, Vec b) {
    for (int i = 0; i < kLanes; ++i) a.lane[i] *= b.lane[i];
    return a;
}
inline Vec operator/(Vec a, Vec b) {
    for (int i = 0; i < kLanes; ++i) a.lane[i] /= b.lane[i];
    return a;
}

inline void store(int32_t* address, Ints value) { std::memcpy(address, &value, sizeof(Ints)); }
inline Ints splat(int32_t value) { return {{value, value, value, value}}; }
inline Ints operator+(Ints a, Ints b) {
    for (int i = 0; i < kLanes; ++i) a.lane[i] += b.lane[i];
    return a;
}

inline Mask is_greater(Vec a, Vec b) {
    Mask mask{};
    for (int i = 0; i < kLanes; ++i) mask.raw |= static_cast<uint32_t>(a.lane[i] > b.lane[i]) << i;
    return mask;
}
inline Mask is_equal(Vec a, Vec b) {
    Mask mask{};
    for (int i = 0; i < kLanes; ++i) mask.raw |= static_cast<uint32_t>(a.lane[i] == b.lane[i]) << i;
    return mask;
}
inline Mask is_not_at_least(Vec a, Vec b) {
    Mask mask{};
    for (int i = 0; i < kLanes; ++i) mask.raw |= static_cast<uint32_t>(!(a.lane[i] >= b.lane[i])) << i;
    return mask;
}
inline Vec select(Mask mask, Vec a, Vec b) {
    for (int i = 0; i < kLanes; ++i) a.lane[i] = mask.raw >> i & 1 ? a.lane[i] : b.lane[i];
    return a;
}
inline uint32_t bits(Mask mask) { return mask.raw; }

inline void count_at_least(Vec a, Vec b, Ints& counts) {
    for (int i = 0; i < kLanes; ++i) counts.lane[i] += a.lane[i] >= b.lane[i];
}

inline Vec larger(Vec a, Vec b) { return select(is_greater(a, b), a, b); }
inline Vec magnitude(Vec value) {
    for (float& lane : value.lane) lane = std::fabs(lane);
    return value;
}
inline float estimate_inverse_sqrt(float x) { return 1.0f / std::sqrt(x); }
inline Vec estimate_inverse_sqrt(Vec x) {
    for (float& lane : x.lane) lane = estimate_inverse_sqrt(lane);
    return x;
}

template <class Lanes>
inline auto sum(Lanes value) {
    return (value.lane[0] + value.lane[2]) + (value.lane[1] + value.lane[3]);
}
inline float largest_lane(Vec value) {
    float largest = value.lane[0];
    for (float lane : value.lane) largest = lane > largest ? lane : largest;
    return largest;
}

template <class Lanes>
inline Lanes sum_quads(const Lanes* values) {
    return {{sum(values[0]), sum(values[1]), sum(values[2]), sum(values[3])}};
}

// A vector is one quad.
template <class Lanes>
inline Lanes sum_blocks(const Lanes* quads) {
    return quads[0];
}

inline void transpose(Vec* rows) {
    for (int i = 0; i < kLanes; ++i)
        for (int j = 0; j < i; ++j) std::swap(rows[i].lane[j], rows[j].lane[i]);
}

// Values that do not fit an int32_t become 0.
inline Ints round_to_ints(Vec value, int) {
    Ints rounded;
    for (int i = 0; i < kLanes; ++i)
        rounded.lane[i] = std::fabs(value.lane[i]) < 2e9f ? static_cast<int32_t>(std::nearbyint(value.lane[i])) : 0;
    return rounded;
}

template <class Byte>
inline void store_bytes(Byte* address, Ints value) {
    for (int i = 0; i < kLanes; ++i) address[i] = static_cast<Byte>(value.lane[i]);
}

// Adds the products of bytes 4 i to 4 i + 3 to lane i.
inline Ints add_products(Ints total, const uint8_t* a, const int8_t* b) {
    for (int i = 0; i < 4 * kLanes; ++i) total.lane[i / 4] += int32_t{a[i]} * b[i];
    return total;
}

}  // namespace lightfm_fast
