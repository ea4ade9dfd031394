// Single parts of the kernels as plain functions, for the tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/copies.hpp"
#include "kernels/epoch.hpp"
#include "kernels/optimizers.hpp"
#include "kernels/order.hpp"
#include "kernels/rng.hpp"
#include "kernels/samplers/alias.hpp"
#include "kernels/samplers/hardest.hpp"
#include "kernels/samplers/warp.hpp"
#include "kernels/samples.hpp"
#include "kernels/sketches.hpp"

namespace lightfm_fast {

// Weights, their optimiser's state and gradients, in separate arrays.
struct Cells {
    float* weights;
    float* state[2];  // accumulated squares of gradients and, for Adadelta, of updates
    const float* gradients;
    int64_t size;
};

template <class Number, class Optimizer>
void step_by(const Optimizer& optimizer, const Cells& cells) {
    for (int64_t i = 0; i < cells.size; i += sizeof(Number) / sizeof(float)) {
        Number weight, gradient, state[2];
        std::memcpy(&weight, cells.weights + i, sizeof(Number));
        std::memcpy(&gradient, cells.gradients + i, sizeof(Number));
        for (int s = 1; s < Optimizer::kSegments; ++s)
            std::memcpy(&state[s - 1], cells.state[s - 1] + i, sizeof(Number));
        optimizer.step(weight, state, optimizer.pull(gradient));
        std::memcpy(cells.weights + i, &weight, sizeof(Number));
        for (int s = 1; s < Optimizer::kSegments; ++s)
            std::memcpy(cells.state[s - 1] + i, &state[s - 1], sizeof(Number));
    }
}

// Embeddings are stepped by vectors, biases by single numbers.
template <class Optimizer>
void step_cells(const Optimizer& optimizer, const Cells& cells, bool by_vectors) {
    by_vectors ? step_by<Vec>(optimizer, cells) : step_by<float>(optimizer, cells);
}

inline std::vector<int64_t> positions(int64_t size, uint64_t seed, uint64_t epoch, int64_t stratum) {
    const Order order(size, Order::choose_n_blocks(size, size, 32, false), seed, epoch);
    std::vector<int64_t> positions;
    for (int64_t block = 0; block < order.n_blocks; ++block) positions.push_back(order.position(stratum, block));
    return positions;
}

// The positions of a block in the order in which they are trained on: samples `spread` strata apart share a group.
inline std::vector<int64_t> positions_of_block(int64_t size, int64_t n_blocks, int64_t spread, int64_t block) {
    std::vector<int32_t> positions(size);
    for (int64_t i = 0; i < size; ++i) positions[i] = static_cast<int32_t>(i);
    Samples samples{};
    samples.users = samples.items = positions.data();
    Order order(size, n_blocks, 0, 0);
    order.spread = spread;
    GroupReader reader(samples, order, block, 0, order.n_strata());
    std::vector<int64_t> taken;
    Group group;
    for (reader.fill(group); group.size > 0; reader.fill(group))
        taken.insert(taken.end(), group.items, group.items + group.size);
    return taken;
}

// Whether an item is among a user's, ascending.
inline bool is_listed(const int32_t* items, int64_t size, int32_t n_items, int32_t item) {
    const int64_t indptr[] = {0, size};
    KnownItems known{};
    known.indptr = indptr;
    known.items = items;
    known.n_items = n_items;
    return known.is_listed(0, item);
}

// Adds to the threads' copies of rows and merges them, twice: at the second merge there are no changes.
// row_changes is n_threads x n_copied x the size of a row, bias_changes n_threads x n_copied x bias_segments.
inline void merge_copies(const Table& table, const FeatureRows& features, int n_threads, float coupling,
                         const float* row_changes, const float* bias_changes) {
    Copies copies(table, features, n_threads, coupling);
    for (int thread = 0; thread < n_threads; ++thread) {
        copies.fill(thread);
        const Table own = copies.table(thread);
        for (int32_t i = 0; i < features.n_copied; ++i) {
            const int64_t index = features.indptr ? ~static_cast<int64_t>(i) : i;
            for (int j = 0; j < table.segments * table.width; ++j) own.row(index)[j] += *row_changes++;
            for (int j = 0; j < table.bias_segments; ++j) own.bias(index)[j] += *bias_changes++;
        }
    }
    for (int time = 0; time < 2; ++time)
        for (int part = 0; part < Copies::kParts; ++part) copies.merge(part);
}

inline std::vector<int64_t> equal_users(int64_t size, int32_t n_users) {
    std::vector<int64_t> indptr(n_users + 1);
    for (int32_t user = 0; user <= n_users; ++user) indptr[user] = size * user / n_users;
    return indptr;
}

// The rounds of an epoch of `size` samples of `n_users` users, equally many for each, with copies of `n_copied` rows.
inline std::vector<Round> rounds(int64_t size, int32_t n_users, int32_t n_copied, bool by_user, uint64_t number,
                                 int n_threads) {
    const std::vector<int64_t> indptr = equal_users(size, n_users);
    Samples samples{};
    samples.indptr = indptr.data();
    samples.n_users = n_users;
    Side users{}, items{};
    items.features.n_copied = n_copied;
    const Settings settings{};
    const Plan plan = by_user ? Plan{}.visiting_users().with_blocks(32) : Plan{};
    const Epoch epoch(samples, Popularity{}, users, items, settings, plan, 0, number, n_threads);
    std::vector<Round> rounds;
    for (int64_t first = 0; first < epoch.n_tasks() && (rounds.empty() || rounds.back().n_tasks > 0);) {
        rounds.push_back(epoch.round_from(first));
        first += rounds.back().n_tasks;
    }
    return rounds;
}

// The number of parts of the items that are refreshed before each task of an epoch, and after the last.
inline std::vector<int64_t> parts_sketched(int64_t size, int32_t n_users, int32_t n_items, bool hardest,
                                           uint64_t number) {
    const std::vector<int64_t> indptr = equal_users(size, n_users);
    Samples samples{};
    samples.indptr = indptr.data();
    samples.n_users = n_users;
    samples.n_items = n_items;
    const Plan& plan = hardest ? HardestOfUniform::kPlan : UntilViolation::kPlan;
    const Settings settings{};
    return Epoch(samples, Popularity{}, Side{}, Side{}, settings, plan, 0, number, 1).parts_sketched;
}

// Scores a group of different users by sketches, each with one item. The items' table has one segment.
inline void score_by_sketches(const float* users, const Table& items, float* scores) {
    const Sketches sketches(kGroup, items.width);
    Team team;
    Worker worker(team, 0);
    for (int part = 0; part < Sketches::kParts; ++part)
        sketches.make(part, items, FeatureRows{}, represent<CrossPairs>, {Stream(0, 0, 0), 0, 0.0}, worker);
    Group group;
    Sketches::Candidates<kGroup> candidates;
    for (int g = 0; g < kGroup; ++g) {
        group.users[g] = g;
        sketches.put(items.width, g, g, 0, candidates);
    }
    UserSketches sketched(items.width);
    const float* embeddings[kGroup];
    for (int g = 0; g < kGroup; ++g) embeddings[g] = users + g * items.width;
    sketched.make(items.width, group, embeddings);
    Sketches::score_each(items.width, sketched, candidates, 0, scores);
}

// The draws of one task of an epoch.
struct Draws {
    Stream stream{0, 0, 0};
    std::vector<Popularity::Cell> cells;

    void start(const double* weights, int32_t n_items, uint64_t seed, uint64_t epoch, uint64_t task) {
        stream = Stream(seed, epoch, task);
        cells.resize(n_items);
        Team team;
        Worker worker(team, 0);
        Popularity::build(weights, n_items, cells.data(), worker);
    }
    int32_t popular(uint64_t counter) const {
        return Popularity{cells.data(), static_cast<int32_t>(cells.size())}.draw(stream, counter);
    }
};

}  // namespace lightfm_fast
