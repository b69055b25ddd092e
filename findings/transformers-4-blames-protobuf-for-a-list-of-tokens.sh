#!/bin/sh
# A tokenizer that transformers 5.23.0 saves has "extra_special_tokens": [...] in tokenizer_config.json. transformers 4.52.3
# and 4.57.6 expect an object there and hide their own error behind another: "requires the protobuf library", which
# the tokenizer has nothing to do with. Without the list the folder is read.
# Exit 0: seen again; 1: changed. Needs Python 3.10 to 3.13 and PyPI.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for version in 5.23.0 4.57.6 4.52.3; do
    python3 -m venv "$work/$version"
    "$work/$version/bin/pip" install -q "transformers==$version"
done
cat > "$work/save.py" <<'PY'
import sys
from tokenizers import pre_tokenizers
from transformers import Qwen2Tokenizer
tokenizer = Qwen2Tokenizer(vocab={c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
tokenizer.add_special_tokens({"additional_special_tokens": ["<|image_pad|>"]})
tokenizer.save_pretrained(sys.argv[1])
PY
cat > "$work/read.py" <<'PY'
import sys, transformers
from transformers import AutoTokenizer
try:
    print(transformers.__version__, "reads", AutoTokenizer.from_pretrained(sys.argv[1]).tokenize("a b"))
except Exception as error:
    print(transformers.__version__, type(error).__name__, " ".join(str(error).split())[:110])
PY
"$work/5.23.0/bin/python" "$work/save.py" "$work/tokenizer" 2> "$work/warnings"
grep -A 2 extra_special_tokens "$work/tokenizer/tokenizer_config.json"
for version in 4.52.3 4.57.6; do
    "$work/$version/bin/python" "$work/read.py" "$work/tokenizer" 2> "$work/warnings" | tee "$work/said-$version"
done
grep -q "4.52.3 ImportError requires the protobuf library" "$work/said-4.52.3"
grep -q "4.57.6 ImportError requires the protobuf library" "$work/said-4.57.6"
python3 - "$work/tokenizer/tokenizer_config.json" <<'PY'
import json, sys
config = json.load(open(sys.argv[1]))
del config["extra_special_tokens"]
json.dump(config, open(sys.argv[1], "w"))
PY
"$work/4.52.3/bin/python" "$work/read.py" "$work/tokenizer" 2> "$work/warnings" | tee "$work/said"
grep -q "4.52.3 reads" "$work/said"
