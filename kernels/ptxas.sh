#!/bin/sh
# Compiles every kernel with nvcc for an A100 and an H100. It compares registers and static shared memory, and counts of
# instructions in the PTX for the H100, with the table of this nvcc, kernels/registers-nvcc-VERSION.txt; UPDATE=1 writes
# the table. Counted are products of tensor cores (mma), asynchronous copies (cp.async) and other accesses of 16 bytes.
# Fails if a kernel does not compile, spills registers or uses local memory. Needs no GPU. With files as arguments it
# prints their rows only.
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C
made=$(mktemp -d) && trap 'rm -rf "$made"' EXIT
table=kernels/registers-nvcc-$(nvcc --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p').txt
[ $# -eq 0 ] || { table= && UPDATE=; }
[ $# -gt 0 ] || set -- kernels/*.cu
status=0
for file; do
  nvcc -std=c++20 -O3 --expt-relaxed-constexpr -Werror all-warnings -I. -Isrc -Xptxas -v -fatbin -o "$made/fatbin" \
    -keep -keep-dir "$made" -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90a,code=sm_90a "$file" >"$made/log" 2>&1 ||
    { cat "$made/log" >&2; status=1; }
  cat "$made/log" "$made/$(basename "$file" .cu).compute_90a.ptx" | c++filt | awk -v file="$(basename "$file")" '
    function short(name) {
      gsub(/vlm2vec::gpu::|\(anonymous namespace\)::|void |vlm2vec::/, "", name)
      sub(/\(.*/, "", name)
      return name
    }
    /Compiling entry function/ { arch = $0; sub(/.*\x27 for \x27/, "", arch); sub(/\x27.*/, "", arch)
                                 name = $0; sub(/^[^\x27]*\x27/, "", name); sub(/\x27 for .*/, "", name)
                                 name = short(name); names[name] }
    /bytes stack frame/        { if ($1 + $5 + $9 > 0) {
                                   printf "%s: %s on %s: %d bytes of local memory, %d spilled\n", file, name, arch, $1,
                                          $5 + $9 > "/dev/stderr"
                                   bad = 1 } }
    /Used [0-9]+ registers/    { registers[name, arch] = $5; shared[name, arch] = 0
                                 if (match($0, /[0-9]+ bytes smem/))
                                   shared[name, arch] = substr($0, RSTART, RLENGTH - 11) }
    /\.entry /                 { entry = $0; sub(/.*\.entry /, "", entry); entry = short(entry) }
    /mma\.sync/                { products[entry]++ }
    /cp\.async\.c[ag]/            { copies[entry]++ }
    /(ld|st)\.[a-z.]*v4\.[a-z]32/ { wide[entry]++ }
    END { for (name in names)
            printf "%4d %6d %6d %6d %5d %9d %6d  %-27s %s\n", registers[name, "sm_80"], shared[name, "sm_80"],
                   registers[name, "sm_90a"], shared[name, "sm_90a"], products[name], copies[name], wide[name], file,
                   name
          exit bad }' >"$made/rows" || status=1
  sort -k8 "$made/rows" >>"$made/all"
done
{ printf "%s\n" "   sm_80       sm_90a" \
    " reg shared    reg shared   mma  cp.async  16 B   file                        kernel"
  cat "$made/all"; } >"$made/table"
count="$(wc -l <"$made/all") kernels"
if [ "$status" -ne 0 ]; then
  echo "make kernels: a kernel does not compile, spills or uses local memory" >&2
elif [ "${UPDATE:-}" = 1 ]; then
  cp "$made/table" "$table" && echo "$table: $count, no spills, no local memory"
elif [ -f "$table" ]; then
  if diff -U 0 "$table" "$made/table"; then echo "$count, no spills, no local memory, as in $table"
  else echo "make kernels: $table has other numbers; write it anew: make kernels UPDATE=1" >&2; status=1; fi
else
  cat "$made/table"
  [ -z "$table" ] || echo "$count, no spills, no local memory; no table is committed for this nvcc: $table" >&2
fi
exit "$status"
