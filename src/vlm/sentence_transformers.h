// sentence-transformers' view of a model: modules.json lists what it computes one after another. This program computes
// Transformer, Pooling of the last token and Normalize; a folder that asks for anything else is refused.
#pragma once
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace vlm2vec {

// Looks at a folder that has modules.json, else does nothing. Exit::data if embeddings would be others than
// sentence-transformers'; `notes` gets what is left to the user: prompts and templates are not applied.
void check_sentence_transformers(const std::filesystem::path& folder, std::vector<std::string>& notes);

// Makes SentenceTransformer(folder), version 6 and later, give this program's vectors of raw prompts: last token,
// normalised, and a chat template that only joins the parts of a row, `picture` standing for a picture.
void write_sentence_transformers(const std::filesystem::path& folder, int64_t dim, const std::string& picture);
std::set<std::string> sentence_transformers_files();  // what it writes, besides the template

}  // namespace vlm2vec
