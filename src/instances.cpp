// The compiled instances of the losses that dispatch.hpp lists, for every optimiser, kind of features and width. They
// take most of the time to build the library, so the build compiles this file once for each share of the losses.
#include <atomic>
#include <cstdint>
#include <memory>
#include <tuple>
#include <type_traits>

#include "kernels/dispatch.hpp"
#include "kernels/epoch.hpp"
#include "kernels/features.hpp"
#include "kernels/optimizers.hpp"
#include "kernels/outcome.hpp"
#include "kernels/rng.hpp"
#include "kernels/settings.hpp"
#include "kernels/team.hpp"

namespace lightfm_fast {

template <class Composition, class Optimizer, class Width, template <class, class> class UserSide,
          template <class, class> class ItemSide>
Outcome run(const Epoch& epoch, int64_t task, Worker& worker) {
    if (epoch.stopped.load(std::memory_order_relaxed)) return {};
    epoch.refresh_sketches(task, worker);
    const Optimizer optimizer = Optimizer::make(epoch.settings.schedule);
    // Two gradients, and for each slot an embedding; a OneHot side represents a row by the row itself.
    const auto make_slots = [&](const Side& side) {
        const size_t n_rows = side.is_one_hot() ? 0 : 2 + Composition::slots(epoch.settings);
        return std::unique_ptr<float[]>(new float[n_rows * side.table.width]);
    };
    const auto user_slots = make_slots(epoch.users), item_slots = make_slots(epoch.items);
    const Stream stream(epoch.seed, epoch.number, static_cast<uint64_t>(task));
    const bool all_pairs = epoch.settings.all_pairs;
    const double dropout = epoch.settings.identity_dropout;
    UserSide<Optimizer, Width> users(epoch.user_copies.table(worker.number), epoch.users.features, optimizer,
                                     epoch.users.alpha, all_pairs, user_slots.get(), {stream, kUserDropout, dropout},
                                     worker);
    ItemSide<Optimizer, Width> items(epoch.item_copies.table(worker.number), epoch.items.features, optimizer,
                                     epoch.items.alpha, all_pairs, item_slots.get(), {stream, kItemDropout, dropout},
                                     worker);
    const Outcome outcome = Composition::visit(epoch, task, users, items, stream, worker);
    if (outcome.diverged) epoch.stopped.store(true, std::memory_order_relaxed);
    return outcome;
}

// Models of ids have an instance for each usual width, and models with features one for the width 64 without pairs
// within rows. All others have one for any width, which keeps the library small.
template <class Composition, class Optimizer>
Run choose_of_ids(int32_t width) {
    const auto choose = [](auto width) -> Run { return run<Composition, Optimizer, decltype(width), OneHot, OneHot>; };
    if constexpr (Optimizer::kIsCommon) return with_usual_width(width, choose);
    return choose(width);
}

template <class Composition, class Optimizer, class Width>
Run choose_sides(Width, const Side& users, const Side& items) {
    if (users.is_one_hot()) return run<Composition, Optimizer, Width, OneHot, Sparse>;
    if (items.is_one_hot()) return run<Composition, Optimizer, Width, Sparse, OneHot>;
    return run<Composition, Optimizer, Width, Sparse, Sparse>;
}

template <class Composition, class Optimizer>
Run choose_width(bool all_pairs, const Side& users, const Side& items) {
    const int32_t width = users.table.width;
    if (users.is_one_hot() && items.is_one_hot()) return choose_of_ids<Composition, Optimizer>(width);
    if constexpr (Optimizer::kIsCommon && !kIsFallback)
        if (width == 64 && !all_pairs)
            return choose_sides<Composition, Optimizer>(std::integral_constant<int32_t, 64>{}, users, items);
    return choose_sides<Composition, Optimizer>(width, users, items);
}

template <class Composition>
Run choose_schedule(const Settings& settings, const Side& users, const Side& items) {
    return settings.schedule.is_adadelta ? choose_width<Composition, Adadelta>(settings.all_pairs, users, items)
                                         : choose_width<Composition, Adagrad>(settings.all_pairs, users, items);
}

template <int kShare, int kLoss = kShare>
Run choose_from(int loss, const Settings& settings, const Side& users, const Side& items) {
    if constexpr (kLoss < kNumLosses) {
        using Composition = typename std::tuple_element_t<kLoss, decltype(kListed)>::Composition;
        if (loss == kLoss) return choose_schedule<Composition>(settings, users, items);
        return choose_from<kShare, kLoss + kShares>(loss, settings, users, items);
    }
    return nullptr;
}

template <int kShare>
Run choose_in_share(int loss, const Settings& settings, const Side& users, const Side& items) {
    return choose_from<kShare>(loss, settings, users, items);
}

#if defined(LIGHTFM_FAST_SHARE)
template Run choose_in_share<LIGHTFM_FAST_SHARE>(int, const Settings&, const Side&, const Side&);
#else
template Run choose_in_share<0>(int, const Settings&, const Side&, const Side&);
template Run choose_in_share<1>(int, const Settings&, const Side&, const Side&);
template Run choose_in_share<2>(int, const Settings&, const Side&, const Side&);
#endif

}  // namespace lightfm_fast
