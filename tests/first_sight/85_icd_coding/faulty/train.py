"""ICD codes for discharge letters: a convolution over the words, one attention query per code."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

PAD, MAX_LEN = 0, 56
CODES = {
    "I50": ["heart failure", "cardiac decompensation", "reduced ejection fraction"],
    "J18": ["pneumonia", "pulmonary infiltrate"],
    "I48": ["atrial fibrillation", "absolute arrhythmia"],
    "N17": ["acute kidney injury", "rising creatinine"],
    "E11": ["type two diabetes", "elevated hba1c"],
    "J44": ["copd", "chronic obstructive disease"],
    "I21": ["myocardial infarction", "st elevation"],
    "S72": ["femoral neck fracture", "hip fracture"],
}
FILLER = (
    "the patient was admitted with and treated on our ward for several days because of since last week under therapy "
    "good general condition at discharge mobile in hospital stay uneventful laboratory values stable medication continued "
    "follow up by the general practitioner recommended chest radiograph ecg echo showed blood pressure normal weight"
).split()


def write_letter(rng):
    present = rng.random(len(CODES)) < 0.25
    parts = [[str(w) for w in rng.choice(FILLER, rng.integers(2, 7))] for _ in range(3)]
    for code, is_present in zip(CODES, present):
        phrase = str(rng.choice(CODES[code])).split()
        if is_present:
            parts.append([*[str(w) for w in rng.choice(FILLER, rng.integers(1, 4))], *phrase])
        elif rng.random() < 0.25:
            parts.append(["no", *phrase])
    rng.shuffle(parts)
    parts.append([str(w) for w in rng.choice(FILLER, 3)])
    return [word for part in parts for word in part][: MAX_LEN - 2], present


def make_letters(count, seed):
    rng = np.random.default_rng(seed)
    letters, labels = zip(*[write_letter(rng) for _ in range(count)])
    return letters, torch.tensor(np.array(labels), dtype=torch.float32)


def to_ids(letters, vocabulary):
    ids = torch.full((len(letters), MAX_LEN), PAD)
    for row, words in zip(ids, letters):
        row[: len(words)] = torch.tensor([vocabulary.get(w, 1) for w in words])
    return ids


class LabelAttention(nn.Module):
    def __init__(self, labels, dim, heads):
        super().__init__()
        self.heads = heads
        self.queries = nn.Parameter(torch.randn(labels, dim) * 0.1)
        self.to_key, self.to_value = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def split(self, x):
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(self, words, padding):
        queries = self.queries.expand(len(words), -1, -1)
        mixed = F.scaled_dot_product_attention(
            self.split(queries), self.split(self.to_key(words)), self.split(self.to_value(words)), attn_mask=padding[:, None, None, :]
        )
        return mixed.transpose(1, 2).flatten(2)


class Coder(nn.Module):
    def __init__(self, words, labels, dim=64, heads=4):
        super().__init__()
        self.embedding = nn.Embedding(words, dim, padding_idx=PAD)
        self.context = nn.Sequential(nn.Conv1d(dim, dim, 3, padding=1), nn.GELU(), nn.Conv1d(dim, dim, 3, padding=1))
        self.attention = LabelAttention(labels, dim, heads)
        self.weight = nn.Parameter(torch.randn(labels, dim) * 0.1)
        self.bias = nn.Parameter(torch.full((labels,), -1.0))

    def forward(self, tokens):
        padding = tokens == PAD
        words = self.embedding(tokens)
        words = words + self.context(words.transpose(1, 2)).transpose(1, 2)
        per_label = self.attention(words, padding)
        return (per_label * self.weight).sum(-1) + self.bias


@torch.no_grad()
def evaluate(model, tokens, labels):
    model.eval()
    scores = torch.cat([model(t) for t in tokens.split(250)])
    decided = (scores > 0).float()
    hits = (decided * labels).sum()
    f1 = 2 * hits / (decided.sum() + labels.sum())
    precision = []
    for score, label in zip(scores.T, labels.T):
        ordered = label[score.argsort(descending=True)]
        precision.append(((ordered.cumsum(0) / torch.arange(1, len(ordered) + 1)) * ordered).sum() / ordered.sum())
    return F.binary_cross_entropy_with_logits(scores, labels).item(), f1.item(), torch.stack(precision).mean().item()


torch.manual_seed(0)
letters, labels = make_letters(1600, seed=1)
test_letters, test_labels = make_letters(500, seed=2)
vocabulary = {word: i for i, word in enumerate(sorted({w for words in letters for w in words}), start=2)}
tokens, test_tokens = to_ids(letters, vocabulary), to_ids(test_letters, vocabulary)
print(f"{len(vocabulary)} words, {tokens.ne(PAD).sum(1).float().mean():.0f} per letter, {labels.sum(1).mean():.2f} codes per letter")

model = Coder(len(vocabulary) + 2, len(CODES))
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
for epoch in range(1, 4):
    model.train()
    losses = []
    for batch in torch.randperm(len(tokens)).split(50):
        loss = F.binary_cross_entropy_with_logits(model(tokens[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    val_loss, f1, ap = evaluate(model, test_tokens, test_labels)
    print(f"epoch {epoch} loss {np.mean(losses):.4f} test loss {val_loss:.4f} micro F1 {f1:.3f} mean average precision {ap:.3f}")
