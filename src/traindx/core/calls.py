"""Recorded calls of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from traindx.core.frames import location
from traindx.errors import CaseError

if TYPE_CHECKING:
    from torch import Tensor, nn


@contextmanager
def recorded_outputs(network: nn.Module) -> Iterator[list[Any]]:
    """The outputs of every call of a network, in order of the calls."""
    recorded: list[Any] = []
    handle = network.register_forward_hook(lambda module, args, output: recorded.append(output))
    try:
        yield recorded
    finally:
        handle.remove()


class CallReader:
    """The author's own reading of a network call, believed only after it was seen to read its arguments.

    ``read_call`` is easily written so that it returns something remembered (a batch, a closure's variable): it is then
    right in one place and wrong everywhere else, and so is every figure that follows from it. So the first call is read
    twice, the second time with other numbers in every tensor.

    Args:
        read: ``(args, kwargs) -> (x_t, time)``.
    """

    def __init__(self, read: Callable[[tuple[Any, ...], dict[str, Any]], tuple[Tensor, Any]]) -> None:
        self.__wrapped__ = read
        self._believed = False

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Any]:
        """The noisy image and the time of a call.

        Raises:
            CaseError: The result does not follow the arguments, or is not a pair.
        """
        found = self.__wrapped__(args, kwargs)
        if not self._believed:
            self._test(args, kwargs, found)
            self._believed = True
        return found

    def _test(self, args: tuple[Any, ...], kwargs: dict[str, Any], found: Any) -> None:
        import torch

        code = getattr(self.__wrapped__, "__code__", None)
        where = str(location(code, code.co_firstlineno)) if code is not None else ""
        if not isinstance(found, tuple | list) or len(found) != 2 or not isinstance(found[0], torch.Tensor):
            raise CaseError(
                f"Diffusion.read_call returned {type(found).__name__} and not the noisy image and the time",
                expected="(args, kwargs) -> (x_t, time)",
                where=where,
            )
        others = (
            [_other_numbers(value) for value in args],
            {key: _other_numbers(value) for key, value in kwargs.items()},
        )
        again = self.__wrapped__(tuple(others[0]), others[1])
        if again[0] is found[0] or (again[0].shape == found[0].shape and torch.equal(again[0], found[0])):
            raise CaseError(
                "Diffusion.read_call is not a function of its arguments: it returns the same noisy image for a call "
                "with other tensors",
                expected="x_t and time taken out of (args, kwargs) of the very call",
                do="do not use anything that was remembered from elsewhere (a batch, a closure's variable)",
                where=where,
            )


def _other_numbers(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach() + 1 if value.is_floating_point() else value.detach().clone()
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(_other_numbers(item) for item in value)
    if isinstance(value, dict):
        return {key: _other_numbers(item) for key, item in value.items()}
    return value
