#include "autograd/var.h"

#include <algorithm>
#include <atomic>

#include "tensor/ops.h"

namespace vlm2vec {
namespace {

thread_local bool enabled = true;
thread_local bool gradient_withheld = false;  // NoGrad has prevented a recording since this was cleared
std::atomic<int64_t> nodes{0};
std::atomic<uint64_t> next_order{0};

// Says whether to record an op; `needed`: one of its inputs needs a gradient.
bool wanted(bool needed) {
  gradient_withheld |= needed && !enabled;
  return needed && enabled;
}

}  // namespace

// A step of the tape, or a leaf. It holds no value: an activation lives only as long as a formula captures it.
struct Node {
  struct Edge {
    std::shared_ptr<Node> to;
    int output;
    Vjp vjp;
    AddVjp add_vjp;
    LeafVjp leaf_vjp;
  };
  struct Output {
    Shape shape;
    DType dtype;  // of the gradient
    Device device;
    Tensor grad;  // the sum so far
  };

  const char* op;
  uint64_t order = next_order++;  // order of creation, which is topological
  std::vector<Output> outputs;
  std::vector<Edge> edges;  // one per input that needs a gradient …
  JointVjp joint;           // … or one formula for all edges, one edge per input (`to` is null if not needed)
  bool is_leaf = false, is_parameter = false, waiting = false;

  explicit Node(const char* op) : op(op) { ++nodes; }
  ~Node() { --nodes; }

  // A gradient has the type of its value; that of a bf16 parameter, and of a view of it, is f32.
  void add_output(const Tensor& y, DType of_gradient, Tensor gradient = {}) {
    outputs.push_back({y.shape(), of_gradient, y.device(), std::move(gradient)});
  }

  // Adds in place into an unshared tensor if there is one; a parameter's gradient always takes the sum.
  void accumulate(int output, Tensor g) {
    Output& out = outputs[size_t(output)];
    CHECK(g.shape() == out.shape && g.dtype() == out.dtype, "backward: ", op, " got a gradient ", g,
          " for a value of shape ", to_string(out.shape));
    if (!out.grad) out.grad = std::move(g);
    else if (is_parameter || out.grad.unique()) vlm2vec::add_to(g, out.grad);
    else if (g.unique()) vlm2vec::add_to(out.grad, g), out.grad = std::move(g);
    else out.grad = vlm2vec::add(out.grad, g);
  }

  Tensor gradient_or_zeros(const Output& out) const {
    return out.grad ? out.grad : zeros(out.shape, out.dtype, out.device);
  }

  // Passes the gradient on along the edges, then drops the gradient and the edges.
  template <class Visit>
  void propagate(Visit visit) {
    std::vector<Edge> edges_now = std::move(edges);
    edges.clear();
    if (joint) {
      std::vector<Tensor> dys;
      std::vector<bool> needs;
      for (Output& out : outputs) dys.push_back(gradient_or_zeros(out)), out.grad = {};
      for (const Edge& e : edges_now) needs.push_back(e.to != nullptr);
      std::vector<Tensor> dxs = std::exchange(joint, nullptr)(dys, needs);
      dys.clear();
      for (size_t i = 0; i < edges_now.size(); ++i)
        if (needs[i] && dxs[i])
          edges_now[i].to->accumulate(edges_now[i].output, std::move(dxs[i])), visit(edges_now[i].to);
      return;
    }
    const Tensor dy = std::exchange(outputs[0].grad, {});
    for (Edge& e : edges_now) {
      Output& w = e.to->outputs[size_t(e.output)];
      if (e.vjp) {
        e.to->accumulate(e.output, e.vjp(dy));
      } else if (e.add_vjp) {
        Tensor sum = e.add_vjp(dy, e.to->is_parameter ? Tensor() : std::exchange(w.grad, {}));
        e.to->accumulate(e.output, std::move(sum));
      } else if (w.grad && (e.to->is_parameter || w.grad.unique())) {
        e.leaf_vjp(dy, w.grad);
      } else {
        Tensor dw = zeros(w.shape, w.dtype, w.device);
        e.leaf_vjp(dy, dw);
        e.to->accumulate(e.output, std::move(dw));
      }
      // Frees the captured tensors before the next formula runs.
      e.vjp = nullptr, e.add_vjp = nullptr, e.leaf_vjp = nullptr;
      visit(e.to);
    }
  }
};

Var Var::leaf(Tensor value, Tensor gradient) {
  Var v(std::move(value));
  v.node_ = std::make_shared<Node>("leaf");
  v.node_->is_leaf = true;
  v.node_->is_parameter = gradient.defined();
  v.node_->add_output(v.value_, gradient ? gradient.dtype() : v.value_.dtype(), gradient);
  return v;
}

Tensor Var::grad() const {
  CHECK(node_ && node_->is_leaf, "grad: only a leaf keeps its gradient");
  return node_->outputs[0].grad;
}

void Var::backward(const Tensor& seed) const {
  CHECK(node_, "backward: nothing was recorded for this value (no input needs a gradient, or NoGrad is on)");
  node_->accumulate(output_, seed ? seed : full(value_.shape(), 1, value_.dtype(), value_.device()));
  std::vector<std::shared_ptr<Node>> heap;  // latest created first
  const auto earlier = [](const auto& a, const auto& b) { return a->order < b->order; };
  const auto visit = [&](const std::shared_ptr<Node>& node) {
    if (node->is_leaf || node->waiting) return;
    node->waiting = true;
    heap.push_back(node);
    std::push_heap(heap.begin(), heap.end(), earlier);
  };
  visit(node_);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), earlier);
    const std::shared_ptr<Node> node = std::move(heap.back());
    heap.pop_back();
    node->waiting = false;
    node->propagate(visit);
  }
}

Var record(const char* op, Tensor y, std::initializer_list<Input> inputs) {
  Var result(std::move(y));
  if (!wanted(std::any_of(inputs.begin(), inputs.end(), [](const Input& i) { return i.x.requires_grad(); })))
    return result;
  result.node_ = std::make_shared<Node>(op);
  DType of_gradient = result.value_.dtype();
  for (const Input& i : inputs)
    if (i.x.requires_grad()) {
      result.node_->edges.push_back({i.x.node_, i.x.output_, i.vjp, i.add_vjp, i.leaf_vjp});
      if (i.x.value_.raw() == result.value_.raw()) of_gradient = i.x.node_->outputs[size_t(i.x.output_)].dtype;
    }
  result.node_->add_output(result.value_, of_gradient);
  return result;
}

std::vector<Var> record(const char* op, std::vector<Tensor> ys, const std::vector<Var>& xs, JointVjp vjp, bool always) {
  std::vector<Var> results(ys.begin(), ys.end());
  if (!wanted(always || std::any_of(xs.begin(), xs.end(), [](const Var& x) { return x.requires_grad(); })))
    return results;
  auto node = std::make_shared<Node>(op);
  node->joint = std::move(vjp);
  for (const Var& x : xs) node->edges.push_back({x.node_, x.output_, nullptr, nullptr, nullptr});
  for (size_t i = 0; i < results.size(); ++i) {
    node->add_output(results[i].value_, results[i].value_.dtype());
    results[i].node_ = node;
    results[i].output_ = int(i);
  }
  return results;
}

NoGrad::NoGrad() : before_(std::exchange(enabled, false)) {}
NoGrad::~NoGrad() { enabled = before_; }
int64_t live_nodes() { return nodes; }

Var checkpoint(const std::function<Var(const Var&)>& f, const Var& x) {
  if (!enabled) return f(x);
  gradient_withheld = false;
  Tensor y;
  {
    NoGrad no_grad;
    y = f(x.detach()).value();
  }
  const bool trains = gradient_withheld;
  const Tensor X = x.value();
  return record(
      "checkpoint", {y}, {x},
      [f, X](const std::vector<Tensor>& dys, const std::vector<bool>& needs) {
        const Var input = needs[0] ? Var::leaf(X) : Var(X), again = f(input);
        if (again.requires_grad()) again.backward(dys[0]);
        return std::vector<Tensor>{needs[0] ? input.grad() : Tensor()};
      },
      trains)[0];
}

}  // namespace vlm2vec
