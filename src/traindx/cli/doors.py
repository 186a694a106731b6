"""What of a command line is ours and what is the program's, and which program that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

if TYPE_CHECKING:
    from traindx.host.programs import Program

COMMAND = "--cmd"


class AsTyped(TyperCommand):
    """A command behind which another command may stand as it is typed, with options of its own.

    Everything after ``--cmd`` is the other command's, and everything after a first word that is itself a command
    (``torchrun``, ``python``, a console script).
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``--`` where the other command begins."""
        from traindx.host.programs import is_command, is_program

        takes_value = {
            name
            for parameter in self.params
            if parameter.param_type_name == "option" and not getattr(parameter, "is_flag", False)
            for name in parameter.opts
        }
        number = 0
        while number < len(args):
            word = args[number]
            if word == "--":
                break
            if word == COMMAND:
                return super().parse_args(ctx, [*args[: number + 1], "--", *_without_mark(args[number + 1 :])])
            if word.startswith(f"{COMMAND}="):
                return super().parse_args(ctx, [*args[:number], COMMAND, "--", word.partition("=")[2]])
            if word.startswith("-"):
                number += 2 if word in takes_value else 1
                continue
            if "-m" in args[:number] or is_program(word) or not is_command(word):
                break
            return super().parse_args(ctx, [*args[:number], COMMAND, "--", word, *_without_mark(args[number + 1 :])])
        return super().parse_args(ctx, args)


def _without_mark(words: list[str]) -> list[str]:
    return words[1:] if words[:1] == ["--"] else words


def program(target: str | None, arguments: Sequence[str], *, module: str | None, command: bool) -> Program | None:
    """The program that is to be watched; None for a case and a recipe.

    Raises:
        UsageError: The words name neither.
    """
    from traindx.host import programs

    words = [*([target] if target is not None else []), *arguments]
    if module is not None:  # what follows -- is then all the module's
        return programs.program_of_module(module, words)
    if command:
        return programs.program_of_command(words)
    if target is None:
        raise programs.not_understood("nothing to examine")
    if programs.is_program(target):
        return programs.program_of(target, arguments)
    if target.startswith("recipe:") or ".py:" in target:
        return None
    raise programs.not_understood(f"{target!r} does not say what to examine")
