// One negative, drawn by its popularity.
#pragma once

#include <cstdint>

#include "../simd/target.hpp"
#include "../simd/words.hpp"
#include "scene.hpp"

namespace lightfm_fast {

// The number of rejected draws after which a sampler gives up on a sample: a user with entries for nearly all items
// must not stall training.
constexpr uint64_t kMaxRejected = 64;

// BPR: one negative by popularity, known positives rejected.
struct OneByPopularity {
    static constexpr bool kNeedsPopularity = true, kTakesWeights = true;
    static constexpr Plan kPlan = Plan{}.with_blocks(4, 64);

    LIGHTFM_FAST_INLINE static void prefetch_drawn(const Scene&, const SampledGroup&, int) {}

    static void draw_ahead(const Scene& scene, SampledGroup& group) {
        for (int g = 0; g < kGroup; ++g)
            group.negatives[g] = scene.popularity.draw(scene.stream, group.ordinal(g) << 32);
        for (int g = 0; g < group.size; ++g)
            scene.samples.known.prefetch_membership(group.users[g], group.negatives[g]);
    }

    static void settle(const Scene& scene, SampledGroup& group) {
        const Samples& samples = scene.samples;
        int32_t* drawn = group.negatives;
        for (uint32_t known = samples.known.containing(group.users, drawn, group.size); known; known &= known - 1) {
            const int g = lowest_bit(known);
            uint64_t draws = 1;
            do {
                drawn[g] =
                    draws == kMaxRejected ? -1 : scene.popularity.draw(scene.stream, (group.ordinal(g) << 32) + draws);
                ++draws;
            } while (drawn[g] >= 0 && samples.known.contains(group.users[g], drawn[g]));
        }
    }
};

}  // namespace lightfm_fast
