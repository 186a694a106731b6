"""``traindx export``: hand over to a recipe."""

from __future__ import annotations

from typing import Annotated

import typer

EXAMPLES = (
    "traindx export segmentation --checkpoint runs/fold0 --to onnx",
    "traindx export segmentation --help",
)


def export(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name, such as segmentation")],
) -> None:
    """Write a trained recipe as a program that runs without traindx: TorchScript, ONNX or a MONAI bundle.

    TorchScript and ONNX: every recipe. MONAI bundle: segmentation alone, the others are not made of MONAI's parts.

    The program holds what predict does to the intensities; a JSON file beside it says what it expects (units, ranges,
    axes, spacing), what comes out, and what is left to the caller. It is compared with PyTorch before it is kept.

    Exit codes: 0 written, 2 cannot be exported so, 3 the exported program does not agree.

    Everything after RECIPE is given to the recipe, its own --help too.
    """
    from traindx.cli import catalogues

    raise typer.Exit(catalogues.exit_code(catalogues.recipe(recipe).export(context.args)))
