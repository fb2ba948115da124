"""Bring a published test set into our layout: name.png, name_mask.png and, with a clean plate, name_gt.png.

lama prepare removalbench RemovalBench sets/removalbench          # images/, masks/, gt/
lama prepare smarteraser val_rord.zip sets/rord                   # paste/, mask/, gt/; val_defacto too
lama prepare ober-test test-00000-of-00001.parquet sets/ober      # or ober-wild, rord-343; --effects
lama prepare mat PLACES sets/places-large                         # images/, masks/ in the same order; black = hole
lama prepare brushbench BrushBench sets/brushbench                # mapping_file.json and images/
lama prepare ffhq ffhq-dataset sets/ffhq-images                   # images1024x1024/; 60000 to 69999 at 256 x 256

If it is interrupted, the same command continues.
"""

from pathlib import Path

from lama.verbs import parser, spelled


def main(arguments: list[str]) -> None:
    expected = parser("prepare", str(__doc__))
    expected.add_argument(
        "layout", help="removalbench, smarteraser, mat, brushbench, ffhq, ober-test, ober-wild, rord-343"
    )
    expected.add_argument("source", type=Path, help="the published folder or file")
    expected.add_argument("out", type=Path)
    expected.add_argument("--effects", action="store_true", help="masks of the object with its shadow and reflection")
    a = expected.parse_args(arguments)
    from lama.data.layouts import prepare_layout

    print(spelled("\n".join(prepare_layout(a.layout, a.source, a.out, a.effects))))
