// Which C++ types tensors hold: another one does not compile.
#include "tensor/dtype.h"

#include <gtest/gtest.h>

namespace vlm2vec {
namespace {

template <class T>
concept Held = requires {
  DTypeOf<T>::value;
};

template <class T>
int bytes_of() {
  return int(size_of(dtype_of<T>));
}

TEST(DType, IsThatOfItsTypeOrNone) {
  EXPECT_EQ(dtype_of<uint8_t>, DType::u8);
  EXPECT_EQ(dtype_of<int32_t>, DType::i32);
  EXPECT_EQ(dtype_of<double>, DType::f64);
  EXPECT_EQ(bytes_of<float>() + bytes_of<bf16>() + bytes_of<f16>() + bytes_of<int64_t>(), 4 + 2 + 2 + 8);
  EXPECT_TRUE(Held<float> && Held<uint8_t>);
  EXPECT_FALSE(Held<char> || Held<bool> || Held<int8_t> || Held<uint16_t> || Held<uint32_t> || Held<uint64_t>);
}

}  // namespace
}  // namespace vlm2vec
