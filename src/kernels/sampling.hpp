// Every way to draw the items of a pair. A sampler turns a sample (user, positive item) into a Pair, or says that
// there is none; what it may draw is all it decides.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "interactions.hpp"
#include "rng.hpp"
#include "vec.hpp"

namespace lightfm_fast {

// Draws that may be rejected before a sampler gives up on a sample, so that a user who has seen (nearly) all there
// is costs time and not the process.
constexpr uint64_t kMaxRejected = 64;

// Counters of a sample's draws begin here when they follow those of another kind.
constexpr uint64_t kSecondKind = 1u << 31;

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
    template <class Number>
    static void build(const Number* weights, int32_t n_items, Cell* cells) {
        double total = 0.0;
        for (int32_t i = 0; i < n_items; ++i) total += static_cast<double>(weights[i]);
        std::vector<double> share(n_items);
        std::vector<int32_t> poor, rich;
        for (int32_t i = 0; i < n_items; ++i) {
            share[i] = static_cast<double>(weights[i]) * n_items / total;
            cells[i] = {UINT32_MAX, i};
            (share[i] < 1.0 ? poor : rich).push_back(i);
        }
        while (!poor.empty() && !rich.empty()) {
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
};

// Samples whose scores, draws and slopes are taken together, at the parameters as they stand before the group's first
// step: they do not wait for one another, and their slopes fill vectors. Threads that race see staler ones.
constexpr int kGroup = Samples::kMost;

// Items that a group may draw at once, kDraws a sample.
constexpr int kDraws = 4;
constexpr int kPool = kDraws * kGroup;

struct Group : Samples {
    int32_t drawn[kPool];  // items drawn before the group's turn, so that their rows are on their way by then; -1: none
    uint64_t first = 0;    // ordinal of the first sample
    std::vector<int32_t> candidates;  // where a sampler draws more for each: one for every sample, then another ...

    uint64_t ordinal(int g) const { return first + static_cast<uint64_t>(g); }
};

// Where the representations in use at once are kept: a slot for each sample's user or positive, for each item drawn
// ahead, for those drawn later, and for what a sample chose of these.
constexpr int kDrawn = kGroup, kDrawnLater = kDrawn + kPool, kChosen = kDrawnLater + kPool;
constexpr int kSlots = kChosen + kGroup;

// The pairs that a sampler finds for a group; the margin and weight of a sample without one are 0.
template <class Users, class Items>
struct FoundPairs {
    typename Users::Row users[kGroup];
    typename Items::Row positives[kGroup];
    typename Items::Row negatives[kGroup];
    float margins[kGroup];
    float weights[kGroup];
    bool found[kGroup];
};

// What every sampler sees of the epoch.
template <class Items>
struct Scene {
    const Interactions& interactions;
    const Popularity& popularity;
    const Stream& stream;
    const float* log_rank;  // log_rank[draws] = min(10, log(max(1, floor((n_items - 1) / draws))))
    int32_t max_sampled;
    int32_t k;
    int32_t n;
    int32_t n_negatives;
    Items& items;

    // The scores of n pairs of representations, n a multiple of kLanes.
    template <class UserEmbedding, class ItemRow>
    void score(int n, const UserEmbedding& user, const ItemRow& item, float* scores) const {
        sum_terms(
            n, items.width, [&](int i, int lane) { return load(user(i) + lane) * load(item(i).embedding + lane); },
            scores);
        for (int i = 0; i < n; ++i) scores[i] += item(i).bias;
    }
};

// Fetches the embeddings of the n candidates that a sample draws (see Group).
template <class Items>
void prefetch_candidates(const Scene<Items>& scene, const Group& group, int g, int32_t n) {
    for (int32_t d = 0; d < n; ++d) scene.items.prefetch_embedding(group.candidates[d * kGroup + g]);
}

// Where the j-th candidate of sample g stands among those that the group has drawn, if every kSharing samples, evenly apart,
// try one another's draws.
template <int kSharing>
constexpr int32_t place_of(int g, int32_t j) {
    return j / kSharing * kGroup + (g + j % kSharing * (kGroup / kSharing)) % kGroup;
}

// The scores of every sample's first n candidates, in their order; valid until the thread's next call.
template <int kSharing, class Users, class Items>
float* score_candidates(Scene<Items>& scene, const Group& group, const FoundPairs<Users, Items>& pairs, int32_t n) {
    thread_local std::vector<float> scores;
    scores.resize(static_cast<size_t>(kGroup) * n);
    for (int32_t first = 0; first < n; first += kSharing) {
        const int32_t* drawn = &group.candidates[first / kSharing * kGroup];
        typename Items::Row rows[kGroup];
        for (int g = 0; g < kGroup; ++g) rows[g] = scene.items.represent(drawn[g], kDrawn + g);
        for (int32_t j = first; j < std::min(first + kSharing, n); ++j)
            scene.score(
                kGroup, [&](int g) { return pairs.users[g].embedding; },
                [&](int g) -> const auto& { return rows[place_of<kSharing>(g, j - first)]; }, &scores[j * kGroup]);
    }
    return scores.data();
}

// Sets each sample against the negative that was found for it; -1: none.
template <class Users, class Items>
void pair_with(Scene<Items>& scene, const Group& group, const int32_t* negatives, FoundPairs<Users, Items>& pairs) {
    for (int g = 0; g < kGroup; ++g) {
        const int32_t negative = negatives[g];
        pairs.found[g] = g < group.size && negative >= 0;
        pairs.weights[g] = pairs.found[g] ? group.weights[g] : 0.0f;
        pairs.positives[g] = scene.items.represent(group.items[g], g);
        pairs.negatives[g] = scene.items.represent(negative >= 0 ? negative : group.items[g], kDrawn + g);
    }
    sum_terms(
        kGroup, scene.items.width,
        [&](int g, int lane) {
            return load(pairs.users[g].embedding + lane) *
                   (load(pairs.positives[g].embedding + lane) - load(pairs.negatives[g].embedding + lane));
        },
        pairs.margins);
    for (int g = 0; g < kGroup; ++g) pairs.margins[g] += pairs.positives[g].bias - pairs.negatives[g].bias;
}

// A sampler whose draws need no second look.
struct NothingToSettle {
    template <class Items>
    static void settle(const Scene<Items>&, Group&) {}
};

// BPR: one negative by popularity, known positives rejected.
struct OneByPopularity {
    template <class Items>
    static void prefetch_drawn(const Scene<Items>& scene, const Group& group, int g) {
        if (group.drawn[g] >= 0) scene.items.prefetch_embedding(group.drawn[g]);
    }

    template <class Items>
    static void draw_ahead(const Scene<Items>& scene, Group& group) {
        for (int g = 0; g < kGroup; ++g) group.drawn[g] = scene.popularity.draw(scene.stream, group.ordinal(g) << 32);
        for (int g = 0; g < group.size; ++g) scene.interactions.prefetch_membership(group.users[g], group.drawn[g]);
    }

    template <class Items>
    static void settle(const Scene<Items>& scene, Group& group) {
        const Interactions& interactions = scene.interactions;
        int32_t* drawn = group.drawn;
        uint32_t known = 0;
        for (int g = 0; g < group.size; ++g)
            known |= static_cast<uint32_t>(interactions.contains(group.users[g], drawn[g])) << g;
        for (; known; known &= known - 1) {
            const int g = lowest_bit(known);
            uint64_t draws = 1;
            do {
                drawn[g] =
                    draws == kMaxRejected ? -1 : scene.popularity.draw(scene.stream, (group.ordinal(g) << 32) + draws);
                ++draws;
            } while (drawn[g] >= 0 && interactions.contains(group.users[g], drawn[g]));
        }
    }

    template <class Users, class Items>
    static void draw(Scene<Items>& scene, const Group& group, FoundPairs<Users, Items>& pairs) {
        pair_with(scene, group, group.drawn, pairs);
    }
};

// WARP: uniform draws until one violates the margin and is no positive. The number of draws estimates the rank. Each
// sample of a group draws kDraws candidates, tries them, and then those of the samples kDraws, 2 kDraws ... after it, as
// many as the group has samples; if none of these will do, all draw anew. So to every sample its candidates are uniform
// and independent, but the group fetches (and, from features, represents) fewer of them than it tries. Neighbours, which
// often have one user, share none: the same negative for several samples of a user would be stepped on as often, at
// scores that do not know of one another. Where they did, precision fell by a hundredth.
struct UntilViolation : NothingToSettle {
    // The candidates of samples that share them stand in a row of kGroup, a sample's own among them: where these begin, and
    // which of them a sample tries in its turn.
    static int first_shared(int g) { return g % kDraws * kGroup; }
    static int first_candidate(int g) { return first_shared(g) + g / kDraws * kDraws; }
    static int tried(int g, int turn) { return first_shared(g) + (g / kDraws * kDraws + turn) % kGroup; }

    template <class Items>
    static void draw_candidates(const Scene<Items>& scene, const Group& group, int32_t round, int32_t* drawn) {
        for (int g = 0; g < kGroup; ++g)
            for (int d = 0; d < kDraws; ++d)
                drawn[first_candidate(g) + d] = static_cast<int32_t>(
                    scene.stream.below(scene.interactions.n_items, (group.ordinal(g) << 32) + round * kDraws + d));
    }

    template <class Items>
    static void prefetch_drawn(const Scene<Items>& scene, const Group& group, int g) {
        for (int d = 0; d < kDraws; ++d) scene.items.prefetch_embedding(group.drawn[first_candidate(g) + d]);
    }

    template <class Items>
    static void draw_ahead(const Scene<Items>& scene, Group& group) {
        draw_candidates(scene, group, 0, group.drawn);
    }

    template <class Users, class Items>
    static void draw(Scene<Items>& scene, const Group& group, FoundPairs<Users, Items>& pairs) {
        for (int g = 0; g < kGroup; ++g) pairs.positives[g] = scene.items.represent(group.items[g], g);
        search(scene, group, pairs);
    }

    template <class Users, class Items>
    static void search(Scene<Items>& scene, const Group& group, FoundPairs<Users, Items>& pairs) {
        float scores[kGroup];
        scene.score(
            kGroup, [&](int g) { return pairs.users[g].embedding; },
            [&](int g) -> const auto& { return pairs.positives[g]; }, scores);
        int searching[kGroup], n_searching = 0;  // those that share candidates in a row, while these are near
        for (int first = 0; first < kDraws; ++first)
            for (int g = first; g < group.size; g += kDraws) searching[n_searching++] = g;
        for (int g = 0; g < kGroup; ++g) {
            pairs.negatives[g] = pairs.positives[g];
            pairs.margins[g] = pairs.weights[g] = 0.0f;
            pairs.found[g] = false;
        }
        typename Items::Row rows[kPool];
        int32_t drawn[kPool];
        std::copy(group.drawn, group.drawn + kPool, drawn);
        for (int32_t round = 0; n_searching > 0 && round * kGroup < scene.max_sampled; ++round) {
            if (round > 0) draw_candidates(scene, group, round, drawn);
            for (int c = 0; c < kPool; ++c)
                rows[c] = scene.items.represent(drawn[c], (round == 0 ? kDrawn : kDrawnLater) + c);

            const int32_t tries = std::min(kGroup, scene.max_sampled - round * kGroup);
            float others[kGroup][kGroup];
            uint32_t violating[kGroup];  // a bit for each try of a sample
            for (int s = 0; s < n_searching; ++s) {
                const int g = searching[s], shared = first_shared(g);
                scene.score(
                    kGroup, [&](int) { return pairs.users[g].embedding; },
                    [&](int i) -> const auto& { return rows[shared + i]; }, others[g]);
                // A margin that is no number ends the search too: the step finds it and stops the training.
                uint32_t places = 0;
                for (int first = 0; first < kGroup; first += kLanes)
                    places |= lanes_not_at_least(scores[g] - load(others[g] + first), 1.0f) << first;
                const int own = first_candidate(g) - shared;
                violating[g] = (places >> own | places << (kGroup - own)) & ((1u << tries) - 1);
                // Whether it is a known positive, as many violators are, is fetched before anything waits for it.
                const int first = lowest_bit(violating[g] | 1u << (kGroup - 1));
                scene.interactions.prefetch_membership(group.users[g], drawn[tried(g, first)]);
            }
            int n_left = 0;
            for (int s = 0; s < n_searching; ++s) {
                const int g = searching[s];
                uint32_t left = violating[g];
                while (left && scene.interactions.contains(group.users[g], drawn[tried(g, lowest_bit(left))]))
                    left &= left - 1;
                searching[n_left] = g;
                n_left += !left;
                if (!left) continue;
                const int turn = lowest_bit(left), c = tried(g, turn);
                pairs.found[g] = true;
                pairs.negatives[g] = round == 0 ? rows[c] : scene.items.represent(drawn[c], kChosen + g);
                pairs.margins[g] = scores[g] - others[g][c - first_shared(g)];
                pairs.weights[g] = group.weights[g] * scene.log_rank[round * kGroup + turn + 1];
            }
            n_searching = n_left;
        }
    }
};

// k-OS WARP (Weston 2013): of n positives drawn with replacement the k-th best stands for the sample's own. As in
// LightFM, a user with fewer positives has as many drawn, and the last of them chosen where k is larger.
struct KthPositive : NothingToSettle {
    template <class Items>
    static void prefetch_drawn(const Scene<Items>& scene, const Group& group, int g) {
        prefetch_candidates(scene, group, g, scene.n);
        UntilViolation::prefetch_drawn(scene, group, g);
    }

    // Places among the user's positives, which are on their way by the time that they are wanted; the first where there
    // are fewer than n.
    template <class Items>
    static void draw_ahead(const Scene<Items>& scene, Group& group) {
        UntilViolation::draw_ahead(scene, group);
        group.candidates.resize(static_cast<size_t>(kGroup) * scene.n);
        for (int g = 0; g < kGroup && group.size > 0; ++g) {
            const int32_t* positives = scene.interactions.items + scene.interactions.indptr[group.users[g]];
            const uint64_t count = static_cast<uint64_t>(scene.interactions.count(group.users[g]));
            const uint64_t counter = (group.ordinal(g) << 32) + kSecondKind;
            const int32_t n = n_drawn(scene, group, g);
            int32_t* drawn = group.candidates.data() + g;
            for (int32_t j = 0; j < scene.n; ++j) {
                drawn[j * kGroup] = j < n ? static_cast<int32_t>(scene.stream.below(count, counter + j)) : 0;
                prefetch_read(positives + drawn[j * kGroup]);
            }
        }
    }

    template <class Items>
    static void settle(const Scene<Items>& scene, Group& group) {
        for (int g = 0; g < kGroup && group.size > 0; ++g) {
            const int32_t* positives = scene.interactions.items + scene.interactions.indptr[group.users[g]];
            int32_t* drawn = group.candidates.data() + g;
            for (int32_t j = 0; j < scene.n; ++j) drawn[j * kGroup] = positives[drawn[j * kGroup]];
        }
    }

    template <class Users, class Items>
    static void draw(Scene<Items>& scene, const Group& group, FoundPairs<Users, Items>& pairs) {
        const int32_t n = scene.n;
        float* scores = score_candidates<1>(scene, group, pairs, n);
        float k[kGroup], chosen[kGroup];
        for (int g = 0; g < kGroup; ++g) {
            const int32_t drawn = n_drawn(scene, group, g);
            k[g] = static_cast<float>(std::min(scene.k, drawn));
            for (int32_t j = drawn; j < n; ++j) scores[j * kGroup + g] = -std::numeric_limits<float>::infinity();
        }
        find_kth_largest(scores, n, std::min(scene.k, n), k, chosen);
        for (int g = 0; g < kGroup; ++g)
            pairs.positives[g] =
                scene.items.represent(group.candidates[static_cast<int32_t>(chosen[g]) * kGroup + g], g);
        UntilViolation::search(scene, group, pairs);
    }

private:
    template <class Items>
    static int32_t n_drawn(const Scene<Items>& scene, const Group& group, int g) {
        return static_cast<int32_t>(std::min<int64_t>(scene.n, scene.interactions.count(group.users[g])));
    }

    // For each sample the number of the k-th largest of its n scores, of equal ones the first; `most` is the largest k. No
    // jump depends on a score. One that is no number is not chosen unless all are.
    static void find_kth_largest(const float* scores, int32_t n, int32_t most, const float* k, float* chosen) {
        thread_local std::vector<float> largest;  // of each sample, in order
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
};

}  // namespace lightfm_fast
