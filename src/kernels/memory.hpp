// Memory that is written once: its pages, and copies by several threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "team.hpp"

namespace lightfm_fast {

// Asks the system for huge pages, as NumPy does for its large arrays. The first use of each page costs a fault, and
// there are 512 times fewer.
inline void ask_for_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] size_t size) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr size_t kPage = 4096, kLeast = size_t{1} << 22;
    if (size < kLeast) return;
    const size_t skipped = kPage - reinterpret_cast<uintptr_t>(memory) % kPage;
    madvise(static_cast<char*>(memory) + skipped, size - skipped, MADV_HUGEPAGE);  // only advice: it may fail
#endif
}

// For a team: copies memory.
struct CopyTasks {
    static constexpr int64_t kStretch = 1 << 17;  // bytes

    int64_t size;
    const uint8_t* source;
    uint8_t* target;

    int64_t n_tasks() const { return (size + kStretch - 1) / kStretch; }
    void operator()(int64_t stretch, Worker&) const {
        const int64_t first = stretch * kStretch;
        std::copy_n(source + first, std::min(kStretch, size - first), target + first);
    }
};

}  // namespace lightfm_fast
