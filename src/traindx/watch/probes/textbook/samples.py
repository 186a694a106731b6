"""Functions that take a sample as a dictionary, or as several arrays, and give it back: one call a part of it.

``Normalize()({"image": image, "label": label})`` is a normalisation of ``image`` like any function of that name, and
``hflip(image, mask)`` flips two images. Nothing is entered here: calls are only taken apart, so that the properties of
other files apply.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from traindx.watch.probes.functions.common import as_tensor
from traindx.watch.probes.recorded import RecordedCall, called, copied, own_copy

MOST_PARTS = 4


@dataclass
class PartOfSample(RecordedCall):
    """A call as that of a function of one part of the sample.

    Attributes:
        whole: The call with the whole sample.
        sample: Name of its argument that is the sample; "" where its arguments are.
        part: Key of the part, or name of the argument.
        place: Where it is in a result that is a tuple.
    """

    whole: RecordedCall | None = None
    sample: str = ""
    part: str = ""
    place: int = 0

    def again(self, torch: Any, /, **changes: Any) -> Any:
        """Make the call with another part, and give what became of it."""
        assert self.whole is not None
        values = {name: copied(torch, value) for name, value in self.whole.args.items()}
        if "self" in values:
            values["self"] = own_copy(torch, values["self"])
        values |= {name: value for name, value in changes.items() if name != self.part}
        if self.part in changes:
            held = values[self.sample] if self.sample else values
            held[self.part] = copied(torch, changes[self.part])
        result = called(torch, self.whole.function, values)
        if not self.sample:
            return result[self.place]
        return (values[self.sample] if result is None else result)[self.part]


def taken_apart(torch: Any, calls: list[RecordedCall]) -> Iterator[RecordedCall]:
    """Calls by part, of those that take a sample and give one with the same parts."""
    for call in calls:
        others = {name: value for name, value in call.args.items() if name != "self"}
        samples = [name for name, value in others.items() if type(value) is dict and _arrays(torch, value)]
        arrays = _arrays(torch, others)
        if len(samples) == 1 and not arrays and isinstance(call.result, dict):
            before = others[samples[0]]
            for part in [key for key in _arrays(torch, before) if key in call.result][:MOST_PARTS]:
                yield from _part(torch, call, samples[0], part, before[part], call.result[part])
        elif len(arrays) >= 2 and not samples and isinstance(call.result, list | tuple):
            several = len(call.result) == len(arrays)
            for place, part in enumerate(arrays[:MOST_PARTS] if several else ()):
                yield from _part(torch, call, "", part, others[part], call.result[place], place)


def _part(
    torch: Any, call: RecordedCall, sample: str, part: str, before: Any, after: Any, place: int = 0
) -> Iterator[RecordedCall]:
    a, b = as_tensor(torch, before), as_tensor(torch, after)
    if a is None or b is None or a.dim() != b.dim() or not a.dim():
        return
    if a.shape == b.shape and bool((a == b).all()):  # another type is no other image
        return
    kept = {name for name, value in call.args.items() if as_tensor(torch, value) is None and name != sample}
    yield PartOfSample(
        function=call.function,
        args={**{name: value for name, value in call.args.items() if name in kept}, part: before},
        caller=call.caller,
        given_by=call.given_by,
        result=after,
        done=True,
        whole=call,
        sample=sample,
        part=part,
        place=place,
    )


def _arrays(torch: Any, sample: dict[Any, Any]) -> list[str]:
    return [
        key
        for key, value in sample.items()
        if isinstance(key, str) and key.isidentifier() and key != "self" and as_tensor(torch, value) is not None
    ]
