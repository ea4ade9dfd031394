// NEON of 64-bit ARM: 4 lanes.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#include "target.hpp"

namespace lightfm_fast {

constexpr int kLanes = 4;
constexpr int kVectorRegisters = 32;
constexpr bool kIsFallback = false;

struct Vec {
    float32x4_t raw;
};
struct Ints {
    int32x4_t raw;
};
struct Mask {
    uint32x4_t raw;
};

LIGHTFM_FAST_INLINE inline Vec load(const float* address) { return {vld1q_f32(address)}; }
LIGHTFM_FAST_INLINE inline void store(float* address, Vec value) { vst1q_f32(address, value.raw); }
LIGHTFM_FAST_INLINE inline Vec splat(float value) { return {vdupq_n_f32(value)}; }
LIGHTFM_FAST_INLINE inline Vec operator+(Vec a, Vec b) { return {vaddq_f32(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec operator-(Vec a, Vec b) { return {vsubq_f32(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec operator*(Vec a, Vec b) { return {vmulq_f32(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Vec operator/(Vec a, Vec b) { return {vdivq_f32(a.raw, b.raw)}; }

LIGHTFM_FAST_INLINE inline void store(int32_t* address, Ints value) { vst1q_s32(address, value.raw); }
LIGHTFM_FAST_INLINE inline Ints splat(int32_t value) { return {vdupq_n_s32(value)}; }
LIGHTFM_FAST_INLINE inline Ints operator+(Ints a, Ints b) { return {vaddq_s32(a.raw, b.raw)}; }

LIGHTFM_FAST_INLINE inline Mask is_greater(Vec a, Vec b) { return {vcgtq_f32(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Mask is_equal(Vec a, Vec b) { return {vceqq_f32(a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline Mask is_not_at_least(Vec a, Vec b) { return {vmvnq_u32(vcgeq_f32(a.raw, b.raw))}; }
LIGHTFM_FAST_INLINE inline Vec select(Mask mask, Vec a, Vec b) { return {vbslq_f32(mask.raw, a.raw, b.raw)}; }
LIGHTFM_FAST_INLINE inline uint32_t bits(Mask mask) {
    static constexpr uint32_t kBits[] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(mask.raw, vld1q_u32(kBits)));
}

// A true comparison is -1.
LIGHTFM_FAST_INLINE inline void count_at_least(Vec a, Vec b, Ints& counts) {
    counts.raw = vsubq_s32(counts.raw, vreinterpretq_s32_u32(vcgeq_f32(a.raw, b.raw)));
}

// Not vmaxq_f32, which returns NaN if either lane is NaN.
LIGHTFM_FAST_INLINE inline Vec larger(Vec a, Vec b) { return select(is_greater(a, b), a, b); }
LIGHTFM_FAST_INLINE inline Vec magnitude(Vec value) { return {vabsq_f32(value.raw)}; }

// The hardware's estimate has 8 bits, so a Newton step refines it.
LIGHTFM_FAST_INLINE inline Vec estimate_inverse_sqrt(Vec x) {
    const float32x4_t y = vrsqrteq_f32(x.raw);
    return {vmulq_f32(y, vrsqrtsq_f32(vmulq_f32(x.raw, y), y))};
}
LIGHTFM_FAST_INLINE inline float estimate_inverse_sqrt(float x) {
    const float y = vrsqrtes_f32(x);
    return y * vrsqrtss_f32(x * y, y);
}

LIGHTFM_FAST_INLINE inline float sum(Vec value) { return vaddvq_f32(value.raw); }
LIGHTFM_FAST_INLINE inline int32_t sum(Ints value) { return vaddvq_s32(value.raw); }
LIGHTFM_FAST_INLINE inline float largest_lane(Vec value) { return vmaxvq_f32(value.raw); }

// Lane i is the sum of values[i].
LIGHTFM_FAST_INLINE inline Vec sum_quads(const Vec* values) {
    return {vpaddq_f32(vpaddq_f32(values[0].raw, values[1].raw), vpaddq_f32(values[2].raw, values[3].raw))};
}
LIGHTFM_FAST_INLINE inline Ints sum_quads(const Ints* values) {
    return {vpaddq_s32(vpaddq_s32(values[0].raw, values[1].raw), vpaddq_s32(values[2].raw, values[3].raw))};
}

// A vector is one quad.
template <class Lanes>
LIGHTFM_FAST_INLINE inline Lanes sum_blocks(const Lanes* quads) {
    return quads[0];
}

LIGHTFM_FAST_INLINE inline void transpose(Vec* rows) {
    const float32x4x2_t ab = vtrnq_f32(rows[0].raw, rows[1].raw), cd = vtrnq_f32(rows[2].raw, rows[3].raw);
    rows[0] = {vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0]))};
    rows[1] = {vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1]))};
    rows[2] = {vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0]))};
    rows[3] = {vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1]))};
}

LIGHTFM_FAST_INLINE inline Ints round_to_ints(Vec value, int) { return {vcvtnq_s32_f32(value.raw)}; }

template <class Byte>
LIGHTFM_FAST_INLINE inline void store_bytes(Byte* address, Ints value) {
    const int16x4_t halves = vmovn_s32(value.raw);
    const uint8x8_t bytes = vreinterpret_u8_s8(vmovn_s16(vcombine_s16(halves, halves)));
    std::memcpy(address, &bytes, kLanes);
}

// Adds the products of bytes 4 i to 4 i + 3 to lane i.
// All bytes of `a` are below 128, so they may count as signed.
LIGHTFM_FAST_INLINE inline Ints add_products(Ints total, const uint8_t* a, const int8_t* b) {
    const int8x16_t left = vreinterpretq_s8_u8(vld1q_u8(a)), right = vld1q_s8(b);
#if defined(__ARM_FEATURE_DOTPROD)
    return {vdotq_s32(total.raw, left, right)};
#else
    // Two products, of 2^14 at most, fit into 16 bits.
    const int16x8_t low = vmull_s8(vget_low_s8(left), vget_low_s8(right));
    return {vpadalq_s16(total.raw, vpaddq_s16(low, vmull_s8(vget_high_s8(left), vget_high_s8(right))))};
#endif
}

}  // namespace lightfm_fast
