"""C1107 config-key-never-read, for settings that the sources themselves declare."""

from __future__ import annotations

import re
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import DeclaredSettings
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, requires, rule
from traindx.rules.state.c1107_config_key_never_read import tunes

_FORMS = {
    "option": "The option {name} (default {value}) is declared, and no source reads it",
    "field": "The field {name} = {value} of {owner} is declared, and no source reads it",
    "constant": "The constant {name} = {value} is declared, and no source reads it",
    "parameter": "{owner} takes {name} and never reads it",
}


def _speaks_of_it(value: str) -> bool:
    """A number, or the name of something that is tuned: an argument that is passed for another reason counts not."""
    return re.fullmatch(r"[-+\d.e_]+|True|False", value) is not None or tunes(
        re.split(r"\W+", value.strip("\"']) "))[-1]
    )


@rule(
    "C1107",
    "config-key-never-read",
    Severity.MAJOR,
    needs=(DeclaredSettings,),
    looked_at=requires(
        DeclaredSettings, lambda one, limits: one.declared > 0, thing="settings that the sources declare"
    ),
)
def declared_setting_never_read(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """An option, a field, a constant or a parameter whose name speaks of training and that nothing reads.

    The sources that the script loaded are read. A parameter counts if a call passes a number, or a name that speaks
    of training, its body reads it nowhere, and no interface prescribes it; one that is given another number
    before anything reads it is overwritten. Options, fields and constants count if their name occurs nowhere else and
    nothing takes all settings at once (``vars(args)``). What a network predicts is not affected by what nobody reads:
    `suspected`, as the setting may belong to another program.
    """
    for seen in evidence.of(DeclaredSettings):
        rows = zip(seen.names, seen.values, seen.places, seen.overwritten, seen.passed, strict=True)
        for name, value, place, overwritten, passed in rows:
            if not tunes(name):
                continue
            if seen.form == "parameter" and (name == "epoch" or not passed or not _speaks_of_it(value)):
                continue  # how far the training is, is handed on for whoever wants to know
            message = _FORMS[seen.form].format(name=name, value=value, owner=place.symbol)
            if passed:
                message += f", although a call passes {value}"
            if overwritten:
                message = f"{place.symbol} replaces its argument {name} by {overwritten} before anything reads it"
                message += f": {value} has no effect" if value else ""
            yield Found(
                variant="overwritten" if overwritten else "declared",
                message=f"{message}: changing it changes nothing." if not overwritten else f"{message}.",
                location=place,
                severity=Severity.MAJOR if seen.form == "parameter" else Severity.MINOR,
                numbers={"key": name, "value": value, "settings": seen.declared},
                remedy="Use it where it belongs, or delete it.",
            )
