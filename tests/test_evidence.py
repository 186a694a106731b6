"""The evidence log survives a crash, refuses nonsense and gives back what was put in."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from traindx.errors import InputError
from traindx.evidence import Curve, Evidence, InOrder, NotExamined, Picture, Record
from traindx.finding import Location


def test_round_trip_through_disk(tmp_path):
    written = Evidence(tmp_path)
    written.add(InOrder(subject="schedule", detail="1e-8", where=Location(file="a.py", line=3, symbol="f"), step=4))
    written.add(Curve(name="c", caption="k", x=(0.0, 1.0), series={"loss": (2.0, math.inf)}))
    picture = np.arange(12, dtype=np.float32).reshape(3, 4)
    written.add_picture(Picture(name="slice 1/2", caption="k"), picture)
    written.close()
    read = Evidence.load(tmp_path)
    assert list(read) == list(written)
    np.testing.assert_array_equal(read.array("slice 1/2"), picture)


def test_every_record_is_on_disk_as_soon_as_it_is_added(tmp_path):
    evidence = Evidence(tmp_path)
    evidence.add(InOrder(subject="one"))
    assert len((tmp_path / "evidence.jsonl").read_text().splitlines()) == 1  # before close(): a crash loses nothing


def test_a_line_cut_short_by_a_crash_is_dropped_but_a_broken_line_in_the_middle_is_refused(tmp_path):
    evidence = Evidence(tmp_path)
    for subject in ("one", "two"):
        evidence.add(InOrder(subject=subject))
    evidence.close()
    log = tmp_path / "evidence.jsonl"
    whole = log.read_text()
    log.write_text(whole + whole.splitlines()[0][:17])
    assert [record.subject for record in Evidence.load(tmp_path).of(InOrder)] == ["one", "two"]
    log.write_text(whole.splitlines()[0][:17] + "\n" + whole)
    with pytest.raises(InputError, match="line 1 of"):
        Evidence.load(tmp_path)


def test_missing_log_says_what_was_expected(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Evidence.load(tmp_path)


def test_records_are_frozen_and_refuse_unknown_fields():
    record = InOrder(subject="x")
    with pytest.raises(ValidationError):
        record.subject = "y"
    with pytest.raises(ValidationError):
        InOrder(subject="x", colour="red")


def test_a_second_record_type_of_the_same_name_is_refused():
    with pytest.raises(TypeError, match="named InOrder"):
        type("InOrder", (Record,), {"__module__": "elsewhere"})


def test_of_and_last_keep_order():
    evidence = Evidence()
    for number in range(3):
        evidence.add(InOrder(subject=str(number)))
    evidence.add(NotExamined(subject="n", reason="r"))
    assert [record.subject for record in evidence.of(InOrder)] == ["0", "1", "2"]
    assert evidence.last(InOrder).subject == "2"
    assert evidence.last(Curve) is None


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.lists(st.floats(), max_size=4).map(tuple), max_size=3))
def test_curves_of_any_numbers_survive_json(series):
    curve = Curve(name="c", caption="", x=(), series=series)
    back = Curve.model_validate(json.loads(curve.model_dump_json()))
    for label, values in series.items():
        np.testing.assert_array_equal(np.array(back.series[label]), np.array(values))


def test_importing_the_package_registers_every_record():
    """A log was unreadable, SourcesRead being unknown, wherever no rule had been imported before."""
    told = (
        "import pkgutil, sys, traindx.evidence as package\n"
        "every = {one.name for one in pkgutil.walk_packages(package.__path__, 'traindx.evidence.')}\n"
        "print(sorted(name for name in every - set(sys.modules) if name.count('.') == 2))\n"
    )
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
