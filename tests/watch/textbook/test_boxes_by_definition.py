"""Boxes and their overlaps by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

MATRIX = """
def box_iou(a, b):
    area = lambda x: (x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1])
    start, end = torch.max(a[:, None, :2], b[:, :2]), torch.min(a[:, None, 2:], b[:, 2:])
    size = {}
    inter = size[..., 0] * size[..., 1]
    union = area(a)[:, None] + area(b) - inter
    return {}
"""
ROWS = "torch.cat([torch.rand(5, 2) * 40, 50 + torch.rand(5, 2) * 40], 1)"
TWO = f"({ROWS}, {ROWS}[:3])"
GENERALISED = """
def giou(a, b):
    start, end = torch.max(a[:, :2], b[:, :2]), torch.min(a[:, 2:], b[:, 2:])
    inter = (end - start).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - inter
    hull = (torch.max(a[:, 2:], b[:, 2:]) - torch.min(a[:, :2], b[:, :2])).prod(1)
    return inter / union {}
"""
LISTS = """
def compute_iou(box1, box2):
    w = {}
    h = min(box1[3], box2[3]) - max(box1[1], box2[1])
    inter = {}
    one = (box1[2] - box1[0]) * (box1[3] - box1[1])
    other = (box2[2] - box2[0]) * (box2[3] - box2[1])
    return inter / (one + other - inter + 1e-6)
"""
CENTRES = """
def bbox_iou(pred, target):
    a1, a2 = pred[..., :2] - pred[..., 2:] / 2, pred[..., :2] + pred[..., 2:] / 2
    b1, b2 = target[..., :2] - target[..., 2:] / 2, target[..., :2] + target[..., 2:] / 2
    inter = (torch.min(a2, b2) - torch.max(a1, b1)).clamp(0).prod(-1)
    return {}
"""


@pytest.mark.parametrize(
    ("source", "call"),
    [
        (MATRIX.format("(end - start).clamp(min=0)", "inter / union"), f"box_iou{TWO}"),
        (MATRIX.format("(end - start).clamp(min=0)", "(inter / (union + 1e-6)).numpy()"), f"box_iou{TWO}"),
        (MATRIX.replace("x[:, 0])", "x[:, 0] + 1)").replace("x[:, 1])", "x[:, 1] + 1)").format(
            "(end - start + 1).clamp(min=0)", "inter / union, union"), f"box_iou{TWO}"),
        (GENERALISED.format("- (hull - union) / hull"), f"giou({ROWS}, {ROWS})"),
        (LISTS.format("min(box1[2], box2[2]) - max(box1[0], box2[0])", "max(0, w) * max(0, h)"),
         "compute_iou([3, 4, 20, 30], [5, 6, 30, 40])"),
        (LISTS.format("min(box1[2], box2[2]) - max(box1[0], box2[0])", "max(0, w) * max(0, h)"),
         "compute_iou(np.array([.1, .1, .4, .6]), np.array([.2, .1, .6, .7]))"),
        (CENTRES.format("inter / (pred[..., 2:].prod(-1) + target[..., 2:].prod(-1) - inter)"),
         "bbox_iou(torch.rand(2, 3, 4), torch.rand(2, 3, 4))"),
    ],
)  # fmt: skip
def test_an_overlap_of_boxes(define: Callable[..., Any], source: str, call: str) -> None:
    found = define(source, call)["box-overlap"]
    assert found.holds, found


@pytest.mark.parametrize(
    ("source", "call", "said"),
    [
        (MATRIX.format("(end - start)", "inter / union"), f"box_iou{TWO}", "side by side"),
        (MATRIX.format("(end - start).abs()", "inter / union"), f"box_iou{TWO}", "side by side"),
        (MATRIX.format("(end - start).clamp(min=0)", "inter / area(a)[:, None]"), f"box_iou{TWO}", "its half"),
        (MATRIX.format("(end - start).clamp(min=0)", "inter / (union + inter)"), f"box_iou{TWO}", "equal"),
        (GENERALISED.format("- (hull - inter) / hull"), f"giou({ROWS}, {ROWS})", "farther"),
        (GENERALISED.format("+ (hull - union) / hull"), f"giou({ROWS}, {ROWS})", "side by side"),
        (LISTS.format("min(box1[2], box2[2]) - max(box1[0], box2[0])", "w * h"),
         "compute_iou([3, 4, 20, 30], [5, 6, 30, 40])", "side by side"),
        (LISTS.format("max(box1[2], box2[2]) - min(box1[0], box2[0])", "max(0, w) * max(0, h)"),
         "compute_iou([3, 4, 20, 30], [5, 6, 30, 40])", "side by side"),
        (CENTRES.format("inter / (pred[..., 2:].prod(-1) + target[..., 2:].prod(-1))"),
         "bbox_iou(torch.rand(2, 3, 4), torch.rand(2, 3, 4))", "equal"),
    ],
)  # fmt: skip
def test_and_what_is_no_overlap(define: Callable[..., Any], source: str, call: str, said: str) -> None:
    found = define(source, call)["box-overlap"]
    assert not found.holds
    assert said in found.given


@pytest.mark.parametrize(
    ("source", "call"),
    [
        ("def mean_iou(a, b):\n    return (a * b).sum() / ((a + b) > 0).sum()",
         "mean_iou(torch.ones(8, 4), torch.ones(8, 4))"),
        ("def iou(a, b):\n    lt = torch.min(a, b)\n    inter = (lt[:, 0] + lt[:, 2]) * (lt[:, 1] + lt[:, 3])\n"
         "    area = lambda x: (x[:, 0] + x[:, 2]) * (x[:, 1] + x[:, 3])\n"
         "    return inter / (area(a) + area(b) - inter)",
         "iou(torch.rand(8, 4) * 9, torch.rand(8, 4) * 9)"),  # distances from a point to four sides
        ("def iou(a, b):\n    w, h = min(a[1], b[1]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[2], b[2])\n"
         "    area = lambda x: (x[1] - x[0]) * (x[3] - x[2])\n    inter = max(0, w) * max(0, h)\n"
         "    return inter / (area(a) + area(b) - inter + 1e-6)", "iou([3, 9, 4, 20], [5, 9, 6, 30])"),  # by axis
        ("def compute_iou(a, b):\n    a, b = a > 0, b > 0\n    return (a & b).sum() / (a | b).sum()",
         "compute_iou(torch.randn(8, 4), torch.randn(8, 4))"),  # logits of four classes
        ("def mean_box_iou(a, b):\n    return (a - b).abs().mean()", f"mean_box_iou({ROWS}, {ROWS})"),
    ],
)  # fmt: skip
def test_other_overlaps_are_left_alone(define: Callable[..., Any], source: str, call: str) -> None:
    assert "box-overlap" not in define(source, call)


@pytest.mark.parametrize(
    ("inter", "holds"), [("(end - start).clamp(min=0).prod(1)", True), ("(end - start).prod(1).abs()", False)]
)
def test_a_loss_of_the_overlap(define: Callable[..., Any], inter: str, holds: bool) -> None:
    source = f"""
class IoULoss(nn.Module):
    def forward(self, pred, target):
        start, end = torch.max(pred[:, :2], target[:, :2]), torch.min(pred[:, 2:], target[:, 2:])
        inter = {inter}
        area = lambda x: (x[:, 2:] - x[:, :2]).prod(1)
        return (1 - inter / (area(pred) + area(target) - inter)).mean()
"""
    assert define(source, f"IoULoss()({ROWS}, {ROWS})")["box-overlap-loss"].holds is holds


NMS = """
def nms(boxes, scores, iou_threshold=0.5):
    order, keep = {}, []
    while len(order):
        i, order = order[0], order[1:]
        keep.append(int(i))
        size = torch.min(boxes[i, 2:], boxes[order, 2:]) - torch.max(boxes[i, :2], boxes[order, :2])
        inter = {}
        area = lambda x: (x[..., 2:] - x[..., :2]).prod(-1)
        iou = inter / (area(boxes[i]) + area(boxes[order]) - inter)
        order = order[{}]
    return {}
"""


@pytest.mark.parametrize(
    ("order", "inter", "kept", "given", "holds"),
    [
        ("scores.argsort(descending=True)", "size.clamp(0).prod(-1)", "iou <= iou_threshold", "keep", True),
        ("scores.argsort(descending=True)", "size.clamp(0).prod(-1)", "iou < iou_threshold", "boxes[keep]", True),
        (
            "scores.argsort(descending=True)",
            "size.clamp(0).prod(-1)",
            "iou <= iou_threshold",
            "torch.tensor(keep)",
            True,
        ),
        ("scores.argsort()", "size.clamp(0).prod(-1)", "iou <= iou_threshold", "keep", False),
        ("torch.arange(len(scores))", "size.clamp(0).prod(-1)", "iou <= iou_threshold", "keep", False),
        ("scores.argsort(descending=True)", "size.clamp(0).prod(-1)", "iou > iou_threshold", "keep", False),
        ("scores.argsort(descending=True)", "size.prod(-1)", "iou <= iou_threshold", "keep", False),
    ],
)
def test_suppression(define: Callable[..., Any], order: str, inter: str, kept: str, given: str, holds: bool) -> None:
    found = define(NMS.format(order, inter, kept, given), f"nms({ROWS}, torch.rand(5))")["suppression-of-overlaps"]
    assert found.holds is holds, found


def test_room_for_all_beside_how_many_are_meant(define: Callable[..., Any]) -> None:
    given = "torch.tensor(keep + [0] * 3), len(keep)"
    source = NMS.format("scores.argsort(descending=True)", "size.clamp(0).prod(-1)", "iou <= iou_threshold", given)
    assert define(source, f"nms({ROWS}, torch.rand(5))")["suppression-of-overlaps"].holds


def test_several_classes_are_suppressed_apart(define: Callable[..., Any]) -> None:
    source = NMS.format("scores.argsort(descending=True)", "size.clamp(0).prod(-1)", "iou <= iou_threshold", "keep")
    source += "\ndef batched_nms(boxes, scores, idxs):\n    return nms(boxes + idxs[:, None] * 1000, scores)\n"
    assert define(source, f"batched_nms({ROWS}, torch.rand(5), torch.arange(5))")["suppression-of-overlaps"].holds


@pytest.mark.parametrize(
    ("name", "body", "holds"),
    [
        ("box_cxcywh_to_xyxy", "torch.cat([x[..., :2] - x[..., 2:] / 2, x[..., :2] + x[..., 2:] / 2], -1)", True),
        ("xywh2xyxy", "torch.cat([x[..., :2] - x[..., 2:] / 2, x[..., :2] + x[..., 2:] / 2], -1)", True),
        ("xywh2xyxy", "torch.cat([x[..., :2], x[..., :2] + x[..., 2:]], -1)", True),
        ("xyxy_to_cxcywh", "torch.cat([(x[..., :2] + x[..., 2:]) / 2, x[..., 2:] - x[..., :2]], -1)", True),
        ("xyxy2xywh", "torch.cat([x[..., :2], x[..., 2:] - x[..., :2] + 1], -1)", True),
        ("box_cxcywh_to_xyxy", "torch.cat([x[..., :2] - x[..., 2:], x[..., :2] + x[..., 2:]], -1)", False),
        ("xywh2xyxy", "torch.cat([x[..., :2], x[..., 2:]], -1)", False),
        ("xyxy_to_cxcywh", "torch.cat([x[..., :2] + x[..., 2:] / 2, x[..., 2:] - x[..., :2]], -1)", False),
        ("xyxy_to_cxcywh", "torch.cat([x[..., :2], x[..., 2:] - x[..., :2]], -1)", False),
    ],
)
@pytest.mark.parametrize("given", ["torch.rand(5, 4)", "torch.rand(2, 5, 4) * 200"])
def test_forms_of_boxes(define: Callable[..., Any], name: str, body: str, holds: bool, given: str) -> None:
    if "+ 1]" in body and "*" not in given:
        return  # a last pixel of parts of an image is wrong
    assert define(f"def {name}(x):\n    return {body}", f"{name}({given})")["box-form"].holds is holds


def test_a_box_as_four_numbers_of_a_list(define: Callable[..., Any]) -> None:
    source = "def xywh_to_xyxy(box):\n    x, y, w, h = box\n    return [x, y, {}]"
    assert define(source.format("x + w, y + h"), "xywh_to_xyxy([3, 4, 5, 6])")["box-form"].holds
    assert not define(source.format("x + h, y + w"), "xywh_to_xyxy([3, 4, 5, 6])")["box-form"].holds


def test_a_conversion_to_parts_of_the_image_is_another(define: Callable[..., Any]) -> None:
    source = "def xyxy_to_cxcywh(x, width, height):\n    return x / torch.tensor([width, height, width, height])"
    assert not define(source, f"xyxy_to_cxcywh({ROWS}, 640, 480)")


@pytest.mark.parametrize(("body", "holds"), [("(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])", True),
                                             ("b[:, 2] * b[:, 3]", True),
                                             ("(b[:, 2] - b[:, 1]) * (b[:, 3] - b[:, 0])", False)])  # fmt: skip
def test_area(define: Callable[..., Any], body: str, holds: bool) -> None:
    assert define(f"def box_area(b):\n    return {body}", f"box_area({ROWS})")["box-area"].holds is holds


@pytest.mark.parametrize(("x", "y", "holds"), [("w", "h", True), ("w - 1", "h - 1", True), ("w", "w", False)])
def test_clipping(define: Callable[..., Any], x: str, y: str, holds: bool) -> None:
    source = f"def clip_boxes(b, shape):\n    h, w = shape\n    return torch.stack([b[:, 0].clamp(0, {x}), "
    source += f"b[:, 1].clamp(0, {y}), b[:, 2].clamp(0, {x}), b[:, 3].clamp(0, {y})], 1)"
    assert define(source, f"clip_boxes({ROWS}, (40, 70))")["boxes-within-the-image"].holds is holds


def test_clipping_across(define: Callable[..., Any]) -> None:
    source = "def clip_boxes(b, shape):\n    {}\n    h, w = shape\n    b = b.clone()\n"
    source += "    b[:, 0::2] = b[:, 0::2].clamp(0, h)\n    b[:, 1::2] = b[:, 1::2].clamp(0, w)\n    return b"
    assert define(source.format("'boxes y first'"), f"clip_boxes({ROWS}, (40, 70))")["boxes-within-the-image"].holds
    said = source.format("'Clip boxes (x1, y1, x2, y2).'")
    assert not define(said, f"clip_boxes({ROWS}, (40, 70))")["boxes-within-the-image"].holds


AROUND = """
def mask_to_box(mask):
    {}
    ys, xs = np.where(mask > 0)
    x1, y1, x2, y2 = {}
    return {}
"""


@pytest.mark.parametrize(
    ("doc", "numbers", "given", "holds"),
    [
        ("", "xs.min(), ys.min(), xs.max(), ys.max()", "np.array([x1, y1, x2, y2])", True),
        ("", "xs.min(), ys.min(), xs.max() + 1, ys.max() + 1", "x1, y1, x2, y2", True),
        ("", "xs.min(), ys.min(), xs.max(), ys.max()", "[y1, x1, y2, x2]", True),
        ("", "xs.min(), ys.min(), xs.max(), ys.max()", "[x1, y1, x2 - x1, y2 - y1]", True),
        ("", "ys.min(), xs.min(), ys.max(), xs.max()", "[x1, y1, x2, y2]", True),
        ("'As (x1, y1, x2, y2).'", "ys.min(), xs.min(), ys.max(), xs.max()", "[x1, y1, x2, y2]", False),
        ("", "xs.min(), ys.min(), ys.max(), xs.max()", "[x1, y1, x2, y2]", False),
        ("", "xs.min(), xs.max(), ys.min(), ys.max()", "[x1, y1, x2, x2]", False),
    ],
)
def test_the_box_around_a_mask(define: Callable[..., Any], doc: str, numbers: str, given: str, holds: bool) -> None:
    call = "mask_to_box((np.arange(48 * 64).reshape(48, 64) % 64 > 40).astype('uint8'))"
    assert define(AROUND.format(doc, numbers, given), call)["box-around-a-mask"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("torch.stack([w - b[:, 2], b[:, 1], w - b[:, 0], b[:, 3]], 1)", True),
        ("torch.stack([w - b[:, 0], b[:, 1], w - b[:, 2], b[:, 3]], 1)", False),
        ("torch.stack([w - 5 - b[:, 2] * 1.1, b[:, 1], w - 5 - b[:, 0] * 1.1, b[:, 3]], 1)", None),
    ],
)
def test_flipped_boxes(define: Callable[..., Any], body: str, holds: bool | None) -> None:
    found = define(f"def hflip_boxes(b, w):\n    return {body}", f"hflip_boxes({ROWS}, 120)").get("boxes-flipped")
    assert (found.holds if found is not None else None) is holds
