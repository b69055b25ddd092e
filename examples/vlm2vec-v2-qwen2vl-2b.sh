#!/bin/bash
# VLM2Vec V2 on Qwen2-VL-2B, pictures only: DoRA on the decoder, 5000 steps of 1024 pairs in blocks of one set.
# Values are those of the official train_v2-qwen2vl-2B_imageonly.sh unless a comment names another source. Set the first
# three for yourself, in this file or before the command.
set -eu
MODEL=${MODEL:-Qwen2-VL-2B-Instruct}            # the checkpoint's folder
TRAIN=${TRAIN:-.}                               # joined before the relative folders in CONFIG
OUTPUT=${OUTPUT:-runs/vlm2vec-v2-qwen2vl-2b}
CONFIG=${CONFIG:-$(dirname "$0")/mmeb-train-image.yaml}
VLM2VEC=${VLM2VEC:-./vlm2vec}

options=(
  --model_name "$MODEL" --dataset_config "$CONFIG" --data_basedir "$TRAIN" --output_dir "$OUTPUT"
  --homogeneous_batch_size_per_device 64  # rows of one set in a row, there interleave_batch_size
  --interleave_stopping_strategy all_exhausted          # the code's default
  --resize_min_pixels 3136 --resize_max_pixels 1003520  # 4 and 1280 times 28x28, the code's defaults
  --lora True --use_dora True          # the official code always trains DoRA
  --lora_r 16
  --lora_alpha 64 --lora_dropout 0.1   # the code's defaults, as are the layers: gate_proj and up_proj too
  --pooling eos --normalize True --temperature 0.02
  --per_device_train_batch_size 1024   # there 128 on each of 8 GPUs, all each other's negatives
  --gc_q_chunk_size 8 --gc_p_chunk_size 8
  --learning_rate 5e-5 --lr_scheduler_type linear --max_steps 5000 --warmup_steps 100
  --bf16 True
  --save_steps 50 --logging_steps 1 --resume_from auto
  --save_total_limit 2                 # ours: there every checkpoint is kept
)
exec "$VLM2VEC" train "${options[@]}" "$@"  # e.g. --plan
