"""The data module: fingerprint, plan, split, and loaders of patches and of whole validation cases."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import lightning as L
import torch
from torch.utils.data import DataLoader, DistributedSampler

from traindx.errors import InputError
from traindx.recipes.kit.split import Split
from traindx.recipes.segmentation.augmentation import Augmentation
from traindx.recipes.segmentation.fingerprint import Fingerprint, fingerprint
from traindx.recipes.segmentation.labels import LabelMeaning
from traindx.recipes.segmentation.patches import PatchDataset, SampleNumbers
from traindx.recipes.segmentation.planning import Machine, Plan, plan
from traindx.recipes.segmentation.preprocessing import PreparedCase, prepare
from traindx.recipes.segmentation.sources import LABELS, CaseRef, Unreadable, list_cases
from traindx.recipes.segmentation.splits import split_cases


class CaseDataset(Sequence[PreparedCase]):
    """Prepared cases, kept in memory once read (network values take four bytes a voxel and channel)."""

    def __init__(self, refs: Sequence[CaseRef], plan: Plan, keep: bool = True) -> None:
        self._refs, self._plan, self._keep = refs, plan, keep
        self._read: dict[int, PreparedCase] = {}

    def __len__(self) -> int:
        return len(self._refs)

    @overload
    def __getitem__(self, index: int) -> PreparedCase: ...
    @overload
    def __getitem__(self, index: slice) -> list[PreparedCase]: ...
    def __getitem__(self, index: int | slice) -> PreparedCase | list[PreparedCase]:
        """A case; read on first use."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index not in self._read:
            case = prepare(self._refs[index], self._plan)
            if not self._keep:
                return case
            self._read[index] = case
        return self._read[index]

    def __iter__(self) -> Iterator[PreparedCase]:
        return (self[index] for index in range(len(self)))


class SegmentationData(L.LightningDataModule):  # type: ignore[misc]
    """Cases of a folder, planned, split by patient and cut into balanced patches.

    Args:
        root: Data set: ``imagesTr/`` and ``labelsTr/`` or another layout that `list_cases` knows.
        source: Data set whose label values are known (:data:`~traindx.recipes.segmentation.sources.LABELS`), or
            ``folder`` for any other.
        labels: Table of label names and values, ``{"background": 0, "tumour": 1, "ignore": 2}``; default: the table of
            ``dataset.json``, else every value above 0 is a class.
        fold: Which fold is validated on.
        folds: Number of folds.
        holdout: Share of patients that neither trains nor validates.
        split_seed: Seed of the split.
        patient_pattern: Regular expression whose first group in the case name is the patient; default: every case is a
            patient of its own.
        channels: Channels to use, for archives with named channels.
        patch: Patch size in place of the planned one.
        batch: Patches a step, in place of the planned number.
        base_filters: Width of the first level.
        memory: GiB of the graphics processor that patches are planned for; default: that of this machine.
        samples_per_epoch: Patches an epoch; default: each case once.
        foreground: Share of patches centred on a class.
        flips: Axes that may be mirrored (0 is left-right after reorientation to RAS).
        rotation: Largest rotation in degrees.
        scale: Zoom range.
        augment: Probability of a movement; 0 switches movements off.
        intensity: Strength of intensity changes; 0 switches them off.
        seed: Seed of patches and augmentation.
        workers: Loader processes.
        keep_in_memory: Keep prepared cases in memory.
    """

    def __init__(
        self,
        root: Path,
        *,
        source: Literal["folder", "hippocampus"] = "folder",
        labels: dict[str, Any] | None = None,
        fold: int = 0,
        folds: int = 10,
        holdout: float = 0.2,
        split_seed: int = 0,
        patient_pattern: str | None = None,
        channels: list[str] | None = None,
        patch: tuple[int, int, int] | None = None,
        batch: int | None = None,
        base_filters: int = 16,
        memory: float | None = None,
        samples_per_epoch: int | None = None,
        foreground: float = 0.5,
        flips: tuple[int, ...] = (),
        rotation: float = 15.0,
        scale: tuple[float, float] = (0.85, 1.25),
        augment: float = 0.7,
        intensity: float = 1.0,
        seed: int = 0,
        workers: int = 0,
        keep_in_memory: bool = True,
    ) -> None:
        super().__init__()
        self.root = Path(root)
        known = LABELS[source]
        labels = labels or (dict(known) if known is not None else None)
        self.labels, self.fold, self.folds, self.holdout, self.split_seed = labels, fold, folds, holdout, split_seed
        self.patient_pattern, self.channels = patient_pattern, channels
        self.patch, self.batch, self.base_filters, self.memory = patch, batch, base_filters, memory
        self.samples_per_epoch, self.foreground, self.seed = samples_per_epoch, foreground, seed
        self.flips, self.rotation, self.scale, self.augment, self.intensity = flips, rotation, scale, augment, intensity
        self.workers, self.keep_in_memory = workers, keep_in_memory

    def patient_of(self, name: str) -> str:
        """The patient a case belongs to."""
        if self.patient_pattern is None:
            return name
        match = re.search(self.patient_pattern, name)
        if match is None or not match.groups():
            raise InputError(
                f"the patient pattern {self.patient_pattern!r} does not match case {name!r}",
                expected="a regular expression with a group, such as '^(sub-[0-9]+)'",
            )
        return match.group(1)

    @cached_property
    def _listed(self) -> tuple[list[CaseRef], list[Unreadable], dict[str, Any] | None]:
        return list_cases(self.root, channels=self.channels, patient=self.patient_of)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Facts of all cases (reads every one of them)."""
        refs, unreadable, table = self._listed
        declared = self.labels or table
        return fingerprint(refs, meaning=LabelMeaning.parse(declared) if declared else None, unreadable=unreadable)

    @cached_property
    def refs(self) -> dict[str, CaseRef]:
        """Cases that can be read, by name."""
        readable = {case.name for case in self.fingerprint.cases}
        return {ref.name: ref for ref in self._listed[0] if ref.name in readable}

    @cached_property
    def split(self) -> Split:
        """Case names of training, validation and hold-out."""
        return split_cases(
            list(self.refs.values()), fold=self.fold, folds=self.folds, holdout=self.holdout, seed=self.split_seed
        )

    @property
    def machine(self) -> Machine:
        """What is planned for: this machine, with the memory that was asked for."""
        here = Machine.here()
        return here if self.memory is None else here.model_copy(update={"gpu_gib": self.memory})

    @cached_property
    def plan(self) -> Plan:
        """The plan, made from the training cases alone."""
        declared = self.labels or self._listed[2]
        facts = self.fingerprint
        meaning = LabelMeaning.parse(declared) if declared else LabelMeaning.inferred(facts.label_values)
        train = set(self.split.train)
        made = plan(
            facts.model_copy(update={"cases": tuple(case for case in facts.cases if case.name in train)}),
            meaning,
            self.machine,
            base_filters=self.base_filters,
            **({} if self.batch is None else {"batch": self.batch}),
        )
        if self.patch is not None:
            wrong = [p % d for p, d in zip(self.patch, made.divisor, strict=True)]
            if any(wrong):
                raise InputError(f"the patch {self.patch} does not fit", expected=f"multiples of {made.divisor}")
            made = made.model_copy(update={"patch": self.patch})
        return made

    def dataset(self, part: str) -> CaseDataset:
        """Prepared cases of ``train``, ``val`` or ``test``."""
        names: tuple[str, ...] = getattr(self.split, part)
        return CaseDataset([self.refs[name] for name in names], self.plan, self.keep_in_memory)

    def setup(self, stage: str | None = None) -> None:
        """Read the cases of the stage."""
        if stage in (None, "fit") and not hasattr(self, "_train"):
            self._train = self.dataset("train")
        if stage in (None, "fit", "validate") and not hasattr(self, "_val"):
            self._val = self.dataset("val")

    def train_dataloader(self) -> DataLoader[Any]:
        """Balanced, augmented patches."""
        dataset = PatchDataset(
            self._train,
            self.plan.patch,
            augmentation=Augmentation(
                rotation=self.rotation,
                scale=self.scale,
                flips=self.flips,
                probability=self.augment,
                strength=self.intensity,
            ),
            foreground=self.foreground,
            seed=self.seed,
        )
        return DataLoader(
            dataset,
            batch_size=self.plan.batch,
            sampler=SampleNumbers(
                len(dataset), self.samples_per_epoch or len(dataset), self.seed, position=self._samples_drawn
            ),
            num_workers=self.workers,
            drop_last=True,
            persistent_workers=self.workers > 0,
        )

    def _samples_drawn(self) -> int:
        """Samples that all optimiser steps so far have taken."""
        trainer = self.trainer
        if trainer is None:
            return 0
        return int(trainer.global_step * self.plan.batch * trainer.accumulate_grad_batches * trainer.world_size)

    def val_dataloader(self) -> DataLoader[Any]:
        """Whole validation cases without augmentation: a random patch would make the score a lottery."""
        cases = WholeCases(self._val)
        # every process scores every case: shares of them would be padded to equal length, and counted apart
        return DataLoader(cases, batch_size=None, sampler=DistributedSampler(cases, 1, 0, shuffle=False))


class WholeCases(torch.utils.data.Dataset[dict[str, Any]]):
    """Whole cases with a batch axis of one."""

    def __init__(self, cases: Sequence[PreparedCase]) -> None:
        self.cases = cases

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """``image`` (1, channels, D, H, W), ``label`` (1, 1, D, H, W), ``labelled`` (1, classes), ``name``."""
        case = self.cases[index]
        assert case.label is not None
        return {
            "image": torch.from_numpy(case.image)[None],
            "label": torch.from_numpy(case.label)[None, None],
            "labelled": torch.from_numpy(case.labelled)[None],
            "name": case.name,
        }
