#!/bin/sh
# PEFT 0.21.2: layers_to_transform does not hold for modules that target_modules names by their whole path. With
# target_modules of two whole paths and layers_to_transform=[1] both are adapted; named by their end, only the second is.
# There is no message.
# Exit 0: seen again; 1: changed. Needs Python 3.10 or later and PyPI.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q torch==2.7.1 transformers==5.23.0 peft==0.21.2
"$work/env/bin/python" - <<'PY'
import peft, torch

class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = torch.nn.Linear(4, 4)

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([Layer(), Layer()])

def adapted(targets):
    model = torch.nn.Module()
    model.model = Model()
    config = peft.LoraConfig(target_modules=targets, layers_to_transform=[1])
    peft.inject_adapter_in_model(config, model)
    return [name for name, module in model.named_modules() if hasattr(module, "lora_A")]

by_end, by_path = adapted(["q_proj"]), adapted(["model.layers.0.q_proj", "model.layers.1.q_proj"])
print("named by their end: ", by_end)
print("named by whole path:", by_path)
assert by_end == ["model.layers.1.q_proj"]
assert by_path == ["model.layers.0.q_proj", "model.layers.1.q_proj"], "the number holds for whole paths, too, now"
PY
