#include "io/parquet/pages.h"

#include <deque>
#include <map>
#include <mutex>
#include <vector>

#include "io/parquet/parquet.h"

namespace vlm2vec::parquet {
namespace {

struct OpenPage {
  OpenPage(const std::shared_ptr<const void>& file, const Chunk& chunk, const Leaf& leaf, uint64_t page,
           const std::shared_ptr<const StoredDictionary>& dictionary)
      : file(file), dictionary(dictionary), column(chunk, leaf, page, dictionary) {
    for (; !column.at_end(); column.next()) {
      if (column.definition() < leaf.most_definition) continue;
      const std::string_view bytes = column.bytes();
      values.push_back(column.texts_stay() ? bytes : copies.emplace_back(bytes));
    }
  }
  size_t memory() const {
    size_t bytes = 4096 + column.memory() + values.size() * sizeof(std::string_view);
    for (const std::string& copy : copies) bytes += copy.size();
    return bytes;
  }

  std::shared_ptr<const void> file;
  std::shared_ptr<const StoredDictionary> dictionary;
  Column column;  // has the page's bytes if they were compressed
  std::deque<std::string> copies;
  std::vector<std::string_view> values;
};

// The values made last, by file and byte of the file.
class Cache {
 public:
  // Returns the kept value, or that of make() → {value, bytes of memory}.
  template <class Value, class Make>
  std::shared_ptr<const Value> get(const std::shared_ptr<const void>& file, uint64_t byte, Make&& make) {
    std::shared_ptr<Slot> slot;
    {
      const std::lock_guard guard(lock_);
      std::shared_ptr<Slot>& known = slots_[{file.get(), byte}];
      if (!known) known = std::make_shared<Slot>(file);
      slot = known, slot->used = ++clock_;
    }
    std::call_once(slot->made, [&] {
      auto [value, bytes] = make();
      const std::lock_guard guard(lock_);
      slot->value = value, slot->bytes = bytes, bytes_ += bytes;
      forget_others(*slot);
    });
    return std::static_pointer_cast<const Value>(slot->value);
  }

 private:
  struct Slot {
    explicit Slot(std::shared_ptr<const void> file) : file(std::move(file)) {}
    const std::shared_ptr<const void> file;  // keeps its address from being reused
    std::once_flag made;
    std::shared_ptr<const void> value;
    size_t bytes = 0;
    uint64_t used = 0;
  };

  void forget_others(const Slot& newest) {
    while (bytes_ > kPageCacheBytes) {
      auto oldest = slots_.end();
      for (auto slot = slots_.begin(); slot != slots_.end(); ++slot)
        if (slot->second->bytes > 0 && slot->second.get() != &newest &&
            (oldest == slots_.end() || slot->second->used < oldest->second->used))
          oldest = slot;
      if (oldest == slots_.end()) return;
      bytes_ -= oldest->second->bytes;
      slots_.erase(oldest);
    }
  }

  std::mutex lock_;
  std::map<std::pair<const void*, uint64_t>, std::shared_ptr<Slot>> slots_;
  size_t bytes_ = 0;
  uint64_t clock_ = 0;
};

}  // namespace

KeptValue value_at(const std::shared_ptr<const void>& file, const Chunk& chunk, const Leaf& leaf, Place place) {
  static Cache cache;
  // Differs from every page's key; a page may begin where the dictionary does.
  const uint64_t dictionary_key = ~chunk.begin;
  const auto dictionary = cache.get<StoredDictionary>(file, dictionary_key, [&] {
    const auto made = Column::dictionary_of(chunk, leaf);
    return std::pair(made, 4096 + (made ? made->buffer.capacity() : 0));
  });
  const auto page = cache.get<OpenPage>(file, place.page, [&] {
    const auto made = std::make_shared<const OpenPage>(file, chunk, leaf, place.page, dictionary);
    return std::pair(made, made->memory());
  });
  if (place.index >= page->values.size())
    fail(Exit::data, "value ", place.index, " of a page of ", page->values.size());
  return {page->values[place.index], page};
}

}  // namespace vlm2vec::parquet
