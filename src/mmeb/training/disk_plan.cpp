#include "mmeb/training/disk_plan.h"

#include <sys/resource.h>

#include <algorithm>

#include "tensor/host_memory.h"

namespace vlm2vec {

DiskSpace disk_space(std::filesystem::path folder) {
  DiskSpace space;
  folder = std::filesystem::absolute(folder);
  while (!std::filesystem::exists(folder) && folder.has_relative_path()) folder = folder.parent_path();
  std::error_code unknown;
  if (const auto found = std::filesystem::space(folder, unknown); !unknown && found.capacity > 0)  // not in /proc
    space.capacity = int64_t(std::min<uint64_t>(found.capacity, INT64_MAX)),
    space.available = int64_t(std::min<uint64_t>(found.available, INT64_MAX));
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    space.largest_file = int64_t(std::min<uint64_t>(limit.rlim_cur, INT64_MAX));
  return space;
}

DiskPlan plan_disk(const TrainOptions& o, int64_t first, const TrainedModel& model, const AdamW& optimiser) {
  DiskPlan plan;
  for (const Parameter* p : model.lora ? model.lora->parameters() : model.encoder->backbone->parameters())
    plan.model += p->value().bytes();
  plan.moments = optimiser.first_moment().bytes() + optimiser.second_moment().bytes();
  if (model.bf16_storage) plan.moments += optimiser.parameters().values().bytes();
  plan.checkpoint = plan.model + plan.moments;
  const bool regular = o.save_strategy == "steps";
  // The old checkpoint-latest stays until the new one, or the finished model, is complete.
  const int64_t by_time = regular && o.save_minutes > 0 ? 2 * plan.checkpoint : plan.model;
  int64_t by_steps = regular && o.save_steps > 0 ? o.max_steps / o.save_steps - first / o.save_steps : 0;
  if (o.save_total_limit > 0) by_steps = std::min(by_steps, o.save_total_limit + 1);
  plan.least = by_time + (by_steps > 0 ? plan.checkpoint : 0);
  plan.most = by_time + by_steps * plan.checkpoint;
  return plan;
}

std::string DiskPlan::require(const DiskSpace& space, const TrainOptions& o) const {
  const auto takes = [&](int64_t bytes) {
    return sentence("train: --output_dir ", o.output_dir, ": the run will write ", in_bytes(bytes), " (the model ",
                    in_bytes(model), ", a checkpoint ", in_bytes(checkpoint), ")");
  };
  if (std::max(model, moments) > space.largest_file)
    fail(Exit::resources, takes(most), ", but a file may have at most ", in_bytes(space.largest_file),
         " (ulimit -f); raise that limit");
  if (least > space.available)
    fail(Exit::resources, takes(least), " but only ", in_bytes(space.available),
         " are free; free some space, choose another folder",
         model <= space.available ? ", or save less: --save_minutes 0, --save_steps 0" : "");
  if (most <= space.available) return "";
  if (most > space.capacity)
    fail(Exit::resources, takes(most), ", but the disk has ", in_bytes(space.capacity),
         "; lower --save_total_limit, raise --save_steps, or choose another folder");
  return sentence(takes(most), " but only ", in_bytes(space.available),
                  " are free now; free some space, lower --save_total_limit or raise --save_steps");
}

}  // namespace vlm2vec
