// Scores of users for all items, and ranks.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "features.hpp"
#include "simd/prefetch.hpp"
#include "simd/target.hpp"
#include "simd/vectors.hpp"
#include "table.hpp"
#include "team.hpp"

namespace lightfm_fast {

// The items' representations, transposed in tiles: component c of a tile's items is in kTile neighbouring floats. A
// score then needs no sum across lanes, and every item's score takes the same operations in the same order. Equal items
// have bitwise equal scores, in any tile and with any user.
constexpr int kTile = kRowAlignment;
constexpr int kTileVectors = kTile / kLanes;

inline int64_t n_tiles(int64_t n_items) { return (n_items + kTile - 1) / kTile; }

// `tiles` is n_tiles x n_components x kTile, with zeros where the last tile has no item. Item i's embedding is in row
// rows[i], or in row i if `rows` is null. With `by_length` embeddings are divided by their lengths.
template <class Row>
inline void pack_tile(const float* embeddings, int64_t stride, const Row* rows, int64_t n_items, int n_components,
                      bool by_length, int64_t tile, float* tiles) {
    float* packed = tiles + tile * n_components * kTile;
    for (int64_t i = 0; i < kTile; ++i) {
        const int64_t item = tile * kTile + i;
        const float* embedding = embeddings + (rows && item < n_items ? rows[item] : item) * stride;
        for (int c = 0; c < n_components; ++c) packed[c * kTile + i] = item < n_items ? embedding[c] : 0.0f;
    }
    if (by_length) divide_by_lengths<kTileVectors>(packed, n_components);
}

// Computes scores[u][offset + i] for some users and the items of kTiles consecutive tiles, and prefetches kTiles tiles
// from `next` on.
template <int kUsers, int kTiles = 1>
inline void score_tile(const float* const* users, const float* packed, const float* biases, int n_components,
                       float* const* scores, int64_t offset, const float* next) {
    constexpr int kVectors = kTiles * kTileVectors;
    Vec total[kUsers][kVectors];
    for (int u = 0; u < kUsers; ++u)
        for (int v = 0; v < kVectors; ++v) total[u][v] = load(biases + v * kLanes);
    for (int c = 0; c < n_components; ++c) {
        Vec item[kVectors];
        for (int v = 0; v < kVectors; ++v) {
            const int64_t place = (v / kTileVectors * n_components + c) * kTile + v % kTileVectors * kLanes;
            item[v] = load(packed + place);
            prefetch_read(next + place);
        }
        for (int u = 0; u < kUsers; ++u)
            for (int v = 0; v < kVectors; ++v) total[u][v] += users[u][c] * item[v];
    }
    for (int u = 0; u < kUsers; ++u)
        for (int v = 0; v < kVectors; ++v) store(scores[u] + offset + v * kLanes, total[u][v]);
}

struct Catalogue {
    const float* tiles;       // n_tiles x n_components x kTile
    const float* biases;      // n_tiles x kTile, NaN where the last tile has no item, so that its score counts for none
    const float* embeddings;  // the items' rows as they were packed, `stride` floats apart
    int64_t stride;
    int64_t n_items;
    int32_t n_components;
    bool by_length;
};

constexpr float kNoScore = -std::numeric_limits<float>::infinity();

// Sizes of blocks. The scores of kRankedAtOnce users for kRankTiles tiles fill the vector registers.
// The scores for a chunk of tiles stay in the L1 cache until they are counted. The chunk itself stays in L2 for all
// users of a task.
constexpr int kRankTiles = kTileVectors == 1 ? 3 : 1;
constexpr int kRankedAtOnce = kVectorRegisters * 3 / 4 / (kRankTiles * kTileVectors);
constexpr int kChunkTiles = 48;
constexpr int64_t kChunk = kChunkTiles * kTile;
constexpr int kMostRankedPerTask = 288;
constexpr int64_t kCountedAtOnce = 64;
static_assert(kChunk % kCountedAtOnce == 0);
static_assert(kChunkTiles % kRankTiles == 0 && kMostRankedPerTask % kRankedAtOnce == 0);

// Users in a task. With more users, tiles are fetched to L2 less often. With fewer, no thread is idle at the end.
inline int64_t ranked_per_task(int64_t n_users, int num_threads) {
    const int64_t share = n_users / (4 * int64_t{num_threads}) / kRankedAtOnce * kRankedAtOnce;
    return std::max<int64_t>(kRankedAtOnce, std::min<int64_t>(kMostRankedPerTask, share));
}

constexpr float kNotCounted = std::numeric_limits<float>::quiet_NaN();

// Adds to counts[t] the number of scores that reach thresholds[t]; the number of scores is a multiple of
// kCountedAtOnce. One pass over the scores serves several thresholds.
template <int kThresholds>
inline void count_at_least(const float* scores, int64_t n_scores, const float* thresholds, int32_t* counts) {
    Ints reached[kThresholds] = {};
    for (int64_t i = 0; i < n_scores; i += 2 * kLanes) {
        const Vec first = load(scores + i), second = load(scores + i + kLanes);
        for (int t = 0; t < kThresholds; ++t) {
            const Vec threshold = splat(thresholds[t]);
            count_at_least(first, threshold, reached[t]);
            count_at_least(second, threshold, reached[t]);
        }
    }
    for (int t = 0; t < kThresholds; ++t) counts[t] += sum(reached[t]);
}

inline void compare_with_each(const float* scores, int64_t n_scores, const float* thresholds, int64_t n_thresholds,
                              int32_t* counts) {
    int64_t t = 0;
    for (; t + 8 <= n_thresholds; t += 8) count_at_least<8>(scores, n_scores, thresholds + t, counts + t);
    if (n_thresholds & 4) count_at_least<4>(scores, n_scores, thresholds + t, counts + t), t += 4;
    if (n_thresholds & 2) count_at_least<2>(scores, n_scores, thresholds + t, counts + t), t += 2;
    if (n_thresholds & 1) count_at_least<1>(scores, n_scores, thresholds + t, counts + t);
}

// Up to this many thresholds, comparing with each is faster than searching: comparisons fill vectors.
constexpr int64_t kMostCompared = 192;

// Adds to counts[t] the number of scores that reach thresholds[t] but not thresholds[t + 1]; thresholds ascend. Several
// searches are interleaved, since each step of a search waits for the step before.
inline void search_each(const float* scores, int64_t n_scores, const float* thresholds, int64_t n_thresholds,
                        int32_t* counts) {
    constexpr int kAtOnce = 8;
    static_assert(kCountedAtOnce % kAtOnce == 0);
    for (int64_t i = 0; i < n_scores; i += kAtOnce) {
        int64_t place[kAtOnce] = {};
        for (int64_t left = n_thresholds; left > 1; left -= left / 2)
            for (int j = 0; j < kAtOnce; ++j)
                place[j] += thresholds[place[j] + left / 2] <= scores[i + j] ? left / 2 : 0;
        for (int j = 0; j < kAtOnce; ++j) counts[place[j]] += thresholds[place[j]] <= scores[i + j];
    }
}

// A thread's buffers, reused by its tasks. All except the scores have an entry for each test item of the task.
struct RankBuffers {
    std::vector<float> tile, own, thresholds;
    std::vector<int32_t> counts;
    float scores[kRankedAtOnce * kChunk];
};

// Writes the scores of a user's test items into `own`, equal to the last bit to their scores within the whole
// catalogue.
inline void score_items(const Catalogue& catalogue, const float* user, const int32_t* items, int64_t n_items,
                        std::vector<float>& tile, float* own, Worker& worker) {
    tile.resize(static_cast<size_t>(catalogue.n_components) * kTile);
    for (int64_t first = 0; first < n_items && !worker.spend(2 * kTile * catalogue.n_components); first += kTile) {
        const int64_t size = std::min<int64_t>(kTile, n_items - first);
        float biases[kTile] = {}, scores[kTile];
        float* out = scores;
        pack_tile(catalogue.embeddings, catalogue.stride, items + first, size, catalogue.n_components,
                  catalogue.by_length, 0, tile.data());
        for (int64_t i = 0; i < size; ++i) biases[i] = catalogue.biases[items[first + i]];
        score_tile<1>(&user, tile.data(), biases, catalogue.n_components, &out, 0, tile.data());
        std::copy(scores, scores + size, own + first);
    }
}

// scores[u * kChunk + i]: the score of user u, of up to kRankedAtOnce, for item i of the tiles from `first` to `last`.
inline void score_chunk(const Catalogue& catalogue, const float* const* users, int n_users, int64_t first, int64_t last,
                        float* scores) {
    const float* user[kRankedAtOnce];
    float* out[kRankedAtOnce];
    for (int u = 0; u < kRankedAtOnce; ++u) {
        user[u] = users[u < n_users ? u : 0];
        out[u] = scores + u * kChunk;
    }
    const auto at = [&](int64_t tile) { return catalogue.tiles + tile * catalogue.n_components * kTile; };
    int64_t tile = first;
    for (; tile + kRankTiles <= last; tile += kRankTiles) {
        const float* next = at(tile + 2 * kRankTiles <= last ? tile + kRankTiles : first);
        score_tile<kRankedAtOnce, kRankTiles>(user, at(tile), catalogue.biases + tile * kTile, catalogue.n_components,
                                              out, (tile - first) * kTile, next);
    }
    for (; tile < last; ++tile)
        score_tile<kRankedAtOnce>(user, at(tile), catalogue.biases + tile * kTile, catalogue.n_components, out,
                                  (tile - first) * kTile, at(first));
}

// Computes ranks from 0 of each user's test items among the items that are not the user's train items: the number of
// other items that score at least as high. The user's bias adds the same to all scores and is left out. `rows` ascend,
// each has test items, and the rows between them have none.
inline void rank_users(const Catalogue& catalogue, const float* const* users, const int64_t* rows, int n_users,
                       const int64_t* test_indptr, const int32_t* test_items, const int64_t* train_indptr,
                       const int32_t* train_items, RankBuffers& buffers, float* ranks, Worker& worker) {
    const int64_t begin = test_indptr[rows[0]], n_tested = test_indptr[rows[n_users - 1] + 1] - begin;
    buffers.own.resize(n_tested);
    buffers.counts.assign(n_tested, 0);
    int64_t starts[kMostRankedPerTask + 1] = {}, next_train[kMostRankedPerTask];
    for (int u = 0; u < n_users; ++u) {
        starts[u + 1] = test_indptr[rows[u] + 1] - begin;
        if (train_indptr) next_train[u] = train_indptr[rows[u]];
        score_items(catalogue, users[u], test_items + begin + starts[u], starts[u + 1] - starts[u], buffers.tile,
                    buffers.own.data() + starts[u], worker);
    }
    buffers.thresholds = buffers.own;
    float* thresholds = buffers.thresholds.data();
    int32_t* counts = buffers.counts.data();
    for (int u = 0; u < n_users; ++u)
        if (starts[u + 1] - starts[u] > kMostCompared) {
            for (int64_t t = starts[u]; t < starts[u + 1]; ++t)
                if (std::isnan(thresholds[t])) thresholds[t] = -kNoScore;  // NaN cannot be sorted
            std::sort(thresholds + starts[u], thresholds + starts[u + 1]);
        }

    for (int64_t tile = 0; tile < n_tiles(catalogue.n_items); tile += kChunkTiles) {
        const int64_t end = std::min(tile + kChunkTiles, n_tiles(catalogue.n_items));
        const int64_t first = tile * kTile, size = (end - tile) * kTile;
        for (int group = 0; group < n_users; group += kRankedAtOnce) {
            if (worker.spend(static_cast<int64_t>(size) * catalogue.n_components)) return;
            const int n_grouped = std::min(n_users - group, kRankedAtOnce);
            score_chunk(catalogue, users + group, n_grouped, tile, end, buffers.scores);
            for (int u = group; u < group + n_grouped; ++u) {
                float* scores = buffers.scores + (u - group) * kChunk;
                if (train_indptr) {
                    int64_t& next = next_train[u];
                    for (; next < train_indptr[rows[u] + 1] && train_items[next] < first + size; ++next)
                        scores[train_items[next] - first] = kNotCounted;
                }
                const int64_t padded = (size + kCountedAtOnce - 1) / kCountedAtOnce * kCountedAtOnce;
                std::fill(scores + size, scores + padded, kNotCounted);
                const int64_t n = starts[u + 1] - starts[u];
                const auto count = n > kMostCompared ? search_each : compare_with_each;
                count(scores, padded, thresholds + starts[u], n, counts + starts[u]);
            }
        }
    }

    for (int u = 0; u < n_users; ++u) {
        const int64_t n = starts[u + 1] - starts[u];
        const float* sorted = thresholds + starts[u];
        int32_t* reached = counts + starts[u];
        if (n > kMostCompared)
            for (int64_t t = n - 1; t > 0; --t) reached[t - 1] += reached[t];
        for (int64_t t = 0; t < n; ++t) {
            const float own = buffers.own[starts[u] + t];
            const int32_t item = test_items[begin + starts[u] + t];
            const int64_t place = n > kMostCompared ? std::lower_bound(sorted, sorted + n, own) - sorted : t;
            const bool counts_itself =
                !train_indptr ||
                !std::binary_search(train_items + train_indptr[rows[u]], train_items + train_indptr[rows[u] + 1], item);
            ranks[begin + starts[u] + t] = std::isnan(own) ? 0.0f : static_cast<float>(reached[place] - counts_itself);
        }
    }
}

// For a team: the tiles of a catalogue; see pack_tile().
struct PackTasks {
    static constexpr int64_t kTiles = 16;  // tiles of a task

    const float* embeddings;
    int64_t stride;
    int64_t n_items;
    int32_t n_components;
    bool by_length;
    float* tiles;

    int64_t n_tasks() const { return (n_tiles(n_items) + kTiles - 1) / kTiles; }
    void operator()(int64_t task, Worker& worker) const {
        for (int64_t tile = task * kTiles; tile < std::min(n_tiles(n_items), (task + 1) * kTiles); ++tile) {
            if (worker.spend(2 * kTile * int64_t{n_components})) return;
            pack_tile<int32_t>(embeddings, stride, nullptr, n_items, n_components, by_length, tile, tiles);
        }
    }
};

// For a team: the ranks of the test items of the `tested` users that have some; their embeddings are `users`.
struct RankTasks {
    Catalogue catalogue;
    const float* const* users;
    const int64_t* tested;
    int64_t n_tested;
    int64_t per_task;
    const int64_t* test_indptr;
    const int32_t* test_items;
    const int64_t* train_indptr;
    const int32_t* train_items;
    RankBuffers* buffers;  // one for each thread
    float* ranks;

    int64_t n_tasks() const { return (n_tested + per_task - 1) / per_task; }
    void operator()(int64_t task, Worker& worker) const {
        const int64_t first = task * per_task;
        rank_users(catalogue, users + first, tested + first, static_cast<int>(std::min(per_task, n_tested - first)),
                   test_indptr, test_items, train_indptr, train_items, buffers[worker.number], ranks, worker);
    }
};

// For a team: the scores of pairs of rows, which are `stride` floats apart.
struct ScorePairsTasks {
    static constexpr int64_t kPairs = 1 << 12;  // pairs of a task

    const float *users, *user_biases, *items, *item_biases;
    int64_t user_stride, user_bias_stride, item_stride, item_bias_stride;
    const int64_t *user_rows, *item_rows;
    int64_t n_pairs;
    int32_t width;
    bool by_length;  // divide the product by the lengths of both embeddings
    float* scores;

    int64_t n_tasks() const { return (n_pairs + kPairs - 1) / kPairs; }
    void operator()(int64_t task, Worker& worker) const {
        for (int64_t pair = task * kPairs; pair < std::min(n_pairs, (task + 1) * kPairs); ++pair) {
            if (worker.spend(2 * width)) return;
            const int64_t user_row = user_rows[pair], item_row = item_rows[pair];
            const float *user = users + user_row * user_stride, *item = items + item_row * item_stride;
            const float user_bias = user_biases[user_row * user_bias_stride];
            const float item_bias = item_biases[item_row * item_bias_stride];
            if (by_length)
                scores[pair] = dot(user, item, width) * inverse_length(dot(user, user, width)) *
                                   inverse_length(dot(item, item, width)) +
                               user_bias + item_bias;
            else
                scores[pair] = dot(user, item, width) + user_bias + item_bias;
        }
    }
};

// For a team: whether each entry of a CSR matrix is also in another CSR matrix of the same shape.
struct CommonTasks {
    static constexpr int64_t kRows = 256;  // rows of a task

    const int64_t* indptr;
    const int32_t* items;
    const int64_t* other_indptr;  // the other matrix, whose rows are sorted
    const int32_t* other_items;
    int64_t n_rows;
    uint8_t* common;

    int64_t n_tasks() const { return (n_rows + kRows - 1) / kRows; }
    void operator()(int64_t task, Worker& worker) const {
        constexpr int64_t kSearch = 32;  // work on a search, roughly
        for (int64_t row = task * kRows; row < std::min(n_rows, (task + 1) * kRows); ++row) {
            const int32_t *first = other_items + other_indptr[row], *last = other_items + other_indptr[row + 1];
            for (int64_t entry = indptr[row]; entry < indptr[row + 1] && !worker.spend(kSearch); ++entry)
                common[entry] = std::binary_search(first, last, items[entry]);
        }
    }
};

}  // namespace lightfm_fast
