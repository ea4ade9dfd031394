// The outcome of a task of an epoch.
#pragma once

#include <cmath>
#include <cstdint>

#include "team.hpp"

namespace lightfm_fast {

// A model with scores of this size has diverged: training stops before they become infinite.
constexpr float kLargestScore = 1e12f;

struct Outcome {
    double loss = 0.0;    // sum over the samples
    int64_t samples = 0;  // visited samples, including those that took no step
    bool diverged = false;
};

// For a team: some of an epoch's tasks, from `first` on, and the outcome of each. `run` does one task.
template <class Epoch, class Run>
struct EpochTasks {
    Run run;
    const Epoch* epoch;
    int64_t first;
    Outcome* outcomes;

    void operator()(int64_t task, Worker& worker) const { outcomes[task] = run(*epoch, first + task, worker); }
};

inline bool in_range(float score) { return std::fabs(score) < kLargestScore; }  // false for NaN

}  // namespace lightfm_fast
