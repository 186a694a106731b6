"""``traindx prognosis`` on logs as Lightning writes them, and on plain tables."""

from __future__ import annotations

import json
import math

import pytest

from traindx.cli.app import run


@pytest.fixture
def log(tmp_path):
    """A metrics.csv: losses every 5 steps, a PSNR every 20 in rows of its own, the rate in others."""
    lines = ["epoch,loss,lr-AdamW,step,val_psnr"]
    for step in range(4, 400, 5):
        lines.append(f",{2.0 * (step + 1) ** -0.4},,{step},")
        if (step + 1) % 20 == 0:
            lines.append(f"{step // 20},,,{step},{24 + 2 * math.log((step + 1) / 400)}")
    path = tmp_path / "metrics.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_log_that_still_improves(log, capsys):
    assert run(["prognosis", str(log), "--metric", "val_psnr", "--at", "800"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("Under-trained: val_psnr is 24 after 400 steps, and a run to step 800 would gain +1.")
    assert "80 % interval" in told
    assert run(["prognosis", str(log), "--metric", "val_psnr", "--worth", "5"]) == 0
    assert capsys.readouterr().out.startswith("Converged")


def test_json_holds_the_truth_of_a_known_law(log, capsys):
    assert run(["prognosis", str(log), "--metric", "val_psnr", "--at", "800", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    low, _, high = found["value"]
    assert low <= 24 + 2 * math.log(2) <= high
    assert found["constant_rate"] is True
    assert found["higher_is_better"] is True


def test_the_rate_is_read_from_the_log_and_can_be_named(log, capsys):
    text = log.read_text(encoding="utf-8").splitlines()
    rates = [f",,{1e-3 * 0.5 * (1 + math.cos(math.pi * step / 400))},{step}," for step in range(0, 400, 10)]
    log.write_text("\n".join([*text, *rates]) + "\n", encoding="utf-8")
    found = []
    for options in ([], ["--schedule", "cosine"], ["--schedule", "constant"]):
        assert run(["prognosis", str(log), "--metric", "val_psnr", "--json", *options]) == 0
        found.append(json.loads(capsys.readouterr().out))
    logged, cosine, constant = found
    assert not logged["constant_rate"]
    assert logged["gain"][1] == pytest.approx(cosine["gain"][1], rel=0.1)
    assert constant["constant_rate"]
    assert cosine["gain"] != constant["gain"]


def test_a_table_of_two_columns(tmp_path, capsys):
    path = tmp_path / "losses.csv"
    path.write_text("step,loss\n" + "".join(f"{step},{0.5 + step**-1.5}\n" for step in range(1, 200)), encoding="utf-8")
    assert run(["prognosis", str(path)]) == 0
    assert capsys.readouterr().out.startswith("Converged: loss is 0.5")


def test_what_cannot_be_used_is_said(log, tmp_path, capsys):
    assert run(["prognosis", str(log)]) == 2
    assert "--metric" in capsys.readouterr().err
    assert run(["prognosis", str(log), "--metric", "val_dice"]) == 2
    assert "loss, val_psnr" in capsys.readouterr().err
    assert run(["prognosis", str(log), "--metric", "val_psnr", "--planned", "9"]) == 2
    assert "cosine" in capsys.readouterr().err
    assert run(["prognosis", str(tmp_path / "none.csv"), "--metric", "x"]) == 2
    unknown = tmp_path / "unknown.csv"
    unknown.write_text("step,zeta\n1,2\n2,3\n", encoding="utf-8")
    assert run(["prognosis", str(unknown)]) == 2
    assert "zeta:higher" in capsys.readouterr().err
