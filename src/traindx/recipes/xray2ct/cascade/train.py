"""``traindx train xray2ct_regression`` and ``xray2ct_cascade``: stage after stage by LightningCLI.

Every stage has its own settings (``presets/<method>/<preset>/stage*.yaml``), its own folder and its own checkpoints.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from traindx.errors import InputError, UsageError
from traindx.recipes.kit.first_check import add_options, first_check
from traindx.recipes.kit.lightning_output import progress_bars, silence
from traindx.recipes.xray2ct.cascade.cascade import RECIPE, Method
from traindx.recipes.xray2ct.data import verified_options
from traindx.recipes.xray2ct.train import BEST, LAST

PRESETS = Path(__file__).parent / "presets"
_WHAT = {
    "regression": "Train a progressive regression: a coarse CT volume from radiographs, refined stage by stage.",
    "diffusion": "Train a cascade of diffusion models: each draws a finer CT volume, given the one before.",
}
_UNFINISHED = "extension"


@dataclass(frozen=True)
class Run:
    """One stage of a run on disk.

    Attributes:
        number: From 1.
        settings: Its YAML file.
        folder: Where its checkpoints go.
    """

    number: int
    settings: Path
    folder: Path

    @property
    def best(self) -> Path:
        """The best checkpoint, which later stages start from."""
        return self.folder / BEST

    @property
    def last(self) -> Path:
        """The last checkpoint, which an interrupted stage goes on from."""
        return self.folder / LAST


def parser(method: Method) -> argparse.ArgumentParser:
    """Options of the command; everything else goes to LightningCLI."""
    name = RECIPE[method]
    made = argparse.ArgumentParser(
        prog=f"traindx train {name}",
        description=f"{_WHAT[method]} Options that are not listed go to LightningCLI for every stage that is trained, "
        "for example --data.source openkbp or --trainer.precision bf16-mixed; --print_config prints all of them.",
        epilog=f"Example: traindx train {name} --preset quick --out runs/quick",
    )
    names = sorted(path.name for path in (PRESETS / method).iterdir() if path.is_dir())
    made.add_argument("--preset", choices=names, default="quick", help="settings to start from (default: quick)")
    made.add_argument("--stage", type=int, help="train this stage only, counted from 1; earlier ones must be there")
    made.add_argument("--steps", type=int, help="optimiser steps of each stage that is trained")
    made.add_argument("--extend", type=int, metavar="STEPS", help="go on with a finished --stage for more steps")
    made.add_argument("--keep-every", type=int, default=0, help="also keep a checkpoint every so many epochs")
    made.add_argument("--seed", type=int, default=0, help="seed of weights, draws, order and population (default: 0)")
    made.add_argument("--out", type=Path, default=Path(f"runs/{name}"), help="folder of the run")
    made.add_argument("--resume", action="store_true", help="go on with the stage that was interrupted")
    made.add_argument("--threads", type=int, help="processor threads (default: all)")
    add_options(made)
    return made


def regression(argv: Sequence[str]) -> int:
    """Train the progressive regression."""
    return main("regression", argv)


def diffusion(argv: Sequence[str]) -> int:
    """Train the diffusion cascade."""
    return main("diffusion", argv)


def main(method: Method, argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UsageError: The options contradict each other.
        InputError: The data or a checkpoint cannot be used.
        KeyboardInterrupt: It was interrupted; the checkpoint of the last whole epoch is there.
    """
    options, rest = parser(method).parse_known_args(list(argv))
    runs = runs_of(method, options.preset, options.out)
    chosen = _chosen(runs, options)
    if options.threads:
        torch.set_num_threads(options.threads)
    verified = options.resume or options.no_verification or options.extend is not None
    for run in chosen:
        if options.resume and finished(run):
            continue
        if options.extend is not None:
            _extend(method, run, runs, options, rest)
            continue
        cli = build(method, run, runs, options, rest)
        if not verified and _first_process():
            first_check(partial(verified_options, cli.datamodule.options), options.out, strict=options.strict)
            verified = True
        resumed = options.resume and run.last.exists()
        fit(cli, run, run.last if resumed else None)
    _say(f"next: traindx evaluate {RECIPE[method]} --checkpoint {chosen[-1].best}")
    return 0


def runs_of(method: Method, preset: str, out: Path) -> list[Run]:
    """The stages of a preset in a folder."""
    settings = sorted((PRESETS / method / preset).glob("stage*.yaml"))
    return [Run(number, path, out / path.stem) for number, path in enumerate(settings, start=1)]


def finished(run: Run) -> bool:
    """True where the last checkpoint is that of the last step."""
    if not run.last.exists() or not run.best.exists():
        return False
    stored = torch.load(run.last, map_location="cpu", weights_only=True)
    return bool(stored["global_step"] >= stored["total_steps"])


def _chosen(runs: list[Run], options: argparse.Namespace) -> list[Run]:
    if options.stage is not None and not 1 <= options.stage <= len(runs):
        raise UsageError(f"there is no stage {options.stage}", expected=f"1 to {len(runs)} in preset {options.preset}")
    if options.extend is not None and (options.stage is None or options.resume):
        raise UsageError("--extend needs a finished --stage, and no --resume", do="name it: --stage 1 --extend 500")
    chosen = runs if options.stage is None else [runs[options.stage - 1]]
    for run in runs[: chosen[0].number - 1]:
        if not run.best.exists():
            raise InputError(
                f"{run.best} does not exist", expected=f"stage {run.number}, trained", do=f"--stage {run.number} first"
            )
    if options.extend is not None and not finished(chosen[0]):
        raise InputError(f"{chosen[0].folder} holds no finished stage", expected="one", do="finish it with --resume")
    there = [run for run in chosen if run.last.exists()]
    if options.resume and not there:
        raise InputError(f"{chosen[0].last} does not exist", expected="a run to resume", do="start without --resume")
    if there and not options.resume and options.extend is None:
        raise UsageError(
            f"{there[0].folder} holds a run already", expected="an empty folder", do="pass --resume, or another --out"
        )
    return chosen


def _extend(method: Method, run: Run, runs: list[Run], options: argparse.Namespace, rest: list[str]) -> None:
    """Train a finished stage for more steps with a schedule of its own; the better of both is its best from then on."""
    folder = run.folder / f"{_UNFINISHED}{1 + len(list(run.folder.glob(_UNFINISHED + '*')))}"
    more = Run(run.number, run.settings, folder)
    arguments = [*rest, f"--model.initial={run.best}", f"--trainer.max_steps={options.extend}"]
    cli = build(method, more, runs, argparse.Namespace(**{**vars(options), "steps": None}), arguments)
    before = _stored_figure(run.best)
    after = fit(cli, more, None)
    if after > before:
        shutil.copyfile(more.best, run.best)
    print(f"stage {run.number}: {before:.2f} dB before, {after:.2f} dB after {options.extend} more steps", flush=True)


def _stored_figure(path: Path) -> float:
    return float(torch.load(path, map_location="cpu", weights_only=True)["val_psnr"])


def build(method: Method, run: Run, runs: list[Run], options: argparse.Namespace, rest: Sequence[str]) -> Any:
    """A LightningCLI that has parsed its arguments and trains nothing yet."""
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.cli import LightningCLI

    from traindx.recipes.xray2ct.cascade.module import DiffusionModule, RegressionModule
    from traindx.recipes.xray2ct.module import XrayToCTData

    silence(".*module\\(s\\) in eval mode")  # earlier stages are frozen
    arguments = [f"--config={run.settings}", f"--seed_everything={options.seed}"]
    arguments += [f"--model.seed={options.seed}", f"--data.seed={options.seed}"]
    if run.number > 1:
        arguments.append(f"--model.earlier={runs[run.number - 2].best}")
    arguments += rest
    if options.steps is not None:
        arguments.append(f"--trainer.max_steps={options.steps}")
    common = {"dirpath": run.folder, "enable_version_counter": False}
    best = ModelCheckpoint(filename=Path(BEST).stem, monitor="val_psnr", mode="max", **common)
    # Whole epochs only: Lightning 2.6 does not go on in the middle of one exactly as it would have without the break.
    last = ModelCheckpoint(filename=Path(LAST).stem, every_n_epochs=1, save_on_train_epoch_end=True, **common)
    callbacks = [best, last, *progress_bars(rest)]
    if options.keep_every:
        kept = {"filename": "epoch{epoch:04d}", "auto_insert_metric_name": False, "save_top_k": -1}

        class Periodic(ModelCheckpoint):  # type: ignore[misc]  # a class of its own, because Lightning tells them apart by it
            """A checkpoint every so many epochs, all of them kept."""

        callbacks.append(Periodic(every_n_epochs=options.keep_every, save_on_train_epoch_end=True, **kept, **common))
    return LightningCLI(
        RegressionModule if method == "regression" else DiffusionModule,
        XrayToCTData,
        run=False,
        args=arguments,
        save_config_callback=None,
        trainer_defaults={
            "logger": {
                "class_path": "lightning.pytorch.loggers.CSVLogger",
                "init_args": {"save_dir": str(run.folder), "name": "log"},
            },
            "callbacks": callbacks,
            "enable_model_summary": False,
        },
    )


def fit(cli: Any, run: Run, resume: Path | None) -> float:
    """Train a stage to its end; returns the best PSNR.

    Raises:
        KeyboardInterrupt: It was interrupted.
    """
    trainer, data = cli.trainer, cli.datamodule.data
    _say(
        f"stage {run.number} of {cli.model.size} voxels a side: {trainer.max_steps} steps on {len(data.train)} "
        f"training volumes, {len(data.val)} for validation; checkpoints in {run.folder}"
    )
    try:
        trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=str(resume) if resume else None)
    except SystemExit:  # Lightning's answer to Ctrl-C
        print(
            f"interrupted in stage {run.number}; go on after the last whole epoch with --resume and the same options"
            if run.last.exists()
            else f"interrupted in the first epoch of stage {run.number}: nothing of it was stored"
        )
        raise KeyboardInterrupt from None
    best, earlier = _finish(cli, run)
    beside = f" ({earlier:.2f} dB for the earlier stage, up-sampled)" if earlier is not None else ""
    _say(f"stage {run.number}: best validation PSNR {best:.2f} dB at {cli.model.size} voxels a side{beside}")
    return best


def _first_process() -> bool:
    """False in the further processes of a distributed training, which run the same command."""
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


def _say(text: str) -> None:
    if _first_process():
        print(text, flush=True)


def _finish(cli: Any, run: Run) -> tuple[float, float | None]:
    """Validate and store the end of a stage that does not end with an epoch; the best figure goes into its file."""
    trainer = cli.trainer
    known = trainer.checkpoint_callbacks[0].best_model_score
    best = float(known) if known is not None else float("-inf")
    found = trainer.callback_metrics
    if trainer.global_step % cli.datamodule.epoch_steps:
        found = trainer.validate(cli.model, datamodule=cli.datamodule, verbose=False)[0]
        trainer.save_checkpoint(run.last)
        if float(found["val_psnr"]) > best:
            best = float(found["val_psnr"])
            trainer.save_checkpoint(run.best)
    if trainer.is_global_zero:
        stored = torch.load(run.best, map_location="cpu", weights_only=True)
        torch.save({**stored, "val_psnr": best}, run.best)
    earlier = found.get("val_psnr_earlier")
    return best, float(earlier) if earlier is not None else None
