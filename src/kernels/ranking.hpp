// Scores of users against the whole catalogue, and the ranks that follow from them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "features.hpp"
#include "table.hpp"
#include "vec.hpp"

namespace lightfm_fast {

// The items' representations, kTile items abreast: component c of the items of a tile stands in kTile neighbouring
// floats, so that a score needs no sum across lanes and every item's is computed by the same operations in the same
// order. Equal items score equal to the last bit, in whatever tile and beside whatever user.
constexpr int kTile = kRowAlignment;
constexpr int kTileVectors = kTile / kLanes;
constexpr int kUsersAtOnce = 4;

inline int64_t n_tiles(int64_t n_items) { return (n_items + kTile - 1) / kTile; }

// `tiles` is n_tiles x n_components x kTile, zeros where the last tile has no item. Item i's embedding is in row
// rows[i], or i where there are no `rows`.
inline void pack_tile(const float* embeddings, int64_t stride, const int64_t* rows, int64_t n_items, int n_components,
                      int64_t tile, float* tiles) {
    float* packed = tiles + tile * n_components * kTile;
    for (int64_t i = 0; i < kTile; ++i) {
        const int64_t item = tile * kTile + i;
        const float* embedding = embeddings + (rows && item < n_items ? rows[item] : item) * stride;
        for (int c = 0; c < n_components; ++c) packed[c * kTile + i] = item < n_items ? embedding[c] : 0.0f;
    }
}

// scores[u][i] for the users of one block and the items of one tile.
template <int kUsers>
inline void score_tile(const float* const* users, const float* packed, const float* biases, int n_components,
                       float* const* scores, int64_t offset) {
    Vec total[kUsers][kTileVectors];
    for (int u = 0; u < kUsers; ++u)
        for (int v = 0; v < kTileVectors; ++v) total[u][v] = load(biases + v * kLanes);
    for (int c = 0; c < n_components; ++c) {
        Vec item[kTileVectors];
        for (int v = 0; v < kTileVectors; ++v) item[v] = load(packed + c * kTile + v * kLanes);
        for (int u = 0; u < kUsers; ++u)
            for (int v = 0; v < kTileVectors; ++v) total[u][v] += users[u][c] * item[v];
    }
    for (int u = 0; u < kUsers; ++u)
        for (int v = 0; v < kTileVectors; ++v) store(scores[u] + offset + v * kLanes, total[u][v]);
}

struct Catalogue {
    const float* tiles;   // n_tiles x n_components x kTile
    const float* biases;  // n_tiles x kTile
    int64_t n_items;
    int32_t n_components;
};

// buffer[u * width + i]: the score of user u, of up to kUsersAtOnce, for item i of the tiles from `first` to `last`.
inline void score_tiles(const Catalogue& catalogue, const float* const* users, int n_users, int64_t first, int64_t last,
                        float* buffer, int64_t width) {
    const float* user[kUsersAtOnce];
    float* scores[kUsersAtOnce];
    for (int u = 0; u < kUsersAtOnce; ++u) {
        user[u] = users[u < n_users ? u : 0];
        scores[u] = buffer + u * width;
    }
    for (int64_t tile = first; tile < last; ++tile)
        score_tile<kUsersAtOnce>(user, catalogue.tiles + tile * catalogue.n_components * kTile,
                                 catalogue.biases + tile * kTile, catalogue.n_components, scores,
                                 (tile - first) * kTile);
}

constexpr float kNoScore = -std::numeric_limits<float>::infinity();

// at_least[t]: how many scores reach thresholds[t]. A pass over the scores serves several thresholds. (Looking every
// score up among sorted thresholds was slower up to a thousand of them: comparisons fill vectors, searches do not.)
template <int kThresholds>
inline void count_at_least(const float* scores, int64_t n_scores, const float* thresholds, int32_t* at_least) {
    int32_t counts[kThresholds] = {};
    for (int64_t i = 0; i < n_scores; ++i)
        for (int t = 0; t < kThresholds; ++t) counts[t] += scores[i] >= thresholds[t];
    for (int t = 0; t < kThresholds; ++t) at_least[t] = counts[t];
}

constexpr int kThresholdsAtOnce = 8;

// A thread's memory, used from one group of users to the next.
struct RankBuffers {
    std::vector<float> scores, own;
    std::vector<int32_t> at_least;
};

// The ranks, from 0, of each user's test items among the items that are not the user's train items: the number of
// others that score at least as high. The user's own bias moves all alike and is left out.
inline void rank_users(const Catalogue& catalogue, const float* const* users, const int64_t* rows, int n_users,
                       const int64_t* test_indptr, const int32_t* test_items, const int64_t* train_indptr,
                       const int32_t* train_items, RankBuffers& buffers, float* ranks) {
    const int64_t padded = n_tiles(catalogue.n_items) * kTile;
    buffers.scores.resize(kUsersAtOnce * padded);
    score_tiles(catalogue, users, n_users, 0, n_tiles(catalogue.n_items), buffers.scores.data(), padded);

    for (int u = 0; u < n_users; ++u) {
        float* scores = buffers.scores.data() + u * padded;
        const int64_t first = test_indptr[rows[u]], last = test_indptr[rows[u] + 1];
        const int64_t n_own = last - first;
        buffers.own.resize(n_own);
        buffers.at_least.resize(n_own);
        float* own = buffers.own.data();
        int32_t* at_least = buffers.at_least.data();
        for (int64_t t = 0; t < n_own; ++t) own[t] = scores[test_items[first + t]];
        if (train_indptr)
            for (int64_t t = train_indptr[rows[u]]; t < train_indptr[rows[u] + 1]; ++t)
                scores[train_items[t]] = kNoScore;
        int64_t t = 0;
        for (; t + kThresholdsAtOnce <= n_own; t += kThresholdsAtOnce)
            count_at_least<kThresholdsAtOnce>(scores, catalogue.n_items, own + t, at_least + t);
        for (; t < n_own; ++t) count_at_least<1>(scores, catalogue.n_items, own + t, at_least + t);
        for (t = 0; t < n_own; ++t)
            ranks[first + t] = static_cast<float>(at_least[t] - (scores[test_items[first + t]] >= own[t]));
    }
}

}  // namespace lightfm_fast
