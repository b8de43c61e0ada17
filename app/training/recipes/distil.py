"""Eigenvectors first, then the neighbourhoods of full vectors: a reducer of one pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from app.config import MAX_OBSERVED, DistilConfig, ModelConfig, can_follow_moments
from app.errors import ConfigInvalid, Unacceptable
from app.failpoints import reach
from app.layers import assign, fixed, folded, output_shape
from app.training.batch import TensorBatch, to_tensors
from app.training.gate import Gate
from app.training.learner import Learner
from app.training.losses import Loss, check_batch
from app.training.memory import Memory
from app.training.observed import Observed, ObservedState, UnitVectors
from app.training.recipes.distil_loss import build_distil_loss
from app.training.recipes.gauge import Gauge
from app.training.recipes.growth import grown
from app.training.recipes.rate import rate_factor, scaled_rates
from app.training.recipes.recipe import RECIPES
from app.training.recipes.width import is_wide, narrowness
from app.training.step import StepOutcome, take_step
from app.training.subspace import captured_share, leading_basis, rotated_onto, signed_like
from app.types import TrainStep, Update
from app.wording import offered, some

_FIELDS = frozenset({"hidden_states", "positives"})
# Below it a moment says too little to start from, whatever the number of components.
_FEWEST_WARM = 2048
_WARM_PER_COMPONENT = 32
# The wider a map, the longer eigenvectors are the better ones: from one warm-up at a quarter of the
# input to two at a third, then four, and above three quarters nothing is left to gain by gradients.
_WIDE_WARM_UPS = 4
_NEARLY_ALL = 3 / 4


@RECIPES.register("distil")
class Distil:
    """Leading eigenvectors first, then the full vectors' neighbourhoods against a reservoir.

    A step trains on the batch's rows at length 1, but for every 20th one, which is kept aside for
    the gate. What it does with them:

    - While fewer than n_warm vectors were seen, the weights become the leading eigenvectors of
      the running uncentred second moment, in the basis nearest to earlier versions' (`Gauge`).
    - Then a gradient step on `DistilLoss`, the reservoir as candidates; the batch joins it
      afterwards, or each row would be told to be near to itself.
    - Of a map that keeps more than a quarter of its input the weights follow the eigenvectors for
      longer, up to 2 n_warm vectors at a third and 4 n_warm above, or until pairs come that
      `pair_weight` makes something of. Above a third of a nested model, and above three quarters
      of the input, only pairs end that.
    - Weights that came from elsewhere (import, fit) stay as they are for the first n_warm vectors.

    Args:
        config: of one QRReduction without a bias.
        layer: that is to learn.
        device: where the layer lives.

    Raises:
        ConfigInvalid: other layers, or widths that moments are not kept for.
    """

    def __init__(self, config: ModelConfig, layer: nn.Module, device: torch.device) -> None:
        _check_layers(config)
        (k,) = fixed(output_shape(config))
        self.observed = Observed(config, device, holds_out=config.gate.every > 0)
        self._gauge = Gauge(k, config.input_size)
        self.gate: Gate | None = None
        self.memories: Sequence[Memory] = (self.observed, self._gauge)
        if config.gate.every:
            self.gate = Gate(config, self.observed, folded(layer), device)
            self.memories = (*self.memories, self.gate)
        loss = build_distil_loss(config, k)
        self.loss: Loss = loss
        self._pairs = loss.pairs
        self._config = config
        self._device = device
        self._warm_up = warm_up_of(config.distil, k)
        self._follows = followed_of(config.distil, k, config.input_size, is_nested=config.nested)
        self._narrowness = narrowness(k / config.input_size)
        # After a fit the moments know many vectors and the reservoir none; few candidates mislead.
        fewest = min(self._warm_up, _FEWEST_WARM, self.observed.state.reservoir.capacity)
        self._fewest_candidates = max(1, fewest)

    def update(self, learner: Learner, step: TrainStep) -> StepOutcome:
        """See `Recipe.update`."""
        _check_fields(step)
        has_pairs = step.batch.positives is not None
        check_batch(self._pairs if has_pairs else self.loss, step.batch, self._config)
        batch = to_tensors(step.batch, self._device, self._config)
        vectors = UnitVectors.of(batch.hidden_states, batch.positives)
        trained, held_out = self.observed.split(vectors)
        before, version = self.observed.state, learner.version
        phase = self._phase(before, trained)
        if trained.count and before.moments.count >= self._warm_up:
            weight = folded(learner.layer)["Q_reduced"]
            self.observed.measure(captured_share(weight, trained.every()), trained.count)
        outcome = None
        if phase == "gradient":
            outcome = self._gradient_step(learner, trained, rows=batch.rows)
        self.observed.add(trained, held_out, rows=batch.rows, version=version)
        if outcome is not None:
            return outcome
        if phase == "moment":
            self._follow_moment(learner, known=before.moments.count)
        reach("guard.after")
        learner.version += 1
        return _without_gradient(learner, batch.rows, phase)

    def _phase(self, seen: ObservedState, vectors: UnitVectors) -> Update:
        """What kind of update a step makes of these vectors, after those."""
        if not vectors.count:
            return "none"
        if seen.moments.count < self._warm_up or seen.reservoir.count < self._fewest_candidates:
            return "none" if seen.is_given else "moment"
        if seen.moments.count < self._follows and not self._pulls_pairs(seen, vectors):
            return "moment"
        return "gradient"

    def _pulls_pairs(self, seen: ObservedState, vectors: UnitVectors) -> bool:
        """Whether pairs came, and weigh something."""
        has_pairs = vectors.positives is not None or seen.moments.pairs.count > 0
        return has_pairs and self._config.distil.pair_weight > 0

    def _gradient_step(self, learner: Learner, vectors: UnitVectors, *, rows: int) -> StepOutcome:
        factor = 1.0
        if not self._config.scheduler:
            factor = rate_factor(self._config.distil, learner.step, narrowness=self._narrowness)
        bank = self.observed.bank()
        batch = TensorBatch(
            hidden_states=vectors.vectors,
            positives=vectors.positives,
            bank=bank,
            rehearsed=self._rehearsed(bank, learner.version),
        )
        with scaled_rates(learner.optimizer, factor):
            outcome = take_step(
                learner,
                self.loss,
                batch,
                loss_name="distil" if vectors.positives is None else "distil with pairs",
                is_watched=vectors.positives is None,
            )
        return replace(outcome, rows=rows)

    def _rehearsed(self, bank: Tensor | None, version: int) -> Tensor | None:
        """Which vectors of the bank a step trains on again: in turn, so that each comes as often.

        A stream that is seen once is then learned from as in several epochs.
        """
        if bank is None:
            return None
        count = min(self._config.distil.rehearsed, len(bank))
        return (version * count + torch.arange(count, device=self._device)) % len(bank)

    @torch.no_grad()
    def _follow_moment(self, learner: Learner, *, known: int) -> None:
        """Set the weights to the leading eigenvectors, if these may have changed."""
        second = self.observed.state.moments.second
        growth = grown(before=known, after=second.count, width=self._config.input_size)
        if growth == 1:
            return
        moment = second.mean()
        previous = folded(learner.layer)["Q_reduced"].cpu()
        onto = previous if self._gauge.state is None else self._gauge.state
        basis = leading_basis(moment, previous)
        fix = signed_like if self._config.nested else rotated_onto
        weight = fix(basis, onto, moment).to(previous.dtype)
        self._gauge.follow(weight, grown=growth)
        assign(learner.layer, {"Q_reduced": weight.to(self._device)})
        learner.guards.check_update(learner.layer, learner.optimizer)


def warm_up_of(config: DistilConfig, n_components: int) -> int:
    """Vectors before the first gradient.

    >>> warm_up_of(DistilConfig(), 96)
    3072
    """
    if config.warm_up == "auto":
        return max(_FEWEST_WARM, _WARM_PER_COMPONENT * n_components)
    return config.warm_up


def followed_of(
    config: DistilConfig, n_components: int, input_size: int, *, is_nested: bool = False
) -> float:
    """Vectors that eigenvectors are followed for while no pairs come; there may be no end of it.

    >>> [followed_of(DistilConfig(), k, 384) for k in (96, 128, 192, 300)]
    [3072.0, 8192.0, 24576.0, inf]
    """
    share = n_components / input_size
    if is_wide(share) and (is_nested or share > _NEARLY_ALL):
        return math.inf
    warm_ups = _WIDE_WARM_UPS if is_wide(share) else 2 - narrowness(share)
    return float(warm_ups * warm_up_of(config, n_components))


def _check_layers(config: ModelConfig) -> None:
    """Refuse layers whose weights cannot be set from moments.

    Raises:
        ConfigInvalid: they are not one reduction.
    """
    if not can_follow_moments(config.model_dump()):
        size = config.input_shape or config.input_size
        raise ConfigInvalid(
            "recipe 'distil' expects one QRReduction without bias, with parametrization 'none' or "
            f"'qr', no wider than its input, of vectors of at most {MAX_OBSERVED} values, got "
            f"{some(offered(layer.type) for layer in config.layers)} of rows of {size}; declare "
            '"recipe": "plain" for anything else',
            pointer="/recipe",
        )


def _check_fields(step: TrainStep) -> None:
    """Refuse what only a declared loss could make something of.

    Raises:
        Unacceptable: `recipe_brings_loss`.
    """
    if step.loss is not None:
        raise _not_used("loss")
    for name in step.batch.arrays():
        if name not in _FIELDS:
            raise _not_used(name)


def _not_used(name: str) -> Unacceptable:
    return Unacceptable(
        "recipe_brings_loss",
        f"this model's recipe 'distil' brings its own loss, of hidden_states and positives; leave "
        f'out {name}, or train a model that declares "recipe": "plain"',
        pointer=f"/{name}",
    )


def _without_gradient(learner: Learner, rows: int, update: Update) -> StepOutcome:
    return StepOutcome(
        loss=None,
        grad_norm=None,
        learning_rates=tuple(group["lr"] for group in learner.optimizer.param_groups),
        rows=rows,
        update=update,
    )
