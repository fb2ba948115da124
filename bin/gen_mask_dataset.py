"""Make a frozen evaluation set: square crops with masks, the same bytes for the same seed on any machine.

python bin/gen_mask_dataset.py configs/data_gen/random_thick_256.yaml IMAGES OUT --ext jpg --n-jobs 4
python bin/gen_mask_dataset.py segm_256 IMAGES OUT --labels LABEL_MAPS
"""

import argparse

from lama.config import build, load_data_gen, one_liner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a YAML, or the name of one in configs/data_gen")
    parser.add_argument("indir", help="images, sub-folders included")
    parser.add_argument("outdir", help="NAME_crop000.png, NAME_crop000_mask000.png and manifest.json")
    parser.add_argument("--ext", help="only images of this suffix")
    parser.add_argument("--n-jobs", type=int, default=0, help="processes to share the work")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--labels", help="label maps, for masks in the shape of objects")
    arguments = parser.parse_args()
    settings = load_data_gen(arguments.config, arguments.seed, arguments.labels)
    from lama.data.mask_dataset import generate

    dataset = build(settings, arguments.config)
    result = generate(dataset, settings, arguments.indir, arguments.outdir, arguments.ext, arguments.n_jobs)
    pairs = len(result.files) // 2
    print(
        f"{pairs} pairs in {arguments.outdir}, manifest.json {result.hash[:12]}; {len(result.refused)} images refused"
    )
    for name, reason in list(result.refused.items())[:20]:
        print(f"  refused {name}: {reason}")


if __name__ == "__main__":
    one_liner(main)
