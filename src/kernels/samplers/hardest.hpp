// The hardest negative: among several drawn items, the one with the highest score.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "../features.hpp"
#include "../simd/target.hpp"
#include "../simd/vectors.hpp"
#include "../simd/words.hpp"
#include "scene.hpp"

namespace lightfm_fast {

// BPR by dynamic negative sampling (Zhang 2013): of n_negatives uniform draws, the highest scored that is no known
// item. Only the draw with the highest score is looked up among the known items, then the next highest if it is known.
// Samples share draws as in WARP, so that fewer rows are fetched than are scored.
struct HardestOfUniform {
    static constexpr bool kNeedsPopularity = false, kTakesWeights = true;
    // The number of samples that share draws. With more, one negative would be the hardest of several samples of the
    // group, which do not see one another's steps (benchmarks/NOTES.md).
    static constexpr int kSharing = 2, kApart = kGroup / kSharing;

    // Sketches are refreshed often: an item whose sketch gives too high a score is chosen again and again until the
    // refresh (benchmarks/NOTES.md).
    static constexpr Plan kPlan = Plan{}.spreading(Spread::kAnyFeatures).with_blocks(16).with_sketches(3);

    static void draw_ahead(const Scene& scene, SampledGroup& group) {
        if (group.size == 0) return;
        const int32_t n = n_own(scene);
        group.candidates.resize(static_cast<size_t>(kGroup) * n);
        for (int32_t d = 0; d < n; ++d)
            for (int g = 0; g < kGroup; ++g) group.candidates[d * kGroup + g] = scene.draw_place(group, g, d);
        scene.samples.name_drawn(group.candidates.data(), kGroup * n);
    }

    template <class SceneOf>
    LIGHTFM_FAST_INLINE static void prefetch_drawn(const SceneOf& scene, const SampledGroup& group, int g) {
        const int32_t n = std::min(n_own(scene), std::max(1, kMostPrefetched / int32_t{scene.items.width}));
        for (int32_t d = 0; d < n; ++d) scene.sketches.prefetch(scene.items.width, group.candidates[d * kGroup + g]);
        prefetch_user(scene, group, g);
    }

    template <class SceneOf>
    static void settle(SceneOf& scene, SampledGroup& group) {
        if (group.size == 0) return;
        scene.sketch_users(group);
        with_usual_width(scene.items.width, [&](auto width) { search(scene, group, width); });
    }

private:
    template <class Width>
    LIGHTFM_FAST_NOT_INLINE static void search(Scene& scene, SampledGroup& group, Width width) {
        const int32_t m = scene.settings.n_negatives;
        scene.scores.resize(static_cast<size_t>(kGroup) * m);
        float* scores = scene.scores.data();
        for (int32_t j = 0; j < m;) {
            if (j % kBetweenSpends == 0 && scene.worker.spend(kBetweenSpends * kGroup * int64_t{width})) return;
            Sketches::Candidates<2 * kGroup> row;  // doubled, so that any kGroup in a row are in order
            for (int g = 0; g < kGroup; ++g)
                scene.sketches.put(width, group.candidates[j / kSharing * kGroup + g], g, kGroup, row);
            for (int turn = 0; turn < kSharing && j < m; ++turn, ++j)
                Sketches::score_each(width, scene.sketched, row, turn * kApart, scores + j * kGroup);
        }
        int32_t best[kGroup];
        find_highest(scores, m, best);
        uint32_t asking = (1u << group.size) - 1;
        for (int search = 1; asking && search <= kMostSearches; ++search) {
            uint32_t known = 0;  // branch-free: the outcome is unpredictable
            for (uint32_t left = asking; left; left &= left - 1) {
                const int g = lowest_bit(left);
                const bool contains =
                    scene.samples.known.contains(group.users[g], candidate(group, g, std::max(best[g], 0)));
                known |= static_cast<uint32_t>(contains & (best[g] >= 0)) << g;
            }
            for (uint32_t left = known; left; left &= left - 1) {
                const int g = lowest_bit(left);
                scores[best[g] * kGroup + g] = kNone;
            }
            asking = known;
            if (known) find_highest(scores, m, best);
        }
        for (uint32_t left = asking; left; left &= left - 1) {
            const int g = lowest_bit(left);
            best[g] = find_highest_unknown(scene, group, g);
        }
        for (int g = 0; g < kGroup; ++g) group.negatives[g] = best[g] < 0 ? -1 : candidate(group, g, best[g]);
        replace_repeated(scene, group, best);
    }

    // Gives each sample another negative than the samples of the same user before it. Slopes are taken before the
    // group's first step, but a step starts from the rows as the steps before have left them. So a negative that a user
    // has twice would move away from the user, and then push the user the other way, with the slope of a pair that is
    // still in the wrong order: both would grow without end (benchmarks/NOTES.md).
    static void replace_repeated(Scene& scene, SampledGroup& group, const int32_t* best) {
        uint64_t taken = 0;  // a bit for the last digits of each negative of this user
        int first = 0;       // the user's first sample
        for (int g = 0; g < group.size; ++g) {
            if (group.users[g] != group.users[first]) taken = 0, first = g;
            const int32_t* begin = group.negatives + first;
            int32_t& negative = group.negatives[g];
            if (negative >= 0 && (taken >> (negative & 63) & 1) && is_among(begin, &negative, negative)) {
                float* scores = scene.scores.data() + g;
                int32_t turn = best[g];
                do {
                    scores[turn * kGroup] = kNone;
                    turn = find_highest(scores, scene.settings.n_negatives);
                    negative = turn < 0 ? -1 : candidate(group, g, turn);
                } while (turn >= 0 && (is_among(begin, &negative, negative) ||
                                       scene.samples.known.contains(group.users[g], negative)));
            }
            if (negative >= 0) taken |= uint64_t{1} << (negative & 63);
        }
    }
    static bool is_among(const int32_t* first, const int32_t* last, int32_t item) {
        bool found = false;  // no early end: compilers make vectors
        for (; first < last; ++first) found |= *first == item;
        return found;
    }
    // The number of one sample's draw with the highest score, or -1. Its scores are kGroup apart.
    static int32_t find_highest(const float* scores, int32_t m) {
        float highest = kNone;
        int32_t best = -1;
        for (int32_t j = 0; j < m; ++j) {
            best = scores[j * kGroup] > highest ? j : best;
            highest = std::max(highest, scores[j * kGroup]);
        }
        return best;
    }

    // The number of passes over all scores before a sample checks its other candidates one by one.
    static constexpr int kMostSearches = 8;
    static constexpr int32_t kMostPrefetched = 1 << 18;  // bytes for a sample; more would not stay in the cache

    // The number of candidates that a sample draws itself.
    static int32_t n_own(const Scene& scene) { return (scene.settings.n_negatives + kSharing - 1) / kSharing; }

    // The j-th candidate of sample g. Samples that are kApart apart share draws.
    static int32_t candidate(const SampledGroup& group, int g, int32_t j) {
        return group.candidates[j / kSharing * kGroup + (g + j % kSharing * kApart) % kGroup];
    }

    // The number of the draw with the highest score whose item is not known, or -1, in one pass over the draws.
    static int32_t find_highest_unknown(const Scene& scene, const SampledGroup& group, int g) {
        float highest = kNone;
        int32_t best = -1;
        for (int32_t j = 0; j < scene.settings.n_negatives; ++j) {
            const float score = scene.scores[j * kGroup + g];
            if (!(score > highest) || scene.samples.known.contains(group.users[g], candidate(group, g, j))) continue;
            highest = score;
            best = j;
        }
        return best;
    }

    static constexpr float kNone = -std::numeric_limits<float>::infinity();

    // For each sample, the number of the draw with the highest score, or -1. A NaN is never the highest: the step finds
    // it by the pair's other item, or the end of the epoch does.
    static void find_highest(const float* scores, int32_t m, int32_t* best) {
        float places[kGroup];
        for (int first = 0; first < kGroup; first += kLanes) {
            Vec highest = splat(kNone), place = splat(-1.0f);
            for (int32_t j = 0; j < m; ++j)
                keep_larger(load(scores + j * kGroup + first), static_cast<float>(j), highest, place);
            store(places + first, place);
        }
        for (int g = 0; g < kGroup; ++g) best[g] = static_cast<int32_t>(places[g]);
    }
};

}  // namespace lightfm_fast
