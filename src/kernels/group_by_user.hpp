// Interactions in any order become samples, sorted by user and item.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "radix_sort.hpp"
#include "simd/prefetch.hpp"
#include "team.hpp"

namespace lightfm_fast {

// For a team, in three steps: groups interactions by user into CSR arrays, with the user of each entry. Equal entries
// keep their order. `indptr` has n_users + 1 places. Weights and labels may be null, and then so are their outputs.
// Labels are -1 or +1.
//
// Entries are dealt to buckets of neighbouring users right in the outputs, as keys: the user's number within the bucket,
// the item and, in the lowest bit, whether the label is +1, which is not sorted by. The lower half of a key is dealt to
// the items and, if keys are wide, the upper half to the users. Only a bucket that is being sorted needs more memory.
struct GroupByUser {
    enum Step { kCount, kDeal, kSort, kSteps };

    int64_t size;
    const int32_t* users;
    const int32_t* items;
    const float* weights;
    const int8_t* labels;
    int32_t n_users;
    int64_t n_items;
    int64_t* indptr;
    int32_t* out_users;
    int32_t* out_items;
    float* out_weights;
    int8_t* out_labels;

    // Prepares a step, which comes after the step before; returns its number of tasks.
    int64_t begin(int step) {
        step_ = step;
        if (step == kCount) {
            const int64_t n_parts = std::clamp<int64_t>(size / kRowsInPart, 1, kMostParts);
            buckets_ = UserBuckets(size, users, n_users, static_cast<int>(n_parts));
            indptr[n_users] = size;
        }
        if (step == kDeal) {
            buckets_.place();
            item_bits_ = bits_below(n_items);
            is_wide_ = buckets_.bits + item_bits_ + 1 > 32;
        }
        return step == kSort ? buckets_.n_buckets : buckets_.n_parts;
    }

    void operator()(int64_t task, Worker& worker) {
        if (step_ == kCount) buckets_.count(static_cast<int>(task));
        if (step_ == kDeal) deal(static_cast<int>(task), worker);
        if (step_ == kSort) is_wide_ ? sort<uint64_t>(task, worker) : sort<uint32_t>(task, worker);
    }

private:
    static constexpr int64_t kRowsInPart = 1 << 16, kMostParts = 64;
    static constexpr int64_t kIdsInLine = 16;          // in a cache line
    static constexpr int64_t kDealt = 4, kSorted = 8;  // work on an entry, roughly
    static constexpr int64_t kStretch = 1 << 12;       // entries dealt between two counts of the work

    UserBuckets buckets_;
    int step_ = kCount;
    int item_bits_ = 0;
    bool is_wide_ = false;  // whether keys need more than 32 bits

    void deal(int part, Worker& worker) {
        int64_t* next = buckets_.next_of(part);
        const int64_t last = buckets_.first_row(part + 1);
        // Copies of members: compilers would reload these after every store to an output.
        const int user_bits = buckets_.bits, item_bits = item_bits_;
        const bool is_wide = is_wide_;
        const uint32_t within = (uint32_t{1} << user_bits) - 1;
        int64_t row = buckets_.first_row(part);
        while (row < last && !worker.spend(kDealt * kStretch))
            for (const int64_t end = std::min(row + kStretch, last); row < end; ++row) {
                const uint64_t user = users[row] & within;
                const uint64_t is_positive = labels && labels[row] > 0;
                const uint64_t key = (user << item_bits | static_cast<uint64_t>(items[row])) << 1 | is_positive;
                const int64_t at = next[users[row] >> user_bits]++;
                // The next line of each output. Processors see too few streams to fetch it by themselves.
                prefetch_line(out_items + at + kIdsInLine);
                out_items[at] = static_cast<int32_t>(key);
                if (is_wide) {
                    prefetch_line(out_users + at + kIdsInLine);
                    out_users[at] = static_cast<int32_t>(key >> 32);
                }
                if (weights) out_weights[at] = weights[row];
            }
    }

    template <class Key>
    void sort(int64_t bucket, Worker& worker) const {
        const int64_t first = buckets_.starts[bucket], n = buckets_.starts[bucket + 1] - first;
        if (worker.spend(kSorted * n)) return;
        const std::unique_ptr<Key[]> keys(new Key[2 * n]);
        const std::unique_ptr<float[]> sorted_weights(weights ? new float[n] : nullptr);
        for (int64_t i = 0; i < n; ++i) {
            keys[i] = static_cast<uint32_t>(out_items[first + i]);
            if constexpr (sizeof(Key) > sizeof(int32_t)) keys[i] |= static_cast<Key>(out_users[first + i]) << 32;
        }
        radix_sort(n, 1, item_bits_ + buckets_.bits, keys.get(), weights ? out_weights + first : nullptr,
                   keys.get() + n, sorted_weights.get());

        // A loop for each output, so that compilers make vectors.
        int64_t user = bucket << buckets_.bits;
        const int64_t first_user = user, last_user = std::min<int64_t>(n_users, (bucket + 1) << buckets_.bits);
        const Key item_mask = (Key{1} << item_bits_) - 1;
        for (int64_t i = 0; i < n; ++i) {
            const Key pair = keys[i] >> 1;
            out_users[first + i] = static_cast<int32_t>(first_user + static_cast<int64_t>(pair >> item_bits_));
            out_items[first + i] = static_cast<int32_t>(pair & item_mask);
        }
        if (labels) {
            // Copies of members, since a store of bytes may change any of them.
            int8_t* to = out_labels + first;
            const Key* from = keys.get();
            for (int64_t i = 0; i < n; ++i) to[i] = static_cast<int8_t>(2 * (from[i] & 1) - 1);
        }
        constexpr int64_t kAtOnce = 16;  // most users have more entries
        for (int64_t i = 0; i < n; i += kAtOnce) {
            const int64_t end = std::min(i + kAtOnce, n);
            if (user > out_users[first + end - 1]) continue;
            for (int64_t j = i; j < end; ++j)
                for (; user <= out_users[first + j]; ++user) indptr[user] = first + j;
        }
        for (; user < last_user; ++user) indptr[user] = first + n;
    }
};

}  // namespace lightfm_fast
