"""Paired and unpaired inception discriminative scores (Zhao et al., CoModGAN, ICLR 2021)."""

import warnings

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.float64]


def discriminative_scores(fake: NDArray[np.float32], real: NDArray[np.float32]) -> tuple[Flags, Flags]:
    """P-IDS and U-IDS of features (N, D) of completed images and of the true ones in the same order, as flags.

    A linear SVM learns to tell real (1) from fake (0). The mean of the first flags (N,) is P-IDS, the share of images
    whose fake it thinks more real than their original; that of the second (2 N,) is U-IDS, its error on what it has
    learnt from. Higher is better, 0.5 is perfect. Raises ValueError where scikit-learn is missing.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC
    except ImportError:
        raise ValueError("metrics p_ids and u_ids need scikit-learn: pip install -e '.[eval]'") from None
    features = np.concatenate([real, fake]).astype(np.float64)
    labels = np.concatenate([np.ones(len(real)), np.zeros(len(fake))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as published, it is stopped at 1000 iterations
        classifier = LinearSVC(dual=False).fit(features, labels)
    decisions = classifier.decision_function(features)
    n = len(real)
    wrong = classifier.predict(features) != labels
    return (decisions[n:] > decisions[:n]).astype(np.float64), wrong.astype(np.float64)
