#!/bin/sh
# A Qwen2-VL processor that transformers 5.23.0 saves into a folder of transformers 4.52.3 leaves the old
# preprocessor_config.json beside its own processor_config.json. If the bounds of a picture's size differ, 4.52.3 then
# reads the old ones and 5.23.0 the new ones: one folder, one picture, two grids, no word.
# Exit 0: seen again; 1: changed. Needs Python 3.10 to 3.12 and PyPI.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/processor.py" <<'PY'
import sys
import numpy, transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoImageProcessor, AutoProcessor, Qwen2TokenizerFast, Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

step, folder = sys.argv[1:]
if step == "make":
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, [])).save(f"{folder}/bare.json")
    tokenizer = Qwen2TokenizerFast(tokenizer_file=f"{folder}/bare.json")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|image_pad|>", "<|video_pad|>"]})
    images = Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112)
    Qwen2VLProcessor(images, tokenizer, Qwen2VLVideoProcessor()).save_pretrained(folder)
if step == "save":
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor.size = {"shortest_edge": 56 * 56, "longest_edge": 448 * 448}
    processor.save_pretrained(folder)
picture = Image.fromarray(numpy.full((448, 448, 3), 128, dtype=numpy.uint8))
images = AutoImageProcessor.from_pretrained(folder)
grid = images(images=[picture], return_tensors="pt")["image_grid_thw"].tolist()
print(f"{step:5} transformers {transformers.__version__}: grid of a picture of 448 x 448", grid)
open(f"{folder}/../{step}.txt", "w").write(str(grid))
PY
for version in 4.52.3 5.23.0; do
    python3 -m venv "$work/$version"
    "$work/$version/bin/pip" install -q torch==2.7.1 torchvision==0.22.1 "transformers==$version"
done
mkdir "$work/folder"
"$work/4.52.3/bin/python" "$work/processor.py" make "$work/folder"
"$work/5.23.0/bin/python" "$work/processor.py" save "$work/folder"
"$work/4.52.3/bin/python" "$work/processor.py" read "$work/folder"
ls "$work/folder"
test "$(cat "$work/save.txt")" = "[[1, 32, 32]]"
test "$(cat "$work/read.txt")" = "[[1, 8, 8]]"
