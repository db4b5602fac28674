// The entry point of convolutions in small groups.

#include "handler.h"
#include "narrow.h"

namespace flaxblocks {

template <int Group, typename T>
void narrow_channels(ffi::ThreadPool& threads, const Shapes& shapes, const T* x, const T* kernel,
                     T* y, const Epilogue<T>& after) {
  constexpr int kLanes = kNarrow<T, Group>;
  if (shapes.to_channels >= kLanes) {
    narrow<Group, kLanes>(threads, shapes, x, kernel, y, after);
  } else if (Group == 1 && shapes.to_channels >= 4) {
    narrow<Group, std::max(Group, 4)>(threads, shapes, x, kernel, y, after);
  } else {
    narrow<Group, Group>(threads, shapes, x, kernel, y, after);
  }
}

ffi::Error Narrow(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::AnyBuffer kernel,
                  ffi::AnyBuffer bias, ffi::AnyBuffer residual, ffi::Result<ffi::AnyBuffer> y,
                  Numbers strides, Numbers low, Numbers dilation, bool transposed,
                  int64_t activation) {
  return answered([&] {
    const Shapes shapes = shapes_of(x, kernel, *y, strides, low, dilation, transposed);
    with_type({x, kernel, bias, residual, *y}, [&](auto zero) {
      using T = decltype(zero);
      const Epilogue<T> after = epilogue_of<T>(bias, residual, *y, activation);
      with_group(narrow_group(shapes, kernel), [&](auto group) {
        if (y->element_count() == 0) return;
        narrow_channels<group>(threads, shapes, x.typed_data<T>(), kernel.typed_data<T>(),
                               y->typed_data<T>(), after);
      });
    });
  });
}

}  // namespace flaxblocks

FLAXBLOCKS_CONVOLUTION(flaxblocks_narrow, flaxblocks::Narrow);
