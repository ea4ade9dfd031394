// A penalty that counts once an epoch: lightfm_fast/_shrinkage.py has its formula.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

#include "optimizers.hpp"
#include "simd/vectors.hpp"
#include "table.hpp"
#include "team.hpp"

namespace lightfm_fast {

// For a team: the proximal step of some rows. Row rows[i] has the penalty strength x square(i), as a multiple of
// AdaGrad's learning rate. A step may be infinitely long; it then ends at zero.
struct ShrinkTasks {
    static constexpr int64_t kRows = 1024;  // rows of a task

    Table table;
    bool has_biases;  // which are stepped too
    double strength;
    float epsilon;          // Adadelta only
    const int64_t* rows;    // each once
    const double* squares;  // `stride` apart
    int64_t stride, size;

    int64_t n_tasks() const { return (size + kRows - 1) / kRows; }
    void operator()(int64_t task, Worker& worker) const {
        for (int64_t i = task * kRows; i < std::min(size, (task + 1) * kRows); ++i) {
            if (worker.spend(int64_t{table.segments} * table.width)) return;
            const double penalty = strength * squares[i * stride];
            const float force = static_cast<float>(std::min<double>(penalty, std::numeric_limits<float>::max()));
            float* const row = table.row(rows[i]);
            for (int lane = 0; lane < table.width; lane += kLanes) shrink<Vec>(row + lane, table.width, force);
            if (has_biases) shrink<float>(table.bias(rows[i]), 1, force);
        }
    }

private:
    // Segments are `width` floats apart.
    template <class Number>
    void shrink(float* cells, int width, float force) const {
        const auto read = [&](int segment) {
            Number number;
            std::memcpy(&number, cells + segment * width, sizeof(Number));
            return number;
        };
        Number length = force * inverse_sqrt(read(1) + kSmallest);
        if (table.segments == Adadelta::kSegments) {
            const Number travelled = read(2) + (epsilon + kSmallest);
            length = force * (travelled * inverse_sqrt(travelled)) * inverse_sqrt(read(1) + (epsilon + kSmallest));
        }
        const Number shrunk = read(0) / (1.0f + length);
        std::memcpy(cells, &shrunk, sizeof(Number));
    }
};

}  // namespace lightfm_fast
