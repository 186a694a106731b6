"""Functions that take a sample as a dictionary and give it back: one call a part of the sample that they change.

``Normalize()({"image": image, "label": label})`` is a normalisation of ``image`` like any function of that name.
Nothing is entered here: calls are only taken apart, so that the properties of other files apply.
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
        sample: Name of its argument that is the sample.
        part: Key of the part.
    """

    whole: RecordedCall | None = None
    sample: str = ""
    part: str = ""

    def again(self, torch: Any, /, **changes: Any) -> Any:
        """Make the call with another part, and give what became of it."""
        assert self.whole is not None
        values = {name: copied(torch, value) for name, value in self.whole.args.items()}
        if "self" in values:
            values["self"] = own_copy(torch, values["self"])
        values |= {name: value for name, value in changes.items() if name != self.part}
        if self.part in changes:
            values[self.sample][self.part] = copied(torch, changes[self.part])
        result = called(torch, self.whole.function, values)
        return (values[self.sample] if result is None else result)[self.part]


def taken_apart(torch: Any, calls: list[RecordedCall]) -> Iterator[RecordedCall]:
    """Calls by part, of those that take one dictionary with arrays and give one with the same keys, or change it."""
    for call in calls:
        samples = [name for name, value in call.args.items() if type(value) is dict and _arrays(torch, value)]
        after = call.result if call.result is not None else None
        if len(samples) != 1 or not isinstance(after, dict) or isinstance(call, PartOfSample):
            continue
        before = call.args[samples[0]]
        if any(as_tensor(torch, value) is not None for name, value in call.args.items() if name != "self"):
            continue
        others = {name: value for name, value in call.args.items() if name != samples[0]}
        for part in [key for key in _arrays(torch, before) if key in after][:MOST_PARTS]:
            if not _same(torch, before[part], after[part]):
                yield PartOfSample(
                    function=call.function,
                    args={**others, part: before[part]},
                    caller=call.caller,
                    given_by=call.given_by,
                    result=after[part],
                    done=True,
                    whole=call,
                    sample=samples[0],
                    part=part,
                )


def _arrays(torch: Any, sample: dict[Any, Any]) -> list[str]:
    return [
        key
        for key, value in sample.items()
        if isinstance(key, str) and key.isidentifier() and key != "self" and as_tensor(torch, value) is not None
    ]


def _same(torch: Any, one: Any, other: Any) -> bool:
    a, b = as_tensor(torch, one), as_tensor(torch, other)
    return a is None or b is None or (a.shape == b.shape and a.dtype == b.dtype and bool(torch.equal(a, b)))
