// The prompts of embedding models on Qwen's chat template, beside those of VLM2Vec. V is <|vision_start|>, image token,
// <|vision_end|>. Image tokens in the words are taken out: pictures stand before the words.
//   qwen3-vl-embedding         src/models/qwen3_vl_embedding.py of QwenLM/Qwen3-VL-Embedding: the instruction is the
//                              system turn; then V… words, and the assistant's turn begins
//   qwen3-vl-embedding-report  the template of its technical report: ends with <|im_end|><|endoftext|>
//   gme                        src/model/baseline_backbone/gme/gme_inference.py of TIGER-AI-Lab/VLM2Vec: the
//                              instruction is the system turn; the assistant's turn is <|endoftext|>
//   lamra                      src/model/baseline_backbone/lamra/lamra_inference.py there: the instruction stands
//                              before the text; the assistant's turn is <emb>. and a second one begins
//   lamra-own                  dataset/datasets_mbeir.py of Code-kunkun/LamRA: asks for one word; the vector is that of
//                              the token before <emb>, with which the prompt ends here
#pragma once
#include <span>

#include "vlm/prompt.h"

namespace vlm2vec {

std::span<const PromptStyle> qwen2_prompts();  // of VLM2Vec, GME and LamRA
std::span<const PromptStyle> qwen3_prompts();  // of VLM2Vec and Qwen3-VL-Embedding

}  // namespace vlm2vec
