// The hardest negative: of several drawn, the one that the model scores highest.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "sampling.hpp"

namespace lightfm_fast {

// BPR by dynamic negative sampling (Zhang 2013): of n_negatives uniform draws, the highest scored that is no positive.
// Only a draw that would be chosen is looked up among the user's positives; one found there is a draw less.
struct HardestOfUniform {
    template <class Items>
    static void draw_ahead(const Scene<Items>& scene, Group& group) {
        const int32_t m = scene.n_negatives;
        group.candidates.resize(static_cast<size_t>(kGroup) * m);
        for (int g = 0; g < group.size; ++g)
            for (int32_t j = 0; j < m; ++j)
                group.candidates[g * m + j] =
                    static_cast<int32_t>(scene.stream.below(scene.interactions.n_items, (group.ordinal(g) << 32) + j));
    }

    template <class Items>
    static void prefetch_drawn(const Scene<Items>& scene, const Group& group, int g) {
        const int32_t* candidates = group.candidates.data() + g * scene.n_negatives;
        for (int32_t j = 0; j < scene.n_negatives; ++j) scene.items.prefetch_embedding(candidates[j]);
    }

    template <class Users, class Items>
    static void draw(Scene<Items>& scene, const Group& group, FoundPairs<Users, Items>& pairs) {
        const int32_t m = scene.n_negatives;
        const int32_t* candidates = group.candidates.data();
        thread_local std::vector<float> scores;  // those of one draw of every sample together
        scores.resize(static_cast<size_t>(kGroup) * m);
        for (int g = 0; g < group.size; ++g) {
            int32_t j = 0;
            for (; j + kAtOnce <= m; j += kAtOnce)
                score<kAtOnce>(scene, pairs.users[g], candidates + g * m + j, &scores[j * kGroup + g]);
            for (; j < m; ++j) score<1>(scene, pairs.users[g], candidates + g * m + j, &scores[j * kGroup + g]);
        }

        int32_t negatives[kGroup];
        int searching[kGroup], n_searching = group.size;
        for (int g = 0; g < group.size; ++g) searching[g] = g;
        while (n_searching > 0) {
            float places[kGroup];
            find_highest(scores.data(), m, places);
            int n_left = 0;
            for (int s = 0; s < n_searching; ++s) {
                const int g = searching[s];
                const int32_t best = static_cast<int32_t>(places[g]);
                negatives[g] = best < 0 ? -1 : candidates[g * m + best];
                if (best < 0) continue;
                // Whether it is known is a toss-up: the samples that go on are sorted out without a jump.
                const bool known = scene.interactions.contains(group.samples[g].user, negatives[g]);
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
    static constexpr int kAtOnce = 4;

    // Puts the score of the n-th candidate at scores[n * kGroup]. The slots of the group's negatives are free yet.
    template <int kCandidates, class User, class Items>
    static void score(Scene<Items>& scene, const User& user, const int32_t* candidates, float* scores) {
        const float* rows[kCandidates];
        float biases[kCandidates], products[kCandidates];
        for (int c = 0; c < kCandidates; ++c) {
            const auto item = scene.items.represent(candidates[c], 2 * c + 1);
            rows[c] = item.embedding;
            biases[c] = item.bias;
        }
        dots<kCandidates>(user.embedding, rows, scene.items.width, products);
        for (int c = 0; c < kCandidates; ++c) scores[c * kGroup] = products[c] + biases[c];
    }

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
