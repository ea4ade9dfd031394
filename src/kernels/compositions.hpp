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

// The one table from what the user asked for to compiled code. A new loss is one line here.
inline Run choose(int loss, bool hardest, bool adadelta, const Settings& settings, const Side& users,
                  const Side& items) {
    switch (loss) {
        case kLogistic:
            return choose_schedule<PointwiseLoss<Logistic>>(adadelta, settings, users, items);
        case kBpr:
            return hardest ? choose_schedule<PairwiseLoss<HardestOfUniform, Logistic>>(adadelta, settings, users, items)
                           : choose_schedule<PairwiseLoss<OneByPopularity, Logistic>>(adadelta, settings, users, items);
        case kWarp:
            return choose_schedule<PairwiseLoss<UntilViolation, Hinge>>(adadelta, settings, users, items);
        case kWarpKos:
            return choose_schedule<PairwiseLoss<KthPositive, Hinge>>(adadelta, settings, users, items);
        case kSoftmax:
            return choose_schedule<SampledSoftmax>(adadelta, settings, users, items);
    }
    return nullptr;
}

}  // namespace lightfm_fast
