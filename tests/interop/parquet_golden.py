"""Writes the Parquet files of tests/golden/mmeb/nested and tests/golden/mmeb/types anew, with the rows that pyarrow has
for them as JSON lines beside.  python tests/interop/parquet_golden.py   needs pyarrow"""

import base64
import datetime
import decimal
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.parquet import encryption

from parquet import FIRST, LAST, ROOT, as_json, table_of


def golden_nested(folder):
    folder.mkdir(parents=True, exist_ok=True)
    r = random.Random(1)
    s, i = pa.string(), pa.int32()
    fields = [
        pa.field("lists", pa.list_(pa.list_(s))),
        pa.field("structs", pa.list_(pa.struct([("a", i), ("b", pa.list_(s))]))),
        pa.field(
            "struct",
            pa.struct([("bytes", s), pa.field("always", pa.uint64(), False), ("in", pa.struct([("x", pa.float32())]))]),
        ),
        pa.field("map", pa.map_(s, pa.list_(pa.int64()))),
        pa.field("required", pa.list_(pa.field("element", pa.uint32(), False)), False),
    ]
    table, rows = table_of(r, fields, 40)
    pq.write_table(
        table, folder / "nested.parquet", compression="zstd", data_page_size=256, write_batch_size=8, row_group_size=25
    )
    (folder / "nested.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


TYPES = {
    "boolean": (pa.bool_(), [True, None, False]),
    "f16": (pa.float16(), [1.5, None, -0.25]),
    "f64": (pa.float64(), [0.1, None, -1e300]),
    "date": (pa.date32(), [datetime.date(2024, 2, 29), None, datetime.date(1, 1, 1)]),
    "date64": (pa.date64(), [datetime.date(1969, 12, 31), None, datetime.date(9999, 12, 31)]),
    "time_ms": (pa.time32("ms"), [0, None, 86399999]),
    "time_us": (pa.time64("us"), [45296789000, None, 1]),
    "time_ns": (pa.time64("ns"), [86399999999999, None, 1]),
    "ms": (pa.timestamp("ms"), [1709210096789, None, -1]),
    "us": (pa.timestamp("us"), [1709210096789012, None, -1]),
    "ns": (pa.timestamp("ns"), [1709210096789012345, None, -1]),
    "ms_utc": (pa.timestamp("ms", "UTC"), [-62135596800000, None, 253402300799999]),
    "us_utc": (pa.timestamp("us", "UTC"), [951782400000000, None, -2208988800000000]),
    "ns_utc": (pa.timestamp("ns", "UTC"), [LAST, None, FIRST]),
    "d9": (pa.decimal128(9, 2), ["-1234567.89", None, "0.01"]),
    "d18": (pa.decimal128(18, 18), ["0.999999999999999999", None, "-0.000000000000000001"]),
    "d38": (pa.decimal128(38, 0), ["-99999999999999999999999999999999999999", None, "0"]),
    "d76": (pa.decimal256(76, 6), ["-" + "1234567890" * 7 + ".123456", None, "0.000001"]),
    "uuid": (pa.uuid(), [bytes(range(16)), None, b"\xff" * 16]),
    "bytes": (pa.binary(), [b"text", None, b"\xff\xd8\xff"]),
    "fixed": (pa.binary(3), [b"abc", None, b"\0\0\x80"]),
    "null": (pa.null(), [None, None, None]),
    "large": (pa.large_string(), ["caf\u00e9", None, ""]),
    "large_list": (pa.large_list(pa.string()), [["a", None], None, []]),
    "repeats": (pa.string(), ["same", None, "same"]),
    "struct": (
        pa.struct([("in", pa.struct([("x", pa.int32()), ("y", pa.string())]))]),
        [{"in": {"x": 1, "y": "dictionary"}}, None, {"in": None}],
    ),
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
    write_lines = lambda name, rows: (folder / name).write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    )
    table, rows = typed_table()
    write_lines("types.jsonl", rows)
    for codec in ["none", "snappy", "gzip", "brotli", "lz4", "zstd"]:
        for page in [1, 2]:
            pq.write_table(
                table,
                folder / f"types_{codec}_page{page}.parquet",
                compression=codec,
                data_page_version=f"{page}.0",
                store_schema=False,
                write_statistics=False,
                write_page_index=page == 2,
            )
    pq.write_table(table, folder / "types_decimals_as_integers.parquet", store_decimal_as_integer=True)
    numbers = table.select([c for c in table.column_names if pa.types.is_timestamp(table.schema.field(c).type)])
    pq.write_table(numbers, folder / "int96.parquet", use_deprecated_int96_timestamps=True, store_schema=False)
    write_lines("int96.jsonl", [{c: int96_text(row[c]) for c in numbers.column_names} for row in rows])

    r = random.Random(2)
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    one = lambda i: {
        "bytes": b"\xff\xd8" + r.randbytes(r.choice([9, 90, 150])) if i % 5 else None,
        "path": f"{i}.jpg" if i % 3 else None,
    }
    fields = [
        pa.field("text", pa.string()),
        pa.field("image", picture),
        pa.field("neg", pa.list_(picture)),
        pa.field("plain", pa.binary()),
    ]
    rows = [
        {
            "text": f"row {i}",
            "image": one(i) if i % 7 else None,
            "neg": [one(i + k) for k in range(i % 4)] if i % 6 else None,
            "plain": b"\x89PNG" + r.randbytes(20),
        }
        for i in range(30)
    ]
    table = pa.table([pa.array([row[f.name] for row in rows], f.type) for f in fields], schema=pa.schema(fields))
    write_lines("pictures.jsonl", [{f.name: as_json(row[f.name], f.type) for f in fields} for row in rows])
    for name, settings in {
        "none": {"compression": "none"},
        "snappy": {},
        "page2": {"compression": "zstd", "data_page_version": "2.0"},
        "dictionary": {"use_dictionary": True},
        "delta": {
            "column_encoding": {
                "image.bytes": "DELTA_BYTE_ARRAY",
                "neg.list.element.bytes": "DELTA_LENGTH_BYTE_ARRAY",
                "plain": "DELTA_BYTE_ARRAY",
            }
        },
    }.items():
        pq.write_table(
            table,
            folder / f"pictures_{name}.parquet",
            row_group_size=13,
            data_page_size=200,
            write_batch_size=3,
            write_statistics=False,
            **{"use_dictionary": False, **settings},
        )

    class Kms(encryption.KmsClient):
        wrap_key = lambda self, key, name: base64.b64encode(key)
        unwrap_key = lambda self, key, name: base64.b64decode(key)

    settings = encryption.EncryptionConfiguration(
        footer_key="f", column_keys={"k": ["secret"]}, plaintext_footer=True, double_wrapping=False
    )
    keys = encryption.CryptoFactory(lambda _: Kms()).file_encryption_properties(
        encryption.KmsConnectionConfig(), settings
    )
    pq.write_table(
        pa.table({"open": [1, 2], "secret": ["a", "b"]}),
        folder / "encrypted_column.parquet",
        encryption_properties=keys,
    )
    training = {"qry": ["one", "two"], "qry_image_path": ["", ""], "pos_text": ["1", "2"], "pos_image_path": ["", ""]}
    pq.write_table(
        pa.table({**training, "when": pa.array([1, 2], pa.timestamp("ms")), "secret": [b"\xff", None]}),
        folder / "training_with_more_columns.parquet",
        encryption_properties=keys,
    )


def int96_text(text):
    """It has nanoseconds and no time zone."""
    if text is None:
        return None
    seconds, fraction = text.removesuffix("Z").split(".")
    return f"{seconds}.{fraction:0<9}"


if __name__ == "__main__":
    golden_nested(ROOT / "tests/golden/mmeb/nested")
    golden_types(ROOT / "tests/golden/mmeb/types")
