"""Training in NumPy's float64, to compare the compiled core with.

The samples of a group are scored, and their pairs found, before the group's first step. A step moves the current rows
of parameters of a side with identity features. On a side with other features, gradients are along the group's
representations.

Only the order of the samples and the raw draws come from the core; other tests check both.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import scipy.sparse as sp
from scipy.special import expit

from lightfm_fast._core.baseline import hooks

EMBEDDING = ("embeddings", "embedding_gradients", "embedding_momentum")
BIAS = ("biases", "bias_gradients", "bias_momentum")
MAX_REJECTED = 64
FIRST_COUNTER = {"user": 1 << 63, "item": (1 << 63) + (1 << 62)}  # of identity dropout's draws
SKETCH_STREAM = (1 << 64) - 2  # stream of identity dropout's draws while items are sketched
ROW_LENGTH = 32  # positives that share a step of their user (softmax)
SMALLEST_SHARE = 0.01  # least sum of a row's probabilities for a negative to be stepped (softmax)


# ------------------------------------------------------------------ losses: value and slope at a margin


def logistic(margin):
    return np.logaddexp(0.0, -margin), -expit(-margin)


def hinge(margin):
    return max(0.0, 1.0 - margin), -float(margin < 1.0)


# ------------------------------------------------------------------ optimisers: weight, state and gradient to the next


def adagrad(weight, seen, moved, gradient, model):
    return weight - model.learning_rate * gradient / np.sqrt(seen), seen + gradient**2, moved


def adadelta(weight, seen, moved, gradient, model):
    seen = model.rho * seen + (1 - model.rho) * gradient**2
    update = gradient * np.sqrt(moved + model.epsilon) / np.sqrt(seen + model.epsilon)
    return weight - update, seen, model.rho * moved + (1 - model.rho) * update**2


# ------------------------------------------------------------------ order


def visits(size, seed, epoch, n_users=None):
    """Yield each task of an epoch with the positions that it visits, in order; with ``n_users``, user by user."""
    n_blocks = len(hooks.positions(size, seed, epoch, 0))
    n_groups = -(-size // n_blocks)
    by_block = np.array([hooks.positions(size, seed, epoch, group) for group in range(n_groups)]).T
    stretches = range(0, n_groups, hooks.strata_per_task)
    spread = 1
    while n_users and spread < 16 and 2 * spread * n_blocks * n_users <= size:
        spread *= 2
    length = spread * hooks.group_size
    for block, positions in enumerate(by_block):
        for stretch, first in enumerate(stretches):
            visited = positions[first : first + hooks.strata_per_task]
            n_apart = len(visited) // length * length
            apart = visited[:n_apart].reshape(-1, hooks.group_size, spread).swapaxes(1, 2).ravel()
            visited = np.concatenate([apart, visited[n_apart:]])
            yield block * len(stretches) + stretch, visited[visited < size]


# ------------------------------------------------------------------ samplers: (positive, negative or None, weight)


def one_by_popularity(trainer, draws, ordinal, user, positive):
    for rejected in range(MAX_REJECTED):
        negative = draws.popular((ordinal << 32) + rejected)
        if negative not in trainer.known[user]:
            return positive, negative, 1.0
    return positive, None, 0.0


def until_violation(trainer, draws, ordinal, user, positive):
    n_items = len(trainer.drawable)
    first = ordinal - ordinal % hooks.group_size
    for n_draws in range(1, trainer.model.max_sampled + 1):
        round_, turn = divmod(n_draws - 1, hooks.group_size)
        own = turn % hooks.draws
        drawer = first + (ordinal - first + turn - own) % hooks.group_size  # the sample that has drawn this candidate
        negative = trainer.drawable[draws.below(n_items, (drawer << 32) + round_ * hooks.draws + own)]
        margin = trainer.sketched_score(user, positive) - trainer.sketched_score(user, negative)
        trainer.decided_by_sketches(margin - 1)
        if margin < 1 and negative not in trainer.known[user]:
            return positive, negative, min(10.0, np.log(max(1, (n_items - 1) // n_draws)))
    return positive, None, 0.0


def kth_positive(trainer, draws, ordinal, user, _):
    liked = trainer.liked[user]
    n = min(trainer.model.n, len(liked))
    drawn = [liked[draws.below(len(liked), (ordinal << 32) + (1 << 31) + i)] for i in range(n)]
    drawn.sort(key=lambda item: trainer.sketched_score(user, item), reverse=True)
    chosen = drawn[min(trainer.model.k, n) - 1]
    for item in set(drawn) - {chosen}:
        trainer.decided_by_sketches(trainer.sketched_score(user, item) - trainer.sketched_score(user, chosen))
    return until_violation(trainer, draws, ordinal, user, chosen)


def hardest_of_uniform(trainer, draws, ordinal, user, positive):
    n_items = len(trainer.drawable)
    first, apart = ordinal - ordinal % hooks.group_size, hooks.group_size // hooks.sharing
    drawn = []
    for j in range(trainer.model.n_negatives):
        own, turn = divmod(j, hooks.sharing)
        drawer = first + (ordinal - first + turn * apart) % hooks.group_size
        drawn.append(trainer.drawable[draws.below(n_items, (drawer << 32) + own)])
    unknown = {item for item in drawn if item not in trainer.known[user] and item not in trainer.taken}
    if not unknown:
        return positive, None, 0.0
    hardest = max(unknown, key=lambda item: trainer.sketched_score(user, item))
    for item in unknown - {hardest}:
        trainer.decided_by_sketches(trainer.sketched_score(user, hardest) - trainer.sketched_score(user, item))
    return positive, hardest, 1.0


PAIRWISE = {
    "bpr": (one_by_popularity, logistic),
    "hardest": (hardest_of_uniform, logistic),
    "warp": (until_violation, hinge),
    "warp-kos": (kth_positive, hinge),
}


# ------------------------------------------------------------------ features


class Side:
    """Users or items: CSR features, L2 penalty, the six state arrays by name, and identity dropout."""

    def __init__(self, model, side, features):
        self.is_identity = features is None
        n_rows = len(getattr(model, f"{side}_biases"))
        features = sp.csr_matrix(sp.identity(n_rows) if features is None else features, dtype=np.float64)
        self.alpha = getattr(model, f"{side}_alpha")
        self.state = {name: np.array(getattr(model, f"{side}_{name}"), np.float64) for name in EMBEDDING + BIAS}
        self.step_cells = {"adagrad": adagrad, "adadelta": adadelta}[model.learning_schedule]
        self.model = model
        self.has_pairs = model.interactions == "all" and not self.is_identity
        is_own = (features != 0).sum(axis=0).A1 == 1
        columns, values = features.indices, features.data
        self.rows = [  # columns, weights, and which are identity columns
            (columns[stored], values[stored], is_own[columns[stored]] & (values[stored] != 0))
            for stored in map(slice, features.indptr, features.indptr[1:])
        ]
        self.first_counter = FIRST_COUNTER[side]
        self.enter(None, 0)

    def enter(self, draws, ordinal):
        """Begin a group of samples; ``ordinal`` is that of its first sample."""
        self.draws, self.counter = draws, self.first_counter + (ordinal << 32)

    def row(self, index):
        columns, values, own = self.rows[index]
        if not self.model.identity_dropout or self.is_identity:
            return columns, values
        if not values[~own].any():
            return columns, values
        kept = self.draws.bits(self.counter + int(index)) / 2**64 >= self.model.identity_dropout
        return (columns, values) if kept else (columns[~own], values[~own])

    def represent(self, index):
        columns, values = self.row(index)
        terms = values[:, None] * self.state["embeddings"][columns]
        pairs = sum(a @ b for a, b in combinations(terms, 2)) if self.has_pairs else 0.0
        return terms.sum(axis=0), values @ self.state["biases"][columns] + pairs

    def direction(self, index, represented):
        """Return the embedding that is the direction of the other side's step."""
        return self.represent(index)[0] if self.is_identity else represented[0]

    def step(self, index, represented, gradient, slope):
        """Step the embeddings down `gradient`, and the biases and the pairs within down `slope` unless it is None."""
        columns, values = self.row(index)
        if not self.is_identity:
            gradient = gradient + self.alpha * represented[0]
            slope = None if slope is None else slope + self.alpha * represented[1]
        pull = np.outer(values, gradient)
        if self.has_pairs and slope is not None:
            terms = values[:, None] * self.state["embeddings"][columns]
            pull += slope * values[:, None] * (represented[0] - terms)
        self._step(EMBEDDING, columns, pull)
        if slope is not None:
            self._step(BIAS, columns, values * slope)

    def _step(self, names, columns, gradient):
        cells = [self.state[name][columns] for name in names]
        penalty = self.alpha * cells[0] if self.is_identity else 0.0  # else it is in the gradient
        stepped = self.step_cells(*cells, gradient + penalty, self.model)
        for name, values in zip(names, stepped, strict=True):
            self.state[name][columns] = values


# ------------------------------------------------------------------ sketches


def keep_upper_half(value):
    """Round a number to the upper 16 bits of a float."""
    bits = int(np.float32(value).view(np.uint32))
    return np.array((bits + 0x8000) & 0xFFFF0000, np.uint32).view(np.float32).astype(np.float64)


def round_to_units(vector, unit, most):
    """Round to whole units, at most ``most``, halves up; return the values of the sketch."""
    return unit * np.floor(vector / unit + 0.5).clip(-most, most) if unit else np.zeros_like(vector)


def sketch_item(embedding, bias):
    return round_to_units(embedding, keep_upper_half(abs(embedding).max() / 63), 63), keep_upper_half(bias)


def sketch_user(embedding):
    return round_to_units(embedding, abs(embedding).max() / 127, 127)


# ------------------------------------------------------------------ training


class CloseChoice(Exception):
    """A choice was made by so small a margin that rounding may decide otherwise."""


class Trainer:
    """Trains copies of a model's state with the model's hyperparameters.

    Raises CloseChoice if a choice is made by a margin of at most ``least``.
    """

    def __init__(self, model, interactions, user_features=None, item_features=None, sample_weight=None, least=-np.inf):
        n_users, n_items = interactions.shape
        self.model = model
        self.users = Side(model, "user", user_features)
        self.items = Side(model, "item", item_features)
        exponent = model.popularity_exponent if model.negatives == "popularity" else 0.0
        has_positives = np.bincount(interactions.col[interactions.data > 0], minlength=n_items) > 0
        self.drawable = np.flatnonzero(has_positives)  # an item that nobody met is no evidence
        counts = np.bincount(interactions.col, minlength=n_items)
        self.popularity = counts**exponent if exponent else has_positives.astype(float)

        labels = np.where(interactions.data > 0, 1.0, -1.0)
        weights = np.ones(interactions.nnz) if sample_weight is None else sample_weight.data.astype(np.float64)
        order = np.lexsort((interactions.col, interactions.row))
        if model.loss != "logistic":
            order = order[labels[order] > 0]
        self.samples = [(interactions.row[i], interactions.col[i], weights[i], labels[i]) for i in order]
        self.known = [set() for _ in range(n_users)]  # includes dislikes: an item with an entry is no negative
        for user, item in zip(interactions.row, interactions.col, strict=True):
            self.known[user].add(item)
        self.least = least
        self.liked = [[] for _ in range(n_users)]
        for user, item, *_ in self.samples:
            self.liked[user].append(item)

    def sketched_score(self, user, item):
        """Return the score of a user's current sketch with an item's latest sketch."""
        embedding, bias = self.sketches[item]
        if user not in self.sketched_users:
            self.sketched_users[user] = sketch_user(self.users.represent(user)[0])
        return self.sketched_users[user] @ embedding + bias

    def decided(self, difference):
        """Judge the margin of a choice by the sign of a difference of scores."""
        if abs(difference) <= self.least:
            raise CloseChoice

    def decided_by_sketches(self, difference):
        """The same for sketched scores, which differ by a hundredth if one number is rounded the other way."""
        self.decided(difference / 5)

    def run_epoch(self, seed, epoch):
        """Train one epoch; returns the mean loss."""
        if self.model.loss == "softmax":
            return self.run_epoch_by_user(seed, epoch)
        total = 0.0
        n_items = len(self.popularity)
        hardest = self.pairwise == "hardest"
        sketched = hooks.parts_sketched(len(self.samples), len(self.liked), n_items, hardest, epoch)
        drop = hooks.Draws(self.popularity, seed, epoch, SKETCH_STREAM)
        self.sketches = {}
        searches = hardest or self.model.loss in ("warp", "warp-kos")
        if searches:
            self.sketch(drop, 0, range(hooks.parts_of_sketches))
        takes_apart = self.users.is_identity and self.model.loss == "logistic"
        if hardest:
            takes_apart = not (self.users.is_identity and self.items.is_identity)
        elif searches:
            takes_apart = self.users.is_identity and not self.items.is_identity
        for task, positions in visits(len(self.samples), seed, epoch, len(self.liked) if takes_apart else None):
            if searches:
                self.sketch(drop, task, range(*sketched[task : task + 2]))
            draws = hooks.Draws(self.popularity, seed, epoch, task)
            samples = list(enumerate(self.samples[position] for position in positions))
            groups = [samples[first : first + hooks.group_size] for first in range(0, len(samples), hooks.group_size)]
            settled = self.settle(draws, groups[0]) if groups else None
            for group, following in zip(groups, [*groups[1:], None], strict=True):
                pairs, settled = settled, following and self.settle(draws, following)
                self.enter(draws, group)
                steps, last = [], None
                for (_, sample), pair in zip(group, pairs, strict=True):
                    positive = sample[0], pair and pair[0]
                    steps.append(self.prepare(*sample, pair, positive == last))
                    last = positive
                total += sum(step() for step in steps if step is not None)
        return total / len(self.samples)

    def sketch(self, draws, task, parts):
        """Sketch the next ``n`` parts of the items."""
        self.items.enter(draws, task)
        n_items, n_parts = len(self.popularity), hooks.parts_of_sketches
        for part in parts:
            for item in range(part % n_parts * n_items // n_parts, (part % n_parts + 1) * n_items // n_parts):
                self.sketches[item] = sketch_item(*self.items.represent(item))

    def enter(self, draws, group):
        for side in (self.users, self.items):
            side.enter(draws, group[0][0])

    def settle(self, draws, group):
        """Find the pairs of a group, one turn before its own."""
        if self.model.loss == "logistic":
            return [None] * len(group)
        self.enter(draws, group)
        self.sketched_users = {}  # no step comes between the pairs of a group
        draw = PAIRWISE[self.pairwise][0]
        pairs, last = [], None
        for ordinal, (user, item, *_) in group:
            if user != last:
                self.taken, last = set(), user  # negatives of this user's samples in the group
            pairs.append(draw(self, draws, ordinal, user, item))
            self.taken.add(pairs[-1][1])
        return pairs

    @property
    def pairwise(self):
        return "hardest" if self.model.negatives == "hardest" else self.model.loss

    def prepare(self, user, item, weight, label, pair, is_repeated):
        """Score a sample; return a function that takes the step and returns the loss."""
        if self.model.loss == "logistic":
            return self.prepare_pointwise(user, item, weight, label)
        if pair[1] is None:
            return None
        are_in_place = self.users.is_identity and self.items.is_identity
        return self.prepare_pairwise(PAIRWISE[self.pairwise][1], user, *pair, weight, is_repeated and are_in_place)

    def prepare_pointwise(self, user, item, weight, label):
        represented = self.users.represent(user), self.items.represent(item)
        (q, user_bias), (p, item_bias) = represented
        value, slope = logistic(label * (q @ p + user_bias + item_bias))
        slope *= weight * label

        def step():
            q, p = self.users.direction(user, represented[0]), self.items.direction(item, represented[1])
            self.users.step(user, represented[0], slope * p, slope)
            self.items.step(item, represented[1], slope * q, slope)
            return weight * value

        return step

    def prepare_pairwise(self, loss, user, positive, negative, factor, weight, is_repeated):
        def represent():
            return self.users.represent(user), self.items.represent(positive), self.items.represent(negative)

        def margin_of(represented):
            (q, _), (p, positive_bias), (n, negative_bias) = represented
            return q @ p + positive_bias - q @ n - negative_bias

        represented = represent()
        margin = margin_of(represented)
        if loss is hinge:
            self.decided(margin - 1)
            if margin >= 1:
                return None
        value, slope = loss(margin)
        weight *= factor
        slope *= weight

        def step():
            slope_now = slope
            if is_repeated:  # the pair before has moved these rows
                margin = margin_of(represent())
                if loss is hinge:
                    self.decided(margin - 1)
                slope_now = weight * loss(margin)[1]
                if slope_now == 0:
                    return weight * value
            q = self.users.direction(user, represented[0])
            p, n = (self.items.direction(i, r) for i, r in zip((positive, negative), represented[1:], strict=True))
            self.users.step(user, represented[0], slope_now * (p - n), None)
            self.items.step(positive, represented[1], slope_now * q, slope_now)
            self.items.step(negative, represented[2], -slope_now * q, -slope_now)
            return weight * value

        return step

    # ---------------------------------------------------------------- sampled softmax

    def run_epoch_by_user(self, seed, epoch):
        total = 0.0
        for task, users in visits(len(self.liked), seed, epoch):
            draws, n_visited = hooks.Draws(self.popularity, seed, epoch, task), 0
            for user in users:
                samples = [sample for sample in self.samples if sample[0] == user]
                n_rows = -(-len(samples) // ROW_LENGTH)
                for row in range(n_rows):
                    for side in (self.users, self.items):
                        side.enter(draws, n_visited)
                    pool = [item for item in self.draw_pool(draws, n_visited) if item not in self.known[user]]
                    total += self.step_row(user, samples[row::n_rows], pool)
                    n_visited += 1
        return total / len(self.samples)

    def draw_pool(self, draws, ordinal):
        n_items = len(self.drawable)
        return [self.drawable[draws.below(n_items, (ordinal << 32) + j)] for j in range(self.model.n_negatives)]

    def step_row(self, user, samples, pool):
        """Step a user, the pool and the positives; returns the positives' losses."""
        items = pool + [item for _, item, *_ in samples]
        represented_user, represented = self.users.represent(user), [self.items.represent(item) for item in items]
        user_length, unit = to_direction(represented_user[0])
        lengths, units = zip(*(to_direction(embedding) for embedding, _ in represented), strict=True)
        cosines = np.array(units) @ unit
        weights = np.array([weight for *_, weight, _ in samples])
        total, slopes = softmax_row(cosines, weights, self.model.temperature, self.decided)
        # Gradient of a cosine by the user: (item's direction - cosine * user's direction) / user's length
        along = (np.array(units) - np.outer(cosines, unit)) / user_length
        self.users.step(user, represented_user, slopes @ along, None)
        for item, start, length, cosine, slope in zip(items, represented, lengths, cosines, slopes, strict=True):
            if slope:
                along = unit - cosine * self.items.direction(item, start) / length
                self.items.step(item, start, slope * along / length, None)
        return total


def to_direction(embedding):
    """Return length and unit vector; the length of a zero vector counts as 1."""
    length = np.linalg.norm(embedding) or 1.0
    return length, embedding / length


def softmax_row(cosines, weights, temperature, decided):
    """Return the loss of a row whose last items are positives, and its slopes at the cosines; 0 for unstepped items."""
    exponentials = np.exp(cosines / temperature)
    n_pool = len(cosines) - len(weights)
    of_pool, of_positives = exponentials[:n_pool], exponentials[n_pool:]
    totals = of_positives + of_pool.sum()
    pushes = of_pool * (weights / totals).sum()
    for push in pushes:
        decided(push / SMALLEST_SHARE - 1)
    pushes[pushes < SMALLEST_SHARE] = 0
    slopes = np.concatenate([pushes, weights * (of_positives / totals - 1)]) / temperature
    return -weights @ np.log(of_positives / totals), slopes
