#!/usr/bin/env python3
"""What this program writes, PEFT and transformers load, and give the same embeddings.

    tests/interop/adapters.py PROGRAM MODEL DATA WORK

trains LoRA and DoRA adapters on MODEL (a Qwen2-VL checkpoint; training rows DATA/train.jsonl beside its pictures), merges
them, and embeds a few prompts, with and without a picture, by both programs. Prints the largest difference of an element
for each; fails above 5e-6. Needs torch, transformers, peft and pillow; without them it says so and does nothing.
"""
import json
import pathlib
import subprocess
import sys

try:
    import numpy
    import peft
    import torch
    from PIL import Image
    from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration, Qwen2VLImageProcessor
except ImportError as error:
    print(f"not run: {error}")
    sys.exit(0)

program, model_dir, data, work = (pathlib.Path(argument).resolve() for argument in sys.argv[1:5])
work.mkdir(parents=True, exist_ok=True)
LIMIT = 5e-6
IMAGE = "<|image_pad|>"


def run(*arguments):
    subprocess.run([program, *map(str, arguments), "--quiet"], check=True)


def rows():
    picture = next(r["qry_image_path"] for r in map(json.loads, open(data / "train.jsonl")) if r["qry_image_path"])
    return [{"text": "Find a picture of a red cat."}, {"text": "a"}, {"text": "Grüße, 世界! 12345\n"},
            {"text": f"{IMAGE} Represent the given image.", "image": str(data / picture)}]


def ours(model, adapter=None):
    (work / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    output = work / "ours.npy"
    run("embed", "--model_name", model, "--input", work / "rows.jsonl", "--output", output,
        *(["--adapter", adapter] if adapter else []))
    return numpy.load(output)


def theirs(model, folder):
    tokenizer, processor = AutoTokenizer.from_pretrained(folder), Qwen2VLImageProcessor.from_pretrained(folder)
    embeddings = []
    for row in rows():
        text, extra = row["text"], {}
        if "image" in row:
            pixels = processor(Image.open(row["image"]).convert("RGB"), return_tensors="pt")
            extra = {key: pixels[key] for key in ("pixel_values", "image_grid_thw")}
            text = text.replace(IMAGE, IMAGE * (int(pixels["image_grid_thw"].prod()) // processor.merge_size**2))
        ids = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            out = model(**ids, **extra, output_hidden_states=True)
        embeddings.append(torch.nn.functional.normalize(out.hidden_states[-1][0, -1], dim=0).numpy())
    return numpy.stack(embeddings)


def base(folder):
    return Qwen2VLForConditionalGeneration.from_pretrained(folder, torch_dtype=torch.float32,
                                                           attn_implementation="eager").eval()


failed = False


def compare(name, a, b):
    global failed
    difference = float(numpy.abs(a - b).max())
    failed |= not difference <= LIMIT
    print(f"{name:40} {difference:.1e}{'' if difference <= LIMIT else '  too large'}")


plain = ours(model_dir)
compare("base", plain, theirs(base(model_dir), model_dir))
for kind, dora in ("LoRA", "False"), ("DoRA", "True"):
    adapter, merged = work / kind, work / f"{kind}-merged"
    run("train", "--model_name", model_dir, "--train_file", data / "train.jsonl", "--output_dir", adapter, "--lora",
        "True", "--use_dora", dora, "--per_device_train_batch_size", 4, "--max_steps", 4, "--learning_rate", "5e-3",
        "--lr_scheduler_type", "constant", "--resume_from", "auto")
    run("merge", "--model_name", model_dir, "--adapter", adapter, "--output_dir", merged)
    mine = ours(model_dir, adapter)
    print(f"{kind} moves the embeddings by {numpy.abs(mine - plain).max():.1e}")
    with_adapter = peft.PeftModel.from_pretrained(base(model_dir), adapter).eval()
    compare(f"{kind} adapter in PEFT", mine, theirs(with_adapter, model_dir))
    compare(f"{kind} merged folder in transformers", ours(merged), theirs(base(merged), merged))
    saved = work / f"{kind}-saved-by-peft"
    with_adapter.save_pretrained(saved)
    compare(f"{kind} saved again by PEFT, read here", ours(model_dir, saved), mine)
    torch.save(peft.get_peft_model_state_dict(with_adapter), saved / "adapter_model.bin")
    (saved / "adapter_model.safetensors").unlink()
    compare(f"{kind} saved by torch.save, read here", ours(model_dir, saved), mine)
sys.exit(1 if failed else 0)
