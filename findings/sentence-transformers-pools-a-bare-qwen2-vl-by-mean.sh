#!/bin/sh
# sentence-transformers 6.2.0 loads a Qwen2-VL folder that transformers saved, without a message, and pools the mean of
# all tokens, not normalised. It first wraps a plain text in the chat template, so that the embedding is mostly that of
# "<|im_start|>user". A decoder's embedding is usually the state of its last token.
# Exit 0: seen again; 1: changed. Needs Python 3.10 or later and PyPI.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q torch==2.7.1 torchvision==0.22.1 transformers==5.23.0 sentence-transformers==6.2.0
cd "$work"
env/bin/python - <<'PY'
import warnings
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import pre_tokenizers
from transformers import (Qwen2Tokenizer, Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLImageProcessor,
                          Qwen2VLProcessor, Qwen2VLVideoProcessor)

tokenizer = Qwen2Tokenizer(vocab={c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
names = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
tokenizer.add_special_tokens({"additional_special_tokens": names})
template = ("{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
            "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}<|vision_start|><|image_pad|><|vision_end|>"
            "{% endif %}{% endfor %}<|im_end|>\n{% endfor %}")
Qwen2VLProcessor(Qwen2VLImageProcessor(), tokenizer, Qwen2VLVideoProcessor(),
                 chat_template=template).save_pretrained("model")
torch.manual_seed(0)
text = dict(vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, bos_token_id=1, eos_token_id=2,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]})
vision = dict(depth=1, embed_dim=32, num_heads=2, hidden_size=64, mlp_ratio=2)
tokens = {f"{kind}_token_id": tokenizer.convert_tokens_to_ids(f"<|{name}|>") for kind, name in
          (("image", "image_pad"), ("video", "video_pad"), ("vision_start", "vision_start"), ("vision_end", "vision_end"))}
model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=vision, **tokens)).eval()
model.save_pretrained("model")

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    folder = SentenceTransformer("model", device="cpu")
    vector = torch.tensor(folder.encode(["a red car"])[0])
    said = [str(w.message) for w in caught if "pool" in str(w.message).lower() or "template" in str(w.message).lower()]
ids = torch.as_tensor(folder.tokenize(["a red car"])["input_ids"])
read = tokenizer.decode(ids[0])
with torch.no_grad():
    states = model.model(input_ids=ids).last_hidden_state[0]
print("modules:", [type(module).__name__ for module in folder])
print("what the model reads of \"a red car\":", repr(read))
print(f"norm {vector.norm():.3f}, distance to the mean of all tokens {(vector - states.mean(0)).norm():.1e}, "
      f"to the last one {(vector - states[-1]).norm():.1e}; warnings: {said}")
assert read == "<|im_start|>user\na red car<|im_end|>\n", "the text is no longer wrapped"
assert (vector - states.mean(0)).norm() < 1e-3 < (vector - states[-1]).norm(), "no longer the mean"
assert abs(vector.norm() - 1) > 0.01 and not said, "it is normalised or said now"
PY
