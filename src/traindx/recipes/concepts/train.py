"""``traindx train concepts``: three stages, each with its own best checkpoint, and ``--resume``."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch

from traindx.errors import UsageError
from traindx.recipes.concepts.command_line import ConceptsDataSettings, ConceptsModelSettings, settings_from
from traindx.recipes.concepts.contract import Learnt, save_model
from traindx.recipes.concepts.data import Batch, Dataset, EvalBatches, TrainBatches, shown
from traindx.recipes.concepts.loss import class_weights, pooled, positive_weights
from traindx.recipes.concepts.metrics import thresholds
from traindx.recipes.concepts.modes import find_modes
from traindx.recipes.concepts.module import ConceptsModule
from traindx.recipes.concepts.pretrained import load_into, read_weights
from traindx.recipes.concepts.prototypes import push, with_patches
from traindx.recipes.concepts.radiographs import Radiographs, split_patients
from traindx.recipes.concepts.settings import PRESETS, STAGES, Settings
from traindx.recipes.concepts.sources import SOURCES, load
from traindx.recipes.concepts.verification import verify_source
from traindx.recipes.kit import options as kit
from traindx.recipes.kit.contract import load as load_checkpoint
from traindx.recipes.kit.contract import store
from traindx.recipes.kit.first_check import first_check
from traindx.recipes.kit.red_flags import RedFlags
from traindx.recipes.kit.run_folder import BEST, LAST, MODEL, RED_FLAGS, check_folder
from traindx.recipes.kit.split import Split
from traindx.recipes.kit.training import checkpoints, command_line, set_threads
from traindx.recipes.kit.training import fit as fit_stage

PROGRESS_FILE = "progress.json"
FIXED: Mapping[str, Any] = {
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 1,
    "use_distributed_sampler": False,
    "reload_dataloaders_every_n_epochs": 1,
}
"""What a stage's trainer is given: batches are made anew each epoch, and share themselves out among ranks."""
MOVED = {
    "--set": "--data.NAME=VALUE or --model.NAME=VALUE; --print_config lists them",
    "--progress": "--trainer.enable_progress_bar true, which is the default",
    "--preset phantom": "--preset quick, whose source is the phantom",
    "--preset tbx11k": "--preset standard --source tbx11k; --preset is a size",
    "--preset covid": "--preset standard --source covid; --preset is a size",
    "--part": "--cases",
    "--draws": "--resamples",
}


class ConceptsData(L.LightningDataModule):  # type: ignore[misc]
    """Batches of a divided set; the epoch and the rank decide what a training pass sees, nothing else."""

    def __init__(self, data: Radiographs, split: Split, settings: Settings) -> None:
        super().__init__()
        architecture = settings.architecture
        self.settings, self.split = settings, split
        self.train_set, self.val_set = (
            Dataset(data.only(part), size=architecture.size, map_size=architecture.map_size)
            for part in (split.train, split.val)
        )

    def train_dataloader(self) -> TrainBatches:
        """One pass; made anew each epoch."""
        trainer = self.trainer
        batches = TrainBatches(
            self.train_set,
            self.settings.batch_size,
            self.settings.augmentation,
            seed=self.settings.seed,
            rank=trainer.global_rank if trainer else 0,
            world=trainer.world_size if trainer else 1,
        )
        batches.set_epoch(trainer.current_epoch if trainer else 0)
        return batches

    def val_dataloader(self) -> EvalBatches:
        """Validation images as they are."""
        return EvalBatches(self.val_set)


@dataclass
class Run:
    """A training in a folder.

    Attributes:
        settings: Settings.
        data: Batches.
        module: Network and state.
        out: Folder.
        trainer: Makes the trainer of a stage.
    """

    settings: Settings
    data: ConceptsData
    module: ConceptsModule
    out: Path
    trainer: Callable[..., L.Trainer]


def prepare(
    settings: Settings,
    out: Path,
    radiographs: Radiographs | None = None,
    split: Split | None = None,
    trainer: Callable[..., L.Trainer] | None = None,
) -> Run:
    """Data, network and weights of a run, before any step.

    Args:
        settings: Settings.
        out: Folder of the run.
        radiographs: The set; read from the settings' source by default.
        split: Its division; drawn by the settings' shares and seed by default.
        trainer: Makes the trainer of a stage from its epochs, logger and callbacks; one without a progress bar by
            default.

    Raises:
        InputError: The data or the weights cannot be used.
    """
    whole = radiographs or load(
        settings.source, images=settings.images, size=settings.architecture.size, seed=settings.split_seed
    )
    split = split or split_patients(whole, val=settings.val, test=settings.test, seed=settings.split_seed)
    data = ConceptsData(whole, split, settings)
    weights = positive_weights(data.train_set.labels, settings.pos_weight_cap)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        module = ConceptsModule(settings, whole.concepts, whole.classes, weights)
    if settings.balance_task:
        module.class_weights = class_weights(data.train_set.task, len(whole.classes))
    # 1.7 times as fast on a processor
    module.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.weights:
        report = load_into(
            module.network.maps.encoder, read_weights(Path(settings.weights)), least=settings.least_coverage
        )
        print(f"encoder weights: {report}", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / "split.json").write_text(split.model_dump_json(indent=1), encoding="utf-8")
    quiet = partial(L.Trainer, **FIXED, enable_model_summary=False, enable_progress_bar=False)
    return Run(settings, data, module, out, trainer or quiet)


def fit(run: Run, *, resume: bool = False, stop_after: int | None = None) -> Path | None:
    """Train all stages.

    Args:
        run: The run.
        resume: Go on from the last whole epoch in the folder.
        stop_after: Break off after this many epochs of a stage, as an interruption would (for tests of resuming).

    Returns:
        Path of the model file, or None where the run was broken off.
    """
    done: list[str] = _read_progress(run.out) if resume else []
    for stage in STAGES:
        plan = run.settings.stages.get(stage)
        if plan is None or plan.epochs == 0:
            continue
        best, last = run.out / stage / BEST, run.out / stage / LAST
        if stage not in done:
            begun = time.perf_counter()
            going_on = resume and last.exists()
            if stage == "prototypes" and run.settings.assignment == "mode" and not going_on:
                run.module.modes = find_modes(run.module.network, _patched(run), seed=run.settings.seed)
            run.module.enter(stage)
            trainer = _trainer(run, stage, plan.epochs if stop_after is None else stop_after)
            trainer.fit_loop.max_epochs = plan.epochs  # the schedule is that of the whole stage
            if stop_after is not None:
                trainer.callbacks.append(_StopAfter(stop_after))
            begin = last if going_on else None
            fit_stage(trainer, run.module, run.data, run.out, resume=begin, what=stage)
            if trainer.current_epoch < plan.epochs:
                return None
            done.append(stage)
            (run.out / PROGRESS_FILE).write_text(json.dumps(done), encoding="utf-8")
            score = run.module.best.scores.get(stage, float("nan"))
            print(f"{stage}: best score {score:.3f} in {time.perf_counter() - begun:.0f} s", flush=True)
        if run.settings.keep == "last" or not best.exists():
            best = last
        stored = load_checkpoint(best)
        run.module.load_state_dict(stored["state_dict"])
        run.module.best.scores.update(stored["best"])
        if stage == "prototypes" and not (run.out / "nearest.json").exists():
            nearest = push(run.module.network, _patched(run), run.data.train_set.data.ids)
            (run.out / "nearest.json").write_text(json.dumps([one.model_dump() for one in nearest]), encoding="utf-8")
            store(best, {**stored, "state_dict": run.module.state_dict()})
    return _finish(run, tuple(done))


def _patched(run: Run) -> Iterator[Batch]:
    """Training images as they are, with the cells that show their concepts."""
    return with_patches(run.module.network, EvalBatches(run.data.train_set), run.settings.hottest)


class _StopAfter(L.Callback):  # type: ignore[misc]
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch + 1 >= self.epochs:
            trainer.should_stop = True


def _trainer(run: Run, stage: str, epochs: int) -> L.Trainer:
    """A trainer for one stage: one folder and one best score each, since their scales have nothing in common."""
    from lightning.pytorch.loggers import CSVLogger

    shown = ("loss", "score", "val_map", "val_auroc", "val_pointing", "val_within", "val_used")
    return run.trainer(
        max_epochs=epochs,
        logger=CSVLogger(str(run.out), name="log", version=stage),
        callbacks=[*checkpoints(run.out / stage, "score"), RedFlags(run.out / RED_FLAGS, shown, _new_flags)],
    )


def _new_flags(figures: Mapping[str, float], module: ConceptsModule, _epoch: int) -> list[str]:
    """What the module flagged since the last validation; a score that is not defined is no flag of its own."""
    new = module.red_flags[module.flags_written :]
    module.flags_written = len(module.red_flags)
    return new


def _read_progress(out: Path) -> list[str]:
    path = out / PROGRESS_FILE
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []


@torch.no_grad()
def _finish(run: Run, trained: tuple[str, ...]) -> Path:
    """Thresholds on validation patients, and the model file."""
    module = run.module.eval()
    logits, labels = [], []
    for batch in EvalBatches(run.data.val_set):
        maps = module.network.maps(batch["image"].to(module.device))
        logits.append(pooled(maps, run.settings.architecture.pooling).cpu())
        labels.append(batch["label"])
    chosen = thresholds(torch.cat(logits).sigmoid().numpy(), torch.cat(labels).numpy())
    path = run.out / "nearest.json"
    nearest = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    learnt = Learnt.model_validate(
        {"thresholds": chosen, "nearest": nearest, "split": run.data.split, "trained": trained}
    )
    dataset = run.data.train_set
    wanted = {one.image for one in learnt.nearest}
    gallery = {
        name: torch.from_numpy(shown(dataset.images[index]))
        for index, name in enumerate(dataset.data.ids)
        if name in wanted
    }
    save_model(run.out / MODEL, module.contract(), module.state_dict(), learnt, gallery)
    print(f"wrote {run.out / MODEL}", flush=True)
    return run.out / MODEL


def parser() -> argparse.ArgumentParser:
    """Options of the command; everything else goes to LightningCLI."""
    made = kit.parser(
        "train",
        "concepts",
        "Train concept maps, prototypes and a task on images, with boxes or without, in three stages.",
        "--source tbx11k --preset standard --out runs/tbx --model.margin 1.5",
    )
    kit.data(made, SOURCES, default="phantom")
    own = kit.train(made, sorted(path.stem for path in PRESETS.glob("*.yaml")), steps=False)
    own.add_argument("--weights", help="start the encoder from the tensors of this file")
    return made


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UsageError: The options contradict each other.
        InputError: The data, the weights or the checkpoint cannot be used.
        KeyboardInterrupt: It was interrupted; the checkpoint of the last whole epoch is there.
    """
    kit.refuse_old(argv, MOVED)
    options, rest = parser().parse_known_args(list(argv))
    if options.plan:
        from traindx.recipes.concepts.workloads import workloads
        from traindx.recipes.kit import cost

        return cost.show(workloads(cost.settings(PRESETS / f"{options.preset}.yaml", rest)), options.preset)
    if any(options.out.glob("*-last.ckpt")):
        raise UsageError(
            f"{options.out} holds a run of an older version, which laid the checkpoints of stages elsewhere",
            expected="an empty folder, or a run of this version",
            do="finish it with the version that began it, or begin anew with another --out; its model.ckpt can be used",
        )
    check_folder(options.out, resume=options.resume, stages=STAGES)
    set_threads(options.threads)
    weights = [f"--model.weights={options.weights}"] if options.weights else []
    preset = PRESETS / f"{options.preset}.yaml"
    cli = build(kit.arguments(options, preset, [*weights, *rest], seeded=("model",)), options.out)
    settings = settings_from(cli.datamodule, cli.model)
    if not options.resume and not options.no_verification:
        first_check(lambda folder: verify_source(settings, out=folder), options.out, strict=options.strict)
    run = prepare(settings, options.out, trainer=cli.instantiate_trainer)
    split = run.data.split
    print(
        f"{len(split.train)} training, {len(split.val)} validation and {len(split.test)} held-out images; "
        f"map of {run.settings.architecture.map_size[0]} cells a side; checkpoints in {options.out}",
        flush=True,
    )
    fit(run, resume=options.resume)
    print(f"next: traindx evaluate concepts --checkpoint {options.out}", flush=True)
    return 0


def build(arguments: Sequence[str], out: Path) -> Any:
    """A LightningCLI that has parsed the settings; trainers of the stages are made by it later."""
    return command_line(
        ConceptsModelSettings,
        ConceptsDataSettings,
        arguments,
        out,
        "",
        # frozen parts are in evaluation mode on purpose, and batches say their size where they are logged
        expected=[".*module.* in eval mode at the start of training", ".*infer the `batch_size` from an ambiguous"],
        **FIXED,
    )
