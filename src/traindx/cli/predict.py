"""``traindx predict``: hand over to a recipe."""

from __future__ import annotations

from typing import Annotated

import typer

EXAMPLES = ("traindx predict xray2ct --help",)


def predict(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name, such as xray2ct")],
) -> None:
    """Apply a trained recipe to new data.

    Everything after RECIPE is given to the recipe, its own --help too.
    """
    from traindx.cli import catalogues

    raise typer.Exit(catalogues.exit_code(catalogues.recipe(recipe).predict(context.args)))
