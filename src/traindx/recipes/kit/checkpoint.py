"""Reading a checkpoint that somebody names on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from traindx.errors import InputError

CONTRACT_KEY = "contract"
"""Where a checkpoint keeps what must be the same where its weights are used again."""


def load(path: Path, do: str = "") -> dict[str, Any]:
    """The content of a checkpoint file, on the CPU; nothing in it is executed.

    Args:
        path: The file.
        do: What to do where it does not exist.

    Raises:
        InputError: It is missing or damaged.
    """
    import torch

    if not path.exists():
        raise InputError(f"{path} does not exist", expected="a checkpoint", do=do)
    try:
        stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise InputError(f"{path} cannot be read as a checkpoint: {error}") from error
    return stored


def load_of_recipe(path: Path, recipes: str | Sequence[str], form: int) -> dict[str, Any]:
    """A checkpoint whose contract is of a recipe and of the format that this version writes.

    Args:
        path: The file.
        recipes: Name of the recipe, or of several that share a format.
        form: Number of the format.

    Raises:
        InputError: It is missing, damaged, or of another kind.
    """
    from traindx.version import __version__

    wanted = (recipes,) if isinstance(recipes, str) else tuple(recipes)
    checkpoint = load(path, do=f"train one: traindx train {wanted[0]}")
    contract = checkpoint.get(CONTRACT_KEY)
    found = contract.get("recipe") if isinstance(contract, dict) else None
    if not isinstance(contract, dict) or found not in wanted:
        raise InputError(
            f"{path} has {f'the contract of {found}' if found else 'no contract of this recipe'}",
            expected=f"a checkpoint of traindx train {' or '.join(wanted)}",
        )
    if contract.get("format") != form:
        raise InputError(
            f"{path} has format {contract.get('format')!r}",
            expected=f"format {form}, which traindx {__version__} reads",
            do=f"use traindx {contract.get('traindx')}, which wrote it",
        )
    return checkpoint
