// The few items among which a user's best must be, found by scores of items in 7 bits a component.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "selection.hpp"
#include "simd/bytes.hpp"
#include "simd/prefetch.hpp"
#include "simd/target.hpp"
#include "simd/vectors.hpp"
#include "team.hpp"

namespace lightfm_fast {

// A vector is its unit times its bytes, plus an error. With user u = t + f and item v = w + e, of which t and w are the
// vectors by bytes and f and e the errors, Cauchy and Schwarz bound the difference of products:
//
//     |u.v - t.w| = |u.e + f.w| <= |u| |e| + |f| |w|
//
// An item's `reach` is the larger of |e| and |w| / kUserParts, so that the bound is reach (|u| + kUserParts |f|). It
// includes the rounding of both scores in single precision.
class QuickItems {
public:
    static constexpr int kLargest = 63, kMiddle = 64, kLargestOfUser = 127;  // of bytes; see Sketches
    static constexpr int32_t kMostComponents = 1 << 16;                      // so that products fit in 32 bits
    static constexpr double kUserParts = 128.0;

    QuickItems(int64_t n_items, int32_t n_components)
        : n_items_(n_items),
          n_components_(n_components),
          tile_bytes_(int64_t{4} * n_quads() * kLanes),
          bytes_(new uint8_t[n_tiles() * tile_bytes_ + kByteAlignment]),
          units_(new float[3 * n_tiles() * kLanes]),
          first_(bytes_.get() + kByteAlignment - reinterpret_cast<uintptr_t>(bytes_.get()) % kByteAlignment) {}

    int64_t n_items() const { return n_items_; }
    int64_t n_tiles() const { return (n_items_ + kLanes - 1) / kLanes; }
    int32_t n_quads() const { return (n_components_ + 3) / 4; }
    int64_t n_bytes() const { return n_tiles() * (tile_bytes_ + int64_t{3 * sizeof(float)} * kLanes); }
    bool is_sound() const { return is_sound_.load(std::memory_order_relaxed); }

    // Makes one tile of kLanes items: component c of item i is at byte ((c / 4) kLanes + i) 4 + c % 4. Items that are
    // not finite, or so long that bounds could overflow, make it unsound.
    void make(const Candidates& items, int64_t tile, float* row) {
        uint8_t codes[kLanes];
        uint8_t* bytes = first_ + tile * tile_bytes_;
        std::fill_n(bytes, tile_bytes_, static_cast<uint8_t>(kMiddle));
        const int padded = (n_components_ + kLanes - 1) / kLanes * kLanes;
        for (int lane = 0; lane < kLanes; ++lane) {
            const int64_t item = tile * kLanes + lane;
            float *unit = places(tile), *bias = unit + kLanes, *reach = bias + kLanes;
            unit[lane] = reach[lane] = 0.0f;
            bias[lane] = kWithoutScore;
            if (item >= n_items_) continue;
            const float* embedding = items.embeddings + items.row(item) * items.stride;
            std::copy_n(embedding, n_components_, row);
            std::fill(row + n_components_, row + padded, 0.0f);
            if (items.by_length) {
                const float inverse = inverse_length(dot(row, row, padded));
                for (int c = 0; c < n_components_; ++c) row[c] *= inverse;
            }
            bias[lane] = items.biases[items.row(item) * items.bias_stride];
            const float largest = largest_magnitude(row, padded);
            if (!(std::abs(bias[lane]) < kTooLarge && largest < kTooLarge && lightfm_fast::all_finite(row, padded))) {
                is_sound_.store(false, std::memory_order_relaxed);
                return;
            }
            unit[lane] = largest > kTooSmall ? largest / kLargest : 0.0f;
            const float factor = unit[lane] > 0.0f ? 1.0f / unit[lane] : 0.0f;
            double square = 0.0, error = 0.0;
            for (int first = 0; first < n_components_; first += kLanes) {
                round_to_bytes(row + first, kLanes, factor, kLargest, kMiddle, codes);
                for (int c = first; c < std::min(first + kLanes, n_components_); ++c) {
                    const uint8_t code = codes[c - first];
                    bytes[(int64_t{c / 4} * kLanes + lane) * 4 + c % 4] = code;
                    const double by_bytes = static_cast<double>(unit[lane]) * (code - kMiddle),
                                 left = row[c] - by_bytes;
                    square += by_bytes * by_bytes;
                    error += left * left;
                }
            }
            square = std::sqrt(square);
            error = std::sqrt(error);
            reach[lane] = static_cast<float>(
                1.0001 * (std::max(error, square / kUserParts) + rounding() * (square + error) + kTooSmall));
        }
    }

    // A user in bytes; each four stand once for each lane.
    struct User {
        std::vector<int8_t> bytes;
        float unit;
        int32_t offset;  // the part of a product that kMiddle adds
        float length;    // the factor of an item's reach in the bound
    };

    // Returns whether the bounds of this user are sound.
    bool sketch(const float* embedding, User& user) const {
        float largest = 0.0f;
        double square = 0.0, error = 0.0;
        bool is_finite = true;
        for (int c = 0; c < n_components_; ++c) {
            largest = std::max(largest, std::abs(embedding[c]));
            is_finite = is_finite && std::isfinite(embedding[c]);
        }
        if (!is_finite || !(largest < kTooLarge)) return false;
        user.unit = largest > kTooSmall ? largest / kLargestOfUser : 0.0f;
        user.bytes.assign(tile_bytes_, 0);
        user.offset = 0;
        for (int c = 0; c < n_components_; ++c) {
            const double exact = user.unit > 0.0f ? std::nearbyint(embedding[c] / static_cast<double>(user.unit)) : 0.0;
            const auto code =
                static_cast<int8_t>(std::min<double>(kLargestOfUser, std::max<double>(-kLargestOfUser, exact)));
            for (int lane = 0; lane < kLanes; ++lane) user.bytes[(int64_t{c / 4} * kLanes + lane) * 4 + c % 4] = code;
            user.offset += kMiddle * code;
            const double left = embedding[c] - static_cast<double>(user.unit) * code;
            square += static_cast<double>(embedding[c]) * embedding[c];
            error += left * left;
        }
        user.length = static_cast<float>(1.0001 * (std::sqrt(square) + kUserParts * std::sqrt(error)) + kUnderflow);
        return true;
    }

    // Writes the least and the largest scores that the items of a tile can have, -inf where there is no item.
    void bound(const User& user, int64_t tile, float* least, float* most) const {
        const uint8_t* bytes = first_ + tile * tile_bytes_;
        Ints even = splat(0), odd = splat(0);
        int64_t byte = 0;
        for (; byte + 8 * kLanes <= tile_bytes_; byte += 8 * kLanes) {
            even = add_products(even, bytes + byte, &user.bytes[byte]);
            odd = add_products(odd, bytes + byte + 4 * kLanes, &user.bytes[byte + 4 * kLanes]);
        }
        if (byte < tile_bytes_) even = add_products(even, bytes + byte, &user.bytes[byte]);
        int32_t products[kLanes];
        store(products, even + odd);
        const float *unit = places(tile), *bias = unit + kLanes, *reach = bias + kLanes;
        const auto of_bias = static_cast<float>(rounding());
        for (int i = 0; i < kLanes; ++i) {
            const float score = static_cast<float>(products[i] - user.offset) * (user.unit * unit[i]) + bias[i];
            const float most_off = reach[i] * user.length + of_bias * std::min(std::abs(bias[i]), kTooLarge);
            least[i] = score - most_off;
            most[i] = score + most_off;
        }
    }

private:
    // Magnitudes of components and biases between which nothing overflows, and no error vanishes.
    static constexpr float kTooLarge = 1e15f, kTooSmall = 1e-15f;
    static constexpr double kUnderflow = 1e-20;  // times kTooSmall, more than products of tiny components can lose

    int64_t n_items_;
    int32_t n_components_;
    int64_t tile_bytes_;
    std::unique_ptr<uint8_t[]> bytes_;
    std::unique_ptr<float[]> units_;
    uint8_t* first_;
    std::atomic<bool> is_sound_{true};

    // A tile's units, and then its biases and reaches.
    float* places(int64_t tile) const { return units_.get() + 3 * tile * kLanes; }
    // The rounding of scores, by the length of both vectors: several times what single precision's sums can lose.
    double rounding() const { return 4.0 * (n_components_ + 16) * std::numeric_limits<float>::epsilon(); }
};

// For a team: makes the tiles.
struct QuickTasks {
    static constexpr int64_t kTiles = 64;  // tiles of a task

    QuickItems* quick;
    Candidates items;

    int64_t n_tasks() const { return (quick->n_tiles() + kTiles - 1) / kTiles; }
    void operator()(int64_t task, Worker& worker) const {
        const int64_t width = (items.n_components + kLanes - 1) / kLanes * kLanes;
        std::vector<float> row(width);
        for (int64_t tile = task * kTiles; tile < std::min(quick->n_tiles(), (task + 1) * kTiles); ++tile) {
            if (worker.spend(4 * kLanes * width)) return;
            quick->make(items, tile, row.data());
        }
    }
};

// For a team: the items whose largest score reaches the n-th best of the least scores, which all of the n best do.
// Threads divide the items.
struct ShortlistTasks {
    // A list of more than 1/kLeastShare of the items is given up: scoring all items exactly is as fast.
    static constexpr int64_t kLeastShare = 16;

    const QuickItems* quick;
    const float* user;
    int64_t n;
    const int32_t* seen;  // ascending; left out
    int64_t n_seen;

    // Returns false if the user has no sound bounds.
    bool plan(int num_threads) {
        parts_.resize(num_threads);
        return quick->sketch(user, sketch_);
    }

    int64_t n_tasks() const { return static_cast<int64_t>(parts_.size()); }

    void operator()(int64_t task, Worker& worker) {
        constexpr int64_t kTilesOfBlock = kBlock / kLanes;
        Part& part = parts_[task];
        part.best.start(n);
        const int64_t n_blocks = (quick->n_tiles() + kTilesOfBlock - 1) / kTilesOfBlock, size = n_tasks();
        float least[kBlock], most[kBlock];
        const int32_t* next = seen;
        for (int64_t block = n_blocks * task / size; block < n_blocks * (task + 1) / size; ++block) {
            const int64_t first_tile = block * kTilesOfBlock, first = block * kBlock;
            const int64_t n_tiles = std::min(kTilesOfBlock, quick->n_tiles() - first_tile);
            if (worker.spend(n_tiles * quick->n_quads() * kLanes)) return;
            for (int64_t t = 0; t < n_tiles; ++t)
                quick->bound(sketch_, first_tile + t, least + t * kLanes, most + t * kLanes);
            next = std::lower_bound(next, seen + n_seen, first);
            for (; next < seen + n_seen && *next < first + n_tiles * kLanes; ++next)
                least[*next - first] = most[*next - first] = kWithoutScore;
            part.best.offer(least, first, n_tiles * kLanes);
            const float threshold = std::max(part.best.threshold(), kLowest);
            for (int64_t i = 0; i < n_tiles * kLanes; i += kLanes) {
                uint32_t reaching = ~lanes_not_at_least(load(most + i), threshold) & ((1u << (kLanes - 1)) * 2u - 1u);
                for (int64_t j = i; reaching; ++j, reaching >>= 1)
                    if (reaching & 1) part.items.push_back({most[j], static_cast<int32_t>(first + j)});
            }
            if (static_cast<int64_t>(part.items.size()) > most_items()) {
                part.keep(threshold);
                if (static_cast<int64_t>(part.items.size()) > most_items()) break;
            }
        }
    }

    // The items, ascending, once all tasks are done. Returns false if there are too many.
    bool take(std::vector<int64_t>& items) {
        for (Part& part : parts_) {
            if (static_cast<int64_t>(part.items.size()) > most_items()) return false;
            if (&part != &parts_[0]) parts_[0].best.merge(part.best);
        }
        const float threshold = std::max(parts_[0].best.find_threshold(), kLowest);
        for (Part& part : parts_) {
            part.keep(threshold);
            for (const Item& item : part.items) items.push_back(item.number);
        }
        return static_cast<int64_t>(items.size()) <= most_items();
    }

private:
    static constexpr float kLowest = std::numeric_limits<float>::lowest();  // so that -inf, which is no score, is below

    struct Item {
        float most;
        int32_t number;
    };
    struct Part {
        Best best;
        std::vector<Item> items;

        void keep(float threshold) {
            items.erase(std::remove_if(items.begin(), items.end(), [&](const Item& i) { return i.most < threshold; }),
                        items.end());
        }
    };

    std::vector<Part> parts_;
    QuickItems::User sketch_;

    int64_t most_items() const { return quick->n_items() / kLeastShare; }
};

}  // namespace lightfm_fast
