// The list of losses, and the choice of compiled code for a loss, a schedule and the features of both sides.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <type_traits>

#include "epoch.hpp"
#include "features.hpp"
#include "losses.hpp"
#include "optimizers.hpp"
#include "outcome.hpp"
#include "rng.hpp"
#include "samplers/hardest.hpp"
#include "samplers/kos.hpp"
#include "samplers/popularity.hpp"
#include "samplers/warp.hpp"
#include "settings.hpp"
#include "softmax.hpp"
#include "steps.hpp"
#include "team.hpp"

namespace lightfm_fast {

template <class Composition, class Optimizer, class Width, template <class, class> class UserSide,
          template <class, class> class ItemSide>
Outcome run(const Epoch& epoch, int64_t task, Worker& worker) {
    if (epoch.stopped.load(std::memory_order_relaxed)) return {};
    epoch.refresh_sketches(task, worker);
    const Optimizer optimizer = Optimizer::make(epoch.settings.schedule);
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

// Picks the instance for a width. Common choices are compiled for each usual width, with unrolled loops. All others are
// compiled once for any width, which keeps the library small.
template <bool kIsCommon, class Composition, class Optimizer, template <class, class> class UserSide,
          template <class, class> class ItemSide>
Run choose_width(int32_t width) {
    if constexpr (kIsCommon) switch (width) {
            case 16:
                return run<Composition, Optimizer, std::integral_constant<int32_t, 16>, UserSide, ItemSide>;
            case 32:
                return run<Composition, Optimizer, std::integral_constant<int32_t, 32>, UserSide, ItemSide>;
            case 64:
                return run<Composition, Optimizer, std::integral_constant<int32_t, 64>, UserSide, ItemSide>;
            case 128:
                return run<Composition, Optimizer, std::integral_constant<int32_t, 128>, UserSide, ItemSide>;
        }
    return run<Composition, Optimizer, int32_t, UserSide, ItemSide>;
}

template <class Pairs>
struct SparseOf {
    template <class Optimizer, class Width>
    using Side = Sparse<Optimizer, Width, Pairs>;
};

template <class Composition, class Optimizer, class Pairs>
Run choose_sides(const Side& users, const Side& items) {
    constexpr bool kIsCommon = Optimizer::kIsCommon && Pairs::kIsCommon;
    const int32_t width = users.table.width;
    if (users.is_one_hot())
        return choose_width<kIsCommon, Composition, Optimizer, OneHot, SparseOf<Pairs>::template Side>(width);
    if (items.is_one_hot())
        return choose_width<kIsCommon, Composition, Optimizer, SparseOf<Pairs>::template Side, OneHot>(width);
    return choose_width<kIsCommon, Composition, Optimizer, SparseOf<Pairs>::template Side,
                        SparseOf<Pairs>::template Side>(width);
}

template <class Composition, class Optimizer>
Run choose_pairs(bool all_pairs, const Side& users, const Side& items) {
    if (users.is_one_hot() && items.is_one_hot())  // rows of one feature have no pairs within
        return choose_width<Optimizer::kIsCommon, Composition, Optimizer, OneHot, OneHot>(users.table.width);
    return all_pairs ? choose_sides<Composition, Optimizer, AllPairs>(users, items)
                     : choose_sides<Composition, Optimizer, CrossPairs>(users, items);
}

template <class Composition>
Run choose_schedule(const Settings& settings, const Side& users, const Side& items) {
    return settings.schedule.is_adadelta ? choose_pairs<Composition, Adadelta>(settings.all_pairs, users, items)
                                         : choose_pairs<Composition, Adagrad>(settings.all_pairs, users, items);
}

// A loss as callers see it: its name, its facts and its compiled code.
struct LossEntry {
    const char* name;
    const char* negatives;     // the kind of negatives that this entry is for; empty: all kinds without an entry
    bool takes_labels;         // also trains on other interactions than positives, with label -1
    bool takes_weights;        // weighs samples
    bool needs_popularity;     // draws items by their popularity
    bool needs_membership;     // must know whether a user has an entry for an item
    bool scores_are_cosines;   // biases are not trained
    bool gives_probabilities;  // the logistic function of a score is the probability of a positive
    Charge (*at)(float);       // value and slope at a score or a margin; null if the loss depends on more numbers
    Plan plan;
    Run (*choose)(const Settings&, const Side& users, const Side& items);
};

template <class Composition>
constexpr LossEntry make_entry(const char* name, const char* negatives = "") {
    return {name,
            negatives,
            Composition::kTakesLabels,
            Composition::kTakesWeights,
            Composition::kNeedsPopularity,
            Composition::kNeedsMembership,
            Composition::kScoresAreCosines,
            Composition::kGivesProbabilities,
            Composition::at,
            Composition::kPlan,
            choose_schedule<Composition>};
}

// A new loss is a struct in losses.hpp and a line here.
inline constexpr LossEntry kLosses[] = {
    make_entry<PointwiseLoss<Logistic>>("logistic"),
    make_entry<PairwiseLoss<OneByPopularity, Logistic>>("bpr"),
    make_entry<PairwiseLoss<HardestOfUniform, Logistic>>("bpr", "hardest"),
    make_entry<PairwiseLoss<UntilViolation, Hinge>>("warp"),
    make_entry<PairwiseLoss<KthPositive, Hinge>>("warp-kos"),
    make_entry<SampledSoftmax>("softmax"),
};

constexpr int kNumLosses = sizeof(kLosses) / sizeof(kLosses[0]);

// Returns the entry of a loss for a kind of negatives, else its entry for all kinds; null for an unknown loss.
inline const LossEntry* find_loss(std::string_view name, std::string_view negatives) {
    const LossEntry* found = nullptr;
    for (const LossEntry& entry : kLosses) {
        if (entry.name != name) continue;
        if (entry.negatives == negatives) return &entry;
        if (*entry.negatives == 0) found = &entry;
    }
    return found;
}

}  // namespace lightfm_fast
