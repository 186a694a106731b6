"""Parts that are frozen, parts with rates of their own, weights from elsewhere, monitors and best scores."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from traindx.errors import InputError
from traindx.recipes.concepts.best import BestScores
from traindx.recipes.concepts.gradient_monitor import flags, norms_by_part
from traindx.recipes.concepts.model import Architecture, ConceptNetwork, parameter_groups
from traindx.recipes.concepts.pretrained import load_into, read_weights
from traindx.recipes.concepts.prototypes import patches, similarities, used

ARCHITECTURE = Architecture(size=32, widths=(4, 8, 8), strides=(2, 2, 1), prototypes=3, embedding=6)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return ConceptNetwork(ARCHITECTURE, concepts=2, classes=3)


def test_shapes(network):
    said = network(torch.randn(5, 1, 32, 32))
    assert said["maps"].shape == (5, 2, *ARCHITECTURE.map_size)
    assert {k: tuple(v.shape) for k, v in said.items() if k != "maps"} == {
        "concepts": (5, 2),
        "similarity": (5, 2, 3),
        "task": (5, 3),
    }
    assert float(said["similarity"].abs().max()) <= 1 + 1e-5


def test_a_frozen_encoder_holds_still_altogether(network):
    network.train_only("prototypes")
    before = {name: value.clone() for name, value in network.maps.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0, weight_decay=0.1)
    network(torch.randn(4, 1, 32, 32))["similarity"].sum().backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in network.maps.state_dict().items())
    assert all(p.grad is None for p in network.maps.parameters())
    network.train_only("encoder", "head")
    network(torch.randn(4, 1, 32, 32))
    moved = network.maps.encoder.state_dict()
    assert any(not torch.equal(value, before[f"encoder.{name}"]) for name, value in moved.items())


def test_each_part_has_its_rate_and_only_matrices_decay(network):
    groups = parameter_groups(network.parameters(), {"encoder": 1e-4, "head": 1e-2})
    assert {(g["name"], g["lr"]) for g in groups} == {("encoder", 1e-4), ("head", 1e-2)}
    listed = [p for g in groups for p in g["params"]]
    assert len(listed) == len({id(p) for p in listed}) == len(list(network.parameters()))
    for group in groups:
        assert all((p.ndim > 1) == ("weight_decay" not in group) for p in group["params"])


def encoder_state(seed=1, prefix=""):
    torch.manual_seed(seed)
    return {f"{prefix}{k}": v for k, v in ConceptNetwork(ARCHITECTURE, 2, 3).maps.encoder.state_dict().items()}


@pytest.mark.parametrize("prefix", ["", "module.", "module.maps.encoder."])
def test_weights_arrive_whatever_wrapped_them(network, prefix):
    state = encoder_state(prefix=prefix)
    report = load_into(network.maps.encoder, state)
    assert report.share == 1
    assert report.arrived == report.wanted == len([k for k in state if "num_batches" not in k])
    assert report.unused == report.missing == ()
    assert torch.equal(network.maps.encoder.state_dict()["stem.0.weight"], state[f"{prefix}stem.0.weight"])


def test_renamed_weights_are_refused_and_nothing_is_changed(network):
    before = {k: v.clone() for k, v in network.maps.encoder.state_dict().items()}
    state = {f"other_{k}": v for k, v in encoder_state().items()}
    with pytest.raises(InputError, match="0 of") as caught:
        load_into(network.maps.encoder, state)
    assert "other_stem" in caught.value.found
    assert all(torch.equal(v, before[k]) for k, v in network.maps.encoder.state_dict().items())


def test_a_part_is_loaded_where_that_is_allowed_and_counted(network):
    state = {k: v for k, v in encoder_state().items() if k.startswith("stem")}
    with pytest.raises(InputError):
        load_into(network.maps.encoder, state)
    report = load_into(network.maps.encoder, state, least=0.1)
    assert 0.1 < report.share < 0.5
    assert report.changed < report.wanted


def test_another_shape_does_not_count_as_loaded(network):
    state = encoder_state()
    state["stem.0.weight"] = torch.zeros(4, 3, 3, 3)
    report = load_into(network.maps.encoder, state)
    assert report.missing == ("stem.0.weight",)


def test_files_of_weights_are_read_also_below_a_key(tmp_path):
    torch.save({"state_dict": encoder_state()}, tmp_path / "w.pt")
    assert "stem.0.weight" in read_weights(tmp_path / "w.pt")
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    for name in ("broken.pt", "missing.pt"):
        with pytest.raises(InputError):
            read_weights(tmp_path / name)


def test_the_monitor_sees_nan_first_and_a_healthy_norm_not_at_all():
    assert flags({"encoder": 0.5, "head": 3.0}) == []
    for bad in (math.nan, math.inf, 1e-9, 1e4):
        said = flags({"encoder": bad, "head": 1.0})
        assert len(said) == 1
        assert "encoder" in said[0]


def test_norms_by_part_are_those_of_the_gradients(network):
    network(torch.randn(2, 1, 32, 32))["concepts"].sum().backward()
    norms = norms_by_part(network.parameters())
    assert set(norms) == {"encoder", "head"}
    expected = torch.cat([p.grad.flatten() for p in network.maps.head.parameters()]).norm()
    assert norms["head"] == pytest.approx(float(expected), rel=1e-5)
    network.maps.head.weight.grad[0, 0] = math.nan
    assert flags(norms_by_part(network.parameters())) != []


def test_stages_have_best_scores_of_their_own_and_nan_is_never_best():
    best = BestScores()
    assert best.offer("concepts", 0.9)
    assert best.offer("prototypes", 0.2)
    assert not best.offer("prototypes", 0.1)
    assert best.offer("prototypes", 0.3)
    assert not best.offer("task", math.nan)
    assert best.scores == {"concepts": 0.9, "prototypes": 0.3}


def test_similarity_within_and_between_are_told_apart():
    axis = torch.eye(4)
    vectors = torch.stack([torch.stack([axis[0], axis[0]]), torch.stack([axis[1], axis[2]])])
    found = similarities(vectors)
    assert found.within == pytest.approx(0.5)  # 1 for the first concept, 0 for the second
    assert found.between == pytest.approx(0.0)
    assert found.overall == pytest.approx(1 / 6)
    assert math.isnan(similarities(vectors[:, :1]).within)


def test_used_counts_the_nearest_prototype_of_the_own_concept():
    axis = torch.eye(3)
    counts = used(axis[[0, 0, 1]], torch.tensor([[True], [True], [False]]), axis[None])
    assert counts.tolist() == [[2, 0, 0]]


def test_a_small_box_has_a_patch():
    masks = torch.zeros(1, 2, 4, 4)
    masks[0, 0, 1, 2] = 0.05
    shown = patches(masks)
    assert shown.nonzero().tolist() == [[6, 0]]


def test_batch_normalisation_is_what_the_freezing_test_is_about(network):
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.maps.encoder.modules())
