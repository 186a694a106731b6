"""``traindx train fusion --source pairs --root FOLDER``: train on pairs of plain images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from traindx.errors import InputError, UsageError
from traindx.recipes.fusion.pairs.figures import SELECTION
from traindx.recipes.kit import options as kit
from traindx.recipes.kit.first_check import first_check
from traindx.recipes.kit.run_folder import LAST, RED_FLAGS, check_folder
from traindx.recipes.kit.training import command_line, finish, fit

PRESETS = Path(__file__).parent.parent / "presets" / "pairs"


def run(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Train.

    Args:
        options: Of ``traindx train fusion``.
        rest: Options for LightningCLI.

    Raises:
        UsageError: The options contradict each other.
        InputError: The data or the checkpoint cannot be used.
        KeyboardInterrupt: It was interrupted; the checkpoint of the last whole epoch is there.
    """
    from traindx.data import verify
    from traindx.recipes.fusion.pairs.data import PairData
    from traindx.recipes.fusion.pairs.module import PairFusion, red_flags

    preset = PRESETS / f"{options.preset}.yaml"
    if not preset.exists():
        sizes = ", ".join(sorted(path.stem for path in PRESETS.glob("*.yaml")))
        raise UsageError(f"--preset {options.preset} is not for pairs of plain images", expected=sizes)
    select = "selection" if options.select == "fusion_score" else options.select
    if select not in ("selection", *SELECTION):
        raise InputError(f"no figure of pairs is called {select!r}", expected=", ".join(("selection", *SELECTION)))
    check_folder(options.out, resume=options.resume)
    cli = command_line(
        PairFusion,
        PairData,
        kit.arguments(options, preset, rest),
        options.out,
        f"val_{select}",
        callbacks=[red_flags(options.out / RED_FLAGS)],
    )
    data, trainer = cli.datamodule, cli.trainer
    if not (options.resume or options.no_verification) and data.root is not None and data.root.is_dir():
        first_check(lambda out: verify(data.root, out=out), options.out, strict=options.strict)
    found = data.found
    print(
        f"{len(found.split.train)} training and {len(found.split.val)} validation patients, {len(found.train)} and "
        f"{len(found.val)} pairs; checkpoints in {options.out}",
        flush=True,
    )
    cli.model.pictures = options.out / "pictures"
    fit(trainer, cli.model, data, options.out, resume=options.out / LAST if options.resume else None)
    best, _ = finish(cli, options.out, f"val_{select}")
    print(
        f"{trainer.global_step} steps; best validation {select} {best:.4f}; "
        f"next: traindx evaluate fusion --source pairs --root {data.root} --checkpoint {options.out}",
        flush=True,
    )
    return 0
