// Predicts the memory of a training run: a dry run (tensor/storage.h) executes the real code of its first batches on
// tensors without memory.
#pragma once
#include <string>

#include "mmeb/training/disk_plan.h"
#include "mmeb/training/training_data.h"
#include "tensor/card_memory.h"
#include "tensor/host_memory.h"
#include "tensor/infonce_memory.h"

namespace vlm2vec {

inline constexpr int64_t kCardWorkSpace = int64_t(256) << 20;  // of cuBLAS, kernels and gaps between blocks, on a GPU

// Bytes. The fields from `weights` to `tapes` count tensors and sum up to `peak`; later fields count other memory.
struct MemoryPlan {
  int64_t mapped = 0;   // weights read in place from the checkpoint's files
  int64_t weights = 0;  // other weights that are not masters: bf16 weights, vectors of adapters
  int64_t masters = 0;  // the trained numbers
  int64_t gradients = 0, optimiser = 0;
  int64_t embeddings = 0;  // GradCache: embeddings of all rows of a batch, and their gradients
  int64_t kept = 0;        // chunks kept between GradCache's passes, at most kKeptChunkBytes
  int64_t ahead = 0;       // rows of the next batch that are read meanwhile
  int64_t chunk = 0;       // peak of embedding and differentiating one chunk
  int64_t tapes = 0;       // by what the peak grows since tapes are kept between GradCache's passes
  int64_t peak = 0;        // peak of all tensors
  int64_t chunk_rows = 0;  // rows of the largest chunk
  int64_t tape_room = 0;   // for the tapes: ContrastiveOptions::tape_bytes
  InfoNceMemory loss;      // of the loss, before the chunks' second pass
  int64_t pictures = 0;    // cache of decoded pictures, at most kImageCacheBytes
  int64_t rows = 0;        // the texts of the training rows
  int64_t work_space = 0;  // work space of the threads
  int64_t saving = 0;      // copies that a checkpoint needs while a thread writes it

  std::optional<CardMemory> card;           // the GPU of the run, before it begins; none: the host has all tensors
  int64_t card_tensors = 0, host_tensors = 0;  // with a card: the parts of `peak`, each at its own peak
  int64_t widened = 0;  // with a card: the f32 copy that a product in f32 makes of the largest bf16 weight

  DiskPlan disk;  // beside memory

  // The memory of the process, without the program itself and weights mapped from files.
  int64_t total() const { return (card ? host_tensors : peak) + pictures + rows + work_space + saving; }
  int64_t card_total() const { return card_tensors + kCardWorkSpace + widened; }
  std::string table() const;  // in lines, for the user
  std::string json() const;   // in one line
  // Throws Exit::resources if card_total() exceeds what the card has free, or total() the machine's memory; returns a
  // note if total() exceeds only the machine's free memory. They name the option to lower, and to what.
  std::string require(const HostMemory& memory, const TrainOptions& options) const;

 private:
  void require_card(const TrainOptions& options) const;
  std::string cure(int64_t needed, int64_t limit, const TrainOptions& options) const;
};

// Half of the memory that would stay free is for tapes, if the largest chunk's fits in there.
// Plans from the next 4096 rows, at least one step, of a run from this checkpoint. It uses fewer rows, at least 512, if
// they make more than 64 batches or if their pictures exceed encoder_options.images (not null), the run's cache. Longer
// rows may need more later. Throws like loading the model and reading the rows.
MemoryPlan plan_memory(TrainOptions options, const TrainingData& rows, const std::optional<FoundCheckpoint>& checkpoint,
                       const EncoderOptions& encoder_options);

}  // namespace vlm2vec
