// Sketches: representations in 8 bits a component, with which a sampler scores many candidates cheaply.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "features.hpp"
#include "order.hpp"
#include "simd/bytes.hpp"
#include "simd/prefetch.hpp"
#include "simd/target.hpp"
#include "simd/vectors.hpp"
#include "team.hpp"

namespace lightfm_fast {

// Added to the items' bytes, since one factor of a byte product must not be negative.
constexpr int kItemMiddle = 64;

// The users of a group of samples.
class UserSketches {
public:
    static constexpr int kLargest = 127;

    explicit UserSketches(int width)
        : stride_((width + kByteAlignment - 1) / kByteAlignment * kByteAlignment),
          sketches_(kGroup * static_cast<size_t>(stride_)),
          middle_(stride_, kItemMiddle) {}

    // Sketches the users of a group. Of neighbouring samples of one user the last has the user's embedding.
    template <class Width>
    LIGHTFM_FAST_NOT_INLINE void make(Width width, const Group& samples, const float* const* embeddings) {
        int sketch_of[kGroup], sample[kGroup];  // neighbouring samples of one user share a sketch
        int last = 0;
        for (int g = 0; g < kGroup; ++g) {
            last += g > 0 && samples.users[g] != samples.users[g - 1];
            sketch_of[g] = last;
            sample[last] = g;
        }
        float unit[kGroup];
        for (int sketch = 0; sketch <= last; ++sketch) {
            const float* values = embeddings[sample[sketch]];
            const float largest = largest_magnitude(values, width);
            const float factor = largest > 0.0f ? kLargest / largest : 0.0f;
            unit[sketch] = largest * (1.0f / kLargest);
            round_to_bytes(values, width, factor, kLargest, 0, &sketches_[sketch * stride_]);
        }
        int32_t offset[2 * kGroup];  // since 16 are written to find four
        for (int first = 0; first <= last; first += 4)
            dot_bytes<1>(
                width, [&](int) { return middle_.data(); }, [&](int i) { return &sketches_[(first + i) * stride_]; },
                offset + first);
        for (int g = 0; g < kGroup; ++g) {
            bytes[g] = &sketches_[sketch_of[g] * stride_];
            units[g] = unit[sketch_of[g]];
            offsets[g] = offset[sketch_of[g]];
        }
    }

    const int8_t* bytes[kGroup];
    float units[kGroup];      // the value of 1 in a sketch
    int32_t offsets[kGroup];  // the part of a product that kItemMiddle adds

private:
    size_t stride_;
    std::vector<int8_t> sketches_;
    std::vector<uint8_t> middle_;  // kItemMiddle for each component
};

// Sketches of all items, as of their last refresh. A sketch takes a quarter of an embedding's cache lines, and needs no
// sum over the item's features. Scores by sketches are approximate; the step scores the chosen item exactly.
class Sketches {
public:
    static constexpr int kLargest = 63;
    // Parts in which threads sketch the items.
    static constexpr int kParts = 64;
    static constexpr int kAhead = 8;

    Sketches(int32_t n_items, int32_t width)
        : n_items_(n_items),
          width_(width),
          bytes_(n_items > 0 ? new uint8_t[static_cast<size_t>(n_items) * width + 2 * kByteAlignment] : nullptr),
          scales_(n_items > 0 ? new Scale[n_items] : nullptr),
          first_(bytes_.get()) {
        if (first_) first_ += kByteAlignment - reinterpret_cast<uintptr_t>(first_) % kByteAlignment;
    }
    Sketches(const Sketches&) = delete;
    Sketches& operator=(const Sketches&) = delete;

    bool empty() const { return n_items_ == 0; }

    // Sketches one part of the items. Each item has its own draw of identity dropout.
    void make(int64_t part, const Table& table, const FeatureRows& features, Represent represent,
              const IdentityDropout& dropout, Worker& worker) const {
        std::vector<float> sum(features.indptr ? width_ : 0);
        const auto first = static_cast<int32_t>(int64_t{n_items_} * part / kParts);
        const auto last = static_cast<int32_t>(int64_t{n_items_} * (part + 1) / kParts);
        for (int32_t item = first; item < last; ++item) {
            const int64_t n_features = features.indptr ? features.indptr[item + 1] - features.indptr[item] : 1;
            if (worker.spend((1 + n_features) * width_)) return;
            if (features.indptr) {
                const float bias =
                    represent(table, features, dropout.first(features, item), features.indptr[item + 1], sum.data());
                make(item, sum.data(), bias);
            } else {
                lightfm_fast::prefetch(table.row(std::min(item + kAhead, last - 1)), width_);
                make(item, table.row(item), table.bias(item)[0]);
            }
        }
    }

    // Scales are not prefetched: measured slower.
    template <class Width>
    LIGHTFM_FAST_INLINE void prefetch(Width width, int32_t item) const {
        for (int i = 0; i < width; i += kByteAlignment) prefetch_read(bytes(width, item) + i);
    }

    // The sketch's unit and the bias, each as the upper 16 bits of a float, so that one load reads both.
    class Scale {
    public:
        Scale() = default;
        Scale(float unit, float bias) : bits_(upper(unit) | upper(bias) >> 16) {}
        float unit() const { return number(bits_ & kUpper); }
        float bias() const { return number(bits_ << 16); }

    private:
        static constexpr uint32_t kUpper = 0xFFFF0000u;
        uint32_t bits_;

        static uint32_t upper(float value) {
            uint32_t bits;
            std::memcpy(&bits, &value, sizeof(bits));
            return (bits + 0x8000u) & kUpper;
        }
        static float number(uint32_t bits) {
            float value;
            std::memcpy(&value, &bits, sizeof(value));
            return value;
        }
    };

    // Items to be scored, kAbreast at a time.
    static constexpr int kAbreast = kGroup;
    template <int kSize>
    struct Candidates {
        int32_t items[kSize];
        const uint8_t* bytes[kSize];
        Scale scales[kSize];
    };
    // Puts an item into a place, and also into the place `again` places later.
    template <class Width, int kSize>
    void put(Width width, int32_t item, int place, int again, Candidates<kSize>& candidates) const {
        candidates.items[place] = candidates.items[place + again] = item;
        candidates.bytes[place] = candidates.bytes[place + again] = bytes(width, item);
        candidates.scales[place] = candidates.scales[place + again] = scales_[item];
    }

    // The scores of sample g's user with the candidate in place first + g.
    template <class Width, int kSize>
    static void score_each(Width width, const UserSketches& users, const Candidates<kSize>& candidates, int first,
                           float* scores) {
        int32_t products[kAbreast];
        dot_bytes<kAbreast / 4>(
            width, [&](int g) { return candidates.bytes[first + g]; }, [&](int g) { return users.bytes[g]; }, products);
        float found[kAbreast];  // a local array cannot alias, so the loop fills vectors
        for (int g = 0; g < kAbreast; ++g) {
            const Scale scale = candidates.scales[first + g];
            found[g] =
                static_cast<float>(products[g] - users.offsets[g]) * (users.units[g] * scale.unit()) + scale.bias();
        }
        std::memcpy(scores, found, sizeof(found));
    }

    // Scores sample g's user with the candidates in places first .. first + 4 kQuads - 1. The rest of the kAbreast
    // scores are undefined.
    template <int kQuads, class Width, int kSize>
    static void score_all(Width width, const UserSketches& users, int g, const Candidates<kSize>& candidates, int first,
                          float* scores) {
        int32_t products[kAbreast];
        const int8_t* bytes = users.bytes[g];
        const float unit = users.units[g];
        const int32_t offset = users.offsets[g];
        dot_bytes<kQuads>(
            width, [&](int i) { return candidates.bytes[first + i]; }, [&](int) { return bytes; }, products);
        for (int i = 0; i < kAbreast; ++i) {
            const Scale scale = candidates.scales[first + i];
            scores[i] = static_cast<float>(products[i] - offset) * (unit * scale.unit()) + scale.bias();
        }
    }

private:
    int32_t n_items_, width_;
    std::unique_ptr<uint8_t[]> bytes_;
    std::unique_ptr<Scale[]> scales_;
    uint8_t* first_;

    template <class Width>  // width_, which may be known at compile time
    const uint8_t* bytes(Width width, int32_t item) const {
        return first_ + static_cast<int64_t>(item) * width;
    }
    void make(int32_t item, const float* embedding, float bias) const {
        scales_[item] = Scale(largest_magnitude(embedding, width_) * (1.0f / kLargest), bias);
        const float unit = scales_[item].unit();
        round_to_bytes(embedding, width_, unit > 0.0f ? 1.0f / unit : 0.0f, kLargest, kItemMiddle,
                       first_ + static_cast<int64_t>(item) * width_);
    }
};

}  // namespace lightfm_fast
