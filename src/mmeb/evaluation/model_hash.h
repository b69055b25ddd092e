// What a model is, as one number: SHA-256 over the names and contents of the files that make its embeddings.
#pragma once
#include <filesystem>

#include "tensor/io/sha256.h"

namespace vlm2vec {

// Of a checkpoint's weights, configuration, tokenizer and processor, and of an adapter's files (`adapter` may be
// empty). Where the folders lie does not matter. `memo` is a JSON file that keeps each file's hash under its path, with
// size, modification and change time and inode, so that gigabytes are read again only when one of these is another.
Digest model_hash(const std::filesystem::path& model, const std::filesystem::path& adapter,
                  const std::filesystem::path& memo);

}  // namespace vlm2vec
