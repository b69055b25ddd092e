// What the Hugging Face hub leaves on a disk: names that are no folders, its cache, downloads that stopped, git-lfs
// pointers, sentence-transformers' files. Each is read or refused in a sentence that says what to do.
#include "io/hub.h"

#include <gtest/gtest.h>

#include "cli/commands.h"
#include "expect_error.h"
#include "io/archive.h"
#include "io/parquet/parquet.h"
#include "mmeb/data/data_folder.h"
#include "tensor/tensor_files.h"
#include "tiny_model.h"
#include "vlm/sentence_transformers.h"
#include "vlm/tokenizer/tokenizer.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string kPointer =
    "version https://git-lfs.github.com/spec/v1\noid sha256:" + std::string(64, 'a') + "\nsize 5656712\n";
const std::string kSentence =
    ": is a git-lfs pointer, not the file itself; in its repository, git lfs pull gets the file";

class Hub : public testing::Test {
 protected:
  Hub() { write_tiny_model(model_); }
  void refused(const std::string& part, const fs::path& model) const {
    expect_error(Exit::data, part, [&] { load_encoder(model); });
  }
  fs::path copy(const std::string& name) const {
    fs::create_directories((folder_ / name).parent_path());
    fs::copy(model_, folder_ / name);
    return folder_ / name;
  }
  static void move(const fs::path& folder, const char* from, const char* to) { fs::rename(folder / from, folder / to); }
  const TemporaryFolder folder_{"hub"};
  const fs::path model_ = folder_ / "plain";
};

TEST_F(Hub, names_are_no_folders_and_nothing_is_downloaded) {
  const auto refused = [](const fs::path& path, const std::string& part, HubKind kind = HubKind::model) {
    expect_error(Exit::data, part, [&] { require_folder(path, "a checkpoint", kind); });
  };
  refused("Qwen/Qwen2-VL-2B-Instruct",
          "Qwen/Qwen2-VL-2B-Instruct: no such folder, and nothing is ever downloaded; if it is a name of the hub, "
          "huggingface-cli download Qwen/Qwen2-VL-2B-Instruct --local-dir Qwen2-VL-2B-Instruct");
  refused("https://huggingface.co/Qwen/Qwen2-VL-7B",
          "huggingface-cli download Qwen/Qwen2-VL-7B --local-dir Qwen2-VL-7B");
  refused("TIGER-Lab/MMEB-train", "download TIGER-Lab/MMEB-train --repo-type dataset --local-dir", HubKind::dataset);
  for (const char* name :
       {"Q/X/", "Q/X@main", "https://huggingface.co/Q/X/tree/main", "https://hf.co/Q/X", "hf://Q/X@a1"})
    refused(name, std::string(name) +
                      ": no such folder, and nothing is ever downloaded; if it is a name of the hub, "
                      "huggingface-cli download Q/X --local-dir X (");
  refused("~/m", "~/m: no such folder; expected a checkpoint; the shell reads ~ only at the beginning of a word");
  for (const char* path : {"./Qwen/Qwen2", "../a/b", "/a/b", "runs/a/b", "model", "a b/c"})
    refused(path, std::string(path) + ": no such folder; expected a checkpoint");
  refused(folder_ / "plain/model.safetensors",
          "plain/model.safetensors: is a file; expected a folder with a checkpoint, such as " + model_.string());
  fs::create_directories(folder_ / "train/Flags");
  write_text(folder_ / "train/Flags/original.jsonl", "{}"), write_text(folder_ / "train/images.zip", "");
  for (const char* file : {"train/Flags/original.jsonl", "train/images.zip"})
    expect_error(Exit::data, "is a file; expected a folder of sets, such as " + (folder_ / "train").string(),
                 [&] { open_data_folder(folder_ / file, {}); });
  expect_error(Exit::data, "huggingface-cli download A/B", [] { load_encoder("A/B"); });
  expect_error(Exit::data, "download A/B --repo-type dataset", [] { open_data_folder("A/B", {}); });
  expect_error(Exit::data, "huggingface-cli download A/B", [] {
    run_command({"tokenize", "--model_name", "A/B", "--text", "x"});
  });
}

TEST_F(Hub, a_snapshot_of_the_cache_is_read_and_the_cache_itself_names_it) {
  const fs::path repository = folder_ / "hub/models--Q--V", blobs = repository / "blobs",
                 snapshot = repository / "snapshots/0a1b";
  fs::create_directories(blobs), fs::create_directories(snapshot), fs::create_directories(repository / "refs");
  fs::create_directories(repository / "snapshots/0000");
  write_text(repository / "refs/main", "0a1b");
  int number = 0;
  for (const auto& file : fs::directory_iterator(model_)) {
    const fs::path blob = blobs / std::to_string(++number);
    fs::copy_file(file, blob);
    fs::create_symlink("../../blobs/" + std::to_string(number), snapshot / file.path().filename());
  }
  EXPECT_EQ(load_encoder(snapshot)->dim(), 16);
  for (const fs::path& other : {folder_ / "hub", repository, repository / "snapshots"})
    refused("is the hub's cache, not a Hugging Face checkpoint; name the snapshot in it: " + snapshot.string(), other);
  fs::remove(fs::canonical(snapshot / "model.safetensors"));
  refused("model.safetensors is a link to a file that is not there: the download has not finished", snapshot);
  fs::remove(snapshot / "model.safetensors");
  write_text(blobs / "abc.incomplete", "");
  refused("0a1b: has neither model.safetensors nor model.safetensors.index.json; abc.incomplete is there", snapshot);
}

TEST_F(Hub, links_that_lead_nowhere_disturb_nothing) {
  const fs::path model = copy("model");
  fs::create_directories(folder_ / "run"), fs::create_directories(folder_ / "sets/Set");
  write_text(folder_ / "sets/Set/original.jsonl", "{}");
  for (const char* folder : {"model", "run", "sets"}) fs::create_symlink("loop", folder_ / folder / "loop");
  fs::create_symlink("other.gguf", model / "other.gguf");
  EXPECT_EQ(load_encoder(model)->dim(), 16);
  refused("run: has no config.json; expected a Hugging Face checkpoint", folder_ / "run");
  EXPECT_EQ(open_data_folder(folder_ / "sets", {}).sets.size(), 1u);
}

TEST_F(Hub, weights_that_are_not_there_or_not_read_are_said) {
  const fs::path model = copy("model");
  move(model, "model.safetensors", "pytorch_model.bin");
  refused("pytorch_model.bin: is not a file of torch.save in the zip format", model);
  move(model, "pytorch_model.bin", "consolidated.safetensors");
  refused("only consolidated.safetensors, which is not read; download the model in the layout of Hugging", model);
  move(model, "consolidated.safetensors", "model-00001-of-00002.safetensors");
  refused("has model-00001-of-00002.safetensors but no model.safetensors.index.json", model);
  write_json(model / "model.safetensors.index.json",
             {{"weight_map", {{"a", "model-00001-of-00002.safetensors"}, {"b", "model-00002-of-00002.safetensors"}}}});
  fs::create_directories(model / ".cache/huggingface/download");
  write_text(model / ".cache/huggingface/download/x.incomplete", "");
  refused("model-00002-of-00002.safetensors is not there, of 2 files that it names; x.incomplete is there", model);
  fs::copy_file(model_ / "model.safetensors", model / "model.safetensors");
  const auto encoder = load_encoder(model);  // as transformers, which looks for the one file first
  ASSERT_EQ(encoder->notes.size(), 1u);
  EXPECT_NE(encoder->notes[0].find("model-00001-of-00002.safetensors, model.safetensors.index.json are not used; the "
                                   "weights are model.safetensors"),
            std::string::npos)
      << encoder->notes[0];
  const fs::path run = folder_ / "run/checkpoint-7";
  copy("run/checkpoint-7");
  refused("run: has no config.json; expected a Hugging Face checkpoint; " + run.string() + " has one", folder_ / "run");
  copy("run/checkpoint-90"), copy("run/checkpoint-100");
  refused("checkpoint; " + (folder_ / "run/checkpoint-100").string() + " has one", folder_ / "run");
}

TEST_F(Hub, pointers_of_git_lfs_are_named_wherever_they_are_read) {
  for (const char* name : {"model.safetensors", "config.json", "tokenizer.json", "preprocessor_config.json"}) {
    const fs::path model = copy(std::string("lfs-") + name);
    write_text(model / name, kPointer);
    refused((model / name).string() + kSentence, model);
  }
  const fs::path page = copy("page");
  for (const char* text : {"<!DOCTYPE html><html></html>", "\n<HTML>", "Entry not found"})
    for (const char* name : {"model.safetensors", "config.json"}) {
      const fs::path broken = copy(sentence("page-", text[0], name));
      write_text(broken / name, text);
      refused((broken / name).string() + ": is a web page, not the file itself; download the file again", broken);
    }
  write_text(page / "model.safetensors", "version https://hawser.github.com/spec/v1\noid sha256:0\nsize 5\n");
  refused((page / "model.safetensors").string() + kSentence, page);
  const fs::path model = copy("lfs-index");
  fs::remove(model / "model.safetensors");
  write_text(model / "model.safetensors.index.json", kPointer);
  refused("model.safetensors.index.json" + kSentence, model);
  write_text(folder_ / "pointer", kPointer);
  const auto pointer_is_named = [&](const std::string& name, const std::function<void(const fs::path&)>& read) {
    const fs::path file = folder_ / name;
    fs::copy_file(folder_ / "pointer", file);
    expect_error(Exit::data, file.string() + kSentence, [&] { read(file); });
  };
  pointer_is_named("a.png", [](const fs::path& file) { read_picture(file); });
  pointer_is_named("a.parquet", [](const fs::path& file) { ParquetFile::open(file); });
  pointer_is_named("a.bin", [](const fs::path& file) { load_torch_file(file); });
  pointer_is_named("a.zip", [](const fs::path& file) { is_file_or_member(file / "x.png"); });
  pointer_is_named("a.tar", [](const fs::path& file) { is_file_or_member(file / "x.png"); });
  pointer_is_named("a.jsonl", [](const fs::path& file) { run_command({"data", "cat", file.string()}); });
  write_text(folder_ / "long", kPointer + std::string(2000, 'x'));
  EXPECT_EQ(read_text(folder_ / "long").size(), kPointer.size() + 2000);  // no pointer: those are short
}

json module(const std::string& path, const std::string& type) {
  return {{"name", "x"}, {"path", path}, {"type", type}};
}

TEST_F(Hub, sentence_transformers_folders_are_read_if_they_take_the_last_token) {
  const std::string old = "sentence_transformers.models.", now = "sentence_transformers.";
  const fs::path model = copy("sentences");
  const auto notes_of = [&](const std::vector<json>& modules, const json& pooling) {
    write_json(model / "modules.json", modules);
    fs::create_directories(model / "1_Pooling");
    write_json(model / "1_Pooling/config.json", pooling);
    std::string text;
    const auto encoder = load_encoder(model);
    for (const std::string& note : encoder->notes) text += note + "\n";
    return text;
  };
  const json last_old = {{"pooling_mode_mean_tokens", false}, {"pooling_mode_lasttoken", true}},
             last_now = {{"embedding_dimension", 16}, {"pooling_mode", "lasttoken"}};
  const std::vector<json> version_5 = {module("", old + "Transformer"), module("1_Pooling", old + "Pooling"),
                                       module("2_Normalize", old + "Normalize")},
                          version_6 = {module("", now + "base.modules.transformer.Transformer"),
                                       module("1_Pooling", now + "sentence_transformer.modules.pooling.Pooling")};
  EXPECT_EQ(notes_of(version_5, last_old), "");
  EXPECT_EQ(notes_of(version_6, last_now), "");  // vectors of length 1 either way
  const auto refused = [&](const std::string& part, const std::vector<json>& modules, const json& pooling) {
    expect_error(Exit::data, "modules.json: " + part, [&] { notes_of(modules, pooling); });
  };
  refused("the embedding is pooled by mean_tokens (1_Pooling/config.json); this program pools the last token",
          version_5, {{"pooling_mode_mean_tokens", true}, {"pooling_mode_lasttoken", false}});
  refused("the embedding is pooled by cls+lasttoken", version_6, {{"pooling_mode", {"cls", "lasttoken"}}});
  refused("the embedding is pooled by mean", version_6, json::object());
  refused("lists no Pooling", {version_5[0], version_5[2]}, last_old);
  std::vector<json> more = version_6;
  more.push_back(module("2_Dense", now + "base.modules.dense.Dense"));
  refused("asks for Dense", more, last_now);
  refused("the model itself lies in 0_Transformer", {module("0_Transformer", old + "Transformer")}, last_old);

  const std::string is_python = " is Python code in the model's folder, which is not run";
  EXPECT_NE(notes_of({module("", "custom_st.Model"), version_5[1]}, last_old).find("custom_st.Model" + is_python),
            std::string::npos);
  refused("custom_st.MeanPool" + is_python, {version_5[0], module("", "custom_st.MeanPool")}, last_old);
  refused("custom_st.Head" + is_python, {version_5[0], version_5[1], module("3_Head", "custom_st.Head")}, last_old);
  refused("custom_st.Model" + is_python, {module("0_Model", "custom_st.Model"), version_5[1]}, last_old);
  refused("lists no Pooling", {module("", "custom_st.Model")}, last_old);
  write_json(model / "config_sentence_transformers.json",
             {{"prompts", {{"query", "Represent: "}, {"document", ""}}}, {"default_prompt_name", "query"}});
  write_json(model / "sentence_bert_config.json", {{"modality_config", {{"message", json::object()}}}});
  const std::string notes = notes_of(version_6, last_now);
  EXPECT_NE(notes.find("prompts are not applied: query \"Represent: \" (by default query); put yours"),
            std::string::npos);
  EXPECT_NE(notes.find("puts each text into the chat template"), std::string::npos) << notes;
  const auto refuses = [&](const char* file, const json& content, const std::string& part) {
    const std::string before = read_text(model / file);
    write_json(model / file, content);
    expect_error(Exit::data, std::string(file) + ": " + part, [&] { notes_of(version_6, last_now); });
    write_text(model / file, before);
  };
  refuses("config_sentence_transformers.json", {{"truncate_dim", 8}}, "truncate_dim is 8, which is not applied");
  refuses("sentence_bert_config.json", {{"do_lower_case", true}}, "do_lower_case is true, but texts are read as they");
  refuses("sentence_bert_config.json", {{"module_output_name", "pooler_output"}}, "module_output_name is \"pooler_out");
  write_json(model / "sentence_bert_config.json",
             {{"module_output_name", "token_embeddings"}, {"do_lower_case", false}, {"processing_kwargs", {{"a", 1}}}});
  EXPECT_NE(notes_of(version_6, last_now).find("processing_kwargs {\"a\":1} is not applied"), std::string::npos);
}

}  // namespace
}  // namespace vlm2vec
