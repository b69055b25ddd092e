// A module is a struct whose fields are its parameters and sub-modules. Each registers with its parent under its name
// in the checkpoint, so the field path is the Hugging Face name and loading needs no table:
//   struct Mlp : Module { Linear gate_proj{this, "gate_proj", hidden, intermediate}; … };
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "autograd/var.h"
#include "nn/tensor_names.h"

namespace vlm2vec {

class Module;

// A named tensor of a module. It has no memory until it is loaded or initialised.
class Parameter {
 public:
  Parameter(Module* owner, std::string name, Shape shape);
  Parameter(const Parameter&) = delete;
  std::string path() const;  // "model.layers.0.mlp.gate_proj.weight"
  const Shape& shape() const { return shape_; }
  bool is_matrix() const { return shape_.size() > 1; }
  const Tensor& value() const { return var_.value(); }
  operator const Var&() const;
  bool trained() const { return var_.requires_grad(); }
  void set(Tensor value) { var_ = Var(std::move(value)); }  // makes it a constant
  void set(Tensor value, Tensor gradient) { var_ = Var::leaf(std::move(value), std::move(gradient)); }

 private:
  Module* owner_;
  std::string name_;
  Shape shape_;
  Var var_;
};

// How a module computes. bf16_products: activations are f32, both factors of products with weights are rounded to bf16.
// bf16: activations are bf16; sums, statistics and what leaves the model are f32. Models in f64 ignore it.
enum class Precision { f32, bf16_products, bf16 };

class Module {
 public:
  Module() = default;                        // a root
  Module(Module* parent, std::string name);  // an empty name adds nothing to the path
  virtual ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  std::string path() const;
  // How files spell the parameters; a model's family says it.
  virtual const TensorNames& names() const { return kPlainNames; }
  // Visits modules depth first, in order of registration.
  void each_module(const std::function<void(Module&)>& visit);
  void each_parameter(const std::function<void(Parameter&)>& visit);
  std::vector<Parameter*> parameters();

  void set_precision(Precision precision);  // here and in all children, also later ones
  Precision precision() const { return precision_; }

 private:
  friend class Parameter;
  Module* parent_ = nullptr;
  std::string name_;
  std::vector<Module*> children_;
  std::vector<Parameter*> parameters_;
  Precision precision_ = Precision::f32;
};

// Holds children "0", "1", … of one type, each built with the same arguments.
template <class T>
class ModuleList : public Module {
 public:
  template <class... Args>
  ModuleList(Module* parent, std::string name, int64_t count, const Args&... args) : Module(parent, std::move(name)) {
    for (int64_t i = 0; i < count; ++i) items_.push_back(std::make_unique<T>(this, std::to_string(i), args...));
  }
  T& operator[](size_t i) { return *items_[i]; }
  size_t size() const { return items_.size(); }

 private:
  std::vector<std::unique_ptr<T>> items_;
};

}  // namespace vlm2vec
