#!/bin/sh
# Who reads whose folders and adapters with equal vectors: this program and four environments of transformers, PEFT and
# sentence-transformers. Prints the table of docs/compatibility.md.
#
#   tests/interop/matrix.sh PROGRAM MODEL DATA WORK
#
# MODEL: a small Qwen2-VL checkpoint; DATA: train.jsonl beside its pictures. WORK keeps the environments (WORK/envs, 5 GB
# if pip installs the CUDA build of PyTorch) for the next time.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=$(realpath "$1") model=$(realpath "$2") data=$(realpath "$3")
mkdir -p "$4" && cd "$4"
work=$(pwd)

environment() { # NAME, PACKAGES…: NAME gets Python with them
    name=$1 && shift
    [ -x "envs/$name/bin/python" ] && return
    python3 -m venv "envs/$name"
    "envs/$name/bin/pip" install -q torch==2.7.1 torchvision==0.22.1 pillow==12.3.0 "$@"
}
environment 4.52.3+0.15.2 transformers==4.52.3 peft==0.15.2
environment 4.52.3+0.17.1 transformers==4.52.3 peft==0.17.1
environment 4.57.6+0.17.1 transformers==4.57.6 peft==0.17.1
environment 5.23.0+0.21.2 transformers==5.23.0 peft==0.21.2 sentence-transformers==6.2.0
all="4.52.3+0.15.2 4.52.3+0.17.1 4.57.6+0.17.1 5.23.0+0.21.2"
python() { name=$1 && shift && OMP_NUM_THREADS=1 "$work/envs/$name/bin/python" "$@" 2>> "$work/warnings"; }

# A picture for two prompts, one as VLM2Vec writes it and one that opens the picture.
picture=$(grep -o '"qry_image_path": "[^"]*[^"]"' "$data/train.jsonl" | head -1 | cut -d'"' -f4)
cp "$data/$picture" picture.png
cat > rows.jsonl << 'ROWS'
{"text": "Find a picture of a red cat."}
{"text": "Grüße, 世界! 12345\n"}
{"text": "<|image_pad|> Represent the given image.", "image": "picture.png"}
{"text": "<|vision_start|><|image_pad|><|vision_end|> What is it?", "image": "picture.png"}
ROWS

embed() { # OUTPUT, OPTIONS…
    output=$1 && shift
    "$program" embed --input rows.jsonl --output "$output" --quiet True "$@"
}
train() { # OUTPUT, OPTIONS…
    output=$1 && shift
    rm -rf "ours/$output"
    "$program" train --model_name ours/init --train_file "$data/train.jsonl" --output_dir "ours/$output" --max_steps 3 \
        --per_device_train_batch_size 4 --learning_rate 5e-3 --quiet True "$@"
}
mkdir -p ours && rm -rf ours/*
"$program" init --config "$model/config.json" --tokenizer "$model" --output_dir ours/init --dtype f32 --min_pixels 3136 \
    --max_pixels 200704 --quiet True
train full
train lora --lora True --use_dora False
train dora --lora True
train official --lora True --use_dora False --adapter_names official
train all-linear --lora True --use_dora False --lora_target_modules all-linear
"$program" merge --model_name ours/init --adapter ours/dora --output_dir ours/merged --quiet True
"$program" merge --model_name ours/init --sentence_transformers True --output_dir ours/sentence --quiet True

for name in $all; do
    mkdir -p "$name"
    python "$name" "$here/matrix.py" write "$work" "$name" "$model"
done
"$program" merge --model_name 5.23.0+0.21.2/folder --adapter ours/dora --output_dir ours/merged-5 --quiet True

separator=
printf '[' > jobs.json
job() { # NAME, WHAT, MODEL, ADAPTER
    embed "ours/$1.npy" --model_name "ours/$3" ${4:+--adapter "ours/$4"}
    printf '%s{"name": "%s", "what": "%s", "model": "%s", "adapter": "%s"}' "$separator" "$1" "$2" "$work/ours/$3" \
        "${4:+$work/ours/$4}" >> jobs.json
    separator=,
}
job init "folder of \`init\`" init ""
job full "folder of \`train\`" full ""
job merged "folder of \`merge\`" merged ""
job merged-5 "folder of \`merge\`, its base saved by 5.23.0" merged-5 ""
job lora "LoRA" init lora
job dora "DoRA" init dora
job all-linear "LoRA, \`all-linear\`" init all-linear
job official "LoRA, \`--adapter_names official\`" init official
printf ']\n' >> jobs.json

for name in $all; do
    python "$name" "$here/matrix.py" read "$work" "$name"
    rm -f "$name"/*-ours.npy
    for folder in folder automodel sentence; do
        [ -d "$name/$folder" ] || continue
        embed "$name/$folder-ours.npy" --model_name "$name/$folder" || true
    done
    for adapter in lora dora automodel-lora; do
        embed "$name/$adapter-ours.npy" --model_name "$model" --adapter "$name/$adapter" || true
    done
done
# shellcheck disable=SC2086
python 5.23.0+0.21.2 "$here/matrix.py" table "$work" $all
