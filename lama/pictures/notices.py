"""Notices about many images: each kind is logged once and counted."""

import logging

logger = logging.getLogger(__name__)


class Notices:
    """Collects notices about images: with ``log`` the first of each kind is logged at once; all are counted."""

    def __init__(self, log: bool = True) -> None:
        self.log = log
        self.names: dict[str, list[str]] = {}

    def add(self, kind: str, name: str) -> None:
        """Add the notice ``kind`` (the text without the name of the image) about the image ``name``."""
        names = self.names.setdefault(kind, [])
        if self.log and not names:
            logger.warning("%s: %s", name, kind)
        names.append(name)

    def counted(self) -> list[str]:
        """One line for each kind with more than one image."""
        return [f"{len(names)} images, first {names[0]}: {k}" for k, names in self.names.items() if len(names) > 1]
