"""Boxes and splits that lie beside the images in files of their own: VOC, COCO, YOLO, LabelMe, VIA, lists, fold files.

Of outlines the box around them is taken.

Every one becomes a table like those in CSV, so that one set of audits judges them all.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from traindx.data.layout import outlines
from traindx.data.names import SPLIT_WORDS, words
from traindx.data.tables import Table, from_rows

LARGEST_JSON = 512 << 20
LARGEST_TEXT = 1 << 20
_OBJECT = re.compile(r"<object>(.*?)</object>", re.DOTALL | re.IGNORECASE)
_NUMBER = re.compile(r"^-?\d*\.?\d+(?:[eE][-+]?\d+)?$")

Row = dict[str, str]
Found = list[Table]


def box_tables(root: str, texts: Iterable[str]) -> Found:
    """Tables of the boxes in sidecar files.

    Args:
        root: The data folder.
        texts: Paths of its text files, relative to it.
    """
    xml: dict[str, list[str]] = defaultdict(list)
    txt: dict[str, list[str]] = defaultdict(list)
    shapes: dict[str, list[str]] = defaultdict(list)
    found: Found = []
    for name in sorted(texts):
        lower = name.lower()
        if lower.endswith(".xml"):
            xml[name.rpartition("/")[0]].append(name)
        elif lower.endswith(".txt"):
            txt[name.rpartition("/")[0]].append(name)
        elif lower.endswith(".json") and _size(root, name) <= LARGEST_JSON:
            content = _content(root, name)
            if outlines.is_labelme(content):
                shapes[name.rpartition("/")[0]].append(name)
                continue
            table = _json(root, name, content)
            if table is not None:
                found.append(table)
    for folder, names in shapes.items():
        found.append(_table(root, folder, lambda names=names: _labelme(root, names)))  # type: ignore[misc]
    for folder, names in xml.items():
        if "<bndbox>" in _text(root, names[0]).lower():
            found.append(_table(root, folder, lambda names=names: _voc(root, names)))  # type: ignore[misc]
    for folder, names in txt.items():
        if _looks_like_yolo(root, names):
            kinds = _class_names(root, folder)
            found.append(_table(root, folder, lambda names=names, kinds=kinds: _yolo(root, names, kinds)))  # type: ignore[misc]
    return [table for table in found if table.columns]


def _table(root: str, name: str, source: Callable[[], Iterator[Row]]) -> Table:
    return from_rows(Path(root, name), name or ".", source)


def _size(root: str, name: str) -> int:
    try:
        return os.path.getsize(os.path.join(root, name))
    except OSError:
        return LARGEST_JSON + 1


def _text(root: str, name: str) -> str:
    try:
        with open(os.path.join(root, name), encoding="utf-8", errors="replace") as stream:
            return stream.read(LARGEST_TEXT)
    except OSError:
        return ""


def _tag(content: str, name: str) -> str:
    found = re.search(rf"<{name}>\s*([^<]*?)\s*</{name}>", content, re.IGNORECASE)
    return found[1] if found else ""


def _voc(root: str, names: list[str]) -> Iterator[Row]:
    for name in names:
        content = _text(root, name)
        stem = name.rpartition("/")[2][:-4]
        for place, match in enumerate(_OBJECT.finditer(content), start=1):
            line = content.count("\n", 0, match.start()) + 1
            row = {"image": _tag(content, "filename") or stem, "class": _tag(match[1], "name")}
            row |= {key: _tag(match[1], key) for key in ("xmin", "ymin", "xmax", "ymax")}
            size = outlines.size(_tag(content, "width"), _tag(content, "height"))
            yield row | {"object": str(place), "at": f"{name}:{line}", "drawn_on": size}


def _looks_like_yolo(root: str, names: list[str]) -> bool:
    seen = 0
    for name in names[:20]:
        lines = [line.split() for line in _text(root, name).splitlines() if line.strip()]
        for parts in lines[:20]:
            if not _is_yolo(parts) or not parts[0].isdigit() or not all(_NUMBER.match(part) for part in parts):
                return False
            seen += 1
    return seen > 0


def _is_yolo(parts: list[str]) -> bool:
    """Class and box, or class and at least three corners of an outline."""
    return len(parts) == 5 or (len(parts) >= 7 and len(parts) % 2 == 1)


def _yolo(root: str, names: list[str], kinds: list[str]) -> Iterator[Row]:
    for name in names:
        for line, text in enumerate(_text(root, name).splitlines(), start=1):
            parts = text.split()
            if _is_yolo(parts):
                number = int(parts[0]) if parts[0].isdigit() else -1
                kind = kinds[number] if 0 <= number < len(kinds) else parts[0]
                row = {"image": name.rpartition("/")[2][:-4], "class": kind}
                place = parts[1:] if len(parts) == 5 else outlines.centred(parts[1:])
                yield row | dict(zip(("cx", "cy", "w", "h"), place, strict=True)) | {"at": f"{name}:{line}"}


def _class_names(root: str, folder: str) -> list[str]:
    """Names of classes from ``classes.txt`` or ``data.yaml``, in the folder of the boxes or above it."""
    parts = folder.split("/")
    for depth in range(len(parts), -1, -1):
        above = "/".join(parts[:depth])
        listed = _text(root, f"{above}/classes.txt" if above else "classes.txt").split("\n")
        names = [name.strip() for name in listed if name.strip()]
        if names:
            return names
        for called in ("data.yaml", "data.yml", "dataset.yaml"):
            content = _text(root, f"{above}/{called}" if above else called)
            inline = re.search(r"names:\s*\[(.*?)\]", content, re.DOTALL)
            listed = inline[1].split(",") if inline else re.findall(r"^\s+(?:\d+:|-)\s*(\S.*)$", content, re.MULTILINE)
            if listed:
                return [name.strip().strip("'\"") for name in listed]
    return []


def _content(root: str, name: str) -> Any:
    """What a JSON file holds; None where it cannot be read."""
    try:
        with open(os.path.join(root, name), encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError, RecursionError):
        return None


def _labelme(root: str, names: list[str]) -> Iterator[Row]:
    for name in names:
        yield from outlines.labelme(name, _content(root, name))


def _json(root: str, name: str, content: Any) -> Table | None:
    if not isinstance(content, dict):
        return None
    rows: list[Row] = []
    if isinstance(content.get("images"), list) and isinstance(content.get("annotations"), list):
        rows = _coco(name, content)
    else:
        rows = outlines.via(name, content) or _boxes_by_name(name, content)
    return _table(root, name, lambda: iter(rows)) if rows else None


def _coco(name: str, content: dict[str, Any]) -> list[Row]:
    """Boxes of a COCO file; their place is the number of the annotation."""
    known = {one.get("id"): one for one in content["images"] if isinstance(one, dict)}
    listed = content.get("categories") or ()
    kinds = {one.get("id"): str(one.get("name", "")) for one in listed if isinstance(one, dict)}
    rows: list[Row] = []
    for place, one in enumerate(content["annotations"]):
        box = one.get("bbox") if isinstance(one, dict) else None
        if not isinstance(box, list) or len(box) != 4:
            continue
        image = known.get(one.get("image_id"), {})
        row = {"image": str(image.get("file_name", "")), "class": kinds.get(one.get("category_id"), "")}
        row["drawn_on"] = outlines.size(image.get("width"), image.get("height"))
        row |= {key: str(value) for key, value in zip(("x", "y", "w", "h"), box, strict=True)}
        rows.append(row | {"at": f"{name}#annotations[{place}]"})
    return rows


def _boxes_by_name(name: str, content: dict[str, Any]) -> list[Row]:
    """``{image: {"bbox": [{"xmin": ...}]}}``."""
    rows: list[Row] = []
    for image, entry in content.items():
        boxes = entry.get("bbox") if isinstance(entry, dict) else None
        for place, box in enumerate(boxes if isinstance(boxes, list) else ()):
            if isinstance(box, dict) and {"xmin", "ymin", "xmax", "ymax"} <= set(box):
                row = {"image": str(image), "class": str(box.get("label", ""))}
                row |= {key: str(box[key]) for key in ("xmin", "ymin", "xmax", "ymax")}
                rows.append(row | {"at": f"{name}#{image}[{place}]"})
    return rows


_LISTS = frozenset(("list", "ids", "id", "files", "images", "names", "set", "split", "case", "cases", "patients"))


def split_lists(root: str, texts: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """``(source, name, split)`` of lists such as ``train.txt`` and of nnU-Net's fold files.

    Lists in one folder are one division of the data; those of another folder are another one.
    """
    lists: dict[str, dict[str, str]] = defaultdict(dict)
    for name in sorted(texts):
        folder, _, base = name.rpartition("/")
        stem, _, suffix = base.rpartition(".")
        if base == "splits_final.json" or (suffix == "json" and "splits" in words(stem)):
            yield from _folds(root, name)
        if suffix.lower() != "txt" or _size(root, name) > 64 << 20:
            continue
        named = words(stem)
        splits = list(dict.fromkeys(SPLIT_WORDS[word] for word in named if word in SPLIT_WORDS))
        if splits and all(word in SPLIT_WORDS or word in _LISTS for word in named):
            lists[folder][name] = splits[0] if len(splits) == 1 else "+".join(splits)
    for folder, names in lists.items():
        single = {split for split in names.values() if "+" not in split}
        for name, said in names.items():
            if "+" in said and single & set(said.split("+")):
                continue  # trainval.txt beside train.txt and val.txt repeats both
            split = said.split("+")[0]  # train_val_list.txt beside test_list.txt
            for line in _text_lines(root, name):
                yield f"lists in {folder or '.'}", line, split


def _text_lines(root: str, name: str) -> Iterator[str]:
    try:
        with open(os.path.join(root, name), encoding="utf-8", errors="replace") as stream:
            for line in stream:
                parts = line.split()
                if parts and len(parts) <= 2:
                    yield parts[0]
    except OSError:
        return


def _folds(root: str, name: str) -> Iterator[tuple[str, str, str]]:
    try:
        with open(os.path.join(root, name), encoding="utf-8") as stream:
            content = json.load(stream)
    except (OSError, ValueError, RecursionError):
        return
    for place, fold in enumerate(content if isinstance(content, list) else [content]):
        for split, names in fold.items() if isinstance(fold, dict) else ():
            if split in SPLIT_WORDS and isinstance(names, list):
                for one in names:
                    if isinstance(one, str):
                        yield f"{name}[{place}]", one, SPLIT_WORDS[split]
