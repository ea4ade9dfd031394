// The widest vector of floats this build may use, and the few operations the kernels need of it.
//
// Rows of parameters are padded to kRowAlignment floats, one cache line and a whole number of vectors at every
// instruction-set level, so no loop over a row has a tail and the layout is the same in every build.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__) || defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#define LIGHTFM_FAST_X86 1
#endif

namespace lightfm_fast {

constexpr int kRowAlignment = 16;

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

#if defined(__GNUC__)
typedef float Vec __attribute__((vector_size(kLanes * sizeof(float))));

inline Vec splat(float value) { return value - Vec{}; }
#else
// Compilers without vector types get an array they can vectorise themselves.
struct Vec {
    float lane[kLanes];
    float operator[](int index) const { return lane[index]; }
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
inline Vec operator*(float a, const Vec& b) { return splat(a) * b; }
inline Vec operator-(float a, const Vec& b) { return splat(a) - b; }
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
    return _mm_cvtss_f32(_mm_rsqrt_ss(_mm_set_ss(x)));
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

inline float dot(const float* a, const float* b, int width) {
    Vec total = load(a) * load(b);
    for (int i = kLanes; i < width; i += kLanes) total += load(a + i) * load(b + i);
    return sum(total);
}

// a . rows[0], a . rows[1] ...: the sums of the lanes, which depend on one another within a row, overlap between rows.
template <int kRows>
inline void dots(const float* a, const float* const* rows, int width, float* products) {
    Vec totals[kRows];
    for (int r = 0; r < kRows; ++r) totals[r] = load(a) * load(rows[r]);
    for (int i = kLanes; i < width; i += kLanes) {
        const Vec lanes = load(a + i);
        for (int r = 0; r < kRows; ++r) totals[r] += lanes * load(rows[r] + i);
    }
    for (int r = 0; r < kRows; ++r) products[r] = sum(totals[r]);
}

// a . (b - c)
inline float dot_difference(const float* a, const float* b, const float* c, int width) {
    Vec total = load(a) * (load(b) - load(c));
    for (int i = kLanes; i < width; i += kLanes) total += load(a + i) * (load(b + i) - load(c + i));
    return sum(total);
}

// y += weight * x
inline void axpy(float weight, const float* x, float* y, int width) {
    for (int i = 0; i < width; i += kLanes) store(y + i, load(y + i) + weight * load(x + i));
}

// Times zero, every finite number is zero and no other is: the sum tells without a branch a value.
inline bool all_finite(const float* values, int64_t size) {
    float total = 0.0f;
    int64_t i = 0;
    Vec totals = splat(0.0f);
    for (; i + kLanes <= size; i += kLanes) totals += load(values + i) * splat(0.0f);
    for (; i < size; ++i) total += values[i] * 0.0f;
    return total + sum(totals) == 0.0f;
}

inline void prefetch_read(const void* address) {
#if defined(__GNUC__)
    __builtin_prefetch(address);
#elif defined(LIGHTFM_FAST_X86)
    _mm_prefetch(static_cast<const char*>(address), _MM_HINT_T0);
#endif
}

inline void prefetch(const float* address, int width) {
#if defined(__GNUC__)
    for (int i = 0; i < width; i += kRowAlignment) __builtin_prefetch(address + i, 1, 3);
#elif defined(LIGHTFM_FAST_X86)
    for (int i = 0; i < width; i += kRowAlignment)
        _mm_prefetch(reinterpret_cast<const char*>(address + i), _MM_HINT_T0);
#endif
}

}  // namespace lightfm_fast
