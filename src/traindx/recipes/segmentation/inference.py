"""From a volume to a class map on its own grid, by one network or a fold ensemble, as its checkpoints were tuned."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from traindx.errors import InputError
from traindx.recipes.kit.run_folder import checkpoint_in
from traindx.recipes.segmentation.cleanup import CANDIDATES, Cleanup, better, clean
from traindx.recipes.segmentation.contract import InferenceSettings
from traindx.recipes.segmentation.fingerprint import canonical
from traindx.recipes.segmentation.metrics import NSD_TOLERANCE_MM, ClassScores, score_class
from traindx.recipes.segmentation.module import SegmentationModule, module_from
from traindx.recipes.segmentation.planning import Plan
from traindx.recipes.segmentation.preprocessing import PreparedCase, class_map, prepare_image, to_file_grid
from traindx.recipes.segmentation.sliding import OVERLAP, predict_probabilities
from traindx.recipes.segmentation.sources import RawCase
from traindx.recipes.segmentation.threshold import OverlapCounts


@dataclass(frozen=True)
class Prediction:
    """What was predicted for one volume, on the grid of its file.

    Attributes:
        classes: Class indices, shape ``(D, H, W)``.
        probabilities: Shape ``(classes, D, H, W)``.
        seconds: Wall time, without reading and writing.
    """

    classes: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    seconds: float


class Predictor:
    """An ensemble of modules that share one plan.

    Args:
        modules: Trained modules, one a fold.

    Raises:
        InputError: They were made for different plans.
    """

    def __init__(self, modules: Sequence[SegmentationModule]) -> None:
        if not modules:
            raise InputError("there is no checkpoint to predict with")
        first = modules[0]
        for other in modules[1:]:
            differing = [
                f"{name}: {getattr(first.plan, name)} and {getattr(other.plan, name)}"
                for name in ("labels", "channels", "patch", "kernels", "strides")
                if getattr(first.plan, name) != getattr(other.plan, name)
            ]
            if differing:
                raise InputError(
                    "the checkpoints were made for different plans: " + "; ".join(differing),
                    expected="folds of one data set with the same options",
                )
        self.modules = list(modules)
        self.plan: Plan = first.plan
        self.settings = _agree([module.settings for module in modules])

    @classmethod
    def load(cls, checkpoints: Sequence[Path], device: str = "cpu") -> Predictor:
        """Read checkpoints.

        Raises:
            InputError: One cannot be used.
        """
        return cls([module_from(checkpoint_in(Path(path))).to(device) for path in checkpoints])

    @property
    def seen(self) -> set[str]:
        """Names of the cases that any member was trained or tuned on."""
        splits = [module.split for module in self.modules if module.split is not None]
        return {name for split in splits for name in (*split.train, *split.val)}

    def probabilities(
        self, image: NDArray[np.float32], *, progress: bool = False, overlap: float = OVERLAP
    ) -> NDArray[np.float32]:
        """Class probabilities on the grid of the plan.

        Args:
            image: Network values, shape ``(channels, D, H, W)``.
            progress: Show a progress bar over windows.
            overlap: Overlap of windows.
        """
        device = self.modules[0].device
        p = predict_probabilities(
            [module.network for module in self.modules],
            torch.from_numpy(image)[None].to(device),
            self.plan.patch,
            overlap=overlap,
            flips=self.settings.flips,
            progress=progress,
            bf16=self.modules[0].bf16,
        )
        return p[0].cpu().numpy()

    def __call__(self, raw: RawCase, *, progress: bool = False, overlap: float = OVERLAP) -> Prediction:
        """Predict a case as it was read.

        Raises:
            InputError: Its channels are not those of training, or it holds values that are not finite.
        """
        started = time.perf_counter()
        image, _ = prepare_image(canonical(raw), self.plan)
        p = to_file_grid(self.probabilities(image, progress=progress, overlap=overlap), raw.image.shape[1:], raw.affine)
        classes = clean(class_map(p, self.settings.threshold), self.settings.cleanup)
        return Prediction(classes, p, time.perf_counter() - started)


def tune(module: SegmentationModule, cases: Sequence[PreparedCase]) -> tuple[InferenceSettings, dict[str, float]]:
    """Choose threshold and clean-up on validation cases; each must beat doing nothing by more than noise.

    Args:
        module: Trained module.
        cases: Validation cases with labels.

    Returns:
        Settings, and the mean Dice of every candidate.
    """
    counts = OverlapCounts(module.plan.labels.channels)
    kept: list[tuple[PreparedCase, NDArray[np.float32]]] = []
    for case in cases:
        assert case.label is not None
        p = predict_probabilities(
            module.network,
            torch.from_numpy(case.image)[None].to(module.device),
            module.plan.patch,
            flips=module.flips,
            bf16=module.bf16,
        )[0].cpu()
        counts.add(p, torch.from_numpy(case.label), torch.from_numpy(case.labelled))
        kept.append((case, p.numpy()))
    _, threshold = counts.best()
    scores: dict[str, float] = {}
    winner, best = Cleanup(), (-1.0, float("inf"))
    for candidate in CANDIDATES:
        found = [_scored(module, case, clean(class_map(p, threshold), candidate)) for case, p in kept]
        dice, hd95 = (_mean([one[k] for one in found]) for k in (0, 1))
        name = ", ".join(f"{k}={v}" for k, v in candidate.model_dump(exclude_defaults=True).items()) or "none"
        scores[name] = 0.0 if np.isnan(dice) else dice
        if better(scores[name], hd95, *best):  # later candidates do more; they must earn it
            winner, best = candidate, (scores[name], hd95)
    return InferenceSettings(flips=module.flips, threshold=threshold, cleanup=winner, tuned=True), scores


def _scored(module: SegmentationModule, case: PreparedCase, predicted: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean Dice and HD95 in mm of the classes that were looked for in a case; NaN where there is none."""
    assert case.label is not None
    found: list[ClassScores] = []
    for index in range(1, module.plan.labels.channels):
        if case.labelled[index - 1]:
            seen = (predicted == index) & (case.label >= 0)
            found.append(score_class(seen, case.label == index, case.spacing, NSD_TOLERANCE_MM))
    return _mean([one.dice for one in found]), _mean([one.hd95_mm for one in found])


def _mean(values: Sequence[float]) -> float:
    """Mean of those that are defined, NaN where none is."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _agree(settings: Sequence[InferenceSettings]) -> InferenceSettings:
    """Settings of an ensemble: the median threshold, clean-up only where all folds chose the same."""
    thresholds: list[Any] = [one.threshold for one in settings]
    numbers = [value for value in thresholds if value is not None]
    same = all(one.cleanup == settings[0].cleanup for one in settings)
    return settings[0].model_copy(
        update={
            "threshold": float(np.median(numbers)) if len(numbers) == len(thresholds) else None,
            "cleanup": settings[0].cleanup if same else Cleanup(),
        }
    )
