"""A comparison on the terminal: one word, one sentence, the figures, what changed and what did not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from traindx.trials.claims import Comparison

COLOURS = {"cures": "green", "helps": "green", "no effect": "yellow", "harms": "red", "breaks": "red"}


def render(comparison: Comparison, before: str, after: str, console: Console | None = None) -> None:
    """Print a comparison."""
    show = console or Console(highlight=False, soft_wrap=False)
    word = comparison.verdict.value
    colour = COLOURS.get(word, "cyan")
    show.print(f"[bold {colour}]{word}[/]  {escape(before)} → {escape(after)}")
    show.print(f"  {escape(comparison.sentence)}")
    if comparison.before:
        _figures(comparison, show)
    if comparison.changes:
        same = [change.what for change in comparison.changes if change.identical]
        other = [change.what for change in comparison.changes if not change.identical]
        if same:
            show.print(f"  bit-identical: {', '.join(same)}")
        if other:
            show.print(f"  different: {', '.join(other)}")
    for note in comparison.notes:
        show.print(f"  [dim]{escape(note)}[/]")
    pairs = len(comparison.seeds)
    show.print(f"  [dim]{pairs} paired seed{'s' * (pairs != 1)}, {comparison.seconds:.0f} s[/]")


def _figures(comparison: Comparison, show: Console) -> None:
    unit = f" {comparison.unit}" if comparison.unit else ""
    way = "higher" if comparison.higher_is_better else "lower"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(f"  {escape(comparison.metric)}{unit} ({way} is better)")
    for seed in comparison.seeds[: len(comparison.before)]:
        table.add_column(f"seed {seed}", justify="right")
    for name, values in (("before", comparison.before), ("after", comparison.after)):
        table.add_row(f"  {name}", *(f"{value:.4g}" for value in values))
    for baseline in comparison.baselines:
        table.add_row(f"  {escape(baseline.name)} (baseline)", f"{baseline.value:.4g}")
    show.print(table)
    effect = comparison.effect
    if effect is not None and math.isfinite(effect.low):
        interval = f"{effect.mean:+.3g}{unit} [{effect.low:+.3g}, {effect.high:+.3g}]"
        show.print(
            f"  change, positive is better: {interval} ({100 * effect.confidence:.3g} % interval, {effect.n} seeds)"
        )
