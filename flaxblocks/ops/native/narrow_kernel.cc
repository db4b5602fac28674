// The entry point of the gradients of convolutions in small groups with respect to the kernel.

#include "handler.h"
#include "narrow_kernel.h"

namespace flaxblocks {

ffi::Error NarrowKernel(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::AnyBuffer gradient,
                        ffi::Result<ffi::AnyBuffer> kernel, Numbers strides, Numbers low,
                        Numbers dilation) {
  return answered([&] {
    const Shapes shapes = shapes_of(x, *kernel, gradient, strides, low, dilation, false);
    with_type({x, gradient, *kernel}, [&](auto zero) {
      using T = decltype(zero);
      with_group(narrow_group(shapes, *kernel), [&](auto group) {
        T* result = kernel->typed_data<T>();
        if (gradient.element_count() == 0) {
          std::fill_n(result, kernel->element_count(), T(0));
          return;
        }
        narrow_kernel<group>(threads, shapes, x.typed_data<T>(), gradient.typed_data<T>(), result);
      });
    });
  });
}

}  // namespace flaxblocks

FLAXBLOCKS_KERNEL_GRADIENT(flaxblocks_narrow_kernel, flaxblocks::NarrowKernel);
