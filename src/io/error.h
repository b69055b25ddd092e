// Errors are sentences: what came, what was expected, the likely cure. They are thrown where they are found and
// caught once, in main, which prints the sentence and exits with the code.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

namespace vlm2vec {

enum class Exit { ok = 0, failed = 1, usage = 2, data = 3, resources = 4, device = 5 };

struct Error : std::runtime_error {
  Error(Exit code, const std::string& sentence) : std::runtime_error(sentence), code(code) {}
  Exit code;
};

template <class... Parts>
std::string sentence(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

// fail(Exit::data, path, ": 3 columns, expected 4; …")
template <class... Parts>
[[noreturn]] void fail(Exit code, const Parts&... parts) {
  throw Error(code, sentence(parts...));
}

// Returns f(), whose errors begin with `where` and a colon.
template <class F, class... Where>
decltype(auto) naming(F&& f, const Where&... where) {
  try {
    return f();
  } catch (const Error& e) {
    fail(e.code, where..., ": ", e.what());
  }
}

// Runs f() and returns the sentence of its Exit::data error; empty: there was none. Other errors are thrown.
template <class F>
std::string data_fault(F&& f) {
  try {
    f();
    return "";
  } catch (const Error& e) {
    if (e.code != Exit::data) throw;
    return e.what();
  }
}

}  // namespace vlm2vec

// CHECK(a.dim(1) == b.dim(0), "matmul: a is ", a, ", b is ", b, "; the inner dimensions differ")
#define CHECK(condition, ...)                                                \
  do {                                                                       \
    if (!(condition)) ::vlm2vec::fail(::vlm2vec::Exit::failed, __VA_ARGS__); \
  } while (false)
