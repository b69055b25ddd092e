// Products as they are described to cublasLt, computed by a stand-in of it on host memory. What the real library does
// with them is a test of a machine with a GPU (make gpu-check).
#include "kernels/cublas.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include "kernels/gpu.h"
#include "tensor/ops.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

Tensor numbers(const Shape& shape, DType type, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(size_t(numel(shape)));
  for (float& x : values) x = float(random.normal());
  return from_vector(values, shape).to(type);
}

template <class Function>
Function* of_the_stand_in(const char* name) {
  void* const library = dlopen(CUBLAS_FOLDER "/libcublasLt.so.13", RTLD_NOW | RTLD_NOLOAD);
  return reinterpret_cast<Function*>(dlsym(library, name));
}
int asked() { return of_the_stand_in<int()>("host_cublaslt_asked")(); }
void refuse(bool all) { of_the_stand_in<void(bool)>("host_cublaslt_refuse")(all); }

struct Types {
  DType a, b, c;
  double tolerance;
};

class Cublas : public testing::Test {
 protected:
  void SetUp() override { setenv("VLM2VEC_CUDA_LIBRARIES", CUBLAS_FOLDER, 1); }
};

TEST_F(Cublas, products_are_those_of_the_kernels) {
  const int64_t m = 5, n = 7, k = 3;
  for (const Types& t : {Types{DType::f32, DType::f32, DType::f32, 1e-6}, {DType::f32, DType::bf16, DType::f32, 1e-6},
                         {DType::f32, DType::f16, DType::f32, 1e-6}, {DType::bf16, DType::bf16, DType::f32, 1e-6},
                         {DType::bf16, DType::bf16, DType::bf16, 0x1p-6}})
    for (const bool ta : {false, true})
      for (const bool tb : {false, true})
        for (const bool accumulate : {false, true})
          for (const bool with_bias : {false, true}) {
            const Tensor a = numbers(ta ? Shape{k, m} : Shape{m, k}, t.a, 1),
                         b = numbers(tb ? Shape{n, k} : Shape{k, n}, t.b, 2),
                         bias = with_bias ? numbers({n}, DType::f32, 3) : Tensor(), c = numbers({m, n}, t.c, 4);
            const Tensor want = c.to(DType::f32).clone();
            const MatmulOptions options{ta, tb, accumulate};
            kernel::matmul(a, b, bias, options, want);
            ASSERT_TRUE(cublas::matmul(a, b, bias, options, c));
            const auto got = to_vector<float>(c), expected = to_vector<float>(want);
            for (size_t i = 0; i < got.size(); ++i)
              ASSERT_NEAR(got[i], expected[i], t.tolerance * (1 + std::abs(expected[i])))
                  << name_of(t.a) << name_of(t.b) << name_of(t.c) << ta << tb << accumulate << with_bias;
          }
}

TEST_F(Cublas, an_algorithm_is_chosen_once_for_a_shape_and_its_alignment) {
  const Tensor a = numbers({6, 8}, DType::f32, 1), b = numbers({4, 8}, DType::f32, 2), c({6, 4}, DType::f32, Device::cpu);
  const auto product = [&](const Tensor& a, const Tensor& c) {
    ASSERT_TRUE(cublas::matmul(a, b, {}, {.transpose_b = true}, c));
  };
  product(a, c);
  const int before = asked();
  product(a, c);
  EXPECT_EQ(asked(), before);
  const Tensor flat({5 + 6 * 8}, DType::f32, Device::cpu);  // a view that begins within a line of 256 bytes
  product(flat.rows(5, 5 + 6 * 8).view({6, 8}), c);
  EXPECT_EQ(asked(), before + 1);
  product(a.rows(0, 5), c.rows(0, 5));
  EXPECT_EQ(asked(), before + 2);
}

TEST_F(Cublas, leaves_f64_empty_sums_and_what_it_is_told_to_the_kernels) {
  const Tensor a = numbers({2, 3}, DType::f64, 1), c({2, 2}, DType::f64, Device::cpu);
  EXPECT_FALSE(cublas::matmul(a, a, {}, {.transpose_b = true}, c));
  const Tensor none({2, 0}, DType::f32, Device::cpu), d({2, 2}, DType::f32, Device::cpu);
  EXPECT_FALSE(cublas::matmul(none, none, {}, {.transpose_b = true}, d));
  const Tensor b = numbers({2, 3}, DType::f32, 1);
  gpu::use_products({.cublas = false});
  EXPECT_FALSE(cublas::matmul(b, b, {}, {.transpose_b = true}, d));
  EXPECT_EQ(gpu::described_products(), " --cublas False");
  gpu::use_products({});
  EXPECT_TRUE(cublas::matmul(b, b, {}, {.transpose_b = true}, d));
}

TEST_F(Cublas, leaves_what_the_library_knows_no_algorithm_for_to_the_kernels) {
  const Tensor a = numbers({3, 9}, DType::f32, 1), c({3, 3}, DType::f32, Device::cpu);
  ASSERT_TRUE(cublas::matmul(a.rows(0, 2), a, {}, {.transpose_b = true}, c.rows(0, 2)));  // opens the library
  refuse(true);
  EXPECT_FALSE(cublas::matmul(a, a, {}, {.transpose_b = true}, c));
  refuse(false);
  EXPECT_FALSE(cublas::matmul(a, a, {}, {.transpose_b = true}, c)) << "one choice belongs to a shape";
}

TEST_F(Cublas, rounds_to_tf32_only_when_told) {
  const Tensor b = numbers({2, 3}, DType::f32, 1), d({2, 2}, DType::f32, Device::cpu);
  gpu::use_products({.tf32 = true});  // the stand-in knows the exact kind only
  EXPECT_THROW(cublas::matmul(b, b, {}, {.transpose_b = true}, d), Error);
  const Tensor narrow = b.to(DType::bf16);
  EXPECT_TRUE(cublas::matmul(narrow, narrow, {}, {.transpose_b = true}, d));
  EXPECT_EQ(gpu::described_products(), " --tf32 True");
  gpu::use_products({});
}

}  // namespace
}  // namespace vlm2vec
