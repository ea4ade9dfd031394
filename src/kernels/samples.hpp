// The samples to train on, grouped by user.
#pragma once

#include <cstdint>

#include "membership.hpp"

namespace lightfm_fast {

// CSR: user u's items, ascending, are at positions indptr[u] .. indptr[u + 1] - 1.
struct Samples {
    const int64_t* indptr;
    const int32_t* users;  // the user of each position, to save a search
    const int32_t* items;
    const float* weights;  // null: every sample weighs 1
    const int8_t* labels;  // -1 or +1; null: every label is +1
    int32_t n_users;
    int32_t n_items;
    const int32_t* drawable;  // the items that uniform draws choose from; null: all
    int32_t n_drawable;
    KnownItems known;

    int64_t size() const { return indptr[n_users]; }
    int64_t count(int32_t user) const { return indptr[user + 1] - indptr[user]; }

    // Turns n places among the drawable items into the items.
    void name_drawn(int32_t* places, int32_t n) const {
        if (!drawable) return;
        for (int32_t i = 0; i < n; ++i) places[i] = drawable[places[i]];
    }
};

}  // namespace lightfm_fast
