"""One self-contained HTML page a radiograph, and one for an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from traindx.recipes.concepts.boxes import Boxes
from traindx.recipes.concepts.explanation import Explanation
from traindx.recipes.concepts.pictures import draw_looks, draw_maps, encoded

_STYLE = """<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1c2024}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .8rem;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child{text-align:left}img{max-width:100%}figcaption{color:#555}
</style>"""

_CASE = (
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ name }}</title>"""
    + _STYLE
    + """</head><body>
<h1>{{ name }}</h1>
<table><tr><th>concept</th><th>probability</th><th>threshold</th><th>said to be</th></tr>
{% for row in concepts %}<tr><td>{{ row.name }}</td><td>{{ '%.3f'|format(row.p) }}</td>
<td>{{ '%.3f'|format(row.at) }}</td><td>{{ 'present' if row.present else 'absent' }}</td></tr>{% endfor %}</table>
{% if classes %}<table><tr><th>task</th><th>probability</th></tr>
{% for label, p in classes %}<tr><td>{{ label }}</td><td>{{ '%.3f'|format(p) }}</td></tr>{% endfor %}</table>{% endif %}
<figure><img alt="concept maps" src="data:image/png;base64,{{ maps }}"><figcaption>Where each concept is seen (0 to 1).
The cross marks the hottest cell{{ '; frames are the boxes that were drawn by readers' if boxes }}.</figcaption>
</figure>
{% if looks %}<figure><img alt="looks like" src="data:image/png;base64,{{ looks }}"><figcaption>The patch that is
nearest to a prototype of each concept, and the training patch that this prototype is.</figcaption></figure>{% endif %}
<p>A research prediction; not for diagnosis.</p>
</body></html>
"""
)

_SCORES = (
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Concept scores</title>"""
    + _STYLE
    + """</head><body>
<h1>Concept scores</h1><p>{{ note }} Intervals: 95 % bootstrap over patients.</p>
<table><tr><th>figure</th><th>value</th><th>baseline</th></tr>
{% for row in rows %}<tr><td>{{ row[0] }}</td><td>{{ row[1] }}</td><td>{{ row[2] }}</td></tr>{% endfor %}</table>
{% for caption, picture in pictures %}<figure><img alt="{{ caption }}" src="data:image/png;base64,{{ picture }}">
<figcaption>{{ caption }}</figcaption></figure>{% endfor %}
</body></html>
"""
)


def write_case_page(
    path: Path,
    name: str,
    image: NDArray[np.floating],
    found: Explanation,
    *,
    concepts: Sequence[str],
    classes: Sequence[str],
    thresholds: Sequence[float],
    gallery: Mapping[str, NDArray[np.floating]],
    boxes: Boxes | None = None,
) -> None:
    """Write the explanation of one radiograph.

    Args:
        path: Where to.
        name: Name of the radiograph.
        image: ``(S, S)`` in [0, 1].
        found: The explanation.
        concepts: Names of the concepts.
        classes: Names of the classes of the task.
        thresholds: Of the concepts.
        gallery: Training images of the prototypes.
        boxes: Boxes of readers, where there are any.
    """
    from jinja2 import Environment

    cut = list(thresholds) or [0.5] * len(concepts)
    rows = [
        {"name": concept, "p": float(found.probabilities[k]), "at": cut[k], "present": bool(found.present[k])}
        for k, concept in enumerate(concepts)
    ]
    looks = [look for look in found.looks if look.that is not None]
    drawn = draw_looks(image, looks, gallery, concepts, found.maps.shape[-1]) if looks else None
    html = (
        Environment(autoescape=True)
        .from_string(_CASE)
        .render(
            name=name,
            concepts=rows,
            classes=list(zip(classes, found.task.tolist(), strict=True)) if found.task is not None else [],
            maps=encoded(draw_maps(image, found.maps.numpy(), concepts, boxes)),
            looks=encoded(drawn) if drawn is not None else "",
            boxes=boxes is not None and len(boxes) > 0,
        )
    )
    path.write_text(html, encoding="utf-8")


def write_scores_page(
    path: Path, note: str, rows: Sequence[tuple[str, str, str]], pictures: Sequence[tuple[str, str]]
) -> None:
    """Write the scores of an evaluation with some pictures (caption, base64 of a PNG)."""
    from jinja2 import Environment

    page = Environment(autoescape=True).from_string(_SCORES)
    path.write_text(page.render(note=note, rows=rows, pictures=pictures), encoding="utf-8")
