"""Recipes and faults by name. Only the command line knows them; both are imported when first asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from traindx.errors import UsageError

if TYPE_CHECKING:
    from traindx.faults import Fault
    from traindx.recipes import Recipe


def recipes() -> Mapping[str, Recipe]:
    """Every recipe that ships, by name."""
    from traindx.recipes import registry

    return registry()


def faults() -> Mapping[str, Fault]:
    """Every fault that ships, by name."""
    from traindx.faults import registry

    return registry()


def recipe(name: str) -> Recipe:
    """A recipe by name.

    Raises:
        UsageError: There is none of that name.
    """
    known = recipes()
    if name not in known:
        raise unknown("recipe", name, known)
    return known[name]


def fault(name: str, *, of_recipe: str) -> Fault:
    """A fault of a recipe by name.

    Raises:
        UsageError: There is none of that name, or it belongs to another recipe.
    """
    known = faults()
    own = [key for key, item in known.items() if item.recipe == of_recipe]
    if name not in known:
        raise unknown("fault", name, own, do="list them: `traindx faults`")
    if name not in own:
        raise UsageError(
            f"fault {name!r} belongs to recipe {known[name].recipe!r}",
            expected=f"a fault of {of_recipe!r}: {', '.join(own) or 'there are none'}",
        )
    return known[name]


def unknown(what: str, name: str, known: Iterable[str], *, do: str = "") -> UsageError:
    """The error for a name that is not in a catalogue, with the nearest one that is."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return UsageError(
        f"there is no {what} {name!r}",
        expected=f"one of {', '.join(names)}" if names else f"there are no {what}s",
        do=f"did you mean {near[0]!r}?" if near else do,
    )


def exit_code(returned: Any) -> int:
    """The exit code of a recipe's command: a whole number that it returned, else 0."""
    return returned if isinstance(returned, int) and not isinstance(returned, bool) else 0
