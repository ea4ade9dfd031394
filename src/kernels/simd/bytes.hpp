// Vectors of bytes: rounding of floats to bytes, and products of rows of bytes.
#pragma once

#include <cstdint>
#include <cstring>

#include "target.hpp"
#include "vectors.hpp"

namespace lightfm_fast {

// bytes[i] = values[i] * factor, of magnitudes up to `most`, to the nearest integer, + middle; any byte for what is no
// number.
template <class Byte>
inline void round_to_bytes(const float* values, int width, float factor, int most, int middle, Byte* bytes) {
#if defined(__GNUC__) && defined(__AVX2__)
    typedef int32_t Integers __attribute__((vector_size(kLanes * sizeof(int32_t))));
    typedef Byte Bytes __attribute__((vector_size(kLanes)));
    for (int i = 0; i < width; i += kLanes) {
        const Vec places = load(values + i) * factor;
#if defined(__AVX512F__)
        const Integers rounded = (Integers)_mm512_cvtps_epi32((__m512)places);
#else
        const Integers rounded = (Integers)_mm256_cvtps_epi32((__m256)places);
#endif
        const Bytes narrow = __builtin_convertvector(rounded + middle, Bytes);
        std::memcpy(bytes + i, &narrow, sizeof(Bytes));
    }
#else
    const float from_least = static_cast<float>(most) + 0.5f;  // conversion cuts off what is behind the point
    for (int i = 0; i < width; ++i) {
        const float place = values[i] * factor + from_least;
        const int32_t rounded = (place >= 0.0f && place <= 2.0f * most + 1.0f ? static_cast<int32_t>(place) : 0) - most;
        bytes[i] = static_cast<Byte>(rounded + middle);
    }
#endif
}

// Products of bytes are taken by as many as a row of them is to be padded to with zeros on one side.
constexpr int kByteAlignment = 64;

// products[i] = the dot product of a(i), values up to 127, and b(i), from -127 to 127, `width` bytes each, for i < 4
// kQuads; anything for those up to 16, which are written too, since a vector is read sooner as it was written. Behind a(i)
// and b(i) there are bytes up to a multiple of kByteAlignment, zeros behind b(i).
template <int kQuads, class Width, class A, class B>
inline void dot_bytes(Width width, const A& a, const B& b, int32_t* products) {
#if defined(__GNUC__) && defined(__AVX512BW__)
    // Two products of bytes, of 2^14 at most, add up to 16 bits; two of these sums to 32.
    __m512i totals[4 * kQuads], quads[4];
    for (int i = 0; i < 4 * kQuads; ++i) {
        totals[i] = _mm512_setzero_si512();
        for (int byte = 0; byte < width; byte += 64) {
            const __m512i pairs =
                _mm512_maddubs_epi16(_mm512_loadu_si512(a(i) + byte), _mm512_loadu_si512(b(i) + byte));
            totals[i] = _mm512_add_epi32(totals[i], _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
        }
    }
    for (int q = 0; q < 4; ++q) {
        const __m512i* t = &totals[4 * (q < kQuads ? q : 0)];
        const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(t[0], t[1]), _mm512_unpackhi_epi32(t[0], t[1]));
        const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(t[2], t[3]), _mm512_unpackhi_epi32(t[2], t[3]));
        quads[q] = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    }
    const auto halves = [](__m512i x, __m512i y) LIGHTFM_FAST_INLINE {
        return _mm512_add_epi32(_mm512_shuffle_i32x4(x, y, 0x44), _mm512_shuffle_i32x4(x, y, 0xEE));
    };
    const __m512i low = halves(quads[0], quads[1]), high = halves(quads[2], quads[3]);
    const __m512i sums = _mm512_add_epi32(_mm512_shuffle_i32x4(low, high, 0x88), _mm512_shuffle_i32x4(low, high, 0xDD));
    _mm512_storeu_si512(products, sums);
#elif defined(__GNUC__) && defined(__AVX2__)
    std::memset(products + 4 * kQuads, 0, (16 - 4 * kQuads) * sizeof(int32_t));
    for (int q = 0; q < kQuads; ++q) {
        __m256i t[4];
        for (int i = 0; i < 4; ++i) {
            t[i] = _mm256_setzero_si256();
            for (int byte = 0; byte < width; byte += 32) {
                const auto at = [&](const auto* row) {
                    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + byte));
                };
                const __m256i pairs = _mm256_maddubs_epi16(at(a(4 * q + i)), at(b(4 * q + i)));
                t[i] = _mm256_add_epi32(t[i], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            }
        }
        const __m256i ab = _mm256_add_epi32(_mm256_unpacklo_epi32(t[0], t[1]), _mm256_unpackhi_epi32(t[0], t[1]));
        const __m256i cd = _mm256_add_epi32(_mm256_unpacklo_epi32(t[2], t[3]), _mm256_unpackhi_epi32(t[2], t[3]));
        const __m256i sums = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(products + 4 * q),
                         _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1)));
    }
#else
    std::memset(products + 4 * kQuads, 0, (16 - 4 * kQuads) * sizeof(int32_t));
    for (int i = 0; i < 4 * kQuads; ++i) {
        const uint8_t* left = a(i);
        const int8_t* right = b(i);
        int32_t total = 0;
        for (int byte = 0; byte < width; ++byte) total += static_cast<int32_t>(left[byte]) * right[byte];
        products[i] = total;
    }
#endif
}

}  // namespace lightfm_fast
