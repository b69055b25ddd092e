#include "nn/module.h"

namespace vlm2vec {

Parameter::Parameter(Module* owner, std::string name, Shape shape)
    : owner_(owner), name_(std::move(name)), shape_(std::move(shape)) {
  owner->parameters_.push_back(this);
}

std::string Parameter::path() const {
  const std::string prefix = owner_->path();
  return prefix.empty() ? name_ : prefix + "." + name_;
}

Parameter::operator const Var&() const {
  CHECK(value().defined(), path(), ": used before it was loaded or initialised");
  return var_;
}

Module::Module(Module* parent, std::string name)
    : parent_(parent), name_(std::move(name)), precision_(parent->precision_) {
  parent->children_.push_back(this);
}

Module::~Module() {
  if (parent_) std::erase(parent_->children_, this);
}

std::string Module::path() const {
  const std::string prefix = parent_ ? parent_->path() : "";
  if (prefix.empty() || name_.empty()) return prefix + name_;
  return prefix + "." + name_;
}

void Module::each_module(const std::function<void(Module&)>& visit) {
  visit(*this);
  for (Module* child : children_) child->each_module(visit);
}

void Module::each_parameter(const std::function<void(Parameter&)>& visit) {
  each_module([&](Module& m) {
    for (Parameter* p : m.parameters_) visit(*p);
  });
}

void Module::set_precision(Precision precision) {
  each_module([=](Module& m) { m.precision_ = precision; });
}

std::vector<Parameter*> Module::parameters() {
  std::vector<Parameter*> all;
  each_parameter([&](Parameter& p) { all.push_back(&p); });
  return all;
}

}  // namespace vlm2vec
