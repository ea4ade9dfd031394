// Counts how often each item occurs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "team.hpp"

namespace lightfm_fast {

// For a team: counts each item's entries and, if there are labels of -1 and +1, those with +1. Each task counts a part of
// the entries by itself.
class CountTasks {
public:
    CountTasks(int64_t size, const int32_t* items, const int8_t* labels, int64_t n_items, int n_threads)
        : size_(size), items_(items), labels_(labels), n_items_(n_items) {
        // Counts take less memory than the entries, and parts have less than 2^32 of these.
        const int64_t worthwhile = std::min<int64_t>(n_threads, size / std::max(n_items, kLeast));
        n_parts_ = std::max(size / kMost + 1, worthwhile);
        counts_.assign(n_parts_ * n_items, 0);
    }

    int64_t n_tasks() const { return n_parts_; }
    void operator()(int64_t part, Worker& worker) {
        uint64_t* counts = counts_.data() + part * n_items_;
        const int32_t* items = items_;
        const int8_t* labels = labels_;
        const int64_t last = first_of(part + 1);
        for (int64_t i = first_of(part); i < last;) {
            const int64_t end = std::min(i + kStretch, last);
            if (worker.spend(end - i)) return;
            if (labels)  // no branch, which would be unpredictable: a label's sign is a bit
                for (; i < end; ++i)
                    counts[items[i]] += kOne + (static_cast<uint64_t>(static_cast<uint8_t>(~labels[i])) >> 7);
            else
                for (; i < end; ++i) counts[items[i]] += kOne;
        }
    }

    // Writes the n_items sums over the parts and, if there are labels, those of +1 after them.
    void write(double* counts) const {
        for (int64_t item = 0; item < n_items_; ++item) {
            int64_t n_entries = 0, n_positives = 0;
            for (int64_t part = 0; part < n_parts_; ++part) {
                const uint64_t counted = counts_[part * n_items_ + item];
                n_entries += static_cast<int64_t>(counted >> 32);
                n_positives += static_cast<int64_t>(counted & (kOne - 1));
            }
            counts[item] = static_cast<double>(n_entries);
            if (labels_) counts[n_items_ + item] = static_cast<double>(n_positives);
        }
    }

private:
    // Entries of the smallest part worth a thread, of the largest part, and between two counts of the work.
    static constexpr int64_t kLeast = 1 << 17, kMost = int64_t{1} << 31, kStretch = 1 << 16;
    static constexpr uint64_t kOne = uint64_t{1} << 32;  // an entry; positives are counted in the lower half

    int64_t size_;
    const int32_t* items_;
    const int8_t* labels_;
    int64_t n_items_, n_parts_;
    std::vector<uint64_t> counts_;

    int64_t first_of(int64_t part) const { return size_ / n_parts_ * part + std::min(part, size_ % n_parts_); }
};

// Marks the users with an entry of label +1.
inline void find_positives(const int64_t* indptr, const int8_t* labels, int64_t n_users, uint8_t* have) {
    for (int64_t user = 0; user < n_users; ++user) {
        const int8_t *first = labels + indptr[user], *last = labels + indptr[user + 1];
        have[user] = std::find(first, last, int8_t{1}) != last;
    }
}

}  // namespace lightfm_fast
