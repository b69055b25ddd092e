// Numbers with a history. An op computes its value and records how gradients flow back: one formula per input, next to
// the forward (ops.cpp). What a formula captures is what is saved for the backward pass.
#pragma once
#include <functional>
#include <initializer_list>
#include <memory>
#include <vector>

#include "tensor/tensor.h"

namespace vlm2vec {

using Vjp = std::function<Tensor(const Tensor& dy)>;                      // dy ↦ dx
using LeafVjp = std::function<void(const Tensor& dy, const Tensor& dw)>;  // dw += …: products with beta 1, scatter-adds
// One kernel gives all gradients. dys: one per output, all defined. Returns one per input; those not needed may be
// undefined.
using JointVjp = std::function<std::vector<Tensor>(const std::vector<Tensor>& dys, const std::vector<bool>& needs)>;

struct Node;

class Var {
 public:
  Var() = default;
  Var(Tensor value) : value_(std::move(value)) {}  // a constant
  // A variable that gradients are wanted for. With `gradient` given they are added into it (a parameter's slice of the
  // flat buffer), else into a tensor of their own.
  static Var leaf(Tensor value, Tensor gradient = {});

  const Tensor& value() const { return value_; }
  const Shape& shape() const { return value_.shape(); }
  bool requires_grad() const { return node_ != nullptr; }
  Tensor grad() const;  // of a leaf; undefined if nothing has reached it
  Var detach() const { return Var(value_); }
  // Adds d(this · seed)/d(leaf) to every leaf's gradient and takes the tape apart on the way. Seed: ones by default.
  void backward(const Tensor& seed = {}) const;

 private:
  friend struct Node;
  friend struct Input;
  friend std::vector<Var> record(const char*, std::vector<Tensor>, const std::vector<Var>&, JointVjp, bool);
  friend Var record(const char*, Tensor, std::initializer_list<struct Input>);
  Tensor value_;
  std::shared_ptr<Node> node_;
  int output_ = 0;
};

// An input of an op with its formula.
struct Input {
  Input(const Var& x, Vjp vjp) : x(x), vjp(std::move(vjp)) {}
  Input(const Var& x, LeafVjp vjp) : x(x), leaf_vjp(std::move(vjp)) {}
  const Var& x;
  Vjp vjp;
  LeafVjp leaf_vjp;
};

// The tape. An edge is kept only if its input needs a gradient; a dropped edge frees what its formula captured: with
// adapters over frozen weights neither the weight's gradient nor the activation it would need exists.
Var record(const char* op, Tensor y, std::initializer_list<Input> inputs);
// always: record even if no input needs a gradient (checkpoint: a parameter inside does).
std::vector<Var> record(const char* op, std::vector<Tensor> ys, const std::vector<Var>& xs, JointVjp vjp,
                        bool always = false);

// While one lives on this thread nothing is recorded.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;

 private:
  bool before_;
};
bool grad_enabled();
int64_t live_nodes();  // steps of all tapes in memory

// f(x) with nothing of f's inside kept: it is computed again in the backward pass (Chen et al. 2016). Nothing is
// recorded where no gradient is wanted: x needs none, and f meets no parameter that does.
Var checkpoint(const std::function<Var(const Var&)>& f, const Var& x);

}  // namespace vlm2vec
