// Sampled softmax over cosines: a user's positives against one pool of negatives, a row at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "losses.hpp"
#include "steps.hpp"

namespace lightfm_fast {

// Positives that share a pool and a step of their user. A longer row is dealt out into rows of about this length.
static const int64_t kRowLength = getenv("QROW") ? atoi(getenv("QROW")) : 32;
static const float kMin = getenv("QMIN") ? atof(getenv("QMIN")) : 0.01f;
static const int kMode = getenv("QMODE") ? atoi(getenv("QMODE")) : 0;

// A negative whose mean probability over the row's positives is below this is not stepped: it would cost as much as
// one that matters.
constexpr float kSmallestShare = 0.01f;

constexpr float kLargestSquare = kLargestScore * kLargestScore;

// Candidates that are on their way from memory while one is scored.
constexpr int32_t kAhead = 8;

// The loss of a positive i is -log(e_i / (e_i + sum_j e_j)), e = exp(cosine with the user / temperature) and j over the
// pool: uniform draws without the user's positives. With c the cosine and hats over unit vectors, the slope of c along
// the user is (p^ - c q^) / |q|, along the item (q^ - c p^) / |p|. All slopes are taken before any step.
template <class Users, class Items>
class SoftmaxRows {
public:
    SoftmaxRows(const Epoch& epoch, const Stream& stream, Users& users, Items& items)
        : epoch_(epoch), stream_(stream), users_(users), items_(items), scale_(1.0f / epoch.settings.temperature) {
        const size_t most = static_cast<size_t>(candidates(epoch.settings.n_negatives));
        for (auto* values : {&scores_, &shares_, &inverses_, &squares_}) values->resize(most);
        ids_.resize(most);
        weights_.resize(kRowLength);
        rows_.resize(most);
        unit_.resize(users.width);
        sum_.resize(users.width);
    }

    static int32_t candidates(int32_t n_negatives) { return static_cast<int32_t>(kRowLength) + n_negatives; }

    // All positives of a user; false where a score is out of range.
    bool visit(int32_t user, Outcome& outcome) {
        const int64_t count = epoch_.interactions.count(user);
        const int64_t n_rows = (count + kRowLength - 1) / kRowLength;
        for (int64_t row = 0; row < n_rows; ++row) {
            gather(user, row, n_rows, count);
            if (!step(user, outcome.loss)) return false;
            outcome.samples += n_positives_;
        }
        return true;
    }

private:
    // Every n_rows-th positive from `row` on, since neighbours in the catalogue may be alike; then the pool.
    void gather(int32_t user, int64_t row, int64_t n_rows, int64_t count) {
        const Interactions& interactions = epoch_.interactions;
        const int64_t first = interactions.indptr[user];
        n_positives_ = 0;
        for (int64_t i = row; i < count; i += n_rows) {
            weights_[n_positives_] = interactions.weights ? interactions.weights[first + i] : 1.0f;
            ids_[n_positives_++] = interactions.items[first + i];
        }
        const uint64_t counter = n_visited_++ << 32;
        n_ = n_positives_;
        for (int32_t j = 0; j < epoch_.settings.n_negatives; ++j) {
            const int32_t drawn = static_cast<int32_t>(stream_.below(interactions.n_items, counter + j));
            ids_[n_] = drawn;
            n_ += !interactions.contains(user, drawn);
        }
        for (int32_t j = 0; j < std::min(kAhead, n_); ++j) items_.prefetch_embedding(ids_[j]);
    }

    bool step(int32_t user, double& loss) {
        const auto width = users_.width;
        const typename Users::Row row = users_.represent(user, 0);
        const float square = dot(row.embedding, row.embedding, width);
        const float inverse = inverse_length(square);
        for (int lane = 0; lane < width; lane += kLanes) store(&unit_[lane], inverse * load(row.embedding + lane));
        float row_loss;
        if (!(square < kLargestSquare) || !score() || !charge_row(row_loss)) return false;
        loss += row_loss;

        // The user's gradient is scale * inverse * (sum of slope p^ - (sum of slope c) q^).
        std::fill(sum_.begin(), sum_.end(), 0.0f);
        float along = 0.0f;
        for (int32_t j = 0; j < n_; ++j) {
            if (shares_[j] == 0.0f) continue;
            items_.prefetch_row(ids_[j]);
            along += shares_[j] * scores_[j];
            const float factor = shares_[j] * inverses_[j];
            for (int lane = 0; lane < width; lane += kLanes)
                store(&sum_[lane], load(&sum_[lane]) + factor * load(rows_[j].embedding + lane));
        }
        Users users = users_;
        for (int lane = 0; lane < width; lane += kLanes)
            users.put(row, lane, (scale_ * inverse) * (load(&sum_[lane]) - along * load(&unit_[lane])));
        users.finish(row);
        Items items = items_;
        for (int32_t j = 0; j < n_; ++j) {
            if (shares_[j] == 0.0f) continue;
            const float factor = scale_ * shares_[j] * inverses_[j], shrink = scores_[j] * inverses_[j];
            for (int lane = 0; lane < width; lane += kLanes)
                items.put(rows_[j], lane, factor * (load(&unit_[lane]) - shrink * load(rows_[j].embedding + lane)));
            items.finish(rows_[j]);
        }
        return true;
    }

    // A vector of zeros has no direction: its cosine is 0, and its slope that of a vector of length 1, so that it finds
    // one.
    static float inverse_length(float square) { return square > 0.0f ? 1.0f / std::sqrt(square) : 1.0f; }

    // Cosines with the user, in scores_; false where a vector is so long that the model has diverged.
    bool score() {
        const auto width = items_.width;
        for (int32_t j = 0; j < n_; ++j) {
            if (j + kAhead < n_) items_.prefetch_embedding(ids_[j + kAhead]);
            rows_[j] = items_.represent(ids_[j], j);
            Vec along{}, square{};
            for (int lane = 0; lane < width; lane += kLanes) {
                const Vec p = load(rows_[j].embedding + lane);
                along += load(&unit_[lane]) * p;
                square += p * p;
            }
            scores_[j] = sum(along);
            squares_[j] = sum(square);
        }
        int out_of_range = 0;
        for (int32_t j = 0; j < n_; ++j) {
            out_of_range |= !(squares_[j] < kLargestSquare);
            inverses_[j] = inverse_length(squares_[j]);
            scores_[j] *= inverses_[j];
        }
        return !out_of_range;
    }

    // Slopes at the scaled cosines, in shares_: 0 for what is left alone. False where a score is out of range.
    bool charge_row(float& loss) {
        float highest = scores_[0];
        for (int32_t j = 1; j < n_; ++j) highest = scores_[j] > highest ? scores_[j] : highest;
        for (int32_t j = 0; j < n_; ++j) shares_[j] = exponential(scale_ * (scores_[j] - highest));
        float of_pool = 0.0f;
        for (int32_t j = n_positives_; j < n_; ++j) of_pool += shares_[j];
        float weight = 0.0f, spread = 0.0f;
        loss = 0.0f;
        for (int32_t i = 0; i < n_positives_; ++i) {
            const float total = shares_[i] + of_pool;
            loss += weights_[i] * (std::log(total) - scale_ * (scores_[i] - highest));
            shares_[i] = weights_[i] * (shares_[i] / total - 1.0f);
            weight += std::fabs(weights_[i]);
            spread += weights_[i] / total;
        }
        for (int32_t j = n_positives_; j < n_; ++j) {
            const float share = shares_[j] * spread;
            const float limit = kMode == 1 ? kMin * weight : kMin;
            if (kMode == 2)
                shares_[j] =
                    share > kMin
                        ? share
                        : ((stream_.bits(((n_visited_ - 1) << 32) + (1u << 31) + j) >> 40) * 0x1p-24f < share / kMin
                               ? kMin
                               : 0.0f);
            else
                shares_[j] = std::fabs(share) < limit ? 0.0f : share;
        }
        return in_range(loss);
    }

    const Epoch& epoch_;
    const Stream& stream_;
    Users& users_;
    Items& items_;
    const float scale_;
    uint64_t n_visited_ = 0;
    int32_t n_positives_ = 0;
    int32_t n_ = 0;  // positives and pool
    std::vector<int32_t> ids_;
    std::vector<float> weights_, scores_, shares_, inverses_, squares_;
    std::vector<typename Items::Row> rows_;
    std::vector<float> unit_, sum_;
};

struct SampledSoftmax {
    static int slots(const Settings& settings) { return candidates(settings); }
    static int candidates(const Settings& settings) {
        return static_cast<int>(kRowLength) + static_cast<int>(settings.n_negatives);
    }

    template <class Users, class Items>
    static Outcome visit(const Epoch& epoch, int64_t task, Users& users, Items& items, const Stream& stream) {
        SoftmaxRows<Users, Items> rows(epoch, stream, users, items);
        Outcome outcome;
        const int64_t block = task / epoch.tasks_per_block();
        for (int64_t group = epoch.first_group(task); group < epoch.last_group(task); ++group) {
            const int64_t user = epoch.order.position(group, block);
            if (user >= epoch.order.size) continue;
            if (!rows.visit(static_cast<int32_t>(user), outcome)) {
                outcome.diverged = true;
                return outcome;
            }
        }
        return outcome;
    }
};

}  // namespace lightfm_fast
