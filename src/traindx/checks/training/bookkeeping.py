"""Selection, settings and pictures: is the key produced, is every setting read, does a mask lie on its image?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from traindx.checks.base import CheckContext, check
from traindx.core.frames import defined_at
from traindx.core.undisturbed import undisturbed
from traindx.evidence.model_in_use import PictureMarker, SelectionKey, SettingsRead

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 48  # pixels of the marked image
MARK = (slice(5, 14), slice(22, 44))  # no flip, turn or transposition brings it onto itself


@check(
    "bookkeeping",
    "selection key, settings and pictures",
    needs=("deployment",),
    gives=(PictureMarker, SelectionKey, SettingsRead),
)
def bookkeeping(ctx: CheckContext) -> None:
    """Ask each part that the case describes."""
    part = ctx.case.deployment
    assert part is not None
    with undisturbed(ctx.seed):
        if part.selects and part.produces is not None:
            where = defined_at(part.produces)
            ctx.record(SelectionKey(where=where, key=part.selects, produced=tuple(sorted(part.produces()))))
        if part.settings is not None and part.configure is not None:
            _settings(ctx, part.settings, part.configure)
        if part.picture is not None:
            _picture(ctx, part.picture)


class _KeyAccess(Mapping[str, Any]):
    """A mapping that knows what it was asked for. Taking all of it at once counts as reading all of it."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self.asked: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        self.asked.add(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _settings(ctx: CheckContext, settings: Mapping[str, Any], configure: Callable[[Mapping[str, Any]], Any]) -> None:
    recording = _KeyAccess(settings)
    configure(recording)
    read = tuple(name for name in settings if name in recording.asked)
    unread = tuple(name for name in settings if name not in recording.asked)
    ctx.record(SettingsRead(where=defined_at(configure), read=read, unread=unread))


def _picture(ctx: CheckContext, picture: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
    mark = torch.zeros(1, SIDE, SIDE)
    mark[(0, *MARK)] = 1
    image, mask = (torch.as_tensor(shown).detach().float().squeeze() for shown in picture(mark.clone(), mark.clone()))
    seen = image > (image.min() + image.max()) / 2
    drawn = mask > (mask.min() + mask.max()) / 2
    turns = {
        "transposed": drawn.T,
        "flipped": drawn.flip(1),
        "flipped upside down": drawn.flip(0),
        "turned by 90 degrees": torch.rot90(drawn, 1, (0, 1)),
        "turned by 180 degrees": torch.rot90(drawn, 2, (0, 1)),
        "turned by 270 degrees": torch.rot90(drawn, 3, (0, 1)),
    }
    overlap = _overlap(seen, drawn)
    better = max(turns, key=lambda name: _overlap(seen, turns[name]))
    helps = overlap < 0.5 <= _overlap(seen, turns[better])
    ctx.record(PictureMarker(where=defined_at(picture), overlap=overlap, turned=better if helps else ""))


def _overlap(one: Tensor, other: Tensor) -> float:
    if one.shape != other.shape:
        return 0.0
    return float((one & other).sum()) / max(1, int((one | other).sum()))
