"""Training a stage by Lightning: the modules of both methods, and what they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from traindx.errors import InputError
from traindx.recipes.kit.contract import CONTRACT_KEY, check, compare
from traindx.recipes.kit.diffusion import Process
from traindx.recipes.kit.schedule import WarmupCosine, adamw, stepped
from traindx.recipes.xray2ct.cascade import contract
from traindx.recipes.xray2ct.cascade.augmentation import Augmentation
from traindx.recipes.xray2ct.cascade.cascade import Cascade, Method, Plan, prior_of
from traindx.recipes.xray2ct.cascade.denoising import diffusion_loss, draw
from traindx.recipes.xray2ct.cascade.ladder import coarsened, refined
from traindx.recipes.xray2ct.cascade.losses import LossWeights, regression_loss
from traindx.recipes.xray2ct.cascade.perceptual import PerceptualLoss
from traindx.recipes.xray2ct.cascade.projector import Projector
from traindx.recipes.xray2ct.cascade.stage import DiffusionStage, RegressionStage
from traindx.recipes.xray2ct.data import Data
from traindx.recipes.xray2ct.geometry import VIEWS
from traindx.recipes.xray2ct.metrics import psnr_hu
from traindx.recipes.xray2ct.radiograph import mu_from_hu, to_network

_SELECTED_BY = "val_psnr"


class _Decay:
    """Exponential moving average that forgets its first, untrained values sooner."""

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def __call__(self, average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        decay = min(self.decay, (1 + float(count)) / (10 + float(count)))
        return average.lerp(current, 1 - decay) if average.is_floating_point() else current


class StageModule(L.LightningModule):  # type: ignore[misc]
    """One stage in training, the earlier ones frozen.

    Args:
        size: Voxels a side of this stage.
        network: Options of its network, see :class:`~traindx.recipes.xray2ct.cascade.unet.VolumeUNet`.
        earlier: Checkpoint of the stage before; none for the first.
        initial: Checkpoint of this very stage to start from, for extended training.
        views: The radiographs that are given.
        augment: Whether volumes are changed and their radiographs rendered anew at every step.
        augmentation: How far.
        learning_rate: Peak learning rate.
        final_rate: The rate at the end, as a share of the peak.
        ema: Decay of the averaged weights that are validated and kept; 0 for none.
        seed: Seed of everything drawn in training and validation; the weights come from ``seed_everything``.
    """

    method: Method

    def __init__(
        self,
        size: int = 16,
        network: dict[str, Any] | None = None,
        earlier: str | None = None,
        initial: str | None = None,
        views: tuple[str, ...] = VIEWS,
        augment: bool = True,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
        learning_rate: float = 2e-3,
        final_rate: float = 0.01,
        ema: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.size, self.network_options = size, dict(network or {})
        self.earlier, self.initial = earlier, initial
        self.views = tuple(views)
        self.augmentation = augmentation if augment else None
        self.learning_rate, self.final_rate, self.ema, self.seed = learning_rate, final_rate, ema, seed
        self.process = Process()
        self.steps = 0
        self._plan: Plan | None = None
        self.cascade: Cascade | None = None
        self.average: AveragedModel | None = None
        self.projector: Projector | None = None

    @property
    def plan(self) -> Plan:
        """What the cascade is made of; known once data are attached."""
        assert self._plan is not None, "attach data first"
        return self._plan

    def attach(self, data: Data, steps: int) -> None:
        """Build the stages for some data and a number of optimiser steps.

        Raises:
            InputError: The stages do not fit together, or the data.
        """
        if data.geometry.shape[0] % self.size:
            raise InputError(
                f"volumes of {data.geometry.shape[0]} voxels a side cannot be averaged to {self.size}",
                expected="data.size to be a multiple of the size of the stage",
            )
        self.steps = steps
        before, plan = self._before(data)
        number = len(before)
        self._plan = plan
        if self.cascade is None:
            volumes = data.train.window.encode(data.train.patients.hu)
            stages = [*before, plan.stage(number, prior_of(volumes, number, plan.sizes))]
            self.cascade = Cascade(stages)  # type: ignore[arg-type]
            self.projector = Projector(data.geometry, self.views)
            if self.initial is not None:
                found = contract.read(Path(self.initial))
                check(found, contract.describe(plan), self.initial)
                self.cascade.load_state_dict(contract.weights_of(found["state_dict"], number + 1))
            if self.ema:
                self.average = AveragedModel(self.cascade.current, avg_fn=_Decay(self.ema))
                self.average.requires_grad_(False)

    def _before(self, data: Data) -> tuple[list[nn.Module], Plan]:
        """The earlier stages with their weights, and the plan with this stage at its end."""
        sizes: tuple[int, ...] = ()
        networks: tuple[Any, ...] = ()
        stages: list[nn.Module] = []
        found: dict[str, Any] = {}
        if self.earlier is not None:
            checkpoint = contract.read(Path(self.earlier))
            found = checkpoint[CONTRACT_KEY]
            cascade, known = contract.cascade_from(checkpoint)
            sizes, networks, stages = known.sizes, known.networks, list(cascade.stages)
        options = contract.plain(self.network_options)
        plan = Plan(
            self.method,
            (*sizes, self.size),
            data.geometry,
            data.train.window,
            self.views,
            (*networks, options),
            self.process,
        )
        if self.earlier is not None:
            mine = contract.describe(plan)
            common = [key for key in contract.COMMON if key in mine or key in found]
            compare({key: found.get(key) for key in common}, {key: mine.get(key) for key in common}, self.earlier)
        return stages, plan

    def configure_model(self) -> None:
        """Build the stages when the data are there."""
        if self._plan is None:
            self.attach(self.trainer.datamodule.data, int(self.trainer.max_steps))

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay over the whole run, for the parameters that may learn."""
        assert self.cascade is not None
        learning = [weight for weight in self.cascade.parameters() if weight.requires_grad]
        cosine = WarmupCosine(self.steps)
        return stepped(adamw(learning, self.learning_rate), lambda step: max(self.final_rate, cosine.factor(step)))

    def learning_parts(self) -> list[nn.Module]:
        """What is compiled and laid out where that is asked for: the network of the stage, without its renderer."""
        assert self.cascade is not None
        return [self.cascade.current.network]

    def drawn(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Target at the stage's resolution and radiographs of a training batch, augmented where that is asked for."""
        assert self.projector is not None
        hu = batch["hu"]
        radiographs = {view: batch[view] for view in self.views}
        with torch.no_grad():
            if self.augmentation is not None:
                hu = self.augmentation(hu)
                mu = mu_from_hu(hu)
                radiographs = {view: to_network(self.projector(mu, view)) for view in self.views}
            target = coarsened(self.plan.window.encode(hu), self.size)
        return target, radiographs

    def loss_terms(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Weighted terms of the loss of a batch."""
        raise NotImplementedError

    def reconstruct(self, cascade: Cascade, radiographs: dict[str, Tensor], stages: int | None = None) -> Tensor:
        """Volumes in network values, as in use."""
        raise NotImplementedError

    def training_step(self, batch: dict[str, Any], _: int) -> Tensor:
        """Loss of a batch; its draws follow from the seed and the step, so a resumed run repeats an unbroken one."""
        with torch.random.fork_rng():
            torch.manual_seed((self.seed * 1_000_003 + self.global_step) * self.trainer.world_size + self.global_rank)
            terms = self.loss_terms(batch)
        if len(terms) > 1:
            self.log_dict({f"loss_{name}": value.detach() for name, value in terms.items()})
        total = torch.stack(list(terms.values())).sum()
        self.log("loss", total, prog_bar=True)
        self.log("step", float(self.global_step))  # Lightning's own count is one off after resuming
        return total

    def on_train_batch_end(self, *_: Any) -> None:
        """Average the weights."""
        if self.average is not None and self.cascade is not None:
            self.average.update_parameters(self.cascade.current)

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        """Reconstruct and measure in HU, at the resolution of the stage; beside it the up-sampled earlier stage."""
        cascade = self.evaluated()
        radiographs = {view: batch[view] for view in self.views}
        truth = self.plan.window.decode(coarsened(self.plan.window.encode(batch["hu"]), self.size))
        with torch.random.fork_rng():
            torch.manual_seed(self.seed * 1_000_003 + index)
            volumes = {_SELECTED_BY: self.reconstruct(cascade, radiographs)}
            if len(cascade.stages) > 1:
                earlier = self.reconstruct(cascade, radiographs, len(cascade.stages) - 1)
                volumes["val_psnr_earlier"] = refined(earlier, self.size)
        for name, volume in volumes.items():
            figure = psnr_hu(self.plan.window.decode(volume.float()), truth)
            self.log(name, figure.float(), prog_bar=True, batch_size=len(truth), sync_dist=True)

    def evaluated(self) -> Cascade:
        """The cascade with the averaged weights in the current stage, where there are any."""
        assert self.cascade is not None
        if self.average is None:
            return self.cascade
        stages = [*self.cascade.stages[:-1], self.average.module]
        return Cascade(stages).eval()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the contract beside the weights."""
        checkpoint[CONTRACT_KEY] = contract.describe(self.plan)
        checkpoint["total_steps"] = self.steps

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights that were trained under another contract; see :func:`~traindx.recipes.kit.contract.check`."""
        check(checkpoint, contract.describe(self.plan))


class RegressionModule(StageModule):
    """A stage of the progressive regression.

    Args:
        size: See :class:`StageModule`.
        network: See there.
        earlier: See there.
        initial: See there.
        views: See there.
        augment: See there.
        augmentation: See there.
        weights: Weights of the terms of the loss.
        perceptual_network: File of weights for the perceptual term.
        learning_rate: See :class:`StageModule`.
        final_rate: See there.
        ema: See there.
        seed: See there.
    """

    method: Method = "regression"

    def __init__(
        self,
        size: int = 16,
        network: dict[str, Any] | None = None,
        earlier: str | None = None,
        initial: str | None = None,
        views: tuple[str, ...] = VIEWS,
        augment: bool = True,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
        weights: LossWeights = LossWeights(),  # noqa: B008 - frozen
        perceptual_network: str | None = None,
        learning_rate: float = 2e-3,
        final_rate: float = 0.01,
        ema: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            size, network, earlier, initial, views, augment, augmentation, learning_rate, final_rate, ema, seed
        )
        self.weights = weights
        # in a tuple, because its weights are no part of a checkpoint
        self._perceptual = (PerceptualLoss(Path(perceptual_network)),) if perceptual_network is not None else ()

    def loss_terms(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """See :func:`~traindx.recipes.xray2ct.cascade.losses.regression_loss`."""
        assert self.cascade is not None
        stage = self.cascade.current
        assert isinstance(stage, RegressionStage)
        target, radiographs = self.drawn(batch)
        prediction = stage(self.cascade.earlier(radiographs), radiographs)
        perceptual = self._perceptual[0].to(self.device) if self._perceptual else None
        return regression_loss(stage, prediction, target, radiographs, self.weights, perceptual)

    def reconstruct(self, cascade: Cascade, radiographs: dict[str, Tensor], stages: int | None = None) -> Tensor:
        """One pass through the stages."""
        volume: Tensor = cascade(radiographs, stages)
        return volume


class DiffusionModule(StageModule):
    """A stage of the diffusion cascade.

    Args:
        size: See :class:`StageModule`.
        network: See there.
        earlier: See there.
        initial: See there.
        views: See there.
        augment: See there.
        augmentation: See there.
        prediction: ``v``, ``epsilon`` or ``sample``.
        shift: Shift of the cosine schedule.
        sampling_steps: DDIM steps of each stage in validation.
        conditioning_steps: DDIM steps that draw what a later stage starts from in training.
        condition_noise: Largest standard deviation of the noise that is added to it.
        physics_weight: Weight of the agreement with the radiographs, reached along a ramp.
        physics_ramp: Share of the steps over which that weight rises from 0.
        learning_rate: See :class:`StageModule`.
        final_rate: See there.
        ema: See there.
        seed: See there.
    """

    method: Method = "diffusion"

    def __init__(
        self,
        size: int = 16,
        network: dict[str, Any] | None = None,
        earlier: str | None = None,
        initial: str | None = None,
        views: tuple[str, ...] = VIEWS,
        augment: bool = True,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
        prediction: Literal["v", "epsilon", "sample"] = "v",
        shift: float = Process.shift,
        sampling_steps: int = 4,
        conditioning_steps: int = 2,
        condition_noise: float = 0.1,
        physics_weight: float = 0.0,
        physics_ramp: float = 0.2,
        learning_rate: float = 2e-3,
        final_rate: float = 0.01,
        ema: float = 0.995,
        seed: int = 0,
    ) -> None:
        super().__init__(
            size, network, earlier, initial, views, augment, augmentation, learning_rate, final_rate, ema, seed
        )
        self.process = Process(prediction, shift=shift, sampling_steps=sampling_steps)
        self.conditioning_steps, self.condition_noise = conditioning_steps, condition_noise
        self.physics_weight, self.physics_ramp = physics_weight, physics_ramp

    def weight_of_physics(self, step: int) -> float:
        """The weight at a step: a linear ramp, so that noise of the first steps is not pressed onto radiographs."""
        ramp = self.physics_ramp * self.steps
        return self.physics_weight * (min(1.0, (step + 1) / ramp) if ramp else 1.0)

    def loss_terms(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """See :func:`~traindx.recipes.xray2ct.cascade.denoising.diffusion_loss`."""
        assert self.cascade is not None
        stage = self.cascade.current
        assert isinstance(stage, DiffusionStage)
        target, radiographs = self.drawn(batch)
        earlier = None
        if len(self.cascade.stages) > 1:
            before = len(self.cascade.stages) - 1
            earlier = draw(
                self.cascade, self.process, radiographs, stages=before, sampling_steps=self.conditioning_steps
            )
        return diffusion_loss(
            stage,
            self.process,
            earlier,
            target,
            radiographs,
            condition_noise=self.condition_noise,
            physics_weight=self.weight_of_physics(self.global_step),
        )

    def reconstruct(self, cascade: Cascade, radiographs: dict[str, Tensor], stages: int | None = None) -> Tensor:
        """Draw once from each stage."""
        return draw(cascade, self.process, radiographs, stages=stages)
