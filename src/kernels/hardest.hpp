// The hardest negative: of several drawn, the one that the model scores highest.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "sampling.hpp"

namespace lightfm_fast {

// BPR by dynamic negative sampling (Zhang 2013): of n_negatives uniform draws, the highest scored that is no positive.
// Only a draw that would be chosen is looked up among the user's positives; those found are draws less, not drawn anew.
struct HardestOfUniform {
    template <class Items>
    static void draw_ahead(const Scene<Items>& scene, Group& group) {
        const int32_t m = scene.n_negatives;
        group.candidates.resize(static_cast<size_t>(kGroup) * m);
        int32_t* candidates = group.candidates.data();
        for (int g = 0; g < group.size; ++g) {
            const uint64_t counter = group.ordinal(g) << 32;
            for (int32_t j = 0; j < m; ++j)
                candidates[g * m + j] =
                    static_cast<int32_t>(scene.stream.below(scene.interactions.n_items, counter + j));
        }
    }

    template <class Items>
    static void prefetch_drawn(const Scene<Items>& scene, const Group& group, int g) {
        const int32_t* candidates = group.candidates.data() + g * scene.n_negatives;
        for (int32_t j = 0; j < scene.n_negatives; ++j) scene.items.prefetch_embedding(candidates[j]);
    }

    template <class Users, class Items>
    static void draw(Scene<Items>& scene, const Group& group, FoundPairs<Users, Items>& pairs) {
        thread_local std::vector<float> scores;
        scores.resize(scene.n_negatives);
        for (int g = 0; g < group.size; ++g) {
            const float* user = pairs.users[g].embedding;
            pairs.positives[g] = scene.items.represent(group.samples[g].item, 2 * g);
            const int32_t* candidates = group.candidates.data() + g * scene.n_negatives;
            for (int32_t j = 0; j < scene.n_negatives; ++j)
                scores[j] = scene.score(user, scene.items.represent(candidates[j], 2 * g + 1));
            const int32_t best = choose(scene, group.samples[g].user, candidates, scores.data());
            pairs.found[g] = best >= 0;
            if (best < 0) continue;
            scene.items.prefetch_row(candidates[best]);
            pairs.negatives[g] = scene.items.represent(candidates[best], 2 * g + 1);
            pairs.margins[g] = scene.score(user, pairs.positives[g]) - scores[best];
            pairs.weights[g] = group.samples[g].weight;
        }
    }

private:
    // A score that is no number is never the highest: the step finds what made it through the positive.
    template <class Items>
    static int32_t choose(const Scene<Items>& scene, int32_t user, const int32_t* candidates, float* scores) {
        constexpr float kNone = -std::numeric_limits<float>::infinity();
        for (;;) {
            int32_t best = -1;
            float highest = kNone;
            for (int32_t j = 0; j < scene.n_negatives; ++j) {
                best = scores[j] > highest ? j : best;
                highest = scores[j] > highest ? scores[j] : highest;
            }
            if (best < 0 || !scene.interactions.contains(user, candidates[best])) return best;
            scores[best] = kNone;
        }
    }
};

}  // namespace lightfm_fast
