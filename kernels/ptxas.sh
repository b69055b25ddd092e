#!/bin/sh
# Compiles every kernel with nvcc for an A100 and an H100 and prints its registers and shared memory. Fails if a kernel
# does not compile or spills registers. Needs no GPU. Usage: kernels/ptxas.sh [kernels/file.cu …]
cd "$(dirname "$0")/.." || exit 1
log=$(mktemp) && trap 'rm -f "$log"' EXIT
status=0
[ $# -gt 0 ] || set -- kernels/*.cu
for file; do
  for arch in 80 90a; do
    nvcc -std=c++20 -O3 --expt-relaxed-constexpr -Werror all-warnings -I. -Isrc -Xptxas -v -cubin -o /dev/null \
      -gencode arch=compute_$arch,code=sm_$arch "$file" >"$log" 2>&1 || { cat "$log"; status=1; }
    c++filt <"$log" | awk -v file="$(basename "$file")" -v arch="sm_$arch" '
      /Compiling entry function/ { name = $0; sub(/^[^\x27]*\x27/, "", name); sub(/\x27 for .*/, "", name)
                                   gsub(/vlm2vec::gpu::|\(anonymous namespace\)::|void |vlm2vec::/, "", name)
                                   sub(/\(.*/, "", name) }
      /bytes spill stores/       { spills = $5 + $9 }
      /Used [0-9]+ registers/    { shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART, RLENGTH - 11) : 0
                                   printf "%-22s %-8s %3d registers %6d bytes shared %4d spilled  %s\n",
                                          file, arch, $5, shared, spills, name
                                   if (spills > 0) bad = 1 }
      END { exit bad }' || status=1
  done
done
exit $status
