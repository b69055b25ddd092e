"""transformers' Qwen2-VL, and its successors, as VLM2Vec uses it (last token, normalised), in any version from 4.52 to 5.x.

Pictures without <|vision_start|> have 1-D positions up to transformers 5.2 and here, 3-D ones from 5.3, which takes them
from mm_token_type_ids. `image_positions` says which: "1d" (zeros for them, in every version the same), "3d" (5.3 or later)
or None, what this version does by itself.
"""
import inspect
import json
import pathlib
import struct

import numpy
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoTokenizer

try:  # since 5.0 the class without "Pil" resizes with torchvision, which differs in some bytes
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil as ImageProcessor
except ImportError:
    from transformers import Qwen2VLImageProcessor as ImageProcessor

IMAGE = "<|image_pad|>"


def safetensors_shapes(folder):
    """Returns the shape of every tensor of a folder's safetensors files."""
    shapes = {}
    for file in folder.glob("*.safetensors"):
        with open(file, "rb") as f:
            header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        shapes.update({k: v["shape"] for k, v in header.items() if k != "__metadata__"})
    return shapes


class Reference:
    image = IMAGE

    def __init__(self, folder, processor=None, model_class=AutoModelForImageTextToText):
        self.model = model_class.from_pretrained(folder, torch_dtype=torch.float32, attn_implementation="eager").eval()
        self.tokenizer = AutoTokenizer.from_pretrained(processor or folder)
        self.processor = ImageProcessor.from_pretrained(processor or folder)

    def core(self):
        """The module with language_model and visual, also within PEFT."""
        return next(m for m in self.model.modules() if hasattr(m, "language_model") and hasattr(m, "visual")
                    and hasattr(m, "get_rope_index"))

    def inputs(self, text, pictures=(), image_positions=None):
        inputs = {}
        if pictures:
            if self.processor.patch_size == 14:  # as VLM2Vec does
                pictures = [p.resize((56, 56)) if min(p.size) < 28 else p for p in pictures]
            inputs = dict(self.processor([p.convert("RGB") for p in pictures], return_tensors="pt"))
            for t, h, w in inputs["image_grid_thw"].tolist():  # a token for each merged patch
                text = text.replace(IMAGE, "\0" * (t * h * w // self.processor.merge_size**2), 1)
            text = text.replace("\0", IMAGE)
        ids = self.tokenizer(text, return_tensors="pt").input_ids
        takes_types = "mm_token_type_ids" in inspect.signature(self.core().get_rope_index).parameters
        if pictures and takes_types:
            image = ids == self.tokenizer.convert_tokens_to_ids(IMAGE)
            if image_positions == "1d":  # those count that <|vision_start|> opens, as before 5.3
                start, opened = self.tokenizer.convert_tokens_to_ids("<|vision_start|>"), False
                for i, picture in enumerate(image[0].tolist()):
                    opened = picture and (opened or (i > 0 and ids[0, i - 1] == start))
                    image[0, i] = bool(opened)
            inputs["mm_token_type_ids"] = image.int()
        elif image_positions == "3d":
            raise SystemExit("3-D positions without <|vision_start|> need transformers 5.3 or later")
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **inputs}

    def embed(self, text, pictures=(), image_positions=None):
        last = {}
        core = self.core()
        core.rope_deltas = None  # kept from call to call in some versions
        hook = core.language_model.register_forward_hook(lambda module, args, output: last.update(hidden=output[0]))
        with torch.no_grad():
            core(**self.inputs(text, pictures, image_positions))
        hook.remove()
        return torch.nn.functional.normalize(last["hidden"][0, -1], dim=0).numpy()

    def stages(self, text, pictures=(), image_positions=None):
        """Runs a text with its pictures; returns the stages of `vlm2vec parity`."""
        core, stages = self.core(), {}
        language, vision = core.language_model, core.visual

        def keep(name):  # a copy: deepstack adds to a layer's output in place
            return lambda module, args, output: stages.update(
                {name: (output[0] if isinstance(output, tuple) else output).clone()})

        def merged(output):  # in the order of the picture, which the tower of Qwen2.5-VL restores behind its merger
            return output[0] if isinstance(output, tuple) else getattr(output, "pooler_output", output)

        def keep_positions(module, args, kwargs):
            positions = kwargs.get("position_ids")  # none for text alone in some versions: it just counts
            count = torch.arange(kwargs["inputs_embeds"].shape[1])
            stages["position_ids"] = count.expand(3, -1) if positions is None else positions[-3:, 0]

        hooks = [language.layers[0].register_forward_pre_hook(lambda module, args: stages.update(hidden_embed=args[0])),
                 language.register_forward_pre_hook(keep_positions, with_kwargs=True),
                 vision.register_forward_hook(lambda module, args, output: stages.update(vision_merger=merged(output))),
                 language.norm.register_forward_hook(keep("hidden_final"))]
        hooks += [b.register_forward_hook(keep(f"vision_block_{i}")) for i, b in enumerate(vision.blocks)]
        hooks += [l.register_forward_hook(keep(f"hidden_layer_{i}")) for i, l in enumerate(language.layers)]
        after = [*language.layers[1:], language.norm]
        for i, merger in enumerate(getattr(vision, "deepstack_merger_list", [])):
            hooks.append(merger.register_forward_hook(keep(f"deepstack_{i}")))
            hooks.append(after[i].register_forward_pre_hook(
                lambda module, args, i=i: stages.update({f"hidden_deepstack_{i}": args[0].clone()})))
        if not hasattr(self.model.config, "vision_start_token_id"):
            self.model.config.vision_start_token_id = -1  # the program's own small models have no such token
        inputs = self.inputs(text, pictures, image_positions)
        core.rope_deltas = None  # kept from call to call in some versions
        with torch.no_grad():
            core(**inputs)
        for hook in hooks:
            hook.remove()
        if not pictures:
            for k in [k for k in stages if "deepstack" in k]: del stages[k]
        all = {k: v.squeeze(0) if v.dim() > 2 else v for k, v in stages.items()}
        all |= {"input_ids": inputs["input_ids"][0],
                "embedding": torch.nn.functional.normalize(stages["hidden_final"][0, -1], dim=0)}
        return all | {k: inputs[k] for k in ("pixel_values", "image_grid_thw") if k in inputs}

    def embed_rows(self, rows, folder=""):
        """Of rows {"text", "image"}, whose pictures lie in `folder`; with 1-D positions."""
        pictures = lambda row: [Image.open(pathlib.Path(folder, row["image"]))] if "image" in row else []
        return numpy.stack([self.embed(row["text"], pictures(row), "1d") for row in rows])

    def adapt(self, config, std, seed=1):
        """Puts an adapter of PEFT on the model, with random A and B."""
        import peft
        torch.manual_seed(seed)
        self.model = peft.get_peft_model(self.model, config).eval()
        for name, parameter in self.model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                torch.nn.init.normal_(parameter, std=std)
