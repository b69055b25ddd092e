"""Dumps every stage of transformers' Qwen2-VL for `vlm2vec parity`.

    python tests/interop/dump.py MODEL_DIR CASES_DIR

CASES_DIR/cases.json lists [{"name", "text", "images": [file, ...]}], pictures relative to it, an <|image_pad|> in the text
for each; NAME.safetensors is written beside it. Needs torch, transformers (4.52 or later) and safetensors.
"""
import json, sys
from pathlib import Path
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration, Qwen2VLImageProcessor

model_dir, cases_dir = map(Path, sys.argv[1:])
model = Qwen2VLForConditionalGeneration.from_pretrained(model_dir, torch_dtype=torch.float32, attn_implementation="eager").eval()
tokenizer, processor = AutoTokenizer.from_pretrained(model_dir), Qwen2VLImageProcessor.from_pretrained(model_dir)
text, vision = model.model.language_model, model.model.visual
stages = {}

def keep(name):
    return lambda module, args, output: stages.update({name: output[0] if isinstance(output, tuple) else output})

for i, block in enumerate(vision.blocks): block.register_forward_hook(keep(f"vision_block_{i}"))
for i, layer in enumerate(text.layers): layer.register_forward_hook(keep(f"hidden_layer_{i}"))
vision.merger.register_forward_hook(keep("vision_merger"))
text.norm.register_forward_hook(keep("hidden_final"))
text.layers[0].register_forward_pre_hook(lambda module, args: stages.update(hidden_embed=args[0]))

if not hasattr(model.config, "vision_start_token_id"):
    model.config.vision_start_token_id = -1  # the program's own small models have no such token

for case in json.loads((cases_dir / "cases.json").read_text()):
    stages.clear()
    inputs, prompt = {}, case["text"]
    if case.get("images"):
        pictures = [Image.open(cases_dir / f).convert("RGB") for f in case["images"]]
        pictures = [p.resize((56, 56)) if min(p.size) < 28 else p for p in pictures]  # as VLM2Vec does
        inputs = dict(processor(pictures, return_tensors="pt"))
        for t, h, w in inputs["image_grid_thw"].tolist():  # each token becomes as many as its picture has merged patches
            prompt = prompt.replace("<|image_pad|>", "\0" * (t * h * w // processor.merge_size**2), 1)
        prompt = prompt.replace("\0", "<|image_pad|>")
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    mask = torch.ones_like(ids)
    positions, _ = model.model.get_rope_index(ids, inputs.get("image_grid_thw"), None, mask)
    with torch.no_grad():
        model(input_ids=ids, attention_mask=mask, position_ids=positions, **inputs)
    embedding = torch.nn.functional.normalize(stages["hidden_final"][0, -1], dim=0)
    dump = {k: v.squeeze(0) for k, v in stages.items()} | {"input_ids": ids[0], "position_ids": positions[:, 0], "embedding": embedding} | inputs
    save_file({k: v.contiguous().clone() for k, v in dump.items()}, cases_dir / f"{case['name']}.safetensors")
    print(case["name"], sorted(dump))
