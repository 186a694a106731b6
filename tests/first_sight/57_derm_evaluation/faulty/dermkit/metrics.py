"""Performance of a classifier from its activations."""
import numpy as np


def roc_auc(truth, score):
    """Area under the ROC curve by ranks; ties count half."""
    order = np.argsort(score, kind="mergesort")
    ranks = np.empty(len(score))
    ranks[order] = np.arange(1, len(score) + 1)
    for value in np.unique(score):
        same = score == value
        ranks[same] = ranks[same].mean()
    positive = truth.astype(bool)
    n1, n0 = positive.sum(), (~positive).sum()
    return (ranks[positive].sum() - n1 * (n1 + 1) / 2) / max(n1 * n0, 1)


def compute_metrics(preds, labels, n_labels, threshold=None):
    """Sensitivity, specificity, F1 and AUC of each class, one against the rest.

    preds (samples, classes) probabilities, labels (samples,) class numbers; without a threshold the largest activation decides.
    """
    rows = []
    for c in range(n_labels):
        truth = (labels == c).astype(int)
        if threshold is None:
            pred, prob = (np.argmax(preds, axis=-1) == c).astype(int), np.max(preds, axis=-1)
        else:
            pred, prob = (preds[:, c] >= threshold).astype(int), preds[:, c]
        tp, fp = ((pred == 1) & (truth == 1)).sum(), ((pred == 1) & (truth == 0)).sum()
        fn, tn = ((pred == 0) & (truth == 1)).sum(), ((pred == 0) & (truth == 0)).sum()
        rows.append({"sensitivity": tp / max(tp + fn, 1), "specificity": tn / max(tn + fp, 1), "f1": 2 * tp / max(2 * tp + fp + fn, 1), "auc": roc_auc(truth, prob)})
    return rows
