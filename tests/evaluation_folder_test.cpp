// What lies in the folder of an evaluation survives whatever ends the next one: kept, gone on with, or replaced whole.
#include "mmeb/evaluation/evaluation_folder.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>
#include <thread>

#include "cli_fixture.h"
#include "expect_error.h"
#include "letters_fixture.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

using Files = std::map<std::string, std::string>;  // name and content

Files files_in(const fs::path& folder) {
  Files files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files[fs::relative(entry, folder).string()] = read_text(entry);
  return files;
}

// Every score is whole and has its files; summary.json, if there is one, says the same.
void expect_sound(const fs::path& folder) {
  const bool finished = fs::exists(folder / "summary.json");
  const Json sets = finished ? read_json(folder / "summary.json").at("datasets") : Json::object();
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string(), end = "_score.json";
    if (!name.ends_with(end)) continue;
    const Json score = read_json(entry.path());
    for (const auto& [file, bytes] : score.at("files").items())
      EXPECT_EQ(fs::file_size(folder / file), bytes.get<uintmax_t>()) << file;
    if (finished) {
      EXPECT_EQ(sets.at(name.substr(0, name.size() - end.size())).at("correct"), score.at("num_correct")) << name;
    }
  }
  for (const auto& [set, unused] : sets.items()) EXPECT_TRUE(fs::exists(folder / (set + "_score.json"))) << set;
}

class Folder : public Letters {
 protected:
  Folder() {
    data.model_sha256 = "m", data.note = [&](const std::string& note) { said += note; };
  }
  // Embeds the sets as Letters does, or as `wrong` (all alike) does, but fails at `stop`.
  EmbedFunction embeds(const std::string& stop = "", bool wrong = false) {
    return [this, stop, wrong](const std::vector<EncoderInput>& inputs, const std::string& set) -> EmbeddedRows {
      if (set == stop) throw std::runtime_error("stopped");
      done.push_back(set);
      Tensor vectors = embed(inputs, set);
      if (wrong) std::fill_n(vectors.data<float>(), vectors.numel(), 0.2f);
      return vectors;
    };
  }
  Summary run(const EmbedFunction& function) {
    done.clear(), said.clear();
    return evaluate(data, function, folder / "out").summary;
  }
  const fs::path out = folder / "out";
  std::vector<std::string> done;
  std::string said;
};
using Names = std::vector<std::string>;

TEST_F(Folder, KeepsWhatIsFinished) {
  const Summary first = run(embeds());
  EXPECT_EQ(done, (Names{"Classes", "Texts"}));
  const Files before = files_in(out);
  EXPECT_EQ(before.size(), 17u) << "eight of each set, and the summary";
  const Summary second = run(embeds());
  EXPECT_EQ(done, Names());
  EXPECT_NE(said.find("2 of 2 sets are finished"), said.npos) << said;
  EXPECT_EQ(files_in(out), before);
  EXPECT_EQ(second.overall, first.overall);
  EXPECT_EQ(second.sets[1].right, first.sets[1].right);
}

TEST_F(Folder, GoesOnFromTheSetsThatAreWhole) {
  EXPECT_THROW(run(embeds("Texts")), std::runtime_error);
  EXPECT_TRUE(fs::exists(out / "Classes_score.json"));
  EXPECT_FALSE(fs::exists(out / "summary.json"));
  expect_sound(out);
  run(embeds());
  EXPECT_EQ(done, Names{"Texts"});
  EXPECT_NE(said.find("1 of 2 sets are finished"), said.npos) << said;
  const Files resumed = files_in(out);
  fs::remove_all(out);
  run(embeds());
  EXPECT_EQ(files_in(out), resumed);
}

TEST_F(Folder, OverwritesOnlyWhenAllIsThere) {
  run(embeds());
  const Files before = files_in(out);
  data.overwrite = true;
  EXPECT_THROW(run(embeds("Texts", true)), std::runtime_error);
  EXPECT_EQ(done, Names{"Classes"});
  for (const auto& [name, content] : before) EXPECT_EQ(read_text(out / name), content) << name;
  const Summary wrong = run(embeds("", true));
  EXPECT_EQ(done, Names{"Texts"}) << "Classes waits";
  EXPECT_EQ(wrong.sets[0].ties, 6);
  expect_sound(out);
  EXPECT_EQ(files_in(out).size(), before.size()) << "nothing waits any more";
  EXPECT_NE(files_in(out), before);
  run(embeds());
  EXPECT_EQ(done, (Names{"Classes", "Texts"})) << "again";
  EXPECT_EQ(files_in(out), before);
}

// Between the removal of the old summary and the new one: what is up already is not evaluated again.
TEST_F(Folder, GoesOnWhenKilledWhileMoving) {
  run(embeds());
  data.overwrite = true, data.device = "emu";
  run(embeds());
  const Files whole = files_in(out);
  fs::remove(out / "summary.json");
  const auto back = [&](const std::string& set, const std::vector<std::string>& files) {
    fs::create_directories(out / "unfinished" / set);
    for (const std::string& file : files) fs::rename(out / (set + file), out / "unfinished" / set / (set + file));
  };
  back("Texts", {"_score.json", "_pred.txt"});
  write_text(out / "unfinished/moving", "");
  run(embeds());
  EXPECT_EQ(done, Names());
  EXPECT_EQ(files_in(out), whole);
}

// Without a summary, too: what --overwrite has made waits, and what lay there before is not taken for it.
TEST_F(Folder, OverwritesWhatIsNotFinished) {
  EXPECT_THROW(run(embeds("Texts")), std::runtime_error);
  data.overwrite = true;
  EXPECT_THROW(run(embeds("Texts", true)), std::runtime_error);
  EXPECT_EQ(done, Names{"Classes"});
  const Summary wrong = run(embeds("", true));
  EXPECT_EQ(done, Names{"Texts"}) << "Classes waits";
  EXPECT_EQ(wrong.sets[0].ties, 6);
  expect_sound(out);
  EXPECT_EQ(files_in(out).size(), 17u);
}

// Half a group of a run that was killed does not make an overwriting run believe that it goes on.
TEST_F(Folder, OverwritesBesideHalfAGroup) {
  run(embeds());
  fs::create_directories(out / "unfinished/Texts");
  write_text(out / "unfinished/Texts/Texts_pred.jsonl", "half of it");
  data.overwrite = true;
  for (int i = 0; i < 2; ++i) {
    run(embeds());
    EXPECT_EQ(done, (Names{"Classes", "Texts"})) << i;
    EXPECT_EQ(files_in(out).size(), 17u);
  }
}

// Half of another evaluation beside it does no harm, and is gone on with later.
TEST_F(Folder, KeepsTwoApart) {
  run(embeds());
  const Files before = files_in(out);
  data.overwrite = true, data.device = "emu";
  EXPECT_THROW(run(embeds("Texts", true)), std::runtime_error);
  fs::create_directories(out / "unfinished/Texts");
  write_text(out / "unfinished/Texts/Texts_pred.jsonl", "half of it");
  data.overwrite = false, data.device = "cpu";
  run(embeds());
  EXPECT_EQ(done, Names());
  for (const auto& [name, content] : before) EXPECT_EQ(read_text(out / name), content) << name;
  data.overwrite = true, data.device = "emu";
  run(embeds("", true));
  EXPECT_EQ(done, Names{"Texts"});
  expect_sound(out);
  EXPECT_EQ(files_in(out).size(), before.size());
}

TEST_F(Folder, IsGoneOnWithBySetsMore) {
  const std::vector<SetSource> both = data.sets;
  data.sets.pop_back();
  run(embeds());
  data.sets = both;
  run(embeds());
  EXPECT_EQ(done, Names{"Texts"});
  EXPECT_EQ(files_in(out).size(), 17u);
}

TEST_F(Folder, AreNotReplacedByFewerSets) {
  run(embeds());
  const Files before = files_in(out);
  data.sets.erase(data.sets.begin());
  for (const bool overwrite : {false, true})
    data.overwrite = overwrite,
    expect_error(Exit::usage, "out: has the evaluation of more sets, Classes, than are evaluated now; choose",
                 [&] { run(embeds()); });
  EXPECT_EQ(files_in(out), before);
}

// Whatever changes a score changes what the files name.
TEST_F(Folder, EvaluatesAgainWhatIsAnotherNow) {
  run(embeds());
  const fs::path rows = folder / "data/Texts/test.jsonl";
  std::string text = read_text(rows);
  text.replace(text.find("find b"), 6, "seek b");
  write_text(rows, text);
  run(embeds());
  EXPECT_EQ(done, Names{"Texts"}) << "other rows";
  data.device = "emu";
  run(embeds());
  EXPECT_EQ(done.size(), 2u) << "another device";
  data.options = R"({"precision": "bf16"})";
  run(embeds());
  EXPECT_EQ(done.size(), 2u) << "another option";
  data.options = R"({"precision": "bf16", "bad_rows": "skip", "missing_sets": "skip", "dataset_name": "/elsewhere"})";
  run(embeds());
  EXPECT_EQ(done.size(), 0u) << "these change no score";
  data.model_sha256 = "n";
  run(embeds());
  EXPECT_EQ(done.size(), 2u) << "another model";
  fs::remove(out / "Classes_qry.npy");
  run(embeds());
  EXPECT_EQ(done, Names{"Classes"}) << "not whole";
  write_text(out / "Texts_pred.jsonl", "cut off");
  write_text(out / "Classes_score.json", "{");
  run(embeds());
  EXPECT_EQ(done.size(), 2u) << "damaged";
  run(embeds());
  EXPECT_EQ(done.size(), 0u);
  expect_sound(out);
}

TEST_F(Folder, SeesAnotherPicture) {
  write_png(folder / "data/a.png", Image(8, 8, 3));
  write_text(
      folder / "data/Texts/test.jsonl",
      R"({"qry_text": "<|image_1|> find a", "qry_img_path": "a.png", "tgt_text": ["a", "b"], "tgt_img_path": ["", ""]})"
      "\n");
  run(embeds());
  run(embeds());
  EXPECT_EQ(done, Names());
  write_png(folder / "data/a.png", Image(9, 8, 3));
  run(embeds());
  EXPECT_EQ(done, Names{"Texts"});
}

// Waits until it is so or the child has ended; true if the child runs on.
bool runs_until(pid_t child, const std::function<bool()>& so) {
  while (!so()) {
    siginfo_t ended{};
    if (waitid(P_PID, id_t(child), &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid != 0) return false;
  }
  return true;
}

// Names and sizes, which the child may change meanwhile.
std::string listing(const fs::path& folder) {
  std::string text;
  std::error_code gone;
  for (fs::recursive_directory_iterator i(folder, gone), end; !gone && i != end; i.increment(gone))
    text += i->path().string() + sentence(fs::file_size(i->path(), gone)), gone.clear();
  return text;
}

// Killed at any moment, again and again: between two sets, while files are written, while they replace others.
TEST_F(Folder, IsSoundAfterKills) {
  enum Round { anew, goes_on, to_the_end, replaces, replaces_again, to_the_end_again };
  Random random(7);
  const fs::path waiting = out / "unfinished";
  int finished = 0, killed = 0, half = 0;
  for (int i = 0; i < 60; ++i) {
    const int round = i % 6;
    const bool replacing = round == replaces || round == replaces_again;
    if (round == anew) fs::remove_all(out);
    const pid_t child = fork();
    if (child == 0) {
      alarm(100);  // for one that hangs
      data.overwrite = replacing;
      const EmbedFunction function = embeds("", round == replaces);
      run([&](const std::vector<EncoderInput>& inputs, const std::string& set) {
        if (round == anew && set == "Texts") pause();
        return function(inputs, set);
      });
      _exit(0);
    }
    // Chosen by what is seen on the disk, so that a slow machine is killed at the same places.
    std::string seen = listing(out);
    int changes = int(random.below(1 << random.below(6)));
    bool all_there = false;
    const auto so = [&] {
      if (round == anew) return fs::exists(out / "Classes_score.json");
      if (replacing && i % 12 < 6) {  // one of two sets has been moved
        all_there = all_there || fs::exists(waiting / "Texts/Texts_score.json");
        return all_there && !fs::exists(waiting / "Classes");
      }
      const std::string now = listing(out);
      changes -= now != seen, seen = now;
      return changes < 0;
    };
    if (round != to_the_end && round != to_the_end_again && runs_until(child, so)) kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFEXITED(status)) {
      EXPECT_EQ(status, 0);
      ++finished;
    } else {
      killed += round != anew;
    }
    if (fs::is_directory(out)) {
      expect_sound(out);
      half += fs::exists(out / "Classes_score.json") && !fs::exists(out / "summary.json");
    }
    if (HasFailure()) FAIL() << "after kill " << i;
  }
  EXPECT_GT(finished, 5);
  EXPECT_GT(killed, 5) << "while it went on";
  EXPECT_GT(half, 5) << "with a score of one set and no summary";
  data.overwrite = true;
  run(embeds());
  expect_sound(out);
  EXPECT_EQ(files_in(out).size(), 17u) << "nothing is left of the killed";
}

TEST_F(Cli, EvalRefusesAnotherEvaluationAndGoesOnWithItsOwn) {
  make_model();
  ASSERT_EQ(run("init --config config.json --tokenizer model --min_pixels 64 --max_pixels 4096 --seed 7 --output_dir "
                "other --quiet")
                .code,
            0);
  const std::string eval = "eval --dataset_name test --encode_output_path out --json --model_name ";
  const Result first = run(eval + "model");
  ASSERT_EQ(first.code, 0) << first.err;
  const Files before = files_in(folder_ / "out");
  const auto refused = [&](const std::string& arguments, const std::string& why) {
    const Result r = run(eval + arguments);
    EXPECT_EQ(r.code, 2) << arguments << r.err;
    EXPECT_TRUE(has(r.err, why)) << r.err;
    EXPECT_TRUE(has(r.err, "or replace the evaluation with --overwrite True")) << r.err;
    EXPECT_EQ(files_in(folder_ / "out"), before) << arguments;
  };
  refused("model --max_len 90", "out: has an evaluation with --max_len 0, now it is 90");
  refused("other", "out: has an evaluation of another model");
  fs::remove(folder_ / "out/summary.json");  // as of one that is not finished
  const Result again = run(eval + "../" + folder_.path().filename().string() + "/model");
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(again.out, first.out);
  EXPECT_TRUE(has(again.err, "eval: 1 of 1 set is finished in out and kept")) << again.err;
  EXPECT_EQ(Files(files_in(folder_ / "out")), before) << "the model is told by its files, however it is named";
  const Result replaced = run(eval + "other --overwrite True");
  EXPECT_EQ(replaced.code, 0) << replaced.err;
  EXPECT_NE(files_in(folder_ / "out"), before);
}

}  // namespace
}  // namespace vlm2vec
