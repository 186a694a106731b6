"""Training by Lightning: the module, the data module, and loaders that go on where they stopped."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import lightning as L
import torch
from torch import Tensor, nn

from traindx.recipes.fusion import one_pass as at_once
from traindx.recipes.fusion import pictures, scores
from traindx.recipes.fusion.contract import contract_of
from traindx.recipes.fusion.data import Data, DataOptions, prepare
from traindx.recipes.fusion.disturbance import Disturbances
from traindx.recipes.fusion.lesion import LesionHead, frozen, train_head
from traindx.recipes.fusion.normalisation import to_display
from traindx.recipes.fusion.red_flags import ranges
from traindx.recipes.fusion.roi import RoiWeights
from traindx.recipes.fusion.system import SAMPLING_STEPS, System
from traindx.recipes.kit.contract import CONTRACT_KEY, check
from traindx.recipes.kit.diffusion import Process
from traindx.recipes.kit.schedule import WarmupCosine, adamw, stepped
from traindx.recipes.kit.seeded_order import SeededOrder

_PICTURED = 4  # rows of the panel of an epoch


class Drawn(Protocol):
    """Windows that a generator moves and turns."""

    def __len__(self) -> int: ...

    def item(self, index: int, generator: torch.Generator | None = None) -> dict[str, Any]:
        """One window."""
        ...


class SeededWindows(SeededOrder):
    """Shuffled batches of windows, whose places and turns follow from the number of the batch as well.

    Args:
        windows: What is batched; the rest as for :class:`~traindx.recipes.kit.seeded_order.SeededOrder`.
    """

    apart = 1_000_000_007

    def __init__(
        self, windows: Drawn, batch_size: int, seed: int, length: int, used: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        super().__init__(len(windows), batch_size, seed, length, used, rank, world)
        self.windows = windows

    def samples(self, number: int, chosen: list[int]) -> list[dict[str, Any]]:
        """Windows, moved and turned by other numbers in every process."""
        moves = self.generator(500_000_000 + number * self.world + self.rank)
        return [self.windows.item(index, moves) for index in chosen]


class FusionData(L.LightningDataModule):  # type: ignore[misc]
    """Registered CT and MR.

    Args:
        source: ``sts``, ``slices``, ``folder``, ``phantom``, or ``auto``.
        root: Folder of the studies; the collection below ``TRAINDX_DATA`` by default.
        size: Pixels along each side of a training window.
        depth: Slices of a block; 1 trains a network in two dimensions.
        val_size: Pixels along each side of a validation window.
        train: Most training patients.
        val: Most validation patients.
        slices: Slices (or blocks) of a validation patient.
        batch_size: Windows in a batch.
        epoch_steps: Batches between two validations.
        seed: Seed of the split and of the order of batches.
        normalisation: How the network sees CT and MR: ``joint``, ``zscore``, ``bone-window``, ``soft-tissue-window``.
        misregistration: The most mm and degrees that MR is moved and turned by, in training and validation.
        noise: The most noise in CT and MR, as a share of the display range.
        missing: The largest share of the body that MR does not show.
    """

    def __init__(
        self,
        source: Literal["auto", "sts", "slices", "folder", "phantom"] = "auto",
        root: Path | None = None,
        size: int = 96,
        depth: int = 1,
        val_size: int = 128,
        train: int = 1000,
        val: int = 1000,
        slices: int = 5,
        batch_size: int = 8,
        epoch_steps: int = 250,
        seed: int = 0,
        normalisation: str = "joint",
        misregistration: tuple[float, float] = (0.0, 0.0),
        noise: float = 0.0,
        missing: float = 0.0,
    ) -> None:
        super().__init__()
        self.options = DataOptions(
            source,
            root,
            size,
            depth,
            val_size,
            train,
            val,
            slices,
            batch_size,
            seed,
            normalisation,
            disturbances=Disturbances(*misregistration, noise, missing),
        )
        self.epoch_steps = epoch_steps
        self._data: Data | None = None

    @property
    def data(self) -> Data:
        """The windows, made when first asked for."""
        if self._data is None:
            self._data = prepare(self.options)
        return self._data

    def train_dataloader(self) -> SeededWindows:
        """Training batches."""
        options, used, rank, world = self.options, 0, 0, 1
        if self.trainer is not None:
            used = self.trainer.global_step * self.trainer.accumulate_grad_batches
            rank, world = self.trainer.global_rank, self.trainer.world_size
        return SeededWindows(self.data.train, options.batch_size, options.seed, self.epoch_steps, used, rank, world)

    def val_dataloader(self) -> Any:
        """Validation batches."""
        return self.data.val_batches()


class Fusion(L.LightningModule):  # type: ignore[misc]
    """The system as a Lightning module. Its parts are those that the case is made of.

    Args:
        prediction: ``v``, ``epsilon`` or ``sample``.
        channels: Channels of the U-Net at its finest level.
        levels: Levels of the U-Net.
        alpha: Weight of soft tissue in the ROI loss.
        beta: Weight of bone.
        gamma: Weight of the lesion term.
        roi_weight: Weight of the whole ROI loss beside the diffusion loss.
        head_steps: Steps that the lesion head is trained for beforehand; 0 for no head and no lesion term.
        head_channels: Channels of the lesion head.
        sampling_steps: DDIM steps in validation.
        guidance: Size of a guided move in sampling.
        learning_rate: Peak learning rate.
        one_pass: Train a network that gives the fused image at once, without diffusion: no draws, no spread.
        align: Let the network move MR to where CT says it belongs.
        seed: Seed of the noise in training and validation; the weights come from ``seed_everything``.
    """

    def __init__(
        self,
        prediction: Literal["v", "epsilon", "sample"] = "v",
        channels: int = 32,
        levels: int = 3,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 2.0,
        roi_weight: float = 0.05,
        head_steps: int = 300,
        head_channels: int = 16,
        sampling_steps: int = SAMPLING_STEPS,
        guidance: float = 0.0,
        learning_rate: float = 2e-3,
        one_pass: bool = False,
        align: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.process = Process(prediction, sampling_steps=sampling_steps)
        self.network_options = {"channels": channels, "levels": levels, **({"align": True} if align else {})}
        self.one_pass = one_pass
        self.weights = RoiWeights(alpha, beta, gamma)
        self.roi_weight = roi_weight
        self.head_steps = head_steps
        self.head_options = {"channels": head_channels, "levels": 4}
        self.guidance = guidance
        self.learning_rate = learning_rate
        self.seed = seed
        self.ranges: dict[str, tuple[float, float, float]] = {}
        self.pictures: Path | None = None
        self.network: nn.Module | None = None
        self.head: LesionHead | None = None
        self._system: System | None = None
        self._rows: list[tuple[str, dict[str, float]]] = []
        self._panels: list[dict[str, Any]] = []

    @property
    def system(self) -> System:
        """The system; known once data are attached."""
        assert self._system is not None, "attach data first"
        return self._system

    def attach(self, data: Data, steps: int, *, train_lesion_head: bool = True) -> None:
        """Build the network, and train or only build the lesion head, for some data and a number of optimiser steps.

        Args:
            data: Windows.
            steps: Optimiser steps of the run.
            train_lesion_head: False where the head's weights come from a checkpoint.
        """
        if self.head is None and self.head_steps:
            head = LesionHead(data.dims, **self.head_options)
            if train_lesion_head:
                batches = SeededWindows(data.train, data.options.batch_size, self.seed + 1, self.head_steps)
                with torch.random.fork_rng():
                    torch.manual_seed(self.seed)
                    train_head(head, batches, self.head_steps)
            self.head = frozen(head)
        self._system = System(
            data,
            self.process,
            network_options=self.network_options,
            weights=self.weights,
            roi_weight=self.roi_weight,
            head=self.head,
            guidance=self.guidance,
            learning_rate=self.learning_rate,
            steps=steps,
            one_pass=self.one_pass,
        )
        if self.one_pass:
            self._system = replace(self._system, loss=at_once.training_loss, sampler=at_once.fuse)
        if self.network is None:
            self.network = self._system.build()

    def configure_model(self) -> None:
        """Build the network when the data are there."""
        if self._system is None:
            self.attach(self.trainer.datamodule.data, int(self.trainer.max_steps), train_lesion_head=False)

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay over the whole run; the lesion head is not among its parameters."""
        assert self.network is not None
        return stepped(adamw(self.network.parameters(), self.learning_rate), WarmupCosine(self.system.steps).factor)

    def training_step(self, batch: dict[str, Any], _: int) -> Tensor:
        """Loss of a batch; its draws follow from the seed and the step, so a resumed run repeats an unbroken one."""
        assert self.network is not None
        with torch.random.fork_rng():
            torch.manual_seed((self.seed * 1_000_003 + self.global_step) * self.trainer.world_size + self.global_rank)
            terms = self.system.loss(self.system, self.network, batch)
        self.log_dict({f"loss_{name}": value for name, value in terms.items()})
        total = torch.stack(list(terms.values())).sum()
        self.log("loss", total, prog_bar=True, on_step=True, on_epoch=False)
        self.log("step", float(self.global_step))  # Lightning's own count is one off after resuming
        return total

    def on_validation_epoch_start(self) -> None:
        """Forget the slices of the validation before."""
        self._rows, self._panels = [], []

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        """Fuse from the same noise every time, and measure every figure on the display range."""
        assert self.network is not None
        with torch.random.fork_rng():
            torch.manual_seed(self.seed * 1_000_003 + index)
            fused = self.system.sampler(self.system, self.network, batch)
            if index == 0 and not self.one_pass:
                again = self.system.sampler(self.system, self.network, batch)
                self.log("val_uncertainty", (fused - again).abs().mean(), batch_size=len(fused))
        if index == 0:
            self.ranges = ranges({"ct": batch["ct"], "mr": batch["mr"], "target": batch["fused"], "fused": fused})
        shown = to_display(fused)
        tissue = batch["fused"] > batch["fused"].amin()
        exact = tissue & ((fused == fused.amax()) | (fused == fused.amin()))
        self.log("val_share_at_bounds", exact.float().sum() / tissue.sum().clamp_min(1), batch_size=len(fused))
        error = (shown - to_display(batch["fused"])).square().flatten(1).mean(dim=1).clamp_min(1e-6)
        self.log("val_psnr", (-10 * error.log10()).mean(), prog_bar=True, batch_size=len(fused))
        for number, image in enumerate(shown):
            self._rows.append((batch["id"][number], scores.figures(image, batch, number, self.head)))
            if batch["id"][number] not in {row["id"] for row in self._panels} and len(self._panels) < _PICTURED:
                self._panels.append(
                    {
                        "id": batch["id"][number],
                        "MR": batch["mr_display"][number],
                        "CT": batch["ct_display"][number],
                        "fused": image,
                        "bone": batch["bone"][number],
                        "lesion": batch["lesion"][number],
                    }
                )

    def on_validation_epoch_end(self) -> None:
        """Log the mean of every figure over patients, and draw the panel of this epoch."""
        table = scores.by_patient(self._rows)
        means = {name: figure.mean for name, figure in table.items()}
        self.log_dict({f"val_{name}": value for name, value in means.items()})
        self.log("val_fusion_score", scores.fusion_score(means), prog_bar=True)
        if self.pictures is not None and not self.trainer.sanity_checking:
            name = f"epoch_{self.current_epoch:03d}.png"
            pictures.panels(self.pictures / name, self._panels, ("MR", "CT", "fused", "regions"))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the contract beside the weights."""
        checkpoint[CONTRACT_KEY] = contract_of(self.system)
        checkpoint["roi_weights"] = asdict(self.weights)
        checkpoint["head_options"] = self.head_options
        checkpoint["total_steps"] = self.system.steps
        checkpoint["patients"] = {"train": list(self.system.data.split.train), "val": list(self.system.data.split.val)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights that were trained under another contract; see :func:`~traindx.recipes.kit.contract.check`."""
        check(checkpoint, contract_of(self.system))
