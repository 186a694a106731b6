"""``traindx rules``: the catalogue of rules."""

from __future__ import annotations

import json
from typing import Annotated

import typer

EXAMPLES = ("traindx rules", "traindx rules --json")


def rules(as_json: Annotated[bool, typer.Option("--json", help="Print the catalogue as JSON")] = False) -> None:
    """List every rule: code, name, severity, and what it finds."""
    from traindx.report import rule_page
    from traindx.rules import FAMILIES, catalogue

    listed = list(catalogue().values())
    if as_json:
        entries = [
            {
                "code": rule.code,
                "name": rule.name,
                "family": FAMILIES[rule.family],
                "severity": rule.severity.value,
                "summary": rule_page.summary(rule.page),
                "evidence": [kind.__name__ for kind in rule.needs],
                "thresholds": {
                    name: {"value": threshold.value, "why": threshold.why}
                    for name, threshold in rule.thresholds.items()
                },
            }
            for rule in listed
        ]
        print(json.dumps(entries, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for letter, family in FAMILIES.items():
        mine = [rule for rule in listed if rule.family == letter]
        if not mine:
            continue
        console.print(Text(f"{letter} {family}", style="bold"))
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column()
        for rule in mine:
            table.add_row(rule.code, rule.name, Text(rule_page.summary(rule.page), style="dim"))
        console.print(table)
    console.print(Text(f"{len(listed)} rules; `traindx explain CODE` prints a page", style="dim"))
