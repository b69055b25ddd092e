// From prompts and picture files to packed rows: decoding, resizing, patches, tokens, positions.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/files.h"
#include "nn/state.h"
#include "tensor/parallel.h"
#include "vlm/families/qwen2_vl.h"
#include "vlm/portable_files.h"
#include "vlm/positions.h"
#include "vlm/prompt.h"

namespace vlm2vec {
namespace {

constexpr uint64_t kPatchKeys = uint64_t(1) << 30, kMergedKeys = uint64_t(1) << 31;  // beside the token keys of a row

RopeTable convert(const RopeTable& table, DType dtype, Device device) {
  return {table.cos.to(dtype).to(device), table.sin.to(dtype).to(device)};
}

template <class T>
Tensor vector_tensor(const std::vector<T>& values, Device device) {
  return from_vector(values, {int64_t(values.size())}, device);
}

// "row 12 of Scene_t2i: ", for error messages.
std::string prefix(const EncoderInput& input) { return input.row.empty() ? "" : input.row + ": "; }

}  // namespace

Qwen2Vl::Qwen2Vl(const ModelFolder& folder, const EncoderOptions& options)
    : config_(Qwen2VlConfig::load(folder.path / "config.json")),
      processor_(ProcessorConfig::read(folder.processor)),
      tokenizer_(Tokenizer::load(folder.tokenizer_folder)),
      device_(options.device),
      dtype_(options.f64 ? DType::f64 : DType::f32),
      max_len_(options.max_len),
      images_(options.images ? options.images : std::make_shared<ImageCache>(kImageCacheBytes)) {
  const std::string config_file = folder.path / "config.json", tokenizer_folder = folder.tokenizer_folder;
  if (processor_.patch_size != config_.vision.patch_size || processor_.merge_size != config_.vision.spatial_merge_size)
    fail(Exit::data, folder.processor.string(), ": has patches of ", processor_.patch_size, " merged by ",
         processor_.merge_size, ", ", config_file, " ", config_.vision.patch_size, " by ",
         config_.vision.spatial_merge_size);
  if (processor_.temporal_patch_size != config_.vision.temporal_patch_size)
    fail(Exit::data, folder.processor.string(), ": temporal_patch_size is ", processor_.temporal_patch_size, ", in ",
         config_file, " ", config_.vision.temporal_patch_size);
  if (tokenizer_.vocab_size() > config_.text.vocab_size)
    fail(Exit::data, tokenizer_folder, ": the tokenizer has ", tokenizer_.vocab_size(), " tokens, ", config_file,
         " a vocabulary of ", config_.text.vocab_size);
  if (config_.image_token_id >= tokenizer_.vocab_size() || !tokenizer_.is_added(config_.image_token_id))
    fail(Exit::data, config_file, ": image_token_id is ", config_.image_token_id, ", but the tokenizer of ",
         tokenizer_folder, " has no added token of that id; do the two belong together?");
  image_token_ = tokenizer_.token(config_.image_token_id);
  notes = folder.notes;
  take_positions(folder.processor, options);
  keep_configuration(folder, take_bounds(folder.processor, options));
  processor_.image_resolution = options.image_resolution;
  processor_.exif = options.exif;
  const std::string& word = options.image_resolution;
  if (!word.empty() && word != "high" && word != "mid" && word != "low")
    notes.push_back(
        "--image_resolution " + word +
        " is none of high, mid and low: as in VLM2Vec V1, only pictures with a side above 1344 are resized");
  processor_.temporal_patch_size = 1;  // one frame of a still picture; PatchEmbed adds the slices of the weight instead
  if (options.bf16) use_bf16_products();
  if (!options.load_weights) return;
  const std::optional<DType> dtype = options.f64 ? std::optional(DType::f64) : std::nullopt;
  const LoadOptions load{device_, dtype, tensor_names("qwen2_vl"), config_.tied};
  for (std::string& note : load_parameters(*this, load_checkpoint(folder.path), load, folder.path.string()))
    notes.push_back(std::move(note));
}

// Whether the options' bounds of a picture's area are others than the file's.
bool Qwen2Vl::take_bounds(const std::filesystem::path& file, const EncoderOptions& options) {
  const auto [min_in_file, max_in_file] = std::pair(processor_.min_pixels, processor_.max_pixels);
  const bool min_given = options.min_pixels > 0, max_given = options.max_pixels > 0;
  if (min_given) processor_.min_pixels = options.min_pixels;
  if (max_given) processor_.max_pixels = options.max_pixels;
  const auto source = [&](bool given, const char* option, const char* field, int64_t value) {
    return given ? sentence("--", option, " ", value) : sentence(field, " ", value, " of ", file.string());
  };
  if (processor_.min_pixels > processor_.max_pixels)
    fail(Exit::usage, source(max_given, "resize_max_pixels", "max_pixels", processor_.max_pixels), " is below ",
         source(min_given, "resize_min_pixels", "min_pixels", processor_.min_pixels), "; ",
         min_given && max_given ? sentence("give the smaller one as --resize_min_pixels")
         : max_given            ? sentence("give --resize_min_pixels too, at most ", processor_.max_pixels)
                                : sentence("give --resize_max_pixels too, at least ", processor_.min_pixels));
  return processor_.min_pixels != min_in_file || processor_.max_pixels != max_in_file;
}

// The option must not contradict what the model was trained with.
void Qwen2Vl::take_positions(const std::filesystem::path& file, const EncoderOptions& options) {
  std::string& kept = processor_.image_positions;
  if (!options.image_positions.empty() && !kept.empty() && kept != options.image_positions)
    fail(Exit::usage, "--image_positions ", options.image_positions, ": ", file.string(),
         " says that the model was trained with ", kept,
         "; leave the option out, or take image_positions out of the file");
  if (!options.image_positions.empty()) kept = options.image_positions;
  parse_image_positions(image_positions());  // for its error
}

// The files of configuration as all versions read them, with the bounds that were asked for.
void Qwen2Vl::keep_configuration(const ModelFolder& folder, bool moved) {
  for (const auto& [name, file] : folder.configuration) {
    configuration_[name] = read_text(file);
    if (name == "config.json") configuration_[name] = portable_config(configuration_[name]);
    if (name == "tokenizer_config.json") configuration_[name] = portable_tokenizer_config(configuration_[name]);
  }
  configuration_ = portable_processor_files(configuration_, folder.processor.filename(), processor_, moved);
  const auto own_folder = (folder.path / "config.json").parent_path();
  for (const auto& [name, content] : configuration_) {
    const auto file = folder.configuration.find(name);
    const bool brought = file != folder.configuration.end() && file->second.parent_path() != own_folder;
    if (brought || processor_files().contains(name)) adapter_files_.insert(name);
  }
}

// Each image token becomes as many as its picture has merged patches; without pictures it stays what it is. Text beyond
// max_len is still there; that max_len cuts no picture has been checked.
std::vector<int32_t> Qwen2Vl::tokens_of(const EncoderInput& row, std::span<const Grid> grids) const {
  const std::string name = prefix(row);
  if (const std::string fault = prompt_fault(row.text, grids.size(), image_token_); !fault.empty())
    fail(Exit::data, name, fault);
  const std::vector<int32_t> ids = tokenizer_.encode(row.text);
  const auto count = std::count(ids.begin(), ids.end(), config_.image_token_id);
  CHECK(grids.empty() || size_t(count) == grids.size(), name, "the tokenizer makes ", count, " tokens of the ",
        grids.size(), " image tokens of the text");
  std::vector<int32_t> tokens;
  size_t image = 0;
  for (const int32_t id : ids) {
    const bool picture = id == config_.image_token_id && !grids.empty();
    const size_t begin = tokens.size();
    tokens.insert(tokens.end(), picture ? size_t(grids[image].tokens(processor_.merge_size)) : 1, id);
    if (picture && max_len_ > 0 && int64_t(tokens.size()) > max_len_) {
      const Grid& g = grids[image];
      fail(Exit::data, name, "--max_len ", max_len_, " would cut through picture ", image + 1, ", whose grid of ", g.t,
           "x", g.h, "x", g.w, " patches makes tokens ", begin + 1, " to ", tokens.size(), "; give --max_len ",
           tokens.size(), " or more, or smaller pictures (--resize_max_pixels)");
    }
    image += picture;
  }
  CHECK(!tokens.empty(), name, "the tokenizer makes no token of the text");
  return tokens;
}

std::shared_ptr<const Image> Qwen2Vl::picture(const EncoderInput& row, const PictureSource& source) {
  try {
    return images_->get(source, processor_);
  } catch (const Error& error) {
    fail(error.code, prefix(row), error.what());
  }
}

std::vector<std::string> Qwen2Vl::faults(std::span<const EncoderInput> rows) {
  std::vector<std::string> faults(rows.size());
  parallel_for(int64_t(rows.size()), 1, [&](int64_t begin, int64_t end) {
    for (size_t i = size_t(begin); i < size_t(end); ++i) try {
        const EncoderInput row{rows[i].text, rows[i].images};  // without its name, which errors would begin with
        std::vector<Grid> grids;
        for (const auto& source : row.images) grids.push_back(grid_of(*picture(row, source), processor_));
        tokens_of(row, grids);
      } catch (const Error& error) {
        if (error.code != Exit::data) throw;
        faults[i] = error.what();
      }
  });
  return faults;
}

std::unique_ptr<Batch> Qwen2Vl::prepare(std::span<const EncoderInput> rows) {
  CHECK(!rows.empty(), "encoder: no rows to embed");
  const int merge = processor_.merge_size;
  struct RowPicture {
    const PictureSource& source;
    const EncoderInput& row;
  };
  std::vector<RowPicture> sources;
  for (const EncoderInput& row : rows)
    for (const auto& source : row.images) sources.push_back({source, row});
  std::vector<std::shared_ptr<const Image>> pictures(sources.size());
  parallel_for(int64_t(sources.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto& [source, row] = sources[size_t(i)];
      pictures[size_t(i)] = picture(row, source);
    }
  });
  std::vector<Grid> grids;
  for (const auto& picture : pictures) grids.push_back(grid_of(*picture, processor_));

  auto batch = std::make_unique<Qwen2VlBatch>();
  std::vector<int32_t> ids, cu{0}, last, image_rows, one_each{0}, positions[3];
  std::vector<int64_t> token_keys, last_keys, patch_keys, merged_keys;
  std::span<const Grid> rest(grids);
  const ImagePositions image_positions = parse_image_positions(this->image_positions());
  for (const EncoderInput& row : rows) {
    const std::span<const Grid> own = rest.first(row.images.size());
    rest = rest.subspan(row.images.size());
    std::vector<int32_t> expanded = tokens_of(row, own);
    if (max_len_ > 0 && int64_t(expanded.size()) > max_len_) {
      expanded.resize(size_t(max_len_));
      batch->cut.push_back(size_t(&row - rows.data()));
    }
    const std::vector<int32_t> place = mrope_positions(expanded, own, config_.vision_start_token_id,
                                                       config_.image_token_id, merge, image_positions);
    const size_t n = expanded.size();
    uint64_t patches = 0, merged = 0;
    for (const Grid& g : own)
      for (int p = 0; p < g.patches(); ++p) {
        patch_keys.push_back(int64_t(row.key << 32 | kPatchKeys | patches++));
        if (p % (merge * merge) == 0) merged_keys.push_back(int64_t(row.key << 32 | kMergedKeys | merged++));
      }
    for (size_t i = 0; i < n; ++i) {
      if (expanded[i] == config_.image_token_id && !own.empty()) image_rows.push_back(int32_t(ids.size()));
      ids.push_back(expanded[i]);
      token_keys.push_back(int64_t(row.key << 32 | i));
      for (size_t stream = 0; stream < 3; ++stream) positions[stream].push_back(place[stream * n + i]);
    }
    cu.push_back(int32_t(ids.size()));
    last.push_back(cu.back() - 1);
    last_keys.push_back(token_keys.back());
    one_each.push_back(int32_t(one_each.size()));
  }

  std::vector<int32_t> place, last_place;
  for (const auto& stream : positions) {
    place.insert(place.end(), stream.begin(), stream.end());
    for (int32_t row : last) last_place.push_back(stream[size_t(row)]);
  }
  const auto angles = [&](std::span<const int32_t> p) {
    return convert(text_rotary(p, config_.text.head_dim, config_.text.rope_theta, config_.mrope_section), dtype_,
                   device_);
  };
  batch->ids = vector_tensor(ids, device_);
  batch->token_keys = vector_tensor(token_keys, device_);
  batch->last_keys = vector_tensor(last_keys, device_);
  batch->tokens = {vector_tensor(cu, device_), angles(place), vector_tensor(last, device_),
                   vector_tensor(one_each, device_), angles(last_place)};
  batch->position_ids = from_vector(place, {3, int64_t(ids.size())});
  if (pictures.empty()) return batch;

  std::vector<int32_t> cu_patches{0}, grid_rows;
  std::vector<int64_t> starts;
  for (const Grid& g : grids) {
    starts.push_back(cu_patches.back());
    for (int t = 0; t < g.t; ++t) cu_patches.push_back(cu_patches.back() + g.h * g.w);
    grid_rows.insert(grid_rows.end(), {g.t, g.h, g.w});
  }
  Tensor patches({cu_patches.back(), processor_.patch_values()}, DType::f32, Device::cpu);
  parallel_for(DryRun::on() ? 0 : int64_t(pictures.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      write_patches(*pictures[size_t(i)], processor_, patches.data<float>() + starts[size_t(i)] * patches.columns());
  });
  batch->vision = {patches.to(dtype_).to(device_), vector_tensor(cu_patches, device_),
                   convert(vision_rotary(grids, config_.vision.head_dim(), merge), dtype_, device_),
                   vector_tensor(patch_keys, device_), vector_tensor(merged_keys, device_)};
  batch->image_rows = vector_tensor(image_rows, device_);
  batch->grids = from_vector(grid_rows, {int64_t(grids.size()), 3});
  return batch;
}

void Qwen2Vl::write_configuration(const std::filesystem::path& folder) const {
  for (const auto& [name, content] : configuration_) write_text(folder / name, content);
}

void Qwen2Vl::write_adapter_files(const std::filesystem::path& folder) const {
  for (const std::string& name : adapter_files_) write_text(folder / name, configuration_.at(name));
}

}  // namespace vlm2vec
