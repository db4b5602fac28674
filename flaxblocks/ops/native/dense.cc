// The entry point of convolutions that are dense or have wide groups.

#include "dense.h"
#include "grouped.h"
#include "handler.h"
#include "winograd.h"

namespace flaxblocks {

ffi::Error Dense(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::AnyBuffer kernel,
                 ffi::AnyBuffer bias, ffi::AnyBuffer residual, ffi::Result<ffi::AnyBuffer> y,
                 Numbers strides, Numbers low, Numbers dilation, bool transposed,
                 int64_t activation) {
  return answered([&] {
    const Shapes shapes = shapes_of(x, kernel, *y, strides, low, dilation, transposed);
    const int64_t inputs = kernel.dimensions()[2], groups = shapes.from_channels / inputs;
    with_type({x, kernel, bias, residual, *y}, [&](auto zero) {
      using T = decltype(zero);
      const Epilogue<T> after = epilogue_of<T>(bias, residual, *y, activation);
      check_vector<T>(shapes.to_channels / groups);
      if (y->element_count() == 0) return;
      const T *from = x.typed_data<T>(), *weights = kernel.typed_data<T>();
      T* const to = y->typed_data<T>();
      if constexpr (std::is_same_v<T, float>) {
        if (Winograd<T>::fits(shapes, inputs)) {
          return winograd(threads, shapes, from, weights, to, after);
        }
        if constexpr (kRegisters == 32) {
          if (has_vector_groups<T>(shapes, inputs)) {
            return shapes.rows.step == 1 ? grouped<1>(threads, shapes, from, weights, to, after)
                                         : grouped<2>(threads, shapes, from, weights, to, after);
          }
        }
      }
      dense(threads, shapes, inputs, from, weights, to, after);
    });
  });
}

}  // namespace flaxblocks

FLAXBLOCKS_CONVOLUTION(flaxblocks_dense, flaxblocks::Dense);
