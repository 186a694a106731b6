"""Outlines that annotation tools write, as the boxes around them: LabelMe, VIA, YOLO with polygons."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

Row = dict[str, str]

_AREAS = frozenset(("polygon", "rectangle", "circle", "ellipse", "mask", ""))
"""Shapes of LabelMe that enclose something; points and lines do not."""


def around(points: Sequence[Sequence[float]]) -> Row:
    """The box around points, in the columns of a box table."""
    across, down = [float(point[0]) for point in points], [float(point[1]) for point in points]
    box = (min(across), min(down), max(across), max(down))
    return {key: f"{value:g}" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)}


def centred(numbers: Sequence[str]) -> tuple[str, str, str, str]:
    """Centre and size of the box around ``x y x y ...``."""
    across, down = [float(number) for number in numbers[::2]], [float(number) for number in numbers[1::2]]
    width, height = max(across) - min(across), max(down) - min(down)
    return (
        f"{min(across) + width / 2:.9g}",
        f"{min(down) + height / 2:.9g}",
        f"{width:.9g}",
        f"{height:.9g}",
    )


def size(width: Any, height: Any) -> str:
    """The size that a file gives for its image, ``640x480``; nothing where it gives none (or 0, as some tools do)."""
    try:
        across, down = int(float(width)), int(float(height))
    except (TypeError, ValueError):
        return ""
    return f"{across}x{down}" if across > 0 and down > 0 else ""


def is_labelme(content: Any) -> bool:
    """True for a file of LabelMe: one image and its shapes."""
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


def labelme(name: str, content: Any) -> Iterator[Row]:
    """Boxes of a file of LabelMe; their place is the number of the shape."""
    if not is_labelme(content):
        return
    image = str(content["imagePath"]).replace("\\", "/").rpartition("/")[2]
    for place, shape in enumerate(content["shapes"]):
        if not isinstance(shape, dict) or shape.get("shape_type", "polygon") not in _AREAS:
            continue
        points = [point for point in shape.get("points") or () if _is_point(point)]
        if shape.get("shape_type") == "circle" and len(points) == 2:
            (x, y), radius = points[0], math.dist(points[0], points[1])
            points = [[x - radius, y - radius], [x + radius, y + radius]]
        if len(points) < 2:
            continue
        row = {"image": image, "class": str(shape.get("label", ""))}
        row["drawn_on"] = size(content.get("imageWidth"), content.get("imageHeight"))
        yield row | around(points) | {"at": f"{name}#shapes[{place}]"}


def via(name: str, content: dict[str, Any]) -> list[Row]:
    """Boxes of a file of the VGG Image Annotator, as a project or as annotations alone."""
    listed = content.get("_via_img_metadata", content)
    rows: list[Row] = []
    for key, entry in listed.items() if isinstance(listed, dict) else ():
        regions = entry.get("regions") if isinstance(entry, dict) and "filename" in entry else None
        for place, region in enumerate(regions.values() if isinstance(regions, dict) else regions or ()):
            points = _shape(region.get("shape_attributes")) if isinstance(region, dict) else []
            if points:
                row = {"image": str(entry["filename"]), "class": _class(region.get("region_attributes"))}
                rows.append(row | around(points) | {"at": f"{name}#{key}[{place}]"})
    return rows


def _shape(shape: Any) -> list[tuple[float, float]]:
    """Corners of a region of VIA; nothing for points and lines, and for what is no region."""
    if not isinstance(shape, dict):
        return []
    try:
        across, down = shape.get("all_points_x"), shape.get("all_points_y")
        if across and down and shape.get("name") != "polyline":
            return list(zip(map(float, across), map(float, down), strict=True))
        if "width" in shape:
            x, y = float(shape["x"]), float(shape["y"])
            return [(x, y), (x + float(shape["width"]), y + float(shape["height"]))]
        if "r" in shape or "rx" in shape:
            x, y = float(shape["cx"]), float(shape["cy"])
            wide, high = float(shape.get("rx") or shape["r"]), float(shape.get("ry") or shape["r"])
            return [(x - wide, y - high), (x + wide, y + high)]
    except (KeyError, TypeError, ValueError):
        return []
    return []


def _class(attributes: Any) -> str:
    """The one value that says what a region is; of several the first that is a word."""
    values = attributes.values() if isinstance(attributes, dict) else ()
    return next((value for value in values if isinstance(value, str) and value), "")


def _is_point(point: Any) -> bool:
    return isinstance(point, list) and len(point) == 2 and all(isinstance(value, int | float) for value in point)
