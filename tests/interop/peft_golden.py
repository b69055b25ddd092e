"""Makes tests/golden/peft: adapters as PEFT saves them, with its choice of layers and the embeddings they give.

    python tests/interop/peft_golden.py tests/golden

Each folder has adapter_config.json, adapter_model.safetensors and expected.json: the adapted modules by the names of
transformers, and the embeddings of prompts on qwen2_vl/tiny. Needs torch, transformers (5.3 or later), peft and pillow.
"""
import json
import pathlib
import sys

import peft
from reference import Reference
from transformers import AutoModel, Qwen2VLForConditionalGeneration

golden = pathlib.Path(sys.argv[1])
TINY = golden / "qwen2_vl/tiny"
cases = json.loads((golden / "qwen2_vl/cases.json").read_text())["tiny"]
PICTURE = min((case for case in cases if case.get("images")), key=lambda case: case["tokens"])["images"][0]
PROMPTS = [{"text": "Find a similar picture."}, {"text": "<|image_pad|> Represent it.", "image": PICTURE}]
CASES = {
    "exclude_names": dict(r=1, lora_alpha=4, target_modules=["q_proj", "v_proj", "down_proj", "fc1"],
                          exclude_modules=["layers.0.self_attn.q_proj", "fc1"],
                          rank_pattern={"layers.1.mlp.down_proj": 2, "layers.9.mlp.down_proj": 3},
                          alpha_pattern={r"model\.language_model\..*v_proj": 9}),
    "exclude_expression": dict(r=1, lora_alpha=4, target_modules="all-linear", exclude_modules=r".*visual.*|.*\.mlp\..*"),
    "numbered_layers": dict(r=1, lora_alpha=4, target_modules=["q_proj", "qkv", "down_proj"], layers_to_transform=[1],
                            layers_pattern="layers"),
    "any_numbered_layers": dict(r=1, lora_alpha=4, target_modules=["o_proj", "proj", "fc2"], layers_to_transform=0,
                                use_dora=True),
    "full_paths": dict(r=4, lora_alpha=4, use_rslora=True, alpha_pattern={r"^model\.visual\..*": 2},
                       target_modules=["model.language_model.layers.0.self_attn.q_proj",
                                       "model.visual.blocks.1.attn.qkv"]),
    "expression": dict(r=1, lora_alpha=4, target_modules=r"model\.language_model\.layers\.\d+\.self_attn\.(?P<which>q|v)_proj"
                       r"|model\.visual\.blocks\.0\.mlp\.fc1"),
    "automodel": dict(r=1, lora_alpha=4, target_modules="all-linear"),
}

for name, config in CASES.items():
    reference = Reference(TINY, model_class=AutoModel if name == "automodel" else Qwen2VLForConditionalGeneration)
    reference.adapt(peft.LoraConfig(**config), std=0.1, seed=3)
    folder = golden / "peft" / name
    reference.model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    stored = json.loads((folder / "adapter_config.json").read_text())
    stored["base_model_name_or_path"] = "tiny"
    if isinstance(stored["target_modules"], list): stored["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(stored, indent=1) + "\n")
    modules = [n for n, m in reference.model.base_model.model.named_modules() if hasattr(m, "lora_A")]
    vectors = reference.embed_rows(PROMPTS, golden / "qwen2_vl/images")
    rows = [{**prompt, "embedding": [float(f"{x:.8g}") for x in vector]} for prompt, vector in zip(PROMPTS, vectors)]
    (folder / "expected.json").write_text(json.dumps({"modules": modules, "rows": rows}) + "\n")
    print(name, len(modules), "modules")
