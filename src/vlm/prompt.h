// From the parts of a row to the prompt, as the official code builds it.
#pragma once
#include <string>
#include <vector>

namespace vlm2vec {

// What stands for a picture in the prompts of the Qwen2-VL families.
inline constexpr const char* kUsualImageToken = "<|image_pad|>";

// A prompt, and which of the row's pictures stands at each of its image tokens.
struct Prompt {
  std::string text;
  std::vector<size_t> pictures;  // numbers from 0
};

// `text` with the model's image token, or nothing, in place of MMEB's stored ones: <|image_2|> stands for the second
// picture. Where there are as many tokens as pictures but the numbers are not theirs, each once, the stored tokens
// stay, and prompt_fault() says so. Without pictures they are words, as in the official queries of WebQA and EDIS.
Prompt place_pictures(const std::string& text, size_t pictures, const std::string& image_token);

// Why no model can read `prompt` with so many pictures, in one sentence; empty: it can.
std::string prompt_fault(const std::string& prompt, size_t pictures, const std::string& image_token,
                         bool has_option = false);

// How many image tokens, stored ones or the model's, are in `text`.
size_t count_image_tokens(const std::string& text, const std::string& image_token);

struct PromptParts {
  std::string instruction, text;
  size_t pictures = 0;
};

// raw          the text is the prompt; it holds the model's image token, if there is one, for each picture
// vlm2vec-v1   as MMEB's rows are stored: [<|image_1|>\n] instruction [ + " " + text] \n; without an instruction a
//              text that has its <|image_1|> itself, or no picture, as it is. These become the model's image token
//              (src/dataset.py of VLM2Vec)
// vlm2vec-v2   [image token + " "] instruction [ + " " + text] (process_input_text of src/model/processor.py)
// In both an image token in the words says where the picture belongs, and none is put before them; a text with one and
// without an instruction is a row of MMEB, taken as it is.
// Errors: Exit::usage for another style, Exit::data for an instruction in a raw prompt.
Prompt build_prompt(const std::string& style, const PromptParts& parts, const std::string& image_token);

}  // namespace vlm2vec
