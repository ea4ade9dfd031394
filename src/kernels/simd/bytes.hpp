// Vectors of bytes: rounding of floats to bytes, and products of rows of bytes.
#pragma once

#include <cstdint>

#include "target.hpp"
#include "vectors.hpp"

namespace lightfm_fast {

// bytes[i] = values[i] * factor, rounded to the nearest integer, + middle. Magnitudes of `values` are at most
// `largest`. The result must fit into a byte. NaN gives an arbitrary byte.
template <class Byte>
inline void round_to_bytes(const float* values, int width, float factor, int largest, int middle, Byte* bytes) {
    for (int i = 0; i < width; i += kLanes)
        store_bytes(bytes + i, round_to_ints(load(values + i) * splat(factor), largest) + splat(middle));
}

// Rows of bytes are multiplied in steps of up to kByteAlignment bytes; one of the two is padded to them with zeros.
constexpr int kByteAlignment = 64;

// products[i] = the dot product of a(i), values up to 127, and b(i), from -127 to 127, `width` bytes each, for i < 4
// kQuads. All 16 products are written, the rest with arbitrary numbers: a load of a whole stored vector is forwarded.
// a(i) and b(i) are readable up to a multiple of kByteAlignment bytes; b(i) is padded with zeros.
template <int kQuads, class Width, class A, class B>
inline void dot_bytes(Width width, const A& a, const B& b, int32_t* products) {
    Ints quads[4];  // four rows at a time, so that their totals stay in registers
    for (int q = 0; q < kQuads; ++q) {
        Ints totals[4];
        for (int i = 0; i < 4; ++i) {
            const int row = 4 * q + i;
            totals[i] = splat(0);
            for (int byte = 0; byte < width; byte += 4 * kLanes)
                totals[i] = add_products(totals[i], a(row) + byte, b(row) + byte);
        }
        quads[q] = sum_quads(totals);
    }
    for (int q = kQuads; q < 4; ++q) quads[q] = quads[0];
    for (int first = 0; first < 4; first += kLanes / 4) store(products + 4 * first, sum_blocks(quads + first));
}

}  // namespace lightfm_fast
