"""Chest radiographs with up to three findings and the report a radiologist would dictate."""
import numpy as np
import torch
from torch.utils.data import Dataset

SIZE = 48
SIDES = ("right", "left")
ZONES = ("upper", "middle", "lower")
KINDS = ("nodule", "opacity", "effusion", "cavity")
GRADES = ("small", "large")
WORDS = "heart is normal in size enlarged lungs are clear there a the zone and of . no other finding mild".split()
VOCABULARY = ["<pad>", "<bos>", "<eos>"] + sorted({*WORDS, *SIDES, *ZONES, *KINDS, *GRADES})
PAD, BOS, EOS = 0, 1, 2
INDEX = {word: i for i, word in enumerate(VOCABULARY)}


def draw(findings, heart, rng):
    yy, xx = np.mgrid[:SIZE, :SIZE]
    image = np.full((SIZE, SIZE), 0.5)
    for cx in (14, 34):
        image[((xx - cx) / 9) ** 2 + ((yy - 23) / 19) ** 2 < 1] = 0.15
    image[((xx - 24) / (10 if heart else 6)) ** 2 + ((yy - 32) / 7) ** 2 < 1] = 0.75
    for side, zone, kind, grade in findings:
        cx = (12, 36)[side] + rng.integers(-1, 2)
        cy = 11 + 12 * zone + rng.integers(-1, 2)
        r = (2.2, 4.4)[grade]
        d = np.hypot(xx - cx, yy - cy)
        if kind == 0:
            image[d < r] = 0.95
        elif kind == 1:
            image += 0.55 * np.exp(-((d / (r + 0.8)) ** 2))
        elif kind == 2:
            image[(np.abs(xx - cx) < r + 1.5) & (np.abs(yy - cy) < r / 2)] = 0.9
        else:
            image[(d < r + 0.8) & (d > r - 1.0)] = 0.9
    return (image + rng.normal(0, 0.05, image.shape)).astype(np.float32)


def dictate(findings, heart):
    words = ["heart", "is", "enlarged", "."] if heart else ["heart", "is", "normal", "in", "size", "."]
    for side, zone, kind, grade in findings:
        words += ["there", "is", "a", GRADES[grade], KINDS[kind], "in", "the", SIDES[side], ZONES[zone], "zone", "."]
    return words + (["no", "other", "finding", "."] if findings else ["lungs", "are", "clear", "."])


class Films(Dataset):
    def __init__(self, count, seed, length=44):
        rng = np.random.default_rng(seed)
        self.images, self.tokens = [], []
        for _ in range(count):
            places = sorted(rng.choice(6, rng.integers(0, 3), replace=False))
            findings = [(p // 3, p % 3, rng.integers(len(KINDS)), rng.integers(2)) for p in places]
            heart = rng.integers(2)
            ids = [BOS] + [INDEX[word] for word in dictate(findings, heart)] + [EOS]
            self.images.append(torch.from_numpy(draw(findings, heart, rng))[None])
            self.tokens.append(torch.tensor(ids + [PAD] * (length - len(ids))))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.tokens[i]
