"""A hole in a large photograph: lama-small at 256 pixels with detail, compared with the whole image without."""

import argparse
import json
import subprocess
import sys

import torch
from tqdm import tqdm

from lama.verbs import typed

WORKER = """
import json, sys, time
import numpy as np, torch
import lama
from lama.machine.memory import peak_memory
from lama.pictures.images import list_images, read_image
folder, megapixels, percent, threads, options = sys.argv[1], *map(float, sys.argv[2:5]), json.loads(sys.argv[5])
torch.set_num_threads(int(threads))
height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
width = height * 4 // 3
photos = [read_image(path) for path in list_images(folder)]
least = min(min(photo.shape[:2]) for photo in photos)
columns = -(-width // least)
cells = [photos[i % len(photos)][:least, :least] for i in range(columns * -(-height // least))]
rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
image = np.ascontiguousarray(np.vstack(rows)[:height, :width])
del photos, cells, rows
y, x = np.ogrid[:height, :width]
size = (percent / 100 / np.pi) ** 0.5  # an ellipse of the image's shape
hole = ((y - height / 2) / (height * size)) ** 2 + ((x - width / 2) / (width * size)) ** 2 < 1
inpainter = lama.load("small", "cpu", **options)
inpainter(image[:256, :256], np.pad(np.ones((64, 64), bool), 96))
start, used = time.perf_counter(), time.process_time()
inpainter(image, hole)
seconds = {"seconds": time.perf_counter() - start, "processor": time.process_time() - used}
print(json.dumps(seconds | {"peak": peak_memory(torch.device("cpu"))}))
"""


def bench_detail(*arguments: str) -> list[str]:
    """Seconds and memory, a line for each size and hole. Raises ValueError if a process fails."""
    parser = argparse.ArgumentParser(f"{typed('bench')} detail", description=__doc__)
    parser.add_argument("images", help="folder of photographs, of which squares are put together to a large one")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[12, 24])
    parser.add_argument("--holes", type=float, nargs="+", default=[1, 4, 9], help="per cent of the image")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--whole", action="store_true", help="also the network at full size, with the first hole")
    options = parser.parse_args(arguments)
    if min(options.megapixels) < 0.1 or not 0 < min(options.holes) <= max(options.holes) <= 70 or options.threads < 1:
        raise ValueError("bench detail: expected --megapixels >= 0.1, --holes from 0 to 70 and --threads >= 1")
    ways = [("detail=on", hole, {"detail": "on"}) for hole in options.holes]
    if options.whole:
        ways.append(("detail=off strategy=full", options.holes[0], {"detail": "off", "strategy": "full"}))
    lines = [f"lama-small, {options.threads} threads, torch {torch.__version__}"]
    for size, (name, hole, settings) in tqdm([(s, way) for s in options.megapixels for way in ways], desc="detail"):
        given = [options.images, *map(str, (size, hole, options.threads)), json.dumps(settings)]
        done = subprocess.run([sys.executable, "-c", WORKER, *given], capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"bench detail, {name}: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
        run = json.loads(done.stdout.splitlines()[-1])
        times = f"{run['seconds']:7.1f} s, {run['processor']:7.1f} s of processors"
        lines.append(f"{size:4g} MP, hole of {hole:g} %, {name}: {times}, peak {run['peak'] / 1e9:.2f} GB")
    return lines
