"""Write the rule catalogue, ``docs/rules/``, other pages that are made of the code, and tables in pages that are not.

python scripts/make_docs.py            write what is missing or out of date, remove pages of rules that are gone
python scripts/make_docs.py --check    write nothing; exit 1 and name the pages that are not up to date
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from traindx.evidence import Evidence, Record
from traindx.evidence.contracts import CONTRACTS
from traindx.report import rule_page
from traindx.rules import FAMILIES, Rule, catalogue
from traindx.rules.fronts import THINGS, Front, fronts_of, fronts_of_all
from traindx.rules.relations import RELATIONS, Relation
from traindx.trials.treatments.registry import EVERY
from traindx.watch.collectors import configs, ranks
from traindx.watch.probes.textbook import ENTRIES
from traindx.watch.runtime.assembly import COLLECTORS

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "rules"
INDEX = "README.md"
OBSERVATION = ROOT / "docs" / "observation.md"
SCRIPTS = ROOT / "docs" / "scripts.md"
_WITHOUT_TORCH = (("configuration files", configs), ("ranks", ranks))  # seen from the first line on, or elsewhere
DEFINITIONS = ROOT / "docs" / "definitions.md"
MADE_DEFINITIONS = "<!-- Made by scripts/make_docs.py from src/traindx/watch/probes/textbook; change it there. -->"
SUBJECTS = {
    "data": "D146",
    "model": "M218",
    "loss": "L334",
    "figure": "E826",
    "sampling": "S511",
    "optimisation": "O418",
}
HOLDS = ROOT / "docs" / "what-must-hold.md"
MADE_HOLDS = (
    "<!-- Made by scripts/make_docs.py from src/traindx/rules/relations.py and the rules; change them there. -->"
)
CONTRACT_PAGE = ROOT / "docs" / "contracts.md"
MADE_CONTRACTS = "<!-- Made by scripts/make_docs.py from src/traindx/evidence/contracts; change it there. -->"
_PLACES = {"case": "a described case", "data": "a data folder"}
_SHORT = {Front.CASE: "case", Front.SCRIPT: "script", Front.DATA: "data"}
MADE = "<!-- Made by scripts/make_docs.py from the rule's docstring; change it there. -->"


def pages() -> dict[str, str]:
    """Text by file name: one page a rule, and the index."""
    rules = list(catalogue().values())
    return {**{f"{rule.code}.md": page(rule) for rule in rules}, INDEX: index(rules)}


def page(rule: Rule) -> str:
    source = rule.source.relative_to(ROOT).as_posix()
    blocks = [
        MADE,
        f"# {rule.code} {rule.name}",
        f"{FAMILIES[rule.family].capitalize()} · {rule.severity.value} · [{source}](../../{source})",
    ]
    for title, body in rule_page.sections(rule.page).items():
        if title:
            blocks.append(f"## {title}")
        blocks.append(markdown(body))
    for needs, parts in rule_page.deciders(rule):
        blocks.append(f"## Also decided from {needs}")
        for title, body in parts.items():
            blocks += [f"### {title}", markdown(body)] if title != "How it decides" else [markdown(body)]
    if rule.thresholds:
        blocks += [
            "## Thresholds",
            f"Set them in `[tool.traindx.thresholds.{rule.code}]` of `pyproject.toml`.",
            table(
                ("name", "default", "why"),
                [(f"`{name}`", f"{item.value:g}", item.why) for name, item in rule.thresholds.items()],
            ),
        ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def index(rules: Sequence[Rule]) -> str:
    blocks = [
        MADE,
        "# Rules",
        "What traindx can find. A code is stable for ever; `traindx explain CODE` prints a page. "
        "Select and ignore rules, and set their thresholds, in `[tool.traindx]` of `pyproject.toml`.",
    ]
    for letter, family in FAMILIES.items():
        mine = [rule for rule in rules if rule.family == letter]
        if mine:
            rows = [
                (f"[{rule.code}]({rule.code}.md)", rule.name, rule.severity.value, rule_page.summary(rule.page))
                for rule in mine
            ]
            blocks += [f"## {letter}: {family}", table(("code", "name", "severity", "finds"), rows)]
    return "\n\n".join(blocks) + "\n"


def contracts() -> str:
    """What functions of libraries expect, where misuse is accepted without a word."""
    blocks = [
        MADE_CONTRACTS,
        "# Contracts of library functions",
        "Functions that compute something, without a word, when they are given something else than they expect. Calls "
        "of them are looked at in watched iterations and in evaluation, and "
        "[C1115](rules/C1115.md) speaks where most of the calls from a line break what is expected.",
    ]
    for one in CONTRACTS.values():
        sizes = f", with {one.sizes} different lengths of that axis" if one.sizes > 1 else ""
        rows = (
            ("called", f"`{one.function}`"),
            ("expects", one.expects),
            ("what happens instead", one.meaning),
            ("remedy", one.remedy),
            ("told apart from", one.near),
            ("source", one.source),
            ("decided by", f"{one.share:.0%} of at least {one.least} calls from a line{sizes}"),
            ("standing", f"{one.standing.value}, {one.severity.value}"),
        )
        blocks += [f"## {one.key}", table(("", ""), rows)]
    return "\n\n".join(blocks) + "\n"


def what_must_hold() -> str:
    """The relations that any training must keep: who watches each, what breaks it, and what nobody sees."""
    rules = catalogue()
    blocks = [
        MADE_HOLDS,
        "# What must hold",
        "A fault that was seen once teaches little about the next one; what is general is what must hold in *every* "
        "training. Each line below is a relation between things that any training has. A rule names the relation that "
        "broke, and the line that broke it.",
        "*Watched in*: a `script` that runs, a described `case`, a `data` folder. A rule that had nothing to look at "
        "is *not examined*, never *in order*; the last column says with what.",
    ]
    stage = ""
    for relation in RELATIONS:
        if relation.stage != stage:
            stage = relation.stage
            blocks.append(f"## {stage}")
        blocks += _relation(relation, [rules[code] for code in relation.codes])
    return "\n\n".join(blocks) + "\n"


def definitions() -> str:
    """Every property that functions of a script are tried on because of what they are called."""
    blocks = [
        MADE_DEFINITIONS,
        "# What functions must do by definition",
        "A function that is called `kl_divergence` must be 0 between equal distributions, whoever wrote it. Functions "
        "of a watched script are called again in a child process with arguments for which the definition leaves no "
        "choice, in the form in which the script gives them. A property counts as broken if every recorded call that "
        "it can be tried on breaks it, and only of functions that give the same for the same arguments.",
        "*Universal* properties belong to the definition and were seen to be kept by public implementations (their "
        "breaking is *demonstrated*); the others are what everybody does, or were not tried on enough (*suspected*).",
    ]
    for subject, code in SUBJECTS.items():
        rows = [
            (one.key, one.stands_for, one.must, "yes" if one.universal else "no", one.source)
            for one in sorted(ENTRIES, key=lambda one: one.key)
            if one.subject == subject
        ]
        if rows:
            blocks += [
                f"## {subject.capitalize()} ([{code}](rules/{code}.md))",
                table(("property", "of a", "it …", "universal", "source"), rows),
            ]
    return "\n\n".join(blocks) + "\n"


def _relation(relation: Relation, rules: Sequence[Rule]) -> list[str]:
    rows = [
        (
            f"[{rule.code}](rules/{rule.code}.md)",
            rule_page.summary(rule.page),
            ", ".join(_watched(rule)),
            "; ".join(_nothing(rule)),
        )
        for rule in rules
    ]
    blocks = [f"### {relation.holds}", table(("rule", "what breaks it", "watched in", "nothing to look at with"), rows)]
    elsewhere = sorted({word for rule in rules for word in _watched(rule)})
    if "script" not in elsewhere:
        places = [_PLACES[word] for word in elsewhere]
        blocks.append(f"Not watched in a script, only in {' and '.join(places)}.")
    if relation.unseen:
        blocks.append(f"Cannot be seen: {relation.unseen[:1].lower()}{relation.unseen[1:]}")
    return blocks


def _watched(rule: Rule) -> list[str]:
    fronts = {front for decider in rule.deciders for front in fronts_of_all(decider.needs)}
    return [_SHORT[front] for front in (Front.SCRIPT, Front.CASE, Front.DATA) if front in fronts]


def _nothing(rule: Rule) -> list[str]:
    """When the forms of a rule have nothing to look at, as the rule says it of no evidence at all."""
    found: dict[str, None] = {}
    for decider in rule.deciders:
        missing = [look(Evidence(), rule.limits()) for look in decider.looked_at]
        said = [f"no {one.thing}" if one.thing else one.reason for one in missing if one is not None]
        things = [f"no {THINGS[kind]}" for kind in decider.needs if kind in THINGS]
        found |= dict.fromkeys(said or things)
    return list(found)


def recorded() -> str:
    """What a watched script leaves on disk: every kind of record, and the rules that need it."""
    rows = []
    for name, kind in sorted(Record.kinds.items()):
        if Front.SCRIPT not in fronts_of(kind) or kind.__module__.endswith(".base"):
            continue
        needed = [rule.code for rule in catalogue().values() if any(kind in one.needs for one in rule.deciders)]
        if needed:
            what = rule_page.paragraphs(inspect.cleandoc(kind.__doc__ or "").replace("``", "`").replace(":mod:", ""))[0]
            rows.append((f"`{name}`", re.split(r"[.;] `where` is", what)[0].rstrip("."), " ".join(needed)))
    return table(("record", "what", "rules that need it"), rows)


def subjects() -> str:
    """What is looked at in a script: the subject of every collector and probe, and what its module says it sees."""
    modules = [(one.subject, sys.modules[one.__module__]) for one in COLLECTORS if not one.__name__.startswith("_")]
    rows = [(subject, _first(module.__doc__ or "")) for subject, module in (*modules, *_WITHOUT_TORCH)]
    return table(("subject", "what"), rows)


def treatments() -> str:
    """Every treatment in one line: what it does, and where it can be tried."""
    rows = []
    for one in EVERY.values():
        where = [name for name, side in (("case", one.case), ("script", one.script)) if side]
        rows.append((f"`{one.name}`", one.does, ", ".join(where)))
    return table(("treatment", "what it does", "tried on"), rows)


def _first(docstring: str) -> str:
    """The first paragraph of a docstring, as Markdown, without its full stop."""
    text = rule_page.paragraphs(inspect.cleandoc(docstring))[0]
    return re.sub(r":[a-z]+:", "", text).replace("``", "`").rstrip(".")


def with_tables(path: Path) -> str:
    """A page written by hand, with the tables in it that are made here as they should be."""
    text = path.read_text(encoding="utf-8")
    for name, made in TABLES[path].items():
        begin, end = f"<!-- {name}:begin, made by scripts/make_docs.py -->", f"<!-- {name}:end -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{path}: no place for the table {name}; expected {begin} and {end}")
        text = f"{before}{begin}\n{made()}\n{end}{after}"
    return text


TABLES = {OBSERVATION: {"subjects": subjects, "records": recorded}, SCRIPTS: {"treatments": treatments}}


def markdown(body: str) -> str:
    """A docstring's section as Markdown: paragraphs, and lists with one item a line."""
    parts = rule_page.paragraphs(body)
    lines = [part if part.startswith(("- ", "* ")) or not index else f"\n{part}" for index, part in enumerate(parts)]
    return "\n".join(lines)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *[[cell.replace("|", "\\|") for cell in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def out_of_date(folder: Path = FOLDER) -> list[str]:
    """Names of pages that are missing, differ from what would be written, or belong to no rule."""
    wanted = pages()
    there = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md"))}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def write(folder: Path = FOLDER) -> list[str]:
    """Bring a folder up to date; the names that were changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = out_of_date(folder)
    wanted = pages()
    for name in changed:
        if name in wanted:
            (folder / name).write_text(wanted[name], encoding="utf-8")
        else:
            (folder / name).unlink()
    return changed


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the rule catalogue from the rules' docstrings.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page is not up to date")
    if parser.parse_args(argv).check:
        stale = [f"rules/{name}" for name in out_of_date()]
        made = {HOLDS: what_must_hold(), DEFINITIONS: definitions(), CONTRACT_PAGE: contracts()}
        stale += [one.name for one, text in made.items() if one.read_text(encoding="utf-8") != text]
        stale += [path.name for path in TABLES if path.read_text(encoding="utf-8") != with_tables(path)]
        for name in stale:
            print(f"docs/{name} is not up to date: run `make docs`", file=sys.stderr)
        return 1 if stale else 0
    for name in write():
        print(f"docs/rules/{name}")
    HOLDS.write_text(what_must_hold(), encoding="utf-8")
    DEFINITIONS.write_text(definitions(), encoding="utf-8")
    CONTRACT_PAGE.write_text(contracts(), encoding="utf-8")
    for path in TABLES:
        path.write_text(with_tables(path), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
