// Draws items by popularity.
#pragma once

#include <cstdint>
#include <vector>

#include "../rng.hpp"
#include "../team.hpp"

namespace lightfm_fast {

// Draws items by weight in O(1) and within one cache line: one cell an item (alias method, Walker 1977, Vose 1991).
struct Popularity {
    struct Cell {
        uint32_t threshold;  // keep the cell's own item below this, out of 2^32
        int32_t alias;
    };
    const Cell* cells;
    int32_t n_items;

    int32_t draw(const Stream& stream, uint64_t counter) const {
        const uint64_t bits = stream.bits(counter);
        const int32_t cell = static_cast<int32_t>(((bits >> 32) * static_cast<uint64_t>(n_items)) >> 32);
        // Branch-free: the outcome is unpredictable.
        const int32_t keep = -static_cast<int32_t>(static_cast<uint32_t>(bits) < cells[cell].threshold);
        return (cell & keep) | (cells[cell].alias & ~keep);
    }

    // Fills `cells` for items drawn with probability weights[i] / sum(weights).
    static void build(const double* weights, int32_t n_items, Cell* cells, Worker& worker) {
        double total = 0.0;
        for (int32_t i = 0; i < n_items; ++i) total += weights[i];
        std::vector<double> share(n_items);
        std::vector<int32_t> poor, rich;
        for (int32_t i = 0; i < n_items && !worker.spend(kWork); ++i) {
            share[i] = weights[i] * n_items / total;
            cells[i] = {UINT32_MAX, i};
            (share[i] < 1.0 ? poor : rich).push_back(i);
        }
        while (!poor.empty() && !rich.empty() && !worker.spend(kWork)) {
            const int32_t low = poor.back(), high = rich.back();
            poor.pop_back();
            cells[low] = {static_cast<uint32_t>(share[low] * 4294967296.0), high};
            share[high] -= 1.0 - share[low];
            if (share[high] < 1.0) {
                rich.pop_back();
                poor.push_back(high);
            }
        }
    }

private:
    static constexpr int64_t kWork = 8;  // the work of an item, roughly
};

// For a team: the cells of the items, as one task.
struct PopularityTask {
    const double* weights;
    int32_t n_items;
    Popularity::Cell* cells;

    void operator()(int64_t, Worker& worker) const { Popularity::build(weights, n_items, cells, worker); }
};

}  // namespace lightfm_fast
