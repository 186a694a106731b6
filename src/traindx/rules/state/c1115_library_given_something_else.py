"""C1115 library-given-something-else."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.contracts import CONTRACTS
from traindx.evidence.observed_calls import ContractSeen
from traindx.finding import Location, Severity
from traindx.rules.base import Found, Limits, rule


@rule("C1115", "library-given-something-else", Severity.MAJOR, needs=(ContractSeen,))
def library_given_something_else(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A library's function is given something else than it expects, and accepts it.

    What it finds:
        ``F.kl_div(softmax(x), y)``; a transformer made without ``batch_first=True`` that is given the batch first; a
        float mask of zeros and ones that is added to the scores; ``type=bool`` of argparse given ``False``; and all
        other entries of the table in `docs/contracts.md`.
    Why it stops learning:
        The call computes something, without a word, that is not what was meant. The table says what.
    Evidence it needs:
        ContractSeen (a watched script): calls of the functions in the table, looked at in watched iterations and in
        evaluation.
    How it decides:
        Each call is held against what the documentation of the library says. An entry speaks where at least so many
        calls from a line were looked at, and at least such a share of them broke it, as the table says of each.
        `demonstrated` where the numbers that passed break a documented precondition, `suspected` where it is a
        convention that they break.
    Remedy:
        That of the entry.
    Trial it proposes:
        None.
    Known false positives:
        Uses on purpose, which each entry names as far as they are known.
    References:
        The documentation that each entry names.
    """
    said: set[tuple[str, Location | None]] = set()
    for seen in evidence.of(ContractSeen):
        contract = CONTRACTS.get(seen.contract)
        if contract is None or seen.calls < contract.least or seen.broken < contract.share * seen.calls:
            continue
        if seen.sizes < contract.sizes or (seen.contract, seen.where) in said:
            continue
        said.add((seen.contract, seen.where))
        times = f" ({seen.broken} of {seen.calls} calls)" if seen.calls > 1 else ""
        made = f" It is made in line {seen.made.line}." if seen.made is not None and seen.made != seen.where else ""
        yield Found(
            variant=seen.contract,
            message=f"{seen.function} is given {seen.given}{times}, and expects {contract.expects}. {contract.meaning}"
            + made,
            standing=contract.standing,
            severity=contract.severity,
            location=seen.where,
            numbers={"calls": seen.calls, "broken": seen.broken},
            remedy=contract.remedy,
        )
