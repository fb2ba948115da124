"""Make a frozen evaluation set: square crops with masks, the same bytes for the same seed on any machine.

lama masks random_thick_256 IMAGES OUT --ext jpg --n-jobs 4
lama masks segm_256 IMAGES OUT --labels LABEL_MAPS

If it is interrupted, the same command continues.
"""

from lama.config import build, load_data_gen
from lama.verbs import parser


def main(arguments: list[str]) -> None:
    expected = parser("masks", str(__doc__))
    expected.add_argument("config", help="a YAML file, or the name of one in configs/data_gen")
    expected.add_argument("indir", help="images, sub-folders included")
    expected.add_argument("outdir", help="gets NAME_crop000.png, NAME_crop000_mask000.png and manifest.json")
    expected.add_argument("--ext", help="use only images with this suffix")
    expected.add_argument("--n-jobs", type=int, default=0, help="number of processes")
    expected.add_argument("--seed", type=int, default=0)
    expected.add_argument("--white", type=int, help="the value of 16-bit images that becomes white: 4095 for 12 bits")
    expected.add_argument("--labels", help="folder of label maps, for masks in the shape of objects")
    options = expected.parse_args(arguments)
    settings = load_data_gen(options.config, options.seed, options.labels)
    from lama.data.mask_dataset import generate

    dataset = build(settings, options.config)
    result = generate(dataset, settings, options.indir, options.outdir, options.ext, options.n_jobs, options.white)
    where = f"{len(result.files) // 2} pairs in {options.outdir}, manifest.json {result.hash[:12]}"
    print(f"{where}; {len(result.refused)} images refused")
    for name, reason in list(result.refused.items())[:20]:
        print(f"  refused {name}: {reason}")
