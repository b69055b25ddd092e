#!/bin/sh
# Pillow 12.3.0 and 13.0.0 do not read back what they wrote: a picture with a palette of black and white (mode P) is
# saved as a BMP of 8 bits a pixel with two colours, which is valid, but opened as mode 1, with the rows taken for rows
# of 1 bit a pixel. Expected: the same picture. No error and no warning; every pixel comes out black here.
#
# Exit 0: seen again; 1: changed. Needs Python 3.10 or later and PyPI.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 12.3.0 13.0.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install -q "pillow==$version"
  "$folder/$version/bin/python" - <<'PYTHON'
import io, sys, PIL
from PIL import Image
bits = [0, 1, 1, 0, 1, 1, 0, 0, 1, 0]
picture = Image.new("P", (5, 2))
picture.putpalette([0, 0, 0, 255, 255, 255])
picture.putdata(bits)
file = io.BytesIO()
picture.save(file, "BMP")
again = Image.open(file)
read = [level // 255 for level in again.convert("L").tobytes()]
print(f"Pillow {PIL.__version__}: wrote {bits}, opened as mode {again.mode}, read {read}")
sys.exit(0 if read != bits else 1)
PYTHON
done
