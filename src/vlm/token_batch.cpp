#include "vlm/token_batch.h"

namespace vlm2vec {

void TokenBatch::to(DType dtype, Device device) {
  const auto move = [&](Tensor* x) {
    if (*x) *x = (is_float(x->dtype()) ? x->to(dtype) : *x).to(device);
  };
  for (Tensor* x : {&ids, &cu_seqlens, &last_rows, &one_each, &dropout_ids, &last_dropout_ids, &image_rows, &patches,
                    &patch_dropout_ids, &seen_dropout_ids})
    move(x);
  for (Tensor* x : placed->of_see()) move(x);
  for (Tensor* x : placed->of_read()) move(x);
}

}  // namespace vlm2vec
