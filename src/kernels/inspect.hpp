// Checks the entries of a sparse matrix before they become samples.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "team.hpp"

namespace lightfm_fast {

// The findings of a stretch of a matrix's entries. `starts` are the first entries of rows, if all is sound and sorted.
struct EntryCheck {
    bool is_sound = true;     // indices are within the matrix, and values are finite
    bool is_sorted = true;    // by row and column, from the entry before the stretch on
    bool is_positive = true;  // all values are above 0
    std::vector<int64_t> starts;
};

inline EntryCheck check_entries(int64_t first, int64_t last, const int32_t* rows, const int32_t* columns,
                                const float* values, int64_t n_rows, int64_t n_columns) {
    // As an unsigned number a negative index is too large. The loop has no branches, so that it fills vectors.
    const auto most = [](int64_t n) { return static_cast<uint32_t>(std::min(n, int64_t{1} << 31)); };
    const uint32_t rows_end = most(n_rows), columns_end = most(n_columns);
    int unsound = 0, unsorted = 0, not_positive = 0;
    const auto judge = [&](int64_t i) {
        // Only a finite number times zero is zero.
        unsound |= (static_cast<uint32_t>(rows[i]) >= rows_end) | (static_cast<uint32_t>(columns[i]) >= columns_end) |
                   !(values[i] * 0.0f == 0.0f);
        not_positive |= !(values[i] > 0.0f);
    };
    EntryCheck check;
    if (first == 0 && last > 0) {
        judge(first++);
        check.starts.push_back(0);
    }
    for (int64_t i = first; i < last; ++i) {
        judge(i);
        unsorted |= (rows[i] < rows[i - 1]) | ((rows[i] == rows[i - 1]) & (columns[i] < columns[i - 1]));
    }
    check.is_sound = !unsound;
    check.is_sorted = !unsorted;
    check.is_positive = !not_positive;
    if (unsound || unsorted) return check;
    constexpr int64_t kAtOnce = 16;  // most rows are longer
    int64_t starts[kAtOnce];
    for (int64_t from = first; from < last; from += kAtOnce) {
        const int64_t to = std::min(from + kAtOnce, last);
        if (rows[to - 1] == rows[from - 1]) continue;
        int n_starts = 0;
        for (int64_t i = from; i < to; ++i) {
            starts[n_starts] = i;
            n_starts += rows[i] != rows[i - 1];
        }
        check.starts.insert(check.starts.end(), starts, starts + n_starts);
    }
    return check;
}

// For a team: the stretches of a matrix's entries.
struct EntryCheckTasks {
    static constexpr int64_t kStretch = 1 << 16;

    int64_t size;
    const int32_t* rows;
    const int32_t* columns;
    const float* values;
    int64_t n_rows;
    int64_t n_columns;
    EntryCheck* checks;

    int64_t n_tasks() const { return (size + kStretch - 1) / kStretch; }
    void operator()(int64_t stretch, Worker&) const {
        const int64_t first = stretch * kStretch, last = std::min(size, first + kStretch);
        checks[stretch] = check_entries(first, last, rows, columns, values, n_rows, n_columns);
    }
};

// For a team: whether all of a matrix's values are finite and above 0, and the signs as labels.
struct ValueTasks {
    static constexpr int64_t kStretch = 1 << 15;

    int64_t size;
    const float* values;
    int8_t* labels = nullptr;  // to be filled in with +1 where a value is above 0, else -1; null: not wanted
    std::atomic<bool> are_finite{true}, are_positive{true};

    int64_t n_tasks() const { return (size + kStretch - 1) / kStretch; }
    void operator()(int64_t stretch, Worker&) {
        const int64_t first = stretch * kStretch, last = std::min(size, first + kStretch);
        const float* from = values;
        int8_t* to = labels;
        int not_finite = 0, not_positive = 0;
        for (int64_t i = first; i < last; ++i) {
            not_finite |= !(from[i] * 0.0f == 0.0f);
            not_positive |= !(from[i] > 0.0f);
        }
        if (to)
            for (int64_t i = first; i < last; ++i) to[i] = static_cast<int8_t>(from[i] > 0.0f ? 1 : -1);
        if (not_finite) are_finite = false;
        if (not_positive) are_positive = false;
    }
};

// Fills `indptr` (n_users + 1 numbers) for samples that are sorted by user and item, from the checks of all of their
// stretches.
inline void find_users(const std::vector<EntryCheck>& checks, int64_t size, const int32_t* users, int32_t n_users,
                       int64_t* indptr) {
    int32_t user = 0;
    for (const EntryCheck& check : checks)
        for (const int64_t start : check.starts)
            for (; user <= users[start]; ++user) indptr[user] = start;
    for (; user <= n_users; ++user) indptr[user] = size;
}

}  // namespace lightfm_fast
