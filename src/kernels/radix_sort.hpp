// Sorts rows of ids by user and item.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace lightfm_fast {

inline int bits_below(int64_t n) {
    int bits = 0;
    while (bits < 63 && (int64_t{1} << bits) < n) ++bits;
    return bits;
}

// Sorts keys by a number of bits from `first_bit` on, which may be 0 bits. A payload, or null, moves with its key. Equal
// numbers keep their order. Digits are sorted one after the other, the lowest first, alternating between two buffers;
// the result is in `keys` and `payload`.
template <class Key, class Payload>
void radix_sort(int64_t n, int first_bit, int bits, Key* keys, Payload* payload, Key* other_keys,
                Payload* other_payload) {
    const int n_digits = (bits + 10) / 11, width = n_digits ? (bits + n_digits - 1) / n_digits : 0;
    const Key mask = (Key{1} << width) - 1;
    int64_t next[1 << 11];
    for (int digit = 0; digit < n_digits; ++digit) {
        const int shift = first_bit + digit * width;
        std::fill(next, next + mask + 1, 0);
        for (int64_t i = 0; i < n; ++i) ++next[keys[i] >> shift & mask];
        int64_t sum = 0;
        for (Key value = 0; value <= mask; ++value) {
            const int64_t counted = next[value];
            next[value] = sum;
            sum += counted;
        }
        for (int64_t i = 0; i < n; ++i) {
            const int64_t at = next[keys[i] >> shift & mask]++;
            other_keys[at] = keys[i];
            if (payload) other_payload[at] = payload[i];
        }
        std::swap(keys, other_keys);
        std::swap(payload, other_payload);
    }
    if (n_digits % 2) {
        std::copy(keys, keys + n, other_keys);
        if (payload) std::copy(payload, payload + n, other_payload);
    }
}

// Buckets of neighbouring users, which fit in cache. Rows are dealt to them in their order, in parts that threads share:
// count() of every part, then place(), then each part writes its rows at its next_of().
struct UserBuckets {
    static constexpr int64_t kMost = 1024;
    static constexpr int64_t kRows = 1 << 13;

    int64_t size = 0;
    const int32_t* users = nullptr;
    int n_parts = 1;
    int bits = 0;  // of a user's number within a bucket
    int64_t n_buckets = 0;
    std::vector<int64_t> places;  // of each part and bucket: rows counted, then where the next one goes
    std::vector<int64_t> starts;  // of each bucket, and the end

    UserBuckets() = default;
    UserBuckets(int64_t size, const int32_t* users, int64_t n_users, int n_parts)
        : size(size), users(users), n_parts(n_parts) {
        const int64_t wanted = std::min(kMost, size / kRows + 1);
        bits = std::max(0, bits_below(n_users) - bits_below(wanted));
        n_buckets = ((std::max<int64_t>(n_users, 1) - 1) >> bits) + 1;
        places.assign(n_parts * n_buckets, 0);
        starts.assign(n_buckets + 1, 0);
    }

    int64_t first_row(int part) const { return size / n_parts * part + std::min<int64_t>(part, size % n_parts); }
    int64_t of(int64_t row) const { return users[row] >> bits; }
    uint64_t within(int32_t user) const { return user & ((uint64_t{1} << bits) - 1); }
    int64_t* next_of(int part) { return &places[part * n_buckets]; }

    void count(int part) {
        int64_t* counts = next_of(part);
        const int64_t last = first_row(part + 1);
        for (int64_t row = first_row(part); row < last; ++row) ++counts[of(row)];
    }

    void place() {
        int64_t next = 0;
        for (int64_t bucket = 0; bucket < n_buckets; ++bucket) {
            starts[bucket] = next;
            for (int part = 0; part < n_parts; ++part) {
                int64_t& here = next_of(part)[bucket];
                const int64_t counted = here;
                here = next;
                next += counted;
            }
        }
        starts[n_buckets] = next;
    }
};

// A radix sort of rows by user and item. Threads share the parts of the rows, and later the buckets. All threads must
// finish a step before the next begins. Equal pairs keep the order of the rows.
struct PairSort {
    UserBuckets buckets;
    const int32_t* items = nullptr;
    int item_bits = 0;
    uint64_t* keys = nullptr;      // of a place for each row
    int64_t* rows = nullptr;       // as many, the row of each key; null where not needed
    std::vector<int64_t> n_pairs;  // of each bucket, then where its first pair goes

    PairSort() = default;
    PairSort(int64_t size, const int32_t* users, const int32_t* items, int64_t n_users, int64_t n_items, int n_parts,
             uint64_t* keys, int64_t* rows)
        : buckets(size, users, n_users, n_parts),
          items(items),
          item_bits(bits_below(n_items)),
          keys(keys),
          rows(rows),
          n_pairs(buckets.n_buckets + 1) {}

    void count(int part) { buckets.count(part); }
    void place() { buckets.place(); }

    void deal(int part) {
        int64_t* next = buckets.next_of(part);
        const int64_t last = buckets.first_row(part + 1);
        for (int64_t row = buckets.first_row(part); row < last; ++row) {
            const int64_t at = next[buckets.of(row)]++;
            keys[at] = buckets.within(buckets.users[row]) << item_bits | static_cast<uint64_t>(items[row]);
            if (rows) rows[at] = row;
        }
    }

    void sort(int part) {
        std::vector<uint64_t> other_keys;
        std::vector<int64_t> other_rows;
        for (int64_t bucket = part; bucket < buckets.n_buckets; bucket += buckets.n_parts) {
            const int64_t first = buckets.starts[bucket], last = buckets.starts[bucket + 1];
            if (static_cast<int64_t>(other_keys.size()) < last - first) {
                other_keys.resize(last - first);
                if (rows) other_rows.resize(last - first);
            }
            radix_sort(last - first, 0, item_bits + buckets.bits, keys + first, rows ? rows + first : nullptr,
                       other_keys.data(), other_rows.data());
            int64_t distinct = 0;
            for (int64_t i = first; i < last; ++i) distinct += i == first || keys[i] != keys[i - 1];
            n_pairs[bucket] = distinct;
        }
    }

    // Returns how many pairs there are in all.
    int64_t place_pairs() {
        int64_t next = 0;
        for (int64_t& here : n_pairs) {
            const int64_t counted = here;
            here = next;
            next += counted;
        }
        return next;
    }

    // Writes each pair, and how many rows have it. The users and items sorted may be written over: nothing needs them.
    template <typename Count>
    void write(int part, int32_t* out_users, int32_t* out_items, Count* out_counts) const {
        const uint64_t item_mask = (uint64_t{1} << item_bits) - 1;
        for (int64_t bucket = part; bucket < buckets.n_buckets; bucket += buckets.n_parts) {
            const int64_t first_user = bucket << buckets.bits, last = buckets.starts[bucket + 1];
            int64_t pair = n_pairs[bucket];
            for (int64_t i = buckets.starts[bucket], next; i < last; i = next, ++pair) {
                for (next = i + 1; next < last && keys[next] == keys[i];) ++next;
                out_users[pair] = static_cast<int32_t>(first_user | static_cast<int64_t>(keys[i] >> item_bits));
                out_items[pair] = static_cast<int32_t>(keys[i] & item_mask);
                out_counts[pair] = static_cast<Count>(next - i);
            }
        }
    }
};

}  // namespace lightfm_fast
