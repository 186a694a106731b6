"""``remap-keys``: tensors that ``load_state_dict`` would leave out get the names of the network's tensors.

A guess, and the title says so: first by a prefix that is exchanged for another one, where that fits tensors of the same
shape; then by order, where what is left on both sides has the same shapes in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from traindx.watch.interventions.treatment import RuntimeTreatment
from traindx.watch.runtime.call_sites import here

Shapes = Mapping[str, tuple[int, ...]]


class RemapKeys(RuntimeTreatment):
    """Acts on the ``load_state_dict`` at the line."""

    def install(self) -> None:
        """Stand before it."""
        self._why = "no weights were loaded at that line"
        self.arm.patches.wrap(self.arm.torch.nn.Module, "load_state_dict", self._make)

    def _make(self, original: Any) -> Any:
        def load_state_dict(module: Any, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
            if self.arm.ours and not self.arm.inside and self.place.holds(here(1)):
                state_dict = self.safe(self._renamed)(module, state_dict) or state_dict
            return original(module, state_dict, *args, **kwargs)

        return load_state_dict

    def _renamed(self, module: Any, state: Mapping[str, Any]) -> dict[str, Any]:
        own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        given = {name: tuple(value.shape) for name, value in state.items() if hasattr(value, "shape")}
        names = matching(given, own)
        self.hits += len(names)
        self._why = "no names of the same shapes were found for the weights that do not fit"
        return {names.get(name, name): value for name, value in state.items()}

    def finish(self) -> None:
        """Nothing was renamed."""
        if not self.hits:
            self.refuse(self._why)


def matching(given: Shapes, own: Shapes) -> dict[str, str]:
    """Names of the network for tensors that are given under names it does not know.

    Args:
        given: Shapes by the names in the file, in its order.
        own: Shapes by the names of the network, in its order.
    """
    loose = [name for name in given if name not in own]
    free = [name for name in own if name not in given]
    best: dict[str, str] = {}
    for old, new in _prefixes(loose, free, given, own):
        moved = {name: new + name.removeprefix(old) for name in loose if name.startswith(old)}
        fits = {name: to for name, to in moved.items() if to in free and own[to] == given[name]}
        if len(fits) > len(best):
            best = fits
    taken = set(best.values())
    loose = [name for name in loose if name not in best]
    free = [name for name in free if name not in taken]
    if [given[name] for name in loose] == [own[name] for name in free]:
        best |= dict(zip(loose, free, strict=True))
    return best


def _prefixes(loose: list[str], free: list[str], given: Shapes, own: Shapes) -> list[tuple[str, str]]:
    """Pairs of prefixes after whose exchange two names of one shape agree."""
    found: dict[tuple[str, str], None] = {}
    for name in loose:
        parts = name.split(".")
        for to in free:
            others = to.split(".")
            if given[name] != own[to] or parts[-1] != others[-1]:
                continue
            same = 1
            while same < min(len(parts), len(others)) and parts[-same - 1] == others[-same - 1]:
                same += 1
            old, new = (".".join([*path[: len(path) - same], ""]) for path in (parts, others))
            found[old, new] = None
    return list(found)
