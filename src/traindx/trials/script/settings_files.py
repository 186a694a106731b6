"""One value in a configuration file, changed without a reader of its format: all else stays as it is written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from traindx.errors import UsageError

SUFFIXES = (".yaml", ".yml", ".json", ".toml", ".ini", ".cfg")
SET_ARGUMENT = "set-argument"


def has_key(path: Path, key: str) -> bool:
    """True if a configuration file gives ``a.b.c`` a value."""
    if path.suffix.lower() not in SUFFIXES:
        return False
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    if path.suffix.lower() == ".json":
        return _json_holder(text, key) is not None
    return _line_of(text, key, path.suffix.lower()) is not None


def changed_text(path: Path, key: str, value: str) -> str:
    """The file's text with another value for a key.

    Raises:
        UsageError: The key is not there.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix.lower() == ".json":
        found = _json_holder(text, key)
        if found is not None:
            fields, holder = found
            holder[key.rpartition(".")[2]] = _json_value(value)
            return json.dumps(fields, indent=2)
    else:
        at = _line_of(text, key, path.suffix.lower())
        if at is not None:
            lines = text.splitlines()
            lines[at] = _replaced(lines[at], value)
            return "\n".join(lines) + "\n"
    raise UsageError(f"{path} has no {key}", expected="a key that it has")


def _json_value(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _json_holder(text: str, key: str) -> tuple[Any, dict[str, Any]] | None:
    try:
        fields = json.loads(text)
    except ValueError:
        return None
    *path, last = key.split(".")
    holder = fields
    for part in path:
        holder = holder.get(part) if isinstance(holder, dict) else None
    return (fields, holder) if isinstance(holder, dict) and last in holder else None


def _line_of(text: str, key: str, suffix: str) -> int | None:
    """Number of the line, from 0, that gives a key its value on that very line."""
    if suffix in (".yaml", ".yml"):
        return _yaml_line(text, key)
    section, _, name = key.rpartition(".")
    now = ""
    for number, line in enumerate(text.splitlines()):
        heading = re.match(r"\s*\[([^\]]+)\]\s*$", line)
        if heading is not None:
            now = heading.group(1).strip()
        elif now == section and re.match(rf"\s*{re.escape(name)}\s*[=:]", line):
            return number
    return None


def _yaml_line(text: str, key: str) -> int | None:
    parts = key.split(".")
    open_keys: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines()):
        match = re.match(r"^(\s*)['\"]?([\w./-]+)['\"]?\s*:(.*)$", line)
        if match is None:
            continue
        indent = len(match.group(1))
        while open_keys and open_keys[-1][0] >= indent:
            open_keys.pop()
        open_keys.append((indent, match.group(2)))
        if [name for _, name in open_keys] == parts and match.group(3).split("#")[0].strip():
            return number
    return None


def _replaced(line: str, value: str) -> str:
    match = re.match(r"^(\s*['\"]?[\w./-]+['\"]?\s*[:=]\s*)(.*?)(\s+#.*)?$", line)
    assert match is not None
    return f"{match.group(1)}{value}{match.group(3) or ''}"


def arguments_with(
    arguments: Sequence[str], treatments: Sequence[Mapping[str, Any]], directory: Path, base: Path
) -> tuple[str, ...]:
    """Arguments with the settings of treatments in place; changed configuration files are written into a folder.

    Args:
        arguments: Of the script.
        treatments: What is in place in an arm.
        directory: Where copies go.
        base: Where paths among the arguments are relative to.
    """
    found = list(arguments)
    copies: dict[str, Path] = {}
    for fields in treatments:
        if fields.get("treatment") != SET_ARGUMENT:
            continue
        name, value = str(fields["name"]), str(fields["value"])
        if "file" not in fields:
            _set_option(found, name, value)
            continue
        given = str(fields["file"])
        option, equals, path = given.partition("=") if given.startswith("--") and "=" in given else ("", "", given)
        copy = copies.get(given)
        if copy is None:
            copy = copies[given] = directory / f"{len(copies)}-{Path(path).name}"
            copy.write_text((base / path).read_text(encoding="utf-8"), encoding="utf-8")
        copy.write_text(changed_text(copy, name, value), encoding="utf-8")
        put = f"{option}{equals}{copy}"
        found = [put if one == given else one for one in found]
    return tuple(found)


def _set_option(arguments: list[str], name: str, value: str) -> None:
    for index, argument in enumerate(arguments):
        if argument.partition("=")[0] == name and "=" in argument:
            arguments[index] = f"{name}={value}"
            return
        if argument == name:
            following = arguments[index + 1 : index + 2]
            if following and not following[0].startswith("--"):
                arguments[index + 1] = value
            else:
                arguments.insert(index + 1, value)
            return
    arguments += [name, value]
