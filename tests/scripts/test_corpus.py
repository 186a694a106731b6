"""The corpus: every faulty twin is found with code and line, every healthy twin gets no finding above suspected.

A few scripts of different styles always run; the rest of the corpus is marked slow.
"""

from __future__ import annotations

import difflib
import os
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from traindx.diagnosis import Diagnosis
from traindx.finding import Finding

HERE = Path(__file__).parent
EXPECTED = yaml.safe_load((HERE / "expected.yaml").read_text(encoding="utf-8"))
ALWAYS = ("seg2d_bce_dice", "regress_age", "warmup_linear")
TWINS = ("healthy", "faulty")


def cases() -> list[object]:
    return [
        pytest.param(slug, twin, id=f"{slug}-{twin}", marks=() if slug in ALWAYS else pytest.mark.slow)
        for slug in EXPECTED
        for twin in TWINS
    ]


def examined(slug: str, twin: str, folder: Path) -> Diagnosis:
    from traindx.host.examining import examine_script

    with Path(os.devnull).open("w") as nowhere:
        return examine_script(
            str(HERE / slug / twin / EXPECTED[slug]["script"]), out=folder / slug / twin, script_output=nowhere.fileno()
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("corpus")


def at(slug: str, finding: Finding) -> bool:
    """The finding names the very line."""
    wanted = HERE / slug / "faulty" / EXPECTED[slug]["file"]
    place = finding.location
    return place is not None and Path(place.file).resolve() == wanted and place.line == EXPECTED[slug]["line"]


@pytest.mark.parametrize(("slug", "twin"), cases())
def test_script(slug, twin, folder):
    for package in EXPECTED[slug].get("requires", ()):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    diagnosis = examined(slug, twin, folder)
    assert diagnosis.errors == () or twin == "faulty"
    if twin == "healthy":
        assert [(found.code, found.message) for found in diagnosis.findings] == []
    else:
        right = [found for found in diagnosis.findings[:2] if found.code in EXPECTED[slug]["codes"]]
        assert right, [(found.code, str(found.location), found.message) for found in diagnosis.findings]
        assert at(slug, right[0]), f"{right[0].code} at {right[0].location}"


def test_the_corpus_is_large_and_varied_enough():
    assert len(EXPECTED) >= 24
    assert len({code for entry in EXPECTED.values() for code in entry["codes"]}) >= 24
    for slug, entry in EXPECTED.items():
        for twin in TWINS:
            assert (HERE / slug / twin / entry["script"]).is_file()


@pytest.mark.parametrize("slug", list(EXPECTED))
def test_twins_differ_only_a_little_and_at_the_expected_file(slug):
    """The faulty twin is the healthy one with its fault, and not another script."""
    healthy, faulty = HERE / slug / "healthy", HERE / slug / "faulty"
    changed = 0
    for path in sorted(faulty.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix in (".py", ".yaml", ".json"):
            other = healthy / path.relative_to(faulty)
            before = other.read_text(encoding="utf-8").splitlines() if other.exists() else []
            after = path.read_text(encoding="utf-8").splitlines()
            differences = difflib.unified_diff(before, after, n=0, lineterm="")
            changed += sum(line[:1] in "+-" and line[:3] not in ("+++", "---") for line in differences)
    assert 1 <= changed <= 12
