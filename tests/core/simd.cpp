// Compares the vectors' operations with plain loops. Prints the first difference and returns 1.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <random>
#include <vector>

#include "kernels/simd/bytes.hpp"
#include "kernels/simd/vectors.hpp"
#include "kernels/simd/words.hpp"

using namespace lightfm_fast;

namespace {

int failures = 0;

void check(bool holds, const char* what) {
    if (holds) return;
    std::printf("%s differs\n", what);
    ++failures;
}

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
std::mt19937 generator(1);

// Values of which some are equal and some NaN.
std::vector<float> draw(int size, bool with_nan) {
    std::uniform_int_distribution<int> values(-8, 8);
    std::vector<float> drawn(size);
    for (float& value : drawn) value = values(generator) == 8 && with_nan ? kNaN : 0.25f * values(generator);
    return drawn;
}

bool is_same(float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); }

void compare_lanes() {
    const std::vector<float> x = draw(kLanes, true), y = draw(kLanes, true);
    const Vec a = load(x.data()), b = load(y.data());
    float sums[kLanes], differences[kLanes], products[kLanes], largest[kLanes], magnitudes[kLanes];
    store(sums, a + b);
    store(differences, a - b);
    store(products, a * b);
    store(largest, larger(a, b));
    store(magnitudes, magnitude(a));
    Vec high = a, low = b, kept = a, marks = splat(1.0f), set = a;
    sort_two(high, low);
    keep_larger(b, 2.0f, kept, marks);
    set_where_equal(a, b, splat(9.0f), set);
    float highs[kLanes], lows[kLanes], keeps[kLanes], marked[kLanes], sets[kLanes];
    store(highs, high), store(lows, low), store(keeps, kept), store(marked, marks), store(sets, set);
    for (int i = 0; i < kLanes; ++i) {
        check(is_same(sums[i], x[i] + y[i]), "a + b");
        check(is_same(differences[i], x[i] - y[i]), "a - b");
        check(is_same(products[i], x[i] * y[i]), "a * b");
        check(is_same(largest[i], x[i] > y[i] ? x[i] : y[i]), "larger");
        check(is_same(magnitudes[i], std::fabs(x[i])), "magnitude");
        check((greater(a, b) >> i & 1) == (x[i] > y[i]), "greater");
        check((lanes_not_at_least(a, 0.5f) >> i & 1) == !(x[i] >= 0.5f), "lanes_not_at_least");
        check(is_same(highs[i], x[i] < y[i] ? y[i] : x[i]) && is_same(lows[i], x[i] < y[i] ? x[i] : y[i]), "sort_two");
        check(is_same(keeps[i], y[i] > x[i] ? y[i] : x[i]) && marked[i] == (y[i] > x[i] ? 2.0f : 1.0f), "keep_larger");
        check(is_same(sets[i], x[i] == y[i] ? 9.0f : x[i]), "set_where_equal");
    }
    int reached = 0;
    for (int i = 0; i < kLanes; ++i) reached += x[i] >= y[i];
    Ints counts = splat(0);
    count_at_least(a, b, counts);
    check(sum(counts) == reached, "count_at_least");
}

// The values are multiples of a quarter, so sums are exact in any order.
void compare_sums() {
    const std::vector<float> values = draw(kLanes * kLanes, false);
    Vec rows[kLanes];
    float totals[kLanes], transposed[kLanes];
    for (int i = 0; i < kLanes; ++i) rows[i] = load(&values[i * kLanes]);
    store(totals, sum_each(rows));
    for (int i = 0; i < kLanes; ++i) {
        float total = 0.0f;
        for (int j = 0; j < kLanes; ++j) total += values[i * kLanes + j];
        check(totals[i] == total && sum(rows[i]) == total, "sum");
    }
    transpose(rows);
    for (int i = 0; i < kLanes; ++i) {
        store(transposed, rows[i]);
        for (int j = 0; j < kLanes; ++j) check(transposed[j] == values[j * kLanes + i], "transpose");
    }
    std::vector<float> row = draw(kRowAlignment, true);
    float largest = 0.0f;
    for (const float value : row) largest = std::fabs(value) > largest ? std::fabs(value) : largest;
    check(largest_magnitude(row.data(), kRowAlignment) == largest, "largest_magnitude");
}

void compare_roots() {
    for (float x = 1e-30f; x < 1e30f; x *= 1.7f) {
        const double exact = 1.0 / std::sqrt(static_cast<double>(x));
        float estimates[kLanes], refined[kLanes];
        store(estimates, estimate_inverse_sqrt(splat(x)));
        store(refined, inverse_sqrt(splat(x)));
        check(std::fabs(estimates[0] / exact - 1.0) < 1.0 / 2048, "estimate_inverse_sqrt of a vector");
        check(std::fabs(estimate_inverse_sqrt(x) / exact - 1.0) < 1.0 / 2048, "estimate_inverse_sqrt");
        check(std::fabs(refined[0] / exact - 1.0) < 1e-6, "inverse_sqrt of a vector");
        check(std::fabs(inverse_sqrt(x) / exact - 1.0) < 1e-6, "inverse_sqrt");
    }
}

template <int kQuads>
void compare_products(int width) {
    const int stride = (width + kByteAlignment - 1) / kByteAlignment * kByteAlignment;
    std::uniform_int_distribution<int> lefts(0, 127), rights(-127, 127);
    std::vector<uint8_t> left(16 * stride);
    std::vector<int8_t> right(16 * stride);
    for (int i = 0; i < 16 * stride; ++i) {
        left[i] = static_cast<uint8_t>(i % 3 ? lefts(generator) : 127);
        right[i] = static_cast<int8_t>(i % stride >= width ? 0 : i % 3 ? rights(generator) : -127);
    }
    int32_t products[16];
    dot_bytes<kQuads>(
        width, [&](int i) { return &left[i * stride]; }, [&](int i) { return &right[i * stride]; }, products);
    for (int i = 0; i < 4 * kQuads; ++i) {
        int32_t product = 0;
        for (int byte = 0; byte < width; ++byte) product += int32_t{left[i * stride + byte]} * right[i * stride + byte];
        check(products[i] == product, "dot_bytes");
    }
}

void compare_rounding() {
    std::vector<float> values(64);
    for (int i = 0; i < 64; ++i) values[i] = static_cast<float>(i - 32) * 0.999f;
    int8_t bytes[64];
    uint8_t shifted[64];
    round_to_bytes(values.data(), 64, 2.0f, 127, 0, bytes);
    round_to_bytes(values.data(), 64, 1.0f, 63, 64, shifted);
    for (int i = 0; i < 64; ++i) {
        check(bytes[i] == std::lround(2.0f * values[i]), "round_to_bytes");
        check(shifted[i] == std::lround(values[i]) + 64, "round_to_bytes with a middle");
    }
}

void compare_words() {
    std::vector<uint32_t> words(64);
    for (uint32_t& word : words) word = generator();
    uint32_t places[16], masks[16], wanted = 0;
    int32_t signed_places[16], numbers[16];
    for (int i = 0; i < 16; ++i) {
        places[i] = generator() % 64;
        signed_places[i] = static_cast<int32_t>(places[i]);
        masks[i] = 1u << generator() % 32 | 1u << generator() % 32;
        wanted |= static_cast<uint32_t>((words[places[i]] & masks[i]) == masks[i]) << i;
    }
    check(words_with_all(reinterpret_cast<const uint8_t*>(words.data()), places, masks) == wanted, "words_with_all");
    gather(reinterpret_cast<const int32_t*>(words.data()), signed_places, numbers);
    for (int i = 0; i < 16; ++i) check(numbers[i] == static_cast<int32_t>(words[places[i]]), "gather");
    for (int bit = 0; bit < 32; ++bit) check(lowest_bit(0x80000000u | 1u << bit) == bit, "lowest_bit");
}

}  // namespace

int main() {
    for (int time = 0; time < 200; ++time) {
        compare_lanes();
        compare_sums();
        compare_words();
    }
    compare_roots();
    compare_rounding();
    for (const int width : {16, 32, 48, 64, 80, 128, 192}) {
        compare_products<1>(width);
        compare_products<2>(width);
        compare_products<3>(width);
        compare_products<4>(width);
    }
    return failures > 0;
}
