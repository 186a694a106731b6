"""``traindx explain``: a rule's page."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated

import typer

from traindx.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from traindx.rules import Rule

EXAMPLES = ("traindx explain S501",)


def explain(code: Annotated[str, typer.Argument(metavar="CODE", help="A rule's code or name, such as S501")]) -> None:
    """Print a rule's page: what it finds, how it decides, what to do, when it is wrong."""
    from rich.console import Console

    from traindx.rules import catalogue

    rules = catalogue()
    named = {rule.name: rule.code for rule in rules.values()}
    wanted = named.get(code.lower(), code)
    if wanted not in rules:
        near = difflib.get_close_matches(code.upper(), list(rules), n=3, cutoff=0.5)
        near += difflib.get_close_matches(code.lower(), list(named), n=2, cutoff=0.6)
        raise InputError(
            f"there is no rule {code!r}",
            expected="a code such as S501, or a rule's name",
            do=f"did you mean {' or '.join(near)}?" if near else "list them: `traindx rules`",
        )
    _print(rules[wanted], Console(highlight=False))


def _print(rule: Rule, console: Console) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from traindx.report import rule_page
    from traindx.rules import FAMILIES

    console.print(Text(f"{rule.code} {rule.name}", style="bold"))
    console.print(Text(f"{FAMILIES[rule.family]} · {rule.severity.value}", style="dim"))
    for title, body in rule_page.sections(rule.page).items():
        if title:
            console.print(Text(f"\n{title}", style="bold underline"))
        for paragraph in rule_page.paragraphs(body):
            console.print(Padding(Text(paragraph), (0, 0, 0, 2)))
    for needs, parts in rule_page.deciders(rule):
        console.print(Text(f"\nAlso decided from {needs}", style="bold underline"))
        for body in parts.values():
            for paragraph in rule_page.paragraphs(body):
                console.print(Padding(Text(paragraph), (0, 0, 0, 2)))
    if rule.thresholds:
        console.print(Text(f"\nThresholds, set in [tool.traindx.thresholds.{rule.code}]", style="bold underline"))
        table = Table(box=None, show_header=False, pad_edge=False)
        for _ in range(3):
            table.add_column()
        for name, threshold in rule.thresholds.items():
            table.add_row(Text(f"  {name}", style="bold"), f"{threshold.value:g}", Text(threshold.why, style="dim"))
        console.print(table)
