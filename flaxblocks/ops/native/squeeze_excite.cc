// The entry point of squeeze-and-excitation.

#include "gate.h"
#include "weights.h"

namespace flaxblocks {

ffi::Error SqueezeExcite(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::AnyBuffer squeeze,
                         ffi::AnyBuffer squeeze_bias, ffi::AnyBuffer excite,
                         ffi::AnyBuffer excite_bias, ffi::Result<ffi::AnyBuffer> y,
                         Numbers activations) {
  return answered([&] {
    const Dimensions shape = x.dimensions();
    require(shape.size() == 4 && are_same(shape, y->dimensions()),
            "input and output must have 4 axes and one shape");
    require(activations.size() == 2, "there must be 2 activations");
    const Weights first{squeeze, squeeze_bias}, second{excite, excite_bias};
    const int64_t squeezed = static_cast<int64_t>(squeeze_bias.element_count());
    require(squeezed > 0, "the gate must have channels");
    check_weights(first, shape[3], squeezed, "the gate must go from the inputs to its channels");
    check_weights(second, squeezed, shape[3], "the gate must go from its channels to the inputs");
    with_type({x, squeeze, squeeze_bias, excite, excite_bias, *y}, [&](auto zero) {
      using T = decltype(zero);
      const Gate<T> gate{shape[0],
                         shape[1],
                         shape[2],
                         layer_of<T>(first, activations[0]),
                         layer_of<T>(second, activations[1]),
                         x.typed_data<T>(),
                         y->typed_data<T>()};
      if (y->element_count() == 0) return;
      gated(threads, gate);
    });
  });
}

}  // namespace flaxblocks

FLAXBLOCKS_HANDLER(flaxblocks_squeeze_excite, flaxblocks::SqueezeExcite,
                   xla::ffi::Ffi::Bind()
                       .Ctx<xla::ffi::ThreadPool>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Ret<xla::ffi::AnyBuffer>()
                       .Attr<xla::ffi::Span<const int64_t>>("activations"));
