// The whole method on one page. Two small networks ("towers") learn to give a caption and a picture of the same thing
// nearly the same vector. VLM2Vec does this with one large network for both; loss, optimiser and score are the same.
//
//   cmake --build build --target tiny_contrastive && build/tiny_contrastive
#include <cmath>
#include <cstdio>
#include <vector>

#include "autograd/ops.h"
#include "nn/layers.h"
#include "nn/optim.h"
#include "nn/state.h"
#include "tensor/random.h"

using namespace vlm2vec;

// ---- A made-up world ------------------------------------------------------------------------------------------------
// A thing has a colour, a shape and a pattern, eight of each: 512 things. Nobody tells the model about these three
// attributes. It sees captions and pictures only.

constexpr int attributes = 3, values = 8, things = values * values * values;
constexpr int synonyms = 3, fillers = 20, caption_words = 6;
constexpr int vocabulary = attributes * values * synonyms + fillers;
constexpr int pixels = 48;

// Value of attribute `a` of a thing: its digit number `a`.
int value_of(int thing, int a) {
  for (; a > 0; --a) thing /= values;
  return thing % values;
}

// A caption is a bag of words: for each attribute one of three synonyms, and three words that mean nothing.
std::vector<int32_t> caption_of(int thing, Random& random) {
  std::vector<int32_t> words;
  for (int a = 0; a < attributes; ++a)
    words.push_back((a * values + value_of(thing, a)) * synonyms + int32_t(random.below(synonyms)));
  while (words.size() < caption_words) words.push_back(vocabulary - 1 - int32_t(random.below(fillers)));
  return words;
}

// A picture is the sum of three fixed random codes, one for each attribute's value, and noise.
std::vector<float> picture_of(int thing, Random& random) {
  std::vector<float> picture(pixels);
  for (int a = 0; a < attributes; ++a) {
    Random code(/*seed=*/1000 + a * values + value_of(thing, a));
    for (float& pixel : picture) pixel += float(code.normal());
  }
  for (float& pixel : picture) pixel += float(random.normal());
  return picture;
}

// Captions and pictures of n things: row i of both shows thing i of the list.
struct Pairs {
  int64_t n;
  Tensor words;     // i32 [n · caption_words]
  Tensor pictures;  // f32 [n, pixels]
};
Pairs pairs_of(const std::vector<int>& list, Random& random) {
  std::vector<int32_t> words;
  std::vector<float> pictures;
  for (const int thing : list) {
    for (const int32_t word : caption_of(thing, random)) words.push_back(word);
    for (const float pixel : picture_of(thing, random)) pictures.push_back(pixel);
  }
  const int64_t n = int64_t(list.size());
  return {n, from_vector(words, {n * caption_words}), from_vector(pictures, {n, pixels})};
}

// ---- The model ------------------------------------------------------------------------------------------------------
// A module is a struct; its fields register themselves under their names. Calling it computes values and records how
// gradients flow back. Both towers end on vectors of length 1, so a dot product of two is their cosine.

constexpr int width = 64, dimensions = 32;

struct TextTower : Module {
  TextTower(Module* parent) : Module(parent, "text") {}
  Embedding embed{this, "embed", vocabulary, width};
  Linear out{this, "out", width, dimensions, /*with_bias=*/true};

  Var operator()(const Pairs& pairs) const {
    const Var words = embed(pairs.words);                        // [n · caption_words, width]
    const Var sums = matmul(same_caption(pairs.n), words);       // [n, width]: the order of words is lost
    return l2_normalize(out(scale(sums, 1.0 / caption_words)));  // [n, dimensions]
  }

  // [n, n · caption_words]: 1 where the word belongs to the caption.
  static Tensor same_caption(int64_t n) {
    std::vector<float> ones(size_t(n * n * caption_words));
    for (int64_t i = 0; i < n; ++i)
      for (int64_t w = 0; w < caption_words; ++w) ones[size_t(i * (n + 1) * caption_words + w)] = 1;
    return from_vector(ones, {n, n * caption_words});
  }
};

struct PictureTower : Module {
  PictureTower(Module* parent) : Module(parent, "picture") {}
  Linear hidden{this, "hidden", pixels, width, /*with_bias=*/true};
  Linear out{this, "out", width, dimensions, /*with_bias=*/true};

  Var operator()(const Pairs& pairs) const {
    return l2_normalize(out(activate(hidden(pairs.pictures), Activation::gelu)));
  }
};

struct Towers : Module {
  TextTower text{this};
  PictureTower picture{this};
};

// ---- The loss -------------------------------------------------------------------------------------------------------
// Caption i belongs to picture i; the other pictures of the batch are its wrong answers. With unit vectors q and t and
// a temperature τ, equation 2 of the paper (InfoNCE) is
//
//   loss = mean over i of  −log  exp(q_i·t_i / τ) / Σ_j exp(q_i·t_j / τ)
//
// the cross-entropy of "which of these N pictures is mine?". Guessing costs ln N. A small τ makes small differences of
// cosines count.

constexpr double temperature = 0.1;

struct Result {
  Var loss;
  double precision;  // Precision@1: for how many captions, in percent, the best picture is their own
};
Result compare(const Towers& towers, const Pairs& pairs, const Pairs& answers) {
  const auto [loss, best] = info_nce(towers.text(pairs), towers.picture(answers), temperature);
  double right = 0;
  const std::vector<int32_t> choice = to_vector<int32_t>(best);
  for (size_t i = 0; i < choice.size(); ++i) right += choice[i] == int32_t(i);
  return {loss, 100 * right / double(pairs.n)};
}

// ---- Training and the score -----------------------------------------------------------------------------------------
// One thing in four is held out: its combination of colour, shape and pattern is never trained on. To find its picture
// among all held-out pictures the towers must have learned the attributes, not the things.

constexpr int steps = 200, batch = 64, report_every = 25;

void train(const char* title, bool shuffle_pairs) {
  Random random(/*seed=*/42);
  std::vector<int> seen, held_out;
  for (int thing = 0; thing < things; ++thing) (random.below(4) == 0 ? held_out : seen).push_back(thing);
  const Pairs test = pairs_of(held_out, random);

  Towers towers;
  initialise(towers, /*std=*/0.1, /*seed=*/42, DType::f32, Device::cpu);
  TrainedParameters parameters(towers.parameters());  // makes them leaves: gradients are wanted for them
  AdamW optimiser(parameters, {.weight_decay = 0.01});
  const Schedule schedule{Schedule::cosine, /*warmup_steps=*/10, steps};

  std::printf("%s\n%6s%10s%15s%18s\n", title, "step", "loss", "P@1 in batch", "P@1 held out");
  for (int step = 0; step <= steps; ++step) {
    random.shuffle(seen);
    std::vector<int> chosen(seen.begin(), seen.begin() + batch);
    const Pairs pairs = pairs_of(chosen, random);
    if (shuffle_pairs) random.shuffle(chosen);  // the control: now caption i comes with another thing's picture
    const Pairs answers = shuffle_pairs ? pairs_of(chosen, random) : pairs;

    const Result result = compare(towers, pairs, answers);
    if (step % report_every == 0) {
      const NoGrad forward_only;
      std::printf("%6d%10.3f%13.1f %%%16.1f %%\n", step, item(result.loss.value()), result.precision,
                  compare(towers, test, test).precision);
    }
    parameters.clear_gradients();
    result.loss.backward();  // one gradient for each parameter, by the chain rule
    optimiser.step(/*learning_rate=*/5e-3 * schedule.factor(step), /*gradient_scale=*/1);
  }
  std::printf("%zu held-out pictures: guessing finds %.1f %%. Guessing in a batch costs ln %d = %.3f.\n",
              held_out.size(), 100.0 / double(held_out.size()), batch, std::log(batch));
}

int main() {
  train("Captions with their pictures", /*shuffle_pairs=*/false);
  std::printf("\n");
  train("Control: shuffled captions", /*shuffle_pairs=*/true);
}
