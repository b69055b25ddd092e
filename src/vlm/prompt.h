// Builds the prompt from the parts of a row, as the official code does.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "vlm/image/picture_rule.h"

namespace vlm2vec {

// The image token of the Qwen2-VL families.
inline constexpr const char* kUsualImageToken = "<|image_pad|>";

// The cure where a prompt was expected to be built.
inline constexpr const char* kBuiltPrompt =
    "--prompt STYLE, the one that the model was trained with (vlm2vec-v1, vlm2vec-v2, …)";

// A prompt, and which of the row's pictures stands at each of its image tokens.
struct Prompt {
  std::string text;
  std::vector<size_t> pictures;  // numbers from 0
};

// A family whose image token is <|image_1|> numbers them: <|image_2|> stands for the next picture.
inline constexpr const char* kNumberedImageToken = "<|image_1|>";
std::string image_token_of(const std::string& image_token, size_t picture);  // pictures count from 0

// Returns the texts before, between and behind the image tokens.
std::vector<std::string> texts_around_images(const std::string& text, const std::string& image_token);

// Replaces MMEB's stored tokens in `text` by the model's image token, or by nothing: <|image_2|> is the second picture.
// If there is a token for each picture but the numbers do not name each once, the stored tokens stay, and
// prompt_fault() says so. Without pictures the tokens are words, as in the official queries of WebQA and EDIS; numbered
// ones stay. With pictures, numbered ones count up in the result.
Prompt place_pictures(const std::string& text, size_t pictures, const std::string& image_token);

// Returns one sentence why no model can read `prompt` with so many pictures; empty: it can.
std::string prompt_fault(const std::string& prompt, size_t pictures, const std::string& image_token,
                         bool has_option = false);

// Counts the image tokens in `text`, stored ones and the model's.
size_t count_image_tokens(const std::string& text, const std::string& image_token);

struct PromptParts {
  std::string instruction, text;
  size_t pictures = 0;
};

// Which sides of MMEB's rows keep their instruction in a style.
enum class Instructed { both, queries, none };

// How a prompt is built; a family's row in families.cpp lists its styles.
struct PromptStyle {
  const char* name;  // of --prompt
  Prompt (*build)(const PromptParts& parts, const std::string& image_token);
  // What its official code does beside the text.
  Instructed instructed = Instructed::both;
  PictureRoute route = PictureRoute::own;
  bool uncounted = false;  // ImagePositions::none stands for 1d

  bool instructs(bool query) const {
    return instructed == Instructed::both || (instructed == Instructed::queries && query);
  }
};

// Those of VLM2Vec:
// raw          the text is the prompt; it holds the model's image token, if there is one, for each picture. Throws
//              Exit::data for an instruction
// vlm2vec-v1   as MMEB stores rows: [<|image_1|>\n] instruction [ + " " + text] \n; without an instruction, a text
//              with its own <|image_1|> or without picture stays. Stored tokens become the model's image token
//              (src/dataset.py of VLM2Vec)
// vlm2vec-v2   [image token + " "] instruction [ + " " + text] (process_input_text of src/model/processor.py)
// In both, an image token in the words marks the picture's place, and no token is put in front. A text with one and
// without an instruction is a row of MMEB and stays.
std::span<const PromptStyle> vlm2vec_prompts();
// Throws Exit::usage, naming the styles, for another name.
const PromptStyle& prompt_style(std::span<const PromptStyle> styles, const std::string& name);
// The same, but null for "": stored texts stay.
const PromptStyle* style_named(std::span<const PromptStyle> styles, const std::string& name);

}  // namespace vlm2vec
