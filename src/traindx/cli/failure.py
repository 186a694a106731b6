"""What the command line says when something goes wrong: a short message on stderr, and a file with the rest."""

from __future__ import annotations

import sys
import tempfile
import traceback
from pathlib import Path

from traindx.errors import TraindxError

INTERRUPTED = 130  # 128 + SIGINT, the shell's convention


def say(error: TraindxError) -> None:
    """Print a deliberate error on stderr."""
    from traindx.report.printable import printable_text

    print(f"traindx: {printable_text(str(error))}", file=sys.stderr)


def say_unexpected(error: BaseException, directory: Path | None = None) -> str:
    """Write the full traceback to a file and print a short message on stderr.

    Args:
        error: What was raised.
        directory: Where ``traceback.txt`` goes; a temporary directory by default.

    Returns:
        The message, for the report.
    """
    path = save_traceback(error, directory)
    message = f"{one_line(error)}\n  full traceback: {path}"
    place = where(error)
    text = f"{place}: {message}" if place else message
    from traindx.report.printable import printable_text

    print(f"traindx: stopped by an error it did not expect\n{printable_text(text)}", file=sys.stderr)
    return text


def save_traceback(error: BaseException, directory: Path | None) -> Path:
    """Write a traceback to ``directory`` or, where that is not possible, to a temporary directory."""
    text = "".join(traceback.format_exception(error))
    if directory is not None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            path = directory / "traceback.txt"
            path.write_text(text, encoding="utf-8")
        except OSError:
            pass
        else:
            return path
    path = Path(tempfile.mkdtemp(prefix="traindx-")) / "traceback.txt"
    path.write_text(text, encoding="utf-8")
    return path


def one_line(error: BaseException) -> str:
    """``ZeroDivisionError: division by zero``: the type and the first line of the message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def where(error: BaseException) -> str:
    """``file:line`` in the user's code, else of the innermost frame at all, else nothing."""
    from traindx.core.frames import raised_at, shown_path

    if isinstance(error, SyntaxError) and error.filename:
        return f"{shown_path(error.filename)}:{error.lineno or 1}"
    place = raised_at(error)
    if place is not None:
        return str(place)
    frames = traceback.extract_tb(error.__traceback__)
    return f"{shown_path(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
