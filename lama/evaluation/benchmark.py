"""A published protocol: a set, how its masks are read, its size and metrics, and the rows of its table."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lama.evaluation.metrics import METRICS
from lama.evaluation.protocol import find_protocol

logger = logging.getLogger(__name__)
READ = ("source", "quoted")  # read in the paper itself, or in a text that quotes it


@dataclass(frozen=True)
class PublishedRow:
    """One method of a published table: its numbers as printed, by metric, and where they were read."""

    method: str
    numbers: dict[str, str]
    source: str
    read: str  # one of READ


class Benchmark:
    """What a protocol of ``configs/evaluation/protocol`` states. Without ``dataset`` it holds for any set.

    Raises ValueError for an unknown convention of FID, and for rows that do not fit the metrics.
    """

    def __init__(
        self,
        name: str,
        fid: str,  # a name of evaluation.protocol.PROTOCOLS: resizing and covariance
        metrics: list[str] | str,  # names, also of metrics that this version lacks; a preset only without dataset
        min_images: int = 100,  # metrics of whole sets, such as FID, need so many images
        truth: str | None = None,  # the end of the names of clean plates
        dilate: int = 0,  # pixels by which holes grow after they are read
        dataset: str | None = None,  # its name; None = any set
        origin: str | None = None,  # where it is published, in words
        layout: str | None = None,  # the word for ``lama prepare``; None = its published form could not be read
        images: int | None = None,  # None = not stated in the sources
        size: list[int] | None = None,  # height and width in pixels; None = not stated, or several
        resize: str | None = None,  # in words, as the rest
        masks: str | None = None,
        aggregation: str | None = None,
        sha256: str | None = None,  # of the prepared set, as ``lama evaluate`` records it; None = not known
        labels: dict[str, str] | None = None,  # of metrics that this version lacks, such as {aesthetic: Aesthetic ↑}
        versions: dict[str, str] | None = None,  # metric -> network and code of the published numbers
        differences: dict[str, str] | None = None,  # metric -> in what ours is known to differ
        unstated: list[str] | None = None,  # what the sources leave open
        published: list[dict[str, Any]] | None = None,  # {source, read, rows: {METHOD: "NUMBER / NUMBER"}}
    ) -> None:
        find_protocol(fid)
        self.name, self.fid, self.min_images, self.truth, self.dilate = name, fid, min_images, truth, dilate
        self.metrics = metrics if isinstance(metrics, str) else list(metrics)
        self.dataset, self.origin, self.layout, self.images, self.size = dataset, origin, layout, images, size
        self.resize, self.masks, self.aggregation, self.sha256 = resize, masks, aggregation, sha256
        self.labels, self.versions, self.differences = labels or {}, versions or {}, differences or {}
        self.unstated = list(unstated or ())
        self.rows = [row for group in published or () for row in self._rows(**group)]
        if dataset is not None and isinstance(self.metrics, str):
            raise ValueError(f"protocol {name}: metrics={metrics}: expected a list of names beside dataset=")
        stray = [m for m in {**self.labels, **self.versions, **self.differences} if m not in self.metrics]
        if stray:
            raise ValueError(f"protocol {name}: {stray[0]} is none of its metrics, {', '.join(self.metrics)}")
        known = [metric for metric in self.labels if metric in METRICS]
        if known:
            raise ValueError(f"protocol {name}: labels: {known[0]} has a label already, {METRICS[known[0]].label}")

    def _rows(self, source: str, read: Literal["source", "quoted"], rows: Mapping[str, str]) -> Iterable[PublishedRow]:
        if read not in READ:
            raise ValueError(f"protocol {self.name}: read={read}: expected {' or '.join(READ)}")
        for method, cells in rows.items():
            texts = str(cells).split(" / ")
            if len(texts) != len(self.metrics) or isinstance(self.metrics, str):
                expected = f"expected {len(self.metrics)} numbers with ' / ' between them"
                raise ValueError(f"protocol {self.name}: {method}: {expected}, got {cells}")
            numbers = {m: text for m, text in zip(self.metrics, texts, strict=True) if text != "-"}
            for metric, text in numbers.items():
                if not _is_number(text):
                    raise ValueError(f"protocol {self.name}: {method}, {metric}: expected a number or -, got {text}")
            yield PublishedRow(str(method), numbers, source, read)

    def available(self, metrics: Sequence[str] | str) -> list[str] | str:
        """``metrics`` as the user chose them; if they are the protocol's, the ones that this version has.

        Raises ValueError if it has none of them.
        """
        if self.dataset is None or isinstance(metrics, str) or list(metrics) != self.metrics:
            return metrics if isinstance(metrics, str) else list(metrics)
        here = [metric for metric in metrics if metric in METRICS]
        if not here:
            raise ValueError(f"protocol={self.name}: this version has none of its metrics, {', '.join(metrics)}")
        return here

    def not_followed(self, pairs: Any, evaluator: Any) -> list[str]:
        """A line, also logged, for each part of the protocol that an evaluation does not follow.

        ``pairs`` is the set (``lama.data.PairFolder``), ``evaluator`` measures it.
        """
        if self.dataset is None:
            return []
        about = {"images": len(pairs), "sizes": [size[::-1] for size in pairs.sizes], "truth": pairs.truth}
        about |= {"masks": pairs.masks.options(), "protocol": {"name": evaluator.protocol.name}}
        lines = self.unlike({**about, "evaluation_set": pairs.hashes() if self.sha256 else []})
        lines += [f"{metric}: {why}" for metric in self.metrics if (why := self._why_not(metric, evaluator))]
        lines += [f"{m}: {text}" for m, text in self.differences.items() if m in evaluator.metrics]
        lines += [f"not stated in the sources: {point}" for point in self.unstated]
        for line in lines:
            logger.warning("protocol %s: %s", self.name, line)
        return lines

    def _why_not(self, metric: str, evaluator: Any) -> str | None:
        if metric not in METRICS:
            return "not available in this version"
        return evaluator.unavailable.get(metric) or (None if metric in evaluator.metrics else "not measured")

    def unlike(self, about: Mapping[str, Any]) -> list[str]:
        """A line for each condition in which an evaluation, as ``metrics.json`` describes it, is not the protocol's."""
        lines = []
        if about["images"] != self.images:
            published = "number not stated" if self.images is None else f"published: {self.images}"
            lines.append(f"{about['images']} images ({published})")
        sizes = {(int(height), int(width)) for height, width in about["sizes"]}
        if self.size is not None and sizes != {tuple(self.size)}:
            lines.append(f"images of {_in_words(sizes)} pixels (published: {_in_words([tuple(self.size)])})")
        if about.get("truth") != self.truth:
            lines.append(f"truth={_typed(about.get('truth'))} (protocol: {_typed(self.truth)})")
        expected = {"dilate": self.dilate} if self.dilate else {}
        if (about.get("masks") or {}) != expected:
            lines.append(f"masks read with {about.get('masks') or 'no options'} (protocol: {expected or 'none'})")
        if about["protocol"]["name"] != self.fid:
            lines.append(f"FID as in {about['protocol']['name']} (protocol: {self.fid})")
        if self.sha256 is None:
            lines.append("no hash of the published files is known: the set was not compared with them")
        elif about["evaluation_set"] != [self.sha256]:
            found = ", ".join(one[:12] for one in about["evaluation_set"])
            lines.append(f"another set: its sha256 is {found} (protocol: {self.sha256[:12]})")
        return lines

    def label(self, metric: str) -> str | None:
        """The heading of a metric that this version lacks; None if it has it."""
        return None if metric in METRICS else self.labels.get(metric, metric)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _in_words(sizes: Iterable[tuple[int, ...]]) -> str:
    """``1024 x 512``, width first; or ``several sizes``."""
    texts = [f"{width} x {height}" for height, width in sizes]
    return texts[0] if len(texts) == 1 else f"{len(texts)} sizes, such as {min(texts)},"


def _typed(value: Any) -> str:
    return "null" if value is None else str(value)
