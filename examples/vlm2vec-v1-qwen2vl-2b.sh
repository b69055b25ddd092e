#!/bin/bash
# VLM2Vec V1 on Qwen2-VL-2B: DoRA on the decoder, 2000 steps of 1024 pairs of the 20 training sets of MMEB.
# Values are those of the official README (v1 branch) unless a comment names another source. Set the first four for
# yourself, in this file or before the command.
set -eu
MODEL=${MODEL:-Qwen2-VL-2B-Instruct}            # the checkpoint's folder
TRAIN=${TRAIN:-MMEB-train}                      # a folder for each set, with original-*.parquet
IMAGES=${IMAGES:-MMEB-train}                    # joined before picture paths
OUTPUT=${OUTPUT:-runs/vlm2vec-v1-qwen2vl-2b}
VLM2VEC=${VLM2VEC:-./vlm2vec}

SETS="A-OKVQA ChartQA CIRR DocVQA HatefulMemes ImageNet_1K InfographicsVQA MSCOCO MSCOCO_i2t MSCOCO_t2i N24News NIGHTS
  OK-VQA SUN397 VisDial Visual7W VisualNews_i2t VisualNews_t2i VOC2007 WebQA"
options=(
  --model_name "$MODEL" --dataset_name "$TRAIN" --image_dir "$IMAGES" --output_dir "$OUTPUT"
  --subset_name $SETS
  --num_sample_per_subset 100000       # the first rows of each set, as the official code takes them
  --image_resolution high              # pictures to 1344x1344 first, then Qwen2-VL's own resizing
  --max_len 4096
  --lora True --use_dora True          # the official code always trains DoRA
  --lora_r 8                           # paper and released runs ("lora8"); the code's default is 16
  --lora_alpha 64 --lora_dropout 0.1   # the code's defaults
  --lora_target_modules qkv_proj o_proj gate_up_proj down_proj k_proj q_proj out_proj v_proj  # V1: no gate_proj, up_proj
  --pooling last --normalize True --temperature 0.02
  --per_device_train_batch_size 1024   # there 128 on each of 8 GPUs, all each other's negatives
  --gc_q_chunk_size 4 --gc_p_chunk_size 4
  --learning_rate 2e-5 --lr_scheduler_type linear --max_steps 2000
  --warmup_steps 100                   # names of the reported runs; the README says 200
  --bf16 True
  --save_steps 1000 --logging_steps 1 --resume_from auto
)
exec "$VLM2VEC" train "${options[@]}" "$@"  # e.g. --plan
