"""Fingerprints of tensors: what tells bit-identical from nearly equal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

MOST_BYTES = 256_000_000  # of one tensor; a larger one is read with a stride


class Digest:
    """SHA-256 over the bytes, shapes and types of tensors, in the order in which they come."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self.count = 0

    def add(self, tensor: Any) -> None:
        """Take in a tensor (of any device; sparse and quantised ones by their dense values)."""
        import torch

        flat = tensor.detach()
        if flat.layout != torch.strided:
            flat = flat.to_dense()
        self._sha.update(f"{flat.dtype}{tuple(flat.shape)}".encode())
        self.count += 1
        if not flat.numel():
            return
        flat = flat.reshape(-1)
        if flat.numel() * flat.element_size() > MOST_BYTES:
            flat = flat[:: flat.numel() * flat.element_size() // MOST_BYTES + 1]
        self._sha.update(memoryview(flat.cpu().contiguous().view(torch.uint8).numpy()))

    def mark(self, text: str) -> None:
        """Take in a word."""
        self._sha.update(text.encode())
        self.count += 1

    @property
    def hex(self) -> str:
        """The fingerprint; empty of nothing."""
        return self._sha.hexdigest() if self.count else ""


def digest_of(tensors: Iterable[Any]) -> str:
    """Fingerprint of some tensors."""
    made = Digest()
    for tensor in tensors:
        made.add(tensor)
    return made.hex
