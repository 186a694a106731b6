"""``traindx predict fusion --pair A B``: fuse two plain images, by a trained network or a classical method."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from traindx.errors import InputError, UsageError
from traindx.recipes.fusion.baselines import Fusion
from traindx.recipes.fusion.pairs import methods, network
from traindx.recipes.fusion.pairs.folders import Pair, folder_of_pairs, read_pair
from traindx.recipes.fusion.pairs.images import Range
from traindx.recipes.kit.run_folder import checkpoint_in


def add_ranges(group: argparse._ArgumentGroup) -> None:
    """``--range-a`` and ``--range-b``."""
    for side in ("a", "b"):
        group.add_argument(
            f"--range-{side}",
            type=float,
            nargs=2,
            metavar=("LOW", "HIGH"),
            help=f"values that are black and white in image {side.upper()} of a pair, such as -160 240 for CT in HU",
        )


def add_refine(group: argparse._ArgumentGroup) -> None:
    """``--refine``."""
    group.add_argument(
        "--refine",
        type=int,
        default=0,
        help="steps of descent on the objective of each pair itself, after the network or the method (default: 0)",
    )


def ranges_of(options: argparse.Namespace) -> tuple[Range | None, Range | None]:
    """The ranges that were given."""
    low, high = (tuple(given) if (given := getattr(options, f"range_{side}")) else None for side in ("a", "b"))
    return low, high


def fusion_of(options: argparse.Namespace) -> Fusion:
    """The method or the network that was asked for.

    Raises:
        UsageError: Neither was, or both.
        InputError: The checkpoint cannot be used.
    """
    if (options.checkpoint is None) == (options.method is None):
        raise UsageError(
            "what fuses the pair is not clear",
            expected=f"either --checkpoint of a run on pairs, or --method {', '.join(methods.METHODS)}",
        )
    if options.method is not None:
        return network.refined(methods.METHODS[options.method], options.refine)
    return network.fuser(network.read(checkpoint_in(options.checkpoint)), options.device, options.refine)


def given_pairs(options: argparse.Namespace) -> list[Pair]:
    """Pairs of files and those of a folder.

    Raises:
        InputError: A file cannot be used, or two pairs have one name and would be written over each other.
    """
    ranges = ranges_of(options)
    pairs = [read_pair(a, b, ranges) for a, b in options.pair]
    if options.root is not None:
        folder = folder_of_pairs(options.root)
        pairs += [folder.read(name, ranges) for name in folder.files]
    names = [pair.name for pair in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"several pairs are called {', '.join(twice)}", expected="one name each", do="fuse them apart")
    return pairs


@torch.no_grad()
def run(options: argparse.Namespace) -> int:
    """Fuse the pairs, and write each as ``<name>_fused`` in the depth, the colour or the grid of its images."""
    fuse = fusion_of(options)
    options.out.mkdir(parents=True, exist_ok=True)
    for pair in given_pairs(options):
        a, b = pair.tensors
        fused = torch.cat([fuse(a[z : z + 1], b[z : z + 1]) for z in range(len(a))])
        path: Path = options.out / f"{pair.name}_fused{pair.suffix}"
        outside = pair.write(path, fused)
        print(f"A {pair.a}\nB {pair.b}")
        said = ""
        if outside:
            said = f"; {100 * outside:.2g} % of pixels cannot show their colour that bright or dark and were clipped"
        print(f"wrote {path}{said}", flush=True)
    return 0
