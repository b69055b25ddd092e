"""Random tables of every type and nesting that the reader knows, written by pyarrow with random settings, must come back
from `vlm2vec data cat` as the same rows.  python tests/interop/parquet.py [tables] [seed]   needs pyarrow
python tests/interop/parquet.py --golden   writes tests/golden/mmeb/nested anew"""
import json
import math
import pathlib
import random
import subprocess
import sys
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = pathlib.Path(__file__).resolve().parents[2]
INTEGERS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64, "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64}
WORDS = ["", "a", "cat", "naïve café", "图片", "👩🏿‍🚀", "line\nbreak", "\0nul", "x" * 300]


def random_type(r, depth):
    kind = r.choice(["list", "struct", "map"]) if depth > 0 and r.random() < 0.6 else "leaf"
    if kind == "list":
        return pa.list_(pa.field(r.choice(["element", "item", "x"]), random_type(r, depth - 1), r.random() < 0.7))
    if kind == "struct":
        return pa.struct([pa.field(f"f{i}", random_type(r, depth - 1), r.random() < 0.7) for i in range(r.randint(1, 3))])
    if kind == "map":
        return pa.map_(pa.string(), random_type(r, depth - 1))
    return r.choice([pa.string(), pa.large_string(), pa.bool_(), pa.float32(), pa.float64()] +
                    [getattr(pa, name)() for name in INTEGERS])


def random_value(r, t, nullable):
    if nullable and r.random() < 0.2:
        return None
    if pa.types.is_list(t):
        return [random_value(r, t.value_type, t.value_field.nullable) for _ in range(r.choice([0, 1, 2, 5]))]
    if pa.types.is_map(t):
        return [(r.choice(WORDS), random_value(r, t.item_type, True)) for _ in range(r.choice([0, 1, 3]))]
    if pa.types.is_struct(t):
        return {f.name: random_value(r, f.type, f.nullable) for f in t}
    if pa.types.is_boolean(t):
        return r.random() < 0.5
    if pa.types.is_floating(t):
        value = r.choice([0.0, -1.5, r.gauss(0, 1), r.gauss(0, 1e30), 0.1])
        return pa.scalar(value, t).as_py()
    if str(t) in INTEGERS:
        bits, signed = INTEGERS[str(t)], str(t)[0] == "i"
        low, high = (-2 ** (bits - 1), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        return r.choice([low, high, r.randint(low, high), r.randint(max(low, -9), 9)])
    return r.choice(WORDS) + str(r.randint(0, 3))


def as_json(value, t):
    if value is None:
        return None
    if pa.types.is_list(t):
        return [as_json(v, t.value_type) for v in value]
    if pa.types.is_map(t):
        return [{"key": k, "value": as_json(v, t.item_type)} for k, v in value]
    if pa.types.is_struct(t):
        return {f.name: as_json(value[f.name], f.type) for f in t}
    return value


def write(r, table, file):
    encodings = {}
    dictionary = r.random() < 0.5
    if not dictionary:
        for path, kind in leaf_paths(table.schema, file):
            choices = {"BYTE_ARRAY": ["PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"],
                       "INT32": ["PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"], "BOOLEAN": ["PLAIN", "RLE"],
                       "INT64": ["PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"],
                       "FLOAT": ["PLAIN", "BYTE_STREAM_SPLIT"], "DOUBLE": ["PLAIN", "BYTE_STREAM_SPLIT"]}[kind]
            encodings[path] = r.choice(choices)
    pq.write_table(table, file, compression=r.choice(["none", "snappy", "gzip", "zstd"]), use_dictionary=dictionary,
                   column_encoding=encodings or None, data_page_version=r.choice(["1.0", "2.0"]),
                   row_group_size=r.choice([7, 100, 10000]), data_page_size=r.choice([64, 1000, 1 << 20]), write_batch_size=r.choice([3, 100, 1024]),
                   use_compliant_nested_type=r.random() < 0.5, write_page_checksum=r.random() < 0.5,
                   store_schema=r.random() < 0.5, version=r.choice(["1.0", "2.4", "2.6"]))


def leaf_paths(schema, file):
    pq.write_table(schema.empty_table(), file, use_compliant_nested_type=False)
    columns = pq.read_schema(file) and pq.ParquetFile(file).schema
    return [(columns.column(i).path, columns.column(i).physical_type) for i in range(len(columns))]


def table_of(r, fields, rows):
    data = [[random_value(r, f.type, f.nullable) for _ in range(rows)] for f in fields]
    table = pa.table([pa.array(d, f.type) for d, f in zip(data, fields)], schema=pa.schema(fields))
    return table, [{f.name: as_json(d[i], f.type) for d, f in zip(data, fields)} for i in range(rows)]


def random_table(r):
    fields = [pa.field(f"c{i}", random_type(r, r.randint(0, 4)), r.random() < 0.7) for i in range(r.randint(1, 5))]
    return table_of(r, fields, r.choice([0, 1, 10, 60, 1500]))


def golden(folder):
    folder.mkdir(parents=True, exist_ok=True)
    r = random.Random(1)
    s, i = pa.string(), pa.int32()
    fields = [pa.field("lists", pa.list_(pa.list_(s))), pa.field("structs", pa.list_(pa.struct([("a", i), ("b", pa.list_(s))]))),
              pa.field("struct", pa.struct([("bytes", s), pa.field("always", pa.uint64(), False), ("in", pa.struct([("x", pa.float32())]))])),
              pa.field("map", pa.map_(s, pa.list_(pa.int64()))), pa.field("required", pa.list_(pa.field("element", pa.uint32(), False)), False)]
    table, rows = table_of(r, fields, 40)
    pq.write_table(table, folder / "nested.parquet", compression="zstd", data_page_size=256, write_batch_size=8, row_group_size=25)
    (folder / "nested.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def main():
    if sys.argv[1:] == ["--golden"]:
        return golden(ROOT / "tests/golden/mmeb/nested")
    tables, seed = (int(a) for a in (sys.argv[1:] + ["100", "1"][len(sys.argv) - 1:]))
    differing = 0
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/t.parquet"
        for n in range(tables):
            r = random.Random(seed * 1000003 + n)
            table, rows = random_table(r)
            write(r, table, file)
            out = subprocess.run([ROOT / "build/vlm2vec", "data", "cat", file], capture_output=True, text=True)
            got = [json.loads(line) for line in out.stdout.split("\n") if line]
            if got != rows:
                differing += 1
                print(f"table {n}: {out.stderr.strip()}\n{table.schema}\n{pq.ParquetFile(file).schema}")
    print(f"{tables} tables, {differing} differ")
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()
