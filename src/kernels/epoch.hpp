// One epoch: its samples and parameters, its order, and its rounds of tasks for threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "copies.hpp"
#include "features.hpp"
#include "order.hpp"
#include "rng.hpp"
#include "samplers/alias.hpp"
#include "samples.hpp"
#include "settings.hpp"
#include "sketches.hpp"
#include "table.hpp"
#include "team.hpp"

namespace lightfm_fast {

// The parameters, features and L2 penalty of one side, users or items.
struct Side {
    Table table;
    FeatureRows features;
    float alpha;

    bool is_one_hot() const { return features.indptr == nullptr; }
    double features_a_row(int32_t n_rows) const {
        return is_one_hot() ? 1.0 : static_cast<double>(features.indptr[n_rows]) / n_rows;
    }
};

// First counters of the draws for identity dropout, above the counters of all samplers' draws.
constexpr uint64_t kUserDropout = 2ull << 62, kItemDropout = 3ull << 62;

// The stream of draws for sketches, which belong to no task.
constexpr uint64_t kSketchStream = ~1ull;

// A run of tasks between two merges of the threads' copies.
struct Round {
    int64_t n_tasks;
    int n_threads;
};

// One epoch over the samples or, for losses over whole rows, over the users. A task is one thread's unit of work: a run
// of strata of one block (see Order).
struct Epoch {
    Samples samples;
    Popularity popularity;
    Side users;
    Side items;
    const Settings& settings;
    uint64_t seed;
    uint64_t number;
    Order order;
    int n_threads;
    Copies user_copies, item_copies;
    Sketches sketches;                         // of the items, for losses that search
    std::vector<int64_t> parts_sketched;       // for each task, how many parts of the items are refreshed before it
    mutable std::atomic<bool> stopped{false};  // a task has diverged; later tasks do nothing

    static constexpr int64_t kStrataPerTask = 2048;
    // Largest number of samples of a round: tens of milliseconds of work. Rounds with many copied rows are longer,
    // since copies take time to merge.
    static constexpr int64_t kMostInRound = 1 << 18, kVisitsInRound = 64;
    // Threads do not see one another's steps within a round, and early steps are long. So a round with copies has at
    // most 1/kShare of the number of tasks so far. While that is less than two tasks, or less than kLeastVisits samples
    // for each copied row, one thread works alone.
    static constexpr int64_t kShare = 16, kLeastVisits = 4;
    // Sketches are also refreshed after at most 1/kShare of the number of samples so far, but not within n_items /
    // kItemsForSketch samples of the last refresh.
    static constexpr int64_t kItemsForSketch = 4;

    Epoch(const Samples& samples, const Popularity& popularity, const Side& users, const Side& items,
          const Settings& settings, const Plan& plan, uint64_t seed, uint64_t number, int n_threads)
        : samples(samples),
          popularity(popularity),
          users(users),
          items(items),
          settings(settings),
          seed(seed),
          number(number),
          order(make_order(samples, plan, settings, users, items, seed, number)),
          n_threads(n_threads),
          user_copies(users.table, users.features, n_threads, coupling(users, samples.n_users)),
          item_copies(items.table, items.features, n_threads, coupling(items, samples.n_items)),
          sketches(plan.visits_of_sketch > 0 ? samples.n_items : 0, items.table.width) {
        if (has_sketches()) plan_sketches(plan.visits_of_sketch);
    }

    float coupling(const Side& side, int32_t n_rows) const {
        return coupling_of(settings.schedule.learning_rate, side.features_a_row(n_rows));
    }

    int64_t tasks_per_block() const { return (order.n_strata() + kStrataPerTask - 1) / kStrataPerTask; }
    int64_t first_stratum(int64_t task) const { return task % tasks_per_block() * kStrataPerTask; }
    int64_t last_stratum(int64_t task) const {
        return std::min(first_stratum(task) + kStrataPerTask, order.n_strata());
    }
    int64_t n_tasks() const { return order.n_blocks * tasks_per_block(); }

    bool has_copies() const { return !user_copies.empty() || !item_copies.empty(); }
    void fill_copies(int thread) const {
        user_copies.fill(thread);
        item_copies.fill(thread);
    }
    void merge(int part) const {
        user_copies.merge(part);
        item_copies.merge(part);
    }

    bool has_sketches() const { return !sketches.empty(); }
    // Sketches a part of the items; copied rows are read from this thread's copies.
    void sketch(int64_t part, int64_t task, Worker& worker) const {
        IdentityDropout dropout(Stream(seed, number, kSketchStream), kItemDropout, settings.identity_dropout);
        dropout.enter(static_cast<uint64_t>(task));
        sketches.make(part, item_copies.table(worker.number), items.features, choose_represent(settings.all_pairs),
                      dropout, worker);
    }
    // Refreshes the sketches that are due before a task: some parts in turn, so that no thread waits for a complete
    // refresh.
    void refresh_sketches(int64_t task, Worker& worker) const {
        if (!has_sketches()) return;
        for (int64_t part = parts_sketched[task]; part < parts_sketched[task + 1]; ++part)
            sketch(part % Sketches::kParts, task, worker);
    }

    int64_t tasks_of(int64_t n_samples) const { return n_samples * n_tasks() / std::max<int64_t>(1, samples.size()); }
    int64_t tasks_before(int64_t task) const { return static_cast<int64_t>(number) * n_tasks() + task; }

    Round round_from(int64_t first) const {
        const int64_t left = n_tasks() - first, so_far = tasks_before(first);
        const int64_t n_copied = users.features.n_copied + int64_t{items.features.n_copied};
        const int64_t most = std::max<int64_t>(n_threads, tasks_of(std::max(kMostInRound, kVisitsInRound * n_copied)));
        if (!has_copies()) return {std::min(most, left), n_threads};
        const int64_t alone = kShare * std::max<int64_t>(2, tasks_of(kLeastVisits * n_copied));
        if (so_far < alone) return {std::min(alone - so_far, left), 1};
        return {std::min({most, so_far / kShare, left}), n_threads};
    }

private:
    static bool has_to_spread(Spread spread, bool one_hot_users, bool one_hot_items) {
        switch (spread) {
            case Spread::kOneHotUsers:
                return one_hot_users;
            case Spread::kSparseItems:
                return one_hot_users && !one_hot_items;
            case Spread::kAnyFeatures:
                return !(one_hot_users && one_hot_items);
            case Spread::kNever:
                break;
        }
        return false;
    }

    static Order make_order(const Samples& samples, const Plan& plan, const Settings& settings, const Side& users,
                            const Side& items, uint64_t seed, uint64_t number) {
        const int64_t size = plan.by_user ? samples.n_users : samples.size();
        const bool spreads = has_to_spread(plan.spread, users.is_one_hot(), items.is_one_hot());
        const int64_t least = spreads || items.is_one_hot() ? plan.least_blocks : plan.least_blocks_of_features;
        // Adadelta forgets: a user's samples must not follow one another.
        const int64_t n_blocks = settings.schedule.is_adadelta
                                     ? Order::kMostBlocks
                                     : Order::choose_n_blocks(size, samples.n_users, least, spreads);
        Order order(size, n_blocks, seed, number);
        if (spreads) order.spread_users(samples.n_users);
        if (!plan.by_user) order.find_first_users(samples);
        return order;
    }

    // Plans when to refresh each part, so that a sketch serves at most visits_of_sketch samples for each item.
    void plan_sketches(int visits_of_sketch) {
        const double in_task = static_cast<double>(samples.size()) / static_cast<double>(n_tasks());
        const double least = static_cast<double>(samples.n_items) / kItemsForSketch;
        const double most = static_cast<double>(samples.n_items) * visits_of_sketch;
        double due = 0.0;
        for (int64_t task = 0; task <= n_tasks(); ++task) {
            parts_sketched.push_back(static_cast<int64_t>(due));
            const double so_far = static_cast<double>(tasks_before(task)) * in_task;
            due += Sketches::kParts * std::min(1.0, in_task / std::clamp(so_far / kShare, least, most));
        }
    }
};

// For a team: sketches all parts of the items before the first round.
struct SketchTasks {
    const Epoch* epoch;

    void operator()(int64_t part, Worker& worker) const { epoch->sketch(part, 0, worker); }
};

}  // namespace lightfm_fast
