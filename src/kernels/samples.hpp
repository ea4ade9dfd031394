// The samples to train on, grouped by user.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "membership.hpp"
#include "team.hpp"

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

// For a team: groups interactions, in any order, by user into CSR arrays, with the user of each entry. Equal entries
// keep their order. `indptr` has n_users + 1 places. Weights and labels may be null, and then so are their outputs.
struct GroupByUser {
    int64_t size;
    const int32_t* users;
    const int32_t* items;
    const float* weights;
    const int8_t* labels;
    int32_t n_users;
    int64_t* indptr;
    int32_t* out_users;
    int32_t* out_items;
    float* out_weights;
    int8_t* out_labels;

    void operator()(int64_t, Worker& worker) const {
        std::fill(indptr, indptr + n_users + 1, 0);
        for (int64_t i = 0; i < size && !worker.spend(1); ++i) ++indptr[users[i] + 1];
        for (int32_t u = 0; u < n_users; ++u) indptr[u + 1] += indptr[u];
        for (int32_t u = 0; u < n_users && !worker.spend(count(u)); ++u)
            std::fill(out_users + indptr[u], out_users + indptr[u + 1], u);

        std::vector<int64_t> next(indptr, indptr + n_users);
        for (int64_t i = 0; i < size && !worker.spend(kScattered); ++i) {
            const int64_t place = next[users[i]]++;
            out_items[place] = items[i];
            if (weights) out_weights[place] = weights[i];
            if (labels) out_labels[place] = labels[i];
        }
        std::vector<Entry> row;
        for (int32_t u = 0; u < n_users && !worker.spend(kSorted * count(u)); ++u) sort_row(u, row);
    }

private:
    static constexpr int64_t kScattered = 8, kSorted = 16;  // work on an entry, roughly

    struct Entry {
        int32_t item;
        float weight;
        int8_t label;
    };

    int64_t count(int32_t user) const { return indptr[user + 1] - indptr[user]; }

    void sort_row(int32_t user, std::vector<Entry>& row) const {
        const int64_t first = indptr[user], last = indptr[user + 1];
        if (std::is_sorted(out_items + first, out_items + last)) return;
        if (!weights && !labels) {
            std::sort(out_items + first, out_items + last);
            return;
        }
        row.clear();
        for (int64_t i = first; i < last; ++i)
            row.push_back({out_items[i], weights ? out_weights[i] : 1.0f, labels ? out_labels[i] : int8_t{1}});
        std::stable_sort(row.begin(), row.end(), [](const Entry& a, const Entry& b) { return a.item < b.item; });
        for (int64_t i = first; i < last; ++i) {
            out_items[i] = row[i - first].item;
            if (weights) out_weights[i] = row[i - first].weight;
            if (labels) out_labels[i] = row[i - first].label;
        }
    }
};

}  // namespace lightfm_fast
