"""``traindx train fusion``: LightningCLI with presets; a run that is interrupted goes on with ``--resume``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from traindx.errors import InputError
from traindx.recipes.kit.first_check import add_options, first_check
from traindx.recipes.kit.lightning_output import progress_bars, silence
from traindx.recipes.kit.run_folder import check_folder, say_interrupted

SETUPS = Path(__file__).parent / "presets"
LAST, BEST = "last.ckpt", "best.ckpt"


def parser() -> argparse.ArgumentParser:
    """Options of the command; everything else goes to LightningCLI."""
    from traindx.recipes.fusion.roi import PRESETS

    made = argparse.ArgumentParser(
        prog="traindx train fusion",
        description="Train a diffusion model that fuses registered CT and MR into one image. A preset weighs the "
        "regions (soft tissue, bone, lesion), a setup says how large everything is. Options that are not listed go to "
        "LightningCLI, for example --data.source sts, --data.normalisation zscore or --trainer.accelerator gpu; "
        "--print_config prints all of them.",
        epilog="Example: traindx train fusion --preset stroke --setup quick --out runs/fusion",
    )
    made.add_argument("--preset", choices=list(PRESETS), default="default", help="weights of the regions")
    for name, region in (("alpha", "soft tissue"), ("beta", "bone"), ("gamma", "lesion")):
        made.add_argument(f"--{name}", type=float, help=f"weight of {region}, instead of the preset's")
    setups = sorted(path.stem for path in SETUPS.glob("*.yaml"))
    made.add_argument("--setup", choices=setups, default="quick", help="sizes to start from (default: quick)")
    made.add_argument("--root", type=Path, help="folder of studies (default: the collection below TRAINDX_DATA)")
    made.add_argument("--steps", type=int, help="optimiser steps")
    made.add_argument("--select", default="fusion_score", help="figure that the best checkpoint is chosen by")
    made.add_argument("--seed", type=int, default=0, help="seed of weights, noise, order and split (default: 0)")
    made.add_argument("--out", type=Path, default=Path("runs/fusion"), help="folder of the run")
    made.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    made.add_argument("--threads", type=int, help="processor threads (default: all)")
    add_options(made)
    made.add_argument("--distil", type=Path, help="distil a one-pass student of this checkpoint's sampler into it")
    return made


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UsageError: The options contradict each other.
        InputError: The data or the checkpoint cannot be used, or a figure is to be selected by that is not produced.
        KeyboardInterrupt: It was interrupted; the checkpoint of the last whole epoch is there.
    """
    from traindx.data import verify
    from traindx.recipes.fusion.roi import PRESETS
    from traindx.recipes.fusion.scores import selected
    from traindx.recipes.fusion.studies import on_disk

    options, rest = parser().parse_known_args(list(argv))
    if options.distil is not None:
        return _distil(options)
    last = options.out / LAST
    check_folder(options.out, last, resume=options.resume)
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    arguments = [f"--config={SETUPS / (options.setup + '.yaml')}", f"--seed_everything={options.seed}"]
    arguments += [f"--model.seed={options.seed}", f"--data.seed={options.seed}"]
    for name, preset in vars(PRESETS[options.preset]).items():
        own = getattr(options, name)
        arguments.append(f"--model.{name}={preset if own is None else own}")
    if options.root is not None:
        arguments.append(f"--data.root={options.root}")
    if options.steps is not None:
        arguments.append(f"--trainer.max_steps={options.steps}")
    cli = build([*arguments, *rest], options.out, selected(options.select))
    if not (options.resume or options.no_verification):
        files = on_disk(cli.datamodule.options.source, cli.datamodule.options.root)
        if files is not None:
            first_check(lambda out: verify(files, out=out), options.out, strict=options.strict)
    module, data, trainer = cli.model, cli.datamodule.data, cli.trainer
    weights = module.weights
    print(
        f"{len(data.split.train)} training and {len(data.split.val)} validation patients, {len(data.train)} and "
        f"{len(data.val)} windows; weights {weights.alpha:g}, {weights.beta:g}, {weights.gamma:g} of soft tissue, bone "
        f"and lesion; checkpoints in {options.out}",
        flush=True,
    )
    _say_what_is_destroyed(data)
    module.attach(data, int(trainer.max_steps), train_lesion_head=not options.resume)
    module.pictures = options.out / "pictures"
    try:
        trainer.fit(module, datamodule=cli.datamodule, ckpt_path=str(last) if options.resume else None)
    except SystemExit:  # Lightning's answer to Ctrl-C
        say_interrupted(options.out, last)
        raise KeyboardInterrupt from None
    best = _finish(cli, options.out, f"val_{options.select}")
    print(
        f"{trainer.global_step} steps; best validation {options.select} {best:.4f}; "
        f"next: traindx evaluate fusion --checkpoint {options.out / BEST}",
        flush=True,
    )
    return 0


def _distil(options: argparse.Namespace) -> int:
    """Distil a student from a checkpoint and store it in the same file, beside the teacher."""
    import torch

    from traindx.recipes.fusion import contract, studies
    from traindx.recipes.fusion.data import DataOptions, Windows, derive
    from traindx.recipes.fusion.module import SeededWindows
    from traindx.recipes.fusion.normalisation import NORMALISATIONS
    from traindx.recipes.fusion.student import STUDENT_KEY, distil
    from traindx.recipes.fusion.system import SAMPLING_STEPS
    from traindx.recipes.kit.contract import CONTRACT_KEY, store
    from traindx.recipes.kit.diffusion import Process

    if options.threads:
        torch.set_num_threads(options.threads)
    checkpoint = contract.read(options.distil)
    saved = checkpoint[CONTRACT_KEY]
    source, root = studies.resolve("auto", options.root)
    chosen = [name for name in studies.names(source, root) if name in set(checkpoint["patients"]["train"])]
    if not chosen:
        raise InputError("none of the patients that the checkpoint was trained on is there", expected="--root")
    seen_as = NORMALISATIONS[saved["normalisation"]["preset"]]
    data_options = DataOptions(size=64, depth=1 if saved["dims"] == 2 else 16)
    prepared = [derive(study) for study in studies.load(source, root, chosen)]
    windows = Windows(prepared, data_options, training=True, seen_as=seen_as)
    steps = options.steps or 150
    torch.manual_seed(options.seed)
    process = Process.of(saved, SAMPLING_STEPS)
    batches = SeededWindows(windows, data_options.batch_size, options.seed + 2, steps)
    student = distil(contract.network_from(checkpoint), process, batches, steps)
    store(options.distil, {**checkpoint, STUDENT_KEY: student.state_dict()})
    print(f"distilled a student in {steps} steps into {options.distil}; use it with --sampler student", flush=True)
    return 0


def _say_what_is_destroyed(data: Any) -> None:
    """Print what the normalisation leaves of each tissue, measured on the first patient."""
    import torch

    from traindx.recipes.fusion.normalisation import destroyed

    seen_as = data.train.seen_as
    print(f"normalisation {seen_as.name}: {seen_as.destroys}")
    hu = torch.from_numpy(data.train.prepared[0].study.hu)
    for tissue, (share, distinct) in destroyed(seen_as, hu).items():
        print(f"  {tissue}: {100 * share:.1f} % clipped to a constant, {distinct} distinct values left", flush=True)


def _finish(cli: Any, out: Path, key: str) -> float:
    """Validate and store the end of a run that does not end with an epoch; returns the best figure."""
    trainer = cli.trainer
    known = trainer.checkpoint_callbacks[0].best_model_score
    best = float(known) if known is not None else float("-inf")
    if trainer.global_step % cli.datamodule.epoch_steps:
        figure = trainer.validate(cli.model, datamodule=cli.datamodule, verbose=False)[0][key]
        trainer.save_checkpoint(out / LAST)
        if figure > best:
            best = figure
            trainer.save_checkpoint(out / BEST)
    return best


def build(arguments: Sequence[str], out: Path, select: str) -> Any:
    """A LightningCLI that has parsed its arguments and trains nothing yet."""
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.cli import LightningCLI

    from traindx.recipes.fusion.module import Fusion, FusionData
    from traindx.recipes.fusion.red_flags import RedFlags

    silence(".*module\\(s\\) in eval mode")  # the lesion head is frozen
    out.mkdir(parents=True, exist_ok=True)
    common = {"dirpath": out, "enable_version_counter": False}
    best = ModelCheckpoint(filename=Path(BEST).stem, monitor=f"val_{select}", mode="max", **common)
    # Whole epochs only: Lightning 2.6 does not go on in the middle of one exactly as it would have without the break.
    last = ModelCheckpoint(filename=Path(LAST).stem, every_n_epochs=1, save_on_train_epoch_end=True, **common)
    return LightningCLI(
        Fusion,
        FusionData,
        run=False,
        args=list(arguments),
        save_config_callback=None,
        trainer_defaults={
            "logger": {
                "class_path": "lightning.pytorch.loggers.CSVLogger",
                "init_args": {"save_dir": str(out), "name": "log"},
            },
            "callbacks": [best, last, RedFlags(out / "red_flags.txt"), *progress_bars(arguments)],
            "enable_model_summary": False,
        },
    )
