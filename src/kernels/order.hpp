// The order in which an epoch visits its samples.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "rng.hpp"
#include "samples.hpp"
#include "simd/prefetch.hpp"
#include "simd/target.hpp"

namespace lightfm_fast {

// Samples that are scored, drawn and stepped together. All slopes are taken at the parameters before the group's first
// step, so that the samples do not wait for one another and their slopes fill vectors.
constexpr int kGroup = 16;

// Ids, weights and labels of a group. A shorter group repeats its first sample, with weight 0.
struct Group {
    int size = 0;
    int32_t users[kGroup];
    int32_t items[kGroup];
    float weights[kGroup];
    float labels[kGroup];
};

// When to spread a user's neighbouring samples over different groups, so that each sample sees the steps of the others.
enum class Spread {
    kNever,
    kOneHotUsers,  // if users have no features
    kSparseItems,  // if items have features and users have none
    kAnyFeatures,  // if users or items have features
};

// How an epoch of a loss visits its samples.
struct Plan {
    bool by_user = false;            // visits users with all of their positives, instead of single samples
    Spread spread = Spread::kNever;  // when to spread a user's samples over groups
    int64_t least_blocks = 4;        // the smallest number of blocks
    // The same where items have features and a user's samples are not spread. Features move further than ids do, so a
    // user's samples must not follow one another (benchmarks/NOTES.md).
    int64_t least_blocks_of_features = 4;
    int visits_of_sketch = 0;  // the most samples for each item between refreshes of sketches; 0: no sketches

    constexpr Plan visiting_users() const {
        Plan plan = *this;
        plan.by_user = true;
        return plan;
    }
    constexpr Plan spreading(Spread when) const {
        Plan plan = *this;
        plan.spread = when;
        return plan;
    }
    constexpr Plan with_blocks(int64_t least, int64_t least_of_features = 0) const {
        Plan plan = *this;
        plan.least_blocks = least;
        plan.least_blocks_of_features = least_of_features ? least_of_features : least;
        return plan;
    }
    constexpr Plan with_sketches(int visits) const {
        Plan plan = *this;
        plan.visits_of_sketch = visits;
        return plan;
    }
};

// The order of an epoch. The positions 0 .. size-1, sorted by user, are cut into strata of n_blocks neighbours. Each
// stratum deals one position to each block, by its own random affine permutation. A block is then a random sample of
// all positions, stratified by user.
//
// A block is visited in order of user. So a user's row and list of positives are fetched once for the user's samples in
// the block. The next user's row and list are next in memory. No permutation is stored.
struct Order {
    int64_t size;
    int64_t n_blocks;  // a power of two, so that every odd factor permutes
    Stream stream;
    // Samples of one group are this many strata apart in their block, so that each has another user. A power of two.
    int64_t spread = 1;
    // The user of each stratum's first position; empty if users are read from the samples. See find_first_users().
    std::vector<int32_t> first_users;
    static constexpr int64_t kMostSpread = 16;
    static constexpr int64_t kIdsInLine = 16;  // item ids in a cache line
    static constexpr int64_t kMostBlocks = 128;

    Order(int64_t size, int64_t n_blocks, uint64_t seed, uint64_t epoch)
        : size(size), n_blocks(n_blocks), stream(seed, epoch, ~0ull) {}

    // Chooses the number of blocks so that a user has 8 to 16 samples in each, or 16 to 32 if they are spread over
    // groups. Then the user's row is fetched once for several samples, and so is a cache line of item ids. More blocks
    // than ids in a cache line waste bandwidth, since processors fetch neighbouring lines too. Small inputs get 128
    // blocks: they stay in cache in any order.
    static int64_t choose_n_blocks(int64_t size, int64_t n_users, int64_t least, bool spreads) {
        if (size < 1 << 18) return kMostBlocks;
        const int64_t twice = spreads ? 2 : 1;
        int64_t n_blocks = least;
        while (n_blocks < twice * kIdsInLine && n_blocks * twice * 16 * n_users <= size) n_blocks *= 2;
        return n_blocks;
    }

    void spread_users(int64_t n_users) {
        while (spread < kMostSpread && 2 * spread * n_blocks * n_users <= size) spread *= 2;
    }

    // A sample's user is the first user of its stratum, or is found a few users further. So the samples' users need not
    // be read, of which each sample would take a cache line. Where a group takes these lines one after the other, they
    // are fetched ahead anyway. Where users have fewer samples than a stratum, the search would be long.
    void find_first_users(const Samples& samples) {
        const bool takes_lines_in_order = spread == 1 && n_blocks <= kIdsInLine;
        if (takes_lines_in_order || samples.n_users > n_strata()) return;
        first_users.resize(n_strata());
        int64_t stratum = 0;
        for (int32_t user = 0; user < samples.n_users; ++user)
            for (; stratum * n_blocks < samples.indptr[user + 1]; ++stratum) first_users[stratum] = user;
    }

    int64_t n_strata() const { return (size + n_blocks - 1) / n_blocks; }

    // The offset in `stratum` of the position that it deals to `block`. Computed in 32 bits, since vectors then have
    // twice as many lanes.
    uint32_t place(uint32_t stratum, uint32_t block) const {
        const uint32_t drawn = mix(static_cast<uint32_t>(stream.key) + stratum);
        const uint32_t factor = (drawn >> 16) | 1, offset = drawn;
        return (block * factor + offset) & static_cast<uint32_t>(n_blocks - 1);
    }
    // The position that `stratum` deals to `block`. In the last, incomplete stratum it may be past the end.
    int64_t position(int64_t stratum, int64_t block) const {
        return stratum * n_blocks + place(static_cast<uint32_t>(stratum), static_cast<uint32_t>(block));
    }
};

// Reads the positions that the strata first .. last-1 deal to one block, a group of samples at a time.
class GroupReader {
public:
    GroupReader(const Samples& samples, const Order& order, int64_t block, int64_t first, int64_t last)
        : samples_(samples),
          users_(samples.users),
          items_(samples.items),
          order_(order),
          block_(block),
          first_(first),
          stratum_(first),
          last_(last) {
        find(next_);
        find(later_);
    }

    // Fills `group` with the next samples; at the end its size is 0.
    void fill(Group& group) {
        group.size = next_.size;
        if (next_.size == 0) return;
        if (order_.first_users.empty())
            gather(users_ + next_.base, next_.at, group.users);
        else
            std::copy_n(next_.users, kGroup, group.users);
        gather(items_ + next_.base, next_.at, group.items);
        for (int g = 0; g < kGroup; ++g)
            group.weights[g] = samples_.weights ? samples_.weights[next_.base + next_.at[g]] : 1.0f;
        for (int g = 0; g < kGroup; ++g)
            group.labels[g] = samples_.labels ? samples_.labels[next_.base + next_.at[g]] : 1.0f;
        for (int g = next_.size; g < kGroup; ++g) group.weights[g] = 0.0f;
        next_ = later_;
        find(later_);
    }

    // Prefetches the g-th sample of the group after the next. Its neighbours are n_blocks apart in memory.
    LIGHTFM_FAST_INLINE void prefetch(int g) const {
        if (order_.first_users.empty()) prefetch_read(users_ + later_.base + later_.at[g]);
        prefetch_read(items_ + later_.base + later_.at[g]);
    }

private:
    struct Positions {
        int size;
        int64_t base;
        int32_t at[kGroup];     // offsets from the base
        int32_t users[kGroup];  // only with Order::first_users
    };
    const Samples& samples_;
    const int32_t *users_, *items_;
    const Order& order_;
    int64_t block_, first_;
    int64_t stratum_;  // the first stratum whose position has not been read
    int64_t last_;
    Positions next_, later_;

    void find(Positions& positions) {
        positions.size = static_cast<int>(std::clamp<int64_t>(last_ - stratum_, 0, kGroup));
        // A whole stretch of kGroup x spread strata is read column by column. Strata after the last whole stretch are
        // read one by one.
        const int64_t length = kGroup * order_.spread, taken = (stratum_ - first_) & (length - 1),
                      begin = stratum_ - taken;
        const bool is_whole = begin + length <= last_;
        const int64_t from = is_whole ? begin + taken / kGroup : stratum_;
        const uint32_t step = is_whole ? static_cast<uint32_t>(order_.spread) : 1;
        const uint32_t stratum = static_cast<uint32_t>(from), n_blocks = static_cast<uint32_t>(order_.n_blocks);
        const uint32_t block = static_cast<uint32_t>(block_);
        positions.base = from * order_.n_blocks;
        for (uint32_t g = 0; g < kGroup; ++g)
            positions.at[g] = static_cast<int32_t>(g * step * n_blocks + order_.place(stratum + g * step, block));
        // The last, incomplete stratum may have no position for this block.
        if (positions.size > 0 && positions.base + positions.at[positions.size - 1] >= order_.size) --positions.size;
        stratum_ += kGroup;
        if (positions.size == 0) return;
        for (int g = positions.size; g < kGroup; ++g) positions.at[g] = positions.at[0];
        if (!order_.first_users.empty()) {
            for (int g = 0; g < kGroup; ++g) {
                int32_t user = order_.first_users[g < positions.size ? from + g * step : from];
                while (positions.base + positions.at[g] >= samples_.indptr[user + 1]) ++user;
                positions.users[g] = user;
            }
        }
        for (int g = 0; g < kGroup; ++g) {
            if (samples_.weights) prefetch_read(samples_.weights + positions.base + positions.at[g]);
            if (samples_.labels) prefetch_read(samples_.labels + positions.base + positions.at[g]);
        }
    }
};

}  // namespace lightfm_fast
