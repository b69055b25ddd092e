#!/bin/sh
# Between transformers 5.2.0 and 5.3.0 the position ids of a Qwen2-VL prompt changed where a picture's tokens have no
# <|vision_start|> before them, as in VLM2Vec's prompts: 1-D in 5.2.0, 3-D (M-RoPE) in 5.3.0. Nothing is said, and a
# model gives other vectors. In 5.3.0 mm_token_type_ids of zeros give the positions of 5.2.0 again.
# Exit 0: seen again; 1: changed. Needs Python 3.10 or later and PyPI.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q torch==2.7.1
cat > "$work/positions.py" <<'PY'
import inspect, sys
import torch, transformers
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

torch.manual_seed(0)
text = dict(vocab_size=600, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, bos_token_id=1, eos_token_id=2,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]})
vision = dict(depth=1, embed_dim=32, num_heads=2, hidden_size=64, mlp_ratio=2)
model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=vision, image_token_id=500,
                                                      vision_start_token_id=501)).eval()
seen = {}
model.model.language_model.register_forward_pre_hook(
    lambda module, args, kwargs: seen.update(positions=kwargs["position_ids"][-3:, 0].tolist()), with_kwargs=True)
ids = torch.tensor([[500] * 6 + [7, 8, 9]])  # a picture of 2 x 3 tokens, then text
inputs = dict(input_ids=ids, attention_mask=torch.ones_like(ids), image_grid_thw=torch.tensor([[1, 4, 6]]),
              pixel_values=torch.randn(24, 1176))
takes_types = "mm_token_type_ids" in inspect.signature(model.forward).parameters

def positions(**more):
    model.model.rope_deltas = None
    with torch.no_grad():
        model(**inputs, **more)
    return seen["positions"]

line = [list(range(9))] * 3
grid = [[0, 0, 0, 0, 0, 0, 3, 4, 5], [0, 0, 0, 1, 1, 1, 3, 4, 5], [0, 1, 2, 0, 1, 2, 3, 4, 5]]
got = positions(**({"mm_token_type_ids": (ids == 500).int()} if takes_types else {}))
print(transformers.__version__, "time, row and column of each token:", got)
assert got == (line if sys.argv[1] == "1-D" else grid), f"expected {sys.argv[1]} positions"
if takes_types:
    zeros = positions(mm_token_type_ids=torch.zeros_like(ids).int())
    print(transformers.__version__, "with mm_token_type_ids of zeros:", zeros)
    assert zeros == line
PY
for version in 5.2.0:1-D 5.3.0:3-D; do
    "$work/env/bin/pip" install -q "transformers==${version%:*}"
    "$work/env/bin/python" "$work/positions.py" "${version#*:}"
done
