// Every way to draw the items of a pair. A sampler gives each sample (user, positive item) a negative, or says that there
// is none; what it may draw is all it decides.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "interactions.hpp"
#include "rng.hpp"
#include "settings.hpp"
#include "simd/prefetch.hpp"
#include "simd/target.hpp"
#include "simd/vectors.hpp"
#include "simd/words.hpp"
#include "sketches.hpp"

namespace lightfm_fast {

// Draws that may be rejected before a sampler gives up on a sample, so that a user who has seen (nearly) all there
// is costs time and not the process.
constexpr uint64_t kMaxRejected = 64;

// Counters of a sample's draws begin here when they follow those of another kind.
constexpr uint32_t kSecondKind = 1u << 31;

// The item of a random interaction, in O(1) and out of cache: one cell an item (Walker 1977, Vose 1991).
struct Popularity {
    struct Cell {
        uint32_t threshold;  // keep the cell's own item below this, out of 2^32
        int32_t alias;
    };
    const Cell* cells;
    int32_t n_items;

    int32_t draw(const Stream& stream, uint64_t counter) const {
        const uint64_t bits = stream.bits(counter);
        const int32_t cell = static_cast<int32_t>(((bits >> 32) * static_cast<uint64_t>(n_items)) >> 32);
        // A jump would be mispredicted half of the time.
        const int32_t keep = -static_cast<int32_t>(static_cast<uint32_t>(bits) < cells[cell].threshold);
        return (cell & keep) | (cells[cell].alias & ~keep);
    }

    // Fills `cells` for items drawn with probability weights[i] / sum(weights).
    static void build(const double* weights, int32_t n_items, Cell* cells, Worker& worker) {
        double total = 0.0;
        for (int32_t i = 0; i < n_items; ++i) total += weights[i];
        std::vector<double> share(n_items);
        std::vector<int32_t> poor, rich;
        for (int32_t i = 0; i < n_items && !worker.spend(kWork); ++i) {
            share[i] = weights[i] * n_items / total;
            cells[i] = {UINT32_MAX, i};
            (share[i] < 1.0 ? poor : rich).push_back(i);
        }
        while (!poor.empty() && !rich.empty() && !worker.spend(kWork)) {
            const int32_t low = poor.back(), high = rich.back();
            poor.pop_back();
            cells[low] = {static_cast<uint32_t>(share[low] * 4294967296.0), high};
            share[high] -= 1.0 - share[low];
            if (share[high] < 1.0) {
                rich.pop_back();
                poor.push_back(high);
            }
        }
    }

private:
    static constexpr int64_t kWork = 8;  // that an item takes, about
};

// For a team: the cells of the items, as one task.
struct PopularityTask {
    const double* weights;
    int32_t n_items;
    Popularity::Cell* cells;

    void operator()(int64_t, Worker& worker) const { Popularity::build(weights, n_items, cells, worker); }
};

// Samples whose scores, draws and slopes are taken together, at the parameters as they stand before the group's first
// step: they do not wait for one another, and their slopes fill vectors. Threads that race see staler ones.
constexpr int kGroup = Samples::kMost;

// WARP's candidates: a group draws kDraws a sample.
constexpr int kDraws = 4;
constexpr int kPool = kDraws * kGroup;

struct Group : Samples {
    uint64_t first = 0;               // ordinal of the first sample
    int32_t negatives[kGroup];        // -1: none
    int32_t drawn[kPool];             // candidates, kDraws of each sample
    std::vector<int32_t> candidates;  // where a sampler draws others: one for every sample, then another ...

    uint64_t ordinal(int g) const { return first + static_cast<uint64_t>(g); }
};

// Where the representations in use at once are kept: a slot for each sample's user or item, and for its negative.
constexpr int kSlots = 2 * kGroup;

// Candidates of each of a group's samples that are scored between two accounts of the work.
constexpr int32_t kBetweenSpends = 16;

// What every sampler sees of the epoch.
template <class Users, class Items>
struct Scene {
    const Interactions& interactions;
    const Popularity& popularity;
    const Sketches& sketches;
    const Settings& settings;
    const Stream& stream;
    Users& users;
    Items& items;
    UserSketches sketched;
    Worker& worker;
    std::vector<float> scores;   // of a group's candidates
    std::vector<float> largest;  // of these, for each sample in order

    // The nth uniform draw of sample g.
    int32_t draw_item(const Group& group, int g, int32_t nth) const {
        return static_cast<int32_t>(stream.below(static_cast<uint32_t>(interactions.n_items),
                                                 static_cast<uint32_t>(group.ordinal(g)), static_cast<uint32_t>(nth)));
    }

    void sketch_users(const Group& group) {
        users.enter(group.first);
        sketched.make(items.width, group, [&](int g) { return users.represent(group.users[g], g).embedding; });
    }

    // By sketches, the scores of sample g's user with item(g).
    template <class Item>
    void score_each(const Item& item, float* scores) const {
        Sketches::Candidates<kGroup> candidates;
        for (int g = 0; g < kGroup; ++g) sketches.put(items.width, item(g), g, 0, candidates);
        Sketches::score_each(items.width, sketched, candidates, 0, scores);
    }
};

// A sampler draws for a group two turns before the group's steps, fetches what its draws call for between the steps of the
// turn in between, and then settles what the negatives are and what samples weigh by them. One that looks for negatives by
// their scores sees users and sketches as they stand when it settles; what it found is scored anew when it is stepped.

// BPR: one negative by popularity, known positives rejected.
struct OneByPopularity {
    static constexpr bool kNeedsPopularity = true, kTakesWeights = true;
    static constexpr Plan kPlan{false, Apart::kNever, 4, 0};

    template <class Scene>
    LIGHTFM_FAST_INLINE static void prefetch_drawn(const Scene&, const Group&, int) {}

    template <class Scene>
    static void draw_ahead(const Scene& scene, Group& group) {
        for (int g = 0; g < kGroup; ++g)
            group.negatives[g] = scene.popularity.draw(scene.stream, group.ordinal(g) << 32);
        for (int g = 0; g < group.size; ++g) scene.interactions.prefetch_membership(group.users[g], group.negatives[g]);
    }

    template <class Scene>
    static void settle(const Scene& scene, Group& group) {
        const Interactions& interactions = scene.interactions;
        int32_t* drawn = group.negatives;
        for (uint32_t known = interactions.containing(group.users, drawn, group.size); known; known &= known - 1) {
            const int g = lowest_bit(known);
            uint64_t draws = 1;
            do {
                drawn[g] =
                    draws == kMaxRejected ? -1 : scene.popularity.draw(scene.stream, (group.ordinal(g) << 32) + draws);
                ++draws;
            } while (drawn[g] >= 0 && interactions.contains(group.users[g], drawn[g]));
        }
    }
};

// Fetches what settling a sample wants of its user.
template <class Scene>
LIGHTFM_FAST_INLINE inline void prefetch_user(const Scene& scene, const Group& group, int g) {
    if (g > 0 && group.users[g] == group.users[g - 1]) return;
    scene.users.prefetch_embedding(group.users[g]);
    scene.interactions.prefetch_membership(group.users[g]);
}

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
    static constexpr Plan kPlan{false, Apart::kSparseItems, 32, 8};

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
                const uint32_t left = scene.interactions.drop_known(group.users[g], candidates.items + first,
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

// k-OS WARP (Weston 2013): of n positives drawn with replacement the k-th best stands for the sample's own. As in
// LightFM, a user with fewer positives has as many drawn, and the last of them chosen where k is larger.
struct KthPositive {
    static constexpr bool kNeedsPopularity = false;
    static constexpr bool kTakesWeights = false;  // the positives trained on are drawn, not the samples' own
    static constexpr Plan kPlan = UntilViolation::kPlan;

    template <class Scene>
    LIGHTFM_FAST_INLINE static void prefetch_drawn(const Scene& scene, const Group& group, int g) {
        UntilViolation::prefetch_drawn(scene, group, g);
    }

    // Places of the user's positives, which are on their way by the time that they are wanted; the first where there are
    // fewer than n. A group's users stand together: their places are counted from where the first one's positives begin.
    template <class Scene>
    static void draw_ahead(const Scene& scene, Group& group) {
        if (group.size == 0) return;
        UntilViolation::draw_ahead(scene, group);
        group.candidates.resize(static_cast<size_t>(kGroup) * scene.settings.n);
        const Interactions& interactions = scene.interactions;
        const Stream stream = scene.stream;
        const int64_t base = interactions.indptr[group.users[0]];
        uint32_t counts[kGroup];
        int32_t n_of[kGroup], first[kGroup];
        for (int g = 0; g < kGroup; ++g) {
            counts[g] = static_cast<uint32_t>(interactions.count(group.users[g]));
            n_of[g] = n_drawn(scene, group, g);
            first[g] = static_cast<int32_t>(interactions.indptr[group.users[g]] - base);
        }
        for (int32_t j = 0; j < scene.settings.n; ++j) {
            int32_t* drawn = group.candidates.data() + j * kGroup;
            for (int g = 0; g < kGroup; ++g) {
                const auto ordinal = static_cast<uint32_t>(group.first) + static_cast<uint32_t>(g);
                const auto place = static_cast<int32_t>(stream.below(counts[g], ordinal, kSecondKind + j));
                drawn[g] = first[g] + (j < n_of[g] ? place : 0);
            }
        }
        for (const int32_t place : group.candidates) prefetch_read(interactions.items + base + place);
    }

    template <class Scene>
    static void settle(Scene& scene, Group& group) {
        if (group.size == 0) return;
        const int32_t n = scene.settings.n;
        const int32_t* positives = scene.interactions.items + scene.interactions.indptr[group.users[0]];
        for (int32_t j = 0; j < n; ++j) gather(positives, &group.candidates[j * kGroup], &group.candidates[j * kGroup]);
        scene.sketch_users(group);
        const auto candidate = [&](int g, int32_t j) { return group.candidates[j * kGroup + g]; };
        scene.scores.resize(static_cast<size_t>(kGroup) * n);
        float* scores = scene.scores.data();
        for (int32_t j = 0; j < n; ++j) {
            if (j % kBetweenSpends == 0 && scene.worker.spend(kBetweenSpends * kGroup * int64_t{scene.items.width}))
                return;
            scene.score_each([&](int g) { return candidate(g, j); }, scores + j * kGroup);
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
        UntilViolation::search(scene, group);
    }

private:
    static constexpr int32_t kMostOrdered = 32;  // largest k for which all scores up to the k-th are kept in order

    template <class Scene>
    static int32_t n_drawn(const Scene& scene, const Group& group, int g) {
        return static_cast<int32_t>(std::min<int64_t>(scene.settings.n, scene.interactions.count(group.users[g])));
    }

    // For each sample the number of the k-th largest of its n scores, of equal ones the first; `most` is the largest k. No
    // jump depends on a score. One that is no number is not chosen unless all are.
    static void find_kth_largest(const float* scores, int32_t n, int32_t most, const float* k,
                                 std::vector<float>& largest, float* chosen) {
        for (int first = 0; first < kGroup; first += kLanes) {
            largest.assign(static_cast<size_t>(kLanes) * most, -std::numeric_limits<float>::infinity());
            for (int32_t j = 0; j < n; ++j) {
                Vec score = load(scores + j * kGroup + first);
                for (int32_t i = 0; i <= j && i < most; ++i) {
                    Vec high = load(&largest[i * kLanes]);
                    order(high, score);
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

    // The same, one sample after another, in time that does not grow with k.
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
