"""transformers' Qwen2-VL, and its successors, as VLM2Vec uses it (last token, normalised), in any version from 4.52 to 5.x.

Pictures without <|vision_start|> have 1-D positions up to transformers 5.2 and here, 3-D ones from 5.3, which takes them
from mm_token_type_ids. `image_positions` says which: "1d" (zeros for them, in every version the same), "3d" (5.3 or later)
or None, what this version does by itself.
"""
import inspect
import pathlib

import numpy
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoTokenizer

try:  # since 5.0 the class without "Pil" resizes with torchvision, which differs in some bytes
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil as ImageProcessor
except ImportError:
    from transformers import Qwen2VLImageProcessor as ImageProcessor

IMAGE = "<|image_pad|>"


class Reference:
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
