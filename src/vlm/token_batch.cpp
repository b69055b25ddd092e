#include "vlm/token_batch.h"

namespace vlm2vec {

void TokenBatch::to(DType dtype, Device device) {
  for (Tensor* x :
       {&ids, &cu_seqlens, &last_rows, &one_each, &dropout_ids, &last_dropout_ids, &image_rows, &patch_dropout_ids,
        &seen_dropout_ids, &placed.cu_patches, &placed.cu_windows, &placed.window_order, &placed.raster_order})
    if (*x) *x = x->to(device);
  for (Tensor* x : {&patches, &placed.tokens.cos, &placed.tokens.sin, &placed.last.cos, &placed.last.sin,
                    &placed.patches.cos, &placed.patches.sin})
    if (*x) *x = x->to(dtype).to(device);
}

}  // namespace vlm2vec
