"""Times PyTorch on the cases of kernels_bench, for its two columns of a rival.

    kernels_bench --list > cases.jsonl
    python3 bench/rivals/kernels.py cases.jsonl > torch.jsonl        (needs PyTorch 2.5 or later)
    kernels_bench --beside torch.jsonl

Attention is scaled_dot_product_attention, on rows padded to the longest one: a causal mask hides what lies behind a
row. Products are torch.matmul, so cuBLAS. InfoNCE is cross_entropy of the score matrix. AdamW is the fused one.
A case that torch cannot do has an error in place of its time.
"""
import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F


def some(*shape, dtype=torch.bfloat16, grad=False):
    return (torch.rand(*shape, device=DEVICE) * 2 - 1).to(dtype).requires_grad_(grad)


def backward(outputs, inputs):
    """The backward pass of one forward, which may run again and again."""
    seed = torch.rand_like(outputs)
    return lambda: torch.autograd.grad(outputs, inputs, seed, retain_graph=True)


def copy(sizes, _):
    x = some(sizes["bytes"] // 4, dtype=torch.float32)
    y = torch.empty_like(x)
    return lambda: y.copy_(x)


def product(sizes, _):
    a, b = some(sizes["m"], sizes["k"]), some(sizes["n"], sizes["k"])
    return lambda: torch.matmul(a, b.T)


def attention_of(sizes, lengths, grad):
    def heads(count):
        x = some(len(lengths), count, max(lengths), sizes["head_dim"])
        return x.repeat_interleave(sizes["heads"] // count, 1).requires_grad_(grad)

    q, k, v = heads(sizes["heads"]), heads(sizes["kv_heads"]), heads(sizes["kv_heads"])
    return (q, k, v), lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)


def attention(sizes, lengths):
    return attention_of(sizes, lengths, False)[1]


def attention_backward(sizes, lengths):
    inputs, forward = attention_of(sizes, lengths, True)
    return backward(forward(), inputs)


def norm(forward):
    def case(sizes, _):
        x, w = some(sizes["rows"], sizes["columns"]), some(sizes["columns"])
        added = some(sizes["rows"], sizes["columns"])
        return lambda: forward(x, added, w)

    return case


def norm_backward(forward):
    def case(sizes, _):
        x, w = some(sizes["rows"], sizes["columns"], grad=True), some(sizes["columns"], grad=True)
        return backward(forward(x, None, w), (x, w))

    return case


def rms_norm(x, _, w):
    return F.rms_norm(x, (x.shape[-1],), w, 1e-6)


def add_rms_norm(x, added, w):
    total = x + added
    return total, rms_norm(total, None, w)


def layer_norm(x, _, w):
    return F.layer_norm(x, (x.shape[-1],), w, w, 1e-6)


def gelu(sizes, _):
    x = some(sizes["rows"], sizes["columns"])
    return lambda: F.gelu(x)


def swiglu(sizes, _):
    gate, up = some(sizes["rows"], 2 * sizes["columns"]).chunk(2, -1)
    return lambda: F.silu(gate) * up


def column_sums(sizes, _):
    x = some(sizes["rows"], sizes["columns"])
    return lambda: x.sum(0, dtype=torch.float32)


def gather_rows(sizes, _):
    table = some(sizes["rows"], sizes["columns"])
    ids = torch.randint(sizes["rows"], (sizes["rows"],), device=DEVICE)
    return lambda: table.index_select(0, ids)


def rope(sizes, _):
    d = sizes["head_dim"]
    x = some(sizes["rows"], sizes["columns"] // d, d)
    cos, sin = some(sizes["rows"], 1, d), some(sizes["rows"], 1, d)

    def turned():
        return x * cos + torch.cat((-x[..., d // 2 :], x[..., : d // 2]), -1) * sin

    return turned


def adamw(sizes, _):
    p = some(sizes["numbers"], dtype=torch.float32, grad=True)
    p.grad = some(sizes["numbers"], dtype=torch.float32)
    return torch.optim.AdamW([p], lr=1e-3, weight_decay=0.1, fused=True).step


def infonce(sizes, _):
    q, t = (F.normalize(some(sizes["pairs"], sizes["columns"], dtype=torch.float32)) for _ in range(2))
    q.requires_grad_(), t.requires_grad_()
    labels = torch.arange(sizes["pairs"], device=DEVICE)
    return lambda: torch.autograd.grad(F.cross_entropy(q @ t.T * 50, labels), (q, t))


CASES = {
    "copy": copy,
    "product": product,
    "own product": product,
    "attention": attention,
    "attention backward": attention_backward,
    "rms_norm": norm(rms_norm),
    "add_rms_norm": norm(add_rms_norm),
    "rms_norm backward": norm_backward(rms_norm),
    "layer_norm": norm(layer_norm),
    "layer_norm backward": norm_backward(layer_norm),
    "gelu": gelu,
    "swiglu": swiglu,
    "column_sums": column_sums,
    "gather_rows": gather_rows,
    "rope": rope,
    "adamw": adamw,
    "infonce": infonce,
}


def seconds_of(work):
    if DEVICE == "cpu":
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


def measure(work):
    """As kernels_bench does: the median of several runs, each after 256 MiB of something else."""
    other = torch.empty(256 << 18 if DEVICE == "cuda" else 1, device=DEVICE)
    work()  # cuBLAS gets its work space, the optimiser its state
    memory = 0
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        results = work()
        memory = torch.cuda.max_memory_allocated() - before
        for result in results if isinstance(results, tuple) else (results,):
            memory -= result.nbytes if torch.is_tensor(result) else 0
        del results, result
    seconds = []
    while len(seconds) < 5 or (len(seconds) < 50 and sum(seconds) < 0.5):
        other.zero_()
        seconds.append(seconds_of(work))
    return {"seconds": statistics.median(seconds), "memory": memory}


def main():
    global DEVICE
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", help="what kernels_bench --list prints")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu tries the script")
    arguments = parser.parse_args()
    DEVICE = arguments.device
    with open(arguments.cases, encoding="utf-8") as lines:
        cases = [json.loads(line) for line in lines]
    for case in cases:
        try:
            figures = measure(CASES[case["kernel"]](case["sizes"], case["lengths"]))
        except (RuntimeError, TypeError, AttributeError) as error:  # memory, or an older torch
            figures = {"error": str(error).splitlines()[0]}
        if DEVICE == "cuda":
            torch.cuda.empty_cache()
        print(json.dumps({"case": case["case"], **figures}), flush=True)
        if "error" in figures:
            print(f"{case['case']}: {figures['error']}", file=sys.stderr)


if __name__ == "__main__":
    main()
