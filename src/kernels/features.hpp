// A side (users or items) as the steps see it: a row of features becomes a representation, and the gradient of the
// representation goes back to the rows of parameters it came from.
//
// A Row is one representation in use. put() takes the gradient of a vector of its lanes. finish() takes the slope of
// its bias, and steps the parameters that put() did not. put() is called for all rows of a sample before finish(), so
// all gradients are taken at the same parameters, even if two rows share features.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "rng.hpp"
#include "simd/prefetch.hpp"
#include "simd/target.hpp"
#include "simd/vectors.hpp"
#include "table.hpp"
#include "team.hpp"

namespace lightfm_fast {

// The width of a side's rows is an int32_t, or a std::integral_constant where loops over it are unrolled.
template <class Width>
constexpr bool is_any_width = std::is_same_v<Width, int32_t>;

template <class Width>
Width width_of(const Table& table) {
    if constexpr (is_any_width<Width>)
        return table.width;
    else
        return {};
}

// Returns work(width), with a constant for usual widths, so that its loops over rows are unrolled. Not in the build that
// only old processors run, which so compiles in less time.
template <class Width, class Work>
auto with_usual_width(Width width, const Work& work) {
    if constexpr (is_any_width<Width> && !kIsFallback) switch (width) {
            case 16:
                return work(std::integral_constant<int32_t, 16>{});
            case 32:
                return work(std::integral_constant<int32_t, 32>{});
            case 64:
                return work(std::integral_constant<int32_t, 64>{});
            case 128:
                return work(std::integral_constant<int32_t, 128>{});
        }
    return work(width);
}

struct FeatureRows {
    const int64_t* indptr;
    const int32_t* indices;
    const float* values;
    const int32_t* n_own;  // the number of first features of each row that identity dropout leaves out; null: none
    // Rows of parameters that each thread copies, and how `indices` refers to them: see Copies.
    const int32_t* copied;
    int32_t n_copied;
};

// Which pairs of features within a row are added to its bias: none, or all. With q the sum of the terms w_j e_j the
// pairs add up to (|q|^2 - sum_j |w_j e_j|^2) / 2 (Rendle 2010). The gradient by e_j is w_j (q - w_j e_j). A row of one
// feature has no pairs, so a OneHot side is the same in both cases.
struct CrossPairs {
    static constexpr bool kWithin = false;
    void add(Vec) {}
    float close(Vec) const { return 0.0f; }
};

struct AllPairs {
    static constexpr bool kWithin = true;
    Vec squares{};
    void add(Vec term) { squares += term * term; }
    float close(Vec total) const { return 0.5f * sum(total * total - squares); }
};

// Leaves a row's identity columns out at random in training, so that the row's other features learn to represent it
// (DropoutNet, Volkovs 2017). A row has one draw for each group of samples, so its representation is constant within
// the group.
class IdentityDropout {
public:
    // `counter` is the side's first counter, above the counters of all samplers' draws.
    IdentityDropout(const Stream& stream, uint64_t counter, double probability)
        : stream_(stream), first_counter_(counter), threshold_(static_cast<uint64_t>(probability * 4294967296.0)) {}

    // Begins a group of samples; `ordinal` is that of its first sample.
    void enter(uint64_t ordinal) { counter_ = first_counter_ + (ordinal << 32); }

    // The position of the row's first feature that is not left out.
    int64_t first(const FeatureRows& features, int32_t index) const {
        if (!features.n_own) return features.indptr[index];
        const bool drop = stream_.bits(counter_ + static_cast<uint64_t>(index)) >> 32 < threshold_;
        return features.indptr[index] + (drop ? features.n_own[index] : 0);
    }

private:
    Stream stream_;
    uint64_t first_counter_, threshold_, counter_ = 0;
};

// The number of vectors of a row that loops over features keep in registers.
constexpr int kAbreast = 4;

// Sums kVectors vectors of the features' weighted embeddings from `lane` on. Returns the part of the row's bias that
// these lanes give: the pairs within the row and, with lane 0, the features' biases.
template <class Pairs, int kVectors, class Parameters>
inline float represent_lanes(const Parameters& parameters, const FeatureRows& features, int64_t first, int64_t last,
                             int lane, float* embedding) {
    Vec total[kVectors] = {};
    Pairs pairs[kVectors] = {};
    float bias = 0.0f;
    for (int64_t f = first; f < last; ++f) {
        const int32_t feature = features.indices[f];
        const float value = features.values[f];
        const float* row = parameters.row(feature) + lane;
        for (int v = 0; v < kVectors; ++v) {
            const Vec term = value * load(row + v * kLanes);
            total[v] += term;
            pairs[v].add(term);
        }
        if (lane == 0) bias += value * parameters.bias(feature)[0];
    }
    for (int v = 0; v < kVectors; ++v) {
        store(embedding + lane + v * kLanes, total[v]);
        bias += pairs[v].close(total[v]);
    }
    return bias;
}

// Sums the weighted embeddings of a row's features `first` to `last` - 1 into `embedding`. Returns the bias: the
// features' weighted biases and the pairs within the row. The parameters are a Table, or a side whose width may be
// known at compile time.
template <class Pairs, class Parameters = Table>
inline float represent(const Parameters& parameters, const FeatureRows& features, int64_t first, int64_t last,
                       float* embedding) {
    float bias = 0.0f;
    int lane = 0;
    for (; lane + kAbreast * kLanes <= parameters.width; lane += kAbreast * kLanes)
        bias += represent_lanes<Pairs, kAbreast>(parameters, features, first, last, lane, embedding);
    for (; lane < parameters.width; lane += kLanes)
        bias += represent_lanes<Pairs, 1>(parameters, features, first, last, lane, embedding);
    return bias;
}

// Steps a vector of a row's lanes; pull(weight) returns the optimiser's Pull for their weights.
template <class Optimizer, class Pull>
LIGHTFM_FAST_INLINE inline void step_lanes(const Optimizer& optimizer, float* lanes, int width, const Pull& pull) {
    Vec weight = load(lanes);
    Vec state[Optimizer::kSegments - 1];
    for (int s = 1; s < Optimizer::kSegments; ++s) state[s - 1] = load(lanes + s * width);
    optimizer.step(weight, state, pull(weight));
    store(lanes, weight);
    for (int s = 1; s < Optimizer::kSegments; ++s) store(lanes + s * width, state[s - 1]);
}

// L2 penalty: each sample adds alpha / 2 (|p|^2 + b^2) for each row that it steps, with representation p and bias b.
// The penalty reaches features through their weights, as the loss does, so an alpha that suits ids also suits features.
// For a OneHot side p and b are the parameters themselves.
//
// Most models have no penalty, and arithmetic limits these steps: a branch on a flag costs less than the arithmetic.
struct Penalty {
    float alpha;
    bool is_any;

    explicit Penalty(float alpha = 0.0f) : alpha(alpha), is_any(alpha != 0.0f) {}

    template <class Number>
    LIGHTFM_FAST_INLINE Number added(Number gradient, Number weight) const {
        if (is_any) gradient += alpha * weight;
        return gradient;
    }
};

template <class Optimizer>
inline void step_lanes(const Optimizer& optimizer, const Penalty& penalty, float* lanes, int width, Vec gradient) {
    step_lanes(optimizer, lanes, width,
               [&](Vec weight) LIGHTFM_FAST_INLINE { return optimizer.pull(penalty.added(gradient, weight)); });
}

template <class Optimizer>
inline void step_bias(const Optimizer& optimizer, const Penalty& penalty, float* bias, float slope) {
    optimizer.step(bias[0], bias + 1, optimizer.pull(penalty.added(slope, bias[0])));
}

// Identity features only: the representation is the row of parameters itself.
template <class Optimizer, class Width>
struct OneHot {
    static constexpr bool kInPlace = true;
    struct Row {
        float* embedding;
        float bias;
        int32_t index;  // not a second pointer: compilers would compute both in a vector, by slow multiplications
    };
    Table table;
    Width width;
    Optimizer optimizer;
    Penalty penalty;

    OneHot(const Table& table, const FeatureRows&, const Optimizer& optimizer, float alpha, bool, float*,
           const IdentityDropout&, Worker&)
        : table(table), width(width_of<Width>(table)), optimizer(optimizer), penalty(alpha) {}

    void enter(uint64_t) {}

    float* row(int32_t index) const {
        return table.rows + static_cast<int64_t>(index) * (Optimizer::kSegments * width);
    }

    float* bias(int32_t index) const { return table.biases + static_cast<int64_t>(index) * Optimizer::kBiasSegments; }

    Row represent(int32_t index, int) { return {row(index), bias(index)[0], index}; }

    // Whether put() may add a penalty. put<false>() is for sides of which this is false.
    bool has_penalty() const { return penalty.is_any; }
    template <bool kHasPenalty = true>
    void put(const Row& row, int lane, Vec gradient) {
        step_lanes(optimizer, kHasPenalty ? penalty : Penalty(), row.embedding + lane, width, gradient);
    }
    void finish(const Row&) {}
    void finish(const Row& row, float slope) { step_bias(optimizer, penalty, bias(row.index), slope); }

    template <CacheLevel kLevel = kFirstLevel>
    LIGHTFM_FAST_INLINE void prefetch_row(int32_t index) const {
        prefetch<kLevel>(row(index), Optimizer::kSegments * width);
        prefetch(bias(index), 1);
    }
    LIGHTFM_FAST_INLINE void prefetch_embedding(int32_t index) const { prefetch(row(index), width); }
};

// Any CSR row of feature weights. Each representation in use has its own slot. All share two slots for gradients, which
// stay in the L1 cache: of two rows whose gradients are held at once, one has an even slot and one an odd slot.
template <class Optimizer, class Width>
struct Sparse {
    static constexpr bool kInPlace = false;
    struct Row {
        float* embedding;
        float* gradient;
        float bias;
        int32_t index;
    };
    Table table;
    Width width;
    FeatureRows features;
    Optimizer optimizer;
    float alpha;
    bool all_pairs;
    float* slots;
    IdentityDropout dropout;
    Worker* worker;

    Sparse(const Table& table, const FeatureRows& features, const Optimizer& optimizer, float alpha, bool all_pairs,
           float* slots, const IdentityDropout& dropout, Worker& worker)
        : table(table),
          width(width_of<Width>(table)),
          features(features),
          optimizer(optimizer),
          alpha(alpha),
          all_pairs(all_pairs),
          slots(slots),
          dropout(dropout),
          worker(&worker) {}

    // Begins a group of samples; `ordinal` is that of its first sample.
    void enter(uint64_t ordinal) { dropout.enter(ordinal); }

    // Returns work(CrossPairs{}) or work(AllPairs{}). The kind is chosen for each row, so that both share the code of the
    // losses. Instances for one width have no pairs within rows.
    template <class Work>
    LIGHTFM_FAST_INLINE auto with_pairs(const Work& work) const {
        if constexpr (is_any_width<Width>)
            if (all_pairs) return work(AllPairs{});
        return work(CrossPairs{});
    }

    float* row(int32_t feature) const { return table.row(feature, Optimizer::kSegments * width); }
    float* bias(int32_t feature) const { return table.bias(feature, Optimizer::kBiasSegments); }

    // Counts the work on a row's features, which may be many, and returns whether to stop. If so, the row is not
    // stepped, and its representation is not used.
    LIGHTFM_FAST_INLINE bool spend(int32_t index) const {
        return worker->spend((1 + features.indptr[index + 1] - features.indptr[index]) * width);
    }

    Row represent(int32_t index, int slot) {
        return with_pairs([&](auto pairs) { return represent_with<decltype(pairs)>(index, slot); });
    }

    static constexpr bool has_penalty() { return true; }
    template <bool kHasPenalty = true>
    void put(const Row& row, int lane, Vec gradient) {
        store(row.gradient + lane, gradient + alpha * load(row.embedding + lane));
    }

    // A copy of the side is local, so that loops need not reload it after every store.
    LIGHTFM_FAST_NOT_INLINE void finish(const Row& row) {
        Sparse side = *this;
        side.template step_features<CrossPairs>(row, 0.0f, [](int32_t, const auto&) {});
    }
    void finish(const Row& row, float slope) {
        with_pairs([&](auto pairs) { finish_with<decltype(pairs)>(row, slope); });
    }

    // These functions and finish() are compiled once for all losses.
    template <class Pairs>
    LIGHTFM_FAST_NOT_INLINE Row represent_with(int32_t index, int slot) {
        float* embedding = slots + static_cast<int64_t>(2 + slot) * width;
        if (spend(index)) return {embedding, slots + slot % 2 * width, 0.0f, index};
        const float bias = lightfm_fast::represent<Pairs>(*this, features, dropout.first(features, index),
                                                          features.indptr[index + 1], embedding);
        return {embedding, slots + slot % 2 * width, bias, index};
    }

    template <class Pairs>
    LIGHTFM_FAST_NOT_INLINE void finish_with(const Row& row, float slope) {
        Sparse side = *this;
        const float gradient = slope + side.alpha * row.bias;
        const auto pull = side.optimizer.pull(gradient);
        side.template step_features<Pairs>(row, gradient, [&](int32_t feature, const auto& scaled) LIGHTFM_FAST_INLINE {
            float* bias = side.bias(feature);
            side.optimizer.step(bias[0], bias + 1, scaled(pull));
        });
    }

    template <class Within, class StepBias>
    LIGHTFM_FAST_INLINE void step_features(const Row& row, float slope, const StepBias& step_bias) {
        if (spend(row.index)) return;
        int lane = 0;
        for (; lane + kAbreast * kLanes <= width; lane += kAbreast * kLanes)
            step_lanes_of_features<Within, kAbreast>(row, slope, lane, step_bias);
        for (; lane < width; lane += kLanes) step_lanes_of_features<Within, 1>(row, slope, lane, step_bias);
    }

    // Steps kVectors vectors of all of a row's features from `lane` on, and with lane 0 the biases.
    template <class Within, int kVectors, class StepBias>
    LIGHTFM_FAST_INLINE void step_lanes_of_features(const Row& row, float slope, int lane, const StepBias& step_bias) {
        const int64_t last = features.indptr[row.index + 1];
        typename Optimizer::template Pull<Vec> pulls[kVectors];
        for (int v = 0; v < kVectors; ++v) pulls[v] = optimizer.pull(load(row.gradient + lane + v * kLanes));
        for (int64_t f = dropout.first(features, row.index); f < last; ++f) {
            const float value = features.values[f];
            const int32_t feature = features.indices[f];
            float* lanes = opaque(this->row(feature) + lane);
            const auto step = [&](const auto& scaled, const auto& pull) LIGHTFM_FAST_INLINE {
                for (int v = 0; v < kVectors; ++v)
                    lightfm_fast::step_lanes(optimizer, lanes + v * kLanes, width,
                                             [&](Vec weight) LIGHTFM_FAST_INLINE { return pull(v, weight); });
                if (lane == 0) step_bias(feature, scaled);
            };
            const auto by_one = [](const auto& pull) LIGHTFM_FAST_INLINE { return pull; };
            const auto by_value = [&](const auto& pull) LIGHTFM_FAST_INLINE { return pull.times(value); };
            if constexpr (Within::kWithin)
                step(by_value, [&](int v, Vec weight) LIGHTFM_FAST_INLINE {
                    const int at = lane + v * kLanes;
                    const Vec others = load(row.embedding + at) - value * weight;
                    return optimizer.pull(value * (load(row.gradient + at) + slope * others));
                });
            else if (value == 1.0f)  // the usual weight
                step(by_one, [&](int v, Vec) LIGHTFM_FAST_INLINE { return by_one(pulls[v]); });
            else
                step(by_value, [&](int v, Vec) LIGHTFM_FAST_INLINE { return by_value(pulls[v]); });
        }
    }

    // Only the first feature is prefetched, which is mostly the identity feature. Shared features are in cache already.
    template <CacheLevel kLevel = kFirstLevel>
    LIGHTFM_FAST_INLINE void prefetch_row(int32_t index) const {
        prefetch_first<kLevel>(index, Optimizer::kSegments * width);
    }
    LIGHTFM_FAST_INLINE void prefetch_embedding(int32_t index) const { prefetch_first<kFirstLevel>(index, width); }
    template <CacheLevel kLevel>
    LIGHTFM_FAST_INLINE void prefetch_first(int32_t index, int n_floats) const {
        const int64_t first = features.indptr[index];
        if (first < features.indptr[index + 1]) prefetch<kLevel>(row(features.indices[first]), n_floats);
    }
};

// Whether a row may have any number of components, so that loops over rows must count their work.
template <class Side>
constexpr bool may_be_wide = is_any_width<decltype(Side::width)>;

constexpr int64_t kSegmentsOfStep = 8;  // floats that a step reads and writes for each component, roughly

// The function that represents rows for scoring.
using Represent = float (*)(const Table&, const FeatureRows&, int64_t first, int64_t last, float* embedding);

inline Represent choose_represent(bool all_pairs) { return all_pairs ? represent<AllPairs> : represent<CrossPairs>; }

// For a team: the representations of rows, `stride` floats apart, and their biases.
struct RepresentTasks {
    static constexpr int64_t kRows = 256;  // rows of a task

    Table table;
    FeatureRows features;
    Represent sum_up;
    int64_t n_rows;
    float* embeddings;
    int64_t stride;
    float* biases;

    int64_t n_tasks() const { return (n_rows + kRows - 1) / kRows; }
    void operator()(int64_t task, Worker& worker) const {
        for (int64_t row = task * kRows; row < std::min(n_rows, (task + 1) * kRows); ++row) {
            const int64_t first = features.indptr[row], last = features.indptr[row + 1];
            if (worker.spend((1 + last - first) * table.width)) return;
            biases[row] = sum_up(table, features, first, last, embeddings + row * stride);
        }
    }
};

}  // namespace lightfm_fast
