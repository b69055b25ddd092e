// Vectors kept on the disk: the same to the bit, never stale, whatever happens to the files.
#include "mmeb/evaluation/embedding_cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "cli_fixture.h"
#include "expect_error.h"
#include "mmeb/evaluation/evaluator.h"
#include "tiny_model.h"
#include "vlm/model.h"

namespace vlm2vec {
namespace {

Digest key(int i) { return sha256(std::to_string(i)); }
std::vector<float> vector_of(int i, int dim) {
  std::vector<float> v(static_cast<size_t>(dim));
  for (int k = 0; k < dim; ++k) v[size_t(k)] = float(i) + 0.5f * float(k);
  return v;
}
void add(VectorFile& file, int i, int dim) {
  const Digest k = key(i);
  file.add({&k, 1}, vector_of(i, dim).data());
}
bool has_vector(const VectorFile& file, int i, int dim) {
  std::vector<float> v(static_cast<size_t>(dim), NAN);
  return file.find(key(i), v.data()) && v == vector_of(i, dim);
}

TEST(VectorFile, keeps_what_is_sound) {
  const TemporaryFolder folder("vectors");
  const auto path = folder / "a.vectors";
  const int dim = 3, record = 32 + 4 * dim + 4;
  {
    VectorFile file(path, dim);
    for (int i = 0; i < 5; ++i) add(file, i, dim);
    EXPECT_TRUE(has_vector(file, 4, dim));
    EXPECT_FALSE(has_vector(file, 5, dim));
  }
  const std::string whole = read_text(path);
  ASSERT_EQ(whole.size(), size_t(5 * record));
  for (size_t cut = 0; cut <= whole.size(); cut += 7) {  // killed while it wrote
    write_text(path, whole.substr(0, cut), Sync::later);
    VectorFile file(path, dim);
    EXPECT_EQ(file.damaged(), 0);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(has_vector(file, i, dim), size_t((i + 1) * record) <= cut) << cut;
    add(file, 7, dim);
    EXPECT_TRUE(has_vector(VectorFile(path, dim), 7, dim)) << cut;
  }
  for (size_t at = 0; at < whole.size(); at += 3) {  // a flipped bit anywhere
    std::string bytes = whole;
    bytes[at] = char(bytes[at] ^ 1 << at % 8);
    write_text(path, bytes, Sync::later);
    const VectorFile file(path, dim);
    EXPECT_EQ(file.damaged(), 1);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(has_vector(file, i, dim), i != int(at) / record) << at;
    EXPECT_EQ(VectorFile(path, dim).damaged(), 0) << "it is noted once";
  }
}

TEST(VectorFile, several_processes_write_one_file) {
  const TemporaryFolder folder("writers");
  const auto path = folder / "a.vectors";
  const int dim = 5, processes = 4, each = 100;
  std::vector<pid_t> children;
  for (int p = 0; p < processes; ++p) {
    children.push_back(fork());
    if (children.back() == 0) {
      VectorFile file(path, dim);
      for (int i = 0; i < each; ++i) add(file, p * each + i, dim);
      _exit(0);
    }
  }
  for (const pid_t child : children) {
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  const VectorFile file(path, dim);
  EXPECT_EQ(file.damaged(), 0);
  for (int i = 0; i < processes * each; ++i) EXPECT_TRUE(has_vector(file, i, dim)) << i;
}

class Cache : public testing::Test {
 protected:
  Cache() {
    write_tiny_model(folder_ / "model");
    options_.model_name = (folder_ / "model").string();
    const TinyPairs pairs = tiny_pairs(folder_.path(), 6);
    rows_ = pairs.queries;
    rows_.insert(rows_.end(), pairs.targets.begin(), pairs.targets.end());
    rows_.push_back(rows_[3]);  // twice
    load();
  }
  void load() { encoder_ = load_model(options_, Device::cpu, true); }
  Embedder open() const { return {options_, folder_ / "cache", Device::cpu, true}; }
  std::string expect_same(int64_t batch) {  // → the note
    const Tensor plain = embed(*encoder_, rows_, 4);
    Embedder cache = open();
    const Tensor cached = cache.embed(rows_, batch).vectors;
    EXPECT_EQ(cached.shape(), plain.shape());
    EXPECT_EQ(std::memcmp(cached.raw(), plain.raw(), size_t(plain.bytes())), 0);
    return cache.cache_note();
  }

  const TemporaryFolder folder_{"cache"};
  ModelOptions options_;
  std::unique_ptr<Encoder> encoder_;
  std::vector<EncoderInput> rows_;
};

TEST_F(Cache, gives_the_same_bits) {
  EXPECT_TRUE(has(expect_same(5), "0 of 13 ")) << "a repeated row was not there before";
  EXPECT_TRUE(has(expect_same(5), "13 of 13 "));
}

TEST_F(Cache, an_interrupted_run_goes_on) {
  {
    Embedder cache = open();
    EXPECT_THROW(cache.embed(rows_, 2,
                             [](int64_t done) {
                               if (done >= 5) throw std::runtime_error("killed");
                             }),
                 std::runtime_error);
  }
  EXPECT_TRUE(has(expect_same(3), "5 of 13 ")) << "two batches of two, of which one row is there twice";
}

TEST_F(Cache, what_this_run_has_made_was_not_there_before) {
  Embedder cache = open();
  const std::span<const EncoderInput> all = rows_;
  cache.embed(all.first(7), 4);
  cache.embed(all, 4);  // as another set with rows of the first
  EXPECT_TRUE(has(cache.cache_note(), "0 of 20 ")) << cache.cache_note();
}

TEST_F(Cache, whatever_changes_a_vector_changes_its_key) {
  expect_same(4);
  rows_[1].text += "!";  // a text alone, rows 0 and 6 have a picture
  EXPECT_TRUE(has(expect_same(4), "12 of 13 "));
  write_png(rows_[0].images[0].name(), plain_image(16, 16, 9));
  load();
  EXPECT_TRUE(has(expect_same(4), "12 of 13 "));
  options_.max_len = 6;
  options_.resize_max_pixels = 64;
  load();
  EXPECT_TRUE(has(expect_same(4), "0 of 13 "));
  options_.precision = "bf16";
  load();
  EXPECT_TRUE(has(expect_same(4), "0 of 13 "));
  NamedTensors weights = state_dict(*encoder_->backbone);  // other weights in the same folder
  Tensor& norm = weights.at("model.norm.weight");
  norm = from_vector(std::vector<float>(size_t(norm.numel()), 2), norm.shape());
  save_safetensors(folder_ / "model/model.safetensors", weights);
  load();
  EXPECT_TRUE(has(expect_same(4), "0 of 13 "));
  EXPECT_TRUE(has(expect_same(4), "13 of 13 "));
}

// What is hashed is what is embedded, or nothing is kept.
TEST_F(Cache, a_change_meanwhile_is_not_kept) {
  const auto change_after = [&](int64_t rows, const auto& change) {
    return [=, changed = false](int64_t done) mutable {
      if (done >= rows && !changed) changed = true, change();
    };
  };
  rows_ = {rows_[6], rows_[0], rows_[1]};  // the picture comes second
  const auto repaint = [&](uint8_t grey) { write_png(rows_[1].images[0].name(), plain_image(16, 16, grey)); };
  expect_error(Exit::data, ".png: changed while it was in use",
               [&] { open().embed(rows_, 1, change_after(1, [&] { repaint(77); })); });
  EXPECT_TRUE(has(expect_same(1), "1 of 3 "));

  Embedder used = open();  // its encoder keeps the picture as it was
  used.embed(rows_, 1);
  repaint(33);
  expect_error(Exit::data, ".png: changed while it was in use", [&] { used.embed(rows_, 1); });

  Embedder loaded = open();
  write_text(folder_ / "model/chat_template.json", "{}");  // after it was loaded
  rows_[0].text += "?";
  expect_error(Exit::data, "files of the model changed", [&] { loaded.embed(rows_, 1); });
  load();
  EXPECT_TRUE(has(expect_same(1), "0 of 3 ")) << "another model";
}

TEST_F(Cache, damaged_vectors_are_made_again_with_one_note) {
  expect_same(4);
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "cache")) {
    if (entry.path().extension() != ".vectors") continue;
    std::string bytes = read_text(entry.path());
    bytes[40] = char(bytes[40] ^ 16);
    write_text(entry.path(), bytes);
  }
  const std::string note = expect_same(4);
  EXPECT_TRUE(has(note, "12 of 13 ")) << note;
  EXPECT_TRUE(has(note, "1 damaged")) << note;
  EXPECT_FALSE(has(expect_same(4), "damaged"));
}

TEST_F(Cli, EmbeddingCacheChangesNothingButTime) {
  make_model();
  write("rows.jsonl", "{\"text\": \"thing\"}\n{\"text\": \"<|image_pad|>\", \"image\": \"test/p1.png\"}\n");
  const std::string embed = "embed --model_name model --input rows.jsonl --output ",
                    eval = "eval --model_name model --dataset_name test --encode_output_path ",
                    cache = " --embedding_cache kept";
  ASSERT_EQ(run(embed + "plain.npy").code, 0);
  ASSERT_EQ(run(eval + "plain --quiet").code, 0);
  for (const std::string name : {"first", "second"}) {
    const Result embedded = run(embed + name + ".npy" + cache), evaluated = run(eval + name + cache);
    ASSERT_EQ(embedded.code + evaluated.code, 0) << embedded.err << evaluated.err;
    EXPECT_TRUE(has(embedded.err, name == "first" ? "0 of 2 vectors" : "2 of 2 vectors")) << embedded.err;
    EXPECT_TRUE(has(evaluated.err, name == "first" ? "0 of 7 vectors" : "7 of 7 vectors")) << evaluated.err;
    EXPECT_EQ(read_text(folder_ / (name + ".npy")), read_text(folder_ / "plain.npy"));
    EXPECT_EQ(read_text(folder_ / name / "summary.json"), read_text(folder_ / "plain/summary.json"));
  }
  write("file", "");
  EXPECT_EQ(run(embed + "x.npy --embedding_cache file").code, 4);
}

// Interrupted between two batches it says what is done, and the same command goes on.
TEST_F(Cache, an_interrupted_evaluation_says_how_to_go_on) {
  std::string rows;
  for (int i = 0; i < 600; ++i)
    rows += nlohmann::json{{"qry_text", "thing " + std::to_string(i)},
                           {"qry_img_path", ""},
                           {"tgt_text", {"a", "b"}},
                           {"tgt_img_path", {"", ""}}}
                .dump() +
            "\n";
  std::filesystem::create_directories(folder_ / "data/GQA");
  write_text(folder_ / "data/GQA/test.jsonl", rows);
  EvalOptions o;
  o.model_name = options_.model_name, o.dataset_name = folder_ / "data", o.encode_output_path = folder_ / "scores";
  o.embedding_cache = folder_ / "kept", o.per_device_eval_batch_size = 1;
  const auto kept = [&] {
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "kept", none))
      if (entry.path().extension() == ".vectors") return entry.file_size();
    return uintmax_t(0);
  };
  {
    std::signal(SIGINT, SIG_DFL);  // which a shell's background job ignores
    const std::jthread user([&](const std::stop_token& over) {
      while (kept() == 0 && !over.stop_requested()) std::this_thread::sleep_for(std::chrono::microseconds(200));
      if (!over.stop_requested()) std::raise(SIGINT);
    });
    expect_error(Exit(128 + SIGINT), "interrupted; 0 of 1 set is finished", [&] { evaluate(o, Device::cpu, true); });
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "scores"));
  const auto before = kept();
  EXPECT_EQ(evaluate(o, Device::cpu, true).sets.at(0).rows, 600);
  EXPECT_GT(before, 0u);
  EXPECT_GT(kept(), before);
  EXPECT_EQ(kept() % 602, 0u) << "no vector is there twice";
}

}  // namespace
}  // namespace vlm2vec
