// The estimator's settings, which are the same for all samples of an epoch.
#pragma once

#include <cstdint>

#include "optimizers.hpp"

namespace lightfm_fast {

struct Settings {
    Schedule schedule;
    bool all_pairs;  // scores include the pairs of features within a row
    double identity_dropout;
    const float* log_rank;  // WARP's weight after a number of draws; log_rank[0] = 1
    int32_t max_sampled;    // draws in search of a violating item, at most
    int32_t k;              // k-OS: the k-th best of n positives
    int32_t n;
    int32_t n_negatives;
    float temperature;
};

}  // namespace lightfm_fast
