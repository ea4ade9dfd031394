// Every loss, once: its value and its slope at a score (pointwise) or a margin score_positive - score_negative
// (pairwise).
#pragma once

#include <cmath>

#include "exponential.hpp"

namespace lightfm_fast {

// log(1 + e) for e in [0, 1]: e times the minimax polynomial of degree 8, whose largest relative error is least.
inline float log1p_of_unit(float e) {
    const float square = e * e;
    const float low = 9.9999994e-1f - 4.99994934e-1f * e;
    const float middle = 3.33190978e-1f - 2.48429805e-1f * e;
    const float high = 1.91060022e-1f - 1.36632383e-1f * e;
    const float highest = 7.82258585e-2f - 2.95051821e-2f * e + 5.23268012e-3f * square;
    return e * (low + square * (middle + square * (high + square * highest)));
}

// A loss at a margin, and its derivative by the margin. If is_met() is true of a margin, the sample takes no step, and
// has no L2 penalty either.
struct Charge {
    float value;
    float slope;
};

// log(1 + exp(-m)). The margin m is the score times the label in {-1, +1}, or the margin of a pair (Rendle 2009).
struct Logistic {
    // Of a score and its label: the loss is the negative logarithm of the label's probability.
    static constexpr bool kGivesProbabilities = true;
    static constexpr bool kTakesMargin = true;   // at() takes label times score; else it takes score - target
    static constexpr float kLongestStep = 8.0f;  // of a machine's score, in inverse slopes: see part_to_go()
    static Charge at(float m) {
        const float e = exponential(-std::fabs(m));
        return {(m < 0.0f ? -m : 0.0f) + log1p_of_unit(e), (m < 0.0f ? -1.0f : -e) / (1.0f + e)};
    }
    static bool is_met(float) { return false; }
};

// max(0, 1 - m) (Weston 2011).
struct Hinge {
    static Charge at(float m) { return {m < 1.0f ? 1.0f - m : 0.0f, m < 1.0f ? -1.0f : 0.0f}; }
    static bool is_met(float m) { return m >= 1.0f; }
};

// r^2 / 2 of a residual r = score - target.
struct Squared {
    static constexpr bool kTakesMargin = false;
    static constexpr float kLongestStep = 1.0f;
    static Charge at(float r) { return {0.5f * r * r, r}; }
};

}  // namespace lightfm_fast
