"""``traindx train xray2ct_regression`` and ``xray2ct_cascade``: stage after stage by LightningCLI.

Every stage has its own settings (``presets/<method>/<preset>/stage*.yaml``), its own folder and its own checkpoints.
"""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from traindx.errors import InputError, UsageError
from traindx.recipes.kit import options as kit
from traindx.recipes.kit.contract import load, store
from traindx.recipes.kit.first_check import first_check
from traindx.recipes.kit.run_folder import BEST, LAST, RED_FLAGS, check_folder
from traindx.recipes.kit.training import command_line, finish, first_process, fit, set_threads
from traindx.recipes.xray2ct.cascade.cascade import RECIPE, Method
from traindx.recipes.xray2ct.data import verified_options
from traindx.recipes.xray2ct.train import MOVED, ROOT, SOURCES

PRESETS = Path(__file__).parent / "presets"
_WHAT = {
    "regression": "Train a progressive regression: a coarse CT volume from radiographs, refined stage by stage.",
    "diffusion": "Train a cascade of diffusion models: each draws a finer CT volume, given the one before.",
}
_UNFINISHED = "extension"
_PATIENCE = 2  # epochs


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
    """Options of the command; everything else goes to LightningCLI, for every stage that is trained."""
    made = kit.parser("train", RECIPE[method], _WHAT[method], "--preset quick --out runs/quick")
    kit.data(made, SOURCES, root=ROOT)
    own = kit.train(made, sorted(path.name for path in (PRESETS / method).iterdir() if path.is_dir()))
    own.add_argument("--stage", type=int, help="train this stage only, counted from 1; earlier ones must be there")
    own.add_argument("--extend", type=int, metavar="STEPS", help="go on with a finished --stage for more steps")
    own.add_argument("--keep-every", type=int, default=0, help="also keep a checkpoint every so many epochs")
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
    kit.refuse_old(argv, MOVED)
    options, rest = parser(method).parse_known_args(list(argv))
    runs = runs_of(method, options.preset, options.out)
    if options.plan:
        from traindx.recipes.kit import cost
        from traindx.recipes.xray2ct.cascade.workloads import workloads

        return cost.show(workloads(method, [cost.settings(run.settings, rest) for run in runs]), options.preset)
    chosen = _chosen(runs, options)
    set_threads(options.threads)
    verified = options.resume or options.no_verification or options.extend is not None
    for run in chosen:
        if options.resume and finished(run):
            continue
        if options.extend is not None:
            _extend(method, run, runs, options, rest)
            continue
        cli = build(method, run, runs, options, rest)
        if not verified and first_process():
            first_check(partial(verified_options, cli.datamodule.options), options.out, strict=options.strict)
            verified = True
        resumed = options.resume and run.last.exists()
        train_stage(cli, run, run.last if resumed else None)
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
    stored = load(run.last)
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
    if options.extend is None:
        check_folder(options.out, resume=options.resume, stages=tuple(run.folder.name for run in chosen))
    return chosen


def _extend(method: Method, run: Run, runs: list[Run], options: argparse.Namespace, rest: list[str]) -> None:
    """Train a finished stage for more steps with a schedule of its own; the better of both is its best from then on."""
    folder = run.folder / f"{_UNFINISHED}{1 + len(list(run.folder.glob(_UNFINISHED + '*')))}"
    more = Run(run.number, run.settings, folder)
    arguments = [*rest, f"--model.initial={run.best}", f"--trainer.max_steps={options.extend}"]
    cli = build(method, more, runs, argparse.Namespace(**{**vars(options), "steps": None}), arguments)
    before = _stored_figure(run.best)
    after = train_stage(cli, more, None)
    if after > before:
        shutil.copyfile(more.best, run.best)
    print(f"stage {run.number}: {before:.2f} dB before, {after:.2f} dB after {options.extend} more steps", flush=True)


def _stored_figure(path: Path) -> float:
    return float(load(path)["val_psnr"])


def build(method: Method, run: Run, runs: list[Run], options: argparse.Namespace, rest: Sequence[str]) -> Any:
    """A LightningCLI that has parsed its arguments and trains nothing yet."""
    from traindx.recipes.kit.red_flags import RedFlags
    from traindx.recipes.xray2ct.cascade.module import DiffusionModule, RegressionModule
    from traindx.recipes.xray2ct.module import XrayToCTData

    earlier = [f"--model.earlier={runs[run.number - 2].best}"] if run.number > 1 else []
    callbacks = [RedFlags(run.folder / RED_FLAGS, ("loss", "val_psnr", "val_psnr_earlier"), flagged)]
    if options.keep_every:
        callbacks.append(_periodic(run.folder, options.keep_every))
    return command_line(
        RegressionModule if method == "regression" else DiffusionModule,
        XrayToCTData,
        kit.arguments(options, run.settings, [*earlier, *rest]),
        run.folder,
        "val_psnr",
        callbacks=callbacks,
        expected=[".*module\\(s\\) in eval mode"],  # earlier stages are frozen
    )


def flagged(figures: Mapping[str, float], _module: Any, epoch: int) -> list[str]:
    """What is wrong with the figures of a validation; every stage begins below the earlier one."""
    from traindx.recipes.kit.red_flags import not_finite

    found = not_finite(figures)
    earlier = figures.get("val_psnr_earlier", -math.inf)
    if epoch >= _PATIENCE and figures.get("val_psnr", math.inf) < earlier:
        found.append(f"PSNR is {figures['val_psnr']:.2f} dB, that of the up-sampled earlier stage {earlier:.2f} dB")
    return found


def _periodic(folder: Path, epochs: int) -> Any:
    """A callback that keeps a checkpoint every so many epochs, all of them."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    class Periodic(ModelCheckpoint):  # type: ignore[misc]  # a class of its own: Lightning tells them apart by it
        """A checkpoint every so many epochs, all of them kept."""

    return Periodic(
        dirpath=folder,
        filename="epoch{epoch:04d}",
        auto_insert_metric_name=False,
        save_top_k=-1,
        every_n_epochs=epochs,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


def train_stage(cli: Any, run: Run, resume: Path | None) -> float:
    """Train a stage to its end; returns the best PSNR.

    Raises:
        KeyboardInterrupt: It was interrupted.
    """
    trainer, data = cli.trainer, cli.datamodule.data
    _say(
        f"stage {run.number} of {cli.model.size} voxels a side: {trainer.max_steps} steps on {len(data.train)} "
        f"training volumes, {len(data.val)} for validation; checkpoints in {run.folder}"
    )
    fit(trainer, cli.model, cli.datamodule, run.folder.parent, resume=resume, what=run.folder.name)
    best, earlier = _finish(cli, run)
    beside = f" ({earlier:.2f} dB for the earlier stage, up-sampled)" if earlier is not None else ""
    _say(f"stage {run.number}: best validation PSNR {best:.2f} dB at {cli.model.size} voxels a side{beside}")
    return best


def _say(text: str) -> None:
    if first_process():
        print(text, flush=True)


def _finish(cli: Any, run: Run) -> tuple[float, float | None]:
    """Validate and store the end of a stage that does not end with an epoch; the best figure goes into its file."""
    best, found = finish(cli, run.folder, "val_psnr")
    if cli.trainer.is_global_zero:
        store(run.best, {**load(run.best), "val_psnr": best})
    earlier = found.get("val_psnr_earlier")
    return best, float(earlier) if earlier is not None else None
