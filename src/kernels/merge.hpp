// Workers' changes become one. Workers, such as threads or the tasks of a cluster, step copies of the same parameters
// apart from one another.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "optimizers.hpp"
#include "simd/vectors.hpp"
#include "table.hpp"
#include "team.hpp"

namespace lightfm_fast {

// The damped sum, which merges the copies of a cell: a parameter V and AdaGrad's sum of squared gradients G. Worker v
// has changed them by dV_v and g_v:
//
//     V += sum_v dV_v r(g_v) / r(sum_v g_v),    G += sum_v g_v,    r(g) = sqrt(G + g / 2) + coupling g
//
// The root: AdaGrad divides a step by the root of the sum before it, on average about sqrt(G + g_v / 2) for worker v.
// If the workers' steps were taken in turn, this would be about sqrt(G + sum g / 2).
//
// The coupling: near a minimum of curvature h, n steps of size s reduce the distance to it by the share 1 - exp(-x) ~
// x / (1 + x), where x = s h n. Workers that reach the minimum each must not move the parameter beyond it together. So
// a worker's change is divided by its own x / (1 + x), and multiplied by its share of the same of all steps. For a
// log-likelihood h is the mean square of the gradient (Fisher), so h n is the addition to G, and x = coupling g /
// sqrt(G + g / 2) if the coupling is the learning rate times the number of features that move together.
//
// The changes of one worker alone are kept unchanged. A merge of merges is the merge of all workers, so that many
// workers can be merged by a tree.
template <class Number>
class DampedSum {
public:
    static constexpr int kSegments = Adagrad::kSegments;

    DampedSum(const Number* then, float coupling) : then_{then[0], then[1]}, coupling_(coupling) {}

    void add(const Number* now) {
        const Number added = now[1] - then_[1];
        changed_ += (now[0] - then_[0]) * root(added);
        added_ += added;
    }

    void write(Number* merged) const {
        merged[0] = then_[0] + changed_ / root(added_);
        merged[1] = then_[1] + added_;
    }

private:
    Number then_[kSegments];
    float coupling_;
    Number changed_{}, added_{};

    Number root(Number added) const {
        const Number mean = then_[1] + 0.5f * added;
        return mean * inverse_sqrt(mean) + coupling_ * added;
    }
};

// The coupling of a side whose rows have `features_a_row` features. A larger factor learns slowly; a smaller one
// overshoots where many workers share features.
inline float coupling_of(float learning_rate, double features_a_row) {
    return 0.25f * learning_rate * static_cast<float>(features_a_row);
}

// Adadelta's cells: the parameter and two moving averages. No sum grows, so neither steps nor averages are damped: all
// three are the means over the workers.
template <class Number>
class Mean {
public:
    static constexpr int kSegments = Adadelta::kSegments;

    Mean(const Number* then, float) : then_{then[0], then[1], then[2]} {}

    void add(const Number* now) {
        for (int s = 0; s < kSegments; ++s) changed_[s] += now[s] - then_[s];
        ++n_workers_;
    }

    void write(Number* merged) const {
        for (int s = 0; s < kSegments; ++s) merged[s] = then_[s] + (1.0f / n_workers_) * changed_[s];
    }

private:
    Number then_[kSegments];
    Number changed_[kSegments] = {};
    int n_workers_ = 0;
};

// Merges the workers' copies of rows.
class Merge {
public:
    Merge(int32_t width, int32_t segments, float coupling) : width_(width), segments_(segments), coupling_(coupling) {}

    // `row` and `bias`, as all copies began, become the merge of the n copies copied_row(v) and copied_bias(v), v < n.
    template <class Row, class Bias>
    void operator()(float* row, float* bias, int n, const Row& copied_row, const Bias& copied_bias) const {
        segments_ == Adagrad::kSegments ? merge<DampedSum>(row, bias, n, copied_row, copied_bias)
                                        : merge<Mean>(row, bias, n, copied_row, copied_bias);
    }

private:
    int32_t width_, segments_;
    float coupling_;

    template <template <class> class Rule, class Row, class Bias>
    void merge(float* row, float* bias, int n, const Row& copied_row, const Bias& copied_bias) const {
        for (int lane = 0; lane < width_; lane += kLanes)
            merge_cells<Rule<Vec>, Vec>(row + lane, width_, n, [&](int v) { return copied_row(v) + lane; });
        merge_cells<Rule<float>, float>(bias, 1, n, copied_bias);
    }

    // Segments are `stride` floats apart.
    template <class Rule, class Number, class Copy>
    void merge_cells(float* cells, int stride, int n, const Copy& copy) const {
        Number numbers[Rule::kSegments];
        const auto read = [&](const float* from) {
            for (int s = 0; s < Rule::kSegments; ++s) std::memcpy(&numbers[s], from + s * stride, sizeof(Number));
        };
        read(cells);
        Rule merged(numbers, coupling_);
        for (int v = 0; v < n; ++v) {
            read(copy(v));
            merged.add(numbers);
        }
        merged.write(numbers);
        for (int s = 0; s < Rule::kSegments; ++s) std::memcpy(cells + s * stride, &numbers[s], sizeof(Number));
    }
};

// A worker's copies of some rows of a table.
struct CopiedRows {
    const int32_t* indices;  // of the rows, ascending; null: all rows
    int64_t size;
    const float* rows;
    const float* biases;
};

// For a team: merges workers' copies into rows first .. last - 1 of the table, which the copies began from. A row is
// merged in the order of the workers.
struct MergeTasks {
    static constexpr int64_t kRows = 256;  // rows of a task

    Table table;
    float coupling;
    const CopiedRows* copies;
    int64_t n_copies;
    int64_t first, last;

    int64_t n_tasks() const { return (last - first + kRows - 1) / kRows; }
    void operator()(int64_t task, Worker& worker) const {
        const Merge merge(table.width, table.segments, coupling);
        const int64_t size = int64_t{table.segments} * table.width, begin = first + task * kRows;
        std::vector<int64_t> next(n_copies);
        for (int64_t v = 0; v < n_copies; ++v)
            if (copies[v].indices)
                next[v] =
                    std::lower_bound(copies[v].indices, copies[v].indices + copies[v].size, begin) - copies[v].indices;
        std::vector<const float*> rows, biases;
        for (int64_t row = begin; row < std::min(last, begin + kRows); ++row) {
            rows.clear();
            biases.clear();
            for (int64_t v = 0; v < n_copies; ++v) {
                const CopiedRows& copy = copies[v];
                int64_t place = row;
                if (copy.indices) {
                    if (next[v] == copy.size || copy.indices[next[v]] != row) continue;
                    place = next[v]++;
                }
                rows.push_back(copy.rows + place * size);
                biases.push_back(copy.biases + place * table.bias_segments);
            }
            if (worker.spend(size * (1 + static_cast<int64_t>(rows.size())))) return;
            if (!rows.empty())
                merge(
                    table.row(row), table.bias(row), static_cast<int>(rows.size()), [&](int v) { return rows[v]; },
                    [&](int v) { return biases[v]; });
        }
    }
};

}  // namespace lightfm_fast
