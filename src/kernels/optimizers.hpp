// Every optimiser, once: one step of one weight, or of a vector of weights, down its gradient. A row has kSegments
// numbers for each weight; a bias and its state take kBiasSegments.
//
// A Pull is the part of a step that depends on the gradient alone. Weights whose gradients differ by a factor share one
// Pull.
#pragma once

#include "simd/vectors.hpp"

namespace lightfm_fast {

// The choice of the optimiser, and its settings.
struct Schedule {
    bool is_adadelta;
    float learning_rate;  // AdaGrad only
    float rho;            // Adadelta only, like epsilon
    float epsilon;
};

// Keeps Adadelta's roots above zero if epsilon is 0.
constexpr float kSmallest = 1e-30f;

// Duchi 2011. As in LightFM, the step uses the accumulator without the step's own gradient. The accumulator starts
// above 0 and never falls, so the root needs no epsilon. The root is a hardware estimate without a Newton step: no
// learning rate is chosen that precisely.
struct Adagrad {
    static constexpr bool kIsCommon = true;
    static constexpr int kSegments = 2, kBiasSegments = 2;
    float learning_rate;

    static Adagrad make(const Schedule& schedule) { return {schedule.learning_rate}; }

    template <class Number>
    struct Pull {
        Number step, square;
        Pull times(float factor) const { return {factor * step, factor * factor * square}; }
    };
    template <class Number>
    Pull<Number> pull(Number gradient) const {
        return {learning_rate * gradient, gradient * gradient};
    }

    template <class Number>
    void step(Number& weight, Number* state, const Pull<Number>& pull) const {
        Number& seen = state[0];
        weight = weight - pull.step * estimate_inverse_sqrt(seen);
        seen = seen + pull.square;
    }
};

// Zeiler 2012. Its averages depend on its steps, so errors of estimated roots would accumulate: a Newton step refines
// them.
struct Adadelta {
    static constexpr bool kIsCommon = false;
    static constexpr int kSegments = 3, kBiasSegments = 4;
    float rho;
    float epsilon;

    static Adadelta make(const Schedule& schedule) { return {schedule.rho, schedule.epsilon}; }

    template <class Number>
    struct Pull {
        Number gradient;
        Pull times(float factor) const { return {factor * gradient}; }
    };
    template <class Number>
    Pull<Number> pull(Number gradient) const {
        return {gradient};
    }

    template <class Number>
    void step(Number& weight, Number* state, const Pull<Number>& pull) const {
        const Number& gradient = pull.gradient;
        Number& seen = state[0];
        Number& moved = state[1];
        const Number kept_seen = rho * seen;  // named: the order of products decides which one an FMA rounds
        seen = kept_seen + (1.0f - rho) * gradient * gradient;
        const Number travelled = moved + (epsilon + kSmallest);
        const Number update =
            gradient * travelled * inverse_sqrt(travelled) * inverse_sqrt(seen + (epsilon + kSmallest));
        const Number kept_moved = rho * moved;
        moved = kept_moved + (1.0f - rho) * update * update;
        weight = weight - update;
    }
};

}  // namespace lightfm_fast
