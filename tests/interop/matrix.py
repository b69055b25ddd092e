"""One environment's part of matrix.sh, and its table.

    matrix.py read WORK ENV     embeds with every folder and adapter in WORK/jobs.json, writes WORK/ENV/read.json
    matrix.py write WORK ENV MODEL   saves MODEL and adapters on it as this environment does, with their vectors
    matrix.py table WORK ENV... prints who reads whose, as Markdown
"""
import json
import pathlib
import shutil
import sys
from importlib.util import find_spec

import numpy

LIMIT = 5e-6
command, work = sys.argv[1], pathlib.Path(sys.argv[2])
rows = [json.loads(line) for line in open(work / "rows.jsonl")]


OPENED = "<|vision_start|><|image_pad|><|vision_end|>"  # what sentence-transformers puts in a picture's place, in front


def for_sentences():
    """The numbers of the rows that it can have: texts, and pictures that <|vision_start|> opens."""
    return [i for i, row in enumerate(rows) if "image" not in row or row["text"].startswith(OPENED)]


def sentence_vectors(folder, saved):
    """Saves the folder again as `saved`, too."""
    from PIL import Image
    from sentence_transformers import SentenceTransformer
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"attn_implementation": "eager"})
    shutil.rmtree(saved, ignore_errors=True)
    model.save(str(saved))
    picture = lambda row: {"image": Image.open(work / row["image"]).convert("RGB"), "text": row["text"][len(OPENED):]}
    return model.encode([picture(rows[i]) if "image" in rows[i] else rows[i]["text"] for i in for_sentences()])


def read():
    import peft
    from reference import Reference
    results = {}
    for job in json.loads((work / "jobs.json").read_text()):
        try:
            reference = Reference(job["model"])
            if job.get("adapter"):
                reference.model = peft.PeftModel.from_pretrained(reference.model, job["adapter"]).eval()
            results[job["name"]] = reference.embed_rows(rows, work).tolist()
        except Exception as error:
            results[job["name"]] = f"{type(error).__name__}: {str(error)[:200]}"
    if (work / "ours/sentence").is_dir() and find_spec("sentence_transformers"):
        results["sentence"] = sentence_vectors(work / "ours/sentence", work / sys.argv[3] / "sentence").tolist()
    (work / sys.argv[3] / "read.json").write_text(json.dumps(results))


def write():
    import peft
    from reference import Reference
    from transformers import AutoModel, AutoProcessor
    model, out = pathlib.Path(sys.argv[4]), work / sys.argv[3]

    def save(name, thing, reference):
        shutil.rmtree(out / name, ignore_errors=True)
        thing.save_pretrained(out / name)
        numpy.save(out / f"{name}.npy", reference.embed_rows(rows, work))

    reference = Reference(model)
    save("folder", reference.model, reference)
    AutoProcessor.from_pretrained(model).save_pretrained(out / "folder")
    auto = Reference(model, model_class=AutoModel)
    save("automodel", auto.model, auto)
    AutoProcessor.from_pretrained(model).save_pretrained(out / "automodel")
    for name, model_class, options in (("lora", None, {}), ("dora", None, {"use_dora": True}),
                                       ("automodel-lora", AutoModel, {})):
        reference = Reference(model, **({"model_class": model_class} if model_class else {}))
        reference.adapt(peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", **options), std=0.05)
        save(name, reference.model, reference)


def cell(ours, theirs, plain=None):
    if isinstance(theirs, str):
        return theirs.split(":")[0]
    theirs = numpy.array(theirs)
    difference = numpy.abs(ours - theirs).max()
    if plain is not None and numpy.abs(theirs - plain).max() < LIMIT:
        return "not applied"
    return f"{difference:.0e}" if difference <= LIMIT else f"**{difference:.0e}**"


def table():
    environments = sys.argv[3:]
    read_by = {name: json.loads((work / name / "read.json").read_text()) for name in environments}
    print("| what | " + " | ".join(environments) + " |\n|---|" + "---|" * len(environments))
    for job in json.loads((work / "jobs.json").read_text()):
        ours = numpy.load(work / "ours" / f"{job['name']}.npy")
        plain = numpy.load(work / "ours/init.npy") if job.get("adapter") else None
        cells = [cell(ours, read_by[name][job["name"]], plain) for name in environments]
        print(f"| ours, read there: {job['what']} | " + " | ".join(cells) + " |")
    ours = numpy.load(work / "ours/init.npy")
    for what, image in (("texts", False), ("a picture that `<|vision_start|>` opens", True)):
        numbers = for_sentences()
        here = [k for k, i in enumerate(numbers) if ("image" in rows[i]) == image]
        cells = [cell(ours[numbers][here], numpy.array(read_by[name]["sentence"])[here])
                 if "sentence" in read_by[name] else "" for name in environments]
        print(f"| ours, read by sentence-transformers: {what} | " + " | ".join(cells) + " |")
    for name, what in (("folder", "model and processor"), ("automodel", "AutoModel and processor"),
                       ("lora", "LoRA, all-linear"), ("dora", "DoRA, all-linear"),
                       ("automodel-lora", "LoRA on AutoModel"), ("sentence", "SentenceTransformer's folder")):
        cells = []
        for environment in environments:
            mine = work / environment / f"{name}-ours.npy"
            theirs = ours if name == "sentence" else numpy.load(work / environment / f"{name}.npy")
            absent = "" if name == "sentence" and "sentence" not in read_by[environment] else "refused"
            cells.append(cell(numpy.load(mine), theirs) if mine.exists() else absent)
        print(f"| theirs, read here: {what} | " + " | ".join(cells) + " |")


{"read": read, "write": write, "table": table}[command]()
