"""``traindx train xray2ct``: LightningCLI with presets; a run that is interrupted goes on with ``--resume``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from traindx.recipes.kit.first_check import add_options, first_check
from traindx.recipes.kit.lightning_output import progress_bars, silence
from traindx.recipes.kit.run_folder import check_folder, say_interrupted

PRESETS = Path(__file__).parent / "presets"
LAST, BEST = "last.ckpt", "best.ckpt"


def parser() -> argparse.ArgumentParser:
    """Options of the command; everything else goes to LightningCLI."""
    made = argparse.ArgumentParser(
        prog="traindx train xray2ct",
        description="Train a diffusion model that draws a CT volume from a frontal and a lateral radiograph. Options "
        "that are not listed go to LightningCLI, for example --data.source openkbp, --model.physics_weight 0.05 or "
        "--trainer.accelerator gpu; --print_config prints all of them.",
        epilog="Example: traindx train xray2ct --preset quick --out runs/quick",
    )
    names = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    made.add_argument("--preset", choices=names, default="quick", help="settings to start from (default: quick)")
    made.add_argument("--steps", type=int, help="optimiser steps")
    made.add_argument("--seed", type=int, default=0, help="seed of weights, noise, order and population (default: 0)")
    made.add_argument("--out", type=Path, default=Path("runs/xray2ct"), help="folder of the run")
    made.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    made.add_argument("--threads", type=int, help="processor threads (default: all)")
    add_options(made)
    return made


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UsageError: The options contradict each other.
        InputError: The data or the checkpoint cannot be used.
        KeyboardInterrupt: It was interrupted; the checkpoint of the last whole epoch is there.
    """
    options, rest = parser().parse_known_args(list(argv))
    last = options.out / LAST
    check_folder(options.out, last, resume=options.resume)
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    arguments = [f"--config={PRESETS / (options.preset + '.yaml')}", f"--seed_everything={options.seed}"]
    arguments += [f"--model.seed={options.seed}", f"--data.seed={options.seed}", *rest]
    if options.steps is not None:
        arguments.append(f"--trainer.max_steps={options.steps}")
    cli = build(arguments, options.out)
    trainer = cli.trainer
    if not options.resume and not options.no_verification:
        from traindx.recipes.xray2ct.data import verified_options

        first_check(lambda out: verified_options(cli.datamodule.options, out), options.out, strict=options.strict)
    print(
        f"{len(cli.datamodule.data.train)} training and {len(cli.datamodule.data.val)} validation volumes of "
        f"{cli.datamodule.options.size} voxels a side; checkpoints in {options.out}",
        flush=True,
    )
    try:
        trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=str(last) if options.resume else None)
    except SystemExit:  # Lightning's answer to Ctrl-C
        say_interrupted(options.out, last)
        raise KeyboardInterrupt from None
    print(
        f"{trainer.global_step} steps; best validation PSNR {_finish(cli, options.out):.2f} dB; "
        f"next: traindx evaluate xray2ct --checkpoint {options.out / BEST}",
        flush=True,
    )
    return 0


def _finish(cli: Any, out: Path) -> float:
    """Validate and store the end of a run that does not end with an epoch; returns the best figure."""
    trainer = cli.trainer
    known = trainer.checkpoint_callbacks[0].best_model_score
    best = float(known) if known is not None else float("-inf")
    if trainer.global_step % cli.datamodule.epoch_steps:
        figure = trainer.validate(cli.model, datamodule=cli.datamodule, verbose=False)[0]["val_psnr"]
        trainer.save_checkpoint(out / LAST)
        if figure > best:
            best = figure
            trainer.save_checkpoint(out / BEST)
    return best


def build(arguments: Sequence[str], out: Path) -> Any:
    """A LightningCLI that has parsed its arguments and trains nothing yet."""
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.cli import LightningCLI

    from traindx.recipes.xray2ct.module import XrayToCT, XrayToCTData

    silence()
    common = {"dirpath": out, "enable_version_counter": False}
    best = ModelCheckpoint(filename=Path(BEST).stem, monitor="val_psnr", mode="max", **common)
    # Whole epochs only: Lightning 2.6 does not go on in the middle of one exactly as it would have without the break.
    last = ModelCheckpoint(filename=Path(LAST).stem, every_n_epochs=1, save_on_train_epoch_end=True, **common)
    return LightningCLI(
        XrayToCT,
        XrayToCTData,
        run=False,
        args=list(arguments),
        save_config_callback=None,
        trainer_defaults={
            "logger": {
                "class_path": "lightning.pytorch.loggers.CSVLogger",
                "init_args": {"save_dir": str(out), "name": "log"},
            },
            "callbacks": [best, last, *progress_bars(arguments)],
            "enable_model_summary": False,
        },
    )
