"""C1107 config-key-never-read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import ConfigFile
from traindx.finding import Location, Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule

_TUNES = re.compile(  # whole words of a name: ``separate``, ``registry`` and ``schema`` speak of nothing that is tuned
    r"weights?|weighting|lambdas?|alphas?|betas?\d?|gammas?|lr|rates?|decay|wd|momentum|dropout|ema|warm|warmup|"
    r"clip|clipping|temperature|temp|tau|smooth|smoothing|margin|accum|accumulat\w+|sigma|noise|focal|dice|epochs?|"
    r"scale|scaling|reg|regulari[sz]ation|coeffs?|coefs?|coefficients?|penalty|strength",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+[0-9]*|[0-9]+")
_LATER = re.compile(r"(^|[._])(eval\w*|test\w*|infer\w*|predict\w*|sampl\w*|export|deploy|plot|vis\w*|log\w*)", re.I)
_CONFIG_NAME = re.compile(r"conf|cfg|param|setting|train|preset|experiment|default|option|args|recipe", re.IGNORECASE)
_CONFIG_SUFFIX = (".yaml", ".yml", ".toml")


@rule(
    "C1107",
    "config-key-never-read",
    Severity.MAJOR,
    needs=(ConfigFile,),
    looked_at=requires(
        ConfigFile,
        lambda config, limits: config.keys > 0 and config.read >= limits.read * config.keys,
        otherwise="how the script reads its configuration could not be followed",
    ),
    read=Threshold(0.5, "share of the file's keys that are read; below it the file is not this script's configuration"),
)
def config_key_never_read(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A setting in the configuration file is read by nothing, so changing it changes nothing.

    What it finds:
        A number or truth value whose name speaks of training (a weight, a rate, a decay ...) in a YAML, JSON or TOML
        file that the script reads, while nothing ever asks for that key.
    Why it stops learning:
        The loss weight or the EMA that the experiment is about is not in force, and tuning it tunes nothing.
    Evidence it needs:
        ConfigFile (a watched script).
    How it decides:
        What the loader returns is followed by name through the sources that the script loaded: variables, attributes,
        arguments and results of its own functions, ``config["a"]`` and ``config.get("a")``. Where it goes elsewhere
        (``**config``, a loop over its items, a library's function, a container), all of it counts as read. The file's
        own mapping is not touched. A key is reported only if, besides, no source file mentions its name, and if at
        least `read` of the file's keys were read. Sections for evaluation, inference, sampling and logging are left
        alone: another script may read them. `suspected`.
    Remedy:
        Read it where it belongs, or delete it. Refuse unknown keys when the configuration is loaded.
    Trial it proposes:
        None; a key that nothing reads cannot be worth anything.
    Known false positives:
        A key for another script that shares the file; a key built from parts at run time.
    References:
        None.
    """
    for config in evidence.of(ConfigFile):
        if config.read < limits.read * config.keys or (_is_data(config) and config.in_bulk):
            continue
        for key, line, value in zip(config.unread, config.lines, config.values, strict=True):
            if _LATER.search(key) or not tunes(key):
                continue
            yield Found(
                message=f"The setting {key} = {value} is never read: no code that ran asked for it, and no source file "
                "mentions it.",
                location=Location(file=config.file, line=line, symbol=key),
                numbers={"key": key, "value": value, "keys": config.keys, "read": config.read},
                remedy="Read it where it belongs, or delete it.",
            )


def _is_data(config: ConfigFile) -> bool:
    """A JSON file of no telling name, whose parts are handed on as a whole, may as well be a list of samples."""
    return not config.file.endswith(_CONFIG_SUFFIX) and not _CONFIG_NAME.search(PurePath(config.file).name)


def tunes(key: str) -> bool:
    """True if a word of a key's last part is the name of something that is tuned (``lossWeight``, ``lr_decay``)."""
    return any(_TUNES.fullmatch(word) for word in _WORD.findall(key.rpartition(".")[2]))
