// A copy for each thread of the rows that every thread would write to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "features.hpp"
#include "merge.hpp"
#include "table.hpp"

namespace lightfm_fast {

// Threads that write to the same rows in turn wait for one another's cache lines longer than they compute. So an epoch
// goes by rounds: each thread steps its own copies of these rows, and after the round the changes are merged; see Merge.
//
// Negative indices. With features, FeatureRows::indices holds ~i for the i-th copied row, copied[i], and the index
// itself for all others. Copies are stored backwards before Table::copied_rows, so that index -1 is the last row in
// memory: an address takes one multiplication and one choice of base. Without features all rows are copied, and no
// index is negative.
class Copies {
public:
    // Parts in which rows are merged: enough that a delayed thread leaves some to others.
    static constexpr int kParts = 64;

    // `coupling`: see DampedSum.
    Copies(const Table& table, const FeatureRows& features, int n_threads, float coupling)
        : table_(table),
          features_(features),
          n_threads_(n_threads),
          row_size_(table.segments * table.width),
          merge_(table.width, table.segments, coupling),
          rows_(new float[static_cast<size_t>(features.n_copied) * n_threads * row_size_ + kRowAlignment]),
          biases_(new float[static_cast<size_t>(features.n_copied) * n_threads * table.bias_segments]) {
        const auto address = reinterpret_cast<uintptr_t>(rows_.get()) / sizeof(float);
        first_row_ = rows_.get() + (kRowAlignment - address % kRowAlignment) % kRowAlignment;
    }
    Copies(const Copies&) = delete;
    Copies& operator=(const Copies&) = delete;

    bool empty() const { return features_.n_copied == 0; }

    // Fills a thread's copies, before its first step. The thread itself should call it, so that the pages are on its
    // NUMA node.
    void fill(int thread) const {
        for (int32_t i = 0; i < features_.n_copied; ++i) {
            std::copy_n(table_.row(features_.copied[i]), row_size_, row(thread, i));
            std::copy_n(table_.bias(features_.copied[i]), table_.bias_segments, bias(thread, i));
        }
    }

    // The table with a thread's copies.
    Table table(int thread) const {
        Table own = table_;
        if (empty()) return own;
        if (features_.indptr) {
            own.copied_rows = row(thread, 0) + row_size_;
            own.copied_biases = bias(thread, 0) + table_.bias_segments;
        } else {
            own.rows = row(thread, 0);
            own.biases = bias(thread, 0);
        }
        return own;
    }

    // Merges the threads' changes of one part of the rows, and writes the result to all copies of the part.
    void merge(int part) const {
        const int64_t n = features_.n_copied;
        for (int64_t i = n * part / kParts; i < n * (part + 1) / kParts; ++i) {
            float *to = table_.row(features_.copied[i]), *bias_to = table_.bias(features_.copied[i]);
            merge_(
                to, bias_to, n_threads_, [&](int thread) { return row(thread, i); },
                [&](int thread) { return bias(thread, i); });
            for (int thread = 0; thread < n_threads_; ++thread) {
                std::copy_n(to, row_size_, row(thread, i));
                std::copy_n(bias_to, table_.bias_segments, bias(thread, i));
            }
        }
    }

private:
    Table table_;
    FeatureRows features_;
    int n_threads_;
    int64_t row_size_;
    Merge merge_;
    std::unique_ptr<float[]> rows_, biases_;
    float* first_row_;

    // With features copies are stored backwards.
    int64_t place(int thread, int64_t i) const {
        const int64_t n = features_.n_copied;
        return thread * n + (features_.indptr ? n - 1 - i : i);
    }
    float* row(int thread, int64_t i) const { return first_row_ + place(thread, i) * row_size_; }
    float* bias(int thread, int64_t i) const { return biases_.get() + place(thread, i) * table_.bias_segments; }
};

}  // namespace lightfm_fast
