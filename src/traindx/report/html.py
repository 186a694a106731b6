"""``report.html``: one self-contained page, no script, no external resource, light and dark, made to be printed too."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from traindx.diagnosis import Diagnosis, Outcome
from traindx.durations import format_duration
from traindx.evidence.base import Curve, Picture
from traindx.finding import Finding, Standing, Verdict
from traindx.report import remedies, svg, trial_tables, words
from traindx.report.coverage import elsewhere, unexamined
from traindx.report.pictures import Arrays, Panel, no_arrays, panels
from traindx.report.printable import printable
from traindx.report.sections import Section, sections
from traindx.report.source import SourceLine, excerpt

STYLE = "style.css"
PAGE = "report.html.j2"


@dataclass(frozen=True)
class Figure:
    """A picture on the page: its record and its panels (none where the array could not be read)."""

    record: Picture
    panels: tuple[Panel, ...]

    @property
    def not_finite(self) -> int:
        """Pixels over all panels that are NaN or infinite."""
        return sum(panel.not_finite for panel in self.panels)


@dataclass(frozen=True)
class Card:
    """A finding on the page, with everything that is shown beside it."""

    finding: Finding
    title: str
    source: tuple[SourceLine, ...]
    figures: tuple[Figure, ...]
    remedy: remedies.Remedy
    effect: str
    lead: tuple[str, str, str] | None
    meaning: str
    shared: str
    opened: bool  # the gravest of what is only suspected, on a page that has nothing better to show


def render(diagnosis: Diagnosis, arrays: Arrays = no_arrays, *, root: Path | None = None) -> str:
    """The page.

    Args:
        diagnosis: What to show.
        arrays: Loader of the pictures' arrays.
        root: Directory that relative source paths start from; the working directory by default.
    """
    return _environment().get_template(PAGE).render(_context(printable(diagnosis), arrays, root))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("traindx.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        prose=prose,
        moment=moment,
        measured=words.measured,
        minus=minus,
        format_duration=format_duration,
        counted=words.count,
        words=_words,
    )
    environment.globals.update(means=words.VERDICT_MEANS, standings=words.STANDING_MEANS, how_we_know=words.how_we_know)
    return environment


def prose(text: str) -> Markup:
    """Escaped text with real minus signs, in which ```code``` between back-ticks is set as code and left as it is."""
    pieces = re.split(r"`([^`\n]+)`", str(escape(text)))
    return Markup("".join(f"<code>{piece}</code>" if index % 2 else minus(piece) for index, piece in enumerate(pieces)))


def minus(text: str) -> str:
    """Figures with a real minus sign instead of a hyphen."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text)


def moment(text: str) -> str:
    """An ISO time to the minute, as people write it; anything else as it is."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{when:%Y-%m-%d %H:%M}{' UTC' if when.utcoffset() == timedelta(0) else ''}"


def _words(name: str) -> str:
    """``MetricComparison_value`` and ``max_deviation`` as words."""
    return re.sub(r"[_-]+", " ", name)


def _context(diagnosis: Diagnosis, arrays: Arrays, root: Path | None) -> dict[str, Any]:
    pictures = {picture.name: picture for picture in diagnosis.pictures}
    curves = {curve.name: curve for curve in diagnosis.curves}
    used: set[str] = set()

    def figure(name: str) -> Figure | None:
        if name not in pictures:
            return None
        used.add(name)
        return Figure(pictures[name], panels(pictures[name], arrays))

    def card(finding: Finding) -> Card:
        figures = tuple(found for found in map(figure, finding.pictures) if found is not None)
        return _card(finding, figures, excerpt(finding.location, root=root), diagnosis)

    lead = words.lead_finding(diagnosis)
    added = [_section(section, figure, curves) for section in sections(diagnosis)]
    in_sections = {name for section in sections(diagnosis) for name in section.curves}
    groups = words.by_standing(diagnosis)
    return {
        "diagnosis": diagnosis,
        "style": Markup(_style()),
        "outcome": words.outcome_word(diagnosis),
        "sentence": words.verdict_sentence(diagnosis),
        "tone": _tone(diagnosis),
        "lead": card(lead) if lead is not None else None,
        "groups": [(standing, [card(item) for item in items]) for standing, items in groups.items() if items],
        "refuted": [card(finding) for finding in words.refuted_findings(diagnosis)],
        "no_effect": words.results_without_finding(diagnosis, Verdict.NO_EFFECT),
        "harmful": words.results_without_finding(diagnosis, Verdict.HARMFUL),
        "trials": trial_tables.tables(diagnosis.trials) if diagnosis.trials is not None else None,
        "sections": added,
        "counts": _counts(diagnosis),
        "in_order": words.in_order(diagnosis)[0],
        "silent": words.in_order(diagnosis)[1],
        "coverage": words.coverage_line(diagnosis),
        "layout": words.layout_lines(diagnosis),
        "unexamined": unexamined(diagnosis),
        "elsewhere": elsewhere(diagnosis),
        "gallery": [found for name in pictures if name not in used and (found := figure(name)) is not None],
        "plots": [_plot(curve) for name, curve in curves.items() if name not in in_sections],
        "Verdict": Verdict,
        "Standing": Standing,
        "Outcome": Outcome,
    }


def _card(finding: Finding, figures: tuple[Figure, ...], source: tuple[SourceLine, ...], diagnosis: Diagnosis) -> Card:
    lead = None
    if finding.worth is not None and (leading := words.headline(finding.worth)) is not None:
        effect, context = leading
        places = words.decimals(effect.mean, effect.low, effect.high)
        gain = words.number(effect.mean, places, signed=True)
        seeds = words.count(effect.n, "paired seed")
        lead = (
            f"{gain} {finding.worth.unit}".strip(),
            words.interval(effect, places),
            f"{context}; {seeds}" if context else seeds,
        )
    return Card(
        finding=finding,
        title=words.display_name(finding),
        source=source,
        figures=figures,
        remedy=remedies.parse(finding.remedy),
        effect=words.fix_effect(finding.worth),
        lead=lead,
        meaning=words.STANDING_MEANS[finding.standing],
        shared=words.shared_fix(diagnosis, finding),
        opened=finding is words.serious_suspicion(diagnosis),
    )


def _section(section: Section, figure: Callable[[str], Figure | None], curves: dict[str, Curve]) -> dict[str, Any]:
    figures = [found for found in map(figure, section.pictures) if found is not None]
    plots = [_plot(curves[name]) for name in section.curves if name in curves]
    return {"section": section, "figures": figures, "plots": plots}


def _plot(curve: Curve) -> tuple[Curve, svg.CurvePlot | None]:
    return curve, svg.curve_plot(curve)


def _tone(diagnosis: Diagnosis) -> str:
    """The colour of the verdict: the leading standing, a grave suspicion, or healthy; unknown where that is unclear."""
    lead = words.lead_finding(diagnosis)
    if lead is not None:
        return lead.standing.value
    if words.serious_suspicion(diagnosis) is not None and diagnosis.outcome is Outcome.NOTHING_FOUND:
        return Standing.SUSPECTED.value
    unclear = diagnosis.outcome is Outcome.NOT_ENOUGH_SEEN or diagnosis.extras.get("symptoms")
    return "unknown" if unclear else "healthy"


def _counts(diagnosis: Diagnosis) -> list[tuple[str, str, str]]:
    """Chips under the verdict: CSS class, text, anchor."""
    chips = []
    for standing in reversed(Standing):
        amount = sum(finding.standing is standing for finding in diagnosis.findings)
        if standing is Standing.REFUTED:
            amount += len(words.results_without_finding(diagnosis, Verdict.NO_EFFECT))
            chips.append((standing.value, f"{amount} ruled out", "refuted", amount))
        else:
            chips.append((standing.value, f"{amount} {standing.value}", "findings", amount))
    healthy = words.checks(diagnosis)
    chips.append(("healthy", f"{healthy} in order", "healthy", healthy))
    left_out = len(diagnosis.not_examined)
    chips.append(("unknown", f"{left_out} not examined", "not-examined", left_out))
    return [(kind, text, anchor) for kind, text, anchor, amount in chips if amount]


@cache
def _style() -> str:
    return files("traindx.report").joinpath("templates", STYLE).read_text(encoding="utf-8")
