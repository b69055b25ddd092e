#!/usr/bin/env python3
"""What this program writes, PEFT and transformers load, and give the same embeddings; and the other way round.

    tests/interop/adapters.py PROGRAM MODEL DATA WORK

trains LoRA and DoRA adapters on MODEL (a checkpoint with image tokens; training rows DATA/train.jsonl beside its pictures),
merges them, and embeds a few prompts, with and without a picture, by both programs. Prints the largest difference of an element
for each; fails above 5e-6. Needs torch, transformers (4.52 to 5.x), peft and pillow; without them it says so and does
nothing.
"""
import json
import pathlib
import subprocess
import sys

try:
    import numpy
    import peft
    import torch
    from families import official
except ImportError as error:
    print(f"not run: {error}")
    sys.exit(0)

program, model_dir, data, work = (pathlib.Path(argument).resolve() for argument in sys.argv[1:5])
work.mkdir(parents=True, exist_ok=True)
LIMIT = 5e-6


def run(*arguments):
    subprocess.run([program, *map(str, arguments), "--quiet"], check=True)


def rows():
    picture = next(r["qry_image_path"] for r in map(json.loads, open(data / "train.jsonl")) if r["qry_image_path"])
    return [{"text": "Find a picture of a red cat."}, {"text": "a"}, {"text": "Grüße, 世界! 12345\n"},
            {"text": f"{plain_reference.image} Represent the given image.", "image": str(data / picture)}]


def ours(model, adapter=None):
    (work / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    output = work / "ours.npy"
    run("embed", "--model_name", model, "--input", work / "rows.jsonl", "--output", output,
        *(["--adapter", adapter] if adapter else []))
    return numpy.load(output)


def theirs(reference):
    return reference.embed_rows(rows())


def with_adapter(adapter):
    reference = official(model_dir)
    reference.model = peft.PeftModel.from_pretrained(reference.model, adapter).eval()
    return reference


failed = False


def compare(name, a, b):
    global failed
    difference = float(numpy.abs(a - b).max())
    failed |= not difference <= LIMIT
    print(f"{name:40} {difference:.1e}{'' if difference <= LIMIT else '  too large'}")


plain_reference = official(model_dir)
plain = ours(model_dir)
compare("base", plain, theirs(plain_reference))
for kind, dora in ("LoRA", "False"), ("DoRA", "True"):
    adapter, merged = work / kind, work / f"{kind}-merged"
    run("train", "--model_name", model_dir, "--train_file", data / "train.jsonl", "--output_dir", adapter, "--lora",
        "True", "--use_dora", dora, "--per_device_train_batch_size", 4, "--max_steps", 4, "--learning_rate", "5e-3",
        "--lr_scheduler_type", "constant", "--resume_from", "auto")
    run("merge", "--model_name", model_dir, "--adapter", adapter, "--output_dir", merged)
    mine = ours(model_dir, adapter)
    print(f"{kind} moves the embeddings by {numpy.abs(mine - plain).max():.1e}")
    adapted = with_adapter(adapter)
    compare(f"{kind} adapter in PEFT", mine, theirs(adapted))
    compare(f"{kind} merged folder in transformers", ours(merged), theirs(official(merged)))
    saved = work / f"{kind}-saved-by-peft"
    adapted.model.save_pretrained(saved)
    compare(f"{kind} saved again by PEFT, read here", ours(model_dir, saved), mine)
    torch.save(peft.get_peft_model_state_dict(adapted.model), saved / "adapter_model.bin")
    (saved / "adapter_model.safetensors").unlink()
    compare(f"{kind} saved by torch.save, read here", ours(model_dir, saved), mine)

# Adapters that only PEFT makes, with random A and B.
ALL = r"model\.language_model\.layers\.\d+\.(self_attn\.(q|v|o)_proj|mlp\.(?P<which>up|down)_proj)"
MADE = {
    "rsLoRA, regular expression": dict(r=4, lora_alpha=8, target_modules=ALL, use_rslora=True),
    "rank and alpha patterns": dict(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj", "fc1"],
                                    rank_pattern={"layers.0.self_attn.q_proj": 2, "mlp.*": 6},
                                    alpha_pattern={"down_proj": 20}),
    "DoRA on all linear layers": dict(r=2, lora_alpha=4, target_modules="all-linear", use_dora=True),
    "all linear layers but some": dict(r=2, lora_alpha=4, target_modules="all-linear", exclude_modules=["fc1", "qkv"]),
    "the second layer only": dict(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], layers_to_transform=[1]),
    "rsDoRA with ranks, regular expression": dict(r=3, lora_alpha=5, target_modules=ALL, use_dora=True, use_rslora=True,
                                                  rank_pattern={r"layers\.1\..*": 5}),
}
if plain_reference.image != "<|image_pad|>":
    MADE = {}  # these name Qwen's layers
for name, config in MADE.items():
    made = official(model_dir)
    made.adapt(peft.LoraConfig(**config, lora_dropout=0.1), std=0.05)
    made.model.save_pretrained(work / "made")
    compare(f"{name}, made by PEFT", ours(model_dir, work / "made"), theirs(made))
sys.exit(1 if failed else 0)
