"""Our file for MMEB's leaderboard against that of the official script, made from the same folder of scores.
python tests/interop/leaderboard.py report_score_v2.py [FOLDER]
report_score_v2.py: from experiments/ of github.com/TIGER-AI-Lab/VLM2Vec. FOLDER: what `vlm2vec eval` wrote; without one,
scores are made up. The official script copies score files whole, so V1's keys and ours are left out of the comparison."""
import contextlib
import datetime
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS = {"acc", "num_correct", "num_ties"}
METADATA = {"model_name": "m", "model_backbone": "Qwen2-VL", "model_size": "2B parameters", "embedding_dimension": 1536,
            "max_length_tokens": None, "model_release_date": "2025-05-15", "data_source": "Self-Reported", "url": None}


def official(script, folder):
    """Runs the script behind its table of experiments, which is for its user to fill in."""
    code = pathlib.Path(script).read_text()
    code = code[code.index("# Main Processing Logic"):]
    scope = {"json": json, "os": os, "datetime": datetime.datetime,
             "EXPERIMENTS": [{"path": str(folder), "metadata": METADATA}]}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(code, script, "exec"), scope)
    return json.loads((folder / "m.json").read_text()), said.getvalue()


def ours(folder, output):
    words = [ROOT / "vlm2vec", "leaderboard", folder, "--output", output, "--quiet"]
    if not words[0].exists():
        words[0] = ROOT / "build" / "vlm2vec"
    for key, value in METADATA.items():
        words += [f"--{key}", str(value)] if value is not None else []
    subprocess.run(words, check=True)
    return json.loads(output.read_text())


def make_up_scores(folder):
    keys = [f"{m}@{k}" for m in ("hit", "ndcg_linear", "ndcg_exponential", "precision", "recall", "f1", "map", "mrr")
            for k in (1, 5, 10)]
    r = random.Random(1)
    for group, names in {"image": ["GQA", "MSCOCO", "ImageNet-1K"], "visdoc": ["ViDoSeek-page"]}.items():
        (folder / group).mkdir()
        for name in names:
            scores = {k: r.random() for k in keys} | {"num_pred": 1000, "num_data": 1000, "acc": 0.5}
            (folder / group / f"{name}_score.json").write_text(json.dumps(scores))


def main():
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place) / "scores"
        folder.mkdir()
        if len(sys.argv) > 2:  # the official script wants the image sets in a folder of that name
            (folder / "image").symlink_to(pathlib.Path(sys.argv[2]).resolve())
        else:
            make_up_scores(folder)
        theirs, said = official(sys.argv[1], folder)
        mine = ours(folder, pathlib.Path(place) / "ours.json")
    scored = 0
    for report in (theirs, mine):
        datetime.datetime.fromisoformat(report["metadata"].pop("report_generated_date"))
    for sets in theirs["metrics"].values():
        for scores in sets.values():
            if isinstance(scores, dict):
                scored += 1
                for key in OURS:
                    scores.pop(key, None)
    assert mine == theirs, "the two files differ"
    assert [list(s) for s in mine["metrics"].values()] == [list(s) for s in theirs["metrics"].values()], "order of sets"
    assert list(mine["metadata"]) == list(theirs["metadata"]), "order of metadata"
    print("equal:", sum(map(len, mine["metrics"].values())), "sets,", scored, "with scores")
    print("".join(line + "\n" for line in said.splitlines() if "Average of" in line), end="")


main()
