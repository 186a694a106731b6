"""What should not pass in silence: weights that do not fit, divisions without a seed, hidden warnings."""

from __future__ import annotations

from libcst import matchers as m

from traindx.finding import Finding
from traindx.fix.source import Edits, Source, called, keyword, knows_torch, positional, with_argument, without


def load_strictly(source: Source, finding: Finding, line: int) -> Edits | None:
    """Load strictly, so that weights that do not fit are refused."""
    call = source.only(called("load_state_dict"), line)
    strict = None if call is None else keyword(call, "strict")
    if strict is not None and m.matches(strict.value, m.Name("False")):
        return {call: without(call, strict)}
    return None


def seed_the_division(source: Source, finding: Finding, line: int) -> Edits | None:
    """Divide the data with a generator of its own seed."""
    call = source.only(called("random_split"), line)
    if call is None or keyword(call, "generator") is not None or positional(call, 2) is not None:
        return None
    if not knows_torch(source):
        return None
    return {call: with_argument(call, "generator=torch.Generator().manual_seed(0)")}


def let_warnings_speak(source: Source, finding: Finding, line: int) -> Edits | None:
    """Let warnings be seen again."""
    call = source.only(called("filterwarnings", "simplefilter"), line)
    if call is None or finding.variant != "warnings":
        return None
    statement = source.statement_of(call)
    alone = len(statement.body) == 1 and len(source.block(statement)) > 1
    return {statement: None} if alone else None
