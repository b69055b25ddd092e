// What the miniature MMEB is made from: SHA-256, font, names, the world and its drawing.
#include <fstream>
#include <set>

#include "io/files.h"
#include "io/sha256.h"
#include "mini/emoji_font.h"
#include "mini/emoji_names.h"
#include "mini/tasks.h"
#include "mini_fixture.h"

namespace vlm2vec::mini {
namespace {

class MiniFont : public WithFont {};
class MiniWorld : public WithFont {};

TEST(MiniSha256, KnownAnswers) {
  EXPECT_EQ(hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(
      hex(sha256(
          "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),  // 56 bytes: the length needs a second block
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex(sha256(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_F(MiniFont, FindsPictures) {
  const EmojiFont font(read_text(Sources().font), "font");
  EXPECT_EQ(font.glyph(0x1F431), 541);
  EXPECT_EQ(font.png(0x1F431).size(), 1895u);
  const Image cat = to_rgba(decode_picture(font.png(0x1F431), "cat"));
  EXPECT_EQ(cat.width, 136);
  EXPECT_EQ(cat.height, 128);
  EXPECT_EQ(font.glyph(0x4E00), 0);
  EXPECT_TRUE(contains(message_of(Exit::data, [&] { font.png(0x4E00); }), "no picture of U+4E00"));
}

TEST_F(MiniFont, DamageIsAnErrorNeverACrash) {
  const std::string whole = read_text(Sources().font);
  for (const size_t length : {size_t(0), size_t(5), size_t(11), size_t(40), size_t(5000), whole.size() / 2})
    EXPECT_TRUE(contains(message_of(Exit::data, [&] { EmojiFont(whole.substr(0, length), "cut.ttf").png(0x1F431); }),
                         "cut.ttf: "));
  EXPECT_TRUE(
      contains(message_of(Exit::data, [] { EmojiFont(std::string(1000, '\0'), "zeros.ttf"); }), "has no table cmap"));

  // One byte of the directory or of the index of the pictures is replaced: a picture or a sentence, nothing else.
  Random random(1);
  size_t index = 0;  // CBLC's offset, big-endian, stands 8 bytes after its tag
  for (int i = 8; i < 12; ++i) index = index << 8 | uint8_t(whole[whole.find("CBLC") + i]);
  int errors = 0;
  for (int i = 0; i < 60; ++i) {
    std::string damaged = whole;
    const size_t at = i % 2 ? random.below(300) : index + random.below(100);
    damaged[at] = char(random.word());
    try {
      EmojiFont(std::move(damaged), "damaged").png(0x1F431);
    } catch (const Error& error) {
      EXPECT_EQ(int(error.code), int(Exit::data));
      ++errors;
    }
  }
  EXPECT_GT(errors, 5);
}

TEST(MiniNames, ParsesEmojiTest) {
  const auto emojis = parse_emoji_test(
      "# group: Animals & Nature\n# subgroup: animal-marine\n"
      "1F420 ; fully-qualified     # \xF0\x9F\x90\xA0 E0.6 tropical fish\n"
      "# subgroup: sky & weather\r\n"
      "2744 FE0F ; fully-qualified # \xE2\x9D\x84 E0.6 snowflake\r\n"
      "2744 ; unqualified # \xE2\x9D\x84 E0.6 snowflake\n"
      "1F462 ; fully-qualified # x E0.6 woman\xE2\x80\x99s boot\n"
      "1F647 1F3FF ; fully-qualified # x E1.0 person bowing: dark skin tone\n",
      "names");
  ASSERT_EQ(emojis.size(), 4u);
  EXPECT_EQ(emojis[0].code_points, U"\x1F420");
  EXPECT_EQ(emojis[0].name, "tropical fish");
  EXPECT_EQ(emojis[0].kind, "animal marine");
  EXPECT_EQ(emojis[1].code_points, U"\x2744");
  EXPECT_EQ(emojis[1].name, "snowflake");
  EXPECT_EQ(emojis[1].kind, "sky & weather");
  EXPECT_EQ(emojis[2].name, "woman\xE2\x80\x99s boot");
  EXPECT_EQ(emojis[3].name, "person bowing: dark skin tone");
  EXPECT_EQ(emojis[3].code_points.size(), 2u);
  const std::string message =
      message_of(Exit::data, [] { parse_emoji_test("# subgroup: a\n1F420 ; fully-qualified\n", "names.txt"); });
  EXPECT_TRUE(contains(message, "names.txt: line 2"));
  message_of(Exit::data, [] { parse_emoji_test("", "names.txt"); });
}

TEST_F(MiniWorld, SixtyThings) {
  const World& w = world();
  EXPECT_EQ(w.seen.size(), 51u);
  EXPECT_EQ(w.unseen.size(), 9u);
  EXPECT_EQ(w.kinds.size(), 20u);
  EXPECT_EQ(w.pictures.size(), 60u + 27);
  std::set<std::string> names, seen_kinds, labels(w.kinds.begin(), w.kinds.end());
  for (const Picture& picture : w.pictures) names.insert(picture.name);
  EXPECT_EQ(names.size(), 87u);
  for (const int thing : w.seen) seen_kinds.insert(w.kind(thing)), labels.insert(w.name(thing));
  EXPECT_EQ(seen_kinds.size(), 16u);  // four kinds belong to unseen things only
  EXPECT_EQ(labels.size(), 71u);
  EXPECT_EQ(w.kind(w.seen[0]), "animal mammal");
  EXPECT_EQ(w.name(w.shape(7, 2)), "black square");
  for (const Picture& picture : w.pictures)
    for (size_t i = 0; i < sprite_sizes.size(); ++i) {
      EXPECT_EQ(picture.sprites[i].width, sprite_sizes[i]);
      EXPECT_EQ(picture.sprites[i].height, sprite_sizes[i]);
      EXPECT_EQ(picture.sprites[i].channels, 4);
    }
}

TEST_F(MiniWorld, SpritesEqualPillow) {
  if (world().read[0].sha256 != font_sha256) GTEST_SKIP() << "another version of the font";
  // Pillow 10.4: paste onto a transparent square, convert("RGBa"), resize(BICUBIC), convert("RGBA").
  const auto digest = [](const std::vector<uint8_t>& pixels) {
    return hex(sha256(std::string(pixels.begin(), pixels.end())));
  };
  EXPECT_EQ(digest(world().pictures[world().seen[0]].sprites[0].pixels),
            "7dd1487e8f63d5e663649b10ba3c6edc0eab01d4b7af7a9c1353d63804eee7dd");
  EXPECT_EQ(digest(world().pictures[world().seen[0]].sprites[2].pixels),
            "9492772a8d93f9592cfc6c1a298d9a820d0be45379658df33546e326db835d06");
  EXPECT_EQ(digest(world().pictures[world().shape(0, 0)].sprites[1].pixels),
            "d6d5ed09387eff637f0028e217daf5b46a192b2963e3b9c2b78d010f80e8f4bf");
}

TEST_F(MiniWorld, MissingPackages) {
  EXPECT_TRUE(contains(world().without_stamps, "tuxpaint-stamps-default"));
  const std::string message = message_of(Exit::data, [] { World({.font = "/nonexistent/NotoColorEmoji.ttf"}); });
  EXPECT_TRUE(contains(message, "/nonexistent/NotoColorEmoji.ttf"));
  EXPECT_TRUE(contains(message, "apt-get install fonts-noto-color-emoji"));
  EXPECT_TRUE(
      contains(message_of(Exit::data, [] { World({.names = "/nonexistent"}); }), "apt-get install unicode-data"));
}

TEST_F(MiniWorld, Stamps) {  // a gray + alpha picture, of seen things only, by the first line of its description
  const TemporaryFolder folder("mini");
  Image gray(32, 64, 2);
  for (size_t i = 0; i < gray.pixels.size(); i += 2) gray.pixels[i] = 100, gray.pixels[i + 1] = 255;
  for (const auto& [file, words] : {std::pair("b.png", "A Lion.\nde.utf8=Ein Loewe."),
                                    {"a.png", "The tropical fish!\r"},
                                    {"c.png", "A blackbird."}}) {
    write_png(folder / file, gray);
    std::ofstream((folder / file).replace_extension(".txt")) << words;
  }
  const World w({.stamps = folder.path()});
  ASSERT_EQ(w.stamps.size(), 2u);
  EXPECT_EQ(w.name(w.stamps[0]), "tropical fish");
  EXPECT_EQ(w.stamp_names(), (std::vector<std::string>{"lion", "tropical fish"}));
  const Image& sprite = w.pictures[w.stamps[1]].sprites[0];
  EXPECT_EQ(sprite.at(16, 1)[3], 0);  // padded to a square
  EXPECT_EQ(sprite.at(16, 16)[0], 100);
  EXPECT_EQ(sprite.at(16, 16)[3], 255);
  EXPECT_EQ(mini_tasks(w).back().name, "TuxPaint");
}

TEST(MiniDrawing, BlendIsTheNearestInteger) {
  for (int alpha = 0; alpha < 256; ++alpha)
    for (int over = 0; over < 256; ++over)
      for (int under = 0; under < 256; under += 5)
        ASSERT_EQ(blend(alpha, over, under), (2 * (alpha * over + (255 - alpha) * under) + 255) / 510)
            << alpha << " " << over << " " << under;
}

TEST(MiniDrawing, GrayAndCrop) {
  Image image(64, 64, 3);
  for (int cell = 0; cell < 4; ++cell)
    for (int y = 0; y < 32; ++y)
      for (int x = 0; x < 32; ++x) image.at(cell / 2 * 32 + y, cell % 2 * 32 + x)[0] = uint8_t(60 * cell + 1);
  for (int cell = 0; cell < 4; ++cell) {
    const Image crop = crop_cell(image, grid, cell);
    EXPECT_EQ(crop.width, 32);
    EXPECT_EQ(crop.at(0, 0)[0], 60 * cell + 1);
    EXPECT_EQ(crop.at(31, 31)[0], 60 * cell + 1);
  }
  Image colour(1, 1, 3);
  colour.pixels = {10, 200, 30};
  EXPECT_EQ(grayscale(colour).pixels, std::vector<uint8_t>(3, 124));  // 2.99 + 117.4 + 3.42 = 123.81
}

}  // namespace
}  // namespace vlm2vec::mini
