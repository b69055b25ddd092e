// The parts of a folder of the Qwen2-VL family: its picture rule and its configuration.
#pragma once
#include "vlm/encoder.h"
#include "vlm/families/qwen2_vl.h"
#include "vlm/image/smart_resize.h"
#include "vlm/processor_files.h"

namespace vlm2vec {

inline SmartResize rule_of(const std::filesystem::path& folder) {
  const std::filesystem::path file = processor_file(folder);
  return dynamic_cast<const SmartResize&>(
      *read_processor_settings(file.empty() ? folder / "preprocessor_config.json" : file, families()[0]).rule);
}

inline QwenVlConfig qwen_config(const std::filesystem::path& file) {
  return dynamic_cast<const QwenVl&>(*make_backbone(file)).config();
}

}  // namespace vlm2vec
