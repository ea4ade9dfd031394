// Operations on vectors of kLanes floats, the widest of this build, written once for all instruction sets.
#pragma once

#include <cmath>
#include <cstdint>

#include "target.hpp"

namespace lightfm_fast {

LIGHTFM_FAST_INLINE inline Vec operator*(float a, Vec b) { return splat(a) * b; }
LIGHTFM_FAST_INLINE inline Vec operator-(float a, Vec b) { return splat(a) - b; }
LIGHTFM_FAST_INLINE inline Vec operator+(Vec a, float b) { return a + splat(b); }
LIGHTFM_FAST_INLINE inline Vec operator+(float a, Vec b) { return splat(a) + b; }
LIGHTFM_FAST_INLINE inline Vec& operator+=(Vec& a, Vec b) { return a = a + b; }

// Bit i is set if lane i of a is greater than lane i of b.
inline uint32_t greater(Vec a, Vec b) { return bits(is_greater(a, b)); }

// Bit i is set if lane i < bound or is NaN.
inline uint32_t lanes_not_at_least(Vec value, float bound) { return bits(is_not_at_least(value, splat(bound))); }

// In lanes where `value` is larger, it replaces `largest`, and `mark` replaces the lane's mark. NaN is never larger.
inline void keep_larger(Vec value, float mark, Vec& largest, Vec& marks) {
    const Mask larger = is_greater(value, largest);
    largest = select(larger, value, largest);
    marks = select(larger, splat(mark), marks);
}

// Exchanges lanes where `high` is below `low`. Lanes where either is NaN stay as they are.
inline void sort_two(Vec& high, Vec& low) {
    const Mask below = is_greater(low, high);
    const Vec higher = select(below, low, high);
    low = select(below, high, low);
    high = higher;
}

// Lanes of `target` become lanes of `value` where a and b are equal.
inline void set_where_equal(Vec a, Vec b, Vec value, Vec& target) { target = select(is_equal(a, b), value, target); }

// Lane i of the result is the sum of values[i], for kLanes vectors: fewer additions and shuffles than one by one.
template <class Lanes>
LIGHTFM_FAST_INLINE inline Lanes sum_each(const Lanes* values) {
    Lanes quads[kLanes / 4];
    for (int q = 0; q < kLanes / 4; ++q) quads[q] = sum_quads(values + 4 * q);
    return sum_blocks(quads);
}

// sums[i] = the sum of all lanes of term(i, 0), term(i, kLanes), ... below `width`, for i < n, a multiple of kLanes.
// Where term(i, lane) multiplies lanes of two rows, the sums are dot products.
template <class Width, class Term>
LIGHTFM_FAST_INLINE inline void sum_terms(int n, Width width, const Term& term, float* sums) {
    for (int first = 0; first < n; first += kLanes) {
        Vec totals[kLanes];
        for (int i = 0; i < kLanes; ++i) {
            totals[i] = term(first + i, 0);
            for (int lane = kLanes; lane < width; lane += kLanes) totals[i] += term(first + i, lane);
        }
        store(sums + first, sum_each(totals));
    }
}

// The largest magnitude among a row's values, NaN left out.
inline float largest_magnitude(const float* values, int width) {
    Vec largest = splat(0.0f);
    for (int i = 0; i < width; i += kLanes) largest = larger(magnitude(load(values + i)), largest);
    return largest_lane(largest);
}

// 1 / sqrt(x) to about one unit in the last place, by a Newton step y' = y (3/2 - x y^2 / 2) from the estimate.
// estimate_inverse_sqrt() is off by less than 2^-11 of itself: a division and a root would take most of a training
// step.
template <class Number>
inline Number inverse_sqrt(Number x) {
    const Number y = estimate_inverse_sqrt(x);
    return y * (1.5f - 0.5f * x * y * y);
}

// 1 / the length of a vector with this sum of squares. For a zero vector the length counts as 1.
inline float inverse_length(float square) { return square > 0.0f ? 1.0f / std::sqrt(square) : 1.0f; }

inline float dot(const float* a, const float* b, int width) {
    Vec total = load(a) * load(b);
    for (int i = kLanes; i < width; i += kLanes) total += load(a + i) * load(b + i);
    return sum(total);
}

// Divides rows by their lengths. `packed` holds kVectors * kLanes rows, transposed. Zero rows stay zero.
template <int kVectors>
inline void divide_by_lengths(float* packed, int n_components) {
    for (int v = 0; v < kVectors; ++v) {
        Vec square = splat(0.0f);
        for (int c = 0; c < n_components; ++c) {
            const Vec value = load(packed + (c * kVectors + v) * kLanes);
            square += value * value;
        }
        float inverse[kLanes];
        store(inverse, square);
        for (int i = 0; i < kLanes; ++i) inverse[i] = inverse_length(inverse[i]);
        const Vec factor = load(inverse);
        for (int c = 0; c < n_components; ++c) {
            float* values = packed + (c * kVectors + v) * kLanes;
            store(values, load(values) * factor);
        }
    }
}

// Zero times a value is zero only if the value is finite, so one sum decides without a branch for each value. Four
// stretches are read at a time, since memory serves several streams faster than one.
inline bool all_finite(const float* values, int64_t size) {
    constexpr int kAbreast = 4;
    const int64_t length = size / (kAbreast * kLanes) * kLanes;
    Vec totals[kAbreast] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
    for (int64_t i = 0; i < length; i += kLanes)
        for (int v = 0; v < kAbreast; ++v) totals[v] += load(values + v * length + i) * splat(0.0f);
    float total = sum((totals[0] + totals[1]) + (totals[2] + totals[3]));
    for (int64_t i = kAbreast * length; i < size; ++i) total += values[i] * 0.0f;
    return total == 0.0f;
}

}  // namespace lightfm_fast
