"""Who the patients are stays out of what is written: identifiers become hashes with a salt that is thrown away.

Headers say what the identifiers of a data set are: numbers, names, dates of birth, accession numbers. A report needs
none of them, but the names of files and folders that it quotes are often made of them. So every text that is written is
searched for what the headers of the same data hold, for DICOM UIDs, and for what looks like a name by itself; each is
replaced by a token such as ``patient-5e0c1a7b``, the same one throughout a report. The salt is never written, so that a
list of all possible numbers does not undo it, and two reports cannot be joined.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, TypeVar, get_origin

from pydantic import BaseModel

from traindx.data.names import IMAGE_WORDS, MASK_WORDS, MODALITY_WORDS, SPLIT_WORDS, is_placeholder
from traindx.data.store import OF_TABLES, Store

M = TypeVar("M", bound=BaseModel)

_UID = re.compile(r"(?<![\d.])(?!1\.2\.840\.10008\.)[0-2](?:\.\d{1,40}){4,}(?![\d])")
_CARETS = re.compile(r"[^\W\d_][^\W\d_'.-]*(?:\^[^\W\d_'. -]*)+")
_NAME_AND_BIRTH = re.compile(r"[^\W\d_]{2,}[ _.,-]+[^\W\d_]{2,}[ _.,-]+(?:18|19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d(?!\d)")
_RUN = re.compile(r"[^\W_]+")
_PATHLIKE = re.compile(r"[^\s\"'(),;:\[\]]*(?:/|\.[A-Za-z][A-Za-z0-9]{1,6}(?![\w]))[^\s\"'(),;:\[\]]*")
_CALLED = re.compile(r"\b(patient|study|series|accession) ([^\s:,;()]+)")
_MOST_RUNS = 5
_DIGITS = 6
"""Digits from which a number is taken for an identifier anywhere; shorter ones only in names of files and folders."""

COMMON = frozenset((*MASK_WORDS, *IMAGE_WORDS, *MODALITY_WORDS, *SPLIT_WORDS)) | frozenset(
    (
        "abdomen", "anat", "axial", "body", "brain", "breast", "cardiac", "case", "chest", "coronal", "data", "dataset",
        "dcm", "dicom", "dose", "female", "file", "files", "fold", "head", "heart", "hip", "image", "kidney", "knee",
        "leg", "liver", "lung", "lungs", "male", "nii", "patient", "pelvis", "phantom", "png", "prostate", "sagittal",
        "scan", "series", "slice", "spine", "spleen", "study", "subject", "the", "thorax", "unknown", "vertebra",
        "volume",
        "date", "id", "name", "uid",  # begin tokens of ours
    )
)  # fmt: skip
"""Words that are no names of anybody, whatever a header says: hiding them would make reports unreadable."""

STRUCTURAL = ("patient", "study", "series", "sop", "visit")
_KEPT = frozenset(
    ("kind", "role", "role_from", "modality", "modality_from", "split", "shape", "dtype", "photometric", "orient",
     "normal", "label_values", "status", "source")
)  # fmt: skip


class Identities:
    """What identifies patients in one data set, and the tokens that stand for it."""

    def __init__(self) -> None:
        self._salt = os.urandom(16)
        self._strong: dict[str, str] = {}
        self._weak: dict[str, str] = {}
        self._begins: set[str] = set()
        self._masked = lru_cache(maxsize=4096)(self._mask)

    def token(self, kind: str, value: str) -> str:
        """``kind-`` and eight digits that are the same for the same value within this run, and say nothing else."""
        digest = hashlib.blake2b(_normal(value).encode(), key=self._salt, digest_size=4).hexdigest()
        return f"{kind}-{digest}"

    def learn(self, identifiers: Iterable[tuple[str, str]]) -> None:
        """Take note of identifiers from headers: ``(kind, value)``, kinds ``patient``, ``name``, ``date``, ``id``."""
        before = len(self._strong) + len(self._weak)
        for kind, value in identifiers:
            if is_placeholder(value):
                continue
            if kind == "name":
                self._learn_name(value)
                continue
            key = _normal(value)
            if key in COMMON or len(key) < 2:
                continue
            safe = len(key) >= (_DIGITS if key.isdigit() else 4) and not key.isalpha()
            known = self._strong if safe else self._weak
            if key not in known:
                self._keep(known, key, self.token("patient" if kind == "patient" else kind, value))
        if len(self._strong) + len(self._weak) != before:
            self._masked.cache_clear()

    def _learn_name(self, value: str) -> None:
        parts = [part for group in value.split("=") for part in re.split(r"[\^\s,._-]+", group) if len(part) > 1]
        token = self.token("name", value)
        for first in parts:
            if len(first) > 2 and _normal(first) not in COMMON and not is_placeholder(first):
                self._keep(self._weak, _normal(first), token)
            for second in parts:
                if first is not second and not {_normal(first), _normal(second)} <= COMMON:
                    self._keep(self._strong, _normal(first + second), token)
        whole = _normal("".join(parts))
        if len(parts) > 2 and whole:
            self._keep(self._strong, whole, token)

    def _keep(self, known: dict[str, str], key: str, token: str) -> None:
        known.setdefault(key, token)
        self._begins.update((key[:1], key[:2]))

    def mask(self, text: str) -> str:
        """The text with tokens in place of what identifies somebody."""
        return self._masked(text) if text else text

    def _mask(self, text: str) -> str:
        if "." in text:
            text = _UID.sub(lambda found: self.token("uid", found.group()), text)
        if "^" in text:
            text = _CARETS.sub(lambda found: self.token("name", found.group()), text)
        text = _NAME_AND_BIRTH.sub(lambda found: self.token("name", found.group()), text)
        if not self._strong and not self._weak:
            return text
        text = self._replace(text, self._strong)
        if self._weak:
            both = {**self._weak, **self._strong}
            text = _PATHLIKE.sub(lambda found: self._replace(found.group(), both), text)
            text = _CALLED.sub(lambda found: f"{found[1]} {self._replace(found[2], both)}", text)
            if " " not in text:  # a name by itself: of a case, a folder, a column
                text = self._replace(text, both)
        return text

    def _replace(self, text: str, known: dict[str, str]) -> str:
        """Replace runs of letters and digits, alone or up to five in a row, that make up something known."""
        runs = [(found.start(), found.end()) for found in _RUN.finditer(text)]
        pieces: list[str] = []
        at = index = 0
        while index < len(runs):
            start, stop = runs[index]
            if text[start : min(start + 2, stop)].lower() not in self._begins:  # most words, at once
                index += 1
                continue
            key, hit = "", None
            for last in range(index, min(index + _MOST_RUNS, len(runs))):
                if last > index and not _joined(text[runs[last - 1][1] : runs[last][0]]):
                    break
                key += text[runs[last][0] : runs[last][1]].lower()
                if key in known:
                    hit = last
                    found = known[key]
            if hit is None:
                index += 1
                continue
            pieces += [text[at : runs[index][0]], found]
            at = runs[hit][1]
            index = hit + 1
        return "".join(pieces) + text[at:] if pieces else text

    def plain(self, value: Any, like: Any = None) -> Any:
        """JSON-like data with every text in it masked, keys included.

        Args:
            value: The data.
            like: The record that they were dumped from. The names of its fields, its choices and its codes are ours,
                and stay: somebody may be called ``name``.
        """
        if isinstance(value, str):
            return self.mask(value) if type(value) is str and not isinstance(like, Enum) else value
        if isinstance(value, dict):
            if like is _KEYS:
                return {key: self.plain(inner, _KEYS) for key, inner in value.items()}
            if isinstance(like, BaseModel):
                return {
                    key: inner if _ours(like, key) else self.plain(inner, _field(like, key))
                    for key, inner in value.items()
                }
            known = like if isinstance(like, dict) else {}
            return {self.plain(key): self.plain(inner, known.get(key)) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            same = isinstance(like, list | tuple) and len(like) == len(value)
            each = like if same else [like if like is _KEYS else None] * len(value)
            return [self.plain(inner, one) for inner, one in zip(value, each, strict=True)]
        return value

    def model(self, value: M) -> M:
        """A record or diagnosis with every text in it masked."""
        return type(value).model_validate(self.plain(value.model_dump(), value))

    def clean(self, store: Store) -> None:
        """Mask every text of the store, in place; what stood there before is overwritten."""
        store.function("mask", 1, self.mask)
        store.function("token", 2, self._structural)
        for table in ("items", "files", *OF_TABLES):
            columns = [str(row[1]) for row in store.rows(f"PRAGMA table_info({table})") if row[2] == "TEXT"]
            changes = [
                f"{column} = token('{column}', {column})" if column in STRUCTURAL else f"{column} = mask({column})"
                for column in columns
                if column not in _KEPT
            ]
            store.run(f"UPDATE {table} SET {', '.join(changes)}")

    def _structural(self, kind: str, value: str | None) -> str | None:
        """Patient, study, series and instance are hashed whatever they look like."""
        if not value:
            return value
        if _UID.fullmatch(value):
            return self.token("uid", value)
        if value.startswith("folder:"):
            return self.mask(value)
        key = _normal(value)
        return self._strong.get(key) or self._weak.get(key) or self.token(kind, value)


_CODED = frozenset(
    (("Finding", "code"), ("Finding", "name"), ("Finding", "variant"), ("Finding", "evidence"), ("Elsewhere", "codes"),
     ("NotExamined", "incomplete"), ("Provenance", "traindx"), ("Provenance", "python"), ("Provenance", "torch"),
     ("Provenance", "platform"), ("Provenance", "started"))
)  # fmt: skip
"""Fields that hold words of this program and none of the data."""

_KEYS = object()
"""In place of a record: data whose keys are names of fields, at every depth."""


def _ours(like: BaseModel, key: str) -> bool:
    """True for a field whose values are chosen from a list of this program."""
    known = type(like).model_fields.get(key)
    return (type(like).__name__, key) in _CODED or (known is not None and get_origin(known.annotation) is Literal)


def _field(like: BaseModel, key: str) -> Any:
    """What a field was dumped from; what commands add (``extras``) was dumped from records before."""
    return _KEYS if key == "extras" else getattr(like, key, None)


def _joined(between: str) -> bool:
    """True for what may stand between the parts of one identifier."""
    return len(between) <= 2 and not set(between) - set(" _-.^,")


def _normal(value: str) -> str:
    return "".join(_RUN.findall(value)).lower()
