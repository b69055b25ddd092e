"""Measures torch on the rows of `vlm2vec bench --json`: reads one job as JSON from stdin and prints the seconds.

A process of its own for each job, so that its peak memory is the job's. Products and attention are torch's own
functions; models are those of transformers with random weights, adapters those of PEFT.
"""

import json
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F


def now():
    """As the program has it: processor time of one thread, wall-clock time of several."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def median_seconds(work, rounds, flops=1e9):
    repeat = max(1, int(1e9 / flops))
    work()
    seconds = []
    for _ in range(rounds):
        begin = now()
        for _ in range(repeat):
            work()
        seconds.append((now() - begin) / repeat)
    return statistics.median(seconds)


def gemm(row, dtype, rounds):
    m, n, k = row["m"], row["n"], row["k"]
    kind = row["name"].split(", ")[1]
    a = torch.randn(m, k, dtype=dtype)
    b = torch.randn(k, n, dtype=dtype)
    if kind == "y = x W^T":
        weight = torch.randn(n, k, dtype=dtype)
        work = lambda: a @ weight.T
    elif kind == "dx = dy W":
        work = lambda: a @ b
    else:
        dy, dw = torch.randn(k, m, dtype=dtype), torch.zeros(m, n, dtype=dtype)
        work = lambda: dw.addmm_(dy.T, b)
    return median_seconds(work, rounds, row["flops"])


def attention(row, dtype, rounds):
    def heads(count):
        shape = (row["sequences"], count, row["length"], row["head_dim"])
        return torch.randn(shape, dtype=dtype, requires_grad=True)

    q, k, v = heads(row["heads"]), heads(row["kv_heads"]), heads(row["kv_heads"])
    grouped = row["heads"] != row["kv_heads"]
    run = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=bool(row["causal"]), enable_gqa=grouped)
    if row["name"].endswith("forward"):
        with torch.no_grad():
            return median_seconds(run, rounds, row["flops"])
    out = run()
    gradient = torch.randn_like(out)
    work = lambda: torch.autograd.grad(out, (q, k, v), gradient, retain_graph=True)
    return median_seconds(work, rounds, row["flops"] / 2.5)


def model_of(config, dtype):
    from transformers import Qwen2VLConfig, Qwen2VLModel

    if "vision_start_token_id" not in config:
        config = dict(config, vision_start_token_id=2, vision_end_token_id=3, video_token_id=4)
    torch.set_default_dtype(dtype)
    model = Qwen2VLModel._from_config(Qwen2VLConfig(**config), attn_implementation="sdpa")
    torch.set_default_dtype(torch.float32)
    return model.eval()


def rows_of(config, count, picture, text, dtype, seed):
    """A batch of equal lengths: what Qwen2VLModel takes."""
    torch.manual_seed(seed)
    vision = config["vision_config"]
    side = picture // vision["patch_size"]
    tokens = side * side // vision["spatial_merge_size"] ** 2
    image_token = config["image_token_id"]
    words = torch.randint(10, min(config["vocab_size"], 1000), (count, text))
    batch = {"input_ids": torch.cat([torch.full((count, tokens), image_token), words], 1)}
    batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    if picture:
        width = 3 * vision["temporal_patch_size"] * vision["patch_size"] ** 2
        batch["pixel_values"] = torch.randn(count * side * side, width).to(dtype)
        batch["image_grid_thw"] = torch.tensor([[1, side, side]] * count)
    return batch


def part(batch, begin, end):
    count = len(batch["input_ids"])
    return {name: x[begin * (len(x) // count) : end * (len(x) // count)] for name, x in batch.items()}


def embed_batch(model, batch):
    return F.normalize(model(**batch, use_cache=False).last_hidden_state[:, -1].float(), dim=-1)


def embed(row, config, model, dtype, rounds):
    batch = rows_of(config, 1, row["picture"], row["text"], dtype, 1)
    assert batch["input_ids"].numel() == row["tokens"], (batch["input_ids"].shape, row)
    with torch.no_grad():
        return median_seconds(lambda: embed_batch(model, batch), rounds)


def info_nce(queries, targets, temperature=0.02):
    return F.cross_entropy(queries @ targets.T / temperature, torch.arange(len(queries)))


def grad_cache(model, sides, chunk):
    """Embeds chunks without a graph, differentiates the loss by the embeddings, embeds again with a graph."""
    chunks = [part(side, i, i + chunk) for side in sides for i in range(0, len(side["input_ids"]), chunk)]
    states, vectors = [], []
    with torch.no_grad():
        for one in chunks:
            states.append(torch.get_rng_state())  # of dropout
            vectors.append(embed_batch(model, one))
    torch.clear_autocast_cache()  # it keeps weights rounded without a graph
    cache = torch.cat(vectors).requires_grad_()
    info_nce(*cache.chunk(2)).backward()
    for one, state, gradient in zip(chunks, states, cache.grad.split(chunk)):
        torch.set_rng_state(state)
        embed_batch(model, one).backward(gradient)


def train(row, config, precision, rounds):
    model = model_of(config, torch.float32).train()
    if row["adapters"]:
        from peft import LoraConfig, get_peft_model

        targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        adapter = LoraConfig(r=16, lora_alpha=64, lora_dropout=0.1, target_modules=targets, use_dora=bool(row["dora"]))
        model = get_peft_model(model, adapter)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-5)
    sides = [rows_of(config, row["pairs"], row["picture"], row["text"], torch.float32, 1),
             rows_of(config, row["pairs"], 0, row["text"], torch.float32, 2)]
    assert sum(side["input_ids"].numel() for side in sides) == row["tokens"], row

    def step():
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            if row["chunk"]:
                grad_cache(model, sides, row["chunk"])
            else:
                info_nce(*(embed_batch(model, side) for side in sides)).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1)
        optimiser.step()

    return median_seconds(step, rounds)


def main():
    job = json.load(sys.stdin)
    torch.set_num_threads(job["threads"])
    dtype = torch.bfloat16 if job["precision"] == "bf16" else torch.float32
    torch.manual_seed(1)
    rounds, rows = job["rounds"], job["rows"]
    if job["kind"] == "gemm":
        seconds = [gemm(row, dtype, rounds) for row in rows]
    elif job["kind"] == "attention":
        seconds = [attention(row, dtype, rounds) for row in rows]
    elif job["kind"] == "embed":
        model = model_of(job["config"], dtype)
        seconds = [embed(row, job["config"], model, dtype, rounds) for row in rows]
    else:
        seconds = [train(row, job["config"], job["precision"], rounds) for row in rows]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"torch": torch.__version__, "seconds": seconds, "most_resident_bytes": peak}))


main()
