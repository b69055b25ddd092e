"""Writes tests/golden/mmeb/held: the same rows with pictures as paths (paths/) and inside Parquet files (parquet/).

    python tests/interop/held.py tests/golden/mmeb/held      # needs pyarrow
"""
import json, pathlib, struct, sys, zlib

import pyarrow as pa
import pyarrow.parquet as pq

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])  # what datasets' Image() stores


def png(seed, width=16, height=24):
    rows = b"".join(b"\0" + bytes((x * (3 + seed) + y * y * (1 + seed) + 40 * c) % 256 for x in range(width) for c in range(3))
                    for y in range(height))
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


ONE, TWO = "<|image_1|>\nName it.\n", "<|image_2|> or <|image_1|>\n"
TRAIN = [
    {"qry": ONE, "qry_image_path": ["p0.png"], "pos_text": "thing 0", "pos_image_path": None,
     "neg_text": ["thing 3", "<|image_1|> 3"], "neg_image_path": [None, "p3.png"]},
    {"qry": TWO, "qry_image_path": ["p1.png", "p2.png"], "pos_text": "thing 1", "pos_image_path": None,
     "neg_text": None, "neg_image_path": None},
    {"qry": "thing 2", "qry_image_path": None, "pos_text": "<|image_1|>", "pos_image_path": "p2.png",
     "neg_text": None, "neg_image_path": None},
    {"qry": ONE, "qry_image_path": ["p3.png"], "pos_text": "<|image_1|> 3", "pos_image_path": "p3.png",
     "neg_text": None, "neg_image_path": None},
]
TEST = [
    {"qry_text": ONE, "qry_img_path": "p0.png", "tgt_text": ["thing 0", "<|image_1|>"], "tgt_img_path": [None, "p3.png"]},
    {"qry_text": "thing 1", "qry_img_path": None, "tgt_text": ["<|image_1|>", "<|image_1|>", "thing 2"],
     "tgt_img_path": ["p1.png", "p2.png", None]},
]


def held(value):
    if isinstance(value, list):
        return [held(v) for v in value]
    return value and {"bytes": png(int(value[1])), "path": value}


def main(folder):
    paths, parquet = folder / "paths", folder / "parquet"
    for where in (paths, parquet):
        (where / "Set").mkdir(parents=True, exist_ok=True)
        (where / "tasks.json").write_text(json.dumps({"datasets": [{"name": "Set", "meta_task": "vqa", "split": "IND"}]}) + "\n")
    for i in range(4):
        (paths / f"p{i}.png").write_bytes(png(i))
    for name, rows in (("original", TRAIN), ("test", TEST)):
        (paths / "Set" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    strings, images = pa.list_(pa.string()), pa.list_(IMAGE)
    train = {"qry": pa.string(), "qry_image_path": images, "pos_text": pa.string(), "pos_image_path": IMAGE,
             "neg_text": strings, "neg_image_path": images}
    test = {"qry_text": pa.string(), "qry_img_path": pa.binary(), "tgt_text": strings, "tgt_img_path": images}
    def value(row, name, kind):
        v = held(row[name]) if name.endswith("_path") else row[name]
        return v["bytes"] if v and kind == pa.binary() else v
    for name, schema, rows in (("original", train, TRAIN), ("test", test, TEST)):
        columns = {c: pa.array([value(row, c, kind) for row in rows], kind) for c, kind in schema.items()}
        pq.write_table(pa.table(columns), parquet / "Set" / f"{name}.parquet", compression="snappy")


main(pathlib.Path(sys.argv[1]))
