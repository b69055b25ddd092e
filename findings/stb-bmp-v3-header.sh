#!/bin/sh
# stb_image 2.27 (Debian 12, libstb-dev) refuses BMP files whose header has 56 bytes and names colour masks
# (BITMAPV3INFOHEADER with BI_BITFIELDS): it skips the masks in the header, reads three more behind it, and then says
# "bad offset". Expected: the pixel, red 1, green 2, blue 3, alpha 255, as Pillow reads it. Files with headers of 108 and
# 124 bytes are read.
#
# Exit 0: seen again; 1: changed. Needs gcc and libstb-dev.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/read.c" <<'C'
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>
int main(void) {  // one pixel of 32 bits: file header (14 bytes), header (56) with its masks, pixel
  unsigned char file[74] = {'B', 'M', 74, 0, 0, 0, 0, 0, 0, 0, 70, 0, 0, 0, 56, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0,
                            32, 0, 3, 0, 0, 0, 4};
  file[56] = file[59] = file[62] = file[69] = 255;              // masks of red, green, blue, alpha
  file[70] = 3, file[71] = 2, file[72] = 1, file[73] = 255;
  int width, height, channels;
  unsigned char* pixel = stbi_load_from_memory(file, sizeof file, &width, &height, &channels, 4);
  if (pixel) printf("read: %d %d %d %d\n", pixel[0], pixel[1], pixel[2], pixel[3]);
  else printf("refused: %s\n", stbi_failure_reason());
  return pixel != NULL;
}
C
gcc -w -o "$folder/read" "$folder/read.c" -lm
"$folder/read"
