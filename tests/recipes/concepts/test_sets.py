"""Sets, splits and the phantom."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from traindx import examine
from traindx.diagnosis import Outcome
from traindx.errors import InputError, UsageError
from traindx.finding import Standing
from traindx.recipes.concepts.case import make_case, mixed
from traindx.recipes.concepts.joint import joined, source_of
from traindx.recipes.concepts.phantom import WHITE, phantom
from traindx.recipes.concepts.radiographs import split_patients
from traindx.recipes.concepts.settings import PRESETS, from_preset, settings_of
from traindx.recipes.concepts.sources import covid, load, tbx11k
from traindx.recipes.concepts.verification import verify_source


def test_no_patient_is_in_two_parts_and_every_image_in_one(radiographs):
    split = split_patients(radiographs)
    of = dict(zip(radiographs.ids, radiographs.patients, strict=True))
    parts = [{of[name] for name in part} for part in (split.train, split.val, split.test)]
    assert not (parts[0] & parts[1])
    assert not (parts[0] & parts[2])
    assert not (parts[1] & parts[2])
    assert sorted([*split.train, *split.val, *split.test]) == sorted(radiographs.ids)
    assert 0.5 < len(split.train) / len(radiographs) < 0.7


def test_the_split_follows_its_seed_and_nothing_else(radiographs):
    np.random.seed(0)
    first = split_patients(radiographs, seed=1)
    np.random.seed(1)
    assert split_patients(radiographs, seed=1) == first
    assert split_patients(radiographs, seed=2) != first


def test_the_rare_concept_is_in_every_part(radiographs):
    split = split_patients(radiographs)
    for part in (split.train, split.val, split.test):
        assert radiographs.only(part).labels.sum(axis=0).min() > 0


@pytest.mark.parametrize("absent", [True, False])
def test_joined_sets_keep_their_own_labels_and_say_what_the_other_one_lacks(absent):
    first, second = phantom(6, size=32, seed=1), phantom(4, size=32, seed=2)
    first, second = (dataclasses.replace(one, name=name) for one, name in ((first, "a"), (second, "b")))
    both, count = joined(first, second, absent=absent), len(first.concepts)
    assert np.array_equal(both.labels[:6, :count], first.labels)
    assert np.array_equal(both.labels[6:, count:], second.labels)
    elsewhere = np.concatenate([both.labels[:6, count:].ravel(), both.labels[6:, :count].ravel()])
    assert (elsewhere == 0).all() if absent else np.isnan(elsewhere).all()
    assert source_of(both).tolist() == both.task.tolist() == [0] * 6 + [1] * 4
    assert not set(both.patients[:6]) & set(both.patients[6:])
    for old, new in zip(second.boxes, both.boxes[6:], strict=True):
        assert np.array_equal(old[:, 1:], new[:, 1:])
        assert np.array_equal(old[:, 0] + count, new[:, 0])


def test_too_few_patients_are_refused(radiographs):
    with pytest.raises(InputError, match="leave none"):
        split_patients(radiographs.only(radiographs.ids[:2]))


def test_the_phantom_is_the_same_again_and_brighter_in_its_boxes():
    """Lesions add attenuation: a disc's box is brighter than the same place of a phantom without lesions."""
    data = phantom(40, size=64, seed=3)
    assert np.array_equal(data.images, phantom(40, size=64, seed=3).images)
    assert data.images.max() <= WHITE
    clean = data.images[[len(b) == 0 for b in data.boxes]].astype(float).mean(axis=0)
    gains = []
    for image, boxes in zip(data.images, data.boxes, strict=True):
        for concept, x0, y0, x1, y1 in boxes:
            rows, columns = slice(int(y0 * 64), int(y1 * 64) + 1), slice(int(x0 * 64), int(x1 * 64) + 1)
            gains.append(float(image[rows, columns].mean() / clean[rows, columns].mean()))
            assert data.labels[data.images.tolist().index(image.tolist()), int(concept)] == 1
    assert np.median(gains) > 1.05


def test_a_source_or_setting_that_does_not_exist_is_named():
    with pytest.raises(InputError, match="nowhere"):
        load("nowhere")
    with pytest.raises(UsageError, match="margn"):
        from_preset("quick", margn=1)
    with pytest.raises(UsageError, match="no stage"):
        settings_of({"stages": {"fourth": {"epochs": 1, "rates": {"head": 1.0}}}})


@pytest.mark.parametrize("name", sorted(path.stem for path in PRESETS.glob("*.yaml")))
def test_presets_can_be_read_and_changed(name):
    settings = from_preset(name, margin=1.5)
    assert (settings.margin, settings.temperature) == (1.5, 0.3)
    assert set(settings.stages) == {"concepts", "prototypes", "task"}


def test_phantoms_are_verified_and_nothing_is_demonstrated():
    diagnosis = verify_source(from_preset("quick", images=24), workers=0)
    assert all(one.standing is Standing.SUSPECTED for one in diagnosis.findings)
    assert diagnosis.outcome is Outcome.NOTHING_FOUND


def test_a_patient_on_both_sides_is_found_in_the_tables(monkeypatch):
    from traindx.recipes.concepts import verification

    def broken(data, split, folder):
        verification_export(data, split, folder)
        text = (folder / "splits.csv").read_text().splitlines()
        patients = [line.split(",")[0] for line in text[1:]]
        # the two images of the first patient on either side
        flipped = [f"{patients[0]},train", f"{patients[1]},val"]
        rest = [line for line in text[1:] if line.split(",")[0] not in patients[:2]]
        (folder / "splits.csv").write_text("\n".join([text[0], *flipped, *rest]) + "\n")

    verification_export = verification.export
    monkeypatch.setattr(verification, "export", broken)
    diagnosis = verification.verify_source(from_preset("quick", images=24), workers=0)
    assert "D108" in {finding.code for finding in diagnosis.findings}


@pytest.mark.data
def test_tbx11k_has_boxes_for_every_label(data_root):
    data = tbx11k(data_root / "tbx11k_cxr")
    for labels, boxes in zip(data.labels, data.boxes, strict=True):
        assert set(np.flatnonzero(labels)) == {int(k) for k in boxes[:, 0]}
        assert bool(((boxes[:, 1:] >= 0) & (boxes[:, 1:] <= 1)).all())
    assert data.labels.sum(axis=1).min() >= 1  # no healthy negatives in this set


@pytest.mark.data
def test_covid_is_divided_by_patient_and_unknown_severity_is_nan(data_root):
    data = covid(data_root / "covid_cxr")
    split = split_patients(data)
    of = dict(zip(data.ids, data.patients, strict=True))
    assert not {of[n] for n in split.train} & {of[n] for n in (*split.val, *split.test)}
    assert len(set(data.patients)) < len(data)
    assert 0 < np.isnan(data.labels[:, 1]).mean() < 1
    assert not np.isnan(data.labels[:, 0]).any()


def test_the_first_images_of_a_case_show_every_combination_of_labels():
    labels = np.array([[1, 0]] * 6 + [[0, 1]] * 2 + [[1, 1]], np.float32)
    order = mixed(labels)
    assert sorted(order) == list(range(9))
    assert {tuple(labels[i]) for i in order[:3]} == {(1, 0), (0, 1), (1, 1)}


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("source", ["tbx11k", "covid"])
def test_the_case_of_a_real_set_is_healthy(source, data_root, monkeypatch):
    monkeypatch.setenv("TRAINDX_DATA", str(data_root))
    diagnosis = examine(make_case(data=source, batches=8), budget="0s")
    assert [finding.code for finding in diagnosis.findings if finding.standing is not Standing.SUSPECTED] == []
    assert diagnosis.errors == ()
