"""``traindx train xray2ct``: LightningCLI with presets; a run that is interrupted goes on with ``--resume``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from traindx.recipes.kit import options as kit
from traindx.recipes.kit.first_check import first_check
from traindx.recipes.kit.run_folder import LAST, RED_FLAGS, check_folder
from traindx.recipes.kit.training import command_line, finish, fit, set_threads

PRESETS = Path(__file__).parent / "presets"
SOURCES = ("auto", "embedded", "openkbp", "folder")
ROOT = "CT volumes of the source folder: NIfTI files, and folders of DICOM files"
SPLIT = "CSV of ids and splits, for the source folder"
MOVED = {"--data.folder": "--root, or --data.root", "--folder": "--root"}


def parser() -> argparse.ArgumentParser:
    """Options of the command; everything else goes to LightningCLI."""
    made = kit.parser(
        "train",
        "xray2ct",
        "Train a diffusion model that draws a CT volume from a frontal and a lateral radiograph.",
        "--preset quick --out runs/quick",
    )
    kit.data(made, SOURCES, root=ROOT)
    kit.train(made, sorted(path.stem for path in PRESETS.glob("*.yaml")))
    return made


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UsageError: The options contradict each other.
        InputError: The data or the checkpoint cannot be used.
        KeyboardInterrupt: It was interrupted; the checkpoint of the last whole epoch is there.
    """
    from traindx.recipes.xray2ct.data import verified_options

    kit.refuse_old(argv, MOVED)
    options, rest = parser().parse_known_args(list(argv))
    check_folder(options.out, resume=options.resume)
    set_threads(options.threads)
    cli = build(kit.arguments(options, PRESETS / f"{options.preset}.yaml", rest), options.out)
    if not options.resume and not options.no_verification:
        first_check(lambda out: verified_options(cli.datamodule.options, out), options.out, strict=options.strict)
    print(
        f"{len(cli.datamodule.data.train)} training and {len(cli.datamodule.data.val)} validation volumes of "
        f"{cli.datamodule.options.size} voxels a side; checkpoints in {options.out}",
        flush=True,
    )
    resume = options.out / LAST if options.resume else None
    fit(cli.trainer, cli.model, cli.datamodule, options.out, resume=resume)
    best, _ = finish(cli, options.out, "val_psnr")
    print(
        f"{cli.trainer.global_step} steps; best validation PSNR {best:.2f} dB; "
        f"next: traindx evaluate xray2ct --checkpoint {options.out}",
        flush=True,
    )
    return 0


def build(arguments: Sequence[str], out: Path) -> Any:
    """A LightningCLI that has parsed its arguments and trains nothing yet."""
    from traindx.recipes.kit.red_flags import RedFlags
    from traindx.recipes.xray2ct.module import XrayToCT, XrayToCTData

    flags = RedFlags(out / RED_FLAGS, ("loss", "val_psnr"))
    return command_line(XrayToCT, XrayToCTData, arguments, out, "val_psnr", callbacks=[flags])
