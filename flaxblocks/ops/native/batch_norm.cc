// The entry point of normalization by the statistics of the batch.

#include "batch_norm_arguments.h"

namespace flaxblocks {

ffi::Error BatchNormalization(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::AnyBuffer scale,
                              ffi::AnyBuffer bias, ffi::Result<ffi::AnyBuffer> y,
                              ffi::Result<ffi::AnyBuffer> mean, ffi::Result<ffi::AnyBuffer> var,
                              double epsilon, int64_t activation) {
  return answered([&] {
    const int64_t channels = channels_of(x, {scale, bias, *mean, *var});
    require(are_same(x.dimensions(), y->dimensions()), "input and output must have one shape");
    with_type({x, scale, bias, *y, *mean, *var}, [&](auto zero) {
      using T = decltype(zero);
      batch_norm(threads, norm_of<T>(x, channels, scale, bias, epsilon, activation),
                 x.typed_data<T>(), y->typed_data<T>(), mean->typed_data<T>(),
                 var->typed_data<T>());
    });
  });
}

}  // namespace flaxblocks

FLAXBLOCKS_HANDLER(flaxblocks_batch_norm, flaxblocks::BatchNormalization,
                   xla::ffi::Ffi::Bind()
                       .Ctx<xla::ffi::ThreadPool>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Ret<xla::ffi::AnyBuffer>()
                       .Ret<xla::ffi::AnyBuffer>()
                       .Ret<xla::ffi::AnyBuffer>()
                       .Attr<double>("epsilon")
                       .Attr<int64_t>("activation"));
