"""Writes a made-up MMEB-train of full size: 20 sets of 50,000 rows in Parquet, with the columns, names and proportions
of the real one (instructions that repeat, questions and captions that do not, six sets with negatives) and one picture.

    full_size.py OUT [rows]
    env time -v ./vlm2vec train --model_name runs/demo/init --dataset_name OUT --output_dir runs/full \
        --max_steps 1 --per_device_train_batch_size 8

"Elapsed" is the time and "Maximum resident set size" the memory of all; with a --model_name that is not there, train
stops when it has read the rows, and both are of the rows alone.
"""

import pathlib
import random
import struct
import sys
import zlib

import pyarrow
import pyarrow.parquet

CLASSES = ["ImageNet_1K", "N24News", "HatefulMemes", "VOC2007", "SUN397"]
QUESTIONS = ["OK-VQA", "A-OKVQA", "DocVQA", "InfographicsVQA", "ChartQA", "Visual7W"]
TO_IMAGE = ["VisDial", "CIRR", "VisualNews_t2i", "MSCOCO_t2i", "NIGHTS", "WebQA", "MSCOCO"]
TO_TEXT = ["VisualNews_i2t", "MSCOCO_i2t"]
WITH_NEGATIVES = {"OK-VQA", "A-OKVQA", "ChartQA", "VisDial", "DocVQA", "MSCOCO"}
IMAGE, REPRESENT = "<|image_1|>\n", "<|image_1|>\nRepresent the given image.\n"


def write_png(path):
    """One gray picture of 32 x 32 pixels, which every row names."""
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    pixels = zlib.compress((b"\0" + b"\x80" * 32) * 32)
    header = struct.pack(">IIBBBBB", 32, 32, 8, 0, 0, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def main(out, rows):
    draw = random.Random(1)
    words = ["".join(draw.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(draw.randint(2, 9))) for _ in range(5000)]
    text = lambda low, high: " ".join(draw.choices(words, k=draw.randint(low, high)))
    picture = "images/all/Train/one_picture_for_all_rows.png"
    write_png(out / picture)
    for name in CLASSES + QUESTIONS + TO_IMAGE + TO_TEXT:
        labels = [text(1, 3) for _ in range(1000)]
        if name in CLASSES:
            sides = lambda: (IMAGE + "Represent the given image for classification\n", picture, draw.choice(labels), "")
        elif name in QUESTIONS:
            sides = lambda: (IMAGE + "Represent the given image with the following question: " + text(10, 24) + "\n",
                             picture, text(1, 4), "")
        elif name in TO_IMAGE:
            sides = lambda: ("Find me an everyday image that matches the given caption: " + text(10, 26) + "\n", "",
                             REPRESENT, picture)
        else:
            sides = lambda: (IMAGE + "Find a caption for the news in the given photo.\n", picture, text(16, 34), "")
        columns = list(zip(*(sides() for _ in range(rows))))
        table = dict(zip(["qry", "qry_image_path", "pos_text", "pos_image_path"], columns))
        if name in WITH_NEGATIVES:
            table["neg_text"] = [text(1, 4) for _ in range(rows)]
            table["neg_image_path"] = [""] * rows
        (out / name).mkdir(exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.table(table), out / name / "original-00000-of-00001.parquet")
        print(name, flush=True)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 50000)
