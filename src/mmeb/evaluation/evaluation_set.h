// A test set as numbers: each distinct side and candidate once, and the rows as lists of their numbers. 1,000 rows of
// 5,000 candidates are 20 MB so; rows that share their candidates share a list.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "mmeb/data/dataset.h"

namespace vlm2vec {

struct EmbeddedRows {
  EmbeddedRows(Tensor all) : vectors(std::move(all)), faults(size_t(vectors.rows())) {}
  Tensor vectors;                   // f32 [rows, dim]; zeros where there is a fault
  std::vector<std::string> faults;  // of each row why it cannot be read; empty: it can
  CutTexts cut = {};                // of rows that can
};
// Embeds the distinct inputs of a set; what the evaluator needs of a model.
using EmbedFunction = std::function<EmbeddedRows(const std::vector<EncoderInput>& inputs, const std::string& set)>;

struct Candidate {
  int32_t side = 0;
  std::string name;  // as VLM2Vec V2 tells candidates apart; a side may have several
};

// A row's candidates: a list, which other rows may have too, with the positive moved to its front.
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

struct EvaluationSet {
  std::string name;
  std::vector<Side> sides;            // distinct, of queries and candidates
  std::vector<size_t> first_rows;     // of each side: the row that has it first, from 0
  std::vector<int32_t> first_places;  // in that row: the number of a candidate from 0; -1: the query
  std::vector<Candidate> candidates;  // distinct
  std::vector<int32_t> queries;       // of each row: number in sides
  std::vector<CandidateList> lists;   // of each row: numbers in candidates, the positive first
  std::string digests;                // SHA-256 of what tells each row from others: its names and the query's picture

  void add(const EvalRow& row);
  // Equal sides share a number. candidate: the side's place in the row's list; -1: it is the query.
  int32_t number(const Side& side, size_t row, int32_t candidate = -1);
  // Where a side comes first: "Scene_t2i", or "Scene_t2i, candidate 8 (index 7)"; with "row 1 of " before it.
  std::string set_and_candidate(size_t side) const;
  std::string place(size_t side) const;

 private:
  std::unordered_multimap<size_t, int32_t> numbers_;  // in sides, by hash: the texts are not kept twice
  std::vector<std::vector<int32_t>> candidates_of_;   // of each side: its numbers in candidates
};

// Looks for the pictures of all sides.
void check_pictures(const EvaluationSet& set, PictureCheck& pictures);
// Exit::data for a side that no model with this image token can read (text_fault).
void check_texts(const EvaluationSet& set, const std::string& image_token);

// What is to be embedded: an input for each side.
std::vector<EncoderInput> encoder_inputs(const EvaluationSet& set, const std::string& image_token,
                                         const Pictures& pictures);

}  // namespace vlm2vec
