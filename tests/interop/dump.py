"""Dumps every stage of the official model of any family for `vlm2vec parity`.

    python tests/interop/dump.py MODEL_DIR CASES_DIR [1d|3d]

CASES_DIR/cases.json lists [{"name", "text", "images": [file, ...]}], pictures relative to it, an image token in the text
for each; NAME.safetensors is written beside it. 1d or 3d, of the Qwen families: positions of pictures without
<|vision_start|>; if not given, those of the installed version, which are 1-D up to transformers 5.2 and 3-D from 5.3
(--image_positions 3d in parity). Needs torch, transformers (4.52 to 5.x; Qwen3-VL: from 4.57) and safetensors; Phi-3.5-V
as families.py says.
"""
import json
import sys
from pathlib import Path

from safetensors.torch import save_file

from families import official, opened

model_dir, cases_dir = map(Path, sys.argv[1:3])
image_positions = sys.argv[3] if len(sys.argv) > 3 else None
reference = official(model_dir)
for case in json.loads((cases_dir / "cases.json").read_text()):
    stages = reference.stages(case["text"], opened(cases_dir, case.get("images", [])), image_positions)
    save_file({k: v.contiguous().clone() for k, v in stages.items()}, cases_dir / f"{case['name']}.safetensors")
    print(case["name"], sorted(stages))
