#!/bin/bash
# Takes each __syncthreads, __syncwarp and wait_for_copies out of the kernels, one at a time, and runs their tests,
# which go through every order of threads. What no order brings out, the tracer must notice. Fails if neither does.
# Works on a copy, build-mutate/tree. Arguments: files of kernels/, with or without the folder; else all.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/../.."
tree=$PWD/build-mutate/tree built=$PWD/build-mutate/built
barrier='(^|[^:a-z_])(__syncthreads|__syncwarp|wait_for_copies(<[0-9]>)?)\([^()]*\);'

# A file whose content is the same keeps its time: a second run builds little.
copy() {
  find kernels src/io src/tensor tests -name golden -prune -o -type f -print | while read -r file; do
    if ! cmp -s "$file" "$tree/$file"; then install -D -m 644 "$file" "$tree/$file"; fi
  done
}
build() { cmake --build "$built" -j "${JOBS:-1}" --target "$1" >"$built/log" 2>&1; }
# Prints which test fails. A kernel without a barrier might not end: it gets five minutes of the processor, which a
# machine with other work may give it slowly.
run() {
  (ulimit -t 300 && exec timeout 3600 "$built/$1" --gtest_brief=1 --gtest_fail_fast "${@:2}") >"$built/said" 2>&1 &&
    return 0
  grep -m1 -oE 'FAILED  ] [A-Za-z_./0-9]*' "$built/said" | cut -c11- || echo "a test that crashes or does not end"
  return 1
}
# Says whether the copy, as it is now, is noticed, and by what.
judge() {
  build kernel_tests || { echo "noticed by the compiler"; return; }
  by=$(run kernel_tests) || { echo "noticed by $by"; return; }
  build trace_test || { echo "noticed by the compiler"; return; }
  by=$(run trace_test --gtest_filter='*KernelsHoldTheirLimits*') || { echo "noticed by $by, by no order"; return; }
  echo MISSED
}

files=()
for file in "$@"; do
  file=kernels/${file#kernels/}
  [ -f "$file" ] || { echo "make mutate: there is no file $file" >&2; exit 2; }
  files+=("$file")
done
[ ${#files[@]} -gt 0 ] || files=(kernels/*.cu kernels/*.h)

copy
cmake -S "$tree/tests/trace" -B "$built" -G Ninja >/dev/null
build kernel_tests || { tail -20 "$built/log" >&2; echo "make mutate: the kernels do not compile" >&2; exit 2; }
by=$(run kernel_tests) || { echo "make mutate: $by fails without a mutation" >&2; exit 2; }

mutants=0 missed=0
for file in "${files[@]}"; do
  # These say what a barrier is.
  case $file in */cuda.h | */emulator.h | */tensor_core.h) continue ;; esac
  cp "$tree/$file" "$built/original"
  while IFS=: read -r line text; do
    for number in $(seq "$(grep -oE "$barrier" <<<"$text" | wc -l)"); do
      what=$(grep -oE "$barrier" <<<"$text" | sed -n "${number}p" | grep -oE '(__)?[a-z_]+' | head -1)
      sed -E "${line}s/$barrier/\\1(void)0;/$number" "$built/original" >"$tree/$file"
      result=$(judge)
      mutants=$((mutants + 1))
      [ "$result" != MISSED ] || missed=$((missed + 1))
      printf '%-36s %-17s %s\n' "$file:$line" "$what" "$result"
    done
  done < <(grep -nE "$barrier" "$built/original")
  cp "$built/original" "$tree/$file"
done
[ "$mutants" -gt 0 ] || { echo "make mutate: no barrier stands in ${files[*]}" >&2; exit 2; }
echo "$mutants mutants, $missed missed"
[ "$missed" = 0 ]
