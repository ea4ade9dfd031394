// A side (users or items) as the steps see it: a row of features becomes a representation, and the gradient of the
// representation goes back to the rows of parameters it came from.
//
// A Row is one representation in use. put() takes the gradient of a vector of its lanes, finish() the slope of its
// bias and whatever put() held back. The gradients of all rows of a sample are put before any is finished, so all
// are taken at the same parameters, also where two rows share features.
#pragma once

#include <cstdint>
#include <type_traits>

#include "table.hpp"
#include "vec.hpp"

namespace lightfm_fast {

// The width of a side's rows: an int32_t, or a std::integral_constant where loops over it are unrolled.
template <class Width>
Width width_of(const Table& table) {
    if constexpr (std::is_same_v<Width, int32_t>)
        return table.width;
    else
        return {};
}

struct FeatureRows {
    const int64_t* indptr;
    const int32_t* indices;
    const float* values;
};

// Vectors of a row that loops over features keep in registers.
constexpr int kAbreast = 4;

// The weighted sum of a row's features' embeddings, kVectors vectors of it from `lane` on.
template <int kVectors>
inline void represent_lanes(const Table& table, const FeatureRows& features, int64_t first, int64_t last, int lane,
                            float* embedding) {
    Vec total[kVectors] = {};
    for (int64_t f = first; f < last; ++f) {
        const float* row = table.row(features.indices[f]) + lane;
        for (int v = 0; v < kVectors; ++v) total[v] += features.values[f] * load(row + v * kLanes);
    }
    for (int v = 0; v < kVectors; ++v) store(embedding + lane + v * kLanes, total[v]);
}

// One row's representation: the weighted sum of its features' embeddings; returns that of their biases.
inline float represent(const Table& table, const FeatureRows& features, int64_t index, float* embedding) {
    const int64_t first = features.indptr[index], last = features.indptr[index + 1];
    int lane = 0;
    for (; lane + kAbreast * kLanes <= table.width; lane += kAbreast * kLanes)
        represent_lanes<kAbreast>(table, features, first, last, lane, embedding);
    for (; lane < table.width; lane += kLanes) represent_lanes<1>(table, features, first, last, lane, embedding);
    float bias = 0.0f;
    for (int64_t f = first; f < last; ++f) bias += features.values[f] * table.bias(features.indices[f])[0];
    return bias;
}

// A parameter's gradient is its share of the loss's and of the L2 penalty alpha / 2 w^2 that each sample adds for
// the parameters it touches.
template <class Optimizer>
inline void step_lanes(const Optimizer& optimizer, float alpha, float* lanes, int width, Vec gradient) {
    Vec weight = load(lanes);
    Vec state[Optimizer::kSegments - 1];
    for (int s = 1; s < Optimizer::kSegments; ++s) state[s - 1] = load(lanes + s * width);
    optimizer.step(weight, state, gradient + alpha * weight);
    store(lanes, weight);
    for (int s = 1; s < Optimizer::kSegments; ++s) store(lanes + s * width, state[s - 1]);
}

template <class Optimizer>
inline void step_bias(const Optimizer& optimizer, float alpha, float* bias, float slope) {
    optimizer.step(bias[0], bias + 1, slope + alpha * bias[0]);
}

// Identity features only: the representation is the row of parameters itself.
template <class Optimizer, class Width>
struct OneHot {
    struct Row {
        float* embedding;
        float* biases;
        float bias;
    };
    Table table;
    Width width;
    Optimizer optimizer;
    float alpha;

    OneHot(const Table& table, const FeatureRows&, const Optimizer& optimizer, float alpha, float*)
        : table(table), width(width_of<Width>(table)), optimizer(optimizer), alpha(alpha) {}

    float* row(int32_t index) const {
        return table.rows + static_cast<int64_t>(index) * (Optimizer::kSegments * width);
    }

    Row represent(int32_t index, int) {
        float* biases = table.bias(index);
        return {row(index), biases, biases[0]};
    }

    void put(const Row& row, int lane, Vec gradient) {
        step_lanes(optimizer, alpha, row.embedding + lane, width, gradient);
    }
    void finish(const Row&) {}
    void finish(const Row& row, float slope) { step_bias(optimizer, alpha, row.biases, slope); }

    void prefetch_row(int32_t index) const {
        prefetch(row(index), Optimizer::kSegments * width);
        prefetch(table.bias(index), 1);
    }
    void prefetch_embedding(int32_t index) const { prefetch(row(index), width); }
};

// Any CSR row of feature weights. A representation in use stands in a slot of its own.
template <class Optimizer, class Width>
struct Sparse {
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
    float* slots;

    Sparse(const Table& table, const FeatureRows& features, const Optimizer& optimizer, float alpha, float* slots)
        : table(table),
          width(width_of<Width>(table)),
          features(features),
          optimizer(optimizer),
          alpha(alpha),
          slots(slots) {}

    Row represent(int32_t index, int slot) {
        float* embedding = slots + 2 * slot * width;
        const float bias = lightfm_fast::represent(table, features, index, embedding);
        return {embedding, embedding + width, bias, index};
    }

    void put(const Row& row, int lane, Vec gradient) { store(row.gradient + lane, gradient); }

    void finish(const Row& row) {
        step_features(row, [](int32_t, float) {});
    }
    void finish(const Row& row, float slope) {
        step_features(row, [&](int32_t feature, float value) {
            step_bias(optimizer, alpha, table.bias(feature), value * slope);
        });
    }
    template <class StepBias>
    void step_features(const Row& row, const StepBias& step_bias) {
        const int64_t last = features.indptr[row.index + 1];
        for (int64_t f = features.indptr[row.index]; f < last; ++f) {
            const int32_t feature = features.indices[f];
            const float value = features.values[f];
            float* parameters = table.row(feature);
            int lane = 0;
            for (; lane + kAbreast * kLanes <= width; lane += kAbreast * kLanes)
                for (int v = 0; v < kAbreast; ++v)
                    step_lanes(optimizer, alpha, parameters + lane + v * kLanes, width,
                               value * load(row.gradient + lane + v * kLanes));
            for (; lane < width; lane += kLanes)
                step_lanes(optimizer, alpha, parameters + lane, width, value * load(row.gradient + lane));
            step_bias(feature, value);
        }
    }

    // The first feature is mostly the row's own; those that follow are shared, and so in cache.
    void prefetch_row(int32_t index) const { prefetch_first(index, Optimizer::kSegments * width); }
    void prefetch_embedding(int32_t index) const { prefetch_first(index, width); }
    void prefetch_first(int32_t index, int n_floats) const {
        const int64_t first = features.indptr[index];
        if (first < features.indptr[index + 1]) prefetch(table.row(features.indices[first]), n_floats);
    }
};

}  // namespace lightfm_fast
