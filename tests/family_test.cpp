// The seams between families and all else: who may name a family, what encoders share, what one rank means.
#include <gtest/gtest.h>

#include <fstream>

#include "expect_error.h"
#include "mmeb/training/grad_cache.h"
#include "tiny_model.h"
#include "vlm/image/image_cache.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

// A family is two files and a row of the table; nothing else knows its model_type.
TEST(Families, only_their_folder_names_them) {
  int seen = 0;
  for (const auto& entry : fs::recursive_directory_iterator(SOURCE_DIR "/src")) {
    const bool source = entry.path().extension() == ".h" || entry.path().extension() == ".cpp";
    if (!source) continue;
    const std::string text = read_text(entry.path());
    const bool own = entry.path().string().find("/vlm/families/") != std::string::npos;
    for (const Family& family : families()) {
      const bool names = text.find('"' + family.model_type + '"') != std::string::npos ||
                         (family.model_type.find('_') != std::string::npos &&
                          text.find(family.model_type) != std::string::npos);
      EXPECT_TRUE(own || !names) << entry.path() << " says " << family.model_type;
      seen += own && names;
    }
  }
  EXPECT_GE(seen, int(families().size())) << "the search finds nothing";
}

// One cache of pictures serves encoders that prepare them differently.
TEST(Families, have_prompts_of_their_own) {
  const Family& phi = *std::ranges::find(families(), "phi3_v", &Family::model_type);
  EXPECT_STREQ(prompt_style(phi, "vlm2vec-v1").name, "vlm2vec-v1");
  EXPECT_EQ(style_named(phi, ""), nullptr);
  expect_error(Exit::usage, "--prompt: gme is for Qwen2-VL and Qwen2.5-VL, but the model is Phi-3.5-V; expected raw,",
               [&] { prompt_style(phi, "gme"); });
}

TEST(ImageCache, keeps_pictures_by_content_and_rule) {
  const TemporaryFolder folder("cache");
  write_tiny_model(folder.path());
  write_png(folder / "a.png", plain_image(40, 24, 200));
  const auto cache = std::make_shared<ImageCache>(1 << 20);
  EncoderInput input{"<|image_pad|> what?", {folder / "a.png"}};
  const auto patches = [&](int64_t max_pixels, std::shared_ptr<ImageCache> images) {
    const auto encoder = load_encoder(folder.path(), {.max_pixels = max_pixels, .images = std::move(images)});
    return encoder->prepare({&input, 1}).patches.rows();
  };
  const int64_t large = patches(4096, {}), small = patches(256, {});
  ASSERT_NE(large, small);
  EXPECT_EQ(patches(4096, cache), large);
  EXPECT_EQ(patches(256, cache), small);
  EXPECT_EQ(patches(4096, cache), large);

  const int64_t bytes = cache->bytes();
  fs::copy_file(folder / "a.png", folder / "b.png");
  input.images = {folder / "b.png"};
  EXPECT_EQ(patches(4096, cache), large);
  EXPECT_EQ(cache->bytes(), bytes) << "equal bytes under another path";
  write_png(folder / "b.png", plain_image(16, 16, 200));
  EXPECT_LT(patches(4096, cache), large) << "other bytes under the same path";
  EXPECT_GT(cache->bytes(), bytes);
}

TEST(Comm, more_than_one_rank_is_an_error) {
  const TemporaryFolder folder("ranks");
  write_tiny_model(folder.path());
  const auto encoder = load_encoder(folder.path());
  const TinyPairs pairs = tiny_pairs(folder.path(), 3);
  const auto step = [&](Comm comm) {
    return item(contrastive_step(*encoder, pairs.queries, pairs.targets, {.temperature = 0.2, .comm = comm}).loss);
  };
  EXPECT_GT(step({}), 0);
  expect_error("Comm: rank 0 of 2; only one rank can run", [&] { step({.rank = 0, .size = 2}); });
  expect_error("Comm: rank 1 of 2", [&] { step({.rank = 1, .size = 2}); });
}

}  // namespace
}  // namespace vlm2vec
