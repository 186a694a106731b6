"""Numbers on a device that are read later, many at a time, so that the script never waits for them."""

from __future__ import annotations

from typing import Any

PACKED_AT = 256


class Unread:
    """Numbers that were computed and not read yet, in order.

    They are kept as tensors of one element, packed into one from time to time, so that many cost no
    more than their bytes.
    """

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._tensors: list[Any] = []
        self._waiting = 0

    def __len__(self) -> int:
        return sum(tensor.numel() for tensor in self._tensors)

    def add(self, number: Any) -> None:
        """Keep a copy of a tensor with one element."""
        self._tensors.append(number.detach().reshape(1).clone())
        self._waiting += 1
        if self._waiting >= PACKED_AT:
            self._waiting = 0
            self._pack()

    def _pack(self) -> None:
        """One tensor a device, where neighbours lie on the same one."""
        packed: list[list[Any]] = []
        for tensor in self._tensors:
            if packed and packed[-1][0].device == tensor.device:
                packed[-1].append(tensor)
            else:
                packed.append([tensor])
        self._tensors = [self._torch.cat(together) if len(together) > 1 else together[0] for together in packed]

    def read(self) -> list[float]:
        """All of them, which waits for the device; none is left."""
        self._pack()
        tensors, self._tensors, self._waiting = self._tensors, [], 0
        return [float(number) for tensor in tensors for number in tensor.tolist()]
