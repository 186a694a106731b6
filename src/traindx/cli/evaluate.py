"""``traindx evaluate``: hand over to a recipe."""

from __future__ import annotations

from typing import Annotated

import typer

EXAMPLES = ("traindx evaluate xray2ct --help",)


def evaluate(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name, such as xray2ct")],
) -> None:
    """Measure a trained recipe on held-out data, beside its trivial baselines.

    Everything after RECIPE is given to the recipe, its own --help too.
    """
    from traindx.cli import catalogues

    raise typer.Exit(catalogues.exit_code(catalogues.recipe(recipe).evaluate(context.args)))
