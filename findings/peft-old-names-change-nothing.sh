#!/bin/sh
# PEFT 0.21.2 with transformers 5.23.0 loads a Qwen2-VL adapter that has the layer names of transformers 4.51
# (model.layers, visual) with a warning only, and the adapter then changes nothing. Names of transformers since 4.52
# (model.language_model.layers, model.visual) work. Model weights in the old names load without any difference.
# Exit 0: seen again; 1: changed. Needs Python 3.10 or later and PyPI.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q torch==2.7.1 transformers==5.23.0 peft==0.21.2
cd "$work"
env/bin/python - <<'PY'
import warnings
import peft, torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

def model():
    torch.manual_seed(0)
    text = dict(vocab_size=600, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, bos_token_id=1, eos_token_id=2,
                rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]})
    vision = dict(depth=1, embed_dim=32, num_heads=2, hidden_size=64, mlp_ratio=2)
    return Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=vision, image_token_id=500,
                                                         vision_start_token_id=501)).eval()

def logits(m):
    with torch.no_grad():
        return m(input_ids=torch.arange(3, 12)[None]).logits

trained = peft.get_peft_model(model(), peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"])).eval()
for name, parameter in trained.named_parameters():
    if "lora_B" in name:
        torch.nn.init.normal_(parameter, std=0.1)
trained.save_pretrained("new")
trained.save_pretrained("old")
tensors = load_file("new/adapter_model.safetensors")
save_file({n.replace("model.language_model.", "model."): t for n, t in tensors.items()}, "old/adapter_model.safetensors")
print("a stored name, new and old:", sorted(tensors)[0], "|", sorted(load_file("old/adapter_model.safetensors"))[0])

plain, changed = logits(model()), {}
for names in ("new", "old"):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = peft.PeftModel.from_pretrained(model(), names).eval()
    changed[names] = float((logits(loaded) - plain).abs().max())
    missing = [w for w in caught if "missing adapter keys" in str(w.message)]
    print(f"{names} names: largest change of a logit {changed[names]:.3g}, warnings about missing keys: {len(missing)}")
assert changed["new"] > 0.01, "the adapter with new names should work"
assert changed["old"] == 0 and missing, "the adapter with old names is no longer dropped with a warning"
PY
