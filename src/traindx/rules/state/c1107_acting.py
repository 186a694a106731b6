"""C1107 config-key-never-read, for settings beside which another number acts."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import ActingSetting, ConfigFile
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, requires, rule


@rule(
    "C1107",
    "config-key-never-read",
    Severity.MAJOR,
    needs=(ActingSetting,),
    looked_at=requires(ConfigFile, thing="configuration files"),
)
def another_number_acts(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A number of the configuration that nothing asks for, while the object that acts holds another under its name.

    Every module of the script's own classes that was called and has an attribute of that name holds one and the same
    other number. `suspected`, as the name may mean two things.
    """
    for one in evidence.of(ActingSetting):
        line = f":{one.line}" if one.line else ""
        yield Found(
            variant="acts-otherwise",
            message=f"{one.name} = {one.value:g} of {one.file}{line} never arrives: nothing asks for it, and "
            f"{one.owner} acts with {one.acting:g}.",
            location=one.where,
            numbers={"key": one.name, "configured": one.value, "acting": one.acting},
            remedy=f"Hand it on where {one.owner} is made.",
        )
