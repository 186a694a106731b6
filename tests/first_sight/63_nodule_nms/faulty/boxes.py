"""Boxes are (x1, y1, x2, y2) in pixels."""
import numpy as np


def area(boxes):
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def non_max_suppression(boxes, scores, overlap=0.3, max_boxes=20):
    """Indices of the boxes that are kept, best first."""
    order = np.argsort(scores)[::-1]
    keep = []
    while len(order) and len(keep) < max_boxes:
        best, rest = order[0], order[1:]
        keep.append(best)
        w = np.minimum(boxes[best, 2], boxes[rest, 2]) - np.maximum(boxes[best, 0], boxes[rest, 0])
        h = np.minimum(boxes[best, 3], boxes[rest, 3]) - np.maximum(boxes[best, 1], boxes[rest, 1])
        shared = w * h
        union = area(boxes[best]) + area(boxes[rest]) - shared
        order = rest[shared / (union + 1e-6) < overlap]
    return keep


def match(found, truth):
    """IoU of every found box with every true one, (F, T)."""
    low = np.maximum(found[:, None, :2], truth[None, :, :2])
    high = np.minimum(found[:, None, 2:], truth[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(2)
    return inside / (area(found)[:, None] + area(truth)[None] - inside)


def average_precision(results, threshold=0.5):
    """AP over images; results are (boxes, scores, true boxes) of each image."""
    rows, total = [], 0
    for boxes, scores, truth in results:
        total += len(truth)
        taken = np.zeros(len(truth), bool)
        iou = match(boxes, truth) if len(boxes) else np.zeros((0, len(truth)))
        for i in np.argsort(-scores):
            j = int(np.argmax(np.where(taken, -1, iou[i])))
            hit = not taken[j] and iou[i, j] >= threshold
            taken[j] |= hit
            rows.append((scores[i], hit))
    rows.sort(key=lambda row: -row[0])
    hits = np.array([hit for _, hit in rows], float)
    recall = np.cumsum(hits) / total
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(np.concatenate([[0.0], recall])) * precision)), float(recall[-1])
