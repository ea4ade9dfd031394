// Replaces a sample's positive by the k-th best of several drawn positives.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "../simd/prefetch.hpp"
#include "../simd/target.hpp"
#include "../simd/vectors.hpp"
#include "warp.hpp"

namespace lightfm_fast {

// First counter of a sample's draws of positives, above the counters of its other draws.
constexpr uint32_t kSecondKind = 1u << 31;

// k-OS WARP (Weston 2013): of n positives drawn with replacement, the k-th best replaces the sample's own. As in
// LightFM, a user with fewer than n positives draws that many, and the worst of them is chosen where k is larger.
struct KthPositive {
    static constexpr bool kNeedsPopularity = false;
    static constexpr bool kTakesWeights = false;  // the positives trained on are drawn, not the samples' own
    static constexpr Plan kPlan = UntilViolation::kPlan;

    template <class SceneOf>
    LIGHTFM_FAST_INLINE static void prefetch_drawn(const SceneOf& scene, const SampledGroup& group, int g) {
        UntilViolation::prefetch_drawn(scene, group, g);
    }

    // Draws places among the user's positives, as offsets from the first positive of the group's first user: the
    // group's users are neighbours. Draws past the user's number of positives repeat the first one.
    static void draw_ahead(const Scene& scene, SampledGroup& group) {
        if (group.size == 0) return;
        UntilViolation::draw_ahead(scene, group);
        group.candidates.resize(static_cast<size_t>(kGroup) * scene.settings.n);
        const Samples& samples = scene.samples;
        const Stream stream = scene.stream;
        const int64_t base = samples.indptr[group.users[0]];
        uint32_t counts[kGroup];
        int32_t n_of[kGroup], first[kGroup];
        for (int g = 0; g < kGroup; ++g) {
            counts[g] = static_cast<uint32_t>(samples.count(group.users[g]));
            n_of[g] = n_drawn(scene, group, g);
            first[g] = static_cast<int32_t>(samples.indptr[group.users[g]] - base);
        }
        for (int32_t j = 0; j < scene.settings.n; ++j) {
            int32_t* drawn = group.candidates.data() + j * kGroup;
            for (int g = 0; g < kGroup; ++g) {
                const auto ordinal = static_cast<uint32_t>(group.first) + static_cast<uint32_t>(g);
                const auto place = static_cast<int32_t>(stream.below(counts[g], ordinal, kSecondKind + j));
                drawn[g] = first[g] + (j < n_of[g] ? place : 0);
            }
        }
        for (const int32_t place : group.candidates) prefetch_read(samples.items + base + place);
    }

    template <class SceneOf>
    static void settle(SceneOf& scene, SampledGroup& group) {
        if (group.size == 0) return;
        const int32_t n = scene.settings.n;
        const int32_t* positives = scene.samples.items + scene.samples.indptr[group.users[0]];
        for (int32_t j = 0; j < n; ++j) gather(positives, &group.candidates[j * kGroup], &group.candidates[j * kGroup]);
        scene.sketch_users(group);
        with_usual_width(scene.items.width, [&](auto width) { choose_positives(scene, group, width); });
        if (scene.worker.has_to_stop()) return;
        with_usual_width(scene.items.width, [&](auto width) { UntilViolation::search(scene, group, width); });
    }

private:
    static constexpr int32_t kMostOrdered = 32;  // largest k for which all scores up to the k-th are kept in order

    template <class Width>
    LIGHTFM_FAST_NOT_INLINE static void choose_positives(Scene& scene, SampledGroup& group, Width width) {
        const int32_t n = scene.settings.n;
        const auto candidate = [&](int g, int32_t j) { return group.candidates[j * kGroup + g]; };
        scene.scores.resize(static_cast<size_t>(kGroup) * n);
        float* scores = scene.scores.data();
        for (int32_t j = 0; j < n; ++j) {
            if (j % kBetweenSpends == 0 && scene.worker.spend(kBetweenSpends * kGroup * int64_t{width})) return;
            scene.score_each(width, [&](int g) { return candidate(g, j); }, scores + j * kGroup);
        }
        float k[kGroup], chosen[kGroup];
        for (int g = 0; g < kGroup; ++g) {
            const int32_t drawn = n_drawn(scene, group, g);
            k[g] = static_cast<float>(std::min(scene.settings.k, drawn));
            for (int32_t j = drawn; j < n; ++j) scores[j * kGroup + g] = -std::numeric_limits<float>::infinity();
        }
        const int32_t most = std::min(scene.settings.k, n);
        most <= kMostOrdered ? find_kth_largest(scores, n, most, k, scene.largest, chosen)
                             : select_kth_largest(scores, n, k, scene.largest, chosen);
        for (int g = 0; g < kGroup; ++g) group.items[g] = candidate(g, static_cast<int32_t>(chosen[g]));
    }

    static int32_t n_drawn(const Scene& scene, const SampledGroup& group, int g) {
        return static_cast<int32_t>(std::min<int64_t>(scene.settings.n, scene.samples.count(group.users[g])));
    }

    // For each sample, the number of the k-th largest of its n scores, the first of equal ones; `most` is the largest
    // k. Branch-free in the scores. A NaN is not chosen unless all scores are NaN.
    static void find_kth_largest(const float* scores, int32_t n, int32_t most, const float* k,
                                 std::vector<float>& largest, float* chosen) {
        for (int first = 0; first < kGroup; first += kLanes) {
            largest.assign(static_cast<size_t>(kLanes) * most, -std::numeric_limits<float>::infinity());
            for (int32_t j = 0; j < n; ++j) {
                Vec score = load(scores + j * kGroup + first);
                for (int32_t i = 0; i <= j && i < most; ++i) {
                    Vec high = load(&largest[i * kLanes]);
                    sort_two(high, score);
                    store(&largest[i * kLanes], high);
                }
            }
            Vec kth = splat(0.0f), place = splat(0.0f);
            for (int32_t i = 0; i < most; ++i)
                set_where_equal(load(k + first), splat(static_cast<float>(i + 1)), load(&largest[i * kLanes]), kth);
            for (int32_t j = n - 1; j >= 0; --j)
                set_where_equal(load(scores + j * kGroup + first), kth, splat(static_cast<float>(j)), place);
            store(chosen + first, place);
        }
    }

    // The same for one sample after another, in time that does not grow with k.
    static void select_kth_largest(const float* scores, int32_t n, const float* k, std::vector<float>& own,
                                   float* chosen) {
        own.resize(n);
        for (int g = 0; g < kGroup; ++g) {
            for (int32_t j = 0; j < n; ++j) {
                const float score = scores[j * kGroup + g];
                own[j] = std::isnan(score) ? -std::numeric_limits<float>::infinity() : score;
            }
            const auto kth = own.begin() + static_cast<int32_t>(k[g]) - 1;
            std::nth_element(own.begin(), kth, own.end(), std::greater<float>());
            int32_t place = 0;
            while (place < n && scores[place * kGroup + g] != *kth) ++place;
            chosen[g] = static_cast<float>(place < n ? place : 0);
        }
    }
};

}  // namespace lightfm_fast
