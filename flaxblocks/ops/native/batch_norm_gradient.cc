// The entry point of the gradients of normalization by the statistics of the batch.

#include "batch_norm_arguments.h"

namespace flaxblocks {

ffi::Error BatchNormalizationGradient(ffi::ThreadPool threads, ffi::AnyBuffer gradient,
                                      ffi::AnyBuffer x, ffi::AnyBuffer mean, ffi::AnyBuffer var,
                                      ffi::AnyBuffer scale, ffi::AnyBuffer bias,
                                      ffi::Result<ffi::AnyBuffer> by_input,
                                      ffi::Result<ffi::AnyBuffer> by_scale,
                                      ffi::Result<ffi::AnyBuffer> by_bias, double epsilon,
                                      int64_t activation) {
  return answered([&] {
    const int64_t channels = channels_of(x, {mean, var, scale, bias, *by_scale, *by_bias});
    require(are_same(x.dimensions(), gradient.dimensions()) &&
                are_same(x.dimensions(), by_input->dimensions()),
            "input, output and their gradients must have one shape");
    require(activation_of(activation) != Activation::kGelu, "GELU has no gradient here");
    with_type({gradient, x, mean, var, scale, bias, *by_input, *by_scale, *by_bias},
              [&](auto zero) {
      using T = decltype(zero);
      batch_norm_gradient(threads, norm_of<T>(x, channels, scale, bias, epsilon, activation),
                          gradient.typed_data<T>(), x.typed_data<T>(), mean.typed_data<T>(),
                          var.typed_data<T>(), by_input->typed_data<T>(),
                          by_scale->typed_data<T>(), by_bias->typed_data<T>());
    });
  });
}

}  // namespace flaxblocks

FLAXBLOCKS_HANDLER(flaxblocks_batch_norm_gradient, flaxblocks::BatchNormalizationGradient,
                   xla::ffi::Ffi::Bind()
                       .Ctx<xla::ffi::ThreadPool>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Arg<xla::ffi::AnyBuffer>()
                       .Ret<xla::ffi::AnyBuffer>()
                       .Ret<xla::ffi::AnyBuffer>()
                       .Ret<xla::ffi::AnyBuffer>()
                       .Attr<double>("epsilon")
                       .Attr<int64_t>("activation"));
