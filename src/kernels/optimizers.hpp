// Every optimiser, once: one step of one weight (or one vector of weights) down its gradient. A row has kSegments numbers of
// each weight, a bias stands beside its own in kBiasSegments places.
//
// A Pull is what a step needs to know of a gradient: many weights that share one, but for a factor, are stepped by one pull.
#pragma once

#include "simd/vectors.hpp"

namespace lightfm_fast {

// Which optimiser steps the parameters, and what it is made with.
struct Schedule {
    bool is_adadelta;
    float learning_rate;  // of AdaGrad
    float rho;            // of Adadelta, as epsilon is
    float epsilon;
};

// Keeps Adadelta's roots above zero where epsilon is 0.
constexpr float kSmallest = 1e-30f;

// Duchi 2011, with the accumulator read before it is added to, as LightFM does. It starts at 1 and never falls, so
// the root needs no epsilon. The root is an estimate: nobody knows a learning rate to 2^-11, and a Newton step would take
// a fifth of the time of training.
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

// Zeiler 2012. Its averages feed on its steps, so that the errors of estimated roots would add up.
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
        seen = rho * seen + (1.0f - rho) * gradient * gradient;
        const Number travelled = moved + (epsilon + kSmallest);
        const Number update =
            gradient * travelled * inverse_sqrt(travelled) * inverse_sqrt(seen + (epsilon + kSmallest));
        moved = rho * moved + (1.0f - rho) * update * update;
        weight = weight - update;
    }
};

}  // namespace lightfm_fast
