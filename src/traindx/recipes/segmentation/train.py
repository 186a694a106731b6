"""``traindx train segmentation``: LightningCLI with presets, resume, a budget in minutes, tuned inference."""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from traindx.diagnosis import Diagnosis
from traindx.errors import UsageError
from traindx.recipes.kit import options as kit
from traindx.recipes.kit.contract import load
from traindx.recipes.kit.first_check import first_check
from traindx.recipes.kit.run_folder import LAST, MODEL, RED_FLAGS, check_folder
from traindx.recipes.kit.training import command_line, fit, set_threads
from traindx.recipes.segmentation.sources import LABELS

PRESETS = Path(__file__).parent / "presets"
ROOT = "data set: imagesTr/ and labelsTr/, or another layout of images and labels"
MOVED = {
    "--preset default": "--preset standard",
    "--preset hippocampus": "--preset standard --source hippocampus; --preset is a size",
}

_BUDGET_SHARE = 0.93
"""Share of the minutes that is planned for steps; the rest is validation, checkpoints and reading."""


def parser() -> argparse.ArgumentParser:
    """Options of the command; everything else goes to LightningCLI."""
    made = kit.parser(
        "train",
        "segmentation",
        "Train a 3D segmentation network. Sizes of network and patches follow from the data and from this machine; a "
        "preset says how wide and how long.",
        "--root data/hippocampus --minutes 20 --out runs/fold0",
    )
    kit.data(made, tuple(LABELS), default="folder", root=ROOT)
    own = kit.train(made, sorted(path.stem for path in PRESETS.glob("*.yaml")), default="standard")
    own.add_argument("--minutes", type=float, help="set the number of steps by timing a few of them")
    return made


def train(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UsageError: The options contradict each other.
        InputError: The data or the checkpoint cannot be used.
    """
    kit.refuse_old(argv, MOVED)
    options, rest = parser().parse_known_args(list(argv))
    if options.plan:
        from traindx.recipes.kit import cost
        from traindx.recipes.segmentation.workloads import EXAMPLE, workloads

        print(f"planned for {EXAMPLE}, which your data are not\n")
        return cost.show(workloads(cost.settings(PRESETS / f"{options.preset}.yaml", rest)), options.preset)
    if options.steps is not None and options.minutes is not None:
        raise UsageError("both --steps and --minutes are given", expected="one of them")
    check_folder(options.out, resume=options.resume)
    set_threads(options.threads)
    run(
        kit.arguments(options, PRESETS / f"{options.preset}.yaml", rest, seeded=("data",)),
        options.out,
        minutes=options.minutes,
        resume=options.resume,
        verification=not options.no_verification,
        strict=options.strict,
    )
    return 0


def run(
    arguments: Sequence[str],
    out: Path,
    *,
    minutes: float | None = None,
    resume: bool = False,
    verification: bool = False,
    strict: bool = False,
) -> Path:
    """Train with LightningCLI arguments.

    Args:
        arguments: Arguments of ``fit``.
        out: Folder of the run: ``last.ckpt``, ``model.ckpt``, ``log/``, ``plan.json``, ``fingerprint.json``.
        minutes: Budget; replaces ``--trainer.max_steps``.
        resume: Go on from ``last.ckpt``.
        verification: Verify the data first; what is found goes to ``data/``. A resumed run has been there.
        strict: Refuse data with a demonstrated fault.

    Returns:
        Path of ``model.ckpt``.
    """
    from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

    from traindx.recipes.segmentation.averaging import AveragedWeights
    from traindx.recipes.segmentation.data import SegmentationData
    from traindx.recipes.segmentation.module import SegmentationModule
    from traindx.recipes.segmentation.red_flags import red_flags

    class CLI(LightningCLI):  # type: ignore[misc]
        def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
            parser.add_lightning_class_args(AveragedWeights, "averaging")
            parser.link_arguments("data.plan", "model.plan", apply_on="instantiate")
            parser.link_arguments("data.flips", "model.flips")

    flags = red_flags(out / RED_FLAGS)
    cli = command_line(SegmentationModule, SegmentationData, arguments, out, "val_dice", callbacks=[flags], kind=CLI)
    data, module, trainer = cli.datamodule, cli.model, cli.trainer
    if trainer.check_val_every_n_epoch != 1:
        # Lightning 2.6 repeats one batch when it resumes after an epoch without validation
        raise UsageError(
            f"check_val_every_n_epoch is {trainer.check_val_every_n_epoch}",
            expected="1, without which a resumed run differs from an unbroken one",
            do="make epochs longer with --data.samples_per_epoch",
        )
    if verification and not resume:
        first_check(lambda folder: _verified(data, folder), out, strict=strict)
    module.split = data.split
    (out / "plan.json").write_text(data.plan.model_dump_json(indent=1), encoding="utf-8")
    data.fingerprint.save(out / "fingerprint.json")
    for name, reason in data.fingerprint.unreadable:
        print(f"left out {name}: {reason}", flush=True)
    if resume:
        steps = load(out / LAST)["total_steps"]
        set_steps(trainer, steps)
    elif minutes is not None:
        set_steps(trainer, steps_in(module, data, minutes * 60 * _BUDGET_SHARE))
    started = time.perf_counter()
    fit(trainer, module, data, out, resume=out / LAST if resume else None)
    print(f"{trainer.global_step} steps in {time.perf_counter() - started:.0f} s", flush=True)
    return finish(module, data, trainer, out)


def _verified(data: Any, folder: Path) -> Diagnosis:
    """The data set as it lies in its folder, with the meaning of its labels where that was declared."""
    from traindx.data import verify

    meaning = data.plan.labels
    values = (*meaning.background, *(value for group in meaning.classes.values() for value in group), *meaning.ignore)
    return verify(
        data.root,
        task="segmentation",
        label_values=values if meaning.declared else (),
        ignore_value=meaning.ignore[0] if meaning.ignore else None,
        out=folder,
    )


def set_steps(trainer: Any, steps: int) -> None:
    """Set the length of the run, and with it that of the cosine."""
    trainer.fit_loop.epoch_loop.max_steps = steps
    trainer.fit_loop.max_epochs = -1


def steps_in(module: Any, data: Any, seconds: float, probe: int = 8) -> int:
    """How many steps fit into some seconds, by timing a few on a copy of the module.

    Args:
        module: The module; it is left as it is.
        data: The data module.
        seconds: Time for steps.
        probe: Steps that are timed, after two that are not.
    """
    trial = copy.deepcopy(module)
    optimizer = torch.optim.AdamW(trial.parameters(), lr=1e-4)
    data.setup("fit")
    batches = iter(data.train_dataloader())
    for number in range(probe + 2):
        if number == 2:  # the first steps allocate memory and choose kernels
            started = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            batches = iter(data.train_dataloader())
            batch = next(batches)
        torch.autograd.backward(torch.stack(list(trial.loss_terms(batch).values())).sum())
        optimizer.step()
        optimizer.zero_grad()
    step = (time.perf_counter() - started) / probe
    steps = max(1, int(seconds / step))
    print(f"{step:.3f} s a step: {steps} steps", flush=True)
    return steps


def finish(module: Any, data: Any, trainer: Any, out: Path) -> Path:
    """Choose threshold and clean-up on validation cases and write ``model.ckpt``.

    The last averaged weights are kept, not the best of many evaluations: on a handful of validation cases that choice
    is mostly a choice of noise.
    """
    from traindx.recipes.segmentation.inference import tune

    data.setup("validate")
    module.settings, scores = tune(module, list(data.dataset("val")))
    print("validation Dice by clean-up: " + ", ".join(f"{k} {v:.4f}" for k, v in scores.items()), flush=True)
    trainer.save_checkpoint(out / MODEL, weights_only=True)
    print(f"wrote {out / MODEL}; next: traindx evaluate segmentation --checkpoint {out} --root {data.root}", flush=True)
    return out / MODEL
