// The widest vector of floats this build may use, and the few operations the kernels need of it.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "target.hpp"

namespace lightfm_fast {

#if defined(__GNUC__)
typedef float Vec __attribute__((vector_size(kLanes * sizeof(float))));

inline Vec splat(float value) { return value - Vec{}; }
#else
// Compilers without vector types get an array they can vectorise themselves.
struct Vec {
    float lane[kLanes];
    float operator[](int index) const { return lane[index]; }
    float& operator[](int index) { return lane[index]; }
};

template <class Operation>
inline Vec lanewise(const Vec& a, const Vec& b, Operation operation) {
    Vec result;
    for (int i = 0; i < kLanes; ++i) result.lane[i] = operation(a.lane[i], b.lane[i]);
    return result;
}
inline Vec splat(float value) {
    Vec result;
    for (int i = 0; i < kLanes; ++i) result.lane[i] = value;
    return result;
}
inline Vec operator+(const Vec& a, const Vec& b) {
    return lanewise(a, b, [](float x, float y) { return x + y; });
}
inline Vec operator-(const Vec& a, const Vec& b) {
    return lanewise(a, b, [](float x, float y) { return x - y; });
}
inline Vec operator*(const Vec& a, const Vec& b) {
    return lanewise(a, b, [](float x, float y) { return x * y; });
}
inline Vec operator/(const Vec& a, const Vec& b) {
    return lanewise(a, b, [](float x, float y) { return x / y; });
}
inline Vec operator*(float a, const Vec& b) { return splat(a) * b; }
inline Vec operator-(float a, const Vec& b) { return splat(a) - b; }
inline Vec operator+(float a, const Vec& b) { return splat(a) + b; }
inline Vec operator+(const Vec& a, float b) { return a + splat(b); }
inline Vec& operator+=(Vec& a, const Vec& b) { return a = a + b; }
#endif

// memcpy is the aliasing-safe load; it compiles to one unaligned vector move. Rows are aligned for speed, but a
// table that came from elsewhere (a copy, a file) need not be.
inline Vec load(const float* address) {
    Vec value;
    std::memcpy(&value, address, sizeof(Vec));
    return value;
}
inline void store(float* address, Vec value) { std::memcpy(address, &value, sizeof(Vec)); }

// Bit i tells whether lane i of a is greater than that of b.
inline uint32_t greater(Vec a, Vec b) {
#if defined(__GNUC__) && defined(__AVX512F__)
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ);
#elif defined(__GNUC__) && defined(__AVX2__)
    return _mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_GT_OQ));
#elif defined(__GNUC__) && defined(LIGHTFM_FAST_X86)
    return _mm_movemask_ps(_mm_cmpgt_ps((__m128)a, (__m128)b));
#else
    uint32_t bits = 0;
    for (int i = 0; i < kLanes; ++i) bits |= static_cast<uint32_t>(a[i] > b[i]) << i;
    return bits;
#endif
}

// The sum of the lanes, always in the same order of additions: equal inputs give equal bits wherever it is used.
inline float sum(Vec value) {
#if defined(__GNUC__) && defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)value);
#elif defined(__GNUC__) && defined(__AVX2__)
    __m256 full = (__m256)value;
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(full), _mm256_extractf128_ps(full, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_shuffle_ps(half, half, 1)));
#else
    float total[kLanes];
    for (int i = 0; i < kLanes; ++i) total[i] = value[i];
    for (int width = kLanes / 2; width > 0; width /= 2)
        for (int i = 0; i < width; ++i) total[i] += total[i + width];
    return total[0];
#endif
}

// Where a value is larger than the largest so far, it and `mark` take the places; a value that is no number never does.
inline void keep_larger(Vec value, float mark, Vec& largest, Vec& marks) {
#if defined(__GNUC__)
    const auto larger = value > largest;
    largest = larger ? value : largest;
    marks = larger ? splat(mark) : marks;
#else
    for (int i = 0; i < kLanes; ++i) {
        const bool larger = value.lane[i] > largest.lane[i];
        largest.lane[i] = larger ? value.lane[i] : largest.lane[i];
        marks.lane[i] = larger ? mark : marks.lane[i];
    }
#endif
}

// Exchanges lanes where that of `high` is below that of `low`; none where either is no number.
inline void sort_two(Vec& high, Vec& low) {
#if defined(__GNUC__)
    const auto below = high < low;
    const Vec higher = below ? low : high;
    low = below ? high : low;
    high = higher;
#else
    for (int i = 0; i < kLanes; ++i)
        if (high.lane[i] < low.lane[i]) std::swap(high.lane[i], low.lane[i]);
#endif
}

// Lanes of `target` take those of `value` where a and b have equal ones.
inline void set_where_equal(Vec a, Vec b, Vec value, Vec& target) {
#if defined(__GNUC__)
    target = a == b ? value : target;
#else
    for (int i = 0; i < kLanes; ++i)
        if (a.lane[i] == b.lane[i]) target.lane[i] = value.lane[i];
#endif
}

// The sum of each of kLanes vectors, in its lane of the result: fewer additions and shuffles than one by one.
LIGHTFM_FAST_INLINE inline Vec sum_each(const Vec* values) {
#if defined(__GNUC__) && defined(__AVX512F__)
    __m512 quads[4];  // lane i of each quarter: a part of the sum of vector i
    for (int q = 0; q < 4; ++q) {
        const __m512 a = (__m512)values[4 * q], b = (__m512)values[4 * q + 1];
        const __m512 c = (__m512)values[4 * q + 2], d = (__m512)values[4 * q + 3];
        const __m512d ab = (__m512d)(_mm512_unpacklo_ps(a, b) + _mm512_unpackhi_ps(a, b));
        const __m512d cd = (__m512d)(_mm512_unpacklo_ps(c, d) + _mm512_unpackhi_ps(c, d));
        quads[q] = (__m512)_mm512_unpacklo_pd(ab, cd) + (__m512)_mm512_unpackhi_pd(ab, cd);
    }
    const __m512 low = _mm512_shuffle_f32x4(quads[0], quads[1], 0x44) + _mm512_shuffle_f32x4(quads[0], quads[1], 0xEE);
    const __m512 high = _mm512_shuffle_f32x4(quads[2], quads[3], 0x44) + _mm512_shuffle_f32x4(quads[2], quads[3], 0xEE);
    return (Vec)(_mm512_shuffle_f32x4(low, high, 0x88) + _mm512_shuffle_f32x4(low, high, 0xDD));
#elif defined(__GNUC__) && defined(__AVX2__)
    __m256 quads[2];
    for (int q = 0; q < 2; ++q) {
        const __m256 a = (__m256)values[4 * q], b = (__m256)values[4 * q + 1];
        const __m256 c = (__m256)values[4 * q + 2], d = (__m256)values[4 * q + 3];
        const __m256d ab = (__m256d)(_mm256_unpacklo_ps(a, b) + _mm256_unpackhi_ps(a, b));
        const __m256d cd = (__m256d)(_mm256_unpacklo_ps(c, d) + _mm256_unpackhi_ps(c, d));
        quads[q] = (__m256)_mm256_unpacklo_pd(ab, cd) + (__m256)_mm256_unpackhi_pd(ab, cd);
    }
    return (Vec)(_mm256_permute2f128_ps(quads[0], quads[1], 0x20) + _mm256_permute2f128_ps(quads[0], quads[1], 0x31));
#else
    float lane[kLanes];
    for (int i = 0; i < kLanes; ++i) lane[i] = sum(values[i]);
    return load(lane);
#endif
}

// sums[i] = the sum of all lanes of term(i, 0), term(i, kLanes), ... below `width`, for i < n, a multiple of kLanes:
// with term(i, lane) the products of two rows' lanes, their dot products.
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

// Bit i: lane i is not at least `bound`, as no number that is none is.
inline uint32_t lanes_not_at_least(Vec value, float bound) {
#if defined(__GNUC__) && defined(__AVX512F__)
    return _mm512_cmp_ps_mask((__m512)value, _mm512_set1_ps(bound), _CMP_NGE_UQ);
#elif defined(__GNUC__) && defined(__AVX2__)
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps((__m256)value, _mm256_set1_ps(bound), _CMP_NGE_UQ)));
#else
    uint32_t bits = 0;
    for (int i = 0; i < kLanes; ++i) bits |= static_cast<uint32_t>(!(value[i] >= bound)) << i;
    return bits;
#endif
}

inline Vec magnitude(Vec value) {
#if defined(__GNUC__)
    typedef int32_t Bits __attribute__((vector_size(kLanes * sizeof(int32_t))));
    return (Vec)((Bits)value & 0x7FFFFFFF);
#else
    for (int i = 0; i < kLanes; ++i) value.lane[i] = std::fabs(value.lane[i]);
    return value;
#endif
}

// Lane by lane the larger one; `b` where either is no number.
inline Vec larger(Vec a, Vec b) {
#if defined(__GNUC__) && defined(__AVX512F__)
    return (Vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__GNUC__) && defined(__AVX2__)
    return (Vec)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__GNUC__) && defined(LIGHTFM_FAST_X86)
    return (Vec)_mm_max_ps((__m128)a, (__m128)b);
#else
    for (int i = 0; i < kLanes; ++i) b[i] = a[i] > b[i] ? a[i] : b[i];
    return b;
#endif
}

// Of a row's values the largest magnitude; those that are no numbers do not count.
inline float largest_magnitude(const float* values, int width) {
    Vec largest = splat(0.0f);
    for (int i = 0; i < width; i += kLanes) largest = larger(magnitude(load(values + i)), largest);
#if defined(__GNUC__) && defined(__AVX512F__)
    return _mm512_reduce_max_ps((__m512)largest);
#elif defined(__GNUC__) && defined(__AVX2__)
    const __m256 full = (__m256)largest;
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(full), _mm256_extractf128_ps(full, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_shuffle_ps(half, half, 1)));
#else
    float highest = largest[0];
    for (int i = 1; i < kLanes; ++i) highest = largest[i] > highest ? largest[i] : highest;
    return highest;
#endif
}

// 1 / sqrt(x) for x > 0 by the hardware's estimate, off by less than 2^-11 of itself. A division and a square root
// would take most of a training step's time.
inline Vec estimate_inverse_sqrt(Vec x) {
#if defined(__GNUC__) && defined(__AVX512F__)
    return (Vec)_mm512_rsqrt14_ps((__m512)x);
#elif defined(__GNUC__) && defined(__AVX2__)
    return (Vec)_mm256_rsqrt_ps((__m256)x);
#elif defined(__GNUC__) && defined(LIGHTFM_FAST_X86)
    return (Vec)_mm_rsqrt_ps((__m128)x);
#else
    float lane[kLanes];
    store(lane, x);
    for (int i = 0; i < kLanes; ++i) lane[i] = 1.0f / std::sqrt(lane[i]);
    return load(lane);
#endif
}

inline float estimate_inverse_sqrt(float x) {
#if defined(LIGHTFM_FAST_X86)
    return _mm_cvtss_f32(_mm_rsqrt_ss(_mm_set1_ps(x)));
#else
    return 1.0f / std::sqrt(x);
#endif
}

// To about one unit in the last place, by a Newton step y' = y (3/2 - x y^2 / 2).
template <class Number>
inline Number inverse_sqrt(Number x) {
    const Number y = estimate_inverse_sqrt(x);
    return y * (1.5f - 0.5f * x * y * y);
}

// 1 over the length of a vector with this square. A vector of zeros has no direction: its length counts as 1.
inline float inverse_length(float square) { return square > 0.0f ? 1.0f / std::sqrt(square) : 1.0f; }

inline float dot(const float* a, const float* b, int width) {
    Vec total = load(a) * load(b);
    for (int i = kLanes; i < width; i += kLanes) total += load(a + i) * load(b + i);
    return sum(total);
}

// `packed` holds the rows of kVectors * kLanes items abreast, component by component: divide each by its length. Zeros,
// which have no direction, stay.
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

// Times zero, every finite number is zero and no other is: the sum tells without a branch a value. Four stretches abreast,
// each with a sum of its own, since memory brings several streams faster than one.
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
