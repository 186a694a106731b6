"""Sentences to padded batches."""
import random

import torch

FINDINGS = ["effusion", "pneumothorax", "consolidation", "cardiomegaly", "nodule", "oedema"]
FILLER = ["stable", "small", "left", "right", "basal", "apical", "compared", "prior", "mild", "again", "seen", "lung"]
WORDS = ["[PAD]", "[CLS]", "[SEP]", "no", "with", "."] + FINDINGS + FILLER
IDS = {word: i for i, word in enumerate(WORDS)}
LABELS = ["contradiction", "entailment", "neutral"]


def make_pairs(n, seed):
    """(report, statement, label); a statement is entailed, contradicted or not touched."""
    rng = random.Random(seed)
    pairs = []
    for _ in range(n):
        label = rng.randrange(3)
        mentioned = rng.sample(FINDINGS, rng.randint(1, 4))
        words = []
        for i, finding in enumerate(mentioned):
            state = rng.choice(["no", "with"])
            if i == 0:
                first = state
            words += rng.sample(FILLER, rng.randint(0, 3)) + [state, finding, "."]
        if label == 2:
            subject, state = rng.choice([f for f in FINDINGS if f not in mentioned]), rng.choice(["no", "with"])
        else:
            subject = mentioned[0]
            state = first if label == 1 else {"no": "with", "with": "no"}[first]
        pairs.append((words, [state, subject], label))
    return pairs


def build_batch(pairs, max_length=None):
    """ids, token types, attention mask and labels, each (batch, length)."""
    rows = [["[CLS]"] + a + ["[SEP]"] + b + ["[SEP]"] for a, b, _ in pairs]
    length = max_length or max(len(row) for row in rows)
    ids = torch.full((len(rows), length), IDS["[PAD]"])
    types = torch.zeros_like(ids)
    masks = torch.zeros_like(ids)
    for i, (row, (a, _, _)) in enumerate(zip(rows, pairs)):
        ids[i, :len(row)] = torch.tensor([IDS[word] for word in row])
        types[i, len(a) + 2:len(row)] = 1
        masks[i, :len(row)] = 1
    return ids, types, masks, torch.tensor([label for _, _, label in pairs])
