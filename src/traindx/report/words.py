"""The sentences that every format shares: verdict, standing, effect. Nothing is claimed that was not measured.

A gain is only ever printed from an :class:`~traindx.finding.Effect`, and always with the context in
which it was measured; where there is none, the sentence says that it was not measured.
"""

from __future__ import annotations

import math
from pathlib import PurePath

from traindx.diagnosis import Diagnosis, Outcome, TreatmentResult
from traindx.finding import Effect, Finding, Severity, Standing, Verdict, Worth
from traindx.report.coverage import coverage_sentence

STANDING_MEANS = {
    Standing.PROVEN: "a trial showed that the treatment moves the metric",
    Standing.DEMONSTRATED: "a property that must hold was shown broken",
    Standing.SUSPECTED: "a pattern that often means trouble; not tested",
    Standing.REFUTED: "a trial showed that it does not matter here",
}

VERDICT_MEANS = {
    Verdict.PROVEN: "moves the metric by more than the noise, given all other treatments",
    Verdict.CONTRIBUTORY: "moves the metric in one context and not in the other",
    Verdict.NO_EFFECT: "makes no difference of any importance",
    Verdict.HARMFUL: "makes the metric worse",
    Verdict.INCONCLUSIVE: "could not be settled within the budget",
}


def decimals(*values: float) -> int:
    """Digits after the point so that the largest of the finite values shows about three significant figures."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if largest >= 100:
        return 0
    if largest >= 1:
        return 1
    return 2 if largest >= 0.1 else 3


def number(value: float, digits: int | None = None, *, signed: bool = False) -> str:
    """A figure for people; never ``-0.0``.

    >>> number(13.94, signed=True), number(-0.0001, 2), number(float("nan"))
    ('+13.9', '0.00', 'not a number')
    """
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    places = decimals(value) if digits is None else digits
    text = f"{value:.{places}f}"
    if float(text) == 0:
        return text.lstrip("-")
    return f"+{text}" if signed and value > 0 else text


def measured(value: float | int | str | bool) -> str:
    """A measured quantity of a finding as text: integers whole, floats to four significant figures."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value) if not math.isfinite(value) else f"{value:.4g}"
    return str(value)


def interval(effect: Effect, digits: int | None = None) -> str:
    """``[12.8, 15.1]``, its confidence where that is not 95 %, or the reason why there is none."""
    if not (math.isfinite(effect.low) and math.isfinite(effect.high)):
        return "(one pair: no interval)" if effect.n <= 1 else "(no interval)"
    places = decimals(effect.mean, effect.low, effect.high) if digits is None else digits
    confidence = "" if effect.confidence <= 0.95 else f" at {min(effect.confidence, 0.999):.1%}"
    return f"[{number(effect.low, places)}, {number(effect.high, places)}]{confidence}"


def effect_text(effect: Effect, unit: str = "", *, signed: bool = True) -> str:
    """``+13.9 dB [12.8, 15.1]``."""
    places = decimals(effect.mean, effect.low, effect.high)
    return f"{number(effect.mean, places, signed=signed)}{f' {unit}' if unit else ''} {interval(effect, places)}"


def headline(worth: Worth) -> tuple[Effect, str] | None:
    """The effect to show first and the context in which it was measured.

    The context is empty where there was no other treatment: both effects are the same then.
    ``proven`` is about the effect given the rest, so that one leads; a contributory finding leads with the
    larger, a harmful treatment with the worse.
    """
    companies = {
        "with every other treatment in place": worth.given_rest,
        "alone, on the untreated case": worth.alone,
    }
    known = [(effect, context) for context, effect in companies.items() if effect is not None]
    if not known:
        return None
    if worth.alone == worth.given_rest:
        return known[0][0], ""
    if worth.verdict is Verdict.CONTRIBUTORY:
        return max(known, key=lambda item: item[0].mean)
    if worth.verdict is Verdict.HARMFUL:
        return min(known, key=lambda item: item[0].mean)
    return known[0]


def fix_effect(worth: Worth | None) -> str:
    """One line on what fixing a finding is worth."""
    if worth is None:
        return "not measured"
    if worth.bit_identical:
        return "nothing: weights after training are bit-identical with and without the treatment"
    leading = headline(worth)
    if leading is None:
        return f"{worth.verdict.value}: {VERDICT_MEANS[worth.verdict]}"
    effect, context = leading
    text = f"{effect_text(effect, worth.unit)} {worth.metric} {context}".rstrip()
    return text if worth.verdict is Verdict.PROVEN else f"{text} ({worth.verdict.value})"


def display_name(finding: Finding) -> str:
    """``sampler-does-not-invert`` as ``Sampler does not invert``."""
    words = finding.name.replace("-", " ")
    return words[:1].upper() + words[1:]


def place(finding: Finding) -> str:
    """`` at model.py:224``, or nothing; of a path outside the working directory the last two parts."""
    if finding.location is None:
        return ""
    path = PurePath(finding.location.file)
    file = "/".join(("…", *path.parts[-2:])) if path.is_absolute() and len(path.parts) > 3 else finding.location.file
    return f" at {finding.location.model_copy(update={'file': file})}"


def count(amount: int, singular: str, plural: str | None = None) -> str:
    """``1 finding``, ``2 findings``."""
    return f"{amount} {singular if amount == 1 else plural or singular + 's'}"


def outcome_word(diagnosis: Diagnosis) -> str:
    """What stands over a report; *nothing found* only where nothing serious is suspected either."""
    if diagnosis.outcome is Outcome.NOTHING_FOUND and serious_suspicion(diagnosis) is not None:
        return "suspected, not tested"
    return diagnosis.outcome.value


def serious_suspicion(diagnosis: Diagnosis) -> Finding | None:
    """The gravest suspicion, where nothing is established and this would hurt if it is true; else None."""
    if lead_finding(diagnosis) is not None:
        return None
    suspected = [finding for finding in diagnosis.findings if finding.standing is Standing.SUSPECTED]
    serious = [finding for finding in suspected if finding.severity.rank >= Severity.MAJOR.rank]
    return max(serious, key=lambda finding: finding.severity.rank, default=None)


def verdict_sentence(diagnosis: Diagnosis) -> str:
    """The one sentence at the top of every report."""
    established = lead_finding(diagnosis)
    if established is not None:
        return _established(established)
    symptom = next(iter(diagnosis.extras.get("symptoms", ())), "")
    suspicions = sum(finding.standing is Standing.SUSPECTED for finding in diagnosis.findings)
    open_ones = f"{count(suspicions, 'suspicion')} not tested" if suspicions else ""
    if diagnosis.outcome is Outcome.NOT_ENOUGH_SEEN:
        reason = diagnosis.errors[0].splitlines()[0].rstrip(".") if diagnosis.errors else "too little could be examined"
        return f"Not enough was seen for a verdict: {reason}."
    if diagnosis.coverage is None:  # a file of schema 1.0
        parts = [f"{count(checks(diagnosis), 'check')} in order", open_ones]
        parts += [f"{count(len(diagnosis.not_examined), 'subject')} not examined"] * bool(diagnosis.not_examined)
        return f"No fault was shown: {', '.join(filter(None, parts))}."
    serious = serious_suspicion(diagnosis)
    if serious is not None:
        lead = f"{display_name(serious)} ({serious.code}){place(serious)} is suspected and was not tested"
        more = count(suspicions - 1, "more suspicion", "more suspicions") if suspicions > 1 else ""
        return f"{'; '.join(filter(None, (lead, more, symptom, coverage_sentence(diagnosis))))}."
    if symptom:  # figures that a sound training does not have: nothing found is no health then
        return (
            f"No cause was found{f', {open_ones}' if open_ones else ''}, and {symptom}; {coverage_sentence(diagnosis)}."
        )
    return f"Nothing found{f', {open_ones}' if open_ones else ''}; {coverage_sentence(diagnosis)}."


def coverage_line(diagnosis: Diagnosis) -> str:
    """How much could be judged, for reports whose headline does not say it already; else nothing."""
    said = diagnosis.outcome is Outcome.NOTHING_FOUND and lead_finding(diagnosis) is None
    sentence = "" if said else coverage_sentence(diagnosis)
    return f"{sentence}." if sentence else ""


def layout_lines(diagnosis: Diagnosis) -> tuple[str, ...]:
    """How the files of a data folder were understood, and what was not; nothing for other examinations."""
    layout = diagnosis.extras.get("layout")
    if not isinstance(layout, dict):
        return ()
    understood = [str(line) for line in layout.get("lines", ())]
    title = str(layout.get("title") or "")
    head = f"Understood as {title}" if title else "Understood" if understood else ""
    said = [f"{head}{': ' if understood else ''}{'; '.join(understood)}."] if head else []
    unclear = [str(line) for line in layout.get("unclear", ())]
    return (*said, *([f"Not understood: {'; '.join(unclear)}."] if unclear else []))


def _established(lead: Finding) -> str:
    name = f"{display_name(lead)} ({lead.code}){place(lead)}"
    worth = lead.worth
    leading = headline(worth) if worth is not None else None
    if worth is None:
        return f"{name} is shown broken; what fixing it is worth was not measured."
    if leading is not None and worth.verdict in (Verdict.PROVEN, Verdict.CONTRIBUTORY):
        effect, context = leading
        pairs = count(effect.n, "paired seed")
        gain = effect_text(effect, worth.unit, signed=False)
        verb = "improves" if effect.mean > 0 else "changes"
        among = f" {context}" if context else ""
        return f"{name}: treating it {verb} {worth.metric} by {gain}{among}, measured over {pairs}."
    return f"{name} is shown broken; the trial of its fix was {worth.verdict.value}: {VERDICT_MEANS[worth.verdict]}."


def lead_finding(diagnosis: Diagnosis) -> Finding | None:
    """The first finding above *suspected*, or None."""
    for finding in diagnosis.findings:
        if finding.standing.established:
            return finding
    return None


def by_standing(diagnosis: Diagnosis) -> dict[Standing, list[Finding]]:
    """Findings other than the leading one, strongest standing first, refuted ones left out; empty groups too."""
    lead = lead_finding(diagnosis)
    order = (Standing.PROVEN, Standing.DEMONSTRATED, Standing.SUSPECTED)
    return {
        standing: [item for item in diagnosis.findings if item.standing is standing and item is not lead]
        for standing in order
    }


def shared_fix(diagnosis: Diagnosis, finding: Finding) -> str:
    """A sentence where a trial treated several findings at once, and so cannot tell them apart; else nothing."""
    if diagnosis.trials is None or finding.worth is None:
        return ""
    for result in diagnosis.trials.results:
        others = [code for code in dict.fromkeys(result.codes) if code != finding.code]
        if finding.code in result.codes and others:
            return (
                f"The trial of `{result.treatment}` treats {' and '.join([finding.code, *others])} together: "
                "what it measured is the effect of them all, not of each."
            )
    return ""


def in_order(diagnosis: Diagnosis) -> tuple[list[tuple[str, str]], list[str]]:
    """What was found healthy, each once: subjects with their decisive figure, and subjects alone."""
    once = dict.fromkeys((item.subject, item.detail) for item in diagnosis.healthy)
    return [pair for pair in once if pair[1]], [subject for subject, detail in once if not detail]


def checks(diagnosis: Diagnosis) -> int:
    """How many things were looked at and found in order."""
    told, silent = in_order(diagnosis)
    return len(told) + len(silent)


def refuted_findings(diagnosis: Diagnosis) -> list[Finding]:
    """Findings that a trial refuted."""
    return [finding for finding in diagnosis.findings if finding.standing is Standing.REFUTED]


def results_without_finding(diagnosis: Diagnosis, verdict: Verdict) -> list[TreatmentResult]:
    """Treatments of that verdict which no refuted finding speaks for already."""
    if diagnosis.trials is None:
        return []
    covered = {finding.code for finding in refuted_findings(diagnosis)}
    return [
        result
        for result in diagnosis.trials.results
        if result.verdict is verdict and not covered.intersection(result.codes)
    ]


def how_we_know(result: Worth | TreatmentResult, unit: str = "") -> str:
    """Why a suspect is without effect, or why a fix harms, in one or two sentences."""
    if result.bit_identical:
        text = "Training with and without it, from the same seed and data, gives bit-identical weights."
    else:
        known = {"Alone": result.alone, "Given the rest": result.given_rest}
        effects = [f"{name.lower()} {effect_text(effect, unit)}" for name, effect in known.items() if effect]
        measured_as = f"Measured {' and '.join(effects)}." if effects else ""
        text = f"{measured_as} It {VERDICT_MEANS[result.verdict]}.".strip()
    return f"{text} {result.note}".strip()
