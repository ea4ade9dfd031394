// The training steps of a group of samples, and the loop over the groups of a task.
#pragma once

#include <cstdint>
#include <type_traits>

#include "epoch.hpp"
#include "features.hpp"
#include "losses.hpp"
#include "order.hpp"
#include "outcome.hpp"
#include "samplers/scene.hpp"
#include "settings.hpp"
#include "simd/target.hpp"
#include "simd/vectors.hpp"
#include "simd/words.hpp"
#include "team.hpp"

namespace lightfm_fast {

// Computes the slopes of a group's losses at its margins, times the weights, and adds the group's loss to `loss`.
// Returns false if a margin is out of range.
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

// Represents a group's users. Neighbouring samples of one user share the sum of features. Users without features need
// no sum, and no branch.
template <class Users>
void represent_users(Users& users, const SampledGroup& group, typename Users::Row* rows) {
    for (int g = 0; g < kGroup; ++g)
        rows[g] = !Users::kInPlace && g > 0 && group.users[g] == group.users[g - 1]
                      ? rows[g - 1]
                      : users.represent(group.users[g], g);
}

// Pointwise losses: one score, its loss and one step of both sides. step() returns false if a score is out of range or
// the worker has to stop.
template <class Loss, class Users, class Items>
struct Pointwise {
    Users& users;
    Items& items;
    SceneOf<Users, Items>& scene;

    void draw_ahead(SampledGroup&) const {}
    LIGHTFM_FAST_INLINE void prefetch_drawn(const SampledGroup&, int) const {}
    void settle(SampledGroup&) const {}
    LIGHTFM_FAST_INLINE void prefetch_sample(const SampledGroup& group, int g) const {
        users.prefetch_row(group.users[g]);
        items.prefetch_row(group.items[g]);
    }

    template <class Prefetch>
    bool step(const SampledGroup& group, double& loss, const Prefetch& prefetch) const {
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

// Pairwise losses: a positive against a negative. The user's bias cancels, so it is not stepped.
template <class Sampler, class Loss, class Users, class Items>
struct Pairwise {
    // The rows of two groups and the candidates of a search do not fit the first-level cache together.
    static constexpr CacheLevel kInto = Sampler::kPlan.visits_of_sketch > 0 ? kSecondLevel : kFirstLevel;

    Users& users;
    Items& items;
    SceneOf<Users, Items>& scene;

    void draw_ahead(SampledGroup& group) const { Sampler::draw_ahead(scene, group); }
    LIGHTFM_FAST_INLINE void prefetch_drawn(const SampledGroup& group, int g) const {
        Sampler::prefetch_drawn(scene, group, g);
    }
    void settle(SampledGroup& group) const { Sampler::settle(scene, group); }
    LIGHTFM_FAST_INLINE void prefetch_sample(const SampledGroup& group, int g) const {
        users.template prefetch_row<kInto>(group.users[g]);
        items.template prefetch_row<kInto>(group.items[g]);
        if (group.negatives[g] >= 0) items.template prefetch_row<kInto>(group.negatives[g]);
    }

    template <class Prefetch>
    bool step(const SampledGroup& group, double& loss, const Prefetch& prefetch) const {
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
        uint32_t repeated = repeated_pairs(group);
        for (int begin = 0; begin < group.size;) {
            const int end = repeated ? lowest_bit(repeated) : group.size;
            for (int g = begin; g < end; ++g) {
                if (may_be_wide<Items> && scene.worker.spend(kSegmentsOfStep * int64_t{width})) return false;
                prefetch(g);
                if (group.negatives[g] < 0 || Loss::is_met(margins[g])) continue;
                const float slope = slopes[g];
                // The penalty is looked for once: compilers leave three branches in so large a loop.
                const auto put = [&](auto has_penalty) LIGHTFM_FAST_INLINE {
                    for (int lane = 0; lane < width; lane += kLanes) {
                        const Vec q = load(user[g].embedding + lane);
                        const Vec p = load(positive[g].embedding + lane), n = load(negative[g].embedding + lane);
                        users.template put<has_penalty>(user[g], lane, slope * (p - n));
                        items.template put<has_penalty>(positive[g], lane, slope * q);
                        items.template put<has_penalty>(negative[g], lane, -slope * q);
                    }
                };
                users.has_penalty() || items.has_penalty() ? put(std::true_type{}) : put(std::false_type{});
                users.finish(user[g]);
                items.finish(positive[g], slope);
                items.finish(negative[g], -slope);
            }
            if (repeated) charge_again(end, user, positive, negative, weights, margins, slopes);
            repeated &= repeated - 1;
            begin = end;
        }
        return true;
    }

private:
    // A bit for each sample whose user and positive are those of the sample before, as where interactions are given
    // twice. The positive has moved towards the user then, so a step by the slope from before would push the user along
    // itself: such pairs would make both longer and longer. Rows that are not stepped in place do not show the move.
    static uint32_t repeated_pairs(const SampledGroup& group) {
        if (!Users::kInPlace || !Items::kInPlace) return 0;
        uint32_t repeated = 0;
        for (int g = 1; g < kGroup; ++g) {
            const bool is_same = (group.users[g] == group.users[g - 1]) & (group.items[g] == group.items[g - 1]);
            repeated |= uint32_t{is_same} << g;
        }
        return repeated & ((1u << group.size) - 1);
    }

    // Takes the margin and the slope of sample g anew, after steps of its rows.
    LIGHTFM_FAST_NOT_INLINE void charge_again(int g, const typename Users::Row* user,
                                              const typename Items::Row* positive, const typename Items::Row* negative,
                                              const float* weights, float* margins, float* slopes) const {
        Vec total{};
        for (int lane = 0; lane < users.width; lane += kLanes)
            total += load(user[g].embedding + lane) *
                     (load(positive[g].embedding + lane) - load(negative[g].embedding + lane));
        margins[g] =
            sum(total) + items.represent(positive[g].index, 0).bias - items.represent(negative[g].index, 1).bias;
        slopes[g] = weights[g] * Loss::at(margins[g]).slope;
    }
};

// Trains the groups of a task. Each group is drawn two turns before its steps, and its draws are settled one turn
// before. The memory that the next groups need is prefetched meanwhile: between the steps of single samples, since
// memory serves few requests at once.
template <class Step>
Outcome train_groups(GroupReader reader, const Step& step) {
    Worker& worker = step.scene.worker;
    Outcome outcome;
    SampledGroup groups[3];
    const auto draw = [&](SampledGroup& group, uint64_t first) {
        group.first = first;
        reader.fill(group);
        step.draw_ahead(group);
    };
    SampledGroup *now = &groups[0], *next = &groups[1], *later = &groups[2];
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
            reader.prefetch(g);
        };
        if (!step.step(*now, outcome.loss, prefetch)) {
            outcome.diverged = !worker.has_to_stop();
            return outcome;
        }
        outcome.samples += now->size;
        SampledGroup* done = now;
        now = next;
        next = later;
        later = done;
    }
    return outcome;
}

// Trains the samples of a task by pointwise or pairwise steps.
template <class Step, class Users, class Items>
Outcome visit_samples(const Epoch& epoch, int64_t task, Users& users, Items& items, const Stream& stream,
                      Worker& worker) {
    SceneOf<Users, Items> scene{{epoch.samples,
                                 epoch.popularity,
                                 epoch.sketches,
                                 epoch.settings,
                                 stream,
                                 worker,
                                 UserSketches(epoch.has_sketches() ? int{users.width} : 0),
                                 {},
                                 {}},
                                users,
                                items};
    return train_groups(GroupReader(epoch.samples, epoch.order, task / epoch.tasks_per_block(),
                                    epoch.first_stratum(task), epoch.last_stratum(task)),
                        Step{users, items, scene});
}

template <class L>
struct PointwiseLoss {
    using Loss = L;
    static constexpr auto at = Loss::at;
    // Facts of the loss, which kLosses passes to callers (see dispatch.hpp).
    static constexpr bool kTakesLabels = true, kTakesWeights = true;
    static constexpr bool kNeedsPopularity = false, kNeedsMembership = false;
    static constexpr bool kScoresAreCosines = false, kGivesProbabilities = Loss::kGivesProbabilities;
    // Samples of a user with features stay together, since they share the user's representation.
    static constexpr Plan kPlan = Plan{}.spreading(Spread::kOneHotUsers);
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

}  // namespace lightfm_fast
