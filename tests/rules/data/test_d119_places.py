"""D119 for boxes that are no tensors: lists of mappings that stay while the image is mirrored."""

from __future__ import annotations

from textwrap import dedent

import numpy as np
import pytest
import torch

from traindx.finding import Standing
from traindx.watch.collectors.mirrored_items import mirrored, numbers_in, places_of

PROGRAM = dedent(
    """
    import random

    import numpy as np
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    random.seed(0), torch.manual_seed(0)
    rng = np.random.default_rng(0)
    IMAGES = rng.normal(size=(24, 1, 32, 32)).astype(np.float32)
    BOXES = [[int(a), int(b), int(a) + 6, int(b) + 8] for a, b in rng.integers(0, 20, (24, 2))]
    for image, (x1, y1, x2, y2) in zip(IMAGES, BOXES):
        image[:, y1:y2, x1:x2] += 4


    class Films(Dataset):
        def __len__(self):
            return 24

        def __getitem__(self, index):
            image, box = IMAGES[index], list(BOXES[index])
            {flip}
            return {item}


    def collate(batch):
        return {collate}


    loader = DataLoader(Films(), 6, shuffle=True, collate_fn=collate)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(900, 4))
    opt = torch.optim.Adam(net.parameters(), 1e-3)
    for epoch in range(6):
        for batch in loader:
            target = torch.tensor({target}).float() / 32
            loss = nn.functional.l1_loss(net(batch["image"]), target)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(epoch, loss.item())
    """
)
ALONE = "if random.random() < 0.5:\n            image = image[:, :, ::-1].copy()"
TOGETHER = ALONE + "\n            box[0], box[2] = 32 - box[2], 32 - box[0]"
DEEP = {
    "item": 'dict(image=torch.from_numpy(image), finds=[dict(kind=0, bbox=[v / 32 for v in box])])',
    "collate": 'dict(image=torch.stack([b["image"] for b in batch]), bboxes=[b["finds"] for b in batch])',
    "target": '[[32 * v for v in one[0]["bbox"]] for one in batch["bboxes"]]',
}  # fmt: skip
NAMELESS = {key: text.replace("bboxes", "codes").replace("bbox", "code") for key, text in DEEP.items()}


def program(flip: str, parts: dict[str, str]) -> str:
    source = PROGRAM
    for name, text in dict(parts, flip=flip).items():
        source = source.replace("{" + name + "}", text)
    return source


def test_boxes_in_mappings_that_stay_are_named_where_the_items_are_made(script) -> None:
    seen = script(program(ALONE, DEEP))
    (found,) = [one for one in seen.diagnosis.findings if one.code == "D119"]
    assert found.standing is Standing.DEMONSTRATED
    assert found.location.line in (seen.line("def __getitem__"), seen.line("if random.random()"))


@pytest.mark.parametrize(("flip", "parts"), [(TOGETHER, DEEP), ("pass", DEEP), (ALONE, NAMELESS)])
def test_boxes_that_come_along_or_are_none_are_left_alone(script, flip, parts) -> None:
    assert not [one for one in script(program(flip, parts)).diagnosis.findings if one.code == "D119"]


def normed(picture: np.ndarray) -> torch.Tensor:
    picture = torch.from_numpy(picture - picture.mean())
    return picture / picture.norm()


def test_a_mirror_image_is_told_from_the_same_a_turned_and_another_one() -> None:
    rng = np.random.default_rng(1)
    picture = np.kron(rng.normal(size=(6, 6)), np.ones((4, 4)))
    assert mirrored(normed(picture), normed(picture[:, ::-1].copy()))
    assert mirrored(normed(picture), normed(np.roll(picture[::-1], 1, 1) * 0.5 + 3))  # moved, other contrast
    assert not mirrored(normed(picture), normed(np.roll(picture, 1, 0)))
    assert not mirrored(normed(picture), normed(np.kron(rng.normal(size=(6, 6)), np.ones((4, 4)))))
    symmetric = picture + picture[:, ::-1]
    assert not mirrored(normed(symmetric), normed(symmetric.copy()))


def test_places_are_found_by_name_however_deep() -> None:
    assert set(places_of({"image": torch.zeros(2, 1, 8, 8), "boxes": torch.ones(2, 3, 4)}, 2)) == {"boxes"}
    assert set(places_of([torch.zeros(2, 1, 8, 8), [{"keypoints": [1, 2]}, {"keypoints": [3, 4]}]], 2)) == {
        "1.keypoints"
    }
    assert not places_of({"labels": [1, 2], "bbox": [1, 2, 3, 4]}, 2)  # not one an item
    assert numbers_in([{"bbox": [1, 2.5], "name": "a", "seen": True}]) == (1.0, 2.5)
    assert numbers_in([]) == ()


def test_two_loaders_of_one_data_set_are_told_once_by_the_name_of_the_set_in_them(script) -> None:
    source = (
        program(ALONE, DEEP)
        .replace(
            "loader = DataLoader(Films(), 6, shuffle=True, collate_fn=collate)",
            "from torch.utils.data import Subset\n"
            "films = Films()\n"
            "loader = DataLoader(Subset(films, range(16)), 8, shuffle=True, collate_fn=collate)\n"
            "others = DataLoader(Subset(films, range(16, 24)), 8, collate_fn=collate)",
        )
        .replace(
            "    print(epoch", "    with torch.no_grad():\n        [net(b['image']) for b in others]\n    print(epoch"
        )
    )
    (found,) = [one for one in script(source).diagnosis.findings if one.code == "D119"]
    assert "Films" in found.message
