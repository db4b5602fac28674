// The entry point of the gradients of dense convolutions with respect to the kernel.

#include "dense_kernel.h"
#include "grouped_kernel.h"
#include "handler.h"

namespace flaxblocks {

ffi::Error DenseKernel(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::AnyBuffer gradient,
                       ffi::Result<ffi::AnyBuffer> kernel, Numbers strides, Numbers low,
                       Numbers dilation) {
  return answered([&] {
    const Shapes shapes = shapes_of(x, *kernel, gradient, strides, low, dilation, false);
    const int64_t inputs = kernel->dimensions()[2], groups = shapes.from_channels / inputs;
    with_type({x, gradient, *kernel}, [&](auto zero) {
      using T = decltype(zero);
      check_vector<T>(shapes.to_channels / groups);
      T* result = kernel->typed_data<T>();
      if (gradient.element_count() == 0) {
        std::fill_n(result, kernel->element_count(), T(0));
        return;
      }
      const T *from = x.typed_data<T>(), *output = gradient.typed_data<T>();
      if (has_few_outputs<T>(shapes, inputs)) {
        return shapes.rows.step == 1
                   ? grouped_kernel<1>(threads, shapes, inputs, from, output, result)
                   : grouped_kernel<2>(threads, shapes, inputs, from, output, result);
      }
      dense_kernel(threads, shapes, inputs, from, output, result);
    });
  });
}

}  // namespace flaxblocks

FLAXBLOCKS_KERNEL_GRADIENT(flaxblocks_dense_kernel, flaxblocks::DenseKernel);
