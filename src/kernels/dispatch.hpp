// The one table of losses, and the choice of compiled code for a loss, a schedule and the features of both sides.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "hardest.hpp"
#include "losses.hpp"
#include "sampling.hpp"
#include "settings.hpp"
#include "softmax.hpp"
#include "steps.hpp"

namespace lightfm_fast {

// The usual widths have loops of their own.
template <class Composition, class Optimizer, template <class, class> class UserSide,
          template <class, class> class ItemSide>
Run choose_width(int32_t width) {
    switch (width) {
        case 16:
            return run<Composition, Optimizer, std::integral_constant<int32_t, 16>, UserSide, ItemSide>;
        case 32:
            return run<Composition, Optimizer, std::integral_constant<int32_t, 32>, UserSide, ItemSide>;
        case 64:
            return run<Composition, Optimizer, std::integral_constant<int32_t, 64>, UserSide, ItemSide>;
        case 128:
            return run<Composition, Optimizer, std::integral_constant<int32_t, 128>, UserSide, ItemSide>;
        default:
            return run<Composition, Optimizer, int32_t, UserSide, ItemSide>;
    }
}

template <class Pairs>
struct SparseOf {
    template <class Optimizer, class Width>
    using Side = Sparse<Optimizer, Width, Pairs>;
};

template <class Composition, class Optimizer, template <class, class> class Rows>
Run choose_sides(const Side& users, const Side& items) {
    // What few use takes whatever width it gets, for the sake of those who compile it.
    if constexpr (std::is_same_v<Optimizer, Adagrad> &&
                  std::is_same_v<Rows<Adagrad, int32_t>, Sparse<Adagrad, int32_t, CrossPairs>>) {
        const int32_t width = users.table.width;
        if (users.is_one_hot()) return choose_width<Composition, Optimizer, OneHot, Rows>(width);
        return items.is_one_hot() ? choose_width<Composition, Optimizer, Rows, OneHot>(width)
                                  : choose_width<Composition, Optimizer, Rows, Rows>(width);
    } else {
        if (users.is_one_hot()) return run<Composition, Optimizer, int32_t, OneHot, Rows>;
        return items.is_one_hot() ? run<Composition, Optimizer, int32_t, Rows, OneHot>
                                  : run<Composition, Optimizer, int32_t, Rows, Rows>;
    }
}

template <class Composition, class Optimizer>
Run choose_pairs(bool all_pairs, const Side& users, const Side& items) {
    if (users.is_one_hot() && items.is_one_hot()) {
        if constexpr (std::is_same_v<Optimizer, Adagrad>)
            return choose_width<Composition, Optimizer, OneHot, OneHot>(users.table.width);
        else
            return run<Composition, Optimizer, int32_t, OneHot, OneHot>;
    }
    return all_pairs ? choose_sides<Composition, Optimizer, SparseOf<AllPairs>::template Side>(users, items)
                     : choose_sides<Composition, Optimizer, SparseOf<CrossPairs>::template Side>(users, items);
}

template <class Composition>
Run choose_schedule(const Settings& settings, const Side& users, const Side& items) {
    return settings.schedule.is_adadelta ? choose_pairs<Composition, Adadelta>(settings.all_pairs, users, items)
                                         : choose_pairs<Composition, Adagrad>(settings.all_pairs, users, items);
}

// A loss as callers see it: its name, its facts and its compiled code.
struct LossEntry {
    const char* name;
    const char* negatives;     // the kind of negatives that this entry is for; empty: any that has no entry
    bool takes_labels;         // trains on interactions below 0 too, with label -1; else they are known items only
    bool takes_weights;        // of samples
    bool needs_popularity;     // draws items by their popularity
    bool needs_membership;     // asks whether a user has an entry for an item
    bool scores_are_cosines;   // and biases are not trained
    bool gives_probabilities;  // the logistic function of a score is the probability of a positive
    Charge (*at)(float);       // value and slope at a score or a margin; null where they are not of one number
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

// The entry of a loss for a kind of negatives, else the one for any; null where no loss has the name.
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
