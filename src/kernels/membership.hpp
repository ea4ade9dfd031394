// Answers whether a user has an entry for an item.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "simd/prefetch.hpp"
#include "simd/target.hpp"
#include "simd/words.hpp"
#include "team.hpp"

namespace lightfm_fast {

// Whether a user has an entry for an item, in O(1) for nearly all pairs. Small inputs have a bitmap with one bit for
// each pair. Others have a Bloom filter with 8 bits for each entry, whose hash sets two bits of one word. If both are
// set for a pair, a search among the user's items decides.
struct Membership {
    static constexpr int64_t kLargestBitmap = int64_t{1} << 24;  // bytes

    const uint8_t* bytes = nullptr;
    int64_t row_bits = 0;  // bits of a row of the bitmap; 0: there is a Bloom filter instead

    static int64_t bitmap_row_bits(int64_t n_users, int64_t n_items) {
        const int64_t bits = (n_items + 31) / 32 * 32;
        return n_users * bits / 8 <= kLargestBitmap ? bits : 0;
    }
    bool is_bitmap() const { return row_bits > 0; }
    int64_t n_bytes(int64_t n_users, int64_t size) const {
        return is_bitmap() ? n_users * row_bits / 8 : size + 3 * n_users;
    }

    // An item's bits, and the number of their word among the user's words. `length` is the user's number of entries.
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

// All entries of each user, including entries that are not trained on. A known item is never a negative of its user.
struct KnownItems {
    // Parts in which threads fill in the membership.
    static constexpr int kParts = 64;

    // CSR: user u's items, ascending, are at positions indptr[u] .. indptr[u + 1] - 1. If all entries are trained on,
    // these are the samples' arrays.
    const int64_t* indptr;
    const int32_t* items;
    int32_t n_users;
    int32_t n_items;
    Membership membership;

    int64_t count(int32_t user) const { return indptr[user + 1] - indptr[user]; }

    // Offset and size, in bytes, of a user's 32-bit words. Each user adds 3 bytes of padding, so that words are whole
    // and no two users share one.
    int64_t membership_row(int32_t user) const {
        return membership.is_bitmap() ? user * membership.row_bits / 8
                                      : (indptr[user] + 3 * int64_t{user}) & ~int64_t{3};
    }
    int64_t membership_bytes(int32_t user) const {
        return membership.is_bitmap() ? membership.row_bits / 8 : (count(user) + 3) & ~int64_t{3};
    }
    LIGHTFM_FAST_INLINE void prefetch_membership(int32_t user, int32_t item) const {
        prefetch_read(membership.bytes + membership_row(user) + 4 * membership.bits(count(user), item).word);
    }
    // Prefetches a user's words, at most 512 bytes of them.
    LIGHTFM_FAST_INLINE void prefetch_membership(int32_t user) const {
        for (int64_t i = 0; i < std::min<int64_t>(membership_bytes(user), 512); i += 64)
            prefetch_read(membership.bytes + membership_row(user) + i);
    }
    // The position that an item would have among a user's items if these were spread evenly over the catalogue.
    int64_t guess(int32_t user, int32_t item) const { return indptr[user] + count(user) * item / n_items; }
    // Searches from the guess in steps that double, then by bisection. A binary search of the whole list would miss the
    // cache at each step.
    bool is_listed(int32_t user, int32_t item) const {
        const int64_t first = indptr[user], end = indptr[user + 1];
        int64_t low = guess(user, item), high = low + 1;
        if (items[low] < item)
            for (int64_t step = 1; high < end && items[high] < item; step *= 2) {
                low = high;
                high = std::min(high + step, end);
            }
        else
            for (int64_t step = 1; low > first && items[low] > item; step *= 2) {
                high = low;
                low = std::max(low - step, first);
            }
        return std::binary_search(items + low, items + std::min(high + 1, end), item);
    }

    // Whether the user, who has at least one entry, has one for the item.
    bool contains(int32_t user, int32_t item) const {
        return may_contain(user, item) && (membership.is_bitmap() || is_listed(user, item));
    }
    bool may_contain(int32_t user, int32_t item) const {
        const Membership::Bits bits = membership.bits(count(user), item);
        uint32_t word;
        std::memcpy(&word, membership.bytes + membership_row(user) + 4 * bits.word, sizeof(word));
        return (word & bits.mask) == bits.mask;
    }

    // Bit g is set if user[g] has an entry for item[g]; `size` is at most 16. Searches are prefetched together.
    uint32_t containing(const int32_t* user, const int32_t* item, int size) const {
        uint32_t likely = 0;
        for (int g = 0; g < size; ++g) likely |= static_cast<uint32_t>(may_contain(user[g], item[g])) << g;
        if (membership.is_bitmap()) return likely;
        for (uint32_t left = likely; left; left &= left - 1) {
            const int g = lowest_bit(left);
            prefetch_read(items + guess(user[g], item[g]));
        }
        for (uint32_t left = likely; left; left &= left - 1) {
            const int g = lowest_bit(left);
            if (!is_listed(user[g], item[g])) likely &= ~(1u << g);
        }
        return likely;
    }

    // Clears, in a mask of a user's 16 candidates, the known ones: all of them with a bitmap, else those below the
    // lowest bit that stays. No branch depends on a bitmap.
    LIGHTFM_FAST_INLINE uint32_t drop_known(int32_t user, const int32_t* candidates, uint32_t some) const {
        uint32_t words[16], masks[16];
        const int64_t length = count(user);
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

    // Fills in the words of one part of the users. The memory may be uninitialised.
    void fill_membership(int64_t part, uint8_t* bytes, Worker& worker) const {
        const auto first = static_cast<int32_t>(int64_t{n_users} * part / kParts);
        const auto last = static_cast<int32_t>(int64_t{n_users} * (part + 1) / kParts);
        for (int32_t user = first; user < last; ++user) {
            if (worker.spend(membership_bytes(user) + count(user))) return;
            uint8_t* row = bytes + membership_row(user);
            std::memset(row, 0, membership_bytes(user));
            const int64_t length = count(user);
            for (int64_t i = indptr[user]; i < indptr[user + 1]; ++i) {
                const Membership::Bits bits = membership.bits(length, items[i]);
                uint32_t word;
                std::memcpy(&word, row + 4 * bits.word, sizeof(word));
                word |= bits.mask;
                std::memcpy(row + 4 * bits.word, &word, sizeof(word));
            }
        }
    }
};

// For a team: fills in the membership, a part a task.
struct MembershipTasks {
    const KnownItems* known;
    uint8_t* bytes;

    void operator()(int64_t part, Worker& worker) const { known->fill_membership(part, bytes, worker); }
};

}  // namespace lightfm_fast
