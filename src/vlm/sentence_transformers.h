// sentence-transformers' view of a model: modules.json lists its steps. This program computes Transformer, Pooling of
// the last token and Normalize; a folder that asks for anything else is refused.
#pragma once
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace vlm2vec {

// Checks a folder that has modules.json. Throws Exit::data if embeddings would differ from sentence-transformers'.
// `notes` tells the user which prompts and templates are not applied.
void check_sentence_transformers(const std::filesystem::path& folder, std::vector<std::string>& notes);

// Makes SentenceTransformer(folder), version 6 and later, give this program's vectors of raw prompts. The chat template
// only joins the parts of a row, with `picture` for a picture.
void write_sentence_transformers(const std::filesystem::path& folder, int64_t dim, const std::string& picture);
std::set<std::string> sentence_transformers_files();  // the files it writes, without the template

}  // namespace vlm2vec
