"""A changed line, or the lines of a patch, put in place while the files are loaded."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared, place_of

TREATMENTS = (
    Declared(
        name="edit-source",
        does="a line or a patch that the user names takes the place of the lines that are there",
        title=lambda fields: "a change of the source",
        script="edit_source.script:EditSource",
    ),
    Declared(
        name="apply-patch",
        does="the patch of `traindx fix` takes the place of the lines that it changes",
        title=lambda fields: f"patch: {fields.get('patch', '')}",
        script="edit_source.script:EditSource",
        placed=False,
        family=lambda fields: f"patch {place_of(fields)}",
    ),
)
