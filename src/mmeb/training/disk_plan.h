// Predicts before the first step how much a training run will write, and checks that it fits on the disk.
#pragma once
#include "mmeb/training/checkpoint.h"

namespace vlm2vec {

struct DiskSpace {
  int64_t capacity = INT64_MAX, available = INT64_MAX;  // bytes of the file system
  int64_t largest_file = INT64_MAX;                     // ulimit -f
};
DiskSpace disk_space(std::filesystem::path folder);  // the folder need not exist

// All sizes are bytes.
struct DiskPlan {
  int64_t model = 0;       // the weights, or the adapter
  int64_t moments = 0;     // optimiser state of a checkpoint, with masters
  int64_t checkpoint = 0;  // model + moments
  int64_t least = 0;       // needed to finish the run and to save it as its options say
  int64_t most = 0;        // needed with all checkpoints of --save_steps

  // Throws Exit::resources if `least` is not free or `most` exceeds the disk; returns a note if `most` is not free.
  std::string require(const DiskSpace& space, const TrainOptions& options) const;
};

// o.max_steps is the number of steps of the whole run; `first` of them are done.
DiskPlan plan_disk(const TrainOptions& o, int64_t first, const TrainedModel& model, const AdamW& optimiser);

}  // namespace vlm2vec
