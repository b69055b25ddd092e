#!/usr/bin/env python3
"""Runs `vlm2vec bench` and torch, PEFT and llama.cpp on the same shapes, one after another, and prints one table.

    python bench/rivals/rivals.py --shape mid --kinds embed train
    python bench/rivals/rivals.py --shape qwen2-vl-2b --kinds embed --llama_bench build/bin/llama-bench --gguf 2b.gguf

It needs torch and transformers, and PEFT for training steps with adapters; nothing of this program needs it. torch runs
in f32 and in bf16 (training: autocast). llama.cpp, if it is given, runs the texts of `embed` only: its llama-bench
takes no pictures. The rows of torch have equal lengths, so that it computes no padding. Memory is what a process ever
occupied: of vlm2vec one process for all rows, of torch one for each training step.
"""

import argparse
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CONFIGS = {"qwen2-vl-2b": "qwen2-vl-2b", "mid": "mid-qwen2-vl", "mini": "mini-qwen2-vl"}


def own(options, kind, precision):
    command = [options.program, "bench", kind, "--json", "--shape", options.shape, "--precision", precision]
    command += ["--threads", str(options.threads), "--rounds", str(options.rounds)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def torch(options, kind, precision, rows):
    config = json.loads((ROOT / "examples" / (CONFIGS[options.shape] + ".json")).read_text())
    job = {"kind": kind, "precision": precision, "rows": rows, "config": config}
    job |= {"threads": options.threads, "rounds": options.rounds}
    command = [sys.executable, HERE / "torch_rival.py"]
    done = subprocess.run(command, input=json.dumps(job).encode(), check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def llama(options, row):
    """Seconds of the text alone through the decoder, or None for a row with a picture."""
    if row["picture"]:
        return None
    command = [options.llama_bench, "-m", options.gguf, "-p", str(row["text"]), "-n", "0", "-o", "json"]
    command += ["-t", str(options.threads), "-r", str(options.rounds)]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)[0]
    return sorted(result["samples_ns"])[len(result["samples_ns"]) // 2] * 1e-9


def gigabytes(number):
    return f"{number / 1e9:.2f}" if number else ""


def compare(options, kind):
    """Lines of the table: work, who, precision, seconds, GFLOP/s, % of peak, times our seconds, memory."""
    rivals, lines = {}, []
    ours = {precision: own(options, kind, precision) for precision in options.precisions}
    # A training step of each kind in a process of its own: its memory is its own.
    rows = ours[options.precisions[0]]["rows"]
    jobs = [[row] for row in rows] if kind == "train" else [rows]
    for precision in options.precisions:
        found = [torch(options, kind, precision, job) for job in jobs]
        memory = [done["most_resident_bytes"] for done, job in zip(found, jobs) for _ in job]
        seconds = [s for done in found for s in done["seconds"]]
        rivals[precision] = list(zip(seconds, memory))
    for i, row in enumerate(rows):
        for precision in options.precisions:
            mine = ours[precision]["rows"][i]

            def line(who, seconds, bytes_):
                rate = mine["flops"] / seconds * 1e-9
                share = f"{100 * rate / mine['peak_gflops']:.0f} %" if mine["peak_gflops"] else ""
                lines.append([row["name"], who, precision, f"{seconds:.4g}", f"{rate:.0f}", share,
                              f"{seconds / mine['seconds']:.2f}", gigabytes(bytes_)])

            models = kind in ("embed", "train")
            line("vlm2vec", mine["seconds"], ours[precision]["most_resident_bytes"] if models else 0)
            line("torch", rivals[precision][i][0], rivals[precision][i][1] if models else 0)
        if kind == "embed" and options.llama_bench and (seconds := llama(options, row)):
            mine, precision = ours[options.precisions[-1]]["rows"][i], "its file's"
            line("llama.cpp", seconds, 0)
    return ours, lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "vlm2vec"), help="the program to compare (default: ./vlm2vec)")
    parser.add_argument("--shape", choices=CONFIGS, default="mid")
    parser.add_argument("--kinds", nargs="+", choices=["gemm", "attention", "embed", "train"],
                        default=["gemm", "attention", "embed", "train"])
    parser.add_argument("--precisions", nargs="+", choices=["f32", "bf16"], default=["f32", "bf16"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--llama_bench", help="llama.cpp's program llama-bench")
    parser.add_argument("--gguf", help="the shape's model for it, as convert_hf_to_gguf.py writes it")
    options = parser.parse_args()
    if bool(options.llama_bench) != bool(options.gguf):
        parser.error("--llama_bench and --gguf belong together")
    heading = ["work", "who", "precision", "seconds", "GFLOP/s", "of peak", "x ours", "peak GB"]
    for kind in options.kinds:
        ours, lines = compare(options, kind)
        one = ours[options.precisions[0]]
        print(f"\n{kind} of {options.shape}: {one['processor']}, {one['instruction_set']}, "
              f"{one['threads']} thread(s), medians of {one['rounds']}\n")
        print("| " + " | ".join(heading) + " |\n|" + "---|" * len(heading))
        for line in lines:
            print("| " + " | ".join(line) + " |", flush=True)


main()
