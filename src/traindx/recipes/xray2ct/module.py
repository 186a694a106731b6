"""Training by Lightning: the module, the data module, and loaders that go on where they stopped."""

from __future__ import annotations

from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor, nn

from traindx.recipes.kit.contract import CONTRACT_KEY, check
from traindx.recipes.kit.diffusion import Process
from traindx.recipes.kit.schedule import WarmupCosine, adamw, stepped
from traindx.recipes.kit.seeded_order import SeededOrder
from traindx.recipes.xray2ct.contract import contract_of
from traindx.recipes.xray2ct.data import Data, DataOptions, Radiographed, prepare
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow, named_window
from traindx.recipes.xray2ct.metrics import psnr_hu
from traindx.recipes.xray2ct.system import System


class SeededBatches(SeededOrder):
    """Shuffled batches of volumes and radiographs.

    Args:
        dataset: What is batched; the rest as for :class:`~traindx.recipes.kit.seeded_order.SeededOrder`.
    """

    apart = 100_003

    def __init__(
        self,
        dataset: Radiographed,
        batch_size: int,
        seed: int,
        length: int,
        used: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__(len(dataset), batch_size, seed, length, used, rank, world)
        self.dataset = dataset

    def samples(self, number: int, chosen: list[int]) -> list[dict[str, Any]]:
        """As the data set gives them."""
        return [self.dataset[index] for index in chosen]


class XrayToCTData(L.LightningDataModule):  # type: ignore[misc]
    """Volumes and radiographs.

    Args:
        source: ``embedded``, ``openkbp``, ``auto`` (OpenKBP where ``TRAINDX_DATA`` is set), or ``folder``.
        size: Voxels along each axis.
        train: Most training volumes.
        val: Most validation volumes.
        batch_size: Volumes in a batch.
        epoch_steps: Batches between two validations.
        seed: Seed of the packaged population and of the order of batches.
        window_low: HU that becomes -1.
        window_high: HU that becomes 1.
        cache: Folder for rendered radiographs; the user's cache folder by default.
        window: Name of a Hounsfield window, see :data:`~traindx.recipes.xray2ct.hounsfield.WINDOWS`, in the place of
            the two bounds.
        root: CT volumes of the source ``folder``: NIfTI files, and folders of DICOM files.
        split: CSV with the columns ``id`` and ``split``, for the source ``folder``.
        radiographs: Folder of given radiographs, ``<id>_frontal`` and ``<id>_lateral``; rendered by default.
        radiograph_scale: Line integral of a grey level of given radiographs.
    """

    def __init__(
        self,
        source: Literal["auto", "embedded", "openkbp", "folder"] = "auto",
        size: int = 32,
        train: int = 48,
        val: int = 8,
        batch_size: int = 4,
        epoch_steps: int = 50,
        seed: int = 0,
        window_low: float = -1000.0,
        window_high: float = 1000.0,
        cache: str | None = None,
        window: str | None = None,
        root: str | None = None,
        split: str | None = None,
        radiographs: str | None = None,
        radiograph_scale: float = 1.0,
    ) -> None:
        super().__init__()
        chosen = named_window(window) if window is not None else HounsfieldWindow(window_low, window_high)
        self.options = DataOptions(
            source, size, train, val, seed, batch_size, chosen, cache, root, split, radiographs, radiograph_scale
        )
        self.epoch_steps = epoch_steps
        self._data: Data | None = None

    @property
    def data(self) -> Data:
        """The volumes, loaded when first asked for."""
        if self._data is None:
            self._data = prepare(self.options)
        return self._data

    def train_dataloader(self) -> SeededBatches:
        """Training batches."""
        options, used, rank, world = self.options, 0, 0, 1
        if self.trainer is not None:
            used = self.trainer.global_step * self.trainer.accumulate_grad_batches
            rank, world = self.trainer.global_rank, self.trainer.world_size
        return SeededBatches(self.data.train, options.batch_size, options.seed, self.epoch_steps, used, rank, world)

    def val_dataloader(self) -> Any:
        """Validation batches."""
        return self.data.val_batches()


class XrayToCT(L.LightningModule):  # type: ignore[misc]
    """The system as a Lightning module. Its parts are those that the case is made of.

    Args:
        prediction: ``v``, ``epsilon`` or ``sample``.
        head: ``x0``: the output follows analytically from an estimate of the volume; ``direct``: it is learned.
        channels: Channels on the patch grid.
        patch: Voxels of a patch each way.
        token_channels: Width of the transformer.
        depth: Transformer blocks.
        shift: Shift of the cosine schedule.
        sampling_steps: DDIM steps in validation.
        physics_weight: Weight of the agreement with the radiographs.
        learning_rate: Peak learning rate.
        seed: Seed of the noise in training and validation; the weights come from ``seed_everything``.
    """

    def __init__(
        self,
        prediction: Literal["v", "epsilon", "sample"] = "v",
        head: Literal["x0", "direct"] = "x0",
        channels: int = 32,
        patch: int = 2,
        token_channels: int = 64,
        depth: int = 2,
        shift: float = Process.shift,
        sampling_steps: int = Process.sampling_steps,
        physics_weight: float = 0.0,
        learning_rate: float = 3e-3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.process = Process(prediction, shift=shift, sampling_steps=sampling_steps)
        self.network_options = {
            "head": head,
            "channels": channels,
            "patch": patch,
            "token_channels": token_channels,
            "depth": depth,
        }
        self.physics_weight = physics_weight
        self.learning_rate = learning_rate
        self.seed = seed
        self.network: nn.Module | None = None
        self._system: System | None = None

    @property
    def system(self) -> System:
        """The system; known once data are attached."""
        assert self._system is not None, "attach data first"
        return self._system

    def attach(self, data: Data, steps: int) -> None:
        """Build the network for some data and a number of optimiser steps."""
        self._system = System(
            data,
            self.process,
            network_options=self.network_options,
            physics_weight=self.physics_weight,
            learning_rate=self.learning_rate,
            steps=steps,
        )
        if self.network is None:
            self.network = self._system.build()

    def configure_model(self) -> None:
        """Build the network when the data are there."""
        if self._system is None:
            datamodule = self.trainer.datamodule
            # not estimated_stepping_batches: it makes the loader before the step to resume at is known
            self.attach(datamodule.data, int(self.trainer.max_steps))

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay over the whole run."""
        return stepped(adamw(self.parameters(), self.learning_rate), WarmupCosine(self.system.steps).factor)

    def training_step(self, batch: dict[str, Any], _: int) -> Tensor:
        """Loss of a batch; its draws follow from the seed and the step, so a resumed run repeats an unbroken one."""
        assert self.network is not None
        with torch.random.fork_rng():
            torch.manual_seed((self.seed * 1_000_003 + self.global_step) * self.trainer.world_size + self.global_rank)
            terms = self.system.loss(self.system, self.network, batch)
        if len(terms) > 1:
            self.log_dict({f"loss_{name}": value for name, value in terms.items()})
        total = torch.stack(list(terms.values())).sum()
        self.log("loss", total, prog_bar=True)
        self.log("step", float(self.global_step))  # Lightning's own count is one off after resuming
        return total

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        """Sample volumes from the same noise every time and measure them in HU."""
        assert self.network is not None
        with torch.random.fork_rng():
            torch.manual_seed(self.seed * 1_000_003 + index)
            volumes = self.system.sampler(self.system, self.network, batch)
        figure = psnr_hu(self.system.window.decode(volumes), batch["hu"])
        self.log("val_psnr", figure.float(), prog_bar=True, batch_size=len(volumes))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the contract beside the weights."""
        checkpoint[CONTRACT_KEY] = contract_of(self.system)
        checkpoint["total_steps"] = self.system.steps

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights that were trained under another contract; see :func:`~traindx.recipes.kit.contract.check`."""
        check(checkpoint, contract_of(self.system))
