"""``traindx train``: hand over to a recipe."""

from __future__ import annotations

from typing import Annotated

import typer

EXAMPLES = ("traindx train xray2ct --preset quick --out runs/quick", "traindx train xray2ct --help")


def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name, such as xray2ct")],
) -> None:
    """Train a recipe: presets, resuming, checkpoints and loggers as the recipe's own help says.

    Everything after RECIPE is given to the recipe, its own --help too.
    """
    from traindx.cli import catalogues

    raise typer.Exit(catalogues.exit_code(catalogues.recipe(recipe).train(context.args)))
