"""The official model of a folder: of Qwen2-VL and its successors in reference.py; of LLaVA-NeXT and CLIP from transformers;
of Phi-3.5-V from a copy of TIGER-AI-Lab/VLM2Vec, which the variable VLM2VEC names (with transformers 4.52)."""
import json
import os
import pathlib
import sys

import torch
from PIL import Image

import reference


class Official:
    """A model with `image`, the token of a picture, and modules whose inputs or outputs are stages of `vlm2vec parity`."""

    def core(self):
        """The model within PEFT's."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    def stages(self, text, pictures=(), image_positions=None):
        seen, hooks = {}, []
        first = lambda x: x[0] if isinstance(x, tuple) else getattr(x, "last_hidden_state", x)
        for stage, (module, end) in self.modules().items():
            keep = lambda value, stage=stage: seen.update({stage: first(value).clone()})
            hooks.append(module.register_forward_hook(lambda m, args, output, keep=keep: keep(output)) if end == "output"
                         else module.register_forward_pre_hook(lambda m, args, keep=keep: keep(args)))
        inputs = self.inputs(text, pictures)
        with torch.no_grad():
            output = self.core()(**inputs)
        for hook in hooks:
            hook.remove()
        stages = {k: v.flatten(0, -2) for k, v in seen.items()}
        if pictures:
            pixels = inputs["pixel_values"]
            stages["pixel_values"] = (pixels[0] if isinstance(pixels, list) else pixels).flatten(0, -4)
        stages["input_ids"] = inputs["input_ids"][0]
        self.finish(stages, output)
        return stages

    def finish(self, stages, output):
        stages["embedding"] = torch.nn.functional.normalize(stages["hidden_final"][-1], dim=0)

    def embed(self, text, pictures=(), image_positions=None):
        return self.stages(text, pictures)["embedding"].numpy()

    embed_rows = reference.Reference.embed_rows
    adapt = reference.Reference.adapt


def decoder(model):
    layers = {f"hidden_layer_{i}": (layer, "output") for i, layer in enumerate(model.layers)}
    return {"hidden_embed": (model.layers[0], "input"), **layers, "hidden_final": (model.norm, "output")}


def clip_tower(tower, layers):
    blocks = {f"vision_block_{i}": (layer, "output") for i, layer in enumerate(tower.encoder.layers[:layers])}
    return {"vision_embed": (tower.pre_layrnorm, "output"), **blocks}


def pillow(name, slow):
    """The image processor that resizes with Pillow; since transformers 5 a class of its own."""
    try:
        return getattr(__import__(f"transformers.models.{name}.image_processing_pil_{name}", fromlist=["_"]), slow + "Pil")
    except ImportError:
        return getattr(__import__("transformers"), slow)


class LlavaNext(Official):
    image = "<image>"

    def __init__(self, folder):
        from transformers import AutoTokenizer, LlavaNextForConditionalGeneration, LlavaNextProcessor
        self.model = LlavaNextForConditionalGeneration.from_pretrained(
            folder, torch_dtype=torch.float32, attn_implementation="eager").eval()
        config = self.model.config
        self.processor = LlavaNextProcessor(
            pillow("llava_next", "LlavaNextImageProcessor").from_pretrained(folder),
            AutoTokenizer.from_pretrained(folder), patch_size=config.vision_config.patch_size,
            vision_feature_select_strategy=config.vision_feature_select_strategy, num_additional_image_tokens=1)

    def modules(self):
        model = self.core().model
        tower = getattr(model.vision_tower, "vision_model", model.vision_tower)
        used = len(tower.encoder.layers) + 1 + self.core().config.vision_feature_layer
        return {**clip_tower(tower, used), "projected_tiles": (model.multi_modal_projector, "output"),
                **decoder(model.language_model)}

    def inputs(self, text, pictures):
        return dict(self.processor(text=text, images=list(pictures) or None, return_tensors="pt"))

    def finish(self, stages, output):
        super().finish(stages, output)
        if "pixel_values" in stages:
            stages["image_tokens"] = stages["hidden_embed"][stages["input_ids"] == self.core().config.image_token_index]


class Phi3V(Official):
    image = "<|image_1|>"

    def __init__(self, folder):
        sys.path.insert(0, os.environ["VLM2VEC"])
        import src.model.baseline_backbone.phi3_v.image_embedding_phi3_v as embedding
        from src.model.baseline_backbone.phi3_v.image_processing_phi3_v import Phi3VImageProcessor
        from src.model.baseline_backbone.phi3_v.modeling_phi3_v import Phi3VForCausalLM
        from src.model.baseline_backbone.phi3_v.processing_phi3_v import Phi3VProcessor
        from transformers import LlamaTokenizerFast
        settings = json.loads(pathlib.Path(folder, "config.json").read_text())["img_processor"]
        tower = embedding.CLIP_VIT_LARGE_PATCH14_336_CONFIG  # a constant there; small models have another width
        shapes = reference.safetensors_shapes(pathlib.Path(folder))
        prefix = "model.vision_embed_tokens.img_processor.vision_model.encoder.layers."
        tower.hidden_size = settings["image_dim_out"]
        tower.num_hidden_layers = 1 + max(int(k[len(prefix):].split(".")[0]) for k in shapes if k.startswith(prefix))
        tower.intermediate_size = shapes[f"{prefix}0.mlp.fc1.weight"][0]
        tower.num_attention_heads = tower.hidden_size // 64
        self.model = Phi3VForCausalLM.from_pretrained(folder, torch_dtype=torch.float32, attn_implementation="eager").eval()
        self.processor = Phi3VProcessor(Phi3VImageProcessor.from_pretrained(folder),
                                        LlamaTokenizerFast.from_pretrained(folder))

    def modules(self):
        model = self.core().model
        tower = model.vision_embed_tokens.img_processor.vision_model
        return {**clip_tower(tower, len(tower.encoder.layers) - 1), **decoder(model)}

    def inputs(self, text, pictures):
        inputs = dict(self.processor(text, list(pictures), return_tensors="pt") if pictures
                      else self.processor.tokenizer(text, return_tensors="pt"))
        for k in "image_sizes", "pixel_values":  # for each row, None without pictures
            inputs[k] = [inputs.get(k)]
        return {**inputs, "attention_mask": torch.ones_like(inputs["input_ids"]), "use_cache": False}

    def finish(self, stages, output):
        super().finish(stages, output)
        pictured = stages["input_ids"] < 0
        if pictured.any():
            stages["image_tokens"] = stages["hidden_embed"][pictured]


class Clip(Official):
    image = ""

    def __init__(self, folder):
        from transformers import AutoTokenizer, CLIPModel
        self.model = CLIPModel.from_pretrained(folder, torch_dtype=torch.float32, attn_implementation="eager").eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.pictures = pillow("clip", "CLIPImageProcessor").from_pretrained(folder)

    def modules(self):
        model = self.core()
        text = {f"hidden_layer_{i}": (layer, "output") for i, layer in enumerate(model.text_model.encoder.layers)}
        return {**clip_tower(model.vision_model, None), "vision_pooled": (model.vision_model.post_layernorm, "output"),
                "image_embeds": (model.visual_projection, "output"),
                "hidden_embed": (model.text_model.embeddings, "output"), **text,
                "hidden_final": (model.text_model.final_layer_norm, "output"),
                "text_embeds": (model.text_projection, "output")}

    def inputs(self, text, pictures):
        size = self.model.config.vision_config.image_size
        pixels = (self.pictures(list(pictures), return_tensors="pt").pixel_values if pictures
                  else torch.zeros(1, 3, size, size))
        ids = self.tokenizer(text, return_tensors="pt", truncation=True,
                             max_length=self.model.config.text_config.max_position_embeddings).input_ids
        self.given = {"text": bool(text), "image": bool(pictures)}
        return {"input_ids": ids, "pixel_values": pixels}

    def finish(self, stages, output):
        """The normalised sum of what is given, as VLM2Vec takes it; stages of the other tower are those of nothing."""
        parts = [stages[f"{k}_embeds"][0] for k in ("text", "image") if self.given[k]]
        stages["embedding"] = torch.nn.functional.normalize(sum(parts), dim=0)
        of_text = lambda k: k.startswith("hidden") or k in ("text_embeds", "input_ids")
        for k in [k for k in stages if k != "embedding" and not self.given["text" if of_text(k) else "image"]]:
            del stages[k]


def official(folder):
    """Returns the reference of a folder's family."""
    kind = json.loads(pathlib.Path(folder, "config.json").read_text())["model_type"]
    return {"llava_next": LlavaNext, "phi3_v": Phi3V, "clip": Clip}.get(kind, reference.Reference)(folder)


def opened(folder, names):
    return [Image.open(pathlib.Path(folder, name)).convert("RGB") for name in names]
