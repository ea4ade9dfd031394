// The hardest negative: of several drawn, the one that the model scores highest.
#pragma once

#include <cstdint>
#include <limits>

#include "sampling.hpp"

namespace lightfm_fast {

// BPR by dynamic negative sampling (Zhang 2013): of n_negatives uniform draws, the highest scored that is no positive.
// Only a draw that would be chosen is looked up among the user's positives; one found there is a draw less.
struct HardestOfUniform : NothingToSettle {
    template <class Items>
    static void draw_ahead(const Scene<Items>& scene, Group& group) {
        group.candidates.resize(static_cast<size_t>(kGroup) * scene.n_negatives);
        for (int32_t j = 0; j < scene.n_negatives; ++j)
            for (int g = 0; g < kGroup; ++g)
                group.candidates[j * kGroup + g] =
                    static_cast<int32_t>(scene.stream.below(scene.interactions.n_items, (group.ordinal(g) << 32) + j));
    }

    template <class Items>
    static void prefetch_drawn(const Scene<Items>& scene, const Group& group, int g) {
        prefetch_candidates(scene, group, g, scene.n_negatives);
    }

    template <class Users, class Items>
    static void draw(Scene<Items>& scene, const Group& group, FoundPairs<Users, Items>& pairs) {
        const int32_t m = scene.n_negatives;
        const int32_t* candidates = group.candidates.data();
        float* scores = score_candidates(scene, group, pairs, m);
        int32_t negatives[kGroup];
        int searching[kGroup], n_searching = group.size;
        for (int g = 0; g < kGroup; ++g) {
            searching[g] = g;
            negatives[g] = -1;
        }
        while (n_searching > 0) {
            float places[kGroup];
            find_highest(scores, m, places);
            int n_left = 0;
            for (int s = 0; s < n_searching; ++s) {
                const int g = searching[s];
                const int32_t best = static_cast<int32_t>(places[g]);
                negatives[g] = best < 0 ? -1 : candidates[best * kGroup + g];
                if (best < 0) continue;
                // Whether it is known is a toss-up: the samples that go on are sorted out without a jump.
                const bool known = scene.interactions.contains(group.users[g], negatives[g]);
                float& score = scores[best * kGroup + g];
                score = known ? kNone : score;
                searching[n_left] = g;
                n_left += known;
            }
            n_searching = n_left;
        }
        for (int g = 0; g < group.size; ++g)
            if (negatives[g] >= 0) scene.items.prefetch_row(negatives[g]);
        pair_with(scene, group, negatives, pairs);
    }

private:
    static constexpr float kNone = -std::numeric_limits<float>::infinity();

    // For each sample the number of the draw of the highest score, or -1. A score that is no number is never the highest:
    // the step finds what made it by the other side of the pair, or the end of the epoch does.
    static void find_highest(const float* scores, int32_t m, float* best) {
        for (int first = 0; first < kGroup; first += kLanes) {
            Vec highest = splat(kNone), place = splat(-1.0f);
            for (int32_t j = 0; j < m; ++j)
                keep_larger(load(scores + j * kGroup + first), static_cast<float>(j), highest, place);
            store(best + first, place);
        }
    }
};

}  // namespace lightfm_fast
