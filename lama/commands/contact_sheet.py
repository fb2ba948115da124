"""Draw masks, augmentations, or the ways to read a mask file, as one image.

lama contact-sheet masks masks.jpg                          # every kind that needs no files
lama contact-sheet masks objects.jpg objects masks.path=LABEL_MAPS
lama contact-sheet augment augment.jpg [NAME ...]
lama contact-sheet reading reading.jpg
"""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lama.config import CONFIGS, build, load_yaml
from lama.verbs import spelled, typed


def main(arguments: list[str]) -> None:
    if {"--help", "-h"} & set(arguments):
        print(spelled(str(__doc__)))
        return
    from lama.data import BuiltinPhotos
    from lama.data.sheets import augmentation_sheet, mask_sheet, reading_sheet
    from lama.files import check_writable
    from lama.pictures.images import SUFFIXES, write_image

    kind, out, *rest = [*arguments, "", ""]
    if kind not in ("masks", "augment", "reading") or Path(out).suffix.lower() not in SUFFIXES:
        raise ValueError(f"expected {typed('contact-sheet')} masks|augment|reading OUT.jpg [NAME ...] [KEY=VALUE ...]")
    check_writable(Path(out).parent, "OUT", Path(out))
    if kind == "reading":
        write_image(out, reading_sheet(BuiltinPhotos("train", 256)[0][1]))
        return
    parts = _build_all(kind, rest)
    if kind == "augment":
        sheet = augmentation_sheet(parts, BuiltinPhotos("train", 512)[0][1])
    else:
        sizes = {name: next((s for s in (128, 512) if name.endswith(str(s))), 256) for name in parts}
        sheet = mask_sheet(parts, {name: BuiltinPhotos("train", size)[0][1] for name, size in sizes.items()})
    write_image(out, sheet)
    print(f"{len(parts)} rows in {out}: {', '.join(parts)}")


def _build_all(kind: str, words: list[str]) -> dict[str, Any]:
    """Every configuration of ``configs/training/KIND`` that ``words`` name, or that needs no files."""
    files = {path.stem: path for path in sorted((CONFIGS / "training" / kind).glob("*.yaml"))}
    parts, names = {}, [word for word in words if word and "=" not in word]
    for name in names or [one for one in files if one != "none"]:
        if name not in files:
            raise ValueError(f"{kind}: there is no {name}; known: {', '.join(files)}")
        config: Any = OmegaConf.create({kind: load_yaml(files[name]), "recipe": {"one_more_stroke": True}})
        for base in config[kind].pop("defaults", [])[:-1]:
            config[kind] = OmegaConf.merge(load_yaml(files[base]), config[kind])
        config = OmegaConf.merge(config, OmegaConf.from_dotlist([word for word in words if "=" in word]))
        one = config[kind]
        if not one._target_.endswith("PairedMasks") and (names or not OmegaConf.is_missing(one, "path")):
            parts[name] = build(one, kind)
    if not parts:
        raise ValueError(f"{' '.join(names)}: belongs to its images and cannot be drawn alone")
    return parts
