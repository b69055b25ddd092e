"""Random tables of every type and nesting that the reader knows, written by pyarrow with random settings, must come
back from `vlm2vec data cat` as the same rows.  python tests/interop/parquet.py [tables] [seed]   needs pyarrow
parquet_golden.py writes the tables that are kept."""

import base64
import datetime
import decimal
import json
import math
import pathlib
import random
import subprocess
import sys
import tempfile
import uuid

import pyarrow as pa
import pyarrow.parquet as pq

# Where random instants lie: within what nanoseconds can count.
FIRST, LAST = -9 * 10**18, 9 * 10**18
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
ROOT = pathlib.Path(__file__).resolve().parents[2]
INTEGERS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64, "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64}
WORDS = ["", "a", "cat", "naïve café", "图片", "👩🏿‍🚀", "line\nbreak", "\0nul", "x" * 300]


def random_field(r, name, depth):
    t = random_type(r, depth)
    return pa.field(name, t, t == pa.null() or r.random() < 0.7)


def random_type(r, depth):
    kind = r.choice(["list", "struct", "map"]) if depth > 0 and r.random() < 0.6 else "leaf"
    if kind == "list":
        return pa.list_(random_field(r, r.choice(["element", "item", "x"]), depth - 1))
    if kind == "struct":
        return pa.struct([random_field(r, f"f{i}", depth - 1) for i in range(r.randint(1, 3))])
    if kind == "map":
        return pa.map_(pa.string(), random_type(r, depth - 1))
    precision = r.choice([1, 9, 10, 18, 19, 38, 39, 76])
    decimals = (pa.decimal128 if precision < 39 else pa.decimal256)(precision, r.randint(0, precision))
    return r.choice(
        [
            pa.string(),
            pa.large_string(),
            pa.bool_(),
            pa.float16(),
            pa.float32(),
            pa.float64(),
            pa.null(),
            pa.binary(),
            pa.large_binary(),
            pa.binary(r.choice([1, 5])),
            decimals,
            pa.date32(),
            pa.date64(),
            pa.time32("ms"),
            pa.time64("us"),
            pa.time64("ns"),
        ]
        + [pa.timestamp(r.choice(list(PER_SECOND)), r.choice([None, "UTC"]))] * 2
        + [getattr(pa, name)() for name in INTEGERS]
    )


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
        value = r.choice([0.0, -1.5, r.gauss(0, 1), r.gauss(0, 1e30 if t != pa.float16() else 100), 0.1])
        return pa.scalar(value, t).as_py()
    if pa.types.is_null(t):
        return None
    if pa.types.is_decimal(t):
        digits = r.randint(0, 10**t.precision - 1) // 10 ** r.randint(0, t.precision - 1)
        return decimal.Decimal((int(digits > 0 and r.random() < 0.5), tuple(int(d) for d in str(digits)), -t.scale))
    if pa.types.is_date(t):
        return datetime.date.fromordinal(r.randint(1, datetime.date.max.toordinal()))
    if pa.types.is_time(t):
        return r.randint(0, 86400 * PER_SECOND[t.unit] - 1)
    if pa.types.is_timestamp(t):
        return r.randint(FIRST, LAST) * PER_SECOND[t.unit] // 10**9
    if t == pa.uuid():
        return r.randbytes(16)
    if pa.types.is_fixed_size_binary(t):
        return r.randbytes(t.byte_width)
    if pa.types.is_binary(t) or pa.types.is_large_binary(t):
        return r.choice([b"", b"text", b"\xff\xd8\xff", r.randbytes(300)])
    if str(t) in INTEGERS:
        bits, signed = INTEGERS[str(t)], str(t)[0] == "i"
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
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
    if pa.types.is_decimal(t):
        return format(value, "f")
    if pa.types.is_date(t):
        return value.isoformat()
    if pa.types.is_timestamp(t) and t.unit == "s":  # Parquet has none: milliseconds
        value, t = 1000 * value, pa.timestamp("ms", t.tz)
    if pa.types.is_time(t) or pa.types.is_timestamp(t):
        return pa.scalar(value, t).cast(pa.string()).as_py().replace(" ", "T")
    if t == pa.uuid():
        return str(uuid.UUID(bytes=value))
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def write(r, table, file):
    encodings = {}
    dictionary = r.random() < 0.5
    if not dictionary:
        for path, kind in leaf_paths(table.schema, file):
            choices = {
                "BYTE_ARRAY": ["PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"],
                "INT32": ["PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"],
                "BOOLEAN": ["PLAIN", "RLE"],
                "INT64": ["PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"],
                "FLOAT": ["PLAIN", "BYTE_STREAM_SPLIT"],
                "DOUBLE": ["PLAIN", "BYTE_STREAM_SPLIT"],
                "FIXED_LEN_BYTE_ARRAY": ["PLAIN", "BYTE_STREAM_SPLIT", "DELTA_BYTE_ARRAY"],
                "INT96": ["PLAIN"],
            }[kind]
            encodings[path] = r.choice(choices)
    pq.write_table(
        table,
        file,
        compression=r.choice(["none", "snappy", "gzip", "zstd", "brotli", "lz4"]),
        use_dictionary=dictionary,
        column_encoding=encodings or None,
        data_page_version=r.choice(["1.0", "2.0"]),
        row_group_size=r.choice([7, 100, 10000]),
        data_page_size=r.choice([64, 1000, 1 << 20]),
        write_batch_size=r.choice([3, 100, 1024]),
        use_compliant_nested_type=r.random() < 0.5,
        write_page_checksum=r.random() < 0.5,
        store_schema=r.random() < 0.5,
        version="2.6" if "[ns" in str(table.schema) else r.choice(["1.0", "2.4", "2.6"]),
    )  # older ones have no ns


def leaf_paths(schema, file, **settings):
    pq.write_table(schema.empty_table(), file, use_compliant_nested_type=False, **settings)
    columns = pq.read_schema(file) and pq.ParquetFile(file).schema
    return [(columns.column(i).path, columns.column(i).physical_type) for i in range(len(columns))]


def table_of(r, fields, rows):
    data = [[random_value(r, f.type, f.nullable) for _ in range(rows)] for f in fields]
    table = pa.table([pa.array(d, f.type) for d, f in zip(data, fields)], schema=pa.schema(fields))
    return table, [{f.name: as_json(d[i], f.type) for d, f in zip(data, fields)} for i in range(rows)]


def random_table(r):
    fields = [random_field(r, f"c{i}", r.randint(0, 4)) for i in range(r.randint(1, 5))]
    return table_of(r, fields, r.choice([0, 1, 10, 60, 1500]))


def main():
    tables, seed = (int(a) for a in (sys.argv[1:] + ["100", "1"][len(sys.argv) - 1 :]))
    differing = 0
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/t.parquet"
        for n in range(tables):
            r = random.Random(seed * 1000003 + n)
            table, rows = random_table(r)
            write(r, table, file)
            out = subprocess.run(
                [ROOT / "build/vlm2vec", "data", "cat", file, "--binary", "base64"], capture_output=True, text=True
            )
            got = [json.loads(line) for line in out.stdout.split("\n") if line]
            if got != rows:
                differing += 1
                first = next((pair for pair in zip(got, rows) if pair[0] != pair[1]), (len(got), len(rows)))
                print(
                    f"table {n}: {out.stderr.strip()}\n{table.schema}\n{pq.ParquetFile(file).schema}\n"
                    f"got, expected: {first}"
                )
    print(f"{tables} tables, {differing} differ")
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()
