#!/usr/bin/env python3
"""A GIMP 3 plug-in: Filters > Enhance > Remove selection (LaMa). docs/bridges.md installs it.

It runs in GIMP's Python, without torch: the visible picture and the selection are written as PNG, ``lama predict``
computes, and the result becomes a layer above, with the selection as its mask. The picture itself is not changed.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gimp", "3.0")
from gi.repository import Gimp, Gio, GLib  # noqa: E402  (needs the version first)

COMMAND = "lama"  # the program, or its path: GIMP may not see the PATH of a terminal
NAME = "lama-remove"


def compute(folder: Path) -> Path:
    """Fill the hole ``mask.png`` of ``photo.png``. Raises RuntimeError, in one line, if the program does not run."""
    out = folder / "result.png"
    files = {"image": folder / "photo.png", "mask": folder / "mask.png", "out": out}
    command = [COMMAND, "predict", *(f"{key}={path}" for key, path in files.items())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise RuntimeError(f"{COMMAND}: cannot be started ({error.strerror}); set COMMAND in {__file__}") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(f"lama predict: {lines[-1]}")
    return out


def write(image: Any, folder: Path) -> None:
    """The visible picture as ``photo.png``, the selection as ``mask.png``, white inside. Raises RuntimeError."""
    if Gimp.Selection.is_empty(image):
        raise RuntimeError("nothing is selected: select the object, with some pixels around it")
    copy = image.duplicate()
    try:
        layer = copy.flatten()
        save(copy, folder / "photo.png")
        layer.fill(Gimp.FillType.WHITE)
        Gimp.Selection.invert(copy)
        if Gimp.Selection.is_empty(copy):
            raise RuntimeError("the whole picture is selected: LaMa fills a hole from the pixels around it")
        layer.invert(False)  # outside only
        save(copy, folder / "mask.png")
    finally:
        copy.delete()


def save(image: Any, path: Path) -> None:
    """Write a PNG, without a dialogue. Raises RuntimeError."""
    if not Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(str(path)), None):
        raise RuntimeError(f"{path}: GIMP cannot write it")


def show(image: Any, result: Path) -> None:
    """The result as a layer on top, visible inside the selection, in one step of undo."""
    image.undo_group_start()
    try:
        layer = Gimp.file_load_layer(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(str(result)))
        layer.set_name("LaMa")
        image.insert_layer(layer, None, 0)
        layer.add_alpha()
        layer.add_mask(layer.create_mask(Gimp.AddMaskType.SELECTION))
    finally:
        image.undo_group_end()
    Gimp.displays_flush()


def remove(procedure: Any, run_mode: Any, image: Any, drawables: Any, config: Any, data: Any) -> Any:
    """GIMP calls this; an error becomes its message."""
    Gimp.progress_init("Removing the selection")
    try:
        with tempfile.TemporaryDirectory() as name:
            write(image, Path(name))
            show(image, compute(Path(name)))
    except RuntimeError as error:
        return procedure.new_return_values(Gimp.PDBStatusType.EXECUTION_ERROR, GLib.Error(str(error)))
    return procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, GLib.Error())


class LamaRemove(Gimp.PlugIn):  # type: ignore[misc]
    """Registers the procedure."""

    def do_set_i18n(self, name: str) -> bool:
        return False

    def do_query_procedures(self) -> list[str]:
        return [NAME]

    def do_create_procedure(self, name: str) -> Any:
        procedure = Gimp.ImageProcedure.new(self, name, Gimp.PDBProcType.PLUGIN, remove, None)
        procedure.set_image_types("RGB*, GRAY*")
        procedure.set_menu_label("Remove selection (LaMa)")
        procedure.add_menu_path("<Image>/Filters/Enhance")
        procedure.set_documentation("Fill the selection from the picture around it", None, name)
        procedure.set_attribution("lama", "Apache-2.0", "2026")
        return procedure


if __name__ == "__main__":
    Gimp.main(LamaRemove.__gtype__, sys.argv)
