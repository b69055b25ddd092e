"""Random tables of every type and nesting that the reader knows, written by pyarrow with random settings, must come back
from `vlm2vec data cat` as the same rows.  python tests/interop/parquet.py [tables] [seed]   needs pyarrow
python tests/interop/parquet.py --golden   writes tests/golden/mmeb/nested and tests/golden/mmeb/types anew"""
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
from pyarrow.parquet import encryption

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
    return r.choice([pa.string(), pa.large_string(), pa.bool_(), pa.float16(), pa.float32(), pa.float64(), pa.null(),
                     pa.binary(), pa.large_binary(), pa.binary(r.choice([1, 5])), decimals, pa.date32(), pa.date64(),
                     pa.time32("ms"), pa.time64("us"), pa.time64("ns")] +
                    [pa.timestamp(r.choice(list(PER_SECOND)), r.choice([None, "UTC"]))] * 2 +
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
        value = r.choice([0.0, -1.5, r.gauss(0, 1), r.gauss(0, 1e30 if t != pa.float16() else 100), 0.1])
        return pa.scalar(value, t).as_py()
    if pa.types.is_null(t):
        return None
    if pa.types.is_decimal(t):
        digits = r.randint(0, 10**t.precision - 1) // 10**r.randint(0, t.precision - 1)
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
            choices = {"BYTE_ARRAY": ["PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"],
                       "INT32": ["PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"], "BOOLEAN": ["PLAIN", "RLE"],
                       "INT64": ["PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"],
                       "FLOAT": ["PLAIN", "BYTE_STREAM_SPLIT"], "DOUBLE": ["PLAIN", "BYTE_STREAM_SPLIT"],
                       "FIXED_LEN_BYTE_ARRAY": ["PLAIN", "BYTE_STREAM_SPLIT", "DELTA_BYTE_ARRAY"], "INT96": ["PLAIN"]}[kind]
            encodings[path] = r.choice(choices)
    pq.write_table(table, file, compression=r.choice(["none", "snappy", "gzip", "zstd", "brotli", "lz4"]), use_dictionary=dictionary,
                   column_encoding=encodings or None, data_page_version=r.choice(["1.0", "2.0"]),
                   row_group_size=r.choice([7, 100, 10000]), data_page_size=r.choice([64, 1000, 1 << 20]), write_batch_size=r.choice([3, 100, 1024]),
                   use_compliant_nested_type=r.random() < 0.5, write_page_checksum=r.random() < 0.5,
                   store_schema=r.random() < 0.5,
                   version="2.6" if "[ns" in str(table.schema) else r.choice(["1.0", "2.4", "2.6"]))  # older ones have no ns


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


TYPES = {
    "boolean": (pa.bool_(), [True, None, False]), "f16": (pa.float16(), [1.5, None, -0.25]), "f64": (pa.float64(), [0.1, None, -1e300]),
    "date": (pa.date32(), [datetime.date(2024, 2, 29), None, datetime.date(1, 1, 1)]),
    "date64": (pa.date64(), [datetime.date(1969, 12, 31), None, datetime.date(9999, 12, 31)]),
    "time_ms": (pa.time32("ms"), [0, None, 86399999]), "time_us": (pa.time64("us"), [45296789000, None, 1]),
    "time_ns": (pa.time64("ns"), [86399999999999, None, 1]),
    "ms": (pa.timestamp("ms"), [1709210096789, None, -1]), "us": (pa.timestamp("us"), [1709210096789012, None, -1]),
    "ns": (pa.timestamp("ns"), [1709210096789012345, None, -1]), "ms_utc": (pa.timestamp("ms", "UTC"), [-62135596800000, None, 253402300799999]),
    "us_utc": (pa.timestamp("us", "UTC"), [951782400000000, None, -2208988800000000]), "ns_utc": (pa.timestamp("ns", "UTC"), [LAST, None, FIRST]),
    "d9": (pa.decimal128(9, 2), ["-1234567.89", None, "0.01"]), "d18": (pa.decimal128(18, 18), ["0.999999999999999999", None, "-0.000000000000000001"]),
    "d38": (pa.decimal128(38, 0), ["-99999999999999999999999999999999999999", None, "0"]),
    "d76": (pa.decimal256(76, 6), ["-" + "1234567890" * 7 + ".123456", None, "0.000001"]),
    "uuid": (pa.uuid(), [bytes(range(16)), None, b"\xff" * 16]), "bytes": (pa.binary(), [b"text", None, b"\xff\xd8\xff"]),
    "fixed": (pa.binary(3), [b"abc", None, b"\0\0\x80"]), "null": (pa.null(), [None, None, None]),
    "large": (pa.large_string(), ["caf\u00e9", None, ""]), "large_list": (pa.large_list(pa.string()), [["a", None], None, []]),
    "repeats": (pa.string(), ["same", None, "same"]),
    "struct": (pa.struct([("in", pa.struct([("x", pa.int32()), ("y", pa.string())]))]), [{"in": {"x": 1, "y": "dictionary"}}, None, {"in": None}]),
}


def typed_table():
    columns, rows = {}, [{} for _ in range(3)]
    for name, (t, values) in TYPES.items():
        values = [v if v is None or not pa.types.is_decimal(t) else decimal.Decimal(v) for v in values]
        columns[name] = pa.array(values, t)
        for row, value in zip(rows, values):
            row[name] = as_json(value, t)
    return pa.table(columns), rows


def golden_types(folder):
    """Every type in one table, pictures as the datasets library embeds them, and a file with an encrypted column."""
    folder.mkdir(parents=True, exist_ok=True)
    write_lines = lambda name, rows: (folder / name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    table, rows = typed_table()
    write_lines("types.jsonl", rows)
    for codec in ["none", "snappy", "gzip", "brotli", "lz4", "zstd"]:
        for page in [1, 2]:
            pq.write_table(table, folder / f"types_{codec}_page{page}.parquet", compression=codec, data_page_version=f"{page}.0",
                           store_schema=False, write_statistics=False, write_page_index=page == 2)
    pq.write_table(table, folder / "types_decimals_as_integers.parquet", store_decimal_as_integer=True)
    numbers = table.select([c for c in table.column_names if pa.types.is_timestamp(table.schema.field(c).type)])
    pq.write_table(numbers, folder / "int96.parquet", use_deprecated_int96_timestamps=True, store_schema=False)
    write_lines("int96.jsonl", [{c: int96_text(row[c]) for c in numbers.column_names} for row in rows])

    r = random.Random(2)
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    one = lambda i: {"bytes": b"\xff\xd8" + r.randbytes(r.choice([9, 90, 150])) if i % 5 else None, "path": f"{i}.jpg" if i % 3 else None}
    fields = [pa.field("text", pa.string()), pa.field("image", picture), pa.field("neg", pa.list_(picture)), pa.field("plain", pa.binary())]
    rows = [{"text": f"row {i}", "image": one(i) if i % 7 else None, "neg": [one(i + k) for k in range(i % 4)] if i % 6 else None,
             "plain": b"\x89PNG" + r.randbytes(20)} for i in range(30)]
    table = pa.table([pa.array([row[f.name] for row in rows], f.type) for f in fields], schema=pa.schema(fields))
    write_lines("pictures.jsonl", [{f.name: as_json(row[f.name], f.type) for f in fields} for row in rows])
    for name, settings in {"none": {"compression": "none"}, "snappy": {}, "page2": {"compression": "zstd", "data_page_version": "2.0"},
                           "dictionary": {"use_dictionary": True}, "delta": {"column_encoding": {
                               "image.bytes": "DELTA_BYTE_ARRAY", "neg.list.element.bytes": "DELTA_LENGTH_BYTE_ARRAY", "plain": "DELTA_BYTE_ARRAY"}}}.items():
        pq.write_table(table, folder / f"pictures_{name}.parquet", row_group_size=13, data_page_size=200, write_batch_size=3, write_statistics=False,
                       **{"use_dictionary": False, **settings})

    class Kms(encryption.KmsClient):
        wrap_key = lambda self, key, name: base64.b64encode(key)
        unwrap_key = lambda self, key, name: base64.b64decode(key)
    settings = encryption.EncryptionConfiguration(footer_key="f", column_keys={"k": ["secret"]}, plaintext_footer=True, double_wrapping=False)
    keys = encryption.CryptoFactory(lambda _: Kms()).file_encryption_properties(encryption.KmsConnectionConfig(), settings)
    pq.write_table(pa.table({"open": [1, 2], "secret": ["a", "b"]}), folder / "encrypted_column.parquet", encryption_properties=keys)
    training = {"qry": ["one", "two"], "qry_image_path": ["", ""], "pos_text": ["1", "2"], "pos_image_path": ["", ""]}
    pq.write_table(pa.table({**training, "when": pa.array([1, 2], pa.timestamp("ms")), "secret": [b"\xff", None]}),
                   folder / "training_with_more_columns.parquet", encryption_properties=keys)


def int96_text(text):
    """It has nanoseconds and no time zone."""
    if text is None:
        return None
    seconds, fraction = text.removesuffix("Z").split(".")
    return f"{seconds}.{fraction:0<9}"


def main():
    if sys.argv[1:] == ["--golden"]:
        golden(ROOT / "tests/golden/mmeb/nested")
        return golden_types(ROOT / "tests/golden/mmeb/types")
    tables, seed = (int(a) for a in (sys.argv[1:] + ["100", "1"][len(sys.argv) - 1:]))
    differing = 0
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/t.parquet"
        for n in range(tables):
            r = random.Random(seed * 1000003 + n)
            table, rows = random_table(r)
            write(r, table, file)
            out = subprocess.run([ROOT / "build/vlm2vec", "data", "cat", file, "--binary", "base64"], capture_output=True, text=True)
            got = [json.loads(line) for line in out.stdout.split("\n") if line]
            if got != rows:
                differing += 1
                first = next((pair for pair in zip(got, rows) if pair[0] != pair[1]), (len(got), len(rows)))
                print(f"table {n}: {out.stderr.strip()}\n{table.schema}\n{pq.ParquetFile(file).schema}\ngot, expected: {first}")
    print(f"{tables} tables, {differing} differ")
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()
