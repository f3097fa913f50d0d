"""Read the text of image files with RapidOCR. Knows nothing of any NPU.

    python read_pages.py --models FOLDER --passes 3 page.png ... > pages.json

With --models, the three networks come from that folder, otherwise from RapidOCR itself. Every pass
reads all pages; the last one is printed: per file the boxes (four corners each) and their text.
"""

import argparse
import json
import sys
from pathlib import Path

from rapidocr_onnxruntime import RapidOCR

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--models", type=Path)
parser.add_argument("--passes", type=int, default=1)
parser.add_argument("pages", nargs="+", type=Path)
arguments = parser.parse_args()

models = {}
if arguments.models:
    models = {
        f"{part}_model_path": arguments.models / f"{part}.onnx" for part in ("det", "cls", "rec")
    }
engine = RapidOCR(**models)
found = {}
for _ in range(arguments.passes):
    for page in arguments.pages:
        lines, _ = engine(page)
        found[page.name] = [{"box": box, "text": text} for box, text, _ in lines or []]
json.dump(found, sys.stdout)
