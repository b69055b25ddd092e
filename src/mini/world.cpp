#include "mini/world.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include "io/error.h"
#include "io/files.h"
#include "io/sha256.h"
#include "mini/emoji_font.h"
#include "mini/emoji_names.h"

namespace vlm2vec::mini {

const std::array<std::string, 9> colours = {"red",    "orange", "yellow", "green", "blue",
                                            "purple", "brown",  "black",  "white"};
const std::array<std::string, 3> shapes = {"heart", "circle", "square"};

namespace {

const std::array<const char*, 51> seen_things = {
    "lion", "tiger", "bison", "camel", "llama", "giraffe", "rhinoceros", "beaver", "bat", "bear", "koala", "panda",
    "skunk", "kangaroo", "badger", "chicken", "penguin", "frog", "crocodile", "snake", "dolphin", "tropical fish",
    "bug", "cricket", "rose", "hibiscus", "evergreen tree", "palm tree", "mushroom", "melon", "banana", "pineapple",
    "pear", "cherries", "avocado", "carrot", "onion", "teapot", "tropical drink", "pickup truck",
    "airplane departure", "suspension railway", "satellite", "soccer ball", "basketball", "ice hockey", "goggles",
    "scarf", "sari", "crown", "drum"};
const std::array<const char*, 9> unseen_things = {
    "herb",  "stuffed flatbread", "popcorn",  "chocolate bar", "chopsticks",
    "ferry", "mountain cableway", "softball", "cricket game"};

// Centres an RGBA picture on a transparent square.
Image padded_square(const Image& image) {
  const int side = std::max(image.width, image.height), top = (side - image.height) / 2,
            left = (side - image.width) / 2;
  Image square(side, side, 4);  // transparent black
  for (int y = 0; y < image.height; ++y) std::copy_n(image.at(y, 0), 4 * size_t(image.width), square.at(top + y, left));
  return square;
}

std::array<Image, 3> sprites(const Image& image) {
  const Image square = padded_square(image);
  std::array<Image, 3> sizes;
  for (size_t i = 0; i < sizes.size(); ++i)
    sizes[i] = resize(square, {sprite_sizes[i], sprite_sizes[i]}, Filter::bicubic);
  return sizes;
}

// Returns the name in Tux Paint's English description, the first line of its text file: "A blackbird." → "blackbird".
std::string stamp_name(const std::filesystem::path& description) {
  std::ifstream file(description);
  std::string name;
  std::getline(file, name);
  while (!name.empty() && std::string(" .!\r").find(name.back()) != std::string::npos) name.pop_back();
  for (char& c : name)
    if ('A' <= c && c <= 'Z') c += 'a' - 'A';
  for (const std::string article : {"a ", "an ", "the ", "some "})
    if (name.starts_with(article)) return name.substr(article.size());
  return name;
}

std::string read_source(const std::filesystem::path& path, const std::string& package) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored))
    fail(Exit::data, path.string(), ": no such file; the miniature MMEB needs the Debian package ", package,
         ": apt-get install ", package);
  return read_text(path);
}

}  // namespace

World::World(const Sources& sources) {
  const std::string font_bytes = read_source(sources.font, "fonts-noto-color-emoji");
  const std::string names = read_source(sources.names, "unicode-data");
  read = {{sources.font.string(), "fonts-noto-color-emoji", hex(sha256(font_bytes))},
          {sources.names.string(), "unicode-data", hex(sha256(names))}};
  const EmojiFont font(font_bytes, sources.font.string());
  std::map<std::string, Emoji> emojis;
  for (Emoji& emoji : parse_emoji_test(names, sources.names.string()))
    if (emoji.code_points.size() == 1) emojis.emplace(emoji.name, std::move(emoji));

  const auto add = [&](const std::string& name, const std::string& unicode_name) {
    const auto found = emojis.find(unicode_name);
    if (found == emojis.end())
      fail(Exit::data, sources.names.string(), ": has no emoji \"", unicode_name,
           "\" of one code point; expected Unicode 15 or newer");
    const char32_t code_point = found->second.code_points[0];
    pictures.push_back({name, found->second.kind,
                        sprites(to_rgba(decode_picture(font.png(code_point), sources.font.string() + ": " + name)))});
    return int(pictures.size()) - 1;
  };
  std::set<std::string> all_kinds;
  for (const char* thing : seen_things) seen.push_back(add(thing, thing));
  for (const char* thing : unseen_things) unseen.push_back(add(thing, thing));
  for (const Picture& picture : pictures) all_kinds.insert(picture.kind);
  kinds.assign(all_kinds.begin(), all_kinds.end());

  first_shape_ = int(pictures.size());
  for (const std::string& colour : colours)
    for (const std::string& form : shapes) {
      const std::string name = colour + " " + form;
      pictures[add(name, emojis.contains(name) ? name : colour + " large " + form)]
          .kind.clear();  // "black large square"
    }
  add_stamps(sources.stamps);
}

void World::add_stamps(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  const std::vector<std::string> wanted = seen_names();
  std::error_code missing;
  std::map<std::string, std::string> found;  // path → name; sorted: the order does not depend on the file system
  for (fs::recursive_directory_iterator entry(folder, missing), end; !missing && entry != end;
       entry.increment(missing)) {
    fs::path path = entry->path();
    if (path.extension() != ".png") continue;
    const std::string name = stamp_name(fs::path(path).replace_extension(".txt"));
    if (std::find(wanted.begin(), wanted.end(), name) != wanted.end()) found[path.string()] = name;
  }
  if (found.empty()) {
    without_stamps =
        folder.string() + " has no stamps; to add this set: apt-get install tuxpaint-stamps-default (161 MB)";
    return;
  }
  std::string digests;
  for (const auto& [path, name] : found) {
    const std::string bytes = read_source(path, "tuxpaint-stamps-default");
    digests += hex(sha256(bytes));
    stamps.push_back(int(pictures.size()));
    pictures.push_back({name, "",
                        sprites(to_rgba(decode_picture(
                            std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()), path)))});
  }
  read.push_back({folder.string(), "tuxpaint-stamps-default", hex(sha256(digests))});
}

std::vector<std::string> World::seen_names() const {
  std::vector<std::string> names;
  for (const int thing : seen) names.push_back(name(thing));
  return names;
}

std::vector<std::string> World::stamp_names() const {
  std::set<std::string> names;
  for (const int stamp : stamps) names.insert(name(stamp));
  return {names.begin(), names.end()};
}

}  // namespace vlm2vec::mini
