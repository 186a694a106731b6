"""Text without the colours of terminals."""

from __future__ import annotations

import re

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # ECMA-48, 5.4: control sequences, colours and cursor among them


def uncoloured(text: str) -> str:
    """The same text without the control sequences of terminals, which a report would show as they are."""
    return _SEQUENCE.sub("", text)
