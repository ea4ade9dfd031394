// The factorization machine (Rendle 2010): a row x of any sparse matrix is scored
//
//     w0 + sum_p w_p x_p + sum_{p<q} <v_p, v_q> x_p x_q,
//
// in time linear in its entries, since with S = sum_p v_p x_p the pairs add up to (|S|^2 - sum_p |v_p x_p|^2) / 2. With
// fields (Pan 2018) each pair is multiplied by r_{F(p) F(q)}. With S_f and Q_f = sum |v x|^2 over the entries of field
// f, the pairs then add up to sum_{f<g} r_fg <S_f, S_g> + sum_f r_ff (|S_f|^2 - Q_f) / 2.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "features.hpp"
#include "losses.hpp"
#include "optimizers.hpp"
#include "outcome.hpp"
#include "rng.hpp"
#include "team.hpp"

namespace lightfm_fast {

// Columns `first`, `first` + 1, ... of the matrix. Row i of the matrix is row rows[i] of the block, so that repeated
// rows are stored once.
struct Block {
    const int32_t* rows;    // null: row i is row i
    const int64_t* indptr;  // null: the block is an identity
    const int32_t* indices;
    const float* values;
    int32_t first;
};

struct Entry {
    int32_t column;
    float value;
};
using Entries = std::vector<Entry>;

struct Design {
    const Block* blocks;
    int32_t n_blocks;
    int64_t n_rows;

    // Prefetches the memory that gather() will read.
    void touch(int64_t row) const {
        for (const Block* block = blocks; block < blocks + n_blocks; ++block) {
            if (!block->indptr) continue;
            const int64_t start = block->indptr[block->rows ? block->rows[row] : row];
            prefetch(reinterpret_cast<const float*>(block->indices + start), 1);
            prefetch(block->values + start, 1);
        }
    }

    void gather(int64_t row, Entries& entries) const {
        entries.clear();
        for (const Block* block = blocks; block < blocks + n_blocks; ++block) {
            const int64_t within = block->rows ? block->rows[row] : row;
            if (!block->indptr) {
                entries.push_back({block->first + static_cast<int32_t>(within), 1.0f});
                continue;
            }
            for (int64_t i = block->indptr[within]; i < block->indptr[within + 1]; ++i)
                if (block->values[i] != 0.0f) entries.push_back({block->first + block->indices[i], block->values[i]});
        }
    }
};

// The parameters and their settings. `shared` holds w0, then the weights of the pairs of fields in the order
// (0,0), (0,1), (1,1), (0,2), ..., each followed by its accumulators, bias_segments numbers apart.
struct Machine {
    Table table;
    float* shared;
    const int32_t* fields;  // the field of every column
    int32_t n_fields;       // 0: pairs have no weights
    Penalty penalty_w;
    Penalty penalty_v;

    float* field_weight(int32_t f, int32_t g) const {
        const int32_t low = std::min(f, g), high = std::max(f, g);
        return shared + (1 + high * (high + 1) / 2 + low) * table.bias_segments;
    }
};

// The ratio of a parameter's step to its gradient; `state` is the optimiser's state of the parameter.
template <class Number>
Number rate(const Adagrad& optimizer, const Number* state, const Number&) {
    return optimizer.learning_rate * estimate_inverse_sqrt(state[0]);
}
template <class Number>
Number rate(const Adadelta& optimizer, const Number* state, const Number& gradient) {
    const Number travelled = state[1] + (optimizer.epsilon + kSmallest);
    const Number seen = optimizer.rho * state[0] + (1.0f - optimizer.rho) * gradient * gradient;
    return travelled * inverse_sqrt(travelled) * inverse_sqrt(seen + (optimizer.epsilon + kSmallest));
}

// The same optimisers, but each step is multiplied by a factor. Their state is updated as for the whole step.
inline Adagrad shortened(const Adagrad& optimizer, float part) { return {part * optimizer.learning_rate}; }

struct ShortenedAdadelta : Adadelta {
    float part;

    template <class Number>
    void step(Number& weight, Number* state, const Pull<Number>& pull) const {
        Number whole = weight;
        Adadelta::step(whole, state, pull);
        weight = part < 1.0f ? weight + part * (whole - weight) : whole;
    }
};
inline ShortenedAdadelta shortened(const Adadelta& optimizer, float part) { return {optimizer, part}; }

// The pairwise part of a row's score, without fields. score() stores the sums that derivative() needs. derivative()
// returns the derivative of the score by a vector of v_p's lanes, divided by x_p. If the worker has to stop, the result
// of score() is not used.
template <class Width>
struct PlainTerms {
    const Machine& machine;
    static constexpr bool kMayBeWide = is_any_width<Width>;  // loops over entries must count their work
    Width width;
    Worker& worker;
    std::vector<float> sums;

    PlainTerms(const Machine& machine, Worker& worker)
        : machine(machine), width(width_of<Width>(machine.table)), worker(worker), sums(machine.table.width) {}

    float score(const Entries& entries, int segments) {
        Vec total{};
        const int64_t work = kLanes * static_cast<int64_t>(entries.size());
        if (!kMayBeWide && worker.spend(work)) return 0.0f;
        for (int lane = 0; lane < width; lane += kLanes) {
            if (kMayBeWide && worker.spend(work)) return 0.0f;
            Vec linear{}, squares{};
            for (const Entry& entry : entries) {
                const Vec term = entry.value * load(row(entry.column, segments) + lane);
                linear += term;
                squares += term * term;
            }
            store(sums.data() + lane, linear);
            total += linear * linear - squares;
        }
        return 0.5f * sum(total);
    }

    Vec derivative(const Entry& entry, int lane, const Vec& v) const {
        return load(sums.data() + lane) - entry.value * v;
    }

    template <class Optimizer>
    float reach(const Optimizer&, float) const {
        return 0.0f;
    }

    template <class Optimizer>
    void finish(const Optimizer&, float) {}

    float* row(int32_t column, int segments) const {
        return machine.table.rows + static_cast<int64_t>(column) * (segments * width);
    }
};

// The same with fields, whose weights finish() steps. Fields without entries in the row cost nothing: active fields are
// numbered in the order of their first entry, and their sums are stored in that order.
template <class Width>
struct FieldTerms : PlainTerms<Width> {
    using PlainTerms<Width>::machine;
    using PlainTerms<Width>::width;
    using PlainTerms<Width>::worker;
    std::vector<float> field_sums;  // S_f
    std::vector<float> weighted;    // T_f = sum_g r_fg S_g
    std::vector<float> squares;     // Q_f
    std::vector<float> products;    // <S_f, S_g> for g before f, and (|S_f|^2 - Q_f) / 2
    std::vector<int32_t> active;    // the fields of the row
    std::vector<int32_t> place;     // of each field in `active`, or -1

    FieldTerms(const Machine& machine, Worker& worker)
        : PlainTerms<Width>(machine, worker),
          field_sums(static_cast<size_t>(machine.n_fields) * machine.table.width),
          weighted(static_cast<size_t>(machine.n_fields) * machine.table.width),
          squares(machine.n_fields),
          products(machine.n_fields * (machine.n_fields + 1) / 2),
          place(machine.n_fields, -1) {}

    float score(const Entries& entries, int segments) {
        if (worker.spend(kLanes * static_cast<int64_t>(entries.size()))) return 0.0f;
        for (const int32_t f : active) place[f] = -1;
        active.clear();
        for (const Entry& entry : entries) {
            if (PlainTerms<Width>::kMayBeWide && worker.spend(width)) return 0.0f;
            int32_t& at = place[machine.fields[entry.column]];
            const bool is_first = at < 0;
            if (is_first) {
                at = static_cast<int32_t>(active.size());
                active.push_back(machine.fields[entry.column]);
                squares[at] = 0.0f;
            }
            float* sums = field_sums.data() + static_cast<int64_t>(at) * width;
            const float* v = this->row(entry.column, segments);
            Vec square{};
            for (int lane = 0; lane < width; lane += kLanes) {
                const Vec term = entry.value * load(v + lane);
                store(sums + lane, is_first ? term : load(sums + lane) + term);
                square += term * term;
            }
            squares[at] += sum(square);
        }
        float total = 0.0f;
        float* product = products.data();
        for (int i = 0; i < static_cast<int>(active.size()); ++i) {
            if (worker.spend(2 * static_cast<int64_t>(active.size()) * width)) return 0.0f;
            const float* s = field_sums.data() + static_cast<int64_t>(i) * width;
            float* t = weighted.data() + static_cast<int64_t>(i) * width;
            for (int j = 0; j < i; ++j) {
                const float r = machine.field_weight(active[i], active[j])[0];
                *product = dot(s, field_sums.data() + static_cast<int64_t>(j) * width, width);
                total += r * *product++;
            }
            const float r = machine.field_weight(active[i], active[i])[0];
            *product = 0.5f * (dot(s, s, width) - squares[i]);
            total += r * *product++;
            for (int lane = 0; lane < width; lane += kLanes) {
                Vec own = r * load(s + lane);
                for (int j = 0; j < static_cast<int>(active.size()); ++j)
                    if (j != i)
                        own += machine.field_weight(active[i], active[j])[0] *
                               load(field_sums.data() + static_cast<int64_t>(j) * width + lane);
                store(t + lane, own);
            }
        }
        return total;
    }

    Vec derivative(const Entry& entry, int lane, const Vec& v) const {
        const int32_t f = machine.fields[entry.column];
        return load(weighted.data() + static_cast<int64_t>(place[f]) * width + lane) -
               (machine.field_weight(f, f)[0] * entry.value) * v;
    }

    template <class Optimizer>
    float reach(const Optimizer& optimizer, float slope) const {
        float total = 0.0f;
        const float* product = products.data();
        for (size_t i = 0; i < active.size(); ++i)
            for (size_t j = 0; j <= i; ++j, ++product)
                total += *product * *product *
                         rate(optimizer, machine.field_weight(active[i], active[j]) + 1, slope * *product);
        return total;
    }

    template <class Optimizer>
    void finish(const Optimizer& optimizer, float slope) {
        const float* product = products.data();
        for (size_t i = 0; i < active.size(); ++i)
            for (size_t j = 0; j <= i; ++j)
                step_bias(optimizer, Penalty(), machine.field_weight(active[i], active[j]), slope * *product++);
    }
};

inline float linear_part(const Machine& machine, const Entries& entries) {
    float score = machine.shared[0];
    for (const Entry& entry : entries) score += entry.value * machine.table.bias(entry.column)[0];
    return score;
}

// A random permutation of 0 .. size-1 that is computed, not stored: rounds of multiplying, adding and xor-shifting,
// each a permutation of 0 .. 2^bits-1. They are repeated while the result is outside the range.
struct Permutation {
    static constexpr int kRounds = 4;
    uint64_t size;
    uint64_t mask = 1;
    int shift = 1;
    uint64_t factors[kRounds], offsets[kRounds];

    Permutation(int64_t size, uint64_t seed, uint64_t epoch) : size(static_cast<uint64_t>(size)) {
        int bits = 1;
        while (mask + 1 < this->size) {
            mask = 2 * mask + 1;
            ++bits;
        }
        shift = (bits + 1) / 2;
        const Stream stream(seed, epoch, ~0ull);
        for (int round = 0; round < kRounds; ++round) {
            factors[round] = stream.bits(2 * round) | 1;
            offsets[round] = stream.bits(2 * round + 1);
        }
    }

    int64_t operator()(int64_t ordinal) const {
        uint64_t x = static_cast<uint64_t>(ordinal);
        do
            for (int round = 0; round < kRounds; ++round) {
                x = (x * factors[round] + offsets[round]) & mask;
                x ^= x >> shift;
            }
        while (x >= size);
        return static_cast<int64_t>(x);
    }
};

// One epoch over the rows of a design, in the order of a permutation. A task is kRowsPerTask consecutive rows.
struct MachineEpoch {
    static constexpr int64_t kRowsPerTask = 1024;
    Design design;
    const float* targets;  // -1 and +1 for the logistic loss
    const float* weights;  // null: every row weighs 1
    Machine machine;
    const Schedule& schedule;
    Permutation permutation;
    mutable std::atomic<bool> stopped{false};  // a task has diverged; later tasks do nothing

    MachineEpoch(const Design& design, const float* targets, const float* weights, const Machine& machine,
                 const Schedule& schedule, uint64_t seed, uint64_t number)
        : design(design),
          targets(targets),
          weights(weights),
          machine(machine),
          schedule(schedule),
          permutation(design.n_rows, seed, number) {}

    int64_t n_tasks() const { return (design.n_rows + kRowsPerTask - 1) / kRowsPerTask; }
};

// The change of a row's score by a step of all its parameters, divided by the slope, to first order.
template <class Optimizer, class Terms>
float reach(const Machine& machine, const Optimizer& optimizer, const Entries& entries, const Terms& terms,
            float slope) {
    constexpr int kSegments = Optimizer::kSegments;
    float total = rate(optimizer, machine.shared + 1, slope) + terms.reach(optimizer, slope);
    Vec of_pairs{};
    for (const Entry& entry : entries) {
        const float* row = terms.row(entry.column, kSegments);
        for (int lane = 0; lane < terms.width; lane += kLanes) {
            const Vec gradient = entry.value * terms.derivative(entry, lane, load(row + lane));
            Vec state[kSegments - 1];
            for (int s = 1; s < kSegments; ++s) state[s - 1] = load(row + s * terms.width + lane);
            of_pairs += gradient * gradient * rate(optimizer, state, slope * gradient);
        }
        const float* bias = machine.table.bias(entry.column);
        total += entry.value * entry.value * rate(optimizer, bias + 1, slope * entry.value);
    }
    return total + sum(of_pairs);
}

// The factor of a step, at most 1. With many entries, large values or a large weight, whole steps would overshoot the
// minimum further each time. So a step ends at the minimum of a parabola with the squared loss's curvature, as in
// normalised LMS (Nagumo and Noda 1967). The logistic loss has less curvature nearly everywhere, and a higher limit.
template <class Loss>
float part_to_go(float stretch) {
    return stretch > Loss::kLongestStep ? Loss::kLongestStep / stretch : 1.0f;
}

// Trains on one row: its score, its loss, and one step of every parameter of its entries. Returns false if the score is
// out of range or the worker has to stop.
template <class Loss, class Optimizer, class Terms>
bool step_row(const Machine& machine, const Optimizer& whole, const Entries& entries, Terms& terms, float target,
              float weight, double& loss) {
    constexpr int kSegments = Optimizer::kSegments;
    const float score = linear_part(machine, entries) + terms.score(entries, kSegments);
    if (terms.worker.has_to_stop() || !in_range(score)) return false;
    const float at = Loss::kTakesMargin ? target * score : score - target;
    const Charge charge = Loss::at(at);
    loss += weight * charge.value;
    const float slope = weight * (Loss::kTakesMargin ? target : 1.0f) * charge.slope;
    const auto optimizer = shortened(whole, part_to_go<Loss>(weight * reach(machine, whole, entries, terms, slope)));
    const int64_t work = kSegmentsOfStep * terms.width;
    if (!Terms::kMayBeWide && terms.worker.spend(work * static_cast<int64_t>(entries.size()))) return false;
    for (const Entry& entry : entries) {
        if (Terms::kMayBeWide && terms.worker.spend(work)) return false;
        const float gradient = slope * entry.value;
        float* row = terms.row(entry.column, kSegments);
        for (int lane = 0; lane < terms.width; lane += kLanes)
            step_lanes(optimizer, machine.penalty_v, row + lane, terms.width,
                       gradient * terms.derivative(entry, lane, load(row + lane)));
        step_bias(optimizer, machine.penalty_w, machine.table.bias(entry.column), gradient);
    }
    terms.finish(optimizer, slope);
    step_bias(optimizer, Penalty(), machine.shared, slope);
    return true;
}

template <class Loss, class Optimizer, class Terms>
Outcome run_machine(const MachineEpoch& epoch, int64_t task, Worker& worker) {
    constexpr int kGatherAhead = 2, kTouchAhead = 6, kRing = 8;
    Outcome outcome;
    if (epoch.stopped.load(std::memory_order_relaxed)) return outcome;
    const Optimizer optimizer = Optimizer::make(epoch.schedule);
    const Machine& machine = epoch.machine;
    Terms terms(machine, worker);
    Entries entries[kRing];
    int64_t rows[kRing];
    const int64_t first = task * MachineEpoch::kRowsPerTask;
    const int64_t n = std::min(MachineEpoch::kRowsPerTask, epoch.design.n_rows - first);
    for (int64_t t = -kTouchAhead; t < n; ++t) {
        if (const int64_t touched = t + kTouchAhead; touched < n) {
            const int64_t row = rows[touched % kRing] = epoch.permutation(first + touched);
            epoch.design.touch(row);
            prefetch(epoch.targets + row, 1);
        }
        if (const int64_t gathered = t + kGatherAhead; 0 <= gathered && gathered < n) {
            Entries& ahead = entries[gathered % kRing];
            epoch.design.gather(rows[gathered % kRing], ahead);
            for (const Entry& entry : ahead) {
                prefetch(terms.row(entry.column, Optimizer::kSegments), Optimizer::kSegments * terms.width);
                prefetch(machine.table.bias(entry.column), 1);
            }
        }
        if (t < 0) continue;
        const int64_t row = rows[t % kRing];
        const float weight = epoch.weights ? epoch.weights[row] : 1.0f;
        ++outcome.samples;
        if (weight == 0.0f) continue;  // a row of weight 0 has no L2 penalty either
        if (!step_row<Loss>(machine, optimizer, entries[t % kRing], terms, epoch.targets[row], weight, outcome.loss)) {
            outcome.diverged = !worker.has_to_stop();
            if (outcome.diverged) epoch.stopped.store(true, std::memory_order_relaxed);
            break;
        }
    }
    return outcome;
}

template <class Terms>
void score_rows(const Design& design, const Machine& machine, int64_t first, int64_t last, float* scores,
                Worker& worker) {
    Terms terms(machine, worker);
    Entries entries;
    for (int64_t row = first; row < last && !worker.has_to_stop(); ++row) {
        design.gather(row, entries);
        scores[row] = linear_part(machine, entries) + terms.score(entries, machine.table.segments);
    }
}

// For a team: the scores of all rows.
struct ScoreTasks {
    const Design* design;
    const Machine* machine;
    float* scores;

    int64_t n_tasks() const { return (design->n_rows + MachineEpoch::kRowsPerTask - 1) / MachineEpoch::kRowsPerTask; }
    void operator()(int64_t task, Worker& worker) const {
        const int64_t first = task * MachineEpoch::kRowsPerTask;
        const int64_t last = std::min(first + MachineEpoch::kRowsPerTask, design->n_rows);
        machine->n_fields ? score_rows<FieldTerms<int32_t>>(*design, *machine, first, last, scores, worker)
                          : score_rows<PlainTerms<int32_t>>(*design, *machine, first, last, scores, worker);
    }
};

using MachineRun = Outcome (*)(const MachineEpoch&, int64_t task, Worker& worker);

template <class Loss, class Optimizer, class Width>
MachineRun choose_terms(const Machine& machine) {
    return machine.n_fields ? run_machine<Loss, Optimizer, FieldTerms<Width>>
                            : run_machine<Loss, Optimizer, PlainTerms<Width>>;
}

// Loops are unrolled for up to 16 components, which most machines have.
template <class Loss, class Optimizer>
MachineRun choose_machine_width(const Machine& machine) {
    return machine.table.width == 16 ? choose_terms<Loss, Optimizer, std::integral_constant<int32_t, 16>>(machine)
                                     : choose_terms<Loss, Optimizer, int32_t>(machine);
}

template <class Loss>
MachineRun choose_machine_schedule(const Schedule& schedule, const Machine& machine) {
    return schedule.is_adadelta ? choose_machine_width<Loss, Adadelta>(machine)
                                : choose_machine_width<Loss, Adagrad>(machine);
}

struct MachineLoss {
    const char* name;
    MachineRun (*choose)(const Schedule&, const Machine&);
};

// A new loss is a struct in losses.hpp and a line here.
inline constexpr MachineLoss kMachineLosses[] = {
    {"logistic", choose_machine_schedule<Logistic>},
    {"squared", choose_machine_schedule<Squared>},
};

constexpr int kNumMachineLosses = sizeof(kMachineLosses) / sizeof(kMachineLosses[0]);

}  // namespace lightfm_fast
