# The front door: `make` builds ./vlm2vec, `make demo` shows what it does, `make test` checks it. CMake and Ninja do the work.
PACKAGES = g++ cmake ninja-build libcli11-dev nlohmann-json3-dev libpng-dev libjpeg-dev libwebp-dev libstb-dev \
           zlib1g-dev libzip-dev libpcre2-dev libutf8proc-dev libsnappy-dev libzstd-dev libbrotli-dev liblz4-dev \
           libyaml-cpp-dev libssl-dev libgtest-dev fonts-noto-color-emoji unicode-data

JOBS ?= $(shell nproc)

# With CUDA=1 the program has the GPU backend, built by nvcc (12 or later) in a folder of its own.
CUDA ?= $(if $(filter cuda,$(DEVICE)),1)
BUILD = build$(if $(CUDA),-cuda)
export PATH := $(PATH):/usr/local/cuda/bin

# The demonstration: where it goes, how long it trains, how many rows a data set has.
DEMO ?= runs/demo
STEPS ?= 2000
TRAIN_ROWS ?= 2500
TEST_ROWS ?= 150
SEED ?= 42
# cpu, cuda, emu or auto; else the program's default.
DEVICE ?=
ON = $(if $(DEVICE),--device $(DEVICE))
# What an interrupted demonstration says to do.
AGAIN = make demo $(MAKEOVERRIDES)

# What make bench measures.
SHAPE ?= mid
PRECISION ?= f32

# Where `make install` puts the program and what completes its options in bash.
PREFIX ?= /usr/local
PACK ?= build-gpu
UPDATE ?=

RECIPE = --sampling balanced --per_device_train_batch_size 128 --temperature 0.05 --learning_rate 3e-3 \
         --lr_scheduler_type linear --warmup_ratio 0.05 --weight_decay 0.01 --adam_beta1 0.9 --adam_beta2 0.98 \
         --max_grad_norm 1

.PHONY: vlm2vec help deps install demo tiny tests test test-slow test-golden test-asan kernels bench clean
.PHONY: trace test-trace mutate aarch64 gpu-check gpu-pack

vlm2vec: deps  ## build ./vlm2vec (what `make` alone does)
	@test -f $(BUILD)/build.ninja || cmake -S . -B $(BUILD) -G Ninja $(if $(CUDA),-DVLM2VEC_CUDA=ON) >/dev/null
	@cmake --build $(BUILD) -j $(JOBS) --target vlm2vec
	@ln -sf $(BUILD)/vlm2vec vlm2vec

# A target with ## behind it is listed.
help:  ## this page
	@echo 'make [TARGET] [VARIABLE=VALUE …]'
	@sed -n 's/^\([a-z0-9-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 16
	@printf '%s\n' Variables:
	@printf '  %-20s %s\n' \
	  'JOBS=$(JOBS)' 'processes of a build, threads of make bench' \
	  'CUDA=$(CUDA)' '1: with the GPU backend, by nvcc' \
	  'DEMO=$(DEMO)' 'where the demonstration goes' \
	  'STEPS=$(STEPS)' 'steps that it trains' \
	  'TRAIN_ROWS=$(TRAIN_ROWS)' 'rows of each of its training sets' \
	  'TEST_ROWS=$(TEST_ROWS)' 'rows of each of its test sets' \
	  'SEED=$(SEED)' 'of its weights and batches' \
	  'DEVICE=$(DEVICE)' 'cpu, cuda, emu or auto, of the demonstration and gpu-check; else the default' \
	  'PREFIX=$(PREFIX)' 'where make install puts the program' \
	  'PACK=$(PACK)' 'where make gpu-pack puts its files' \
	  'SHAPE=$(SHAPE)' 'of make bench: qwen2-vl-2b, mid or mini' \
	  'PRECISION=$(PRECISION)' 'of make bench: f32 or bf16' \
	  'UPDATE=$(UPDATE)' '1: make kernels writes its table anew' \
	  'FILES=$(FILES)' 'files of kernels/ that make mutate changes; else all'

# Installs them where it may, else prints the apt line and stops.
deps:  ## install missing Debian packages
	@tools/packages.sh $(PACKAGES)

demo: vlm2vec  ## miniature MMEB: draw it, train on it, evaluate before and after, write a report
	@tools/demo_runs.sh $(DEMO) STEPS=$(STEPS) TRAIN_ROWS=$(TRAIN_ROWS) TEST_ROWS=$(TEST_ROWS) SEED=$(SEED) \
	  $(if $(DEVICE),DEVICE=$(DEVICE))
	./vlm2vec data mini --output_dir $(DEMO)/data --train_rows $(TRAIN_ROWS) --test_rows $(TEST_ROWS)
	./vlm2vec init --config examples/mini-qwen2-vl.json --train_tokenizer $(DEMO)/data/MMEB-train \
	  --min_pixels 1024 --max_pixels 9216 --seed $(SEED) --output_dir $(DEMO)/init
	./vlm2vec eval --model_name $(DEMO)/init --dataset_name $(DEMO)/data/MMEB-eval \
	  --encode_output_path $(DEMO)/untrained $(ON) >/dev/null
	VLM2VEC_AGAIN="$(strip $(AGAIN))" ./vlm2vec train --model_name $(DEMO)/init --dataset_name $(DEMO)/data/MMEB-train \
	  --output_dir $(DEMO)/model --max_steps $(STEPS) $(RECIPE) --seed $(SEED) --resume_from auto $(ON)
	./vlm2vec eval --model_name $(DEMO)/model --dataset_name $(DEMO)/data/MMEB-eval \
	  --encode_output_path $(DEMO)/trained --beside $(DEMO)/untrained $(ON)
	./vlm2vec report $(DEMO)

tiny: vlm2vec  ## the method on one page: build and run examples/tiny_contrastive.cpp
	@cmake --build $(BUILD) -j $(JOBS) --target tiny_contrastive
	$(BUILD)/tiny_contrastive

install: vlm2vec  ## copy it to PREFIX/bin, with completion for bash
	install -D -m 755 $(BUILD)/vlm2vec $(DESTDIR)$(PREFIX)/bin/vlm2vec
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	$(BUILD)/vlm2vec completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/vlm2vec

tests: vlm2vec  ## build build/tests/tests without running it; its --gtest_filter picks some
	@cmake --build $(BUILD) -j $(JOBS) --target tests

test: vlm2vec  ## build and run all tests
	@cmake --build $(BUILD) -j $(JOBS)
	@ctest --test-dir $(BUILD) --progress -j $(JOBS) --output-on-failure

test-slow: vlm2vec  ## the demonstration with three seeds and its controls, against their limits: one table
	@cmake --build $(BUILD) -j $(JOBS) --target slow
	$(BUILD)/tests/slow runs/slow $(RECIPE)
	@cmake --build $(BUILD) -j $(JOBS) --target tests
	VLM2VEC_ALL_STEPS=1 $(BUILD)/tests/tests --gtest_brief=1 --gtest_filter='TrainingGoldenOnDevices*'
	@if command -v $(AARCH64) >/dev/null; then $(MAKE) --no-print-directory aarch64; \
	else echo "make test-slow: $(AARCH64) is not here; kernels/ was not compiled for aarch64"; fi

test-golden: vlm2vec  ## golden tests, on tests/golden or the folder of the same layout that VLM2VEC_GOLDEN names
	@cmake --build $(BUILD) -j $(JOBS)
	$(BUILD)/tests/tests --gtest_filter='*Golden*'

test-asan: deps  ## all tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@test -f build-asan/build.ninja || cmake -S . -B build-asan -G Ninja -DVLM2VEC_SANITIZE=ON >/dev/null
	@cmake --build build-asan -j $(JOBS)
	@ASAN_OPTIONS=allocator_may_return_null=1 ctest --test-dir build-asan --progress -j $(JOBS) --output-on-failure

# For an A100 and an H100; needs nvcc 12 or later, no GPU. UPDATE=1 writes their table anew.
kernels:  ## compile the kernels with nvcc; no spills, registers, shared memory and tensor-core instructions as in their table
	@PATH="$$PATH:/usr/local/cuda/bin"; command -v nvcc >/dev/null || \
	  { echo "make kernels: nvcc is not here; install the CUDA toolkit, 12 or later" >&2; exit 2; }; \
	  UPDATE=$(UPDATE) kernels/ptxas.sh

# A build of its own, of the kernels, the emulator and little else. FILES: which files of kernels/ mutate changes.
FILES ?=
build-trace/build.ninja:
	@cmake -S tests/trace -B build-trace -G Ninja >/dev/null

trace: deps build-trace/build.ninja  ## build build-trace/vlm2vec, which prints what each line of a kernel costs
	@cmake --build build-trace -j $(JOBS) --target vlm2vec

test-trace: deps build-trace/build.ninja  ## kernels have no races and keep limits of memory traffic
	@cmake --build build-trace -j $(JOBS) --target trace_test --target portable_test
	build-trace/portable_test --gtest_brief=1
	build-trace/trace_test --gtest_brief=1

mutate: deps  ## take each barrier out of a copy of the kernels: tests or tracer must notice; FILES picks some
	@JOBS=$(JOBS) tests/trace/mutate.sh $(FILES)

# What the emulator needs of an aarch64 machine: its fibers, and parallel.cpp below it.
AARCH64 = aarch64-linux-gnu-g++
aarch64:  ## compile the kernels and the emulator for aarch64 with aarch64-linux-gnu-g++, without a warning
	@command -v $(AARCH64) >/dev/null || \
	  { echo "make aarch64: $(AARCH64) is not here; install the package g++-aarch64-linux-gnu" >&2; exit 2; }
	@printf '%s\n' $(filter-out kernels/memory.cu kernels/cublas.cpp,$(wildcard kernels/*.cu kernels/*.cpp)) \
	  src/tensor/parallel.cpp | xargs -P $(JOBS) -I{} $(AARCH64) -std=c++20 -O1 -Wall -Wextra -Werror \
	  -Wno-missing-field-initializers -ffp-contract=off -I. -Isrc -x c++ -c {} -o /dev/null

# The tokenizer with one thread.
bench: vlm2vec  ## speed of products, attention, embedding, training steps of SHAPE, and of the tokenizer
	@cmake --build $(BUILD) -j $(JOBS) --target bench
	@for kind in gemm attention embed train; do \
	  ./vlm2vec bench $$kind --shape $(SHAPE) --precision $(PRECISION) --threads $(JOBS) || exit; done
	$(BUILD)/tokenizer_bench tests/golden/tokenizers/qwen2

# What needs a GPU; DEVICE=emu tries the script without one.
gpu-check gpu-pack: CUDA = $(if $(filter-out cuda,$(DEVICE)),,1)
gpu-check: tests  ## on a machine with a GPU: every check that needs one, in 8 minutes, and a page of the results
	@cmake --build $(BUILD) -j $(JOBS) --target kernels_bench $(if $(CUDA),cublas_test)
	@BUILD=$(BUILD) DEVICE=$(or $(DEVICE),cuda) tools/gpu_check.sh

gpu-pack: tests  ## collect what gpu-check needs on a machine without these packages: PACK and the tracked tree
	@cmake --build $(BUILD) -j $(JOBS) --target kernels_bench $(if $(CUDA),cublas_test)
	@BUILD=$(BUILD) tools/gpu_check.sh pack $(PACK)

clean:  ## remove what was built
	rm -rf build build-cuda build-asan build-gpu build-trace build-mutate vlm2vec
