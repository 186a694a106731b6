"""Settings that a function takes from the object that it belongs to, as if they were arguments.

``Window(40, 400)(image)`` is a function of an image, a centre and a width, like ``window(image, 40, 400)``. Only what
the function itself reads counts: a number that a constructor has made a table of acts nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from traindx.watch.probes.recorded import RecordedCall, own_copy

MOST = 16  # entries of a list


@dataclass
class WithSettings(RecordedCall):
    """A call of a method, with the numbers that the object holds among its arguments.

    Attributes:
        plain: The call as it was.
        settings: Names of these arguments.
    """

    plain: RecordedCall | None = None
    settings: frozenset[str] = frozenset()

    def again(self, torch: Any, /, **changes: Any) -> Any:
        """Make the call with other settings, on a copy of the object.

        Raises:
            ValueError: The object is too large to be copied.
        """
        assert self.plain is not None
        given = {name: value for name, value in changes.items() if name not in self.settings}
        if len(given) < len(changes) and "self" not in changes:
            owner = self.args["self"]
            twin = own_copy(torch, owner)
            if twin is owner:
                raise ValueError("an object that is not copied")
            for name in self.settings & changes.keys():
                setattr(twin, name, changes[name])
            given["self"] = twin
        elif "self" not in changes:
            given["self"] = self.args["self"]
        return self.plain.again(torch, **given)


def with_settings(call: RecordedCall) -> WithSettings | None:
    """The same call with the object's numbers as arguments; None where it reads none."""
    owner = call.args.get("self")
    fields = getattr(owner, "__dict__", None)
    if not isinstance(fields, dict) or isinstance(call, WithSettings):
        return None
    read = set(call.code.co_names)
    known = {name: value for name, value in fields.items() if name in read and name not in call.args and _is_one(value)}
    if not known:
        return None
    return WithSettings(
        function=call.function,
        args={**call.args, **known},
        caller=call.caller,
        learned=call.learned,
        given_by=call.given_by,
        result=call.result,
        done=call.done,
        plain=call,
        settings=frozenset(known),
    )


def _is_one(value: Any) -> bool:
    """A number, or a few in a row."""
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return 0 < len(value) <= MOST and all(_is_number(one) for one in value)
    return _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
