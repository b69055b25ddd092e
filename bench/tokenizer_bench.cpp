// The tokenizer of a model folder, one thread: seconds of its time to load it, and to encode a file of text (without
// one: 1 MB of mixed text that is made here). Medians of 9.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "io/error.h"
#include "io/files.h"
#include "tensor/random.h"
#include "vlm/tokenizer/tokenizer.h"

using namespace vlm2vec;

template <class F>
static double median_seconds(F f) {
  const auto now = [] {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
  };
  std::vector<double> seconds;
  for (int i = 0; i < 9; ++i) {
    const double begin = now();
    f();
    seconds.push_back(now() - begin);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[4];
}

// Words of many scripts in random order, so that few repeat in the same neighbourhood.
static std::string mixed_text(size_t bytes) {
  const std::vector<std::string> words = {" the",
                                          " Represent",
                                          " embedding",
                                          " user-generated",
                                          "'s",
                                          " 1,234.5",
                                          "\n\n",
                                          "    ",
                                          " caf\u00E9",
                                          " e\u0301t\u00E9",
                                          " \u041F\u0440\u0438\u0432\u0435\u0442",
                                          "\u56FE\u50CF\u68C0\u7D22",
                                          " \u05E9\u05DC\u05D5\u05DD",
                                          " \u0645\u0631\u062D\u0628\u0627",
                                          "\U0001F600\U0001F3FD",
                                          " \uD55C\uAD6D\uC5B4",
                                          " \u0939\u093F\u0928\u094D\u0926\u0940",
                                          " foo_bar(x[i]);",
                                          " https://example.org/a?b=c",
                                          "<|image_pad|>"};
  Random random(1);
  std::string text;
  while (text.size() < bytes) {
    if (random.below(3) == 0) {  // a word of random letters
      text += ' ';
      for (uint32_t n = 2 + random.below(9); n > 0; --n) text += char('a' + random.below(26));
    } else {
      text += words[random.below(uint32_t(words.size()))];
    }
  }
  return text;
}

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: tokenizer_bench MODEL_DIR [TEXT_FILE]\n");
    return 2;
  }
  try {
    const std::string text = argc > 2 ? read_text(argv[2]) : mixed_text(1'000'000);
    std::printf("loading    %.3f s\n", median_seconds([&] { Tokenizer::load(argv[1]); }));
    const Tokenizer tokenizer = Tokenizer::load(argv[1]);
    size_t ids = 0;
    const double seconds = median_seconds([&] { ids = tokenizer.encode(text).size(); });
    std::printf("encoding   %.3f s for %zu bytes, %zu ids\n", seconds, text.size(), ids);
  } catch (const Error& error) {
    std::fprintf(stderr, "tokenizer_bench: %s\n", error.what());
    return int(error.code);
  }
}
