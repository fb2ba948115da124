"""Metadata of an image file: EXIF, colour profile, resolution, XMP, text chunks of a PNG."""

import contextlib
import struct
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo, iTXt

ORIENTATION = 0x0112
JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
JPEG_SEGMENT = 65000  # bytes of EXIF or XMP that a JPEG segment holds, roughly
# Tags of a TIFF that describe the photograph; the others describe the layout of that file.
DESCRIPTION = 270
TIFF_TAGS = (DESCRIPTION, 271, 272, ORIENTATION, 282, 283, 296, 305, 306, 315, 316, 33432, 34665, 34853)

SUB_IFDS = (34665, 34853)  # EXIF and GPS


@dataclass(frozen=True)
class Metadata:
    """Metadata of an upright image, independent of the file format; a field is empty if the file has none."""

    exif: Image.Exif | None = None  # orientation 1; without thumbnail, which would show the removed object
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    xmp: bytes | None = None
    text: dict[str, str] = field(default_factory=dict)  # text chunks of a PNG
    chunks: tuple[tuple[bytes, bytes], ...] = ()  # a PNG's gAMA, cHRM and sRGB

    @classmethod
    def of(cls, opened: Image.Image, upright: Image.Image, had_orientation: bool) -> "Metadata":
        """The metadata of ``opened``; ``upright`` is the same image turned. Damaged EXIF data are dropped."""
        xmp = upright.info.get("xmp")
        text = getattr(opened, "text", {})
        return cls(
            exif=_exif(opened, had_orientation),
            icc=upright.info.get("icc_profile") or None,
            dpi=upright.info.get("dpi"),
            xmp=xmp if isinstance(xmp, bytes) else None,
            text={k: v for k, v in text.items() if k != "XML:com.adobe.xmp" and not k.startswith("Raw profile type")},
            chunks=tuple(_colour_chunks(opened.info)) if opened.format == "PNG" else (),
        )

    def options(self, suffix: str) -> dict[str, Any]:
        """The arguments of ``Image.save`` that write as much of the metadata as the format of ``suffix`` holds."""
        options: dict[str, Any] = {"dpi": self.dpi} if self.dpi is not None else {}
        if suffix == ".bmp":
            return options
        if self.icc is not None:
            options["icc_profile"] = self.icc
        exif, xmp = self.exif, self.xmp
        if suffix in JPEG:
            exif = exif if exif is None or len(exif.tobytes()) < JPEG_SEGMENT else None
            xmp = xmp if xmp is None or len(xmp) < JPEG_SEGMENT else None
        if suffix in (".tif", ".tiff") and xmp is not None:
            exif, xmp = _copy(exif), None
            exif[700] = self.xmp
        if exif is not None:
            options["exif"] = exif
        if suffix == ".png":
            options["pnginfo"] = self._png_info()
        elif xmp is not None:
            options["xmp"] = xmp
        return options

    def _png_info(self) -> PngInfo:
        info = PngInfo()
        for name, content in self.chunks:
            info.add(name, content)
        for key, value in self.text.items():
            if isinstance(value, iTXt):
                info.add_itxt(key, value, value.lang or "", value.tkey or "")
            else:
                info.add_text(key, value)
        if self.xmp is not None:
            info.add_itxt("XML:com.adobe.xmp", self.xmp.decode("utf-8", "replace"))
        return info


def _exif(opened: Image.Image, had_orientation: bool) -> Image.Exif | None:
    """Writable EXIF data: orientation 1, without thumbnail (Pillow writes none) and without the layout of a TIFF."""
    try:
        exif = opened.getexif()
        if opened.format == "TIFF":
            exif = _copy(exif, TIFF_TAGS)
            if str(exif.get(DESCRIPTION, "")).startswith('{"shape":'):  # by tifffile; the result may have fewer bands
                del exif[DESCRIPTION]
        if had_orientation:
            exif[ORIENTATION] = 1
        exif.tobytes()
    except Exception:  # Pillow and struct raise many types for damaged EXIF data
        return None
    return exif if len(exif) else None


def _copy(exif: Image.Exif | None, tags: tuple[int, ...] | None = None) -> Image.Exif:
    copy = Image.Exif()
    for tag, value in {} if exif is None else exif.items():
        if tags is None or tag in tags:
            copy[tag] = exif.get_ifd(tag) if exif is not None and tag in SUB_IFDS else value
    loaded = Image.Exif()
    loaded.load(copy.tobytes())  # Pillow's TIFF writer needs sub-IFDs, which exist in loaded data only
    return loaded


def _colour_chunks(info: dict[Any, Any]) -> list[tuple[bytes, bytes]]:
    chunks = []
    with contextlib.suppress(struct.error, TypeError):
        if "gamma" in info:
            chunks.append((b"gAMA", struct.pack(">I", round(info["gamma"] * 100000))))
        if "chromaticity" in info:
            chunks.append((b"cHRM", struct.pack(">8I", *(round(x * 100000) for x in info["chromaticity"]))))
        if "srgb" in info:
            chunks.append((b"sRGB", bytes([info["srgb"]])))
    return chunks
