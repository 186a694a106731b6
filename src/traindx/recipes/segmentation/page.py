"""One self-contained page: scores with intervals, worst, median and best case, ratio and spread of every case."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindx.recipes.segmentation.evaluated import Evaluation, Scored
from traindx.recipes.segmentation.labels import IGNORE

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Segmentation scores</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1c2024}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .8rem;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child{text-align:left}img{max-width:100%}figcaption{color:#555}.note{color:#8a4b00}
</style></head><body>
<h1>Segmentation scores</h1>
<p>{{ e.cases|length }} cases; {{ e.settings }}. Intervals: 95 % bootstrap over cases.</p>
<table><tr><th>class</th><th>Dice</th><th>surface Dice at {{ '%g'|format(e.tolerance_mm) }} mm</th><th>HD95, mm</th>
<th>mean surface distance, mm</th><th>relative volume error</th></tr>
{% for name, row in e.summary.items() %}<tr><td>{{ name }}</td>
{% for score in ('dice','nsd','hd95_mm','surface_mm','volume_error') %}<td>
{%- if score in row %}{{ '%.3f'|format(row[score].mean) }} [{{ '%.3f'|format(row[score].low) }},
{{ '%.3f'|format(row[score].high) }}]{% if row[score].undefined %}<br><small>undefined in
{{ row[score].undefined }}</small>{% endif %}{% endif -%}</td>{% endfor %}</tr>{% endfor %}
{% for name, value in e.baselines.items() %}<tr><td>baseline: {{ name }}</td>
<td>{{ '%.3f'|format(value.mean) }} [{{ '%.3f'|format(value.low) }}, {{ '%.3f'|format(value.high) }}]</td>
<td></td><td></td><td></td><td></td></tr>{% endfor %}</table>
{% for label, image in pictures %}<figure><img alt="{{ label }}" src="data:image/png;base64,{{ image }}">
<figcaption>{{ label }}</figcaption></figure>{% endfor %}
<figure><img alt="ratio and spread" src="data:image/png;base64,{{ strip }}"><figcaption>Foreground ratio of every case
against its reference, and spread of p(foreground). Points on a horizontal line, or a spread near 0, mean that the
output does not depend on the case.</figcaption></figure>
{% if e.left_out %}<h2>Left out</h2><ul class="note">
{% for name, reason in e.left_out %}<li>{{ name }}: {{ reason }}</li>{% endfor %}</ul>{% endif %}
</body></html>
"""


def write_page(path: Path, evaluation: Evaluation, shown: Sequence[tuple[str, Scored]]) -> None:
    """Write the page.

    Args:
        path: Where to.
        evaluation: Scores.
        shown: Cases to draw, with a word for each (worst, median, best).
    """
    from jinja2 import Environment

    pictures = [
        (f"{word}: {case.scores.name}, mean Dice {case.scores.dice:.3f}", _encode(draw_case(case, evaluation.names)))
        for word, case in shown
    ]
    page = Environment(autoescape=True).from_string(_TEMPLATE)
    html = page.render(e=evaluation, pictures=pictures, strip=_encode(draw_strip(evaluation)))
    path.write_text(html, encoding="utf-8")


def draw_case(case: Scored, names: Sequence[str]) -> Any:
    """Three orthogonal slices with the reference (solid) and the prediction (dashed) of each class.

    Returns:
        A matplotlib figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    axes = figure.subplots(1, 3)
    low, high = np.percentile(case.image, (1, 99))
    focus = case.reference > 0 if (case.reference > 0).any() else case.predicted > 0
    for axis, panel in enumerate(axes):
        index = _fullest(focus, axis)
        image, reference, predicted = (
            np.take(array, index, axis=axis).T for array in (case.image, case.reference, case.predicted)
        )
        panel.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), origin="lower")
        for number in range(1, len(names) + 1):
            colour = f"C{(number - 1) % 10}"
            for mask, style in ((reference == number, "solid"), (predicted == number, "dashed")):
                if mask.any() and not mask.all():
                    panel.contour(mask.astype(float), levels=[0.5], colors=colour, linestyles=style, linewidths=1.2)
        if (reference == IGNORE).any():
            panel.contourf((reference == IGNORE).astype(float), levels=[0.5, 1.5], colors=["#f0a000"], alpha=0.2)
        panel.set_title(f"axis {axis}, slice {index}", fontsize=9)
        panel.set_axis_off()
    dice = ", ".join(f"{name} {scores.dice:.3f}" for name, scores in case.scores.classes.items())
    figure.suptitle(f"{dice}   (solid: reference, dashed: prediction)", fontsize=10)
    return figure


def draw_strip(evaluation: Evaluation) -> Any:
    """Foreground ratio against reference, and output spread, of every case."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    reference = [case.reference_ratio for case in evaluation.cases]
    ratio = [case.foreground_ratio for case in evaluation.cases]
    left.scatter(reference, ratio, s=12)
    top = max([*reference, *ratio, 1e-6])
    left.plot([0, top], [0, top], color="0.6", linewidth=1)
    left.set_xlabel("reference foreground ratio")
    left.set_ylabel("predicted")
    spread = [case.output_spread for case in evaluation.cases if np.isfinite(case.output_spread)]
    if spread:
        right.hist(spread, bins=20)
    right.set_xlabel("standard deviation of p(foreground) within a case")
    right.set_ylabel("cases")
    return figure


def _fullest(mask: NDArray[np.bool_], axis: int) -> int:
    """The slice with most of a mask; the middle one for an empty mask."""
    if not mask.any():
        return int(mask.shape[axis]) // 2
    others = tuple(other for other in range(3) if other != axis)
    return int(np.argmax(mask.sum(axis=others)))


def _encode(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()
