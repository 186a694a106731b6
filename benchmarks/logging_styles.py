"""Which figure judges in how many styles of logging: figure, split and direction, and whether a constant was taken.

    python benchmarks/logging_styles.py

The styles are those of ``tests/trials_script/logging_styles``: lines as scripts print them, with the series that may
judge. A constant is taken where something is chosen of a style in which nothing may judge (weights, rates, counters,
figures of training, the best so far), or where what is chosen never changed. Exit code 1 if one was taken, or if fewer
than 95 % are right.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEAST = 0.95


def main() -> int:
    """Print."""
    sys.path.insert(0, str(ROOT / "tests"))
    from trials_script.test_logging_styles import STYLES, decided, is_right

    right, constants, wrong = 0, [], []
    for style in STYLES:
        choice, found = decided(style)
        if is_right(style):
            right += 1
        else:
            wrong.append(f"{style.name}: {choice.chosen.name if choice.chosen else choice.why_not}")
        if choice.chosen is not None:
            values = found[choice.chosen.name, choice.chosen.source].values
            if not style.figures or (len(values) > 1 and len(set(values)) == 1):
                constants.append(f"{style.name}: {choice.chosen.name}")
    silent = sum(not style.figures for style in STYLES)
    print(f"{len(STYLES)} styles, {silent} of them with nothing that may judge")
    print(f"right figure, split and direction: {right} ({100 * right / len(STYLES):.1f} %)")
    print(f"constants taken: {len(constants)}")
    print(*(f"  not as the corpus has it: {text}" for text in (*wrong, *constants)), sep="\n")
    return int(bool(constants) or right < LEAST * len(STYLES))


if __name__ == "__main__":
    sys.exit(main())
