// The compositions: what one sample does to the parameters, and the loop over a stretch of samples.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "copies.hpp"
#include "features.hpp"
#include "interactions.hpp"
#include "losses.hpp"
#include "optimizers.hpp"
#include "sampling.hpp"
#include "settings.hpp"
#include "sketches.hpp"
#include "team.hpp"

namespace lightfm_fast {

// Scores of this size are those of a model that has diverged: training stops before it makes them infinite.
constexpr float kLargestScore = 1e12f;

struct Side {
    Table table;
    FeatureRows features;
    float alpha;

    bool is_one_hot() const { return features.indptr == nullptr; }
    double features_a_row(int32_t n_rows) const {
        return is_one_hot() ? 1.0 : static_cast<double>(features.indptr[n_rows]) / n_rows;
    }
};

// Counters of the sides' identity dropout begin here, beyond those of all samples' draws.
constexpr uint64_t kUserDropout = 2ull << 62, kItemDropout = 3ull << 62;

// The stream of draws for sketches, which belong to no task.
constexpr uint64_t kSketchStream = ~1ull;

// What is done before threads' copies are merged: so many tasks, by so many threads.
struct Round {
    int64_t n_tasks;
    int n_threads;
};

// One epoch: what is trained on, what is trained, and in which order: that of the interactions or, for losses over whole
// rows, of the users. A task is what one thread does at a stretch: a run of groups of one block (see Order).
struct Epoch {
    Interactions interactions;
    Popularity popularity;
    Side users;
    Side items;
    const Settings& settings;
    uint64_t seed;
    uint64_t number;
    Order order;
    int n_threads;
    Copies user_copies, item_copies;
    Sketches sketches;                    // of the items, for losses that search
    std::vector<int64_t> parts_sketched;  // before each task, how many parts of the items are sketched anew until then
    mutable std::atomic<bool> stopped{false};  // a task has diverged: those to come do nothing

    static constexpr int64_t kGroupsPerTask = 2048;
    // Samples of a round: tens of milliseconds of work, or, since copies take time to merge, so many for each copied row.
    static constexpr int64_t kMostInRound = 1 << 18, kVisitsInRound = 64;
    // A round with copies has this part of the tasks so far at most, since steps are long at first and threads do not see
    // one another's. As long as that is less than two tasks, or than so many samples for each copied row, one thread works
    // alone.
    static constexpr int64_t kShare = 16, kLeastVisits = 4;
    // An item is sketched anew after a sixteenth of the samples so far too, but not before a quarter of a sample for each.
    static constexpr int64_t kItemsForSketch = 4;

    Epoch(const Interactions& interactions, const Popularity& popularity, const Side& users, const Side& items,
          const Settings& settings, const Plan& plan, uint64_t seed, uint64_t number, int n_threads)
        : interactions(interactions),
          popularity(popularity),
          users(users),
          items(items),
          settings(settings),
          seed(seed),
          number(number),
          order(make_order(interactions, plan, users, items, seed, number)),
          n_threads(n_threads),
          user_copies(users.table, users.features, n_threads, pull(users, interactions.n_users)),
          item_copies(items.table, items.features, n_threads, pull(items, interactions.n_items)),
          sketches(plan.visits_of_sketch > 0 ? interactions.n_items : 0, items.table.width) {
        if (has_sketches()) plan_sketches(plan.visits_of_sketch);
    }

    // Half of the features of a sample: with fewer, eight threads overshoot where many features are shared; with more,
    // WARP with 8 components learns more slowly at two threads.
    float pull(const Side& side, int32_t n_rows) const {
        return 0.5f * settings.schedule.learning_rate * static_cast<float>(side.features_a_row(n_rows));
    }

    int64_t tasks_per_block() const { return (order.n_groups() + kGroupsPerTask - 1) / kGroupsPerTask; }
    int64_t first_group(int64_t task) const { return task % tasks_per_block() * kGroupsPerTask; }
    int64_t last_group(int64_t task) const { return std::min(first_group(task) + kGroupsPerTask, order.n_groups()); }
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
    // Sketches a part of the items, of rows with copies from those of this thread.
    void sketch(int64_t part, int64_t task, Worker& worker) const {
        IdentityDropout dropout(Stream(seed, number, kSketchStream), kItemDropout, settings.identity_dropout);
        dropout.enter(static_cast<uint64_t>(task));
        sketches.make(part, item_copies.table(worker.number), items.features, choose_represent(settings.all_pairs),
                      dropout, worker);
    }
    // Sketches what is due before a task: some parts, all in turn, while others work, so that nobody has to wait for it.
    void sketch_anew(int64_t task, Worker& worker) const {
        if (!has_sketches()) return;
        for (int64_t part = parts_sketched[task]; part < parts_sketched[task + 1]; ++part)
            sketch(part % Sketches::kParts, task, worker);
    }

    int64_t tasks_of(int64_t samples) const { return samples * n_tasks() / std::max<int64_t>(1, interactions.size()); }
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
    static bool goes_apart(Apart apart, bool one_hot_users, bool one_hot_items) {
        switch (apart) {
            case Apart::kOneHotUsers:
                return one_hot_users;
            case Apart::kSparseItems:
                return one_hot_users && !one_hot_items;
            case Apart::kAnyFeatures:
                return !(one_hot_users && one_hot_items);
            case Apart::kNever:
                break;
        }
        return false;
    }

    static Order make_order(const Interactions& interactions, const Plan& plan, const Side& users, const Side& items,
                            uint64_t seed, uint64_t number) {
        const int64_t size = plan.by_user ? interactions.n_users : interactions.size();
        const bool apart = goes_apart(plan.apart, users.is_one_hot(), items.is_one_hot());
        Order order(size, Order::choose_n_blocks(size, interactions.n_users, plan.least_blocks, apart), seed, number);
        if (apart) order.take_apart(interactions.n_users);
        return order;
    }

    // A sketch serves for so many samples for each item, at most.
    void plan_sketches(int visits_of_sketch) {
        const double in_task = static_cast<double>(interactions.size()) / static_cast<double>(n_tasks());
        const double least = static_cast<double>(interactions.n_items) / kItemsForSketch;
        const double most = static_cast<double>(interactions.n_items) * visits_of_sketch;
        double due = 0.0;
        for (int64_t task = 0; task <= n_tasks(); ++task) {
            parts_sketched.push_back(static_cast<int64_t>(due));
            const double so_far = static_cast<double>(tasks_before(task)) * in_task;
            due += Sketches::kParts * std::min(1.0, in_task / std::clamp(so_far / kShare, least, most));
        }
    }
};

struct Outcome {
    double loss = 0.0;    // sum over the samples
    int64_t samples = 0;  // visited, whether or not they called for a step
    bool diverged = false;
};

inline bool in_range(float score) { return std::fabs(score) < kLargestScore; }  // false for NaN

// Slopes of a group's losses at its margins, by its weights; adds its loss. False where a margin is out of range.
template <class Loss>
bool charge(const float* margins, const float* weights, float* slopes, double& loss) {
    float values[kGroup];
    int out_of_range = 0;
    for (int g = 0; g < kGroup; ++g) {
        out_of_range |= !in_range(margins[g]);
        const Charge charge = Loss::at(margins[g]);
        slopes[g] = weights[g] * charge.slope;
        values[g] = weights[g] * charge.value;
    }
    Vec total = load(values);
    for (int g = kLanes; g < kGroup; g += kLanes) total += load(values + g);
    loss += sum(total);
    return !out_of_range;
}

// A group's users. Where that is work, samples in a row that have one user share it; else the jump would be the work.
template <class Users>
void represent_users(Users& users, const Group& group, typename Users::Row* rows) {
    for (int g = 0; g < kGroup; ++g)
        rows[g] = !Users::kInPlace && g > 0 && group.users[g] == group.users[g - 1]
                      ? rows[g - 1]
                      : users.represent(group.users[g], g);
}

// Whether a row may have any number of components, so that a loop over several rows counts its work.
template <class Side>
constexpr bool may_be_wide = std::is_same_v<decltype(Side::width), int32_t>;

constexpr int64_t kSegmentsOfStep = 8;  // floats that a step reads and writes for each component, about

// One score, its loss, one step of both sides. step() returns false where a score is out of range or the worker is to stop.
template <class Loss, class Users, class Items>
struct Pointwise {
    Users& users;
    Items& items;
    Scene<Users, Items>& scene;

    void draw_ahead(Group&) const {}
    LIGHTFM_FAST_INLINE void prefetch_drawn(const Group&, int) const {}
    void settle(Group&) const {}
    LIGHTFM_FAST_INLINE void prefetch_sample(const Group& group, int g) const {
        users.prefetch_row(group.users[g]);
        items.prefetch_row(group.items[g]);
    }

    template <class Prefetch>
    bool step(const Group& group, double& loss, const Prefetch& prefetch) const {
        typename Users::Row user[kGroup];
        typename Items::Row item[kGroup];
        float margins[kGroup], slopes[kGroup];
        const auto width = this->users.width;
        represent_users(this->users, group, user);
        for (int g = 0; g < kGroup; ++g) item[g] = this->items.represent(group.items[g], g);
        sum_terms(
            kGroup, width,
            [&](int g, int lane) { return load(user[g].embedding + lane) * load(item[g].embedding + lane); }, margins);
        for (int g = 0; g < kGroup; ++g) margins[g] = group.labels[g] * (margins[g] + user[g].bias + item[g].bias);
        if (scene.worker.has_to_stop() || !charge<Loss>(margins, group.weights, slopes, loss)) return false;
        Users users = this->users;
        Items items = this->items;
        for (int g = 0; g < group.size; ++g) {
            if (may_be_wide<Items> && scene.worker.spend(kSegmentsOfStep * int64_t{width})) return false;
            prefetch(g);
            const float slope = slopes[g] * group.labels[g];
            for (int lane = 0; lane < width; lane += kLanes) {
                const Vec q = load(user[g].embedding + lane), p = load(item[g].embedding + lane);
                users.put(user[g], lane, slope * p);
                items.put(item[g], lane, slope * q);
            }
            users.finish(user[g], slope);
            items.finish(item[g], slope);
        }
        return true;
    }
};

// A positive against a negative; the user's bias cancels and stays as it is.
template <class Sampler, class Loss, class Users, class Items>
struct Pairwise {
    // With the candidates of a search, the rows of two groups do not fit the first-level cache.
    static constexpr CacheLevel kInto = Sampler::kPlan.visits_of_sketch > 0 ? kSecondLevel : kFirstLevel;

    Users& users;
    Items& items;
    Scene<Users, Items>& scene;

    void draw_ahead(Group& group) const { Sampler::draw_ahead(scene, group); }
    LIGHTFM_FAST_INLINE void prefetch_drawn(const Group& group, int g) const {
        Sampler::prefetch_drawn(scene, group, g);
    }
    void settle(Group& group) const { Sampler::settle(scene, group); }
    LIGHTFM_FAST_INLINE void prefetch_sample(const Group& group, int g) const {
        users.template prefetch_row<kInto>(group.users[g]);
        items.template prefetch_row<kInto>(group.items[g]);
        if (group.negatives[g] >= 0) items.template prefetch_row<kInto>(group.negatives[g]);
    }

    template <class Prefetch>
    bool step(const Group& group, double& loss, const Prefetch& prefetch) const {
        typename Users::Row user[kGroup];
        typename Items::Row positive[kGroup], negative[kGroup];
        float margins[kGroup], weights[kGroup], slopes[kGroup];
        const auto width = this->users.width;
        represent_users(this->users, group, user);
        int32_t others[kGroup];
        for (int g = 0; g < kGroup; ++g) {
            const bool found = group.negatives[g] >= 0;
            others[g] = found ? group.negatives[g] : group.items[g];
            weights[g] = found ? group.weights[g] : 0.0f;
        }
        for (int g = 0; g < kGroup; ++g) {
            positive[g] = this->items.represent(group.items[g], 2 * g);
            negative[g] = this->items.represent(others[g], 2 * g + 1);
        }
        sum_terms(
            kGroup, width,
            [&](int g, int lane) {
                return load(user[g].embedding + lane) *
                       (load(positive[g].embedding + lane) - load(negative[g].embedding + lane));
            },
            margins);
        for (int g = 0; g < kGroup; ++g) margins[g] += positive[g].bias - negative[g].bias;
        if (scene.worker.has_to_stop() || !charge<Loss>(margins, weights, slopes, loss)) return false;
        Users users = this->users;
        Items items = this->items;
        for (int g = 0; g < group.size; ++g) {
            if (may_be_wide<Items> && scene.worker.spend(kSegmentsOfStep * int64_t{width})) return false;
            prefetch(g);
            if (group.negatives[g] < 0 || Loss::is_met(margins[g])) continue;
            const float slope = slopes[g];
            for (int lane = 0; lane < width; lane += kLanes) {
                const Vec q = load(user[g].embedding + lane);
                const Vec p = load(positive[g].embedding + lane), n = load(negative[g].embedding + lane);
                users.put(user[g], lane, slope * (p - n));
                items.put(positive[g], lane, slope * q);
                items.put(negative[g], lane, -slope * q);
            }
            users.finish(user[g]);
            items.finish(positive[g], slope);
            items.finish(negative[g], -slope);
        }
        return true;
    }
};

// Steps through the samples a group at a time. Each group is drawn two turns before its own and its draws are settled a
// turn before, so that what either needs is on its way from memory by then: asked for sample by sample, between steps, since
// memory takes few demands at once.
template <class Step>
Outcome walk(Walk samples, const Step& step) {
    Worker& worker = step.scene.worker;
    Outcome outcome;
    Group groups[3];
    const auto draw = [&](Group& group, uint64_t first) {
        group.first = first;
        samples.fill(group);
        step.draw_ahead(group);
    };
    Group *now = &groups[0], *next = &groups[1], *later = &groups[2];
    draw(*now, 0);
    draw(*next, now->size);
    step.settle(*now);
    while (now->size > 0) {
        draw(*later, next->first + next->size);
        step.settle(*next);
        if (worker.spend(kSegmentsOfStep * kGroup * int64_t{step.users.width})) return outcome;
        step.users.enter(now->first);
        step.items.enter(now->first);
        const auto prefetch = [&](int g) LIGHTFM_FAST_INLINE {
            if (g < next->size) step.prefetch_sample(*next, g);
            if (g < later->size) step.prefetch_drawn(*later, g);
            samples.prefetch(g);
        };
        if (!step.step(*now, outcome.loss, prefetch)) {
            outcome.diverged = !worker.has_to_stop();
            return outcome;
        }
        outcome.samples += now->size;
        Group* done = now;
        now = next;
        next = later;
        later = done;
    }
    return outcome;
}

// Visits the samples of a task, one by one or in pairs.
template <class Step, class Users, class Items>
Outcome visit_samples(const Epoch& epoch, int64_t task, Users& users, Items& items, const Stream& stream,
                      Worker& worker) {
    Scene<Users, Items> scene{epoch.interactions,
                              epoch.popularity,
                              epoch.sketches,
                              epoch.settings,
                              stream,
                              users,
                              items,
                              UserSketches(epoch.has_sketches() ? int{users.width} : 0),
                              worker,
                              {},
                              {}};
    return walk(Walk(epoch.interactions, epoch.order, task / epoch.tasks_per_block(), epoch.first_group(task),
                     epoch.last_group(task)),
                Step{users, items, scene});
}

template <class L>
struct PointwiseLoss {
    using Loss = L;
    static constexpr auto at = Loss::at;
    // Facts of the loss, which its row in kLosses shows to callers (see dispatch.hpp).
    static constexpr bool kTakesLabels = true, kTakesWeights = true;
    static constexpr bool kNeedsPopularity = false, kNeedsMembership = false;
    static constexpr bool kScoresAreCosines = false, kGivesProbabilities = Loss::kGivesProbabilities;
    // Users with features are represented once for all of their samples in a group, so these stay together.
    static constexpr Plan kPlan{false, Apart::kOneHotUsers, 4, 0};
    template <class Users, class Items>
    using Step = Pointwise<Loss, Users, Items>;

    static int slots(const Settings&) { return kSlots; }
    template <class Users, class Items>
    static Outcome visit(const Epoch& epoch, int64_t task, Users& users, Items& items, const Stream& stream,
                         Worker& worker) {
        return visit_samples<Step<Users, Items>>(epoch, task, users, items, stream, worker);
    }
};

template <class Sampler, class L>
struct PairwiseLoss {
    using Loss = L;
    static constexpr auto at = Loss::at;
    static constexpr bool kTakesLabels = false, kTakesWeights = Sampler::kTakesWeights;
    static constexpr bool kNeedsPopularity = Sampler::kNeedsPopularity, kNeedsMembership = true;
    static constexpr bool kScoresAreCosines = false, kGivesProbabilities = false;
    static constexpr Plan kPlan = Sampler::kPlan;
    template <class Users, class Items>
    using Step = Pairwise<Sampler, Loss, Users, Items>;

    static int slots(const Settings&) { return kSlots; }
    template <class Users, class Items>
    static Outcome visit(const Epoch& epoch, int64_t task, Users& users, Items& items, const Stream& stream,
                         Worker& worker) {
        return visit_samples<Step<Users, Items>>(epoch, task, users, items, stream, worker);
    }
};

template <class Composition, class Optimizer, class Width, template <class, class> class UserSide,
          template <class, class> class ItemSide>
Outcome run(const Epoch& epoch, int64_t task, Worker& worker) {
    if (epoch.stopped.load(std::memory_order_relaxed)) return {};
    epoch.sketch_anew(task, worker);
    const Optimizer optimizer = epoch.settings.schedule.make<Optimizer>();
    // Two gradients, and for each slot an embedding; a OneHot side represents a row by the row itself.
    const auto make_slots = [&](const Side& side) {
        const size_t n_rows = side.is_one_hot() ? 0 : 2 + Composition::slots(epoch.settings);
        return std::unique_ptr<float[]>(new float[n_rows * side.table.width]);
    };
    const auto user_slots = make_slots(epoch.users), item_slots = make_slots(epoch.items);
    const Stream stream(epoch.seed, epoch.number, static_cast<uint64_t>(task));
    const double dropout = epoch.settings.identity_dropout;
    UserSide<Optimizer, Width> users(epoch.user_copies.table(worker.number), epoch.users.features, optimizer,
                                     epoch.users.alpha, user_slots.get(), {stream, kUserDropout, dropout}, worker);
    ItemSide<Optimizer, Width> items(epoch.item_copies.table(worker.number), epoch.items.features, optimizer,
                                     epoch.items.alpha, item_slots.get(), {stream, kItemDropout, dropout}, worker);
    const Outcome outcome = Composition::visit(epoch, task, users, items, stream, worker);
    if (outcome.diverged) epoch.stopped.store(true, std::memory_order_relaxed);
    return outcome;
}

using Run = Outcome (*)(const Epoch&, int64_t task, Worker& worker);

// For a team: a round's tasks, from `first` on, and what becomes of each.
struct RoundTasks {
    Run run;
    const Epoch* epoch;
    int64_t first;
    Outcome* outcomes;

    void operator()(int64_t task, Worker& worker) const { outcomes[task] = run(*epoch, first + task, worker); }
};

// For a team: the parts of the sketches, before the first round.
struct SketchTasks {
    const Epoch* epoch;

    void operator()(int64_t part, Worker& worker) const { epoch->sketch(part, 0, worker); }
};

}  // namespace lightfm_fast
