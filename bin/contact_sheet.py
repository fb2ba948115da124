"""See what masks and augmentations do, and how files of masks are read, as an image.

python bin/contact_sheet.py masks masks.jpg                          # every kind that needs no files
python bin/contact_sheet.py masks objects.jpg objects masks.path=LABEL_MAPS
python bin/contact_sheet.py augment augment.jpg [NAME ...]
python bin/contact_sheet.py reading reading.jpg
"""

import sys
from pathlib import Path

from omegaconf import OmegaConf

from lama.config import CONFIGS, build, load_yaml, one_liner


def main() -> None:
    from lama.data import BuiltinPhotos
    from lama.data.sheets import augmentation_sheet, mask_sheet, reading_sheet
    from lama.pictures.images import SUFFIXES, write_image

    kind, out, *rest = [*sys.argv[1:], "", ""]
    if kind not in ("masks", "augment", "reading") or Path(out).suffix.lower() not in SUFFIXES:
        raise ValueError(
            "expected python bin/contact_sheet.py masks|augment|reading OUT.jpg [NAME ...] [KEY=VALUE ...]"
        )
    if kind == "reading":
        write_image(out, reading_sheet(BuiltinPhotos("train", 256)[0][1]))
        return
    names = [word for word in rest if word and "=" not in word]
    overrides = OmegaConf.from_dotlist([word for word in rest if "=" in word])
    folder = CONFIGS / "training" / kind
    parts = {}
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    odd = [name for name in names if name not in known]
    if odd:
        raise ValueError(f"{kind}: there is no {odd[0]}; known: {', '.join(known)}")
    for name in names or sorted(path.stem for path in folder.glob("*.yaml")):
        config = OmegaConf.create({kind: load_yaml(folder / f"{name}.yaml"), "recipe": {"one_more_stroke": True}})
        for base in config[kind].pop("defaults", [])[:-1]:
            config[kind] = OmegaConf.merge(load_yaml(folder / f"{base}.yaml"), config[kind])
        config = OmegaConf.merge(config, overrides)
        needs_files = OmegaConf.is_missing(config[kind], "path")
        if config[kind]._target_.endswith("PairedMasks") or (needs_files and not names):
            continue
        parts[name] = build(config[kind], kind)
    if not parts:
        raise ValueError(f"{' '.join(names)}: belongs to its images and cannot be drawn alone")
    if kind == "augment":
        parts.pop("none", None)
        sheet = augmentation_sheet(parts, BuiltinPhotos("train", 512)[0][1])
    else:
        sizes = {name: next((s for s in (128, 512) if name.endswith(str(s))), 256) for name in parts}
        sheet = mask_sheet(parts, {name: BuiltinPhotos("train", size)[0][1] for name, size in sizes.items()})
    write_image(out, sheet)
    print(f"{len(parts)} rows in {out}: {', '.join(parts)}")


if __name__ == "__main__":
    one_liner(main)
