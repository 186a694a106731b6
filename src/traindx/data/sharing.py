"""A report to hand on: no names of files, folders, cases or patients, no paths, no pictures; counts and measures stay.

Names of columns and classes of tables stay, too: they say what a finding is about. A number stands for a file
throughout the report, so that two findings about one file can be told to be so.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from traindx.data.kinds import suffix_of
from traindx.data.privacy import COMMON
from traindx.data.store import STORE, Reader
from traindx.diagnosis import Diagnosis
from traindx.evidence import Evidence

_TOKEN = re.compile(r"[^\s\"'`“”‘’(),;:\[\]<>=#]+")
_WORDS = frozenset(
    ("2D", "3D", "CT", "DX", "MR", "PT", "SEG", "US", "array", "container", "dicom", "image", "images", "mask", "masks",
     "nifti", "volume", "table", "train", "val", "test")
)  # fmt: skip


def shareable(diagnosis: Diagnosis, directory: Path) -> Diagnosis:
    """The diagnosis without anything that names a file, a folder, a case or a patient.

    Args:
        diagnosis: What a verification found.
        directory: Where it wrote its evidence and its store.
    """
    names = sorted(_examples(Evidence.load(directory)), key=len, reverse=True)
    with Reader(directory / STORE) as store:
        hidden = _Hidden(store, names, (diagnosis.case, *_root(diagnosis)))
        plain = hidden.plain(diagnosis.model_dump(exclude={"pictures", "provenance"}))
    plain["findings"] = [{**finding, "pictures": ()} for finding in plain["findings"]]
    plain["provenance"] = {**diagnosis.provenance.model_dump(), "command": "traindx data DATA"}
    return Diagnosis.model_validate({**plain, "case": "data"})


def _root(diagnosis: Diagnosis) -> tuple[str, ...]:
    root = str(diagnosis.extras.get("census", {}).get("root", ""))
    return (root, os.path.abspath(root)) if root not in ("", ".") else ()


def _examples(evidence: Evidence) -> set[str]:
    """Names that records give as examples, and their files."""
    found: set[str] = set()

    def look(value: Any) -> None:
        if isinstance(value, dict):
            if {"name", "detail"} <= value.keys() and isinstance(value["name"], str):
                found.update((value["name"], value["name"].split("#")[0]))
            for inner in value.values():
                look(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                look(inner)

    for record in evidence:
        look(record.model_dump())
    return {name for name in found if len(name) > 1}


class _Hidden:
    """Numbers in place of names."""

    def __init__(self, store: Reader, examples: list[str], roots: tuple[str, ...]) -> None:
        self._store = store
        self._examples = examples
        self._roots = sorted((root for root in roots if len(root) > 1), key=len, reverse=True)
        self._numbers: dict[str, str] = {}
        self._folders: set[str] = set()
        for (path,) in store.rows("SELECT path FROM files"):
            self._folders.update(str(path).split("/")[:-1])
        self._spaced = sorted((name for name in self._folders if " " in name), key=len, reverse=True)

    def plain(self, value: Any) -> Any:
        """JSON-like data with every name in it replaced; keys of records stay."""
        if type(value) is str:
            return self._text(value)
        if isinstance(value, dict):
            return {key: self.plain(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.plain(inner) for inner in value]
        return value

    def _text(self, text: str) -> str:
        for root in self._roots:  # a file is called the same with and without it
            text = text.replace(root.rstrip("/") + "/", "").replace(root, "data")
        for name in self._examples:
            if name in text and ("/" in name or suffix_of(name) or name == text):
                text = text.replace(name, self._number(name))
        for folder in self._spaced:
            text = text.replace(folder, self._number(folder))
        return _TOKEN.sub(lambda found: self._token(found.group()), text)

    def _token(self, token: str) -> str:
        bare = token.rstrip(".")
        rest = token[len(bare) :]
        if not bare or bare in self._numbers.values() or bare in _WORDS or bare.lower() in COMMON:
            return token
        if "/" in bare and re.search(r"[A-Za-z]", bare) and bare not in ("n/a", "and/or"):
            return self._number(bare) + rest
        if suffix_of(bare) in _SUFFIXES or bare in self._folders or self._store.holds(bare):
            return self._number(bare) + rest
        return token

    def _number(self, name: str) -> str:
        kind = "file" if "/" in name or suffix_of(name) else "name"
        return self._numbers.setdefault(name, f"{kind}-{len(self._numbers) + 1}")


_SUFFIXES = frozenset(
    (".dcm", ".nii", ".nii.gz", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".npy",
     ".npz", ".nrrd", ".mha", ".mhd", ".h5", ".hdf5", ".mat", ".zip", ".csv", ".tsv", ".json", ".txt", ".xml", ".svs")
)  # fmt: skip
