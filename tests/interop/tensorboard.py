"""Reads the event files of a run with the tensorboard package and compares them with log.jsonl.

  pip install tensorboard
  ./vlm2vec train … --report_to tensorboard --output_dir OUT       (interrupted and resumed, too)
  python tests/interop/tensorboard.py OUT [FOLDER OF EVENT FILES]
"""

import json
import pathlib
import struct
import sys

sys.path.pop(0)  # the folder of this file, which has the package's name
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

output = pathlib.Path(sys.argv[1])
folder = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else next((output / "runs").iterdir())
steps = [json.loads(line) for line in open(output / "log.jsonl")]
every = json.load(open(output / "trainer_state.json"))["logging_steps"]

events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
events.Reload()
print(folder, "has", ", ".join(sorted(events.Tags()["scalars"])))


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def mean(key):
    return lambda group: f32(sum(step[key] for step in group) / len(group))


def last(key):
    return lambda group: f32(group[-1][key])


expected = {
    "train/loss": mean("loss"),
    "train/grad_norm": last("grad_norm"),
    "train/learning_rate": last("learning_rate"),
    "train/epoch": last("epoch"),
    "train/in_batch_accuracy": mean("in_batch_accuracy"),
    "train/duplicates": mean("duplicates"),
    "perf/pairs_per_s": lambda group: f32(sum(s["pairs"] for s in group) / sum(s["seconds"] for s in group)),
    "perf/peak_bytes": lambda group: f32(max(step["peak_bytes"] for step in group)),
}
wrong = set(events.Tags()["scalars"]) ^ set(expected)
for tag, value in expected.items():
    got = {event.step: event.value for event in events.Scalars(tag)}
    want = {end: value(steps[end - every : end]) for end in range(every, len(steps) + 1, every)}
    worst = max(abs(got[step] - want[step]) / max(abs(want[step]), 1e-30) for step in want) if got.keys() == want.keys() else None
    print(f"{tag:24} {len(got)} values, largest relative deviation {worst}")
    if worst is None or worst > 1e-6:
        wrong.add(tag)
sys.exit(f"differs: {wrong}" if wrong else 0)
