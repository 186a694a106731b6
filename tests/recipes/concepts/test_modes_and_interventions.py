"""Prototypes that cannot collapse, and concepts that are set by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from traindx.errors import InputError
from traindx.recipes.concepts.interventions import Levels, curve, intervened, levels
from traindx.recipes.concepts.loss import absence_loss, class_weights, prototype_loss, separation_loss
from traindx.recipes.concepts.metrics import balanced_accuracy
from traindx.recipes.concepts.model import Prototypes
from traindx.recipes.concepts.modes import balanced_clusters, by_mode
from traindx.recipes.concepts.prototypes import flat_embedding, similarities

CONCEPTS, LOOKS, CHANNELS = 3, 2, 16


def appearances(count=120):
    """Features of patches of three concepts, each of two looks that differ a little, and which look each is of."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.eye(CHANNELS)
    concept = torch.randint(CONCEPTS, (count,), generator=generator)
    look = torch.randint(LOOKS, (count,), generator=generator)
    features = axes[concept] + 0.4 * axes[CONCEPTS + concept * LOOKS + look]
    return features + 0.05 * torch.randn(count, CHANNELS, generator=generator), concept, look


def learnt(with_modes):
    """Cosine of two prototypes of a concept, after each was put on a patch of its own, and the embedding."""
    features, concept, _ = appearances()
    owner = F.one_hot(concept, CONCEPTS).bool()
    torch.manual_seed(0)
    prototypes = Prototypes(CHANNELS, CONCEPTS, LOOKS, 12)
    mine = owner
    if with_modes:
        unit = F.normalize(features, dim=1).numpy()
        centres = [balanced_clusters(unit[owner[:, k].numpy()], LOOKS, np.random.default_rng(0))[0] for k in range(3)]
        mine = by_mode(features, owner, torch.from_numpy(np.stack(centres)))
    optimizer = torch.optim.AdamW(prototypes.parameters(), lr=0.02)
    for _ in range(80):
        embedded = flat_embedding(prototypes.embed(features.T[None, :, :, None]))
        loss = prototype_loss(embedded, mine, prototypes.vectors, 0.3) + 0.5 * separation_loss(prototypes.vectors)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    embedded = flat_embedding(prototypes.embed(features.T[None, :, :, None])).detach()
    cosine = torch.einsum("nd,kmd->nkm", embedded, prototypes.vectors).masked_fill(~owner[..., None], -2)
    pushed = embedded[cosine.argmax(dim=0)]  # (K, M, D)
    return similarities(prototypes.vectors.detach()).within, similarities(pushed).within, embedded


def test_separated_vectors_do_not_keep_patches_apart_and_modes_do():
    vectors, on_patches, _ = learnt(with_modes=False)
    assert vectors < 0.5  # the monitor sees nothing,
    assert on_patches > 0.8  # and the patches are one point
    vectors, on_patches, embedded = learnt(with_modes=True)
    assert vectors < 0.3
    assert on_patches < 0.3
    _, concept, look = appearances()
    here = embedded[concept == 0]
    same = look[concept == 0][:, None] == look[concept == 0][None]
    cosine = here @ here.T
    assert float(cosine[same].mean()) > 0.9
    assert float(cosine[~same].mean()) < 0.3


def test_clusters_are_of_equal_size_and_find_what_is_there():
    generator = np.random.default_rng(1)
    points = np.concatenate([generator.normal(centre, 0.1, (20, 4)) for centre in (0, 2, 5)]).astype(np.float32)
    centres, cluster = balanced_clusters(points, 3, np.random.default_rng(0))
    assert np.bincount(cluster).tolist() == [20, 20, 20]
    assert sorted(round(float(one.mean())) for one in centres) == [0, 2, 5]
    # one tight heap of points that are nearly alike leaves no cluster empty, either
    _, cluster = balanced_clusters(points[:20], 4, np.random.default_rng(0))
    assert np.bincount(cluster).tolist() == [5, 5, 5, 5]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_patches_than_prototypes(count):
    centres, cluster = balanced_clusters(np.ones((count, 4), np.float32), 3, np.random.default_rng(0))
    assert centres.shape == (3, 4)
    assert np.isfinite(centres).all()
    assert len(cluster) == count


def test_a_patch_is_of_the_nearest_mode_of_each_of_its_concepts():
    features = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    modes = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
    found = by_mode(features, torch.tensor([[True, True], [True, False]]), modes)
    assert found.tolist() == [[[True, False], [False, True]], [[False, True], [False, False]]]


def test_the_contrast_with_modes_is_the_cross_entropy_of_the_prototype():
    generator = torch.Generator().manual_seed(0)
    embedding = F.normalize(torch.randn(8, 5, generator=generator), dim=1)
    vectors = F.normalize(torch.randn(3, 2, 5, generator=generator), dim=2)
    which = torch.randint(6, (8,), generator=generator)
    mine = F.one_hot(which, 6).bool().view(8, 3, 2)
    expected = F.cross_entropy(embedding @ vectors.flatten(0, 1).T / 0.3, which)
    assert float(prototype_loss(embedding, mine, vectors, 0.3)) == pytest.approx(float(expected), rel=1e-5)


def test_images_without_a_concept_are_kept_from_its_prototypes_alone():
    similarity = torch.tensor([[[0.2, 0.6], [0.9, 0.1]], [[0.5, -0.5], [-0.2, -0.4]]], requires_grad=True)
    labels = torch.tensor([[0.0, 1.0], [float("nan"), 0.0]])
    value = absence_loss(similarity, labels)
    assert float(value.detach()) == pytest.approx((0.6 + 0.0) / 2)
    value.backward()
    assert similarity.grad.nonzero().tolist() == [[0, 0, 1]]
    assert float(absence_loss(similarity.detach(), torch.ones(2, 2))) == 0


def test_class_weights_make_classes_count_the_same():
    task = torch.tensor([0, 0, 0, 1, -1])
    weights = class_weights(task, 3)
    assert weights.tolist() == pytest.approx([4 / 6, 2.0, 0.0])
    known = task[task >= 0]
    assert float(weights[known].mean()) == pytest.approx(1.0)


def test_balanced_accuracy_is_the_mean_recall():
    task = np.array([0, 0, 0, 0, 1, 2, -1])
    assert balanced_accuracy(np.array([0, 0, 0, 1, 1, 0, 2]), task) == pytest.approx((3 / 4 + 1 + 0) / 3)
    assert balanced_accuracy(np.zeros(7, int), task) == pytest.approx(1 / 3)


@pytest.fixture
def training():
    activation = torch.tensor([[[0.0, 0.2], [1.0, 0.0]], [[0.8, 1.0], [0.0, 0.4]], [[0.4, 0.6], [0.2, 0.4]]])
    labels = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, float("nan")]])
    return activation, labels


def test_levels_are_means_of_training_images_with_and_without(training):
    at = levels(*training)
    assert at.absent[0].tolist() == pytest.approx([0.0, 0.2])
    assert at.present[0].tolist() == pytest.approx([0.6, 0.8])
    assert at.present[1].tolist() == pytest.approx([1.0, 0.0])
    with pytest.raises(InputError, match="concept 1"):
        levels(training[0], torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 1.0]]))


def test_only_the_chosen_concepts_are_set_and_only_where_they_are_known(training):
    activation, labels = training
    at = levels(*training)
    found = intervened(activation, labels, (1,), at)
    assert torch.equal(found[:, 0], activation[:, 0])
    assert torch.equal(found[0, 1], at.present[1])
    assert torch.equal(found[1, 1], at.absent[1])
    assert torch.equal(found[2, 1], activation[2, 1])


def test_the_task_follows_concepts_that_it_reads_and_no_others():
    """Three concepts; the task is the first one alone, and the network is always wrong about it."""
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 0]])
    activation = (1 - labels)[..., None]
    at = Levels(torch.zeros(3, 1), torch.ones(3, 1))
    weight = torch.tensor([[-1.0, 0, 0], [1, 0, 0]])
    answers = curve(lambda x: (x - 0.5) @ weight.T, activation, labels, at)
    truth = labels[:, 0].long().numpy()
    right = [float(np.mean([(one == truth).mean() for one in rows])) for rows in answers]
    assert [len(rows) for rows in answers] == [1, 3, 3, 1]
    assert right == pytest.approx([0, 1 / 3, 2 / 3, 1])  # the share of the choices that the first one is among
