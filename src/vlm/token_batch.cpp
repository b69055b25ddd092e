#include "vlm/token_batch.h"

namespace vlm2vec {

std::vector<Tensor*> TokenBatch::tensors() {
  std::vector<Tensor*> all = {&ids,         &cu_seqlens,       &last_rows,  &one_each,
                              &dropout_ids, &last_dropout_ids, &image_rows, &patch_dropout_ids,
                              &seen_dropout_ids, &patches, &seen};
  for (Tensor* x : placed->of_see()) all.push_back(x);
  for (Tensor* x : placed->of_read()) all.push_back(x);
  std::erase_if(all, [](const Tensor* x) { return !x->defined(); });
  return all;
}

void TokenBatch::round(DType dtype) {
  for (Tensor* x : tensors())
    if (is_float(x->dtype())) *x = x->to(x == &patches ? dtype : acc_of(dtype));
}

void TokenBatch::move(Device device) {
  std::vector<Tensor*> all = tensors();
  std::erase(all, &patches);
  Tensor::move_together(all, device);
  if (patches) patches = patches.to(device);  // alone, as they may be freed first
}

}  // namespace vlm2vec
