"""How long a container or a loader is, without a line of the script's being run for it.

``len(loader)`` asks the sampler, which asks the data set, whose ``__len__`` may count, read a folder or raise; of a
stream it makes torch warn later on. What torch and Python define themselves is worked out here from what lies in the
objects; a data set of the script's has no known length.
"""

from __future__ import annotations

import math
import sys
from typing import Any

from traindx.core.frames import is_user_file

_MOST_NESTED = 8


def length_of(value: Any) -> int | None:
    """Length of a container of Python's or of a loader of torch's; None for anything else."""
    kind = type(value)
    if kind.__module__.startswith("tqdm"):
        return value.total if type(getattr(value, "total", None)) is int else None
    if kind in (list, tuple, dict, range, set):
        return len(value)
    data = sys.modules.get("torch.utils.data")
    try:
        if data is None:
            return None
        if isinstance(value, data.DataLoader):
            own = not (_of_library(value, "__len__") and _of_library(value, "__getattribute__"))
            return None if own else _of_loader(data, value)
        return _of_items(data, value)
    except Exception:  # a subclass that has not set up what it inherits
        return None


def _of_loader(data: Any, loader: Any) -> int | None:
    batches = loader.batch_sampler
    if batches is None:  # not batched by the loader
        return _of_sampler(data, loader.sampler)
    if type(batches) is not data.BatchSampler:
        return None
    count = _of_sampler(data, batches.sampler)
    if count is None:
        return None
    size = int(batches.batch_size)
    return count // size if batches.drop_last else math.ceil(count / size)


def _of_sampler(data: Any, sampler: Any) -> int | None:
    kind = type(sampler)
    if kind is data.SequentialSampler:
        return _of_items(data, sampler.data_source)
    if kind is data.RandomSampler:
        known = vars(sampler).get("_num_samples")
        return known if type(known) is int else _of_items(data, sampler.data_source)
    if kind is data.SubsetRandomSampler:
        return _of_items(data, sampler.indices)
    if kind in (data.WeightedRandomSampler, data.distributed.DistributedSampler):
        return int(sampler.num_samples)
    return None


def _of_items(data: Any, items: Any, depth: int = 0) -> int | None:
    kind = type(items)
    if kind in (list, tuple, dict, range, str, bytes):
        return len(items)
    if kind.__module__ in ("numpy", "torch"):
        shape = tuple(items.shape)
        return int(shape[0]) if shape else None
    if not isinstance(items, data.Dataset) or isinstance(items, data.IterableDataset) or depth > _MOST_NESTED:
        return None
    return _of_set(data, items, depth) if _of_library(items, "__len__") else None


def _of_set(data: Any, items: Any, depth: int) -> int | None:
    """A data set whose length a library defines: by its tensors, its parts, or the list of cases that it goes by."""
    if type(items) is data.TensorDataset:
        return int(items.tensors[0].shape[0])
    if isinstance(items, data.ConcatDataset):
        return int(items.cumulative_sizes[-1])
    inner = next((vars(items)[name] for name in ("indices", "data", "_data") if name in vars(items)), None)
    return _of_items(data, inner, depth + 1)


def _of_library(thing: Any, method: str) -> bool:
    """True if a method is not written in the script's own files."""
    code = getattr(getattr(type(thing), method, None), "__code__", None)
    return code is None or not is_user_file(code.co_filename)
