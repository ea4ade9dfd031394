// The best items for users.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "simd/prefetch.hpp"
#include "simd/target.hpp"
#include "simd/vectors.hpp"
#include "team.hpp"

namespace lightfm_fast {

// The candidates, which are not copied: item i's embedding is in row rows[i], or in row i if `rows` is null.
struct Candidates {
    const float* embeddings;
    const float* biases;
    const int64_t* rows;
    int64_t stride, bias_stride;
    int64_t n_items;
    int32_t n_components;
    int32_t n_readable;  // floats of a row that may be read; those beyond n_components are ignored
    bool by_length;      // each embedding is divided by its length

    int64_t row(int64_t item) const { return rows ? rows[item] : item; }
};

// A strip of items is transposed: component c of all its items is in neighbouring floats. A score then needs no sum
// across lanes, and every item's score takes the same operations in the same order. So equal items have bitwise equal
// scores, at any place and with any user. The scores of a strip for the users at a time fit in the registers.
constexpr int kStripVectors = 2;
constexpr int kStrip = kStripVectors * kLanes;
constexpr int kUsersAbreast = kVectorRegisters / 2 / kStripVectors;

// strip[c * kStrip + i] = component c of item first + i, zero where there is no such item.
inline void lay_abreast(const Candidates& items, int64_t first, float* strip) {
    const float* rows[kStrip];
    const int n_present = static_cast<int>(std::min<int64_t>(kStrip, items.n_items - first));
    for (int i = 0; i < kStrip; ++i)
        rows[i] = items.embeddings + items.row(first + std::min(i, n_present - 1)) * items.stride;
    for (int i = 0; i < kStrip && first + kStrip + i < items.n_items; ++i) {
        const float* next = items.embeddings + items.row(first + kStrip + i) * items.stride;
        for (int c = 0; c < items.n_components; c += kRowAlignment) prefetch_read(next + c);
    }
    int done = 0;
    for (; done < items.n_components && done + kLanes <= items.n_readable; done += kLanes) {
        const int n_kept = std::min(kLanes, items.n_components - done);
        for (int v = 0; v < kStripVectors; ++v) {
            Vec block[kLanes];
            for (int i = 0; i < kLanes; ++i) block[i] = load(rows[v * kLanes + i] + done);
            transpose(block);
            if (n_kept == kLanes)
                for (int c = 0; c < kLanes; ++c) store(strip + (done + c) * kStrip + v * kLanes, block[c]);
            else
                for (int c = 0; c < n_kept; ++c) store(strip + (done + c) * kStrip + v * kLanes, block[c]);
        }
    }
    for (int c = done; c < items.n_components; ++c)
        for (int i = 0; i < kStrip; ++i) strip[c * kStrip + i] = rows[i][c];
    for (int i = n_present; i < kStrip; ++i)
        for (int c = 0; c < items.n_components; ++c) strip[c * kStrip + i] = 0.0f;
    if (items.by_length) divide_by_lengths<kStripVectors>(strip, items.n_components);
}

// Computes scores[u * width + i] for some users and the items of one strip.
template <int kUsers>
inline void score_strip(const float* const* users, const float* strip, const float* biases, int n_components,
                        float* scores, int64_t width) {
    Vec total[kUsers][kStripVectors];
    for (int u = 0; u < kUsers; ++u)
        for (int v = 0; v < kStripVectors; ++v) total[u][v] = load(biases + v * kLanes);
    for (int c = 0; c < n_components; ++c) {
        Vec item[kStripVectors];
        for (int v = 0; v < kStripVectors; ++v) item[v] = load(strip + c * kStrip + v * kLanes);
        for (int u = 0; u < kUsers; ++u)
            for (int v = 0; v < kStripVectors; ++v) total[u][v] += users[u][c] * item[v];
    }
    for (int u = 0; u < kUsers; ++u)
        for (int v = 0; v < kStripVectors; ++v) store(scores + u * width + v * kLanes, total[u][v]);
}

// The same for one user and kLanes items, transposed in registers, since no other user would share a transposed strip.
// Bitwise equal to the scores of score_strip.
inline bool can_score_rows(const Candidates& items) {
    return !items.by_length && (items.n_components + kLanes - 1) / kLanes * kLanes <= items.n_readable;
}
inline void score_rows(const Candidates& items, int64_t first, const float* user, const float* biases, float* scores) {
    constexpr int64_t kAhead = 2 * kLanes;
    const bool is_inside = !items.rows && first + kAhead + kLanes <= items.n_items;
    const float* rows[kLanes];
    for (int i = 0; i < kLanes; ++i) {
        const int64_t item = first + i, last = items.n_items - 1;
        rows[i] = items.embeddings + (is_inside ? item : items.row(std::min(item, last))) * items.stride;
        const float* later = is_inside ? rows[i] + kAhead * items.stride
                                       : items.embeddings + items.row(std::min(item + kAhead, last)) * items.stride;
        for (int c = 0; c < items.n_components; c += kRowAlignment) prefetch_read(later + c);
    }
    Vec total = load(biases);
    for (int done = 0; done < items.n_components; done += kLanes) {
        Vec block[kLanes];
        for (int i = 0; i < kLanes; ++i) block[i] = load(rows[i] + done);
        transpose(block);
        const int n_kept = std::min(kLanes, items.n_components - done);
        if (n_kept == kLanes)
            for (int c = 0; c < kLanes; ++c) total += user[done + c] * block[c];
        else
            for (int c = 0; c < n_kept; ++c) total += user[done + c] * block[c];
    }
    store(scores, total);
}

constexpr float kWithoutScore = -std::numeric_limits<float>::infinity();

// Keeps the n best of the items offered so far, the first of equal ones. Items are offered in ascending order.
class Best {
public:
    static constexpr int64_t kLeastRoom = 16;

    void start(int64_t n) {
        n_ = n;
        threshold_ = kWithoutScore;
        kept_.clear();
    }

    // Keeps items that score above the n-th best of earlier items, as known when room last ran out. Among equal scores
    // the first item stays; an item without a score is never kept. The scores fill whole vectors, with kWithoutScore
    // after the last item.
    void offer(const float* scores, int64_t first, int64_t size) {
        for (int64_t i = 0; i < size; i += kLanes) {
            uint32_t rising = greater(load(scores + i), splat(threshold_));
            for (int64_t j = i; rising; ++j, rising >>= 1)
                if (rising & 1 && scores[j] > threshold_) keep({scores[j], static_cast<int32_t>(first + j)});
        }
    }

    // The n-th best score, as known when room last ran out; -inf before.
    float threshold() const { return threshold_; }
    // The n-th best score; -inf if there are fewer.
    float find_threshold() {
        if (static_cast<int64_t>(kept_.size()) < n_) return kWithoutScore;
        std::nth_element(kept_.begin(), kept_.begin() + (n_ - 1), kept_.end(), Better());
        return kept_[n_ - 1].score;
    }

    // Adds the items that another Best has kept.
    void merge(const Best& other) {
        for (const Candidate& candidate : other.kept_)
            if (candidate.score >= threshold_) keep(candidate);
    }

    // Writes the kept items, best first, and fills up to `size` with -1 and -inf.
    void write(int64_t* items, float* scores, int64_t size) {
        std::sort(kept_.begin(), kept_.end(), Better());
        const int64_t n_found = std::min<int64_t>(kept_.size(), n_);
        for (int64_t i = 0; i < size; ++i) {
            items[i] = i < n_found ? kept_[i].item : -1;
            scores[i] = i < n_found ? kept_[i].score : kWithoutScore;
        }
    }

private:
    struct Candidate {
        float score;
        int32_t item;
    };

    struct Better {
        bool operator()(const Candidate& a, const Candidate& b) const {
            return a.score > b.score || (a.score == b.score && a.item < b.item);
        }
    };

    void keep(Candidate candidate) {
        kept_.push_back(candidate);
        if (static_cast<int64_t>(kept_.size()) < n_ + std::max<int64_t>(n_, kLeastRoom)) return;
        std::nth_element(kept_.begin(), kept_.begin() + (n_ - 1), kept_.end(), Better());
        threshold_ = kept_[n_ - 1].score;
        kept_.resize(n_);
    }

    int64_t n_ = 0;
    float threshold_ = kWithoutScore;
    std::vector<Candidate> kept_;
};

// Users share each transposed block of items while it is in the L2 cache, and its scores stay in L1. So memory grows
// with n, not with the number of items.
constexpr int64_t kBlock = 512;

// A thread's buffers, reused by its tasks.
struct BlockBuffers {
    std::vector<float> strips;
    float biases[kBlock];
    float scores[kUsersAbreast * kBlock];
};

// Offers the items from `first`, which begins a block, to `last` - 1 to each user's Best. The sorted `seen_items` are
// left out; user u's start at seen_indptr[u]. `seen_indptr` is null if there are none.
inline void offer_items(const Candidates& items, int64_t first, int64_t last, const float* const* users,
                        int64_t n_users, const int64_t* seen_indptr, const int32_t* seen_items, BlockBuffers& buffers,
                        Best* best, Worker& worker) {
    const bool by_rows = n_users == 1 && can_score_rows(items);
    if (!by_rows) buffers.strips.resize(kBlock * items.n_components);
    std::vector<int64_t> next_seen(n_users);
    if (seen_indptr)
        for (int64_t u = 0; u < n_users; ++u)
            next_seen[u] =
                std::lower_bound(seen_items + seen_indptr[u], seen_items + seen_indptr[u + 1], first) - seen_items;
    for (; first < last; first += kBlock) {
        const int64_t n_items = std::min(last - first, kBlock);
        if (items.rows)
            for (int64_t i = 0; i < n_items; ++i)
                buffers.biases[i] = items.biases[items.row(first + i) * items.bias_stride];
        else
            for (int64_t i = 0; i < n_items; ++i) buffers.biases[i] = items.biases[(first + i) * items.bias_stride];
        std::fill(buffers.biases + n_items, buffers.biases + kBlock, kWithoutScore);
        for (int64_t i = 0; i < n_items; i += kStrip) {
            if (worker.spend(2 * kStrip * int64_t{items.n_components})) return;
            if (!by_rows)
                lay_abreast(items, first + i, buffers.strips.data() + i * items.n_components);
            else
                for (int64_t j = i; j < std::min(i + kStrip, n_items); j += kLanes)
                    score_rows(items, first + j, users[0], buffers.biases + j, buffers.scores + j);
        }
        for (int64_t user = 0; user < n_users;) {
            if (worker.spend(n_items * items.n_components)) return;
            const bool is_full = user + kUsersAbreast <= n_users;
            const int n_abreast = is_full ? kUsersAbreast : 1;
            for (int64_t i = 0; !by_rows && i < n_items; i += kStrip) {
                const float* strip = buffers.strips.data() + i * items.n_components;
                (is_full ? score_strip<kUsersAbreast> : score_strip<1>)(users + user, strip, buffers.biases + i,
                                                                        items.n_components, buffers.scores + i, kBlock);
            }
            for (int64_t u = user; u < user + n_abreast; ++u) {
                float* own = buffers.scores + (u - user) * kBlock;
                if (seen_indptr)
                    for (int64_t& s = next_seen[u]; s < seen_indptr[u + 1] && seen_items[s] < first + n_items; ++s)
                        own[seen_items[s] - first] = kWithoutScore;
                best[u].offer(own, first, n_items);
            }
            user += n_abreast;
        }
    }
}

// For a team: the best items for users. The users of a task share the work of transposing the items. With too few users
// the threads divide the items instead, and merge() combines their results.
struct SelectTasks {
    static constexpr int64_t kFewestUsers = 32;  // for each thread; with fewer the threads divide the items
    static constexpr int64_t kMostUsers = 256;   // users of a task

    Candidates items;
    const float* const* users;
    int64_t n_users;
    int64_t n;  // items for each user
    const int64_t* seen_indptr;
    const int32_t* seen_items;
    int64_t* out;  // n_users x n_columns
    float* scores;
    int64_t n_columns;

    int64_t users_per_task, n_ranges, items_per_range;
    std::vector<BlockBuffers> buffers;     // one for each thread
    std::vector<std::vector<Best>> found;  // of each thread or, if threads divide the items, of each task

    void plan(int num_threads) {
        const int64_t n_blocks = (items.n_items + kBlock - 1) / kBlock;
        users_per_task = n_users;
        n_ranges = std::min<int64_t>(num_threads, n_blocks);
        if (n_users >= num_threads * kFewestUsers) {
            users_per_task = std::min(kMostUsers, (n_users + num_threads - 1) / num_threads);
            n_ranges = 1;
        }
        items_per_range = (n_blocks + n_ranges - 1) / n_ranges * kBlock;
        buffers.resize(num_threads);
        found.resize(n_ranges > 1 ? n_tasks() : num_threads);
    }

    int64_t n_tasks() const { return (n_users + users_per_task - 1) / users_per_task * n_ranges; }

    void operator()(int64_t task, Worker& worker) {
        const int64_t first = task / n_ranges * users_per_task, first_item = task % n_ranges * items_per_range;
        const int64_t size = std::min(users_per_task, n_users - first);
        std::vector<Best>& best = found[n_ranges > 1 ? task : worker.number];
        best.resize(size);
        for (Best& of_user : best) of_user.start(n);
        offer_items(items, first_item, std::min(first_item + items_per_range, items.n_items), users + first, size,
                    seen_indptr ? seen_indptr + first : nullptr, seen_items, buffers[worker.number], best.data(),
                    worker);
        if (n_ranges == 1) write(first, best);
    }

    // To be called after all tasks, if threads divide the items.
    void merge() {
        for (int64_t user = 0; user < n_users; ++user)
            for (int64_t part = 1; part < n_ranges; ++part) found[0][user].merge(found[part][user]);
        write(0, found[0]);
    }

private:
    void write(int64_t first, std::vector<Best>& best) {
        for (size_t user = 0; user < best.size(); ++user) {
            const int64_t place = (first + static_cast<int64_t>(user)) * n_columns;
            best[user].write(out + place, scores + place, n_columns);
        }
    }
};

}  // namespace lightfm_fast
