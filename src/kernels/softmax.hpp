// Sampled softmax over cosines: a row of a user's positives shares one pool of negatives.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "epoch.hpp"
#include "exponential.hpp"
#include "features.hpp"
#include "outcome.hpp"
#include "settings.hpp"
#include "simd/vectors.hpp"
#include "team.hpp"

namespace lightfm_fast {

// The largest number of positives in a row, which share a step of their user. A user with more has several such rows.
constexpr int32_t kRowLength = 32;

// A negative is not stepped if the sum of its probabilities over the row's positives is below this.
constexpr float kSmallestShare = 0.01f;

constexpr float kLargestSquare = kLargestScore * kLargestScore;

// The number of candidates that are prefetched ahead of the one being scored.
constexpr int32_t kAhead = 8;

// The loss of a positive i is -log(e_i / (e_i + sum_j e_j)), e = exp(cosine with the user / temperature) and j over the
// pool: uniform draws without the user's positives. With c the cosine and hats over unit vectors, the slope of c along
// the user is (p^ - c q^) / |q|, along the item (q^ - c p^) / |p|. All slopes are taken before any step.
//
// The candidates of a row are the pool and then the positives.
template <class Users, class Items>
class SoftmaxRows {
public:
    SoftmaxRows(const Epoch& epoch, const Stream& stream, Users& users, Items& items, Worker& worker)
        : epoch_(epoch),
          stream_(stream),
          users_(users),
          items_(items),
          worker_(worker),
          scale_(1.0f / epoch.settings.temperature),
          n_pool_(epoch.settings.n_negatives) {
        const size_t most = static_cast<size_t>(n_pool_) + kRowLength + kLanes;
        for (auto* values : {&scores_, &slopes_, &inverses_, &squares_}) values->resize(most);
        ids_.resize(most);
        rows_.resize(most);
        weights_.resize(kRowLength);
        unit_.resize(users.width);
        sum_.resize(users.width);
    }

    // Trains on all positives of a user. Returns false if a score is out of range or the worker has to stop.
    bool visit(int32_t user, Outcome& outcome) {
        const int64_t count = epoch_.samples.count(user);
        const int64_t n_rows = (count + kRowLength - 1) / kRowLength;
        for (int64_t row = 0; row < n_rows; ++row) {
            users_.enter(n_visited_);
            items_.enter(n_visited_);
            draw_pool();
            gather(user, row, n_rows, count);
            if (worker_.has_to_stop() || !step(user, outcome.loss)) return false;
            outcome.samples += n_ - n_pool_;
        }
        return true;
    }

private:
    static constexpr int64_t kDrawn = 16;  // the work of a draw, roughly

    void draw_pool() {
        const int64_t width = may_be_wide<Items> ? 0 : kSegmentsOfStep * items_.width;
        const auto ordinal = static_cast<uint32_t>(n_visited_++);
        for (int32_t j = 0; j < n_pool_; ++j)
            ids_[j] = static_cast<int32_t>(stream_.below(static_cast<uint32_t>(epoch_.samples.n_drawable), ordinal, j));
        epoch_.samples.name_drawn(ids_.data(), n_pool_);
        for (int32_t j = 0; j < std::min(kAhead, n_pool_); ++j) items_.prefetch_embedding(ids_[j]);
        for (int32_t j = 0; j < n_pool_; ++j) {
            if (worker_.spend(kDrawn + width)) return;
            if (j + kAhead < n_pool_) items_.prefetch_embedding(ids_[j + kAhead]);
            rows_[j] = items_.represent(ids_[j], j);
        }
    }

    // Gathers every n_rows-th positive from `row` on, since neighbours in the catalogue may be alike.
    void gather(int32_t user, int64_t row, int64_t n_rows, int64_t count) {
        const Samples& samples = epoch_.samples;
        const int64_t first = samples.indptr[user];
        n_ = n_pool_;
        for (int64_t i = row; i < count; i += n_rows) {
            weights_[n_ - n_pool_] = samples.weights ? samples.weights[first + i] : 1.0f;
            ids_[n_++] = samples.items[first + i];
        }
        for (int32_t i = n_pool_; i < n_; ++i) items_.prefetch_row(ids_[i]);
        for (int32_t i = n_pool_; i < n_; ++i) rows_[i] = items_.represent(ids_[i], i);
    }

    bool step(int32_t user, double& loss) {
        const auto width = users_.width;
        const typename Users::Row row = users_.represent(user, 0);
        const float square = dot(row.embedding, row.embedding, width);
        const float inverse = inverse_length(square);
        for (int lane = 0; lane < width; lane += kLanes) store(&unit_[lane], inverse * load(row.embedding + lane));
        float row_loss;
        if (!(square < kLargestSquare) || !score() || !charge_row(user, row_loss)) return false;
        loss += row_loss;

        live_.clear();
        for (int32_t j = 0; j < n_; ++j)
            if (slopes_[j] != 0.0f) live_.push_back(j);
        const int32_t n_live = static_cast<int32_t>(live_.size());
        // The user's gradient is scale * inverse * (sum of slope p^ - (sum of slope c) q^).
        float along = 0.0f;
        for (const int32_t j : live_) along += slopes_[j] * scores_[j];
        int first_lane = 0;
        for (; first_lane + kAbreast * kLanes <= width; first_lane += kAbreast * kLanes) {
            if (may_be_wide<Items> && worker_.spend(n_live * kAbreast * kLanes)) return false;
            sum_lanes<kAbreast>(first_lane);
        }
        for (; first_lane < width; first_lane += kLanes) sum_lanes<1>(first_lane);
        Users users = users_;
        for (int lane = 0; lane < width; lane += kLanes)
            users.put(row, lane, (scale_ * inverse) * (load(&sum_[lane]) - along * load(&unit_[lane])));
        users.finish(row);
        Items items = items_;
        for (int32_t k = 0; k < std::min(kAhead, n_live); ++k) items.prefetch_row(ids_[live_[k]]);
        for (int32_t k = 0; k < n_live; ++k) {
            if (may_be_wide<Items> && worker_.spend(kSegmentsOfStep * width)) return false;
            if (k + kAhead < n_live) items.prefetch_row(ids_[live_[k + kAhead]]);
            const int32_t j = live_[k];
            const float factor = scale_ * slopes_[j] * inverses_[j], shrink = scores_[j] * inverses_[j];
            for (int lane = 0; lane < width; lane += kLanes)
                items.put(rows_[j], lane, factor * (load(&unit_[lane]) - shrink * load(rows_[j].embedding + lane)));
            items.finish(rows_[j]);
        }
        return true;
    }

    // Computes kVectors vectors of the sum of slope p^, from `lane` on.
    template <int kVectors>
    void sum_lanes(int lane) {
        Vec total[kVectors] = {};
        for (const int32_t j : live_) {
            const float weight = slopes_[j] * inverses_[j];
            const float* embedding = rows_[j].embedding + lane;
            for (int v = 0; v < kVectors; ++v) total[v] += weight * load(embedding + v * kLanes);
        }
        for (int v = 0; v < kVectors; ++v) store(&sum_[lane + v * kLanes], total[v]);
    }

    // Computes the cosines with the user into scores_. Returns false if a vector is so long that the model has
    // diverged, or the worker has to stop. A zero vector has cosine 0 and the slope of a vector of length 1, so that
    // training can move it.
    bool score() {
        const auto width = items_.width;
        std::fill_n(rows_.begin() + n_, kLanes, rows_[0]);  // whole vectors are filled
        for (int32_t first = 0; first < n_; first += kLanes) {
            if (may_be_wide<Items> && worker_.spend(2 * kLanes * width)) return false;
            const auto embedding = [&](int i, int lane) { return load(rows_[first + i].embedding + lane); };
            sum_terms(
                kLanes, width, [&](int i, int lane) { return load(&unit_[lane]) * embedding(i, lane); },
                &scores_[first]);
            sum_terms(
                kLanes, width, [&](int i, int lane) { return embedding(i, lane) * embedding(i, lane); },
                &squares_[first]);
        }
        int out_of_range = 0;
        for (int32_t j = 0; j < n_; ++j) {
            out_of_range |= !(squares_[j] < kLargestSquare);
            inverses_[j] = inverse_length(squares_[j]);
            scores_[j] *= inverses_[j];
        }
        return !out_of_range;
    }

    // Computes slopes at the scaled cosines, 0 for a candidate that is not stepped. Returns false if a score is out of
    // range.
    bool charge_row(int32_t user, float& loss) {
        float highest = scores_[0];
        for (int32_t j = 1; j < n_; ++j) highest = scores_[j] > highest ? scores_[j] : highest;
        for (int32_t j = 0; j < n_; ++j) slopes_[j] = exponential(scale_ * (scores_[j] - highest));
        for (int32_t j = 0; j < n_pool_; ++j)
            slopes_[j] = epoch_.samples.known.contains(user, ids_[j]) ? 0.0f : slopes_[j];
        float of_pool = 0.0f;
        for (int32_t j = 0; j < n_pool_; ++j) of_pool += slopes_[j];
        float spread = 0.0f;
        loss = 0.0f;
        for (int32_t i = n_pool_; i < n_; ++i) {
            const float weight = weights_[i - n_pool_], total = slopes_[i] + of_pool;
            loss += weight * (std::log(total) - scale_ * (scores_[i] - highest));
            slopes_[i] = weight * (slopes_[i] / total - 1.0f);
            spread += weight / total;
        }
        for (int32_t j = 0; j < n_pool_; ++j) {
            const float share = slopes_[j] * spread;
            slopes_[j] = std::fabs(share) < kSmallestShare ? 0.0f : share;
        }
        return in_range(loss);
    }

    const Epoch& epoch_;
    const Stream& stream_;
    Users& users_;
    Items& items_;
    Worker& worker_;
    const float scale_;
    const int32_t n_pool_;
    int32_t n_ = 0;  // the number of candidates: pool and positives
    uint64_t n_visited_ = 0;
    std::vector<int32_t> ids_;
    std::vector<int32_t> live_;   // the candidates with slopes
    std::vector<float> weights_;  // the weights of the positives
    std::vector<float> scores_, slopes_, inverses_, squares_;
    std::vector<typename Items::Row> rows_;
    std::vector<float> unit_, sum_;
};

struct SampledSoftmax {
    static constexpr auto at = nullptr;  // a row's loss depends on many scores, not on one
    static constexpr bool kTakesLabels = false, kTakesWeights = true;
    static constexpr bool kNeedsPopularity = false, kNeedsMembership = true;
    static constexpr bool kScoresAreCosines = true, kGivesProbabilities = false;
    static constexpr Plan kPlan = Plan{}.visiting_users().with_blocks(32);

    static int slots(const Settings& settings) { return settings.n_negatives + kRowLength; }

    template <class Users, class Items>
    static Outcome visit(const Epoch& epoch, int64_t task, Users& users, Items& items, const Stream& stream,
                         Worker& worker) {
        SoftmaxRows<Users, Items> rows(epoch, stream, users, items, worker);
        Outcome outcome;
        const int64_t block = task / epoch.tasks_per_block();
        for (int64_t stratum = epoch.first_stratum(task); stratum < epoch.last_stratum(task); ++stratum) {
            const int64_t user = epoch.order.position(stratum, block);
            if (user >= epoch.order.size) continue;
            if (!rows.visit(static_cast<int32_t>(user), outcome)) {
                outcome.diverged = !worker.has_to_stop();
                return outcome;
            }
        }
        return outcome;
    }
};

}  // namespace lightfm_fast
