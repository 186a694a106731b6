"""What a function of the user's did where its name, and nothing else, says what must come out."""

from __future__ import annotations

from typing import Literal

from traindx.evidence.observed import Observed

Subject = Literal["data", "model", "loss", "figure", "sampling", "optimisation"]


class DefinitionTried(Observed):
    """A function of the script's, called with arguments for which its definition leaves no choice.

    ``where`` is what it returns.

    Attributes:
        function: Its name.
        subject: What it is for.
        key: Which property of the definition was tried.
        stands_for: What the name says it is.
        must: What any such function does, as a continuation of "it …".
        holds: It does.
        given: What it was given, where it does not.
        got: What came of it then, with numbers.
        universal: The property belongs to the definition; otherwise it is what everybody does.
        remedy: What makes it right.
    """

    function: str
    subject: Subject
    key: str
    stands_for: str
    must: str
    holds: bool
    given: str = ""
    got: str = ""
    universal: bool = False
    remedy: str = ""
