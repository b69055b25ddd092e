// Rotary positions (Su et al. 2021): ordinary and multimodal (M-RoPE, Qwen2-VL) for text, two-dimensional for patches.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tensor/ops.h"
#include "vlm/image/picture_rule.h"

namespace vlm2vec {

// Which pictures get grid positions; the tokens of all other pictures count on like text:
//   one_d    as many as there are vision_start tokens followed by an image token: VLM2Vec, transformers up to 5.2
//            ("1d": VLM2Vec's prompts have no vision_start)
//   three_d  all pictures: transformers since 5.3 ("3d")
//   none     no picture: code that gives the text model no positions, as that of GME does ("1d" with its prompt)
enum class ImagePositions { one_d, three_d, none };
ImagePositions parse_image_positions(const std::string& word);  // 1d or 3d; throws Exit::usage

// Returns position ids [3, tokens] (time, row, column) of one sequence whose pictures have the given grids. Text counts
// on in all three. A picture's tokens get their place in its grid, and the next token follows the largest of them.
std::vector<int32_t> mrope_positions(std::span<const int32_t> ids, std::span<const Grid> grids, int32_t vision_start,
                                     int32_t image_token, int merge_size, ImagePositions which = ImagePositions::one_d);

// Angle i of token n is p theta^(-2i / head_dim), i < head_dim / 2; p is the token's position in stream s for the i of
// section s. positions: [sections, tokens]; one section of head_dim / 2 is ordinary rotary embedding. Sections follow
// one another, or the three are interleaved (Qwen3-VL): row and column take each third i, 1 4 7 … and 2 5 8 …, as many
// as their section has, and time all others.
// -> f32 [tokens, head_dim / 2] on the host
RopeTable text_rotary(std::span<const int32_t> positions, int head_dim, double theta, std::span<const int> sections,
                      bool interleaved = false);

// A patch at (row, column) has head_dim / 4 angles of the row, then as many of the column, theta 10000. Patches come in
// the order of for_each_patch, picture after picture. -> f32 [patches, head_dim / 2] on the host
RopeTable vision_rotary(std::span<const Grid> grids, int head_dim, int merge_size);

}  // namespace vlm2vec
