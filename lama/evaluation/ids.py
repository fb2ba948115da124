"""Paired and unpaired inception discriminative scores (Zhao et al., CoModGAN, ICLR 2021)."""

import warnings
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lama.evaluation.statistics import summary
from lama.interfaces import SetFeatures, SetMetric

Flags = NDArray[np.float64]


class PIDS(SetMetric):
    """P-IDS: the share of images that look more real to a linear SVM than their originals."""

    label, higher_is_better, bounds = "P-IDS", True, (0.0, 1.0)
    which: ClassVar = 0

    def measure(self, features: SetFeatures, interval: bool) -> dict[str, Any]:
        if "inception discriminative scores" not in features.shared:
            scores = discriminative_scores(features.fake, features.real)
            features.shared["inception discriminative scores"] = scores
        flags = features.shared["inception discriminative scores"][self.which]
        return summary(flags, interval) | {"n": len(features.fake)}


class UIDS(PIDS):
    """U-IDS: the error of the same linear SVM on the images that it was fitted to."""

    label, which = "U-IDS", 1


def discriminative_scores(fake: NDArray[np.float32], real: NDArray[np.float32]) -> tuple[Flags, Flags]:
    """P-IDS and U-IDS of features (N, D) of completed images and of the true ones in the same order, as flags.

    A linear SVM is fitted to tell real (1) from fake (0). The mean of the first flags (N,) is P-IDS: the share of
    images with a higher decision value for the fake than for the original. The mean of the second flags (2 N,) is
    U-IDS: the error of the SVM on its own training data. 0.5 is perfect. Raises ValueError where scikit-learn is
    missing.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC
    except ImportError:
        raise ValueError("metrics p_ids and u_ids need scikit-learn: pip install '.[eval]'") from None
    features = np.concatenate([real, fake]).astype(np.float64)
    labels = np.concatenate([np.ones(len(real)), np.zeros(len(fake))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as published, the fit stops at 1000 iterations
        classifier = LinearSVC(dual=False).fit(features, labels)
    decisions = classifier.decision_function(features)
    n = len(real)
    wrong = classifier.predict(features) != labels
    return (decisions[n:] > decisions[:n]).astype(np.float64), wrong.astype(np.float64)
