#!/bin/sh
# transformers: a LlamaTokenizer folder with tokenizer.model alone, and "add_prefix_space": null in its
# tokenizer_config.json. In 4.52.3 null is false: no blank goes before a text, so its first word has other ids. Without
# the key the blank is there. In 5.23.0 null is the default, as if the key were not there. The same folder has two
# readings, and no version says anything.
# Exit 0: seen again; 1: changed. Needs Python 3.10 or later and PyPI.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/try.py" <<'PY'
import json, os, sys
import sentencepiece
from transformers import AutoTokenizer

folder, before = sys.argv[1], sys.argv[2]
os.makedirs(folder)
with open(f"{folder}/corpus.txt", "w") as corpus:
    corpus.write("\n".join(f"a hello world of {i} words, and hello again" for i in range(200)))
sentencepiece.SentencePieceTrainer.train(input=f"{folder}/corpus.txt", model_prefix=f"{folder}/tokenizer",
                                         vocab_size=120, model_type="bpe", byte_fallback=False, minloglevel=2)
pieces = {}
for name, extra in {"absent": {}, "null": {"add_prefix_space": None}}.items():
    with open(f"{folder}/tokenizer_config.json", "w") as config:
        json.dump({"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
                   **extra}, config)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pieces[name] = tokenizer.convert_ids_to_tokens(tokenizer("hello world", add_special_tokens=False)["input_ids"])
    print(f"{name:7}", pieces[name])
blank = "\u2581"
assert pieces["absent"][0].startswith(blank), "without the key there is no blank now"
assert pieces["null"][0].startswith(blank) == (before == "5"), "null means something else now"
PY
for version in 4.52.3 5.23.0; do
  python3 -m venv "$work/$version"
  "$work/$version/bin/pip" install -q transformers=="$version" sentencepiece==0.2.1 protobuf==6.33.1
  echo "transformers $version"
  "$work/$version/bin/python" "$work/try.py" "$work/model-$version" "${version%%.*}" 2>/dev/null
done
