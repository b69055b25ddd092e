// A test set as numbers: each distinct side and candidate once, and rows as lists of these numbers. 1,000 rows of 5,000
// candidates take 20 MB; rows with the same candidates share a list.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "mmeb/data/dataset.h"
#include "vlm/prompt.h"

namespace vlm2vec {

struct EmbeddedRows {
  EmbeddedRows(Tensor all) : vectors(std::move(all)), faults(size_t(vectors.rows())) {}
  Tensor vectors;                   // f32 [rows, dim]; zeros for rows with a fault
  std::vector<std::string> faults;  // per row: why it cannot be read, or empty
  CutTexts cut = {};                // cut texts of the readable rows
};
// Embeds the distinct inputs of a set: all that the evaluator needs from a model.
using EmbedFunction = std::function<EmbeddedRows(const std::vector<EncoderInput>& inputs, const std::string& set)>;

struct Candidate {
  int32_t side = 0;
  std::string name;  // VLM2Vec V2's key of a candidate; a side may have several names
};

// A row's candidates: a list, perhaps shared with other rows, with the positive moved to the front.
class CandidateList {
 public:
  explicit CandidateList(std::vector<int32_t> own)
      : CandidateList(std::make_shared<const std::vector<int32_t>>(std::move(own)), 0) {}
  CandidateList(std::shared_ptr<const std::vector<int32_t>> shared, size_t positive)
      : list_(std::move(shared)), positive_(positive) {}
  size_t size() const { return list_->size(); }
  int32_t operator[](size_t i) const { return (*list_)[i == 0 ? positive_ : i <= positive_ ? i - 1 : i]; }
  std::vector<int32_t> numbers() const {
    std::vector<int32_t> all;
    for (size_t i = 0; i < size(); ++i) all.push_back((*this)[i]);
    return all;
  }

 private:
  std::shared_ptr<const std::vector<int32_t>> list_;
  size_t positive_;
};

// The queries of a set under another instruction.
struct Variant {
  std::string instruction;
  std::vector<int32_t> queries;  // per row: the side with this instruction
};

struct EvaluationSet {
  std::string name;
  std::vector<Side> sides;               // distinct queries and candidates
  std::vector<size_t> first_rows;        // per side: the first row that has it, from 0
  std::vector<int32_t> first_places;     // per side: its place in that row, a candidate from 0, or -1 for the query
  std::vector<Candidate> candidates;     // distinct
  std::vector<int32_t> queries;          // per row: index in sides
  std::vector<CandidateList> lists;      // per row: indices in candidates, the positive first
  std::string digests;                   // per row: SHA-256 of the candidates' names and the query's picture
  std::map<size_t, std::string> faults;  // rows that cannot be read: they have an empty query and no candidates
  bool cut = false;                      // the file has more rows than its limit
  const PromptStyle* style = nullptr;    // of --prompt, set before the first row; none: the stored texts
  std::string query_form, target_form;   // MMEB's texts around a row's own words (own_words); empty: there are none
  std::string instruction;  // common beginning of its stored queries after the picture's token; only with variants
  std::vector<Variant> variants;

  void add(const EvalRow& row);
  // Returns the side's number; equal sides share one, but with a style no query one with a candidate. candidate: its
  // place in the row's list, or -1 for the query.
  int32_t number(const Side& side, size_t row, int32_t candidate = -1);
  // Say where a side comes first: "Scene_t2i, candidate 8 (index 7)"; place() adds "row 1 of ".
  std::string set_and_candidate(size_t side) const;
  std::string place(size_t side) const;

 private:
  std::unordered_multimap<size_t, int32_t> numbers_;  // indices in sides by hash, so that texts are stored once
  std::vector<std::vector<int32_t>> candidates_of_;   // per side: its indices in candidates
};

// Looks for the pictures of all sides.
void check_pictures(const EvaluationSet& set, PictureCheck& pictures);
// Throws Exit::data for a side that no model with this image token can read (text_fault).
void check_texts(const EvaluationSet& set, const std::string& image_token);

// Returns an input of the model for each side: its stored text or, with a style, a prompt built anew.
std::vector<EncoderInput> encoder_inputs(const EvaluationSet& set, const std::string& image_token,
                                         const Pictures& pictures);

}  // namespace vlm2vec
