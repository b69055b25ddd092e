// What a training run will take, before it takes it: its first batches are run dry (src/tensor/storage.h), the real
// code on tensors without memory.
#pragma once
#include <string>

#include "mmeb/training/disk_plan.h"
#include "mmeb/training/training_rows.h"
#include "tensor/host_memory.h"

namespace vlm2vec {

// Bytes. Those from `weights` to `chunk` are tensors and sum up to `peak`; what follows is beside them.
struct MemoryPlan {
  int64_t mapped = 0;   // weights that are read where they lie in the checkpoint's files
  int64_t weights = 0;  // others that are no masters: bf16 ones, vectors of adapters
  int64_t masters = 0;  // the numbers that are trained
  int64_t gradients = 0, optimiser = 0;
  int64_t embeddings = 0;  // GradCache: of all rows of a batch, and their gradients
  int64_t kept = 0;        // chunks that are kept between GradCache's passes, kKeptChunkBytes at most
  int64_t chunk = 0;       // the most that embedding and differentiating one chunk takes
  int64_t peak = 0;        // the most that is alive at one time
  int64_t chunk_rows = 0;  // of the largest chunk
  int64_t pictures = 0;    // kept decoded, kImageCacheBytes at most
  int64_t rows = 0;        // the texts of the training rows
  int64_t work_space = 0;  // of the threads

  DiskPlan disk;           // beside memory

  // What the process will take, but for the program itself and weights that lie mapped in their file.
  int64_t total() const { return peak + pictures + rows + work_space; }
  std::string table() const;  // in lines, for the user
  std::string json() const;   // in one line
  // If total() is more than is there: the option to lower, and to what. Exit::resources if it is more than
  // there can be, a note if only others' use is in the way, else nothing.
  std::string require(const HostMemory& memory, const TrainOptions& options) const;
};

// Of the next 4096 rows, at least of one step, by a run from this checkpoint; of fewer, but 512, if they are more than
// 64 batches, or if their pictures would not stay in encoder_options.images (not null), where the run finds them.
// Longer rows may need more later. Errors: those of loading the model and reading the rows.
MemoryPlan plan_memory(TrainOptions options, const TrainingRows& rows, const std::optional<FoundCheckpoint>& checkpoint,
                       const EncoderOptions& encoder_options);

}  // namespace vlm2vec
