// The parameters of one side (users or items): a row a feature.
//
// A row holds the embedding, then the optimiser's state of the embedding, each padded to `width` floats: a step fetches
// consecutive cache lines. Biases and their state have a separate array. In the row they would take another cache line
// whenever the dimension fills the row's lines.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "simd/vectors.hpp"
#include "team.hpp"

namespace lightfm_fast {

struct Table {
    float* rows;    // n_rows x segments x width
    float* biases;  // n_rows x bias_segments
    int32_t width;
    int32_t segments;
    int32_t bias_segments;
    // One past the end of a thread's copies of rows and biases, which have negative indices: see Copies.
    float* copied_rows = nullptr;
    float* copied_biases = nullptr;

    float* row(int64_t index) const { return row(index, segments * width); }
    float* bias(int64_t index) const { return bias(index, bias_segments); }
    // The same with the size of a row or a bias, which may be known at compile time.
    float* row(int64_t index, int length) const { return (index < 0 ? copied_rows : rows) + index * length; }
    float* bias(int64_t index, int length) const { return (index < 0 ? copied_biases : biases) + index * length; }
};

// For a team: whether all of an array's values are finite.
struct FiniteTasks {
    static constexpr int64_t kStretch = 1 << 16;  // values of a task

    const float* values = nullptr;
    int64_t size = 0;

    int64_t n_tasks() const { return (size + kStretch - 1) / kStretch; }
    void operator()(int64_t stretch, Worker&) {
        if (!all_finite(values + stretch * kStretch, std::min(kStretch, size - stretch * kStretch)))
            are_finite_.store(false, std::memory_order_relaxed);
    }
    bool are_finite() const { return are_finite_; }

private:
    std::atomic<bool> are_finite_{true};
};

}  // namespace lightfm_fast
