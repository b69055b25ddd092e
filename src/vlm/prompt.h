// From the parts of a row to the prompt, as the official code builds it.
#pragma once
#include <string>

namespace vlm2vec {

struct PromptParts {
  std::string instruction, text;
  size_t pictures = 0;
};

// raw          the text is the prompt; it holds an image token for each picture
// vlm2vec-v1   as MMEB's rows are stored: [<|image_1|>\n] instruction [ + " " + text] \n; without an instruction a
//              text that has its <|image_1|> itself, or no picture, as it is. These become the model's image token
//              (src/dataset.py of VLM2Vec)
// vlm2vec-v2   [image token + " "] instruction [ + " " + text] (process_input_text of src/model/processor.py)
// Errors: Exit::usage for another style, Exit::data for an instruction in a raw prompt.
std::string build_prompt(const std::string& style, const PromptParts& parts, const std::string& image_token);

// `text` with MMEB's stored tokens <|image_N|> replaced by the model's.
std::string replace_stored_tokens(std::string text, const std::string& image_token);

}  // namespace vlm2vec
