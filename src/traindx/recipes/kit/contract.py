"""Checkpoints and the contract in them: everything that must be the same where weights are used again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from traindx.errors import InputError

CONTRACT_KEY = "contract"
"""Where a checkpoint keeps its contract, of plain values only."""

_FREE = ("traindx",)
"""Parts of a contract that may differ."""


def header(recipe: str, form: int) -> dict[str, Any]:
    """How every contract begins.

    Args:
        recipe: Name of the recipe.
        form: Number of the format, raised when weights of an older version mean something else.
    """
    from traindx.version import __version__

    return {"recipe": recipe, "format": form, "traindx": __version__}


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


def store(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Write a checkpoint; the file is complete or as it was before."""
    import torch

    unfinished = path.with_suffix(".tmp")
    torch.save(dict(checkpoint), unfinished)
    os.replace(unfinished, path)


def read(path: Path, recipes: str | Sequence[str], form: int, *, needs: Sequence[str] = ()) -> dict[str, Any]:
    """A checkpoint whose contract is of a recipe and of the format that this version reads.

    Args:
        path: The file.
        recipes: Name of the recipe, or of several that share a format.
        form: Number of the format; contracts from before formats were counted are of format 1.
        needs: What it must hold beside the weights, which checkpoints of an unfinished run lack.

    Raises:
        InputError: It is missing, damaged, or of another kind.
    """
    from traindx.version import __version__

    wanted = (recipes,) if isinstance(recipes, str) else tuple(recipes)
    checkpoint = load(path, do=f"train one: traindx train {wanted[0]}")
    saved = _contract_of_recipe(checkpoint, wanted, path)
    if saved["format"] != form:
        raise InputError(
            f"{path} has format {saved['format']!r}",
            expected=f"format {form}, which traindx {__version__} reads",
            do=f"use traindx {saved.get('traindx')}, which wrote it",
        )
    lacking = [name for name in needs if name not in checkpoint]
    if lacking:
        raise InputError(
            f"{path} has no {', '.join(lacking)}: it is of a run that was not finished",
            expected="the checkpoint that a finished run leaves",
        )
    return checkpoint


def check(checkpoint: Mapping[str, Any], wanted: Mapping[str, Any], path: Path | str = "the checkpoint") -> None:
    """Refuse weights that were trained under another contract than that of the run they are loaded into.

    Args:
        checkpoint: The whole checkpoint.
        wanted: The contract of the run; the package version may differ, and nothing else.
        path: Where the checkpoint is from, for the message.

    Raises:
        InputError: It has no contract of the recipe, or another one; both values of everything that differs are named.
    """
    compare(_contract_of_recipe(checkpoint, (wanted["recipe"],), path), wanted, path)


def compare(saved: Mapping[str, Any], wanted: Mapping[str, Any], path: Path | str) -> None:
    """Compare parts of two contracts.

    Raises:
        InputError: They differ; both values of everything that differs are named.
    """
    theirs, mine = ({key: part[key] for key in part if key not in _FREE} for part in (saved, wanted))
    found = _differences(theirs, mine)
    if found:
        raise InputError(
            f"{path} was made under another contract: " + "; ".join(found),
            expected="the data, the network and the settings of this run",
            do="give the options that it was trained with, or train anew in another folder",
        )


def weights(checkpoint: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The tensors below a prefix of a module's names, without it."""
    state = checkpoint["state_dict"]
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _contract_of_recipe(checkpoint: Mapping[str, Any], wanted: Sequence[str], path: Path | str) -> dict[str, Any]:
    contract = checkpoint.get(CONTRACT_KEY)
    found = contract.get("recipe") if isinstance(contract, Mapping) else None
    if not isinstance(contract, Mapping) or found not in wanted:
        raise InputError(
            f"{path} has {f'the contract of {found}' if found else 'no contract of this recipe'}",
            expected=f"a checkpoint of traindx train {' or '.join(wanted)}",
        )
    return {"format": 1, **contract}


def _differences(saved: Any, wanted: Any, name: str = "") -> list[str]:
    if isinstance(saved, Mapping) and isinstance(wanted, Mapping):
        parts = [
            _differences(saved.get(key), wanted.get(key), f"{name}.{key}".lstrip(".")) for key in {**saved, **wanted}
        ]
        return [item for part in parts for item in part]
    return [] if saved == wanted else [f"{name} is {saved!r} in the checkpoint and {wanted!r} in this run"]
