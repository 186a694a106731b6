"""Which findings have a patch: by code, the changes that are tried in turn."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from traindx.finding import Finding
from traindx.fix import activations, calls, clipping, loading, losses, modes, naming, numbers, optimisers, schedules
from traindx.fix.patch import Patch
from traindx.fix.source import Edits, Source
from traindx.notebooks import source_of, split_name, with_source

Change = Callable[[Source, Finding, int], Edits | None]

CHANGES: Mapping[str, tuple[Change, ...]] = MappingProxyType(
    {
        "C1102": (loading.load_strictly,),
        "C1103": (modes.switch_back, modes.evaluate_in_evaluation_mode),
        "C1105": (loading.seed_the_division,),
        "C1109": (loading.let_warnings_speak,),
        "C1110": (calls.copy_the_state,),
        "C1111": (calls.keep_the_result,),
        "C1116": (naming.exchange_two, naming.adapt_the_copy),
        "C1117": (naming.adapt_the_copy,),
        "D137": (calls.nearest_neighbour,),
        "E812": (calls.in_their_order,),
        "L303": (losses.keep_the_gradient,),
        "L305": (activations.log_probabilities, activations.drop_activation, activations.drop_flag),
        "L306": (activations.drop_clamp,),
        "L307": (losses.average_not_sum,),
        "L318": (calls.norm_of_samples,),
        "L320": (calls.mask_not_index,),
        "M203": (activations.drop_clamp, activations.drop_activation),
        "M207": (optimisers.register_modules, optimisers.give_all_parameters),
        "M208": (losses.same_shape,),
        "M213": (calls.grid_as_it_is_read,),
        "O401": (numbers.other_rate,),
        "O402": (numbers.other_rate,),
        "O405": (numbers.higher_limit,),
        "O406": (optimisers.clear_gradients,),
        "O407": (schedules.after_the_optimiser,),
        "O408": (numbers.other_rate,),
        "O409": (clipping.update_the_scaler,),
        "O411": (clipping.unscale_first,),
        "O413": (clipping.clip_before_the_step,),
        "O415": (calls.other_direction,),
        "T906": (losses.guard,),
    }
)

_NOTES: Mapping[str, str] = MappingProxyType(
    {
        "C1102": "This does not make the weights fit: it makes the script stop instead of training from others.",
        "C1105": "Runs that are resumed or evaluated must use the same number.",
        "L305": "Where probabilities are wanted (at inference), apply the activation there.",
        "L306": "Clip at inference if the range matters there.",
        "M203": "Clip at inference if the range matters there.",
        "O401": "The new value is a first guess from the size of the updates that were seen; it was not tried.",
        "O402": "The new value is a first guess from the size of the updates that were seen; it was not tried.",
        "O405": "The new value is twice the median norm that was seen; it was not tried.",
        "O408": "The new value is a tenth of the fastest group's; it was not tried.",
        "L307": "The weight of the term was set for the sum; look at it again.",
    }
)

NOT_TRIED: Mapping[str, str] = MappingProxyType(
    {
        "C1102": "its patch makes the script stop where the weights do not fit, and there is nothing to measure then",
        "C1105": "its patch draws another validation set, and figures of two sets cannot be compared",
        "C1109": "its patch changes what is printed, not what is trained",
    }
)
"""Codes whose patch no trial can judge, and why."""


def patch_for(finding: Finding, root: Path | None = None) -> Patch | None:
    """The patch of a finding, or None where there is none that is safe.

    Args:
        finding: What was found; its location names file and line.
        root: Folder that relative paths start from; the working directory by default.

    Raises:
        OSError: The file cannot be read.
        libcst.ParserSyntaxError: It cannot be parsed.
    """
    place = finding.location
    if place is None or not place.line or finding.code not in CHANGES:
        return None
    if place.cell:
        return _patch_of_a_cell(finding, place.file, place.line, root or Path())
    if not place.file.endswith(".py"):
        return None
    path = (root or Path()) / place.file
    before = path.read_bytes()
    found = _change(before, finding, place.line)
    return Patch(path, before, *found) if found is not None else None


def _patch_of_a_cell(finding: Finding, name: str, line: int, root: Path) -> Patch | None:
    """The patch of a notebook's cell: the file's other bytes stay as they are, and the diff shown is that of the cell.

    Cells with magics or ``!`` lines have none: what is no Python cannot be parsed as such.
    """
    parts, text = split_name(name), source_of(name, root)
    if parts is None or text is None or not compiles(text.encode()):
        return None
    found = _change(text.encode(), finding, line)
    if found is None:
        return None
    path = root / parts[0]
    before = path.read_bytes()
    after = with_source(before, parts[1], found[0].decode())
    if after is None:
        return None
    return Patch(path, before, after, *found[1:], cell=(name, text, found[0].decode()))


def _change(before: bytes, finding: Finding, line: int) -> tuple[bytes, str, str] | None:
    """A source with the first change that fits, its title and its note."""
    source = Source(before)
    for change in CHANGES[finding.code]:
        edits = change(source, finding, line)
        if not edits:
            continue
        after = source.edited(edits)
        if after != before and compiles(after):
            return after, title_of(change), _NOTES.get(finding.code, "")
    return None


def title_of(change: Any) -> str:
    """The first line of a change's docstring, without its full stop."""
    return str(change.__doc__).strip().split("\n", maxsplit=1)[0].rstrip(".")


def compiles(data: bytes) -> bool:
    """True if a file can still be parsed."""
    try:
        ast.parse(data)
    except (SyntaxError, ValueError):
        return False
    return True
