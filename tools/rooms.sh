#!/bin/bash
# Draws the rooms of the source as a staircase (SVG): a dot says that the room of its line includes the room of its
# column. docs/rooms.svg is what this prints:   tools/rooms.sh > docs/rooms.svg
set -euo pipefail
export LC_ALL=C
cd "${1:-$(dirname "$0")/..}"

# "header:file" for every include of a header of ours, then the drawing.
include='^[[:space:]]*#[[:space:]]*include[[:space:]]*"'
grep -rE "$include" --include='*.h' --include='*.cpp' --include='*.cu' src kernels |
  sed -E 's/^(src\/)?([^:]*):[^"]*"([^"]*)".*/\3:\2/' | sort -u | awk -F: '
BEGIN {
  # From the ground floor up; a room includes itself and those below it.
  room("io", "files and their formats: JSON lines, safetensors, npy, zip, tar, Parquet")
  room("kernels", "every CUDA kernel, and the emulator that runs it on the CPU")
  room("tensor", "Tensor: numbers in memory; threads; the fast versions for the CPU")
  room("autograd", "Var: numbers with a history; the gradient of every op")
  room("nn", "layers, adapters (LoRA, DoRA), AdamW, loading by name")
  room("vlm", "the model families, tokenizer, pictures, prompts")
  room("mmeb/registry", "the 36 sets and the results published on them")
  room("mmeb/data", "rows and pictures of data sets, where they lie")
  room("mmeb/training", "sampler, GradCache, the training loop")
  room("mmeb/evaluation", "ranking, metrics, intervals, the leaderboard file")
  room("mini", "the miniature MMEB, drawn from emoji")
  room("show", "the report, the search page, the selftest")
  room("cli", "one thin file for each command")
}
function room(name, about) { number[name] = ++rooms; name_of[rooms] = name; about_of[rooms] = about }
function room_of(path,   part) {
  split(path, part, "/")
  if (path == "main.cpp") return "cli"
  return part[1] == "mmeb" ? part[1] "/" part[2] : part[1]
}
{
  from = room_of($2); to = room_of($1)
  if (!(from in number) || !(to in number)) { print "rooms.sh: no room for " $0 > "/dev/stderr"; exit bad = 1 }
  if (number[from] >= number[to]) uses[number[from], number[to]] = 1
  else if (!seen[from, $1]++) above[from] = above[from] " " $1  # told in words
}
END {
  if (bad) exit 1
  step = 30; height = 34; left = 16; top = 14; width = 720; bottom = top + rooms * height
  words[legend = 1] = "● the room of this line includes the room of this column"
  for (i = 1; i <= rooms; ++i)
    if (name_of[i] in above) words[++legend] = name_of[i] " includes from above:" above[name_of[i]]
  all = bottom + 14 + 20 * legend
  printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" ", width, all, \
         width, all
  print "font-family=\"sans-serif\" font-size=\"13\">"
  print "<title>The rooms of the source: each includes itself and rooms below it</title>"
  print "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
  for (j = 1; j < rooms; ++j) {  # a line up from every room, for the eye
    x = left + (j - 1) * step + 12
    printf "<path d=\"M%d %dV%d\" stroke=\"#dde3ea\"/>\n", x, bottom - j * height, top + 6
  }
  for (i = rooms; i >= 1; --i) {
    x = left + (i - 1) * step; y = bottom - i * height; middle = y + height / 2
    for (j = 1; j < i; ++j)
      if ((i, j) in uses)
        printf "<circle cx=\"%d\" cy=\"%d\" r=\"4.5\" fill=\"#3566a8\"><title>%s includes %s</title></circle>\n",
               left + (j - 1) * step + 12, middle, name_of[i], name_of[j]
    box = 20 + 7.6 * length(name_of[i])
    printf "<rect x=\"%d\" y=\"%d\" width=\"%.0f\" height=\"%d\" rx=\"4\" fill=\"#e6eefa\" stroke=\"#3566a8\"/>\n",
           x, y + 4, box, height - 8
    printf "<text x=\"%d\" y=\"%d\" font-weight=\"bold\" fill=\"#1d3a66\">%s</text>\n", x + 9, middle + 5, name_of[i]
    printf "<text x=\"%.0f\" y=\"%d\" fill=\"#444\">%s</text>\n", x + box + 10, middle + 5, about_of[i]
  }
  for (i = 1; i <= legend; ++i)
    printf "<text x=\"%d\" y=\"%d\" fill=\"#666\" font-size=\"12\">%s</text>\n", left, bottom + 6 + 20 * i, words[i]
  print "</svg>"
}'
