#include "vlm/token_batch.h"

namespace vlm2vec {

void TokenBatch::to(DType dtype, Device device) {
  std::vector<Tensor*> all;
  const auto add = [&](Tensor* x) {
    if (!*x) return;
    if (is_float(x->dtype())) *x = x->to(acc_of(dtype));  // rotary angles
    all.push_back(x);
  };
  for (Tensor* x : {&ids, &cu_seqlens, &last_rows, &one_each, &dropout_ids, &last_dropout_ids, &image_rows,
                    &patch_dropout_ids, &seen_dropout_ids})
    add(x);
  for (Tensor* x : placed->of_see()) add(x);
  for (Tensor* x : placed->of_read()) add(x);
  Tensor::move_together(all, device);
  if (patches) patches = patches.to(dtype).to(device);  // alone, as they may be freed first
}

}  // namespace vlm2vec
