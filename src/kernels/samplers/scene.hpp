// The data that samplers read and write.
//
// A sampler works on a group in three turns. Two turns before the group's steps it draws candidates. In the next turn
// it prefetches them between the steps of another group, and then settles the negatives and the samples' weights. A
// sampler that searches by score uses users and sketches as they are when it settles. The step scores the chosen pair
// again.
#pragma once

#include <cstdint>
#include <vector>

#include "../order.hpp"
#include "../rng.hpp"
#include "../samples.hpp"
#include "../settings.hpp"
#include "../simd/target.hpp"
#include "../sketches.hpp"
#include "../team.hpp"
#include "alias.hpp"

namespace lightfm_fast {

// WARP's candidates: a group draws kDraws for each sample.
constexpr int kDraws = 4;
constexpr int kPool = kDraws * kGroup;

struct SampledGroup : Group {
    uint64_t first = 0;               // ordinal of the first sample
    int32_t negatives[kGroup];        // -1: none
    int32_t drawn[kPool];             // candidates of WARP, kDraws of each sample
    std::vector<int32_t> candidates;  // of other samplers: first one of each sample, then a second one, ...

    uint64_t ordinal(int g) const { return first + static_cast<uint64_t>(g); }
};

// Slots for representations in use at once: one for each sample's user or item, and one for its negative.
constexpr int kSlots = 2 * kGroup;

// The number of candidates of each sample that are scored between two counts of the work.
constexpr int32_t kBetweenSpends = 16;

// The parts of an epoch that samplers use, whatever the sides.
struct Scene {
    const Samples& samples;
    const Popularity& popularity;
    const Sketches& sketches;
    const Settings& settings;
    const Stream& stream;
    Worker& worker;
    UserSketches sketched;
    std::vector<float> scores;   // of a group's candidates
    std::vector<float> largest;  // of these, for each sample in order

    // The nth uniform draw of sample g, a place among the drawable items: see Samples::name_drawn().
    int32_t draw_place(const SampledGroup& group, int g, int32_t nth) const {
        return static_cast<int32_t>(stream.below(static_cast<uint32_t>(samples.n_drawable),
                                                 static_cast<uint32_t>(group.ordinal(g)), static_cast<uint32_t>(nth)));
    }

    // Scores sample g's user with item(g), by sketches.
    template <class Width, class Item>
    void score_each(Width width, const Item& item, float* scores) const {
        Sketches::Candidates<kGroup> candidates;
        for (int g = 0; g < kGroup; ++g) sketches.put(width, item(g), g, 0, candidates);
        Sketches::score_each(width, sketched, candidates, 0, scores);
    }
};

// A scene and its sides. Work that needs no sides takes a Scene, so that it is compiled once for all kinds of sides.
template <class Users, class Items>
struct SceneOf : Scene {
    Users& users;
    Items& items;

    void sketch_users(const SampledGroup& group) {
        users.enter(group.first);
        const float* embeddings[kGroup];
        for (int g = 0; g < kGroup; ++g)
            if (g + 1 == kGroup || group.users[g] != group.users[g + 1])
                embeddings[g] = users.represent(group.users[g], g).embedding;
        with_usual_width(items.width, [&](auto width) { sketched.make(width, group, embeddings); });
    }
};

// Prefetches the user's data that settling a sample reads.
template <class SceneOf>
LIGHTFM_FAST_INLINE inline void prefetch_user(const SceneOf& scene, const SampledGroup& group, int g) {
    if (g > 0 && group.users[g] == group.users[g - 1]) return;
    scene.users.prefetch_embedding(group.users[g]);
    scene.samples.known.prefetch_membership(group.users[g]);
}

}  // namespace lightfm_fast
