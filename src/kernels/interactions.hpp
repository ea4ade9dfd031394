// The interactions, grouped by user, and the order in which an epoch visits them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "rng.hpp"
#include "simd/prefetch.hpp"
#include "simd/target.hpp"
#include "simd/words.hpp"
#include "team.hpp"

namespace lightfm_fast {

// Which items a user has an entry for, in O(1) for nearly all questions. Where users x items bits are few, one bit a
// pair. Otherwise 8 bits an entry, two of them set by its hash, in one word: if either is not set the answer is no, and if
// both are (an 18th of those that should not be) a search tells.
struct Membership {
    static constexpr int64_t kLargestBitmap = int64_t{1} << 24;  // bytes

    const uint8_t* bytes = nullptr;
    int64_t row_bits = 0;  // of the bitmap; 0: hashed

    static int64_t bitmap_row_bits(int64_t n_users, int64_t n_items) {
        const int64_t bits = (n_items + 31) / 32 * 32;
        return n_users * bits / 8 <= kLargestBitmap ? bits : 0;
    }
    bool is_bitmap() const { return row_bits > 0; }
    int64_t n_bytes(int64_t n_users, int64_t size) const {
        return is_bitmap() ? n_users * row_bits / 8 : size + 3 * n_users;
    }

    // Bits that are set for an item, in the word of this place among those of its user, who has `length` entries.
    struct Bits {
        uint32_t word;
        uint32_t mask;
    };
    Bits bits(int64_t length, int32_t item) const {
        if (is_bitmap()) return {static_cast<uint32_t>(item) >> 5, 1u << (item & 31)};
        const uint32_t spread = static_cast<uint32_t>(item) * 0x9E3779B1u;  // Knuth's multiplicative hash
        const uint32_t place = static_cast<uint32_t>((spread * static_cast<uint64_t>(length)) >> 29);
        return {place >> 5, 1u << (place & 31) | 1u << (spread >> 7 & 31)};
    }
};

// CSR: the items of user u stand, ascending, at indptr[u] .. indptr[u + 1].
struct Interactions {
    // What tells of entries is filled in by so many parts of the users, for threads to share.
    static constexpr int kParts = 64;

    const int64_t* indptr;
    const int32_t* users;  // of each position, so that nobody has to search for it
    const int32_t* items;
    const float* weights;  // null: every sample weighs 1
    const int8_t* labels;  // -1 or +1; null: every label is +1
    int32_t n_users;
    int32_t n_items;
    // CSR of all entries, also of those that are not trained on: what is known of a user is no negative. The samples' own
    // arrays where there are no others.
    const int64_t* known_indptr;
    const int32_t* known_items;
    Membership membership;

    int64_t size() const { return indptr[n_users]; }
    int64_t count(int32_t user) const { return indptr[user + 1] - indptr[user]; }
    int64_t count_known(int32_t user) const { return known_indptr[user + 1] - known_indptr[user]; }

    // Where the words of 32 bits begin that tell of a user's entries, and how many bytes they take: with 3 to spare for
    // each user before, as many as there are entries fit in whole ones, and nobody shares a word.
    int64_t membership_row(int32_t user) const {
        return membership.is_bitmap() ? user * membership.row_bits / 8
                                      : (known_indptr[user] + 3 * int64_t{user}) & ~int64_t{3};
    }
    int64_t membership_bytes(int32_t user) const {
        return membership.is_bitmap() ? membership.row_bits / 8 : (count_known(user) + 3) & ~int64_t{3};
    }
    LIGHTFM_FAST_INLINE void prefetch_membership(int32_t user, int32_t item) const {
        prefetch_read(membership.bytes + membership_row(user) + 4 * membership.bits(count_known(user), item).word);
    }
    // All of a user's words, or the first of many.
    LIGHTFM_FAST_INLINE void prefetch_membership(int32_t user) const {
        for (int64_t i = 0; i < std::min<int64_t>(membership_bytes(user), 512); i += 64)
            prefetch_read(membership.bytes + membership_row(user) + i);
    }
    // Where an item would stand among a user's entries if these were spread evenly over the catalogue.
    int64_t guess(int32_t user, int32_t item) const { return known_indptr[user] + count_known(user) * item / n_items; }
    // Looks around the guess, in steps that double, and then by halves between the last two: by halves alone it would wait
    // for memory for each of them where a user has hundreds of entries.
    bool is_listed(int32_t user, int32_t item) const {
        const int64_t first = known_indptr[user], end = known_indptr[user + 1];
        int64_t low = guess(user, item), high = low + 1;
        if (known_items[low] < item)
            for (int64_t step = 1; high < end && known_items[high] < item; step *= 2) {
                low = high;
                high = std::min(high + step, end);
            }
        else
            for (int64_t step = 1; low > first && known_items[low] > item; step *= 2) {
                high = low;
                low = std::max(low - step, first);
            }
        return std::binary_search(known_items + low, known_items + std::min(high + 1, end), item);
    }

    // Whether the user, who has some, has an entry for the item.
    bool contains(int32_t user, int32_t item) const {
        return may_contain(user, item) && (membership.is_bitmap() || is_listed(user, item));
    }
    bool may_contain(int32_t user, int32_t item) const {
        const Membership::Bits bits = membership.bits(count_known(user), item);
        uint32_t word;
        std::memcpy(&word, membership.bytes + membership_row(user) + 4 * bits.word, sizeof(word));
        return (word & bits.mask) == bits.mask;
    }

    // Of `size` users and items, at most 16, a bit each: those whose user has an entry for the item. Searches wait for memory
    // together.
    uint32_t containing(const int32_t* user, const int32_t* item, int size) const {
        uint32_t likely = 0;
        for (int g = 0; g < size; ++g) likely |= static_cast<uint32_t>(may_contain(user[g], item[g])) << g;
        if (membership.is_bitmap()) return likely;
        for (uint32_t left = likely; left; left &= left - 1) {
            const int g = lowest_bit(left);
            prefetch_read(known_items + guess(user[g], item[g]));
        }
        for (uint32_t left = likely; left; left &= left - 1) {
            const int g = lowest_bit(left);
            if (!is_listed(user[g], item[g])) likely &= ~(1u << g);
        }
        return likely;
    }

    // Of `some` of a user's 16 candidates, a bit each: those from the first on that the user has no entry for. No jump
    // depends on what a bitmap holds.
    LIGHTFM_FAST_INLINE uint32_t drop_known(int32_t user, const int32_t* candidates, uint32_t some) const {
        uint32_t words[16], masks[16];
        const int64_t length = count_known(user);
        for (int i = 0; i < 16; ++i) {
            const Membership::Bits bits = membership.bits(length, candidates[i]);
            words[i] = bits.word;
            masks[i] = bits.mask;
        }
        const uint32_t likely = words_with_all(membership.bytes + membership_row(user), words, masks);
        if (membership.is_bitmap()) return some & ~likely;
        while (some & ~(some - 1) & likely && is_listed(user, candidates[lowest_bit(some)])) some &= some - 1;
        return some;
    }

    // Fills in the words of one part of the users, in memory that may hold anything.
    void fill_membership(int64_t part, uint8_t* bytes, Worker& worker) const {
        const auto first = static_cast<int32_t>(int64_t{n_users} * part / kParts);
        const auto last = static_cast<int32_t>(int64_t{n_users} * (part + 1) / kParts);
        for (int32_t user = first; user < last; ++user) {
            if (worker.spend(membership_bytes(user) + count(user))) return;
            uint8_t* row = bytes + membership_row(user);
            std::memset(row, 0, membership_bytes(user));
            const int64_t length = count_known(user);
            for (int64_t i = known_indptr[user]; i < known_indptr[user + 1]; ++i) {
                const Membership::Bits bits = membership.bits(length, known_items[i]);
                uint32_t word;
                std::memcpy(&word, row + 4 * bits.word, sizeof(word));
                word |= bits.mask;
                std::memcpy(row + 4 * bits.word, &word, sizeof(word));
            }
        }
    }
};

// For a team: the parts of the memory that tells of positives.
struct MembershipTasks {
    const Interactions* interactions;
    uint8_t* bytes;

    void operator()(int64_t part, Worker& worker) const { interactions->fill_membership(part, bytes, worker); }
};

// What a look at a stretch of a matrix's entries tells. `starts` are where rows begin, if all is sound and sorted.
struct Look {
    bool is_sound = true;     // they are inside of it, and finite numbers
    bool is_sorted = true;    // by row and column, from the entry before the stretch on
    bool is_positive = true;  // all values are above 0
    std::vector<int64_t> starts;
};

inline Look look_at(int64_t first, int64_t last, const int32_t* rows, const int32_t* columns, const float* values,
                    int64_t n_rows, int64_t n_columns) {
    // A negative index is a large one. No jumps: the loop fills vectors.
    const auto most = [](int64_t n) { return static_cast<uint32_t>(std::min(n, int64_t{1} << 31)); };
    const uint32_t rows_end = most(n_rows), columns_end = most(n_columns);
    int unsound = 0, unsorted = 0, not_positive = 0;
    const auto judge = [&](int64_t i) {
        // Times zero, every finite number is zero and no other is.
        unsound |= (static_cast<uint32_t>(rows[i]) >= rows_end) | (static_cast<uint32_t>(columns[i]) >= columns_end) |
                   !(values[i] * 0.0f == 0.0f);
        not_positive |= !(values[i] > 0.0f);
    };
    Look look;
    if (first == 0 && last > 0) {
        judge(first++);
        look.starts.push_back(0);
    }
    for (int64_t i = first; i < last; ++i) {
        judge(i);
        unsorted |= (rows[i] < rows[i - 1]) | ((rows[i] == rows[i - 1]) & (columns[i] < columns[i - 1]));
    }
    look.is_sound = !unsound;
    look.is_sorted = !unsorted;
    look.is_positive = !not_positive;
    if (unsound || unsorted) return look;
    constexpr int64_t kAtOnce = 16;  // most rows are longer
    int64_t starts[kAtOnce];
    for (int64_t from = first; from < last; from += kAtOnce) {
        const int64_t to = std::min(from + kAtOnce, last);
        if (rows[to - 1] == rows[from - 1]) continue;
        int n_starts = 0;
        for (int64_t i = from; i < to; ++i) {
            starts[n_starts] = i;
            n_starts += rows[i] != rows[i - 1];
        }
        look.starts.insert(look.starts.end(), starts, starts + n_starts);
    }
    return look;
}

// For a team: the stretches of a matrix's entries.
struct LookTasks {
    static constexpr int64_t kStretch = 1 << 16;

    int64_t size;
    const int32_t* rows;
    const int32_t* columns;
    const float* values;
    int64_t n_rows;
    int64_t n_columns;
    Look* looks;

    int64_t n_tasks() const { return (size + kStretch - 1) / kStretch; }
    void operator()(int64_t stretch, Worker&) const {
        const int64_t first = stretch * kStretch, last = std::min(size, first + kStretch);
        looks[stretch] = look_at(first, last, rows, columns, values, n_rows, n_columns);
    }
};

// Fills `indptr` (n_users + 1 places) for interactions that are sorted by user and item, and so are CSR arrays as they
// stand, after looks at all of their stretches.
inline void find_users(const std::vector<Look>& looks, int64_t size, const int32_t* users, int32_t n_users,
                       int64_t* indptr) {
    int32_t user = 0;
    for (const Look& look : looks)
        for (const int64_t start : look.starts)
            for (; user <= users[start]; ++user) indptr[user] = start;
    for (; user <= n_users; ++user) indptr[user] = size;
}

// Interactions in any order, and the CSR arrays and users in their order that they become; the n-th of equal entries stays
// the n-th. `indptr` has n_users + 1 places; weights and labels may be null, then so are their outputs. A task for a team.
struct GroupByUser {
    int64_t size;
    const int32_t* users;
    const int32_t* items;
    const float* weights;
    const int8_t* labels;
    int32_t n_users;
    int64_t* indptr;
    int32_t* out_users;
    int32_t* out_items;
    float* out_weights;
    int8_t* out_labels;

    void operator()(int64_t, Worker& worker) const {
        std::fill(indptr, indptr + n_users + 1, 0);
        for (int64_t i = 0; i < size && !worker.spend(1); ++i) ++indptr[users[i] + 1];
        for (int32_t u = 0; u < n_users; ++u) indptr[u + 1] += indptr[u];
        for (int32_t u = 0; u < n_users && !worker.spend(count(u)); ++u)
            std::fill(out_users + indptr[u], out_users + indptr[u + 1], u);

        std::vector<int64_t> next(indptr, indptr + n_users);
        for (int64_t i = 0; i < size && !worker.spend(kScattered); ++i) {
            const int64_t place = next[users[i]]++;
            out_items[place] = items[i];
            if (weights) out_weights[place] = weights[i];
            if (labels) out_labels[place] = labels[i];
        }
        std::vector<Entry> row;
        for (int32_t u = 0; u < n_users && !worker.spend(kSorted * count(u)); ++u) sort_row(u, row);
    }

private:
    static constexpr int64_t kScattered = 8, kSorted = 16;  // what an entry takes, about

    struct Entry {
        int32_t item;
        float weight;
        int8_t label;
    };

    int64_t count(int32_t user) const { return indptr[user + 1] - indptr[user]; }

    void sort_row(int32_t user, std::vector<Entry>& row) const {
        const int64_t first = indptr[user], last = indptr[user + 1];
        if (std::is_sorted(out_items + first, out_items + last)) return;
        if (!weights && !labels) {
            std::sort(out_items + first, out_items + last);
            return;
        }
        row.clear();
        for (int64_t i = first; i < last; ++i)
            row.push_back({out_items[i], weights ? out_weights[i] : 1.0f, labels ? out_labels[i] : int8_t{1}});
        std::stable_sort(row.begin(), row.end(), [](const Entry& a, const Entry& b) { return a.item < b.item; });
        for (int64_t i = first; i < last; ++i) {
            out_items[i] = row[i - first].item;
            if (weights) out_weights[i] = row[i - first].weight;
            if (labels) out_labels[i] = row[i - first].label;
        }
    }
};

// Samples that are taken together. Where there are fewer than kMost, the first stands in the places left, with weight 0.
struct Samples {
    static constexpr int kMost = 16;
    int size = 0;
    int32_t users[kMost];
    int32_t items[kMost];
    float weights[kMost];
    float labels[kMost];
};

// When the samples of a user that are near in the order go to different groups, so that each sees the steps of the others.
enum class Apart {
    kNever,
    kOneHotUsers,  // where users have no features
    kSparseItems,  // where items have features and users have none
    kAnyFeatures,  // where users or items have features
};

// How an epoch of a loss goes through its samples.
struct Plan {
    bool by_user;  // by users' whole rows of positives
    Apart apart;
    int64_t least_blocks;  // of the order
    int visits_of_sketch;  // for how many samples an item, at most, a sketch of the items serves; 0: there is none
};

// The order of an epoch. The positions 0 .. size-1 (ordered by user) are cut into groups of `n_blocks` neighbours,
// and each group is dealt out one position a block, by a random affine permutation of the group's own. A block is
// then a random sample of all interactions, stratified by user, and is visited in order of user: a user's row and
// list of positives are fetched once for all of the user's samples in the block, the next user's are the next in
// memory, and no permutation is stored.
struct Order {
    int64_t size;
    int64_t n_blocks;  // a power of two, so that every odd factor permutes
    Stream stream;
    // Samples that are taken together are so many groups apart in their block: as many as a user has samples in it, so that
    // each is another user's. A power of two.
    int64_t spread = 1;
    static constexpr int64_t kMostSpread = 16;
    static constexpr int64_t kIdsInLine = 16;  // of a cache

    Order(int64_t size, int64_t n_blocks, uint64_t seed, uint64_t epoch)
        : size(size), n_blocks(n_blocks), stream(seed, epoch, ~0ull) {}

    // Blocks in which a user has 8 to 16 samples, twice as many if these are taken apart, so that memory brings the user's
    // row once for all of them, and a cache line of item ids for several. But no more blocks than fill a line with ids of a
    // group, since processors fetch the lines beside it too, or twice as many if samples are taken apart: with users of 720
    // interactions, precision@10 of the logistic loss is 0.1115 with 16 blocks, 0.1119 with 32 (standard errors 0.0001 and
    // 0.0002). And 128 where everything stays in cache whatever the order.
    static int64_t choose_n_blocks(int64_t size, int64_t n_users, int64_t least, bool apart) {
        if (size < 1 << 18) return 128;
        const int64_t twice = apart ? 2 : 1;
        int64_t n_blocks = least;
        while (n_blocks < twice * kIdsInLine && n_blocks * twice * 16 * n_users <= size) n_blocks *= 2;
        return n_blocks;
    }

    void take_apart(int64_t n_users) {
        while (spread < kMostSpread && 2 * spread * n_blocks * n_users <= size) spread *= 2;
    }

    int64_t n_groups() const { return (size + n_blocks - 1) / n_blocks; }

    // Which of its positions `group` gives to `block`. By 32 bits, as all that is done for each sample, since vectors have
    // twice as many lanes of them.
    uint32_t place(uint32_t group, uint32_t block) const {
        const uint32_t drawn = mix(static_cast<uint32_t>(stream.key) + group);
        const uint32_t factor = (drawn >> 16) | 1, offset = drawn;
        return (block * factor + offset) & static_cast<uint32_t>(n_blocks - 1);
    }
    // That position; in the last, incomplete group it may lie past the end.
    int64_t position(int64_t group, int64_t block) const {
        return group * n_blocks + place(static_cast<uint32_t>(group), static_cast<uint32_t>(block));
    }
};

// Walks the groups first .. last of one block, a few samples at a time.
class Walk {
public:
    Walk(const Interactions& interactions, const Order& order, int64_t block, int64_t first, int64_t last)
        : interactions_(interactions),
          users_(interactions.users),
          items_(interactions.items),
          order_(order),
          block_(block),
          first_(first),
          group_(first),
          last_(last) {
        find(next_);
        find(later_);
    }

    // Fills in the next samples: none at the end.
    void fill(Samples& samples) {
        samples.size = next_.size;
        if (next_.size == 0) return;
        gather(users_ + next_.base, next_.at, samples.users);
        gather(items_ + next_.base, next_.at, samples.items);
        for (int g = 0; g < kMost; ++g)
            samples.weights[g] = interactions_.weights ? interactions_.weights[next_.base + next_.at[g]] : 1.0f;
        for (int g = 0; g < kMost; ++g)
            samples.labels[g] = interactions_.labels ? interactions_.labels[next_.base + next_.at[g]] : 1.0f;
        for (int g = next_.size; g < kMost; ++g) samples.weights[g] = 0.0f;
        next_ = later_;
        find(later_);
    }

    // Fetches the g-th of the samples after the next, which lie n_blocks apart in memory.
    LIGHTFM_FAST_INLINE void prefetch(int g) const {
        prefetch_read(users_ + later_.base + later_.at[g]);
        prefetch_read(items_ + later_.base + later_.at[g]);
    }

private:
    static constexpr int kMost = Samples::kMost;
    struct Positions {
        int size;
        int64_t base;
        int32_t at[kMost];  // from the base on
    };
    const Interactions& interactions_;
    const int32_t *users_, *items_;
    const Order& order_;
    int64_t block_, first_;
    int64_t group_;  // so many groups, from the first on, have their positions
    int64_t last_;
    Positions next_, later_;

    void find(Positions& positions) {
        positions.size = static_cast<int>(std::clamp<int64_t>(last_ - group_, 0, kMost));
        // Stretches of groups are taken column by column; the rest, which is none, one by one. The last group comes last.
        const int64_t length = kMost * order_.spread, taken = (group_ - first_) & (length - 1), begin = group_ - taken;
        const bool is_whole = begin + length <= last_;
        const int64_t from = is_whole ? begin + taken / kMost : group_;
        const uint32_t step = is_whole ? static_cast<uint32_t>(order_.spread) : 1;
        const uint32_t group = static_cast<uint32_t>(from), n_blocks = static_cast<uint32_t>(order_.n_blocks);
        const uint32_t block = static_cast<uint32_t>(block_);
        positions.base = from * order_.n_blocks;
        for (uint32_t g = 0; g < kMost; ++g)
            positions.at[g] = static_cast<int32_t>(g * step * n_blocks + order_.place(group + g * step, block));
        // The last, incomplete group may have none for this block.
        if (positions.size > 0 && positions.base + positions.at[positions.size - 1] >= order_.size) --positions.size;
        for (int g = positions.size; g < kMost; ++g) positions.at[g] = positions.at[0];
        group_ += kMost;
        if (positions.size == 0) return;
        for (int g = 0; g < kMost; ++g) {
            if (interactions_.weights) prefetch_read(interactions_.weights + positions.base + positions.at[g]);
            if (interactions_.labels) prefetch_read(interactions_.labels + positions.base + positions.at[g]);
        }
    }
};

}  // namespace lightfm_fast
