"""Figures in one line of text: names, values and the split they were taken on.

A name is the phrase right before a number. What frames a line (times, levels and modules of loggers, progress bars,
colours) is taken off first; a word of a split counts for its own name, and for those after it until another is said.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from traindx.core.colours import uncoloured
from traindx.core.metric_names import COUNTERS, HIGHER, LOWER, MEANS, TEST, TRAINING, VALIDATION, split_of, words

MOST_CHARACTERS = 4000

NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+(?![\d.])|\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan\b|inf\b)"
_UNIT = r"(?:dB|mm|cm|ms|s|sec|secs|px|HU|GB|MB|k|M|x)?"
_NUMBER = re.compile(rf"(?<![\w.@]){NUMBER}(?={_UNIT}(?![\w]))", re.IGNORECASE)


def _names(text: str) -> frozenset[str]:
    """Words of a text."""
    return frozenset(text.split())


_SPLITS = VALIDATION | TEST | TRAINING
_METRICS = HIGHER | LOWER
_FILLERS = _names("is are was of on in at for the a set = value after with and")

_BAR = re.compile(r"\d+%\|[^|]*\|\s*[\d.]+\w?/[\d.?]+\w?\s*\[[^\],]*,\s*[^,\]]*(?:,\s*)?([^\]]*)\]")
_KERAS = re.compile(r"\d+/\d+\s*\[[=>.\s]*\]\s*-?")
_FRAMES = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b\d{4}[-/.]\d{2}[-/.]\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?(?:[.,]\d+)?)?(?:Z|[+-]\d{2}:?\d{2}\b)?",
        r"\b\d{2}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(?:[.,]\d+)?",
        r"\[\s*\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?\s*\]",
        r"\[\s*(?:\d+h)?\s*\d+m\s*\d+s\s*\]",
        r"\[\s*[\d.]+\s*(?:s|sec)\s*\]",
        r"^[IWEDF]\d{4}\s+[\d:.]+\s+\d+\s+[\w./]+:\d+\]",
        r"\b\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?\b",
        r"\b\d{1,2}:\d{2}\b",
        r"\[\s*rank\s*:?\s*\d+\s*\]:?",
        r"\[?\s*[\w/.]+\.py\s*\]?\s*(?::|\[line:?)\s*\d+\s*[\]:]?",
        r"\[\s*line:?\s*\d+\s*\]",
        r"\b\w+:\w+:\d+ - ",
        r"^\s*(?:INFO|DEBUG|WARNING|ERROR|SUCCESS):[\w.]+:",
        r"\[\s*(?:INFO|DEBUG|WARNING|SUCCESS)\s*\]",
        r"(?:^|[|\-\s])(?:INFO|DEBUG|SUCCESS)(?=[\s|:\-])",
        r"\b(?:[\w-]+/)*[\w-]*\d[\w.-]*\.(?:pt|pth|ckpt|bin|png|npy|npz|nii|gz|csv|json|txt|log|safetensors)\b",
    )
)
_ARROW = re.compile(rf"(?:from\s+|\(\s*)?({NUMBER})\s*(?:-+>|→|=>|\bto\b)\s*({NUMBER})\s*\)?", re.IGNORECASE)
_DEVIATION = re.compile(rf"(?:±|\+/-|\+-)\s*{NUMBER}")
_WRAPPED = re.compile(
    r"\b(?:tensor|np\.float\d+|np\.int\d+|numpy\.float\d+|array)\(\s*\[?([^()\[\]]*?)\]?\s*(?:,[^()]*)?\)"
)
_TIMES = re.compile(r"\[\s*\d+\s*/\s*\d+[^\]\d]*(?:\([^()]*\))?\s*\]")
_HITS = re.compile(rf"({NUMBER})\s*/\s*\d+(?:\.\d+)?\s*\(\s*({NUMBER})\s*%\s*\)")
_TOTAL = re.compile(rf"({NUMBER})\s*/\s*\d+(?:\.\d+)?(?![\w.])")
_METER = re.compile(rf"(?<![\w.@]){NUMBER}\s+\(({NUMBER})\)(?!\s*/)")
_LIST = re.compile(rf"\[\s*({NUMBER}(?:[\s,]+{NUMBER})*)\s*,?\s*\]", re.IGNORECASE)
_INDEX = re.compile(r"\b(class|label|organ|channel|cls|category)[ _#:]*\[?\s*(\d+)\s*\]?(?=\D)", re.IGNORECASE)
_BRACKET_NAME = re.compile(rf"^\s*([A-Za-z][^@\[\]]*?)\s*@?\s*\[([^\]]*=[^\]]*)\]\s*[=:]\s*({NUMBER})\s*$")
_LABEL = re.compile(r"^(.*?)\s*(?::|\]|>>|\||#|\)|\s-\s|-)\s*$", re.DOTALL)
_BEHIND = re.compile(r"^\s+([A-Za-z]\w*(?: [A-Za-z]\w*)?)\s*,\s*$")
_PHRASE_END = re.compile(r"[,;|()\[\]{}<>#*•→➜]|>>|\s-\s|-{2,}|\.\s|\t|\s\s+(?=\S+\s*[:=])")


@dataclass(frozen=True)
class Reading:
    """A figure that was read.

    Attributes:
        name: As it is shown, with the word of its split where that was said elsewhere.
        value: Its value.
        split: ``validation``, ``test``, ``training`` or empty.
    """

    name: str
    value: float
    split: str = ""


def without_frame(line: str) -> str:
    """A line without colours, times, levels, modules, files and progress bars."""
    line = uncoloured(line[:MOST_CHARACTERS])
    line = _BAR.sub(lambda found: f" : {found.group(1)} ", line)
    line = _KERAS.sub(" ", line)
    for pattern in _FRAMES:
        line = pattern.sub(" ", line)
    return line


def readings_in(line: str, split: str = "", heading: str = "", topic: str = "") -> list[Reading]:
    """Readings of one line.

    Args:
        line: The line, framed or not.
        split: Split of what a heading above it announced, or empty.
        heading: How the heading said it.
        topic: The quality that the heading named, or empty.
    """
    line = without_frame(line)
    bracket = _BRACKET_NAME.match(line)
    if bracket is not None:
        name = f"{bracket.group(1).strip()} [{' '.join(bracket.group(2).split())}]"
        return [_named(name, float(bracket.group(3)), split, heading)]
    line = _plain(line)
    found: list[Reading] = []
    said, begin = split, 0
    for match in _NUMBER.finditer(line):
        before, begin = line[begin : match.start()], match.end()
        behind = _BEHIND.match(before) if found else None
        if behind is not None and not set(words(found[-1].name)) & _METRICS:  # "0.02 loss, 99.7 % correct"
            last = found[-1]
            found[-1] = _named(behind.group(1), last.value, last.split, _split_word(last.name))
            continue
        label, phrase = _apart(before)
        for part in label:
            said, heading, topic = _label(part, said, heading, topic)
        if not phrase:
            continue
        own = split_of(phrase)
        if own and _stands_alone(phrase):
            said, heading = own, _split_word(phrase)
        after = re.match(r"\s*[%\w]*\s*\((\w+)\)", line[match.end() :])
        late = split_of(after.group(1)) if after is not None else ""
        name = phrase
        if topic and not set(words(phrase)) & (_METRICS | COUNTERS) and set(words(topic)) & _METRICS:
            name = f"{topic} {phrase}"
        value = float(match.group().replace(",", ""))
        if late and not own:
            found.append(_named(name, value, late, after.group(1) if after is not None else ""))
        else:
            found.append(_named(name, value, own or said, "" if own else heading))
    return found


def heading_of(line: str) -> str | None:
    """The words of a line that announces what follows: no reading but counters, and few words; None otherwise."""
    plain = without_frame(line)
    text = re.sub(r"[^\w\s]", " ", plain).strip()
    if not text or len(text.split()) > 8:
        return None
    if any(set(words(one.name)) & _METRICS or not set(words(one.name)) & COUNTERS for one in readings_in(plain)):
        return None
    return text


def _plain(line: str) -> str:
    """A line in which one number is one reading."""
    line = _WRAPPED.sub(lambda found: f" {found.group(1)} ", line)
    line = _INDEX.sub(lambda found: f" {found.group(1)}_{found.group(2)} ", line)
    line = _ARROW.sub(lambda found: f" {found.group(2)} ", line)
    line = _DEVIATION.sub(" ", line)
    line = _HITS.sub(lambda found: f" {found.group(2)} ", line)
    line = _TIMES.sub(" ", line)
    line = _TOTAL.sub(lambda found: f" {found.group(1)} ", line)
    line = _METER.sub(lambda found: f" {found.group(1)} ", line)
    return _LIST.sub(_mean, line)


def _mean(found: re.Match[str]) -> str:
    numbers = [float(text) for text in re.findall(NUMBER, found.group(1), re.IGNORECASE)]
    finite = [number for number in numbers if not math.isnan(number)]
    return f" {sum(finite) / len(finite)!r} " if finite else " nan "


def _apart(before: str) -> tuple[list[str], str]:
    """The labels and the phrase of what stands before a number: ``Val: loss`` gives ``Val`` and ``loss``."""
    text: str = before.rstrip().rstrip("'\"")
    text = re.sub(r"(?:\s*[:=>~≈]+\s*|\s*,\s*|\s+-\s*|\(\s*|\[\s*|\|\s*)$", "", text.rstrip()).rstrip("'\" ([")
    if re.search(r"[,;)\]]\s*$", before) and not re.search(r"[A-Za-z]\w*\s*,\s*$", before):
        return [], ""
    pieces = [piece for piece in _PHRASE_END.split(text) if piece is not None]
    phrase = pieces[-1] if pieces else ""
    labels = [piece for piece in pieces[:-1] if piece.strip()]
    while ":" in phrase:  # "Validation dice: mean"
        head, _, phrase = phrase.partition(":")
        labels.append(head)
    kept = [word.strip("'\"`=:") for word in phrase.split()]
    kept = [word for word in kept if word.lower() not in _FILLERS and re.search(r"[A-Za-z]", word)]
    if not kept:
        return labels[:-1], _cleaned(labels[-1]) if labels and not phrase.strip() else ""
    return labels, " ".join(kept[-5:])


def _cleaned(label: str) -> str:
    kept: list[str] = [word.strip("'\"`=:") for word in label.split()]
    return " ".join(word for word in kept if word.lower() not in _FILLERS and re.search(r"[A-Za-z]", word))


def _label(part: str, said: str, heading: str, topic: str) -> tuple[str, str, str]:
    """What a label changes: the split that is meant, and its topic."""
    own = split_of(part)
    if own:
        said, heading = own, _split_word(part)
        topic = ""
    if set(words(part)) & _METRICS:
        topic = _cleaned(part)
    return said, heading, topic


def _stands_alone(phrase: str) -> bool:
    """The word of the split is a word of its own, as in ``val loss`` and not in ``val_loss``."""
    return any(token.lower().strip(":") in _SPLITS for token in phrase.split())


def _split_word(text: str) -> str:
    """How a text says the split."""
    for token in re.findall(r"[^\W_]+", text):
        if token.lower() in _SPLITS:
            return str(token)
    return next((word for word in words(text) if word in _SPLITS), "")


def _named(name: str, value: float, split: str, heading: str) -> Reading:
    """A reading, with the split in its name."""
    if split and split_of(name) != split and heading and not set(words(name)) & COUNTERS:
        name = f"{heading} {name}"
    return Reading(name, value, split)


def is_mean(name: str) -> bool:
    """True of an average over classes."""
    return bool(set(words(name)) & MEANS)
