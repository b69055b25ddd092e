// A value that a thread of its own makes before it is needed.
#pragma once
#include <chrono>
#include <functional>
#include <future>
#include <system_error>

#include "tensor/storage.h"

namespace vlm2vec {

namespace detail {
void in_background();  // from now on, this thread's parallel_for takes only threads that no other work needs
}

// Must not outlive what `make` refers to: its end waits until `make` has returned.
template <class T>
class Ahead {
 public:
  Ahead() = default;  // empty
  // Begins now. Where the system starts no thread, take() makes the value.
  explicit Ahead(std::function<T()> make) {
    if (DryRun::on()) {  // must stay on one thread; counts the value as held from now on
      *this = made(std::move(make));
      return;
    }
    try {
      value_ = std::async(std::launch::async, [make] { return detail::in_background(), make(); });
    } catch (const std::system_error&) {
      value_ = std::async(std::launch::deferred, make);
    }
  }
  // Makes the value in this thread.
  static Ahead made(std::function<T()> make) {
    Ahead ahead;
    ahead.value_ = std::async(std::launch::deferred, std::move(make));
    ahead.value_.wait();
    return ahead;
  }
  explicit operator bool() const { return value_.valid(); }
  bool ready() const {  // take() will not wait
    return value_.valid() && value_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }
  // Returns the value, or throws what `make` threw; leaves this empty.
  T take() { return value_.get(); }

 private:
  std::future<T> value_;
};

}  // namespace vlm2vec
