"""Readers of files that scripts call, whose results an experiment looks at or changes; only for child processes.

A script calls a reader in its library (``tifffile.imread``), by a name of its own (``from tifffile import imread``), or
takes a part of a file that is open (``file["label"][:]`` of HDF5, an archive of numpy). All of them are one table here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from traindx.watch.runtime.call_sites import loaded_files

FUNCTIONS = (
    ("numpy", "load"), ("numpy", "fromfile"), ("PIL.Image", "open"), ("nibabel", "load"),
    ("cv2", "imread"), ("tifffile", "imread"), ("skimage.io", "imread"), ("imageio", "imread"),
    ("imageio.v2", "imread"), ("imageio.v3", "imread"), ("imageio", "volread"), ("imageio.v2", "volread"),
    ("torch", "load"), ("torchvision.io", "read_image"), ("matplotlib.pyplot", "imread"), ("nrrd", "read"),
    ("medpy.io", "load"), ("scipy.io", "loadmat"), ("SimpleITK", "GetArrayFromImage"),
    ("SimpleITK", "GetArrayViewFromImage"),
)  # fmt: skip
PARTS = (("numpy.lib.npyio", "NpzFile"), ("numpy.lib._npyio_impl", "NpzFile"), ("h5py._hl.dataset", "Dataset"))
"""Classes of open files, whose parts are read by an index."""


@contextmanager
def reading_changed(change: Callable[[Any], Any], *, images: bool = True) -> Iterator[None]:
    """Inside, what readers of files give is changed by a function.

    Args:
        change: Given what was read; returns something of its form.
        images: An image of nibabel is replaced by one that holds the changed numbers, as 32-bit floats.
    """
    undo: list[Callable[[], None]] = []
    try:
        readers: dict[int, Any] = {}
        for module, name in FUNCTIONS:
            original = vars(sys.modules[module]).get(name) if module in sys.modules else None
            if callable(original) and not isinstance(original, type):
                readers[id(original)] = _reader(original, change, images)
                undo.append(_put(sys.modules[module], name, readers[id(original)]))
        for place, own, read in _own_names(readers):
            undo.append(_put(place, own, read))
        seen: set[int] = set()
        for module, name in PARTS:
            owner = getattr(sys.modules.get(module), name, None)
            original = vars(owner).get("__getitem__") if owner is not None else None
            if callable(original) and id(owner) not in seen:
                seen.add(id(owner))
                undo.append(_put(owner, "__getitem__", _reader(original, change, images)))
        yield
    finally:
        for one in reversed(undo):
            one()


def _reader(original: Any, change: Callable[[Any], Any], images: bool) -> Callable[..., Any]:
    def read(*args: Any, **kwargs: Any) -> Any:
        given = original(*args, **kwargs)
        if type(given).__module__.startswith("nibabel"):
            return type(given)(change(given.get_fdata().astype("float32")), given.affine) if images else given
        return change(given)

    return read


def _own_names(readers: dict[int, Any]) -> list[tuple[Any, str, Any]]:
    """Names that modules of the user's have for functions of a library, each with what stands for it now.

    It is asked for every item that is made, and thousands of modules may be loaded: they are gone through again only
    when another one came or went.
    """
    state = (len(sys.modules), next(reversed(sys.modules)), tuple(sorted(readers)))
    if _named.get("state") != state:
        files = set(loaded_files())
        found = [
            (module, name, id(value))
            for module in list(sys.modules.values())
            if getattr(module, "__file__", None) in files
            for name, value in list(vars(module).items())
            if id(value) in readers
        ]
        _named.update(state=state, found=found)
    return [
        (module, name, readers[number])
        for module, name, number in _named["found"]
        if id(vars(module).get(name)) == number
    ]


_named: dict[str, Any] = {}


def _put(place: Any, name: str, value: Any) -> Callable[[], None]:
    before = vars(place)[name]
    setattr(place, name, value)
    return lambda: setattr(place, name, before)
