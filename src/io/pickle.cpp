#include "io/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <variant>

#include "io/error.h"
#include "io/text.h"

namespace vlm2vec {
namespace {

static_assert(std::endian::native == std::endian::little);

struct Mark {};
struct Global {
  std::string name;  // "module.attribute"
};
struct Value;
// Made of finished values only, so nothing can contain itself.
struct Tuple {
  std::shared_ptr<const std::vector<Value>> items;
  int depth;
};
struct Items;
using Dictionary = std::shared_ptr<Items>;
using Text = std::shared_ptr<const std::string>;  // recalled as often as a pickle likes, kept once
struct Pending {                                  // a tensor that is rebuilt if it is asked for
  Tuple arguments;
};
struct Unread {};  // beside the part that is asked for
struct Value
    : std::variant<Mark, bool, int64_t, Text, Global, Tuple, Dictionary, PickledStorage, StoredArray, Pending, Unread> {
  using variant::variant;
};
struct Items : std::map<std::string, Value> {};

constexpr const char* kRebuild = "torch._utils._rebuild_tensor_v2";
constexpr const char* kOrderedDict = "collections.OrderedDict";

constexpr int kTupleDepth = 3;           // a tensor's arguments hold its shape
constexpr size_t kStackLimit = 1 << 16;  // Python writes a dictionary in batches of 1000 pairs

class Unpickler {
 public:
  Unpickler(std::span<const uint8_t> bytes, const std::string& source,
            const std::function<FileBytes(const PickledStorage&)>& load, const std::string& part)
      : bytes_(bytes), source_(source), load_(load), part_(part) {}

  StoredArrays run() {
    if (next() != 0x80 || next() != 2) refuse("does not begin as a pickle of protocol 2, which torch.save writes");
    for (;;) {
      const uint8_t code = next();
      if (code == '.') break;
      step(code);
      if (stack_.size() > kStackLimit) refuse("stacks up more than a dictionary of tensors needs");
    }
    Dictionary result = pop<Dictionary>("a dictionary of tensors");
    if (at_ != bytes_.size()) refuse("goes on after its end");
    StoredArrays arrays;
    if (part_.empty()) {
      for (const auto& [name, value] : *result) arrays.emplace(name, std::get<StoredArray>(value));
      return arrays;
    }
    const auto found = result->find(part_);
    const Dictionary* const part = found == result->end() ? nullptr : std::get_if<Dictionary>(&found->second);
    if (!part) refuse("has no dictionary ", one_line(part_), ", which a training run saves its model in");
    for (const auto& [name, value] : **part)
      if (const auto* tensor = std::get_if<Pending>(&value); tensor && is_read(*tensor))
        arrays.emplace(name, rebuild(*tensor->arguments.items));
    return arrays;
  }

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail(Exit::data, source_, ": the pickle ", parts...);
  }

  std::span<const uint8_t> take(size_t n) {
    if (n > bytes_.size() - at_) refuse("ends in the middle of an instruction; the file is damaged");
    at_ += n;
    return bytes_.subspan(at_ - n, n);
  }
  uint8_t next() { return take(1)[0]; }
  uint32_t natural(size_t size) {  // little-endian
    uint32_t value = 0;
    std::memcpy(&value, take(size).data(), size);
    return value;
  }
  std::string text(size_t size) { return std::string(as_text(take(size))); }
  std::string line() {
    std::string line;
    for (char c; (c = char(next())) != '\n';) line += c;
    return line;
  }

  void push(Value value) { stack_.push_back(std::move(value)); }
  Value pop() {
    if (stack_.empty()) refuse("takes a value where there is none; the file is damaged");
    Value value = std::move(stack_.back());
    stack_.pop_back();
    return value;
  }
  template <class T>
  T pop(const char* expected) {
    return as<T>(pop(), expected);
  }
  template <class T>
  T as(const Value& value, const char* expected) const {
    const T* found = std::get_if<T>(&value);
    if (!found) refuse("has another value where ", expected, " is expected; only dictionaries of tensors are read");
    return *found;
  }
  std::vector<Value> pop(size_t n) {
    std::vector<Value> values(n);
    for (size_t i = n; i-- > 0;) values[i] = pop();
    return values;
  }
  std::vector<Value> pop_to_mark() {
    size_t n = 0;
    while (n < stack_.size() && !std::holds_alternative<Mark>(stack_[stack_.size() - 1 - n])) ++n;
    std::vector<Value> values = pop(n);
    pop<Mark>("a mark");
    return values;
  }

  void push_tuple(std::vector<Value> items) {
    int depth = 1;
    for (const Value& item : items)
      if (const Tuple* inner = std::get_if<Tuple>(&item)) depth = std::max(depth, inner->depth + 1);
    if (depth > kTupleDepth && !part_.empty()) return push(Unread());
    if (depth > kTupleDepth) refuse("nests tuples deeper than a tensor's description does");
    push(Tuple{std::make_shared<const std::vector<Value>>(std::move(items)), depth});
  }

  void step(uint8_t code) {
    switch (code) {
      case '}':
        return push(std::make_shared<Items>());
      case ')':
        return push_tuple({});
      case '(':
        return push(Mark{});
      case 't':
        return push_tuple(pop_to_mark());
      case 0x85:
        return push_tuple(pop(1));
      case 0x86:
        return push_tuple(pop(2));
      case 0x87:
        return push_tuple(pop(3));
      case 0x88:
        return push(true);
      case 0x89:
        return push(false);
      case 'K':
        return push(int64_t(natural(1)));
      case 'M':
        return push(int64_t(natural(2)));
      case 'J':
        return push(int64_t(int32_t(natural(4))));
      case 0x8A:
        return push(long_integer());
      case 'X':
        return push(std::make_shared<const std::string>(text(natural(4))));
      case 'q':
        return remember(natural(1));
      case 'r':
        return remember(natural(4));
      case 'h':
        return recall(natural(1));
      case 'j':
        return recall(natural(4));
      case 'c':
        return push_global();
      case 'Q':
        return push_storage(*pop<Tuple>("the place of a storage").items);
      case 'R':
        return call();
      case 's':
        return set_items(pop(2));
      case 'u':
        return set_items(pop_to_mark());
    }
    if (part_.empty() || !pass_over(code)) refuse("asks for instruction number ", int(code), "; only tensors are read");
  }

  // Keeps the stack as the instruction does, with nothing in the place of a value. Returns false for an unknown one.
  bool pass_over(uint8_t code) {
    switch (code) {
      case 'N':  // None
      case ']':  // a list
        push(Unread());
        return true;
      case 'G':  // a float
        take(8);
        push(Unread());
        return true;
      case 'U':  // bytes
        take(natural(1));
        push(Unread());
        return true;
      case 'a':  // appends to a list
      case 'b':  // gives an object its state
        pop();
        return true;
      case 'e':
        pop_to_mark();
        return true;
      case 0x81:  // an object of a class
        pop(2);
        push(Unread());
        return true;
    }
    return false;
  }

  int64_t long_integer() {  // two's complement, its length in the first byte
    const auto bytes = take(next());
    if (bytes.size() > 8) refuse("has an integer of ", bytes.size(), " bytes");
    uint64_t value = !bytes.empty() && bytes.back() >> 7 ? ~uint64_t(0) : 0;
    std::memcpy(&value, bytes.data(), bytes.size());
    return int64_t(value);
  }

  void remember(uint32_t number) {
    if (stack_.empty()) refuse("remembers a value where there is none; the file is damaged");
    memo_[number] = stack_.back();
  }
  void recall(uint32_t number) {
    const auto found = memo_.find(number);
    if (found == memo_.end()) refuse("recalls value ", number, ", which it never had");
    push(found->second);
  }

  void push_global() {
    std::string name = line();
    name += "." + line();
    const bool known = name == kRebuild || name == kOrderedDict || find_type(&StoredType::torch, name);
    if (!known && !part_.empty()) return push(Unread());
    if (!known) refuse("asks to run ", one_line(name), "; only tensors are read");
    push(Global{std::move(name)});
  }

  // ("storage", type, key, device, count)
  void push_storage(const std::vector<Value>& place) {
    if (place.size() != 5 || *as<Text>(place[0], "\"storage\"") != "storage")
      refuse("names a storage in a way that this program does not know");
    if (!part_.empty() && !std::holds_alternative<Global>(place[1])) return push(Unread());  // of whole numbers
    const std::string type = as<Global>(place[1], "a storage type").name;
    const StoredType* known = find_type(&StoredType::torch, type);
    if (!known) refuse("has ", type, " where a type of numbers is expected");
    const PickledStorage storage{*as<Text>(place[2], "a storage's key"), known,
                                 as<int64_t>(place[4], "a storage's size")};
    if (storage.count < 0 || storage.count > int64_t(1) << 50) refuse("has a storage of ", storage.count, " numbers");
    if (storage.key.size() > 64) refuse("has a storage whose key has ", storage.key.size(), " characters");
    push(storage);
  }

  void call() {
    if (!part_.empty()) {
      const std::vector<Value> parts = pop(2);
      const auto* const known = std::get_if<Global>(&parts[0]);
      const auto* const given = std::get_if<Tuple>(&parts[1]);
      if (!known || !given) return push(Unread());
      if (known->name == kRebuild) return push(Pending{*given});
      push(*known), push(*given);
    }
    const Tuple arguments = pop<Tuple>("arguments");
    const std::string function = pop<Global>("a function").name;
    if (function == kOrderedDict && arguments.items->empty()) return push(std::make_shared<Items>());
    if (function != kRebuild) refuse("calls ", function, " in a way that this program does not know");
    push(rebuild(*arguments.items));
  }

  Shape integers(const Value& value, const char* what) const {
    Shape shape;
    for (const Value& item : *as<Tuple>(value, what).items) shape.push_back(as<int64_t>(item, what));
    return shape;
  }

  // _rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)
  StoredArray rebuild(const std::vector<Value>& arguments) {
    if (arguments.size() != 6) refuse("rebuilds a tensor from ", arguments.size(), " arguments, expected 6");
    const auto storage = as<PickledStorage>(arguments[0], "a storage");
    const int64_t offset = as<int64_t>(arguments[1], "an offset");
    const Shape shape = integers(arguments[2], "a shape"), strides = integers(arguments[3], "strides");
    bool fits = shape.size() == strides.size() && shape.size() <= 8 && 0 <= offset && offset <= storage.count;
    int64_t count = 1, last = fits ? offset : 0;  // of the view: numbers, and where the last one lies
    for (size_t i = 0; fits && i < shape.size(); ++i) {
      fits = 0 <= shape[i] && shape[i] <= storage.count && 0 <= strides[i] && strides[i] <= storage.count;
      if (!fits) break;
      const __int128 product = __int128(count) * shape[i], reach = last + __int128(shape[i] - 1) * strides[i];
      fits = product <= storage.count && (shape[i] == 0 || reach < storage.count);
      count = int64_t(product), last = shape[i] == 0 ? last : int64_t(reach);
    }
    if (!fits || (count > 0 && last >= storage.count))
      refuse("has a tensor of shape ", to_string(shape), " that does not lie in its storage of ", storage.count,
             " numbers");
    auto found = storages_.find(storage.key);
    if (found == storages_.end()) {
      found = storages_.emplace(storage.key, load_(storage)).first;
      room_for_copies_ += int64_t(found->second.bytes.size());
    }
    const int64_t wanted = storage.count * storage.type->size;
    if (found->second.bytes.size() != uint64_t(wanted))
      refuse("wants ", wanted, " bytes of storage ", one_line(storage.key), ", which has ", found->second.bytes.size());
    return view(found->second, storage, offset, shape, strides);
  }

  StoredArray view(const FileBytes& stored, const PickledStorage& storage, int64_t offset, const Shape& shape,
                   const Shape& strides) {
    int64_t dense = 1;
    bool contiguous = true;
    for (size_t i = shape.size(); i-- > 0; dense *= shape[i])
      contiguous = contiguous && (shape[i] == 1 || strides[i] == dense);
    const size_t width = size_t(storage.type->size), size = size_t(numel(shape)) * width;
    const auto from = stored.bytes.subspan(size_t(offset) * width);
    if (contiguous) return {storage.type, shape, {from.first(size), stored.owner}};
    room_for_copies_ -= int64_t(size);
    if (room_for_copies_ < 0) refuse("has more transposed views than its storages have bytes");
    const auto copy = std::make_shared<std::vector<uint8_t>>(size);
    for (size_t i = 0; i < size / width; ++i) {
      int64_t place = 0, rest = int64_t(i);
      for (size_t d = shape.size(); d-- > 0; rest /= shape[d]) place += rest % shape[d] * strides[d];
      std::memcpy(copy->data() + i * width, &from[size_t(place) * width], width);
    }
    return {storage.type, shape, {*copy, copy}};
  }

  void set_items(const std::vector<Value>& pairs) {
    if (stack_.empty() || pairs.size() % 2) refuse("fills a dictionary that is not there; the file is damaged");
    if (!part_.empty()) {
      const auto* const to = std::get_if<Dictionary>(&stack_.back());
      for (size_t i = 0; to && i < pairs.size(); i += 2)
        if (const auto* name = std::get_if<Text>(&pairs[i]); name && keeps(pairs[i + 1], **to))
          (**to)[**name] = pairs[i + 1];
      return;
    }
    const Dictionary dictionary = as<Dictionary>(stack_.back(), "a dictionary");
    for (size_t i = 0; i < pairs.size(); i += 2) {
      const std::string& name = *as<Text>(pairs[i], "a tensor's name");
      if (!dictionary->emplace(name, as<StoredArray>(pairs[i + 1], "a tensor")).second)
        refuse("holds ", one_line(name), " twice");
    }
  }

  static bool is_read(const Pending& tensor) {
    const std::vector<Value>& arguments = *tensor.arguments.items;
    return arguments.empty() || !std::holds_alternative<Unread>(arguments[0]);
  }

  // Only one dictionary in another: so none contains itself.
  bool keeps(const Value& value, const Items& owner) const {
    const auto* const inner = std::get_if<Dictionary>(&value);
    const auto is_dictionary = [](const auto& item) { return std::holds_alternative<Dictionary>(item.second); };
    return std::holds_alternative<Pending>(value) ||
           (inner && inner->get() != &owner && std::ranges::none_of(**inner, is_dictionary));
  }

  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
  const std::string& source_;
  const std::function<FileBytes(const PickledStorage&)>& load_;
  const std::string& part_;
  std::vector<Value> stack_;
  std::map<uint32_t, Value> memo_;
  std::map<std::string, FileBytes> storages_;
  int64_t room_for_copies_ = 0;  // bytes: each storage may be copied once
};

}  // namespace

StoredArrays unpickle_tensors(std::span<const uint8_t> pickle, const std::string& source,
                              const std::function<FileBytes(const PickledStorage&)>& load, const std::string& part) {
  return Unpickler(pickle, source, load, part).run();
}

}  // namespace vlm2vec
