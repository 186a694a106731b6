"""Writers that open their files in C, C++ or Rust, which no audit event of the interpreter tells of."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

Told = Callable[[Any], object]
"""Is given the path before the file is opened; what it raises keeps the file as it is."""


def of_safetensors(module: Any, told: Told) -> None:
    """``safetensors.torch.save_file`` writes in Rust."""
    original = getattr(module, "save_file", None)
    if original is None:
        return

    @functools.wraps(original)
    def save_file(tensors: Any, filename: Any, *args: Any, **kwargs: Any) -> Any:
        told(filename)
        return original(tensors, filename, *args, **kwargs)

    module.save_file = save_file


def of_h5py(module: Any, told: Told) -> None:
    """HDF5 opens its files itself."""
    original = module.File.__init__

    @functools.wraps(original)
    def init(file: Any, name: Any = None, mode: Any = "r", *args: Any, **kwargs: Any) -> None:
        if mode != "r" and isinstance(name, str | os.PathLike):
            told(name)
        original(file, name, mode, *args, **kwargs)

    module.File.__init__ = init


def of_torch(torch: Any, told: Told) -> None:
    """``torch.save`` opens a path in C++."""
    serialization = torch.serialization
    original = getattr(serialization, "_open_zipfile_writer", None)
    if original is None:
        return

    def open_writer(name_or_buffer: Any) -> Any:
        if isinstance(name_or_buffer, str | os.PathLike):
            told(name_or_buffer)
        return original(name_or_buffer)

    serialization._open_zipfile_writer = open_writer


WRITERS = {"torch": of_torch, "h5py": of_h5py, "safetensors.torch": of_safetensors}


def of_what_is_loaded(told: Told) -> None:
    """All of them, as far as the script has imported them."""
    for name, follow in WRITERS.items():
        module = sys.modules.get(name)
        if module is not None:
            follow(module, told)
