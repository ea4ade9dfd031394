// Scores of users against the whole catalogue, and the ranks that follow from them.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
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

// `tiles` is n_tiles x n_components x kTile, zeros where the last tile has no item.
inline void pack_tile(const float* embeddings, int64_t stride, int64_t n_items, int n_components, int64_t tile,
                      float* tiles) {
    float* packed = tiles + tile * n_components * kTile;
    for (int64_t i = 0; i < kTile; ++i) {
        const int64_t item = tile * kTile + i;
        for (int c = 0; c < n_components; ++c)
            packed[c * kTile + i] = item < n_items ? embeddings[item * stride + c] : 0.0f;
    }
}

// scores[u][tile * kTile + i] for the users of one block and the items of one tile.
template <int kUsers>
inline void score_tile(const float* const* users, const float* packed, const float* biases, int n_components,
                       float* const* scores, int64_t offset) {
    Vec total[kUsers][kTileVectors];
    for (int u = 0; u < kUsers; ++u)
        for (int v = 0; v < kTileVectors; ++v) total[u][v] = load(biases + offset + v * kLanes);
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

// The ranks, from 0, of each user's test items among the items that are not the user's train items: the number of
// others that score at least as high. The user's own bias moves all alike and is left out.
inline void rank_users(const Catalogue& catalogue, const float* const* users, const int64_t* rows, int n_users,
                       const int64_t* test_indptr, const int32_t* test_items, const int64_t* train_indptr,
                       const int32_t* train_items, std::vector<float>& buffer, float* ranks) {
    const int64_t padded = n_tiles(catalogue.n_items) * kTile;
    buffer.resize(kUsersAtOnce * padded);
    const float* user[kUsersAtOnce];
    float* scores[kUsersAtOnce];
    for (int u = 0; u < kUsersAtOnce; ++u) {
        user[u] = users[u < n_users ? u : 0];
        scores[u] = buffer.data() + u * padded;
    }
    for (int64_t tile = 0; tile < n_tiles(catalogue.n_items); ++tile)
        score_tile<kUsersAtOnce>(user, catalogue.tiles + tile * catalogue.n_components * kTile, catalogue.biases,
                                 catalogue.n_components, scores, tile * kTile);

    std::vector<float> own;
    for (int u = 0; u < n_users; ++u) {
        const int64_t first = test_indptr[rows[u]], last = test_indptr[rows[u] + 1];
        own.clear();
        for (int64_t t = first; t < last; ++t) own.push_back(scores[u][test_items[t]]);
        if (train_indptr)
            for (int64_t t = train_indptr[rows[u]]; t < train_indptr[rows[u] + 1]; ++t)
                scores[u][train_items[t]] = -std::numeric_limits<float>::infinity();
        for (int64_t t = first; t < last; ++t) {
            const float score = own[t - first];
            int32_t at_least = 0;
            for (int64_t i = 0; i < catalogue.n_items; ++i) at_least += scores[u][i] >= score;
            ranks[t] = static_cast<float>(at_least - (scores[u][test_items[t]] >= score));
        }
    }
}

}  // namespace lightfm_fast
