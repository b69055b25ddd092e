"""What vlm2vec writes, read by the tools of others: JSON lines by `datasets` and pyarrow, vectors by NumPy.
python tests/interop/written.py DATA SCORES   needs datasets, pyarrow and numpy
DATA: what `vlm2vec data mini` wrote; SCORES: what `vlm2vec eval` wrote. Exit code 1 if something is read differently."""
import json
import pathlib
import sys
import tempfile

import datasets
import numpy
import pyarrow.json

data, scores = map(pathlib.Path, sys.argv[1:3])
cache = tempfile.mkdtemp()
datasets.disable_progress_bars()
different = compared = 0
for file in sorted(data.glob("MMEB-*/*/*.jsonl")) + sorted(scores.glob("*_pred.jsonl")):
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    by_datasets = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=cache)
    by_arrow = pyarrow.json.read_json(file).to_pylist()
    compared += 1
    if list(by_datasets) != rows or by_arrow != rows:
        different += 1
        print(f"{file}: read differently")
for file in sorted(scores.glob("*.npy")):
    vectors = numpy.load(file)
    ids = file.with_name(file.stem + "_ids.jsonl").read_text().splitlines()
    compared += 1
    if vectors.dtype != numpy.float32 or len(vectors) != len(ids) or abs(numpy.linalg.norm(vectors, axis=1) - 1).max() > 1e-5:
        different += 1
        print(f"{file}: {vectors.dtype} {vectors.shape} for {len(ids)} ids")
print(f"{compared} files, {different} read differently")
sys.exit(different > 0)
