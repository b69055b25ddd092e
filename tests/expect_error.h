// For tests of errors: the sentence matters, not only that there is one.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "io/error.h"

namespace vlm2vec {

inline void expect_error(const std::string& part, const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "no error, expected \"" << part << '"';
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << "expected \"" << part << "\" in: " << e.what();
  }
}
inline void expect_error(Exit code, const std::string& part, const std::function<void()>& call) {
  expect_error(part, [&] {
    try {
      call();
    } catch (const Error& e) {
      EXPECT_EQ(int(e.code), int(code)) << e.what();
      throw;
    }
  });
}

}  // namespace vlm2vec
