#include "vlm/processor.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/files.h"
#include "tensor/parallel.h"
#include "vlm/config_fields.h"
#include "vlm/portable_files.h"

namespace vlm2vec {
namespace {

constexpr uint64_t kPatchIds = uint64_t(1) << 30, kSeenIds = uint64_t(1) << 31;  // apart from the ids of tokens

// "row 12 of Scene_t2i: ", for error messages.
std::string prefix(const EncoderInput& input) { return input.row.empty() ? "" : input.row + ": "; }

int64_t dropout_id(const EncoderInput& row, uint64_t number) { return int64_t(row.dropout_id << 32 | number); }

}  // namespace

Processor::Processor(const ModelFolder& folder, const Family& family, const InputShape& input,
                     const EncoderOptions& options, std::vector<std::string>& notes)
    : input_(input),
      settings_(read_processor_settings(folder.processor, family)),
      tokenizer_(Tokenizer::load(folder.tokenizer_folder, family.text_cleaning)),
      max_len_(options.max_len),
      padding_(tokenizer_.padding_id()),
      images_(options.images ? options.images : std::make_shared<ImageCache>(kImageCacheBytes)) {
  PictureRule& rule = *settings_.rule;
  if (rule.patch_size == 0) rule.patch_size = input_.patch_size;
  check(folder);
  image_token_ = input_.image_token_id >= 0 ? tokenizer_.token(input_.image_token_id) : family.image_token;
  if (input_.most_tokens > 0) max_len_ = max_len_ > 0 ? std::min(max_len_, input_.most_tokens) : input_.most_tokens;
  tokenizer_.encode_with_ends("", max_len_);  // for its error
  if (numbered() && options.max_len > 0)
    notes.push_back(sentence("--max_len ", max_len_, " cuts rows without a picture only: the processor of ",
                             family.title, " cuts no others"));
  take_reading(folder, family, options, notes);
  bool moved = rule.take_bounds(options.min_pixels, options.max_pixels, folder.processor.string());
  if (const int crops = int(options.num_crops); crops > 0 && rule.num_crops == 0)
    notes.push_back(sentence("--num_crops ", crops, " has no effect: pictures of ", family.title, " are not cut so"));
  else if (crops > 0)
    moved |= std::exchange(rule.num_crops, crops) != crops;
  keep_configuration(folder, family, moved);
  rule.exif = options.exif;
  if (const std::string note = rule.take_resolution(options.image_resolution); !note.empty()) notes.push_back(note);
  rule.temporal_patch_size = 1;  // one frame of a still picture; the vision tower adds its weight's slices instead
  for (const PromptStyle& style : family.prompts)
    if (style.route != PictureRoute::own && !routes_.contains(style.route))
      routes_[style.route] = rule.along(style.route);
}

// The options must not contradict the training, nor ask for a choice that the family does not have.
void Processor::take_reading(const ModelFolder& folder, const Family& family, const EncoderOptions& options,
                             std::vector<std::string>& notes) {
  const std::string& wanted = options.image_positions;
  std::string& positions = settings_.image_positions;
  if (!wanted.empty() && family.rope != Rope::multimodal)
    fail(Exit::usage, "--image_positions ", wanted, ": ", family.title,
         " has one way to count positions; leave the option out");
  if (!wanted.empty() && !positions.empty() && positions != wanted)
    fail(Exit::usage, "--image_positions ", wanted, ": ", folder.processor.string(),
         " says that the model was trained with ", positions,
         "; leave the option out, or take image_positions out of the file");
  if (!wanted.empty()) positions = wanted;
  bool& mask = settings_.official_mask;
  const bool trained = mask;
  mask = options.official_mask.value_or(trained);
  if (mask && !family.official_mask)
    fail(Exit::usage, "--official_mask: ", family.title, " has one mask only; the option is for CLIP, leave it out");
  if (trained)
    notes.push_back(folder.processor.string() + ": the model was trained with the official mask, which is " +
                    (mask ? "used" : "not used: --official_mask False"));
  reading_.official_mask = mask;
  image_positions_ = family.rope == Rope::multimodal && positions.empty() ? "1d" : positions;
  if (!image_positions_.empty()) reading_.positions = parse_image_positions(image_positions_);
}

// Checks that the processor's files and the weights belong together.
void Processor::check(const ModelFolder& folder) const {
  const std::string config_file = folder.config, tokenizer_folder = folder.tokenizer_folder;
  if (rule().patch_size != input_.patch_size || rule().merge_size != input_.merge_size)
    fail(Exit::data, folder.processor.string(), ": has patches of ", rule().patch_size, " merged by ",
         rule().merge_size, ", ", config_file, " ", input_.patch_size, " by ", input_.merge_size);
  // A processor of version 5 counts a picture's tokens by a patch_size of its own.
  if (const auto nested = folder.configuration.find("processor_config.json"); nested != folder.configuration.end()) {
    const nlohmann::json fields = read_json(nested->second);
    if (const int64_t own = json_field(fields, "patch_size", input_.patch_size); own != input_.patch_size)
      fail(Exit::data, nested->second.string(), ": patch_size is ", own, ", in ", config_file, " ", input_.patch_size,
           "; transformers would count other image tokens");
  }
  if (rule().temporal_patch_size != input_.temporal_patch_size)
    fail(Exit::data, folder.processor.string(), ": temporal_patch_size is ", rule().temporal_patch_size, ", in ",
         config_file, " ", input_.temporal_patch_size);
  if (rule().picture_size != input_.image_size)
    fail(Exit::data, folder.processor.string(), ": makes pictures of ", rule().picture_size, " pixels to a side, in ",
         config_file, " image_size is ", input_.image_size);
  if (rule().canvases != input_.canvases)
    fail(Exit::data, folder.processor.string(), ": image_grid_pinpoints differs from that of ", config_file,
         "; do the two belong together?");
  if (tokenizer_.vocab_size() > input_.vocab_size)
    fail(Exit::data, tokenizer_folder, ": the tokenizer has ", tokenizer_.vocab_size(), " tokens, ", config_file,
         " a vocabulary of ", input_.vocab_size, "; do the two belong together?");
  const nlohmann::json config = read_config(config_file);
  for (const char* field : {"bos_token_id", "eos_token_id", "pad_token_id"})
    if (const auto id = config.find(field);
        id != config.end() && id->is_number_unsigned() && *id >= tokenizer_.vocab_size() && *id < input_.vocab_size)
      fail(Exit::data, config_file, ": ", field, " is ", *id, ", but the tokenizer of ", tokenizer_folder, " has ",
           tokenizer_.vocab_size(), " tokens; do the two belong together?");
  const int id = input_.image_token_id;
  if (id >= 0 && (id >= tokenizer_.vocab_size() || !tokenizer_.is_added(id)))
    fail(Exit::data, config_file, ": the image token is ", id, ", but the tokenizer of ", tokenizer_folder,
         " has no added token of that id; do the two belong together?");
}

// Keeps the configuration files in the form that all versions read, with the requested bounds.
void Processor::keep_configuration(const ModelFolder& folder, const Family& family, bool moved) {
  for (const auto& [name, file] : folder.configuration) {
    configuration_[name] = read_text(file);
    if (name == "config.json") configuration_[name] = family.portable_config(configuration_[name]);
    if (name == "tokenizer_config.json")
      configuration_[name] = portable_tokenizer_config(configuration_[name], family.tokenizer_class);
  }
  std::string used = folder.processor.filename();
  if (!configuration_.contains("config.json")) {  // the layout is the family's own
    configuration_["config.json"] = read_config(folder.config).dump(2) + "\n";
    used = "preprocessor_config.json";
    configuration_[used] = settings_.rule->settings().dump(2) + "\n";
  }
  configuration_ = portable_processor_files(configuration_, used, settings_, moved);
  const auto own_folder = folder.config.parent_path();
  for (const auto& [name, content] : configuration_) {
    const auto file = folder.configuration.find(name);
    const bool brought = file != folder.configuration.end() && file->second.parent_path() != own_folder;
    if (brought || processor_files().contains(name)) adapter_files_.insert(name);
  }
}

// Repeats each image token for each vector of its picture; without pictures it stays. The result may exceed max_len,
// but max_len cuts no picture.
std::vector<int32_t> Processor::tokens_of(const EncoderInput& row, std::span<const Grid> grids) const {
  const std::string name = prefix(row);
  if (const std::string fault = prompt_fault(row.text, grids.size(), image_token_); !fault.empty())
    fail(Exit::data, name, fault);
  std::vector<int32_t> ids;
  if (numbered() && !grids.empty()) {
    for (int32_t n = 0; const std::string& text : texts_around_images(row.text, image_token_)) {
      if (n != 0) ids.push_back(n);
      const std::vector<int32_t> words = tokenizer_.encode_with_ends(text);  // each text has ends of its own
      ids.insert(ids.end(), words.begin(), words.end());
      --n;
    }
  } else {
    ids = tokenizer_.encode_with_ends(row.text);
  }
  if (image_token_.empty()) {
    const bool blank = ids.size() == tokenizer_.begin_ids().size() + tokenizer_.end_ids().size();
    return blank && !grids.empty() && !input_.always_text ? std::vector<int32_t>()
                                                          : ids;  // a removed image token left only blanks
  }
  const auto count = std::ranges::count_if(ids, [&](int32_t id) { return is_picture(id); });
  CHECK(grids.empty() || size_t(count) == grids.size(), name, "the tokenizer makes ", count, " tokens of the ",
        grids.size(), " image tokens of the text");
  std::vector<int32_t> tokens;
  size_t image = 0;
  for (const int32_t id : ids) {
    const bool picture = is_picture(id) && !grids.empty();
    const size_t begin = tokens.size();
    tokens.insert(tokens.end(), picture ? size_t(rule().tokens_of(grids[image])) : 1, id);
    if (const int64_t most = max_len(grids); picture && most > 0 && int64_t(tokens.size()) > most) {
      const Grid& g = grids[image];
      fail(Exit::data, name, "--max_len ", max_len_, " would cut through picture ", image + 1, ", whose grid of ", g.t,
           "x", g.h, "x", g.w, " patches makes tokens ", begin + 1, " to ", tokens.size(), "; give --max_len ",
           tokens.size(), " or more", rule().canvases.empty() ? ", or smaller pictures (--resize_max_pixels)" : "");
    }
    image += picture;
  }
  CHECK(!tokens.empty(), name, "the tokenizer makes no token of the text");
  return tokens;
}

const PictureRule& Processor::rule_of(const EncoderInput& row) const {
  return row.route == PictureRoute::own ? rule() : *routes_.at(row.route);
}

std::shared_ptr<const Image> Processor::picture(const EncoderInput& row, const PictureSource& source) const {
  try {
    return images_->get(source, rule_of(row));
  } catch (const Error& error) {
    fail(error.code, prefix(row), error.what());
  }
}

std::vector<Grid> Processor::grids_of(const EncoderInput& row) const {
  std::vector<Grid> grids;
  for (const auto& source : row.images) grids.push_back(rule().grid_of(*picture(row, source)));
  return grids;
}

std::vector<std::string> Processor::faults(std::span<const EncoderInput> rows) const {
  std::vector<std::string> faults(rows.size());
  parallel_each(rows.size(), [&](size_t i) {
    faults[i] = data_fault([&] {
      EncoderInput row = rows[i];
      row.row.clear();  // so that errors are nameless, too
      tokens_of(row, grids_of(row));
    });
  });
  return faults;
}

std::vector<int64_t> Processor::token_counts(std::span<const EncoderInput> rows) const {
  std::vector<int64_t> counts(rows.size());
  parallel_each(rows.size(), [&](size_t i) {
    const std::vector<Grid> grids = grids_of(rows[i]);
    std::vector<int32_t> tokens = tokens_of(rows[i], grids);
    tokenizer_.cut(tokens, max_len(grids));
    counts[i] = int64_t(tokens.size());
    if (image_token_.empty())
      for (const Grid& grid : grids) counts[i] += grid.patches();
  });
  return counts;
}

// Rows without a text stay empty.
std::vector<int32_t> Processor::padded(std::vector<int32_t> tokens) const {
  if (input_.padded && !reading_.official_mask && !tokens.empty())
    tokens.resize(std::max(tokens.size(), size_t(input_.most_tokens)), padding_);
  return tokens;
}

void Processor::pack_tokens(std::span<const EncoderInput> rows, std::span<const Grid> grids, TokenBatch& batch) const {
  std::vector<int32_t> ids, cu{0}, last, image_rows, one_each{0};
  std::vector<int64_t> token_ids, last_ids, patch_ids, seen_ids;
  const int cell = rule().merge_size * rule().merge_size;
  for (const EncoderInput& row : rows) {
    const std::span<const Grid> own = grids.first(row.images.size());
    grids = grids.subspan(row.images.size());
    std::vector<int32_t> tokens = tokens_of(row, own);
    batch.uncounted.push_back(row.uncounted);
    if (tokenizer_.cut(tokens, max_len(own))) batch.cut.push_back(size_t(&row - rows.data()));
    tokens = padded(std::move(tokens));
    uint64_t patches = 0, seen = 0;
    for (const Grid& g : own)
      for (int p = 0; p < g.patches(); ++p) {
        patch_ids.push_back(dropout_id(row, kPatchIds | patches++));
        if (p % cell == 0) seen_ids.push_back(dropout_id(row, kSeenIds | seen++));
      }
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (is_picture(tokens[i]) && !own.empty()) image_rows.push_back(int32_t(ids.size()));
      ids.push_back(std::max(tokens[i], 0));
      token_ids.push_back(dropout_id(row, i));
    }
    cu.push_back(int32_t(ids.size()));
    last.push_back(cu.back() - 1);
    last_ids.push_back(tokens.empty() ? 0 : token_ids.back());
    one_each.push_back(int32_t(one_each.size()));
    batch.picture_rows.insert(batch.picture_rows.end(), own.size(), int32_t(&row - rows.data()));
  }
  batch.ids = from_vector(ids), batch.cu_seqlens = from_vector(cu);
  batch.last_rows = from_vector(last), batch.one_each = from_vector(one_each);
  batch.dropout_ids = from_vector(token_ids), batch.last_dropout_ids = from_vector(last_ids);
  if (batch.grids.empty()) return;
  batch.image_rows = from_vector(image_rows);
  batch.patch_dropout_ids = from_vector(patch_ids), batch.seen_dropout_ids = from_vector(seen_ids);
}

TokenBatch Processor::prepare(std::span<const EncoderInput> rows) const {
  CHECK(!rows.empty(), "encoder: no rows to embed");
  struct RowPicture {
    const PictureSource& source;
    const EncoderInput& row;
  };
  std::vector<RowPicture> sources;
  for (const EncoderInput& row : rows)
    for (const auto& source : row.images) sources.push_back({source, row});
  std::vector<std::shared_ptr<const Image>> pictures(sources.size());
  parallel_each(sources.size(), [&](size_t i) { pictures[i] = picture(sources[i].row, sources[i].source); });
  TokenBatch batch;
  std::vector<int64_t> starts;
  int64_t patches = 0;
  for (const auto& picture : pictures) {
    batch.grids.push_back(rule().grid_of(*picture));
    starts.push_back(patches);
    patches += batch.grids.back().patches();
  }
  pack_tokens(rows, batch.grids, batch);
  if (pictures.empty()) return batch;
  batch.patches = Tensor({patches, rule().patch_values()}, DType::f32, Device::cpu);
  parallel_each(DryRun::on() ? 0 : pictures.size(), [&](size_t i) {
    rule().write_patches(*pictures[i], batch.patches.data<float>() + starts[i] * batch.patches.columns());
  });
  return batch;
}

void Processor::write_configuration(const std::filesystem::path& folder) const {
  for (const auto& [name, content] : configuration_) write_text(folder / name, content);
}

void Processor::write_adapter_files(const std::filesystem::path& folder) const {
  for (const std::string& name : adapter_files_) write_text(folder / name, configuration_.at(name));
}

}  // namespace vlm2vec
