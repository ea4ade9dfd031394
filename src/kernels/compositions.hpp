// Which compiled composition is which loss.
#pragma once

#include "hardest.hpp"
#include "losses.hpp"
#include "sampling.hpp"
#include "softmax.hpp"
#include "steps.hpp"

namespace lightfm_fast {

// The losses, as Cython counts them.
enum LossName : int { kLogistic, kBpr, kWarp, kWarpKos, kSoftmax };

struct Composed {
    Run run;
    Plan plan;
};

template <class Composition>
Composed compose(bool adadelta, const Settings& settings, const Side& users, const Side& items) {
    return {choose_schedule<Composition>(adadelta, settings, users, items), Composition::kPlan};
}

// The one table from what the user asked for to compiled code. A new loss is one line here.
inline Composed choose(int loss, bool hardest, bool adadelta, const Settings& settings, const Side& users,
                       const Side& items) {
    switch (loss) {
        case kBpr:
            return hardest ? compose<PairwiseLoss<HardestOfUniform, Logistic>>(adadelta, settings, users, items)
                           : compose<PairwiseLoss<OneByPopularity, Logistic>>(adadelta, settings, users, items);
        case kWarp:
            return compose<PairwiseLoss<UntilViolation, Hinge>>(adadelta, settings, users, items);
        case kWarpKos:
            return compose<PairwiseLoss<KthPositive, Hinge>>(adadelta, settings, users, items);
        case kSoftmax:
            return compose<SampledSoftmax>(adadelta, settings, users, items);
        default:
            return compose<PointwiseLoss<Logistic>>(adadelta, settings, users, items);
    }
}

}  // namespace lightfm_fast
