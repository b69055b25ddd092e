#include "mmeb/training/memory_plan.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "mmeb/training/bad_rows.h"
#include "mmeb/training/grad_cache.h"
#include "mmeb/training/trained_model.h"
#include "mmeb/training/training_batch.h"
#include "mmeb/training/training_run.h"
#include "tensor/cpu/simd/simd.h"
#include "tensor/parallel.h"
#include "vlm/image/image_cache.h"

namespace vlm2vec {
namespace {

constexpr int64_t kCudaBytes = int64_t(1) << 30;  // more than CUDA itself takes of a card
constexpr int64_t kFewestRows = 512, kMostRows = 4096, kMostBatches = 64;

struct Measured {
  int64_t peak = 0, kept = 0, ahead = 0, chunk_rows = 0;
  PeakBytes peaks = {};
};

// Takes the steps of a batch. The one after it, of which the first rows are read meanwhile, is taken to be like it.
Measured measure(Encoder& encoder, const TrainingBatch& batch, const TrainOptions& o, int64_t tape_room) {
  reset_peak_bytes();
  Measured measured;
  ContrastiveOptions options = contrastive_options(o, batch.matching);
  options.tape_bytes = tape_room;
  const auto read = [&] { return read_first_chunks(encoder, batch.queries, batch.targets, options); };
  FirstChunks next;
  if (o.max_steps * o.gradient_accumulation_steps > 1)
    options.then = [&] {
      const int64_t before = memory_statistics().live_bytes;
      next = read();
      measured.ahead = memory_statistics().live_bytes - before;
    };
  measured.kept = reading_rows(o.bad_rows, [&] {
                    FirstChunks first = read();
                    measured.chunk_rows = std::max(first.queries.largest(), first.targets.largest());
                    return contrastive_step(encoder, batch.queries, batch.targets, options, std::move(first));
                  }).kept_bytes;
  measured.peak = memory_statistics().peak_bytes, measured.peaks = peak_bytes();
  return measured;
}

// Copies in bf16 of what bf16 holds exactly, and one in f32 to compare with.
int64_t bytes_to_save(const TrainedModel& model, const TrainOptions& o) {
  int64_t narrow = 0, widest = 0;
  if (!model.bf16_storage || !saves_beside(o)) return 0;
  for (const Parameter* p : model.encoder->backbone->parameters())
    if (p->value().dtype() == DType::f32)
      narrow += p->value().bytes() / 2, widest = std::max(widest, p->value().bytes());
  return narrow + widest;
}

// Adds to the plan what a batch takes.
void add_batch(MemoryPlan& plan, const Measured& measured, const TrainingBatch& batch, int64_t held,
               const TrainOptions& o, const Encoder& encoder, Device device) {
  plan.card_tensors = std::max(plan.card_tensors, measured.peaks.device);
  plan.host_tensors = std::max(plan.host_tensors, measured.peaks.host);
  if (measured.peak <= plan.peak) return;
  const int64_t queries = int64_t(batch.queries.size()), targets = int64_t(batch.targets.size());
  plan.peak = measured.peak, plan.kept = measured.kept, plan.ahead = measured.ahead;
  plan.embeddings = 2 * (queries + targets) * encoder.dim() * int64_t(sizeof(float));
  plan.chunk = std::max<int64_t>(0, plan.peak - held - plan.embeddings - plan.kept - plan.ahead);
  plan.loss = infonce_memory(queries, targets, encoder.dim(), o.bf16_scores, device == Device::cpu);
  plan.chunk_rows = measured.chunk_rows;
}

// Takes the same steps with the room for tapes.
void add_tapes(MemoryPlan& plan, const std::vector<TrainingBatch>& batches, const TrainOptions& o, Encoder& encoder) {
  const int64_t without = plan.peak;
  for (const TrainingBatch& batch : batches) {
    const Measured measured = measure(encoder, batch, o, plan.tape_room);
    plan.peak = std::max(plan.peak, measured.peak);
    plan.card_tensors = std::max(plan.card_tensors, measured.peaks.device);
    plan.host_tensors = std::max(plan.host_tensors, measured.peaks.host);
  }
  plan.tapes = plan.peak - without;
}

// Returns the room for tapes that the plan without them leaves.
int64_t room_for_tapes(const MemoryPlan& plan, const TrainOptions& o) {
  if (!in_chunks(o) || !o.gc_keep_tapes) return 0;
  const int64_t free = plan.card ? plan.card->total - plan.card->taken - plan.card_total()
                                 : host_memory().available - plan.total();
  return free / 2 >= plan.chunk ? free / 2 : 0;
}

}  // namespace

MemoryPlan plan_memory(TrainOptions o, const TrainingData& rows, const std::optional<FoundCheckpoint>& checkpoint,
                       const EncoderOptions& encoder_options) {
  const DryRun dry;
  MemoryPlan plan;
  if (encoder_options.device == Device::cuda) plan.card = card_memory();
  std::vector<std::string> notes;
  const TrainedModel model = load_trained_model(o, checkpoint, encoder_options, notes);
  const TrainedParameters parameters(parameters_to_train(model, o), model.bf16_storage);
  const AdamW optimiser(parameters, {});
  for (const Parameter* p : model.encoder->backbone->parameters()) {
    const Tensor& w = p->value();
    if (w.is_borrowed()) plan.mapped += w.bytes();
    if (plan.card && w.dtype() == DType::bf16 && model.encoder->dtype() == DType::f32)
      plan.widened = std::max(plan.widened, w.numel() * int64_t(sizeof(float)));
  }
  plan.masters = parameters.values().bytes();
  plan.gradients = parameters.gradients().bytes();
  plan.optimiser = optimiser.first_moment().bytes() + optimiser.second_moment().bytes();
  plan.disk = plan_disk(o, checkpoint ? checkpoint->step : 0, model, optimiser);
  const int64_t held = memory_statistics().live_bytes;
  plan.weights = held - plan.masters - plan.gradients - plan.optimiser;

  Encoder& encoder = *model.encoder;
  encoder.backbone->dropout.active = model.has_dropout();
  BatchOptions batch_options{o.num_hardneg, o.mask_duplicates};
  batch_options.style = style_named(encoder.family, o.prompt);
  if (o.bad_rows == "skip") batch_options.faults = [&](auto inputs) { return encoder.processor.faults(inputs); };
  int64_t seen = 0, drawn = 0;
  std::set<RowId> different;
  std::vector<TrainingBatch> batches;
  for (const std::vector<RowId>& ids : rows.upcoming(kMostRows)) {
    const bool enough = drawn >= kMostBatches || encoder_options.images->bytes() > kImageCacheBytes / 2;
    if (seen >= kFewestRows && enough) break;
    seen += int64_t(ids.size()), ++drawn;
    different.insert(ids.begin(), ids.end());
    TrainingBatch batch = make_batch(rows, ids, encoder.image_token(), batch_options);
    if (batch.queries.empty()) continue;
    add_batch(plan, measure(encoder, batch, o, 0), batch, held, o, encoder, encoder_options.device);
    batches.push_back(std::move(batch));
  }
  // The run also needs the pictures of rows beyond the plan.
  const double more = std::min(double(rows.count()) / double(different.size()),
                               double(o.max_steps * o.gradient_accumulation_steps) / double(drawn));
  plan.pictures = int64_t(std::min(more * double(encoder_options.images->bytes()), double(kImageCacheBytes)));
  plan.rows = rows.bytes();
  plan.work_space = threads() * kSimdScratchBytes;
  if (encoder_options.device == Device::cpu) plan.saving = bytes_to_save(model, o);
  if ((plan.tape_room = room_for_tapes(plan, o)) > 0) add_tapes(plan, batches, o, encoder);
  return plan;
}

std::string MemoryPlan::table() const {
  std::string text = "train: memory that this run will take\n";
  const auto line = [&](const std::string& what, int64_t bytes) {
    const std::string value = in_bytes(bytes);
    const int64_t blanks = 56 - int64_t(what.size() + value.size());
    text += "  " + what + std::string(size_t(std::max<int64_t>(1, blanks)), ' ') + value + '\n';
  };
  if (weights > 0) line("frozen weights and bf16 copies", weights);
  line("trained weights", masters);
  line("gradients", gradients);
  line("optimiser (two moments)", optimiser);
  line("embeddings of a batch and their gradients", embeddings);
  if (kept > 0) line(sentence("chunks kept between the passes (at most ", in_bytes(kKeptChunkBytes), ")"), kept);
  line(sentence("largest chunk, ", chunk_rows, chunk_rows == 1 ? " row" : " rows"), chunk);
  if (tapes > 0) line(sentence("histories of chunks, kept (in at most ", in_bytes(tape_room), ")"), tapes);
  if (ahead > 0) line("rows of the next batch, read meanwhile", ahead);
  line("predicted peak", peak);
  line("in the loss, at its own time: scores", loss.scores);
  if (loss.copies > 0) line("in the loss: embeddings in bf16", loss.copies);
  if (loss.states > 0) line("in the loss: running sums", loss.states);
  if (card) {
    line("of it on the GPU", card_tensors);
    line("plus: work space on the GPU", kCardWorkSpace + widened);
    line(sentence("total on the GPU (", in_bytes(card->total - card->taken), " are free)"), card_total());
    line("in the host's memory", host_tensors);
  }
  if (pictures > 0) line("plus: cache of decoded pictures", pictures);
  line("plus: texts of the rows", rows);
  line(sentence("plus: work space of ", work_space / kSimdScratchBytes, " threads"), work_space);
  if (saving > 0) line("plus: copies for a checkpoint", saving);
  line(card ? "total in the host's memory, without the program" : "total, without the program", total());
  if (mapped > 0) line("not counted, weights read from their file", mapped);
  line("on disk, the model", disk.model);
  line("on disk, a checkpoint", disk.checkpoint);
  line("on disk, at most", disk.most);
  return text;
}

std::string MemoryPlan::json() const {
  const HostMemory memory = host_memory();
  nlohmann::ordered_json fields{{"weights", weights},           {"trained_weights", masters},
                                {"gradients", gradients},       {"optimiser", optimiser},
                                {"embeddings", embeddings},     {"kept_chunks", kept},
                                {"read_ahead", ahead},
                                {"largest_chunk", chunk},       {"largest_chunk_rows", chunk_rows},
                                {"kept_tapes", tapes},          {"room_for_tapes", tape_room},
                                {"loss_copies", loss.copies},   {"loss_states", loss.states},
                                {"loss_scores", loss.scores},
                                {"predicted_peak", peak},       {"mapped_weights", mapped},
                                {"decoded_pictures", pictures}, {"rows", rows},
                                {"work_space", work_space},     {"saving", saving},
                                {"predicted_total", total()},
                                {"disk_model", disk.model},     {"disk_checkpoint", disk.checkpoint},
                                {"disk_most", disk.most},       {"available", memory.available},
                                {"total", memory.total}};
  if (card) {
    fields["card"] = card->name, fields["card_predicted"] = card_total();
    fields["card_available"] = card->total - card->taken, fields["card_total"] = card->total;
  }
  return fields.dump();
}

std::string MemoryPlan::cure(int64_t needed, int64_t limit, const TrainOptions& o) const {
  const int64_t rest = needed - chunk, row = std::max<int64_t>(1, chunk / std::max<int64_t>(1, chunk_rows)),
                fit = (limit - rest) / row;
  std::string cure;
  const int64_t tokens = int64_t(double(o.gc_tokens) * double(limit - rest) / double(std::max<int64_t>(1, chunk)));
  if (tokens >= 1)
    cure = sentence("lower --gc_tokens to ", tokens, ", or less (the largest chunk takes ", in_bytes(chunk), ")");
  else if (limit > rest && fit >= 1 && fit < chunk_rows)
    cure = sentence("lower --gc_q_chunk_size and --gc_p_chunk_size to ", fit, ", or less (the largest chunk of ",
                    chunk_rows, " rows takes ", in_bytes(chunk), ")");
  else if (limit > rest) cure = sentence("lower --resize_max_pixels or --max_len (one row takes ", in_bytes(row), ")");
  else if (!o.lora && o.adapter.empty())
    cure = sentence("train adapters with --lora True (weights, gradients and moments of the whole model take ",
                    in_bytes(masters + gradients + optimiser), ")");
  else cure = sentence("use a smaller model (its tensors alone take ", in_bytes(rest), ")");
  if (chunk > rest && !o.gradient_checkpointing) cure += ", or add --gradient_checkpointing True";
  return cure;
}

// A card cannot lend memory as the host does: what is not free is not there.
void MemoryPlan::require_card(const TrainOptions& o) const {
  const int64_t needed = card_total(), limit = card->total - card->taken;
  if (needed <= limit) return;
  const bool others = needed <= card->total - kCudaBytes;
  fail(Exit::resources, "train: the run would take ", in_bytes(needed), " of the GPU's memory, but the ", card->name,
       " has ", in_bytes(card->total), ", of which ", in_bytes(card->taken), " are taken; ",
       others ? "end other programs on it (nvidia-smi lists them), or " : "", cure(needed, limit, o));
}

std::string MemoryPlan::require(const HostMemory& memory, const TrainOptions& o) const {
  if (card) require_card(o);
  const int64_t needed = total();
  if (needed <= memory.available) return "";
  const bool hopeless = needed > memory.total;
  const int64_t limit = hopeless ? memory.total : memory.available;
  const std::string less =
      card ? "lower --gc_q_chunk_size and --gc_p_chunk_size, or --resize_max_pixels" : cure(needed, limit, o);
  if (hopeless)
    fail(Exit::resources, "train: the run would take ", in_bytes(needed), " of memory, but the machine has ",
         in_bytes(limit), "; ", less);
  return sentence("train: the run will take ", in_bytes(needed), " of memory, but only ", in_bytes(limit),
                  " are free now; close other programs, or ", less);
}

}  // namespace vlm2vec
