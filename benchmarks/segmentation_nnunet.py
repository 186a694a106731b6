"""nnU-Net v2 itself on the patients of ``segmentation_hippocampus.py``, stopped by processor time.

Its own fingerprint, planner, preprocessing, augmentation, loss, optimiser and predictor, with the default planner's
``3d_fullres`` configuration and all training patients (fold ``all``). Two things are other than it comes: the training
ends when the processor time is spent, and its polynomial decay runs over that time in place of 1000 epochs of 250
steps, so that its learning rate too is annealed to its end. No time goes into its validation patches, and planning and
preprocessing are not counted. Augmentation runs in the training process, whose time is what is counted.

``nnunetv2`` needs torchvision (through timm) and lives in an environment of its own:

    python -m venv nnunet && nnunet/bin/pip install nnunetv2
    NNUNET_PYTHON=nnunet/bin/python python benchmarks/segmentation_hippocampus.py --method nnunet

This file is the caller, and as a script under ``NNUNET_PYTHON`` the one that is called.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segmentation_monai import Spent

    from traindx.recipes.kit.split import Split

DATASET = "Dataset004_Hippocampus"
SPENT = "spent.json"
AUGMENTERS = "nnUNet_n_proc_DA"
"""Environment variable: processes that augment."""


def train_and_predict(
    data: Path, split: Split, folder: Path, *, seconds: float, seed: int, cores: int
) -> tuple[Path, Spent]:
    """Train on the training and validation patients of a split, and segment its hold-out.

    Args:
        data: Folder with ``imagesTr`` and ``labelsTr``.
        split: Patients.
        folder: What nnU-Net keeps; planned and preprocessed data that are there already are used again.
        seconds: Processor time of the training.
        seed: Seed of weights and patches.
        cores: Threads.

    Returns:
        Folder of masks, and what the training cost.
    """
    from segmentation_monai import Spent

    from traindx.errors import UsageError

    python = os.environ.get("NNUNET_PYTHON")
    if not python:
        raise UsageError(
            "NNUNET_PYTHON is not set",
            expected="the interpreter of an environment with nnunetv2",
            do="python -m venv nnunet && nnunet/bin/pip install nnunetv2; export NNUNET_PYTHON=nnunet/bin/python",
        )
    folder = folder.absolute()
    write_dataset(data, split, folder / "raw" / DATASET)
    command = [python, __file__, "--folder", str(folder), "--seconds", str(seconds), "--seed", str(seed)]
    paths = {f"nnUNet_{kind}": str(folder / kind) for kind in ("raw", "preprocessed", "results")}
    environment = {**os.environ, **paths, "PYTHONPATH": ""}  # PYTHONPATH is ours and not that environment's
    subprocess.run([*command, "--cores", str(cores)], env=environment, check=True)
    masks = folder / f"masks{seed}"
    return masks, Spent(**json.loads((masks / SPENT).read_text()))


def write_dataset(data: Path, split: Split, out: Path) -> None:
    """The patients in nnU-Net's layout: only those that may be seen stand in ``imagesTr``."""
    names = (*split.train, *split.val)
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        (out / part).mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(data / "imagesTr" / f"{name}.nii.gz", out / "imagesTr" / f"{name}_0000.nii.gz")
        shutil.copyfile(data / "labelsTr" / f"{name}.nii.gz", out / "labelsTr" / f"{name}.nii.gz")
    for name in split.test:
        shutil.copyfile(data / "imagesTr" / f"{name}.nii.gz", out / "imagesTs" / f"{name}_0000.nii.gz")
    table = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "anterior": 1, "posterior": 2},
        "numTraining": len(names),
        "file_ending": ".nii.gz",
    }
    (out / "dataset.json").write_text(json.dumps(table))


def plan_and_preprocess(folder: Path) -> None:
    """nnU-Net's own planning and preprocessing, once a folder."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )

    done = folder / "preprocessed" / "done"
    if not done.exists():
        extract_fingerprints([4], num_processes=1)
        plan_experiments([4])
        preprocess([4], configurations=("3d_fullres",), num_processes=(1,))
        done.touch()


def worker(options: argparse.Namespace) -> None:
    """Plan, train and predict; runs where nnunetv2 is installed."""
    import random
    import time

    import numpy as np
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class ByProcessorTime(nnUNetTrainer):  # type: ignore[misc]
        """Trains until the processor time is spent; polynomial decay over that time."""

        def run_training(self) -> None:
            self.on_train_start()
            wall, started, self.steps = time.perf_counter(), time.process_time(), 0
            while (share := (time.process_time() - started) / options.seconds) < 1:
                for group in self.optimizer.param_groups:
                    group["lr"] = self.initial_lr * (1 - share) ** 0.9
                self.network.train()
                self.train_step(next(self.dataloader_train))
                self.steps += 1
                if self.steps % 10 == 0:
                    print(f"nnunet: step {self.steps}, {share:.0%} of the time", flush=True)
            used = time.process_time() - started
            self.spent = {
                "steps": self.steps,
                "wall_minutes": (time.perf_counter() - wall) / 60,
                "cpu_minutes": used / 60,
                "step_seconds": used / self.steps,
            }
            self.on_train_end()

    os.environ[AUGMENTERS] = "1"  # the planner takes it for a number of threads
    plan_and_preprocess(options.folder)
    os.environ[AUGMENTERS] = "0"  # augmentation in this process, whose time is counted
    torch.set_num_threads(options.cores)
    for seeded in (random.seed, np.random.seed, torch.manual_seed):
        seeded(options.seed)
    base = options.folder / "preprocessed" / DATASET
    plans: dict[str, Any] = json.loads((base / "nnUNetPlans.json").read_text())
    table = json.loads((base / "dataset.json").read_text())
    trainer = ByProcessorTime(
        {**plans, "continue_training": False}, "3d_fullres", "all", table, device=torch.device("cpu")
    )
    trainer.run_training()
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        table,
        "ByProcessorTime",
        trainer.inference_allowed_mirroring_axes,
    )
    masks = options.folder / f"masks{options.seed}"
    masks.mkdir(exist_ok=True)
    predictor.predict_from_files_sequential(str(options.folder / "raw" / DATASET / "imagesTs"), str(masks))
    (masks / SPENT).write_text(json.dumps(trainer.spent))


def main() -> None:
    parser = argparse.ArgumentParser(description="called by train_and_predict")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--cores", type=int, required=True)
    worker(parser.parse_args())


if __name__ == "__main__":
    main()
