"""Suspects that a user names: what each would change, as a treatment of the script.

======================================  ======================================================================
``lr x10``, ``lr /10``                  every learning rate times ten, or a tenth of it
``without:TERM``                        one addend of the loss taken out
``line FILE:N = TEXT``                  a statement in the place of another; nothing after ``=`` takes it out
``FILE.diff``, ``FILE.patch``           a patch, as ``diff -u`` or git writes it
``KEY.KEY=VALUE``                       another value in the configuration file, the arguments or the source
``no-clipping``, ``constant-rate`` ...  one of the treatments that need no place
======================================  ======================================================================

Nothing is written into the user's files: sources are changed while they are loaded, and a changed configuration is a
copy that the script is given instead.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from traindx.errors import UsageError
from traindx.finding import Proposal
from traindx.trials.jobs import canonical
from traindx.trials.script.settings_files import changed_text, has_key
from traindx.trials.shortlist import Shortlist
from traindx.trials.treatment import Treatment
from traindx.watch.runtime.edits import EDIT, Edit

PLAIN = {  # treatments that need no place, by what they are called on the command line
    "no-clipping": ({"treatment": "no-clipping"}, "no gradient clipping"),
    "full-precision": ({"treatment": "full-precision"}, "float32 instead of mixed precision"),
    "constant-rate": ({"treatment": "constant-rate"}, "constant learning rate"),
    "eval-mode": ({"treatment": "set-mode", "mode": "eval"}, "networks evaluated in evaluation mode"),
    "train-mode": ({"treatment": "set-mode", "mode": "train"}, "networks trained in training mode"),
}
FORMS = "'lr x10', 'without:TERM', 'line FILE:N = TEXT', FILE.diff, KEY=VALUE, " + ", ".join(PLAIN)
_RATE = re.compile(r"(?:lr|learning[ _-]?rate)\s*(x|\*|/)\s*([\d.eE+-]+)", re.IGNORECASE)
_LINE = re.compile(r"line\s+(.+?):(\d+)\s*=(.*)", re.DOTALL)
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@")
_VALUE = re.compile(r"([A-Za-z_][\w.-]*)\s*=\s*(\S.*)")
FUZZ = 200  # lines by which a hunk may have moved


@dataclass(frozen=True)
class Suspect:
    """Something that may be at fault, and what is done to try it.

    Attributes:
        text: As the user said it.
        title: What is done, in a few words.
        fields: What the script's process is told; ``treatment`` names it.
        family: Suspects of one family exclude each other.
    """

    text: str
    title: str
    fields: dict[str, Any] = field(default_factory=dict)
    family: str = ""

    @property
    def name(self) -> str:
        """Name of the treatment."""
        return str(self.fields["treatment"])


def parse(text: str, script: str = "", arguments: Sequence[str] = (), folder: Path | None = None) -> Suspect:
    """What a user suspects.

    Args:
        text: One of the forms above.
        script: Path of the script, in which a setting is looked for last.
        arguments: Arguments of the script, in which a configuration file is looked for.
        folder: Where paths are relative to; the working directory by default.

    Raises:
        UsageError: It is none of the forms, or names a file, a line or a setting that does not exist.
    """
    said, base = text.strip(), folder or Path.cwd()
    rate = _RATE.fullmatch(said)
    if rate is not None:
        return _rate(text, rate)
    if said in PLAIN:
        fields, title = PLAIN[said]
        return Suspect(text, title, dict(fields), said)
    if said.startswith("without:"):
        term = said.removeprefix("without:").strip()
        if not term:
            raise UsageError(f"--suspect {text!r} names no term", expected="without:TERM")
        named: dict[str, Any] = {"treatment": "drop-term", "term": term, "alike": True}
        return Suspect(text, f"loss term {term!r} dropped", named, f"term {term}")
    line = _LINE.fullmatch(said)
    if line is not None:
        return _line(text, base / line.group(1).strip(), int(line.group(2)), line.group(3).strip())
    if said.endswith((".diff", ".patch")):
        return _patch(text, base / said, base)
    value = _VALUE.fullmatch(said)
    if value is not None:
        return _setting(text, value.group(1), value.group(2).strip(), script, arguments, base)
    raise UsageError(f"--suspect {text!r} is not understood", expected=FORMS)


def _rate(text: str, rate: re.Match[str]) -> Suspect:
    try:
        by = float(rate.group(2))
    except ValueError:
        by = 0.0
    if by <= 0:
        raise UsageError(f"--suspect {text!r}: {rate.group(2)!r} is no factor", expected="lr x10 or lr /10")
    factor = 1 / by if rate.group(1) == "/" else by
    return Suspect(
        text, f"learning rate times {factor:.3g}", {"treatment": "learning-rate", "factor": factor}, "learning-rate"
    )


def shortlist_of(suspects: Sequence[Suspect], before: Shortlist | None = None) -> Shortlist:
    """What suspects ask for, as treatments, before those of a list that findings made."""
    made = Shortlist()
    for one in suspects:
        proposal = Proposal(treatment=one.name, parameters={"suspect": one.text})
        key = canonical(proposal)
        made.labels[key], made.codes[key], made.proposals[key] = one.text, [], proposal
        made.treatments[key] = Treatment(
            name=one.name,
            title=one.title,
            touches=frozenset({"training", "sampling"}),
            parameters=proposal.parameters,
            family=one.family,
            runtime={**one.fields, "key": key},
        )
    if before is not None:
        made.labels |= before.labels
        made.codes |= before.codes
        made.proposals |= before.proposals
        made.treatments |= before.treatments
        made.not_run += before.not_run
    return made


# -- sources -------------------------------------------------------------------------------------------------------


def _source(text: str, path: Path) -> str:
    if not path.is_file():
        raise UsageError(f"--suspect {text!r}: {path} does not exist", expected="a file of the program")
    return path.read_text(encoding="utf-8")


def _line(text: str, path: Path, number: int, replacement: str) -> Suspect:
    """A statement in the place of another; as many lines as it had, so that no other line moves."""
    source = _source(text, path)
    lines = source.splitlines()
    if not 1 <= number <= len(lines) or not lines[number - 1].strip():
        raise UsageError(f"--suspect {text!r}: {path.name} has no statement in line {number}", expected="a line")
    begin, end = statement_at(source, number)
    old = lines[begin - 1 : end]
    indent = old[0][: len(old[0]) - len(old[0].lstrip())]
    new = [f"{indent}{replacement or 'pass'}", *[""] * (len(old) - 1)]
    edit = Edit(str(path), begin, tuple(old), tuple(new))
    _compiles(text, source, [edit])
    what = f"line {path.name}:{number} made {replacement!r}" if replacement else f"line {path.name}:{number} taken out"
    return Suspect(text, what, {"treatment": EDIT, "edits": [edit.dump()]}, f"line {path}:{begin}")


def statement_at(source: str, number: int) -> tuple[int, int]:
    """First and last line of the statement that a line belongs to; of ``if`` and its kind, of its heading alone."""
    found = (number, number)
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return found
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt) or node.end_lineno is None or not node.lineno <= number <= node.end_lineno:
            continue
        body = getattr(node, "body", None)
        last = body[0].lineno - 1 if isinstance(body, list) and body else node.end_lineno
        if number <= max(last, node.lineno):
            found = (node.lineno, max(last, node.lineno))
    return found


def _compiles(text: str, source: str, edits: list[Edit]) -> None:
    from traindx.watch.runtime.edits import apply

    try:
        compile(apply(source, edits), edits[0].file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"--suspect {text!r}: {error}", expected="Python that fits in its place") from error


def _patch(text: str, path: Path, base: Path) -> Suspect:
    """A unified patch; its files are looked for with and without the first part of their paths."""
    edits = edits_of(_source(text, path), base)
    if not edits:
        raise UsageError(f"--suspect {text!r} holds no change of a file here", expected="a patch as diff -u writes it")
    for file in dict.fromkeys(edit.file for edit in edits):
        if file.endswith(".py"):
            _compiles(text, Path(file).read_text(encoding="utf-8"), [edit for edit in edits if edit.file == file])
    fields = {"treatment": EDIT, "edits": [edit.dump() for edit in edits]}
    return Suspect(text, f"patch {path.name}", fields, f"patch {path}")


def edits_of(patch: str, base: Path) -> list[Edit]:
    """The changes of a unified patch.

    Raises:
        UsageError: A file does not exist, or a hunk does not fit.
    """
    edits: list[Edit] = []
    file: Path | None = None
    lines = patch.splitlines()
    index = 0
    while index < len(lines):
        line = lines[index]
        index += 1
        if line.startswith("+++ "):
            file = _patched_file(line[4:].split("\t")[0].strip(), base)
        hunk = _HUNK.match(line)
        if hunk is None:
            continue
        if file is None:
            raise UsageError("the patch changes a file that is not here", expected="a patch of this program")
        body: list[str] = []
        wanted = int(hunk.group(2) or 1)
        while index < len(lines) and (lines[index][:1] in ("+", "-", " ") or not lines[index]):
            if lines[index].startswith("--- ") and sum(not one.startswith("+") for one in body) >= wanted:
                break
            body.append(lines[index] or " ")
            index += 1
        edits += _hunk(file, int(hunk.group(1)), [one for one in body if not one.startswith("\\")])
    return edits


def _patched_file(name: str, base: Path) -> Path:
    parts = Path(name).parts
    for candidate in (Path(name), Path(*parts[1:]) if len(parts) > 1 else Path(name)):
        if (base / candidate).is_file():
            return (base / candidate).resolve()
    raise UsageError(f"the patch changes {name}, which is not in {base}", expected="a patch of this program")


def _hunk(file: Path, line: int, body: list[str]) -> list[Edit]:
    """One hunk as an edit, at the place nearest to its own where its lines are."""
    old = [one[1:] for one in body if not one.startswith("+")]
    new = [one[1:] for one in body if not one.startswith("-")]
    lines = file.read_text(encoding="utf-8").splitlines()
    at = line if old else line + 1
    for shift in sorted(range(-FUZZ, FUZZ + 1), key=abs):
        begin = at + shift
        if begin >= 1 and lines[begin - 1 : begin - 1 + len(old)] == old:
            return [Edit(str(file), begin, tuple(old), tuple(new))]
    raise UsageError(f"a change at line {line} does not fit {file.name}", expected="a patch of this version")


# -- settings ------------------------------------------------------------------------------------------------------


def _setting(text: str, key: str, value: str, script: str, arguments: Sequence[str], base: Path) -> Suspect:
    """A value in a configuration file among the arguments, an argument, or a constant of the script."""
    names = [key, key.partition(".")[2]] if key.partition(".")[0] in ("config", "cfg", "args") else [key]
    title = f"{key} set to {value}"
    for name in filter(None, names):
        for argument in arguments:
            path = (
                base / argument.partition("=")[2] if argument.startswith("--") and "=" in argument else base / argument
            )
            if path.is_file() and has_key(path, name):
                changed_text(path, name, value)  # refuses what it cannot change now, not in the midst of a trial
                fields = {"treatment": "set-argument", "file": argument, "name": name, "value": value}
                return Suspect(text, title, fields, f"setting {key}")
    source = (base / script).read_text(encoding="utf-8") if script and (base / script).is_file() else ""
    for name in filter(None, names):
        flag = name.replace("_", "-")
        given = [one for one in arguments if one.partition("=")[0] in (f"--{name}", f"--{flag}", name)]
        declared = re.search(rf"add_argument\([^)]*['\"]--({re.escape(name)}|{re.escape(flag)})['\"]", source)
        if given or declared is not None:
            option = given[0].partition("=")[0] if given else f"--{declared.group(1) if declared is not None else name}"
            fields = {"treatment": "set-argument", "name": option, "value": value}
            return Suspect(text, title, fields, f"setting {key}")
    edit = _constant(base / script, source, names[-1].rpartition(".")[2], value) if source else None
    if edit is None:
        raise UsageError(
            f"--suspect {text!r}: no setting {key!r} was found in a configuration file among the arguments, in the "
            "arguments, or once in the script",
            expected="a setting of the program, or 'line FILE:N = TEXT'",
        )
    return Suspect(text, title, {"treatment": EDIT, "edits": [edit.dump()]}, f"setting {key}")


def _constant(path: Path, source: str, name: str, value: str) -> Edit | None:
    """The one place of a script that gives a name a constant: an assignment, a keyword or an entry of a dictionary."""
    places: list[ast.expr] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            places.append(node.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            places += [node.value] if node.value is not None else []
        elif isinstance(node, ast.keyword) and node.arg == name:
            places.append(node.value)
        elif isinstance(node, ast.Dict):
            entries = zip(node.keys, node.values, strict=True)
            places += [item for known, item in entries if isinstance(known, ast.Constant) and known.value == name]
    constants = [one for one in places if _is_constant(one)]
    if len(constants) != 1 or constants[0].lineno != constants[0].end_lineno:
        return None
    one = constants[0]
    line = source.splitlines()[one.lineno - 1]
    raw = line.encode()
    new = (raw[: one.col_offset] + value.encode() + raw[one.end_col_offset :]).decode()
    return Edit(str(path), one.lineno, (line,), (new,))


def _is_constant(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant)
