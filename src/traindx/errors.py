"""Errors that say what was found, what was expected and what to do, and carry the exit code of the command line.

Exit codes of every examining command: 0 nothing above *suspected*, 1 findings, 2 wrong usage or input,
3 the case could not be examined.
"""

from __future__ import annotations


class TraindxError(Exception):
    """Base of every error that traindx raises on purpose.

    Args:
        found: What was found, in one sentence.
        expected: What was expected instead.
        do: What the reader can do about it.
        where: ``file:line`` of the user's code, where there is one.
    """

    exit_code = 3

    def __init__(self, found: str, *, expected: str = "", do: str = "", where: str = "") -> None:
        self.found = found
        self.expected = expected
        self.do = do
        self.where = where
        super().__init__(found)

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.found}" if self.where else self.found]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.do:
            lines.append(f"  do: {self.do}")
        return "\n".join(lines)


class UsageError(TraindxError):
    """The command line, the configuration or the path given is wrong."""

    exit_code = 2


class InputError(TraindxError):
    """A file or a part of a case could be found but not used (unreadable CT, unknown code, wrong type)."""

    exit_code = 2


class CaseError(TraindxError):
    """A part of the user's case raised or returned something that cannot be examined."""

    exit_code = 3
