"""Changes that need no finding: what moves the figure although nothing was found that would explain it.

Rate times ten and a tenth, each loss term off, the other mode, no clipping, full precision, a constant rate. Each is
tried by itself, as nothing is known of how they belong together. What moves the figure beyond the noise is an effect
without a known cause; where nothing does, that is said.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from statistics import stdev

from traindx.diagnosis import TrialTable
from traindx.evidence import Evidence
from traindx.evidence.observed_loss import LossTermSeen
from traindx.finding import Verdict
from traindx.progress import Listener, silent
from traindx.trials.clock import Deadline
from traindx.trials.engine import Trial
from traindx.trials.script.backend import ScriptBackend
from traindx.trials.script.suspects import Suspect, parse, shortlist_of

MOST_TERMS = 4
SURE = ("lr x10", "lr /10")  # these act in every program with an optimiser
PERHAPS = ("no-clipping", "full-precision", "constant-rate", "eval-mode", "train-mode")
UNEXPLAINED = "an effect without a known cause"


def members(evidence: Evidence) -> list[Suspect]:
    """What is tried, most telling first."""
    found = [parse(text) for text in SURE]
    lines: dict[str, dict[str, Suspect]] = {}
    for record in evidence.of(LossTermSeen):
        fields = {"treatment": "drop-term", "term": record.name}
        if record.where is not None and record.where.line:
            fields |= {"file": record.where.file, "line": str(record.where.line)}
        suspect = Suspect(f"without:{record.name}", f"loss term {record.name!r} dropped", fields, f"term {record.name}")
        lines.setdefault(str(record.backward), {}).setdefault(record.name, suspect)
    terms = [suspect for those in lines.values() if len(those) > 1 for suspect in those.values()]
    return [*found, *terms[:MOST_TERMS], *(parse(text) for text in PERHAPS)]


def run_battery(
    backend: ScriptBackend,
    evidence: Evidence,
    budget: float,
    seeds: Sequence[int],
    listen: Listener = silent,
    tried: Collection[str] = (),
) -> TrialTable:
    """Try every member within a budget.

    Args:
        backend: Of trials that were run, with their controls; made anew where there were none.
        evidence: What was seen of the script.
        budget: Seconds.
        seeds: Numbers of the pairs.
        listen: Told about progress.
        tried: Suspects that were tried before, and are not tried again.

    Raises:
        KeyboardInterrupt: The user ended it.
    """
    end = Deadline.after(budget)
    backend.begin(seeds[0], end)
    wanted = [one for one in members(evidence) if one.text not in tried]
    acting = backend.acting([one for one in wanted if one.text in PERHAPS])
    wanted = [one for one in wanted if one.text not in PERHAPS or acting is None or one.text in acting]
    shortlist = shortlist_of(wanted)
    backend.list = shortlist
    trial = Trial(shortlist, backend, budget=budget, seeds=seeds, progress=listen, deadline=end)
    trial.design = replace(trial.design, everything=frozenset())  # each alone
    return told(trial.run())


def told(table: TrialTable) -> TrialTable:
    """The table with what it says of the program as a whole."""
    moved = [row for row in table.results if row.verdict in (Verdict.PROVEN, Verdict.HARMFUL, Verdict.CONTRIBUTORY)]
    tried = [row for row in table.results if row.alone is not None and row.alone.n > 1]
    rows = tuple(
        row.model_copy(update={"note": f"{UNEXPLAINED}; {row.note}" if row.note else UNEXPLAINED})
        if row in moved
        else row
        for row in table.results
    )
    notes = list(table.notes)
    better = [row.title for row in moved if row.alone is not None and row.alone.mean > 0]
    worse = [row.title for row in moved if row.alone is not None and row.alone.mean < 0]
    if better:
        notes.append(f"{UNEXPLAINED}: {table.metric} gets better with {', '.join(better)}")
    if worse:
        notes.append(f"{table.metric} gets worse with {', '.join(worse)}, so the program depends on that")
    if tried and not moved:
        notes.append(f"of {len(tried)} changes that need no finding, none moved {table.metric} beyond the noise")
    control = next((arm.values for arm in table.arms if not arm.treatments), ())
    if len(control) > 1:
        notes.append(f"another seed moves {table.metric} by {stdev(control):.3g} (standard deviation)")
    return table.model_copy(update={"results": rows, "notes": tuple(dict.fromkeys(notes))})


def joined(first: TrialTable | None, second: TrialTable | None) -> TrialTable | None:
    """Two tables of one script under one figure as one."""
    if first is None or second is None or not first.arms or not second.arms:
        return second if first is None or not (first.arms or first.results) else first
    known = {arm.name for arm in first.arms}
    tried = {row.treatment for row in first.results}
    return first.model_copy(
        update={
            "arms": (*first.arms, *(arm for arm in second.arms if arm.name not in known)),
            "results": (*first.results, *(row for row in second.results if row.treatment not in tried)),
            "seconds": round(first.seconds + second.seconds, 2),
            "complete": first.complete and second.complete,
            "notes": tuple(dict.fromkeys([*first.notes, *second.notes])),
        }
    )
