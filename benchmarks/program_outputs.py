"""What a program left behind, and whether two runs of it left the same: lines printed, files written, weights saved.

Lines are compared without what differs between any two runs (times, rates, addresses, progress bars), whatever their
order, since two streams are mixed. Of files that torch saved the tensors are compared, bit for bit, and of text the
lines; anything else byte by byte. Where two unwatched runs differ, only what they share can be asked of a third one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# What differs between two runs of a deterministic program and means nothing: times, rates, addresses, temporary paths.
VOLATILE = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\x1b\[[0-9;?]*[A-Za-z]", ""),
        (r"0x[0-9a-fA-F]{6,}", "ADDRESS"),
        (r"/tmp/[\w./-]+", "PATH"),
        (r"(?i)\b(elapsed|time|took|seconds|secs?|date|eta|duration)\b\W{0,3}[^,;|)\n]*", "TIME"),
        (r"\d{4}-\d\d-\d\d([ T_]\d\d[:.\-]\d\d([:.\-]\d\d)?([.,]\d+)?)?", "DATE"),
        (r"\d{1,2}:\d\d(:\d\d)?([.,]\d+)?", "CLOCK"),
        (r"[\d.]+(e[+-]?\d+)?\s?(ms|us|µs|s|sec|secs|seconds|min|mins|m|h|hours?)\b", "DURATION"),
        (r"[\d.?]+\s?(it|img|batch|ex|sample|samples|tok|frames)s?/s(ec)?|[\d.?]+\s?s/\w+", "RATE"),
        (r"(?i)\b(pid|process)\D{0,3}\d+", "PID"),
    )
)
WEIGHTS = (".pt", ".pth", ".ckpt", ".bin", ".tar", ".safetensors", ".pkl")
# Wall times within (event files, PDF and SVG), caches of bytecode, and locks: no two runs write the same.
NOT_COMPARED = re.compile(r"tfevents|\.(pyc|pdf|svg|lock)$")

SEEDS = '''"""Seed what draws random numbers when it is imported: the program itself sets no seed."""

import importlib.abc
import importlib.util
import random
import sys

random.seed(0)
SEEDED = {"numpy": lambda module: module.random.seed(0), "torch": lambda module: module.manual_seed(0)}


class Loader(importlib.abc.Loader):
    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        SEEDED[module.__name__](module)
        module.__spec__.loader = module.__loader__ = self.loader


class Finder(importlib.abc.MetaPathFinder):
    busy = False

    def find_spec(self, name, path, target=None):
        if name not in SEEDED or self.busy:
            return None
        self.busy = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.busy = False
        if spec is not None and spec.loader is not None:
            spec.loader = Loader(spec.loader)
        return spec


sys.meta_path.insert(0, Finder())
'''


@dataclass
class Left:
    """What a run left: the settled lines, and ``name digest`` of every file that it wrote or changed."""

    lines: list[str]
    files: list[str]


def settled(text: str) -> list[str]:
    """Lines without what may differ between two runs: progress bars, times, addresses, temporary paths."""
    lines = []
    for line in text.split("\n"):
        last = line.rstrip("\r").rsplit("\r", maxsplit=1)[-1]
        if re.search(r"\d+%\|", last) or re.search(r"\|\s*\d+/\d+\s*\[", last):
            continue
        last = without_volatile(last)
        if last.strip() and not last.startswith("traindx |"):
            lines.append(last.rstrip())
    return lines


def without_volatile(text: str) -> str:
    """The text with times, addresses and the like replaced by a word."""
    for pattern, replacement in VOLATILE:
        text = pattern.sub(replacement, text)
    return text


def stamps(root: Path) -> dict[str, tuple[int, int]]:
    """Time and size of every file below a folder, links not followed."""
    found: dict[str, tuple[int, int]] = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                found[str(path.relative_to(root))] = (path.stat().st_mtime_ns, path.stat().st_size)
    return found


def written(root: Path, before: dict[str, tuple[int, int]]) -> list[str]:
    """``name digest`` of every file that is new or changed since ``before``, sorted; numbers in names do not count."""
    entries = []
    for name, stamp in stamps(root).items():
        if before.get(name) != stamp and not NOT_COMPARED.search(name):
            entries.append(f"{re.sub(r'[0-9]+', 'N', without_volatile(name))} {digest(root / name)}")
    return sorted(entries)


def digest(path: Path) -> str:
    """Of what two equal runs share: the tensors of a file of torch's, settled lines of text, else the bytes."""
    found = hashlib.sha256()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            # The pickle beside the tensors depends on which equal strings are one object.
            for name in sorted(archive.namelist()):
                if name.endswith(("data.pkl", "serialization_id")):
                    continue
                found.update(name.split("/", maxsplit=1)[-1].encode() + archive.read(name))
        return found.hexdigest()[:16]
    data = path.read_bytes()
    if b"\0" not in data[:4096]:
        with contextlib.suppress(UnicodeDecodeError):
            data = "\n".join(sorted(settled(data.decode("utf-8")))).encode()
    found.update(data)
    return found.hexdigest()[:16]


def shared(first: Iterable[str], second: Iterable[str]) -> list[str]:
    """What both hold, as often as both hold it, in the order of the first."""
    left, kept = Counter(second), []
    for entry in first:
        if left[entry]:
            left[entry] -= 1
            kept.append(entry)
    return kept


def first_difference(before: list[str], after: list[str]) -> str:
    """The first line that differs, or an empty text; the order of lines does not count, as two streams are mixed."""
    gone, new = Counter(before) - Counter(after), Counter(after) - Counter(before)
    if not gone and not new:
        return ""
    lost = next((line for line in before if line in gone), "")
    more = next((line for line in after if line in new), "")
    return f"without: {lost[:160]!r}  watched: {more[:160]!r}"


def weights_among(files: Iterable[str]) -> int:
    """How many of the files hold weights, by their names."""
    return sum(entry.rsplit(" ", maxsplit=1)[0].endswith(WEIGHTS) for entry in files)
