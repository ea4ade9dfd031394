// The list of losses, and the choice of compiled code for a loss, a schedule and the features of both sides.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <tuple>

#include "epoch.hpp"
#include "losses.hpp"
#include "order.hpp"
#include "outcome.hpp"
#include "samplers/hardest.hpp"
#include "samplers/kos.hpp"
#include "samplers/popularity.hpp"
#include "samplers/warp.hpp"
#include "settings.hpp"
#include "softmax.hpp"
#include "steps.hpp"
#include "team.hpp"

namespace lightfm_fast {

using Run = Outcome (*)(const Epoch&, int64_t task, Worker& worker);

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
    int number;  // in kLosses
};

// A loss in the list, with its name and the kind of negatives that its line is for: see LossEntry.
template <class C>
struct Listed {
    using Composition = C;
    const char* name;
    const char* negatives = "";
};

// A new loss is a struct in losses.hpp and a line here.
inline constexpr std::tuple kListed{
    Listed<PointwiseLoss<Logistic>>{"logistic"},
    Listed<PairwiseLoss<OneByPopularity, Logistic>>{"bpr"},
    Listed<PairwiseLoss<HardestOfUniform, Logistic>>{"bpr", "hardest"},
    Listed<PairwiseLoss<UntilViolation, Hinge>>{"warp"},
    Listed<PairwiseLoss<KthPositive, Hinge>>{"warp-kos"},
    Listed<SampledSoftmax>{"softmax"},
};

constexpr int kNumLosses = std::tuple_size_v<decltype(kListed)>;

template <class Composition>
constexpr LossEntry make_entry(const Listed<Composition>& listed, int number) {
    return {listed.name,
            listed.negatives,
            Composition::kTakesLabels,
            Composition::kTakesWeights,
            Composition::kNeedsPopularity,
            Composition::kNeedsMembership,
            Composition::kScoresAreCosines,
            Composition::kGivesProbabilities,
            Composition::at,
            Composition::kPlan,
            number};
}

inline constexpr auto kLosses = std::apply(
    [](const auto&... listed) {
        int number = 0;
        return std::array<LossEntry, kNumLosses>{make_entry(listed, number++)...};
    },
    kListed);

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

// The losses are compiled in kShares shares: loss n in share n % kShares. See instances.cpp.
constexpr int kShares = 3;
template <int kShare>
Run choose_in_share(int loss, const Settings& settings, const Side& users, const Side& items);

// The compiled instance of a loss for settings and sides.
inline Run choose(const LossEntry& entry, const Settings& settings, const Side& users, const Side& items) {
    constexpr Run (*kChoose[kShares])(int, const Settings&, const Side&, const Side&) = {
        choose_in_share<0>, choose_in_share<1>, choose_in_share<2>};
    return kChoose[entry.number % kShares](entry.number, settings, users, items);
}

}  // namespace lightfm_fast
