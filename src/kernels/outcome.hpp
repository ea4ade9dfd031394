// The outcome of a task of an epoch.
#pragma once

#include <cmath>
#include <cstdint>

namespace lightfm_fast {

// A model with scores of this size has diverged: training stops before they become infinite.
constexpr float kLargestScore = 1e12f;

struct Outcome {
    double loss = 0.0;    // sum over the samples
    int64_t samples = 0;  // visited samples, including those that took no step
    bool diverged = false;
};

inline bool in_range(float score) { return std::fabs(score) < kLargestScore; }  // false for NaN

}  // namespace lightfm_fast
