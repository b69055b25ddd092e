"""Dumps every stage of transformers' Qwen2-VL, Qwen2.5-VL or Qwen3-VL for `vlm2vec parity`.

    python tests/interop/dump.py MODEL_DIR CASES_DIR [1d|3d]

CASES_DIR/cases.json lists [{"name", "text", "images": [file, ...]}], pictures relative to it, an <|image_pad|> in the text
for each; NAME.safetensors is written beside it. 1d or 3d: positions of pictures without <|vision_start|>; if not given,
those of the installed version, which are 1-D up to transformers 5.2 and 3-D from 5.3 (--image_positions 3d in parity).
Needs torch, transformers (4.52 to 5.x; Qwen3-VL: from 4.57) and safetensors.
"""
import json, sys
from pathlib import Path
import torch
from PIL import Image
from safetensors.torch import save_file
from reference import Reference

model_dir, cases_dir = map(Path, sys.argv[1:3])
image_positions = sys.argv[3] if len(sys.argv) > 3 else None
reference = Reference(model_dir)
model = reference.core()
text, vision = model.language_model, model.visual
stages = {}

def keep(name):  # a copy: deepstack adds to a layer's output in place
    return lambda module, args, output: stages.update({name: (output[0] if isinstance(output, tuple) else output).clone()})

def keep_positions(module, args, kwargs):
    positions = kwargs.get("position_ids")  # none for text alone in some versions: it just counts
    count = torch.arange(kwargs["inputs_embeds"].shape[1])
    stages["position_ids"] = count.expand(3, -1) if positions is None else positions[-3:, 0]

for i, block in enumerate(vision.blocks): block.register_forward_hook(keep(f"vision_block_{i}"))
for i, layer in enumerate(text.layers): layer.register_forward_hook(keep(f"hidden_layer_{i}"))
vision.merger.register_forward_hook(keep("vision_merger"))
text.norm.register_forward_hook(keep("hidden_final"))
after = [*text.layers[1:], text.norm]
for i, merger in enumerate(getattr(vision, "deepstack_merger_list", [])):
    merger.register_forward_hook(keep(f"deepstack_{i}"))
    after[i].register_forward_pre_hook(lambda module, args, i=i: stages.update({f"hidden_deepstack_{i}": args[0].clone()}))
text.layers[0].register_forward_pre_hook(lambda module, args: stages.update(hidden_embed=args[0]))
text.register_forward_pre_hook(keep_positions, with_kwargs=True)

if not hasattr(reference.model.config, "vision_start_token_id"):
    reference.model.config.vision_start_token_id = -1  # the program's own small models have no such token

for case in json.loads((cases_dir / "cases.json").read_text()):
    stages.clear()
    pictures = [Image.open(cases_dir / f).convert("RGB") for f in case.get("images", [])]
    inputs = reference.inputs(case["text"], pictures, image_positions)
    model.rope_deltas = None  # kept from call to call in some versions
    with torch.no_grad():
        model(**inputs)
    if not pictures:
        for k in [k for k in stages if "deepstack" in k]: del stages[k]
    dump = {k: v.squeeze(0) if v.dim() > 2 else v for k, v in stages.items()}
    dump |= {"input_ids": inputs["input_ids"][0],
             "embedding": torch.nn.functional.normalize(stages["hidden_final"][0, -1], dim=0)}
    dump |= {k: inputs[k] for k in ("pixel_values", "image_grid_thw") if k in inputs}
    save_file({k: v.contiguous().clone() for k, v in dump.items()}, cases_dir / f"{case['name']}.safetensors")
    print(case["name"], sorted(dump))
