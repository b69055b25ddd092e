// What a training run will write, before its first step, and whether that fits on the disk.
#pragma once
#include "mmeb/training/checkpoint.h"

namespace vlm2vec {

struct DiskSpace {
  int64_t capacity = INT64_MAX, available = INT64_MAX;  // bytes, of the file system
  int64_t largest_file = INT64_MAX;                     // ulimit -f
};
DiskSpace disk_space(std::filesystem::path folder);  // which need not be there yet

// Bytes.
struct DiskPlan {
  int64_t model = 0;       // the weights, or the adapter
  int64_t moments = 0;     // of a checkpoint: the optimiser's, with masters
  int64_t checkpoint = 0;  // both
  int64_t least = 0;       // without which the run cannot be finished, or not be saved as its options say
  int64_t most = 0;        // with all the checkpoints of --save_steps

  // Exit::resources if `least` is not free, or `most` more than there can be; a note if `most` is not free.
  std::string require(const DiskSpace& space, const TrainOptions& options) const;
};

// o.max_steps: of the whole run, of which `first` are done.
DiskPlan plan_disk(const TrainOptions& o, int64_t first, const TrainedModel& model, const AdamW& optimiser);

}  // namespace vlm2vec
