"""What a trial has done so far, on disk: a second call goes on where the first one stopped."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import ValidationError

from traindx.core.batches import to_device
from traindx.core.frames import is_user_file
from traindx.core.randomness import preserved, seed_everything, seed_of, seeded
from traindx.trials.jobs import JobResult
from traindx.trials.training import attempt, digest, own_generators
from traindx.version import __version__

if TYPE_CHECKING:
    from traindx.case import Case

FILE = "trials.jsonl"


class ResumeLog:
    """Finished jobs of one trial, one JSON line each, flushed as they come.

    Args:
        directory: Where ``trials.jsonl`` is kept; None keeps nothing.
        fingerprint: What the case and the way of running it look like; lines of another fingerprint are passed over.
    """

    def __init__(self, directory: Path | None, fingerprint: str) -> None:
        self._file = directory / FILE if directory is not None else None
        self._fingerprint = fingerprint
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            self._end_torn_line()

    def __iter__(self) -> Iterator[JobResult]:
        """Finished jobs; a line cut short by a crash is passed over."""
        if self._file is None or not self._file.exists():
            return
        for line in self._file.read_text(encoding="utf-8").splitlines():
            try:
                fields = json.loads(line)
                if fields.pop("fingerprint") == self._fingerprint:
                    yield JobResult.model_validate(fields)
            except (json.JSONDecodeError, KeyError, AttributeError, ValidationError):
                continue

    def add(self, result: JobResult) -> None:
        """Append a finished job."""
        if self._file is None:
            return
        line = {"fingerprint": self._fingerprint, **result.model_dump(mode="json", exclude_defaults=True)}
        line |= {"seed": result.seed, "steps": result.steps}
        with self._file.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def _end_torn_line(self) -> None:
        """Begin a new line after one that a crash cut short."""
        if self._file is not None and self._file.exists():
            content = self._file.read_bytes()
            if content and not content.endswith(b"\n"):
                with self._file.open("ab") as log:
                    log.write(b"\n")


def fingerprint(case: Case, steps: int, units: str, threads: int) -> str:
    """What must agree for finished jobs to be used again.

    The user's source files, the weights that the model starts from, the first batches, the first loss, and how the
    trial is run. A change that shows in none of these is not noticed.
    """
    sha = hashlib.sha256()
    for part in (__version__, torch.__version__, case.name, steps, units, threads, case.device):
        sha.update(f"{part}\n".encode())
    for file in sorted(_source_files(case)):
        sha.update(file.read_bytes())
    with preserved(), own_generators(case.train), own_generators(case.val), case.open():
        seed_everything(seed_of("fingerprint"))
        model = attempt("building the model", lambda: case.model().to(case.device))
        sha.update(digest(model.state_dict().values()).encode())
        splits: tuple[Literal["train", "val"], ...] = ("train", "val") if case.val is not None else ("train",)
        for split in splits:
            with seeded("fingerprint", split):
                first = attempt(f"reading the first batch ({split})", functools.partial(case.first_batches, 1, split))
                batch = to_device(first[0], case.device)
            sha.update(digest(_tensors(batch)).encode())
            if split == "train" and case.loss is not None:
                seed_everything(seed_of("fingerprint"))
                terms = attempt(
                    "computing the loss of the first batch", functools.partial(case.loss_terms, model, batch)
                )
                sha.update(digest(value for _, value in sorted(terms.items())).encode())
    return sha.hexdigest()


def _source_files(case: Case) -> set[Path]:
    """Files of the user's in which the parts of a case are written, and those of the modules that these import."""
    parts: list[Any] = [case.model, case.train, case.val, case.loss, case.predict, case.target, case.optimizer]
    parts += [*case.treatments.values(), *(getattr(metric, "function", metric) for metric in case.metrics.values())]
    if case.diffusion is not None:
        parts += [case.diffusion.denoise, case.diffusion.sample, case.diffusion.network]
    if case.normaliser is not None:
        parts += [case.normaliser.encode, case.normaliser.decode]
    waiting = [_module_of(part) for part in parts]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if module is None or name in found or not file or not is_user_file(file):
            continue
        found.add(name)
        globals_ = list(vars(module).values())
        waiting += [value.__name__ if isinstance(value, ModuleType) else _module_of(value) for value in globals_]
    files = {Path(str(sys.modules[name].__file__)) for name in found}
    return {file for file in files if file.is_file()}


def _module_of(thing: Any) -> str:
    """Name of the module that a function, class or object comes from; empty where it has none."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    name = getattr(thing, "__module__", None) or type(thing).__module__
    return name if isinstance(name, str) else ""


def _tensors(batch: Any) -> Iterator[Any]:
    if isinstance(batch, torch.Tensor):
        yield batch
    elif isinstance(batch, dict):
        for key in sorted(batch, key=str):
            yield from _tensors(batch[key])
    elif isinstance(batch, list | tuple):
        for item in batch:
            yield from _tensors(item)
