#!/bin/bash
# Checks the program on a machine with a GPU, within eight minutes, and writes a page of the results.
#   tools/gpu_check.sh [FOLDER]      FOLDER: where the program and its tests were built (build-cuda), or a pack
#   tools/gpu_check.sh pack FOLDER   makes a pack of BUILD: FOLDER and the tracked tree, for a machine without packages
# A check that fails does not end the others; the exit status is 1 then. DEVICE=emu tries the script without a GPU.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C
DEVICE=${DEVICE:-cuda} BUILD=${BUILD:-build-cuda} OUT=${OUT:-runs/gpu-check}
task=check
[ "${1:-}" != pack ] || { task=pack; shift; }
folder=$(realpath -m "${1:-$BUILD}")
work=$(realpath -m "$OUT/work")

# What the checks compute, and how long they may take. The emulator gets tiny sizes and more time.
if [ "$DEVICE" = cuda ]; then
  large=examples/qwen2-vl-2b.json tokenizer=tests/golden/tokenizers/qwen2
  patience=1 LIMIT=${LIMIT:-470}
  sizes=(STEPS=300 BATCH=128 GAIN=15 PAIRS=1024 CHUNK=64 TRAIN_ROWS=150 TEST_ROWS=20)
  tests='Op.*:AttentionOp.*:InfoNce*:Device*:*Golden*'
else
  large=tests/golden/qwen2_vl/tiny/config.json tokenizer=tests/golden/qwen2_vl/tiny
  patience=5 LIMIT=${LIMIT:-1800}
  sizes=(STEPS=2 BATCH=4 GAIN=-100 PAIRS=8 CHUNK=4 TRAIN_ROWS=8 TEST_ROWS=2)
  tests='Op.*add*:InfoNce.*'
fi
for size in "${sizes[@]}"; do
  name=${size%=*}
  declare "$name=${!name:-${size#*=}}"
done
sanitized='Op.agrees_in_bf16/*norm*:Op.agrees_in_bf16/infonce*:Op.agrees_in_bf16/*sum*:AttentionOp.*/64'

# Runs a command until the check's time is over, with the libraries of the pack.
ours() {
  local left=$((stop - SECONDS))
  timeout -k 5 $((left > 0 ? left : 1)) env LD_LIBRARY_PATH="$folder/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$@"
}
vlm() { ours "$folder/vlm2vec" "$@"; }
figure() { echo "$*" >&3; }  # the last column of the check's line
# field NAME FILE: of the last JSON line that has it
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p" "$2" | tail -n 1; }
cached() { sed -n "s/^$1:INTERNAL=//p" "$folder/CMakeCache.txt"; }

make_data() { vlm data mini --output_dir "$1" --train_rows "$TRAIN_ROWS" --test_rows "$TEST_ROWS" --quiet; }

pack() {
  local file stop=$((SECONDS + 600)) target=$folder
  [ ! -e "$target" ] || [ -f "$target/pack.tar.xz" ] ||
    { echo "gpu_check.sh pack: $target is there and is not a pack; name another folder" >&2; return 2; }
  rm -rf "$target" && mkdir -p "$target/tests" "$target/lib" || return 4
  for file in vlm2vec kernels_bench tests/tests tests/cublas_test tests/libcublasLt.so.13; do
    [ ! -e "$BUILD/$file" ] || strip -o "$target/$file" "$BUILD/$file" || return 1
  done
  # All but glibc's, which belong to the machine's loader.
  ldd "$target/vlm2vec" "$target/tests/tests" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
    grep -vE '/(ld-linux[^/]*|lib(c|m|pthread|dl|rt|resolv|util))\.so\.[0-9]+$' |
    xargs cp -L -t "$target/lib" || return 1
  grep -E '^CMAKE_(HOME_DIRECTORY|CACHEFILE_DIR):' "$BUILD/CMakeCache.txt" >"$target/CMakeCache.txt"
  git describe --always --dirty >"$target/commit"
  make_data "$target/data" || return 1
  # The programs hold the same kernels: xz keeps them once.
  (cd "$target" && tar -cJf pack.tar.xz --remove-files vlm2vec kernels_bench tests lib data CMakeCache.txt commit) ||
    return 1
  local tree pack most=$((64 << 20))
  tree=$(git ls-files -z | du -cb --files0-from=- | awk 'END { print $1 }') pack=$(du -sb "$target" | cut -f 1)
  awk -v t="$tree" -v p="$pack" -v m="$most" -v target="${target#"$PWD"/}" 'BEGIN {
    printf "%s: %.1f MiB, with the tracked tree %.1f MiB, at most 64\n", target, p / 2^20, (p + t) / 2^20
    exit t + p > m }'
}

# The page's line of facts.
fact() { echo "| $1 | $2 |" >>"$OUT/facts"; }

# check NAME SECONDS COMMAND…: runs it in a shell of its own, for so long at most.
failed=0
check() {
  local name=$1 most=$(($2 * patience)) begin=${EPOCHREALTIME/./} code=1 result shown
  shift 2
  stop=$((SECONDS + most < LIMIT ? SECONDS + most : LIMIT))
  : >"$OUT/figure"
  if [ "$SECONDS" -ge "$LIMIT" ]; then
    echo "no time was left" | tee "$OUT/figure" >"$OUT/$name.log"
    code=78
  else
    (set -e; "$@") >"$OUT/$name.log" 2>&1 3>"$OUT/figure"
    code=$?
  fi
  case $code in
    0) result=ok ;;
    77) result='not run' ;;
    78) result='not run' failed=1 ;;
    *) result=FAILED failed=1
       [ -s "$OUT/figure" ] || tail -n 1 "$OUT/$name.log" >"$OUT/figure"
       [ "$SECONDS" -lt "$stop" ] || echo "stopped when its time was over" >>"$OUT/figure" ;;
  esac
  shown=$(tr -s '\n|' ' /' <"$OUT/figure" | sed 's/ *$//')
  printf -v seconds %.1f "$(((${EPOCHREALTIME/./} - begin) / 100000))e-1"
  printf '%-20s %-7s %6s s  %s\n' "$name" "$result" "$seconds" "$shown"
  echo "| $name | $result | $seconds | $shown |" >>"$OUT/rows"
}

card() {
  vlm version
  vlm doctor | tee "$OUT/doctor"
  nvidia-smi || true
  figure "$(sed -n 's/^GPU *//p' "$OUT/doctor" | head -n 1)"
  [ "$DEVICE" != cuda ] || ! grep -qE '^GPU +(none|an NVIDIA GPU is present, but)' "$OUT/doctor"
}

# Tests know the folders in which they were built. Until the end, these names are links to the folders here.
name_places() {
  local source build
  source=$(cached CMAKE_HOME_DIRECTORY) build=$(cached CMAKE_CACHEFILE_DIR)
  name_place "$source" "$PWD" && name_place "$build" "$folder"
}
name_place() {
  [ ! "$1" -ef "$2" ] || return 0
  [ ! -e "$1" ] || return 1  # something else has the name
  mkdir -p "${1%/*}" && ln -sn "$2" "$1" && links=("$1" "${links[@]}")  # the last one is removed first
}
places_are_named() { [ -z "$unnamed" ] || { figure "$unnamed"; return 1; }; }

# Several processes share the tests.
device_tests() {
  local n i code=0 processes=()
  n=$(nproc) && n=$((n < 8 ? n : 8))
  places_are_named
  for ((i = 0; i < n; ++i)); do
    GTEST_TOTAL_SHARDS=$n GTEST_SHARD_INDEX=$i ours "$folder/tests/tests" --gtest_filter="$tests" >"$OUT/shard$i" 2>&1 &
    processes+=($!)
  done
  for i in "${processes[@]}"; do wait "$i" || code=1; done
  cat "$OUT"/shard*
  figure "$(awk '/^\[       OK/ { ++passed } /^\[  FAILED  \].*\(/ { ++failed }
                 END { printf "%d tests passed, %d failed", passed, failed }' "$OUT"/shard*)" \
    "$(sed -n 's/^\[  FAILED  \] \([A-Za-z]*\..*[^)]\)$/\1/p' "$OUT"/shard* | sort -u | head -n 3)"
  grep -q '^\[  PASSED  \] [1-9]' "$OUT"/shard* && return $code
}

cublas_tests() {
  [ -e "$folder/tests/cublas_test" ] || { figure "there is no $folder/tests/cublas_test"; return 77; }
  places_are_named
  ours "$folder/tests/cublas_test" | tee "$OUT/cublas"
  figure "$(sed -n 's/^\[  PASSED  \] \(.*\)\./\1 passed/p' "$OUT/cublas"), with a stand-in on the CPU"
}

selftest() {
  vlm selftest --device "$DEVICE" $own_products | tee "$OUT/selftest"
  figure "$(grep -cE '(ok|MISSED)$' "$OUT/selftest") checks"
}

# repeatable OPTION…: the same training twice, and once with an interruption: the same bits.
repeatable() {
  local run=$work/repeat file form kind train
  for form in f32 bf16; do
    for kind in full lora; do
      rm -rf "$run" && mkdir -p "$run"
      train=(train --model_name "$work/init" --dataset_name "$work/data/MMEB-train" --sampling balanced
             --per_device_train_batch_size "$((BATCH < 32 ? BATCH : 32))" --gc_q_chunk_size 3 --gc_p_chunk_size 3
             --learning_rate 1e-3 --temperature 0.05 --max_steps 3 --save_steps 2 --precision "$form"
             --device "$DEVICE" "$@" --quiet)
      file=model.safetensors
      [ "$kind" = full ] || { file=adapter_model.safetensors
                              train+=(--lora True --use_dora False --lora_dropout 0.1); }
      vlm "${train[@]}" --output_dir "$run/one"
      vlm "${train[@]}" --output_dir "$run/two"
      cp -r "$run/one" "$run/resumed"
      rm -f "$run/resumed/$file" "$run/resumed/training_state.json"
      vlm "${train[@]}" --output_dir "$run/resumed" --resume_from auto
      cmp "$run/one/$file" "$run/two/$file"
      cmp "$run/one/$file" "$run/resumed/$file"
    done
  done
  figure "3 steps twice, and resumed after 2: the same bits, of full training and LoRA, in f32 and bf16"
}

# Lines for embed, from rows of the miniature MMEB.
make_lines() {
  head -q -n 3 "$work"/data/MMEB-train/*/original.jsonl | sed 's/<|image_1|>\\n//g
    s/^{"qry":\(".*"\),"qry_image_path":\("[^"]*"\),"pos_text":.*/{"text":\1,"image":\2}/; s/,"image":""//' \
    >"$work/lines.jsonl"
}
# embed DEVICE PRECISION BATCH OUTPUT OPTION…
embed() {
  local device=$1 precision=$2 batch=$3 output=$4
  shift 4
  vlm embed --model_name tests/golden/qwen2_vl/tiny --prompt vlm2vec-v2 --input "$work/lines.jsonl" \
    --image_dir "$work/data/MMEB-train" --output "$output" --quiet --device "$device" --precision "$precision" \
    --batch_size "$batch" "$@"
}

independent_of_the_batch() {
  local batch
  make_lines
  for batch in 32 7 1; do
    embed "$DEVICE" f32 $batch "$work/batch$batch.npy" $own_products
    cmp "$work/batch$batch.npy" "$work/batch32.npy"
  done
  figure "$(wc -l <"$work/lines.jsonl") rows in batches of 32, 7 and 1: the same bits"
}

# The largest difference of the numbers of two files of unit vectors, and the smallest cosine of their rows.
vectors() {  # FILE.npy → a number per line, after the number of columns
  local header
  header=$(od -An -tu2 -j 8 -N 2 "$1")
  head -c 128 "$1" | tr -d '\0' | sed -n "s/.*'shape': ([0-9]*, \([0-9]*\)).*/\1/p" | head -n 1
  od -An -v -tf4 -w4 -j $((10 + header)) "$1"
}
difference() {
  paste <(vectors "$1") <(vectors "$2") | awk 'NR == 1 { columns = $1; next }
    { d = $1 - $2; if (d < 0) d = -d; if (d > most) most = d
      dot += $1 * $2; a += $1 * $1; b += $2 * $2; bad += $1 != $1 || $2 != $2 || NF != 2
      if ((NR - 1) % columns == 0) { cosine = dot / sqrt(a * b); if (!rows++ || cosine < least) least = cosine
                                     dot = a = b = 0 } }
    END { if (bad || !rows) most = 9
          printf "%.2g %.6f\n", most, least }'
}
holds() { awk "BEGIN { exit !($*) }"; }

agreement() {
  local other most cosine said=
  make_lines
  embed cpu f32 32 "$work/cpu.npy"
  embed "$DEVICE" f32 32 "$work/device.npy" $products
  embed "$DEVICE" bf16 32 "$work/bf16.npy" $products
  embed emu f32 32 "$work/emu.npy"
  for other in cpu emu; do
    read -r most cosine < <(difference "$work/device.npy" "$work/$other.npy")
    said+="f32 against $other: at most $most apart; "
    holds "$most <= 5e-6" || { figure "$said"; return 1; }
  done
  read -r most cosine < <(difference "$work/bf16.npy" "$work/cpu.npy")
  figure "${said}bf16: cosine at least $cosine"
  holds "$cosine >= 0.999"
}

# Every stage of a text with a picture, against the CPU's.
stages() {
  local model=tests/golden/qwen2_vl/tiny text='<|image_pad|> Name it.'
  local picture=$PWD/tests/golden/qwen2_vl/images/photo.jpg
  mkdir -p "$work/stages"
  echo "[{\"name\": \"one\", \"text\": \"$text\", \"images\": [\"$picture\"]}]" >"$work/stages/cases.json"
  vlm explain --model_name "$model" --text "$text" --image "$picture" --device cpu --dump "$work/stages/one.safetensors"
  vlm parity --model_name "$model" --reference "$work/stages" --device "$DEVICE" $products | tee "$OUT/stages"
  figure "$(sed -n 's/^one *//p' "$OUT/stages" | tr -s ' ')"
}

# Times of the kernels, beside PyTorch's if python3 has it.
kernel_times() {
  local beside='' without=', python3 has no torch'
  [ -x "$folder/kernels_bench" ] || { figure "there is no $folder/kernels_bench"; return 77; }
  if python3 -c 'import torch' 2>/dev/null; then
    ours "$folder/kernels_bench" --device "$DEVICE" --list >"$OUT/cases.jsonl"
    timeout 60 python3 bench/rivals/kernels.py --device "${DEVICE/emu/cpu}" "$OUT/cases.jsonl" >"$OUT/torch.jsonl" || :
    beside="--beside $OUT/torch.jsonl" without=
  fi
  ours "$folder/kernels_bench" --device "$DEVICE" $beside --output "$OUT/kernels.jsonl" | tee "$OUT/kernels.md"
  figure "$(grep -c . "$OUT/kernels.jsonl") cases$without"
}

# sanitized memcheck|racecheck
sanitized() {
  local tool code=0
  tool=$(PATH=$PATH:/usr/local/cuda/bin command -v compute-sanitizer) ||
    { figure "compute-sanitizer is not here"; return 77; }
  places_are_named
  ours "$tool" --tool "$1" --error-exitcode 1 "$folder/tests/tests" --gtest_filter="$sanitized" |
    tee "$OUT/$1" || code=1
  ! grep -q 'Device not supported' "$OUT/$1" ||
    { figure "compute-sanitizer does not work on this machine"; return 77; }
  figure "$(grep -E '(ERROR|RACECHECK) SUMMARY' "$OUT/$1" | tail -n 1 | sed 's/^=* *//')"
  return $code
}

score() { sed -n 's/^{"overall":\([0-9]*\.\{0,1\}[0-9]\{0,1\}\).*/\1/p' "$1"; }

demo() {
  local run=$work/demo before after
  mkdir -p "$run"
  vlm train --model_name "$work/init" --dataset_name "$work/data/MMEB-train" --output_dir "$run/model" --quiet \
    --max_steps "$STEPS" --sampling balanced --per_device_train_batch_size "$BATCH" --temperature 0.05 \
    --learning_rate 3e-3 --warmup_ratio 0.05 --weight_decay 0.01 --adam_beta2 0.98 --device "$DEVICE" $products --json |
    tee "$run/trained.json"
  for model in "$work/init" "$run/model"; do
    vlm eval --model_name "$model" --dataset_name "$work/data/MMEB-eval" --quiet --json --device "$DEVICE" $products \
      --encode_output_path "$run/$(basename "$model").scores" | tee "$run/$(basename "$model").json"
  done
  before=$(score "$run/init.json") after=$(score "$run/model.json")
  figure "Precision@1 $before % before, $after % after $STEPS steps of $BATCH pairs," \
    "$(field pairs_per_second "$run/trained.json" | sed 's/\..*//') pairs a second"
  holds "$after >= $before + $GAIN"
}

# One step of the large model to start, one to measure.
large_step() {
  local run=$work/step step planned held
  wait_for_large
  step=(train --model_name "$work/large" --dataset_name "$work/data/MMEB-train" --sampling balanced --output_dir "$run"
        --per_device_train_batch_size "$PAIRS" --gc_q_chunk_size "$CHUNK" --gc_p_chunk_size "$CHUNK" --lora True
        --use_dora False --max_steps 2 --save_strategy no --precision bf16 --device "$DEVICE" $products --json)
  vlm "${step[@]}" --plan | tee "$OUT/plan"
  nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -lms 200 >"$OUT/used" 2>/dev/null & smi=$!
  trap 'kill $smi 2>/dev/null || true' EXIT
  vlm "${step[@]}" --quiet | tee "$OUT/step"
  kill $smi 2>/dev/null || true
  # On a card: what the driver's pool took of it. The emulator has tensors only.
  planned=$(field card_predicted "$OUT/plan") held=$(field card_bytes "$OUT/step")
  [ "$DEVICE" = cuda ] || { planned=$(field predicted_peak "$OUT/plan") held=$(field peak_bytes "$OUT/step"); }
  figure "$(awk -v pairs="$PAIRS" -v s="$(field seconds "$run/log.jsonl")" -v held="$held" -v planned="$planned" '
    $1 > used { used = $1 }
    END { printf "%d pairs in %.2f s a step; at most %.2f GB, planned %.2f GB (%+.1f %%)", pairs, s, held / 1e9,
                 planned / 1e9, (held / planned - 1) * 100
          if (used) printf "; with CUDA itself %.2f GB by nvidia-smi", used * 2^20 / 1e9 }' "$OUT/used")${products:+; $products}"
  holds "$held <= 1.03 * $planned && $held >= 0.97 * $planned"
}
wait_for_large() {
  while kill -0 "$maker" 2>/dev/null && [ "$SECONDS" -lt "$stop" ]; do sleep 1; done
  cat "$OUT/init_large.log"
  [ -f "$work/large/made" ]
}

if [ $task = pack ]; then
  pack
  exit
fi

[ ! -f "$folder/pack.tar.xz" ] || tar -xJf "$folder/pack.tar.xz" -C "$folder" ||
  python3 -m tarfile -e "$folder/pack.tar.xz" "$folder" || exit 4  # a machine without xz
[ -x "$folder/vlm2vec" ] || { echo "gpu_check.sh: $folder/vlm2vec is not there; make gpu-check builds it" >&2; exit 2; }
if [ "$DEVICE" = cuda ]; then
  reason=$("$folder/vlm2vec" doctor | sed -n 's/^GPU *//p' | head -n 1)
  case $reason in 'none'* | 'an NVIDIA GPU is present, but'*)
    echo "gpu_check.sh: no GPU to check ($reason); DEVICE=emu tries the script without one" >&2
    exit 5 ;;
  esac
fi
# An older result goes; a folder of something else stays.
mkdir -p "$OUT" && if [ -e "$OUT/rows" ]; then find "$OUT" -mindepth 1 -delete; fi
[ -z "$(ls -A "$OUT")" ] || { echo "gpu_check.sh: $OUT has other files; name another folder in OUT" >&2; exit 2; }
mkdir -p "$work" || exit 4
links=() unnamed=
trap 'kill "$maker" 2>/dev/null; rm -rf "$work"; rm -f "${links[@]}"' EXIT
name_places ||
  unnamed="the tests need this folder under the name $(cached CMAKE_HOME_DIRECTORY), which is taken or cannot be made"
stop=$LIMIT

# Products are cublasLt's where it is found, else those of the program's kernels.
products= own_products= library=
if [ "$DEVICE" = cuda ]; then
  own_products='--cublas False'
  for version in 13 12; do
    library=$(timeout 20 find ${VLM2VEC_CUDA_LIBRARIES:+"$VLM2VEC_CUDA_LIBRARIES"} /usr/local /usr/lib /opt "$HOME" \
      -name "libcublasLt.so.$version" -not -path '*/tests/*' -print -quit 2>/dev/null)
    [ -z "$library" ] || break
  done
  if [ -n "$library" ]; then export VLM2VEC_CUDA_LIBRARIES=${library%/*}
  else products=$own_products PAIRS=$((PAIRS < 32 ? PAIRS : 32)); export VLM2VEC_TEST_CUBLAS=False; fi
fi

if [ -d "$folder/data" ]; then cp -r "$folder/data" "$work"
else make_data "$work/data"; fi >"$OUT/data.log" 2>&1
vlm init --config examples/mini-qwen2-vl.json --train_tokenizer "$work/data/MMEB-train" --min_pixels 1024 \
  --max_pixels 9216 --output_dir "$work/init" --quiet >>"$OUT/data.log" 2>&1
# Random weights of the large model take a minute or two, beside the first checks.
{ vlm init --config "$large" --tokenizer "$tokenizer" --dtype bf16 --output_dir "$work/large" &&
  touch "$work/large/made"; } >"$OUT/init_large.log" 2>&1 &
maker=$!

check card 30 card
check tests 150 device_tests
check cublas_test 30 cublas_tests
check selftest 60 selftest
check repeats 60 repeatable $products
[ -z "$library" ] || check repeats_own_kernels 60 repeatable --cublas False
check batches 30 independent_of_the_batch
check agreement 60 agreement
check stages 30 stages
check kernels 100 kernel_times
check demo 90 demo
check step 150 large_step
check memcheck 60 sanitized memcheck
check racecheck 60 sanitized racecheck

fact card "$(nvidia-smi --query-gpu=name,memory.total --format=csv,noheader 2>/dev/null ||
  sed -n 's/^GPU *//p' "$OUT/doctor")"
fact driver "$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null || echo none)"
fact program "$(vlm version | head -n 1)"
fact cublasLt "${library:-not used}"
fact date "$(date -u +%Y-%m-%d)"
fact commit "$(cat "$folder/commit" 2>/dev/null || git describe --always --dirty)"
{
  title='Results on a GPU'
  [ "$DEVICE" = cuda ] || title="A trial of the script on the device $DEVICE: nothing here ran on a GPU"
  printf '%s\n' "# $title" "" \
    "\`make gpu-check\` wrote this page, with \`--device $DEVICE\`, in $SECONDS seconds." "" "| | |" "|---|---|"
  cat "$OUT/facts"
  printf '%s\n' "" "| check | result | seconds | figure |" "|---|---|---|---|"
  cat "$OUT/rows"
  [ ! -s "$OUT/kernels.md" ] || { printf '%s\n' "" "## Kernels" ""; cat "$OUT/kernels.md"; }
} >"$OUT/gpu-results.md"
echo "$OUT/gpu-results.md: the page; beside it, what each check printed"
exit $failed
