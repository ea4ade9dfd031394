// Draws until one violates the margin.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../simd/target.hpp"
#include "../simd/vectors.hpp"
#include "../simd/words.hpp"
#include "scene.hpp"

namespace lightfm_fast {

// WARP: uniform draws until one violates the margin and is no positive. The number of draws estimates the rank. Each
// sample of a group draws kDraws candidates, tries them, and then those of the samples kDraws, 2 kDraws ... after it, as
// many as the group has samples; if none of these will do, all draw anew. So to every sample its candidates are uniform
// and independent, but the group fetches fewer of them than it tries. Neighbours, which
// often have one user, share none: the same negative for several samples of a user would be stepped on as often, at
// scores that do not know of one another. Where they did, precision fell by a hundredth.
struct UntilViolation {
    static constexpr bool kNeedsPopularity = false, kTakesWeights = true;
    // A user's samples in few places of the epoch cost precision (Gowalla: 0.0498 with 8 blocks, 0.0511 with 32). With
    // sketches for 16 samples an item, and ever so many with copies for threads, it was the same on generated data.
    static constexpr Plan kPlan = Plan{}.spreading(Spread::kSparseItems).with_blocks(32).with_sketches(8);

    // The candidates of samples that share them stand in a row of kGroup, a sample's own among them, from which on it tries
    // them.
    static int first_shared(int g) { return g % kDraws * kGroup; }
    static int first_own(int g) { return g / kDraws * kDraws; }

    template <class Scene>
    static void draw_candidates(const Scene& scene, Group& group, int32_t round) {
        for (int first = 0; first < kDraws; ++first)
            for (int place = 0; place < kGroup; ++place)  // as first_shared() and first_own() say
                group.drawn[first * kGroup + place] =
                    scene.draw_item(group, first + place / kDraws * kDraws, round * kDraws + place % kDraws);
    }

    template <class Scene>
    static void draw_ahead(const Scene& scene, Group& group) {
        draw_candidates(scene, group, 0);
    }

    template <class Scene>
    LIGHTFM_FAST_INLINE static void prefetch_drawn(const Scene& scene, const Group& group, int g) {
        const auto width = scene.items.width;
        for (int d = 0; d < kDraws; ++d)
            scene.sketches.prefetch(width, group.drawn[first_shared(g) + first_own(g) + d]);
        scene.sketches.prefetch(width, group.items[g]);
        prefetch_user(scene, group, g);
    }

    template <class Scene>
    static void settle(Scene& scene, Group& group) {
        if (group.size == 0) return;
        scene.sketch_users(group);
        search(scene, group);
    }

    template <class Scene>
    static void search(Scene& scene, Group& group) {
        float scores[kGroup];
        scene.score_each([&](int g) { return group.items[g]; }, scores);
        int searching[kGroup], n_searching = 0;  // those that share candidates in a row, while these are near
        for (int first = 0; first < kDraws; ++first)
            for (int g = first; g < group.size; g += kDraws) searching[n_searching++] = g;
        std::fill_n(group.negatives, kGroup, -1);
        for (int32_t round = 0; n_searching > 0 && round * kGroup < scene.settings.max_sampled; ++round) {
            if (scene.worker.spend(static_cast<int64_t>(kGroup) * n_searching * scene.items.width)) return;
            if (round > 0) draw_candidates(scene, group, round);
            Sketches::Candidates<2 * kPool> candidates;  // each row twice over: from any place on they stand in order
            for (int first = 0; first < kPool; first += kGroup)
                for (int c = first; c < first + kGroup; ++c)
                    scene.sketches.put(scene.items.width, group.drawn[c], first + c, kGroup, candidates);
            const int32_t tries = std::min(kGroup, scene.settings.max_sampled - round * kGroup);
            int n_left = 0;
            for (int s = 0; s < n_searching; ++s) {
                const int g = searching[s], first = 2 * first_shared(g) + first_own(g);
                const uint32_t violating = tries > 12 ? find_violating<4>(scene, g, scores[g], candidates, first)
                                                      : find_violating<3>(scene, g, scores[g], candidates, first);
                const uint32_t left = scene.samples.known.drop_known(group.users[g], candidates.items + first,
                                                                     violating & ((1u << tries) - 1));
                const int turn = lowest_bit(left | 1u << (kGroup - 1));
                searching[n_left] = g;
                n_left += !left;
                const int32_t if_found = -static_cast<int32_t>(left != 0);  // all bits; a jump would be a toss-up
                group.negatives[g] = candidates.items[first + turn] | ~if_found;
                group.weights[g] *= scene.settings.log_rank[(round * kGroup + turn + 1) & if_found];
            }
            n_searching = n_left;
        }
    }

    // A bit for each of the first 4 kQuads candidates of sample g.
    template <int kQuads, class Scene>
    static uint32_t find_violating(const Scene& scene, int g, float score,
                                   const Sketches::Candidates<2 * kPool>& candidates, int first) {
        float others[kGroup];
        Sketches::score_all<kQuads>(scene.items.width, scene.sketched, g, candidates, first, others);
        uint32_t violating = 0;  // a margin that is no number is one that the step is to find
        for (int i = 0; i < kGroup; i += kLanes) violating |= lanes_not_at_least(score - load(others + i), 1.0f) << i;
        return violating;
    }
};

}  // namespace lightfm_fast
