// Each maker draws the pictures of its row, then states query, positive and, for test rows, the distractors. No
// distractor equals the positive: names, kinds and colours differ as words, scenes as sets of things, crops and single
// things as things.
#include "mini/tasks.h"

#include <algorithm>
#include <numeric>
#include <set>

namespace vlm2vec::mini {
namespace {

using Ints = std::vector<int>;
using Maker = std::function<Row(Album&)>;
using Pool = Ints World::*;

const std::string represent = "Represent the image.";
const std::vector<std::string> grid_places = {"top left", "top right", "bottom left", "bottom right"};
const std::vector<std::string> triple_places = {"on the left", "in the middle", "on the right"};
const std::vector<std::string> pair_places = {"on the left", "on the right"};

Ints range(int n) {
  Ints numbers(n);
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

std::vector<std::string> names_and_kinds(const World& world) {
  std::vector<std::string> labels = world.seen_names();
  labels.insert(labels.end(), world.kinds.begin(), world.kinds.end());
  return labels;
}

// Makes a row whose target is a bare word; distractors are the other words of a list.
Row labelled(const Album& album, const Side& query, const std::string& answer, const std::vector<std::string>& labels) {
  return album.row(query, {answer}, [&] {
    std::vector<Side> others;
    for (const std::string& label : labels)
      if (label != answer) others.push_back({label});
    return others;
  });
}

// EmojiNet, EmojiKind, TuxPaint: one picture → its name or its kind.
Maker classify(Pool pool, const std::string& instruction, std::string Picture::*answer, std::vector<std::string> labels,
               bool gray) {
  return [=](Album& album) {
    const int thing = album.pick(album.world.*pool);
    const Side query = album.side(instruction, "", album.draw(single, {thing}, gray));
    return labelled(album, query, album.world.pictures[thing].*answer, labels);
  };
}

// GridQA, RowQA, PairQA: several things and a place → the name of the thing there.
Maker what_is(Layout layout, const std::vector<std::string>& places, const std::string& question, bool gray) {
  return [=](Album& album) {
    const Ints things = album.sample(album.world.seen, int(places.size()));
    const int place = int(album.random.below(uint32_t(places.size())));
    const int picture = album.draw(layout, things, gray);
    const Side query = album.side("Answer the question:", question + places[place] + "?", picture);
    return labelled(album, query, album.world.name(things[place]), album.world.seen_names());
  };
}

// ColourQA: heart, circle and square of three colours in four cells, and the name of one → its colour.
Row colour_question(Album& album) {
  const Ints chosen = album.sample(range(int(colours.size())), int(shapes.size()));
  const int asked = int(album.random.below(uint32_t(shapes.size())));
  Ints cells = {empty_cell};
  for (int form = 0; form < int(shapes.size()); ++form) cells.push_back(album.world.shape(chosen[form], form));
  album.random.shuffle(cells);
  const Side query =
      album.side("Answer the question:", "What colour is the " + shapes[asked] + "?", album.draw(grid, cells));
  return labelled(album, query, colours[chosen[asked]], {colours.begin(), colours.end()});
}

// "lion, tiger and bear"
std::string caption(const World& world, const Ints& things) {
  std::string text;
  for (size_t i = 0; i < things.size(); ++i)
    text += (i == 0 ? "" : i + 1 < things.size() ? ", " : " and ") + world.name(things[i]);
  return text;
}

using SceneMaker = std::function<Side(Album&, const Ints& things)>;

Side caption_of(Album& album, const Ints& things) { return {caption(album.world, things)}; }

// Draws three things in random cells of a grid (one cell stays empty), or two things side by side.
Side scene_of(Album& album, const Ints& things) {
  if (things.size() == 2) return album.side(represent, "", album.draw(pair, things));
  Ints cells = things;
  cells.resize(4, empty_cell);
  album.random.shuffle(cells);
  return album.side(represent, "", album.draw(grid, cells));
}

// Returns 5 scenes that differ from `things` in one thing, then 44 of the set's pool of 150; all differ as sets.
std::vector<Side> other_scenes(Album& album, const Ints& things, const SceneMaker& make) {
  const int similar = 5, wanted = 49, pool_size = 150, count = int(things.size());
  const auto sorted = [](Ints scene) {
    std::sort(scene.begin(), scene.end());
    return scene;
  };
  std::set<Ints> taken = {sorted(things)};
  std::vector<Side> others;
  const Ints strangers = album.sample(album.world.seen, similar, things);
  for (int i = 0; i < similar; ++i) {
    Ints changed = things;
    changed[i % count] = strangers[i];
    taken.insert(sorted(changed));
    others.push_back(make(album, changed));
  }
  while (int(album.scenes.size()) < pool_size) {
    const Ints scene = album.sample(album.world.seen, count);
    album.scenes.push_back({scene, make(album, scene)});
  }
  for (const int i : album.sample(range(pool_size), pool_size)) {
    if (int(others.size()) == wanted) break;
    if (taken.insert(sorted(album.scenes[i].things)).second) others.push_back(album.scenes[i].side);
  }
  return others;
}

// Scene_t2i, Pair_t2i: a caption → its picture.
Maker find_scene(int count) {
  return [=](Album& album) {
    const Ints things = album.sample(album.world.seen, count);
    const Side query = album.side("Find the image:", caption(album.world, things));
    return album.row(query, scene_of(album, things), [&] { return other_scenes(album, things, scene_of); });
  };
}

// Scene_i2t: a picture → its caption.
Row find_caption(Album& album) {
  const Ints things = album.sample(album.world.seen, 3);
  const Side query = album.side("Find the caption.", "", scene_of(album, things).picture);
  return album.row(query, caption_of(album, things), [&] { return other_scenes(album, things, caption_of); });
}

std::vector<Side> renderings(Album& album, const Ints& things) {
  std::vector<Side> sides;
  for (const int thing : things) sides.push_back(album.side(represent, "", album.rendering(thing)));
  return sides;
}

// Twins: a thing → another rendering of it, among one rendering of every other thing of the pool.
Maker twins(Pool pool) {
  return [=](Album& album) {
    const Ints& things = album.world.*pool;
    const int thing = album.pick(things);
    const Side query = album.side("Find a similar image.", "", album.draw(single, {thing}));
    const Side positive = album.side(represent, "", album.draw(single, {thing}));
    return album.row(query, positive,
                     [&] { return renderings(album, album.sample(things, int(things.size()), {thing})); });
  };
}

// Recolour: a coloured shape and another colour → the same shape in that colour, among all shapes in all colours.
Row recolour(Album& album) {
  const Ints from_to = album.sample(range(int(colours.size())), 2);
  const int form = int(album.random.below(uint32_t(shapes.size())));
  const int before = album.world.shape(from_to[0], form), after = album.world.shape(from_to[1], form);
  const Side query = album.side("Find the image with this change:", colours[from_to[1]], album.draw(single, {before}));
  const Side positive = album.side(represent, "", album.draw(single, {after}));
  return album.row(query, positive, [&] {
    Ints others;
    for (int colour = 0; colour < int(colours.size()); ++colour)
      for (int f = 0; f < int(shapes.size()); ++f)
        if (const int shape = album.world.shape(colour, f); shape != after) others.push_back(shape);
    return renderings(album, others);
  });
}

// CropLabel, CropWhere: several things and a name or a place → the crop of that cell, among the other cells and single
// things that are not in the picture: 50 candidates in all.
Maker find_crop(Layout layout, Pool pool, bool by_place) {
  return [=](Album& album) {
    const std::string instruction = "Represent the crop.";
    const int cells = layout.rows * layout.columns, candidates = 50;
    const Ints things = album.sample(album.world.*pool, cells);
    const int cell = int(album.random.below(uint32_t(cells)));
    const int picture = album.draw(layout, things);
    const std::string text = '"' + (by_place ? grid_places[cell] : album.world.name(things[cell])) + '"';
    const Side query = album.side(by_place ? "Find the crop at:" : "Find the crop of:", text, picture);
    const auto cut = [&](int c) { return album.side(instruction, "", album.crop(picture, layout, c)); };
    return album.row(query, cut(cell), [&] {
      std::vector<Side> others;
      for (int c = 0; c < cells; ++c)
        if (c != cell) others.push_back(cut(c));
      for (const int thing : album.sample(album.world.seen, candidates - cells, things))
        others.push_back(album.side(instruction, "", album.rendering(thing)));
      return others;
    });
  };
}

}  // namespace

std::vector<Task> mini_tasks(const World& world) {
  const Pool seen = &World::seen, unseen = &World::unseen;
  const std::string name = "Name the object.", kind = "Name the kind of object.";
  const std::string at = "What is at the ", what = "What is ";
  const std::vector<std::string> mixed = names_and_kinds(world);
  std::vector<Task> tasks = {
      {"EmojiNet", "classification", "IND", false, classify(seen, name, &Picture::name, mixed, false)},
      {"EmojiKind", "classification", "IND", false, classify(seen, kind, &Picture::kind, mixed, false)},
      {"GridQA", "vqa", "IND", false, what_is(grid, grid_places, at, false)},
      {"RowQA", "vqa", "IND", false, what_is(triple, triple_places, what, false)},
      {"ColourQA", "vqa", "IND", false, colour_question},
      {"Scene_t2i", "retrieval", "IND", false, find_scene(3)},
      {"Scene_i2t", "retrieval", "IND", false, find_caption},
      {"Twins", "retrieval", "IND", false, twins(seen)},
      {"Recolour", "retrieval", "IND", false, recolour},
      {"CropLabel", "grounding", "IND", false, find_crop(grid, seen, false)},
      {"CropWhere", "grounding", "IND", false, find_crop(grid, seen, true)},
      {"EmojiNet-Gray", "classification", "OOD", false, classify(seen, name, &Picture::name, mixed, true)},
      {"EmojiKind-New", "classification", "OOD", false, classify(unseen, kind, &Picture::kind, mixed, false)},
      {"GridQA-Gray", "vqa", "OOD", false, what_is(grid, grid_places, at, true)},
      {"PairQA", "vqa", "OOD", false, what_is(pair, pair_places, what, false)},
      {"Twins-New", "retrieval", "OOD", false, twins(unseen)},
      {"Pair_t2i", "retrieval", "OOD", false, find_scene(2)},
      {"CropLabel-Row", "grounding", "OOD", false, find_crop(triple, seen, false)},
      {"CropWhere-New", "grounding", "OOD", false, find_crop(grid, unseen, true)},
  };
  if (!world.stamps.empty())
    tasks.push_back({"TuxPaint", "classification", "OOD", true,
                     classify(&World::stamps, name, &Picture::name, world.stamp_names(), false)});
  return tasks;
}

}  // namespace vlm2vec::mini
