"""C1107 config-key-never-read, decided from the settings of a case."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model_in_use import SettingsRead
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, rule


@rule("C1107", "config-key-never-read", Severity.MAJOR, needs=(SettingsRead,))
def settings_never_read(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Settings of a case that nothing asks for when the training they describe is built.

    The settings are handed over as a mapping that remembers what it was asked for. ``demonstrated``: what was never
    asked for cannot have an effect.
    """
    for seen in evidence.of(SettingsRead):
        if not seen.unread:
            continue
        total = len(seen.read) + len(seen.unread)
        yield Found(
            message=f"{len(seen.unread)} of {total} settings are never read: {', '.join(seen.unread)}.",
            standing=Standing.DEMONSTRATED,
            location=seen.where,
            numbers={"unread": len(seen.unread), "settings": total},
            remedy="Read them where they belong, or delete them. Refuse unknown keys when settings are loaded.",
        )
