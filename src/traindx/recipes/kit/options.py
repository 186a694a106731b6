"""The options that mean the same in every recipe, and the spellings that they had before.

Every ``--help`` has the same skeleton: data, size and length, the run, then what only this recipe has. ``--preset`` is
a size, ``--source`` names the data and ``--root`` their folder, wherever they appear.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from traindx.errors import UsageError

_REST = (
    "Options that are not listed go to LightningCLI: --data.NAME and --model.NAME of this recipe, --trainer.NAME of "
    "Lightning, for example --trainer.accelerator gpu; --print_config prints all of them with their values."
)


def parser(command: str, recipe: str, description: str, example: str) -> argparse.ArgumentParser:
    """The parser of ``traindx COMMAND RECIPE``, without options yet.

    Args:
        command: ``train``, ``predict`` or ``evaluate``.
        recipe: Name of the recipe.
        description: What the command does.
        example: Arguments that work as they are printed.
    """
    return argparse.ArgumentParser(
        prog=f"traindx {command} {recipe}",
        description=f"{description} {_REST}" if command == "train" else description,
        epilog=f"Example: traindx {command} {recipe} {example}",
        allow_abbrev=False,  # --data would stand for an option of the recipe, and not for one of LightningCLI
    )


def data(made: argparse.ArgumentParser, sources: Sequence[str], *, default: str = "auto", root: str = "") -> Any:
    """``--source`` and, where it is described, ``--root``; returns the group for further options."""
    group = made.add_argument_group("data")
    if sources:
        group.add_argument("--source", choices=sources, help=f"where the data are from (default: {default})")
    if root:
        group.add_argument("--root", type=Path, help=root)
    return group


def train(made: argparse.ArgumentParser, presets: Sequence[str], *, default: str = "quick", steps: bool = True) -> Any:
    """Options of every training; returns the group for those of one recipe alone.

    Args:
        made: The parser.
        presets: Sizes to choose from.
        default: The size that is taken where none is chosen.
        steps: False where stages are counted in epochs.
    """
    recipe = made.prog.split()[-1]
    size = made.add_argument_group("size and length")
    size.add_argument("--preset", choices=presets, default=default, help=f"size to start from (default: {default})")
    if steps:
        size.add_argument("--steps", type=int, help="optimiser steps, instead of the preset's")
    run = made.add_argument_group("run")
    run.add_argument("--out", type=Path, default=Path(f"runs/{recipe}"), help=f"its folder (default: runs/{recipe})")
    run.add_argument("--resume", action="store_true", help="go on after the last whole epoch in --out")
    run.add_argument("--seed", type=int, default=0, help="seed of weights, noise and order (default: 0)")
    run.add_argument("--threads", type=int, help="processor threads (default: all)")
    run.add_argument("--no-verification", action="store_true", help="do not verify the data first")
    run.add_argument("--strict", action="store_true", help="refuse data with a demonstrated fault (for CI)")
    said = "print what a step takes, whether a GPU has it, and how long an epoch would be, and end without training"
    run.add_argument("--plan", action="store_true", help=said)
    return made.add_argument_group("this recipe")


def model(made: argparse.ArgumentParser, *, many: bool = False, device: bool = True, required: bool = True) -> Any:
    """``--checkpoint`` and ``--device``; returns the group for further options.

    Args:
        made: The parser.
        many: Whether several checkpoints make an ensemble.
        device: Whether the command runs elsewhere than on the processor.
        required: False where something else can take the place of a checkpoint.
    """
    group = made.add_argument_group("model")
    said = "run folder, or checkpoint in it"
    if many:
        group.add_argument(
            "--checkpoint", type=Path, nargs="+", required=True, help=f"{said}; one of each fold for an ensemble"
        )
    else:
        group.add_argument("--checkpoint", type=Path, required=required, help=said)
    if device:
        group.add_argument("--device", default="cpu", help="where the network runs (default: cpu)")
    return group


def sampling(group: Any, steps: int | None, what: str) -> None:
    """``--samples`` and ``--sampling-steps`` where there is a sampler, ``--seed`` of its noise."""
    if steps is not None:
        group.add_argument("--samples", type=int, default=1, help=f"{what} drawn and averaged (default: 1)")
        group.add_argument("--sampling-steps", type=int, default=steps, help=f"DDIM steps (default: {steps})")
    group.add_argument("--seed", type=int, default=0, help="seed of the noise (default: 0)")


def results(made: argparse.ArgumentParser, what: str, *, default: str | None = None, json: str = "") -> Any:
    """``--out`` and, where it is described, ``--json``; returns the group for further options."""
    group = made.add_argument_group("results")
    said = f"folder for {what}" + (f" (default: {default})" if default else "")
    group.add_argument("--out", type=Path, default=Path(default) if default else None, help=said)
    if json:
        group.add_argument("--json", action="store_true", help=f"print {json} as JSON and nothing else")
    return group


def refuse_old(argv: Sequence[str], moved: Mapping[str, str]) -> None:
    """Refuse a spelling of an older version by a sentence that says the new one.

    Args:
        argv: The command line.
        moved: Old ``--option`` or ``--option value`` to what is said today.

    Raises:
        UsageError: There is one.
    """
    pairs = zip(argv, [*argv[1:], ""], strict=True)
    for item, following in pairs:
        option, equals, value = item.partition("=")
        for old in (option, f"{option} {value if equals else following}"):
            if old in moved:
                raise UsageError(f"{old} is spelled otherwise now", expected=moved[old], do="see --help")


def arguments(
    options: argparse.Namespace, config: Path, rest: Sequence[str], *, seeded: Sequence[str] = ("model", "data")
) -> list[str]:
    """What LightningCLI is given for the options of :func:`data` and :func:`train`; the user's own come last.

    Args:
        options: Parsed options.
        config: File of the preset.
        rest: Options that are not listed.
        seeded: Which of ``model`` and ``data`` take a seed of their own.
    """
    made = [f"--config={config}", f"--seed_everything={options.seed}"]
    made += [f"--{part}.seed={options.seed}" for part in seeded]
    made += [
        f"--data.{name}={value}" for name in ("source", "root") if (value := getattr(options, name, None)) is not None
    ]
    if getattr(options, "steps", None) is not None:
        made.append(f"--trainer.max_steps={options.steps}")
    return [*made, *rest]
