#include "vlm/token_batch.h"

namespace vlm2vec {

void TokenBatch::to(DType dtype, Device device) {
  for (Tensor* x : {&ids, &cu_seqlens, &last_rows, &one_each, &dropout_ids, &last_dropout_ids, &image_rows,
                    &patch_dropout_ids, &seen_dropout_ids, &placed.position_ids, &placed.cu_patches,
                    &placed.cu_windows, &placed.window_order, &placed.raster_order, &placed.cu_images,
                    &placed.image_order, &placed.image_positions, &placed.text_rows, &placed.pooled_rows, &placed.keys,
                    &placed.cu_keys, &placed.cu_queries})
    if (*x) *x = x->to(device);
  for (Tensor* x : {&patches, &placed.tokens.cos, &placed.tokens.sin, &placed.last.cos, &placed.last.sin,
                    &placed.patches.cos, &placed.patches.sin})
    if (*x) *x = x->to(dtype).to(device);
}

}  // namespace vlm2vec
