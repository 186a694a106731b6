import numpy as np


class IterativeStratifiedSplitter:
    """Splits a multi-label set so that each label keeps its share; the rarest label is dealt out first."""

    def __init__(self, seed=0):
        self.seed = seed

    def split(self, labels, fraction):
        """Positions in ``labels`` of the two parts; the first has ``fraction`` of the rows."""
        rng = np.random.default_rng(self.seed)
        n = len(labels)
        wanted = np.array([fraction, 1 - fraction])
        rows_left = wanted * n
        per_label = wanted[:, None] * labels.sum(0)[None]
        parts = ([], [])
        open_rows = np.ones(n, bool)
        while open_rows.any():
            counts = labels[open_rows].sum(0)
            if counts.max() == 0:
                candidates, label = np.flatnonzero(open_rows), None
            else:
                label = int(np.where(counts > 0, counts, counts.max() + 1).argmin())
                candidates = np.flatnonzero(open_rows & (labels[:, label] > 0))
            for row in rng.permutation(candidates):
                need = rows_left if label is None else per_label[:, label]
                part = int(np.lexsort((rows_left, need))[-1])
                parts[part].append(int(row))
                rows_left[part] -= 1
                per_label[part] -= labels[row]
                open_rows[row] = False
        return np.sort(parts[0]), np.sort(parts[1])

    def train_valid_test_split(self, labels, frac_train=0.7, frac_valid=0.15, frac_test=0.15):
        train, rest = self.split(labels, frac_train)
        valid, test = self.split(labels[rest], frac_valid / (frac_valid + frac_test))
        return train, valid, test
