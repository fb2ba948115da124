"""A process as the kernel sees it: memory, open files, bytes sent to a disk, and files in two folders."""

import os
import re
import threading
import time
from pathlib import Path

STEP = 0.25  # seconds between two looks


def resident(pid, key="VmRSS"):
    """Bytes of memory that the process holds; ``VmHWM``: the most that it ever held."""
    return int(re.search(rf"{key}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


def open_files(pid):
    """Targets of the open descriptors: paths of files, or names such as ``socket:[7]``."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(link))
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


def written(pid):
    """Bytes that the process has sent towards a disk."""
    return int(re.search(r"^write_bytes: (\d+)", Path(f"/proc/{pid}/io").read_text(), re.MULTILINE)[1])


class Watch:
    """Looks every quarter of a second, in a thread, until it is left (``with``)."""

    def __init__(self, pid, folders):
        self.pid, self.folders = pid, folders
        self.seconds, self.memory, self.files = [], [], []
        self.left_behind = set()  # files seen in the folders, or open below them
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._begun = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(STEP):
            try:
                opened, memory = open_files(self.pid), resident(self.pid)
            except (FileNotFoundError, TypeError):  # the process has ended
                return
            self.seconds.append(time.monotonic() - self._begun)
            self.memory.append(memory)
            self.files.append(len(opened))
            names = [str(path) for folder in self.folders for path in folder.rglob("*")]
            self.left_behind |= {*names, *(name for name in opened if name.startswith(tuple(map(str, self.folders))))}
