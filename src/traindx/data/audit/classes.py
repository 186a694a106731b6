"""Class folders: images whose label is the name of the folder they lie in, as ``ImageFolder`` reads them.

Folders are classes where every split has the same ones (``train/NORMAL``, ``test/NORMAL``): nothing else lies like
that. Without splits the folders may as well be hospitals or months; then it is said what they look like, and nothing
is judged by it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict

from traindx.data.audit.context import AuditRoom
from traindx.data.names import IMAGE_WORDS, MASK_WORDS, MODALITY_WORDS, OUTPUT_WORDS, PATIENT, SPLIT_WORDS, words
from traindx.evidence.dataset import Share
from traindx.evidence.dataset_labels import LabelColumn

TABLE = "class folders"
"""What reports call labels that are names of folders."""

MOST = 100
"""Folders beyond which they are cases rather than classes."""

FEWEST = 5
"""Images that a class has on average, at least."""

_NO_CLASS = frozenset((*IMAGE_WORDS, *MASK_WORDS, *MODALITY_WORDS, *OUTPUT_WORDS, *SPLIT_WORDS))
_NUMBERED = re.compile(r"^[A-Za-z]{0,3}[-_ ]?\d+$|\d{3,}")

Counts = dict[str, Counter[str]]
"""Images by split, by class."""


def audit(ctx: AuditRoom) -> None:
    """Write a :class:`LabelColumn` for every class, where folders are classes."""
    if ctx.store.count("SELECT COUNT(*) FROM items WHERE role = 'mask'"):
        return
    classes = found(ctx)
    if not classes:
        return
    total = {name: sum(splits.values()) for name, splits in classes.items()}
    said = ", ".join(f"{name} {count}" for name, count in list(total.items())[:8]) + (", ..." if len(total) > 8 else "")
    lines = ctx.notes.setdefault("table lines", [])
    if not agreed(classes):
        if not ctx.store.count("SELECT COUNT(*) FROM labels"):
            lines.append(f"folders that may be classes, and are not judged as such: {said}")
        return
    lines.append(f"classes by folder: {said}")
    ctx.notes["class folders"] = True
    rows = sum(total.values())
    splits: Counter[str] = Counter()
    for counted in classes.values():
        splits.update(counted)
    for name, counted in classes.items():
        ctx.evidence.add(
            LabelColumn(
                table=TABLE,
                column=name,
                type="category",
                rows=rows,
                values=tuple(Share(value=value, count=count) for value, count in total.items()),
                distinct=len(total),
                positives=total[name],
                folders=True,
                by_split={split: (counted[split], splits[split]) for split in sorted(splits)},
            )
        )


def found(ctx: AuditRoom) -> Counts:
    """Images a class and split; nothing where folders cannot be classes."""
    query = "SELECT folder, split, COUNT(*) FROM items WHERE role = 'image' AND kind = 'image' GROUP BY folder, split"
    classes: Counts = defaultdict(Counter)
    depths: set[int] = set()
    for folder, split, count in ctx.store.rows(query):
        name = str(folder).rpartition("/")[2]
        if not name or PATIENT.match(name) or _NUMBERED.search(name) or _NO_CLASS.issuperset(words(name)):
            return {}
        classes[name][str(split)] += count
        depths.add(str(folder).count("/"))
        if len(classes) > MOST:
            return {}
    enough = sum(sum(splits.values()) for splits in classes.values()) >= FEWEST * len(classes)
    return dict(sorted(classes.items())) if len(classes) > 1 and len(depths) == 1 and enough else {}


def agreed(classes: Counts) -> bool:
    """True if there are several splits, and all have the same classes."""
    splits = [set(counted) for counted in classes.values()]
    return len(splits[0]) > 1 and "" not in splits[0] and all(one == splits[0] for one in splits)


def of(path: str) -> str:
    """The class of an image in a class folder."""
    return path.rpartition("/")[0].rpartition("/")[2]
