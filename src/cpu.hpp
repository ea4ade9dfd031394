// The instruction sets that the CPU and the operating system support, and the compiler of this file. CPUID is read
// directly: MSVC lacks __builtin_cpu_supports, and older compilers lack some features' names.
#pragma once

#if defined(__x86_64__) || defined(_M_X64)
#define LIGHTFM_FAST_X86_64 1
#if defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

#if LIGHTFM_FAST_OPENMP
#include <omp.h>
#endif

#define LIGHTFM_FAST_AS_TEXT(...) #__VA_ARGS__
#define LIGHTFM_FAST_TEXT(...) LIGHTFM_FAST_AS_TEXT(__VA_ARGS__)

namespace lightfm_fast {

constexpr const char* levels_built = LIGHTFM_FAST_TEXT(LIGHTFM_FAST_LEVELS);
constexpr bool has_openmp = LIGHTFM_FAST_OPENMP;

#if defined(__clang__)
constexpr const char* compiler = "Clang " __clang_version__;
#elif defined(__GNUC__)
constexpr const char* compiler = "GCC " __VERSION__;
#elif defined(_MSC_VER)
constexpr const char* compiler = "MSVC " LIGHTFM_FAST_TEXT(_MSC_FULL_VER);
#else
constexpr const char* compiler = "unknown";
#endif

inline int max_threads() {
#if LIGHTFM_FAST_OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

#if LIGHTFM_FAST_X86_64
struct Registers {
    unsigned eax, ebx, ecx, edx;
};

inline Registers read_cpuid(unsigned leaf) {
    Registers registers{};
#if defined(_MSC_VER)
    int values[4];
    __cpuidex(values, static_cast<int>(leaf), 0);
    registers = {unsigned(values[0]), unsigned(values[1]), unsigned(values[2]), unsigned(values[3])};
#else
    __cpuid_count(leaf, 0, registers.eax, registers.ebx, registers.ecx, registers.edx);
#endif
    return registers;
}

// The register states that the operating system saves when it switches threads.
inline unsigned read_saved_states() {
#if defined(_MSC_VER)
    return static_cast<unsigned>(_xgetbv(0));
#else
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
#endif
}

constexpr unsigned bits() { return 0; }
template <typename... Rest>
constexpr unsigned bits(int first, Rest... rest) {
    return (1u << first) | bits(rest...);
}

constexpr bool has(unsigned present, unsigned wanted) { return (present & wanted) == wanted; }

// Highest x86-64 microarchitecture level, as the System V psABI defines them: 3 and 4, or 1 for all below.
// Bit positions: Intel's Software Developer's Manual, volume 2A, CPUID, and volume 1, section 13.3, XCR0.
inline int x86_64_level() {
    constexpr unsigned extended_leaf = 0x80000001;
    if (read_cpuid(0).eax < 7 || read_cpuid(0x80000000).eax < extended_leaf) return 1;

    // SSE3, SSSE3, FMA, CMPXCHG16B, SSE4.1, SSE4.2, MOVBE, POPCNT, OSXSAVE, AVX, F16C
    constexpr unsigned leaf_1_ecx = bits(0, 9, 12, 13, 19, 20, 22, 23, 27, 28, 29);
    constexpr unsigned v3_leaf_7_ebx = bits(3, 5, 8);             // BMI1, AVX2, BMI2
    constexpr unsigned v4_leaf_7_ebx = bits(16, 17, 28, 30, 31);  // AVX512F, DQ, CD, BW, VL
    constexpr unsigned extended_ecx = bits(0, 5);                 // LAHF, LZCNT
    constexpr unsigned v3_states = bits(1, 2);                    // XMM, YMM
    constexpr unsigned v4_states = bits(1, 2, 5, 6, 7);           // and opmask, both halves of ZMM

    const unsigned features = read_cpuid(7).ebx;
    if (!has(read_cpuid(1).ecx, leaf_1_ecx) || !has(features, v3_leaf_7_ebx) ||
        !has(read_cpuid(extended_leaf).ecx, extended_ecx))
        return 1;
    const unsigned states = read_saved_states();  // defined only if OSXSAVE is set, as checked before
    if (!has(states, v3_states)) return 1;
    return has(features, v4_leaf_7_ebx) && has(states, v4_states) ? 4 : 3;
}
#else
inline int x86_64_level() { return 0; }
#endif

}  // namespace lightfm_fast
