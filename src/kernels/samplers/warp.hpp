// WARP: draws items until one violates the margin.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../features.hpp"
#include "../simd/target.hpp"
#include "../simd/vectors.hpp"
#include "../simd/words.hpp"
#include "scene.hpp"

namespace lightfm_fast {

// WARP: uniform draws until one violates the margin and is not a known item. The number of draws estimates the rank.
//
// Samples of a group share candidates, so that fewer rows are fetched than are tried. A sample draws kDraws candidates
// and tries them first, then the candidates of the samples kDraws, 2 kDraws, ... after it. Samples that find no
// negative among these draw again. Each sample's candidates are uniform and independent.
//
// Neighbouring samples often have the same user, so they share no candidates: they would step the same negative without
// seeing one another's steps.
struct UntilViolation {
    static constexpr bool kNeedsPopularity = false, kTakesWeights = true;
    // With fewer blocks a user's samples are closer in time, which was measured less precise (benchmarks/NOTES.md).
    static constexpr Plan kPlan = Plan{}.spreading(Spread::kSparseItems).with_blocks(32, 256).with_sketches(8);

    // Samples that share candidates have a common row of kGroup candidates. Each sample starts at its own draws.
    static int first_shared(int g) { return g % kDraws * kGroup; }
    static int first_own(int g) { return g / kDraws * kDraws; }

    static void draw_candidates(const Scene& scene, SampledGroup& group, int32_t round) {
        for (int first = 0; first < kDraws; ++first)
            for (int place = 0; place < kGroup; ++place)  // in the places of first_shared() and first_own()
                group.drawn[first * kGroup + place] =
                    scene.draw_place(group, first + place / kDraws * kDraws, round * kDraws + place % kDraws);
        scene.samples.name_drawn(group.drawn, kPool);
    }

    static void draw_ahead(const Scene& scene, SampledGroup& group) { draw_candidates(scene, group, 0); }

    template <class SceneOf>
    LIGHTFM_FAST_INLINE static void prefetch_drawn(const SceneOf& scene, const SampledGroup& group, int g) {
        const auto width = scene.items.width;
        for (int d = 0; d < kDraws; ++d)
            scene.sketches.prefetch(width, group.drawn[first_shared(g) + first_own(g) + d]);
        scene.sketches.prefetch(width, group.items[g]);
        prefetch_user(scene, group, g);
    }

    template <class SceneOf>
    static void settle(SceneOf& scene, SampledGroup& group) {
        if (group.size == 0) return;
        scene.sketch_users(group);
        with_usual_width(scene.items.width, [&](auto width) { search(scene, group, width); });
    }

    template <class Width>
    LIGHTFM_FAST_NOT_INLINE static void search(Scene& scene, SampledGroup& group, Width width) {
        float scores[kGroup];
        scene.score_each(width, [&](int g) { return group.items[g]; }, scores);
        int searching[kGroup],
            n_searching = 0;  // samples that share candidates follow one another, so that candidates stay in cache
        for (int first = 0; first < kDraws; ++first)
            for (int g = first; g < group.size; g += kDraws) searching[n_searching++] = g;
        std::fill_n(group.negatives, kGroup, -1);
        for (int32_t round = 0; n_searching > 0 && round * kGroup < scene.settings.max_sampled; ++round) {
            if (scene.worker.spend(static_cast<int64_t>(kGroup) * n_searching * width)) return;
            if (round > 0) draw_candidates(scene, group, round);
            Sketches::Candidates<2 * kPool> candidates;  // each row doubled, so that any kGroup in a row are in order
            for (int first = 0; first < kPool; first += kGroup)
                for (int c = first; c < first + kGroup; ++c)
                    scene.sketches.put(width, group.drawn[c], first + c, kGroup, candidates);
            const int32_t tries = std::min(kGroup, scene.settings.max_sampled - round * kGroup);
            int n_left = 0;
            for (int s = 0; s < n_searching; ++s) {
                const int g = searching[s], first = 2 * first_shared(g) + first_own(g);
                const uint32_t violating = tries > 12
                                               ? find_violating<4>(scene, width, g, scores[g], candidates, first)
                                               : find_violating<3>(scene, width, g, scores[g], candidates, first);
                const uint32_t left = scene.samples.known.drop_known(group.users[g], candidates.items + first,
                                                                     violating & ((1u << tries) - 1));
                const int turn = lowest_bit(left | 1u << (kGroup - 1));
                searching[n_left] = g;
                n_left += !left;
                const int32_t if_found =
                    -static_cast<int32_t>(left != 0);  // all bits or none. Branch-free: the outcome is unpredictable
                group.negatives[g] = candidates.items[first + turn] | ~if_found;
                group.weights[g] *= scene.settings.log_rank[(round * kGroup + turn + 1) & if_found];
            }
            n_searching = n_left;
        }
    }

    // Bit i is set if the i-th of the first 4 kQuads candidates violates the margin of sample g.
    template <int kQuads, class Width>
    static uint32_t find_violating(const Scene& scene, Width width, int g, float score,
                                   const Sketches::Candidates<2 * kPool>& candidates, int first) {
        float others[kGroup];
        Sketches::score_all<kQuads>(width, scene.sketched, g, candidates, first, others);
        uint32_t violating = 0;  // a NaN margin counts as violating, and the step then finds it
        for (int i = 0; i < kGroup; i += kLanes) violating |= lanes_not_at_least(score - load(others + i), 1.0f) << i;
        return violating;
    }
};

}  // namespace lightfm_fast
