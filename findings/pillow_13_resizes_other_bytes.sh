#!/bin/sh
# Pillow 13.0.0 resizes some pictures to other bytes than 12.3.0: bicubic, where the width grows and the height shrinks,
# as it takes the columns first. Where both grow or both shrink the bytes are equal. Models see other pixels, without a
# word in either version. Fails if that changes. Needs Python 3.10 or later and PyPI.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q numpy==2.2.6
cat > "$work/resize.py" <<'PY'
import sys
import numpy
from PIL import Image, __version__

pixels = numpy.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=numpy.uint8)
sizes = {"wider and lower": (644, 476), "larger": (672, 504), "smaller": (616, 448), "narrower and higher": (616, 504)}
made = {name: numpy.asarray(Image.fromarray(pixels).resize(size, Image.BICUBIC)) for name, size in sizes.items()}
numpy.savez(sys.argv[1], **made)
print("Pillow", __version__)
PY
for version in 12.3.0 13.0.0; do
    "$work/env/bin/pip" install -q "pillow==$version"
    "$work/env/bin/python" "$work/resize.py" "$work/$version.npz"
done
"$work/env/bin/python" - "$work" <<'PY'
import sys
import numpy
old, new = (numpy.load(f"{sys.argv[1]}/{version}.npz") for version in ("12.3.0", "13.0.0"))
shares = {}
for name in old:
    levels = numpy.abs(old[name].astype(int) - new[name])
    shares[name] = float((levels > 0).mean())
    print(f"{name:20} {shares[name]:6.1%} of bytes differ, by up to {levels.max()} levels")
assert shares["wider and lower"] > 0.1, "the bytes are equal again"
assert shares["larger"] == shares["smaller"] == 0, "other sizes differ, too, now"
PY
