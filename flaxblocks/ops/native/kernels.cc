// The entry points that XLA calls.

#include "dense_kernel.h"
#include "inverted.h"
#include "narrow_kernel.h"

namespace flaxblocks {

using Numbers = ffi::Span<const int64_t>;

struct Geometry {
  Numbers strides, low, dilation;
  bool transposed;
};

Shapes shapes_of(const ffi::AnyBuffer& operand, const ffi::AnyBuffer& kernel,
                 const ffi::AnyBuffer& result, const Geometry& g) {
  const auto x = operand.dimensions(), k = kernel.dimensions(), y = result.dimensions();
  auto axis = [&](int i) {
    return Axis(x[1 + i], y[1 + i], k[i], g.strides[i], g.low[i], g.dilation[i], g.transposed);
  };
  return {x[0], x[3], y[3], axis(0), axis(1)};
}

template <typename F>
ffi::Error with_type(ffi::DataType type, F&& f) {
  if (type == ffi::F32) {
    f(float());
  } else if (type == ffi::F64) {
    f(double());
  } else {
    return ffi::Error::InvalidArgument("flaxblocks: only float32 and float64");
  }
  return ffi::Error::Success();
}

template <int Group, typename T>
void narrow_channels(ffi::ThreadPool& threads, const Shapes& shapes, const T* x, const T* kernel,
                     T* y, const Epilogue<T>& after) {
  constexpr int kLanes = 64 / sizeof(T);
  if (shapes.to_channels >= kLanes) {
    narrow<Group, kLanes>(threads, shapes, x, kernel, y, after);
  } else if (Group == 1 && shapes.to_channels >= 4) {
    narrow<Group, std::max(Group, 4)>(threads, shapes, x, kernel, y, after);
  } else {
    narrow<Group, Group>(threads, shapes, x, kernel, y, after);
  }
}

// Null for an array without elements.
template <typename T>
const T* optional(const ffi::AnyBuffer& array) {
  return array.element_count() ? array.typed_data<T>() : nullptr;
}

template <typename T>
Epilogue<T> epilogue_of(const ffi::AnyBuffer& bias, const ffi::AnyBuffer& residual,
                        int64_t activation) {
  return {optional<T>(bias), static_cast<Activation>(activation), optional<T>(residual)};
}

// Calls `f` with the channels per group, as a constant that the narrow kernels are compiled for.
template <typename F>
void with_group(int64_t channels, F&& f) {
  switch (channels) {
    case 1: return f(std::integral_constant<int, 1>());
    case 4: return f(std::integral_constant<int, 4>());
    case 8: return f(std::integral_constant<int, 8>());
  }
}

ffi::Error Narrow(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::AnyBuffer kernel,
                  ffi::AnyBuffer bias, ffi::AnyBuffer residual, ffi::Result<ffi::AnyBuffer> y,
                  Numbers strides, Numbers low, Numbers dilation, bool transposed,
                  int64_t activation) {
  const Shapes shapes = shapes_of(x, kernel, *y, {strides, low, dilation, transposed});
  return with_type(x.element_type(), [&](auto zero) {
    using T = decltype(zero);
    with_group(kernel.dimensions()[2], [&](auto group) {
      narrow_channels<group>(threads, shapes, x.typed_data<T>(), kernel.typed_data<T>(),
                             y->typed_data<T>(), epilogue_of<T>(bias, residual, activation));
    });
  });
}

ffi::Error Dense(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::AnyBuffer kernel,
                 ffi::AnyBuffer bias, ffi::AnyBuffer residual, ffi::Result<ffi::AnyBuffer> y,
                 Numbers strides, Numbers low, Numbers dilation, bool transposed,
                 int64_t activation) {
  const Shapes shapes = shapes_of(x, kernel, *y, {strides, low, dilation, transposed});
  return with_type(x.element_type(), [&](auto zero) {
    using T = decltype(zero);
    dense(threads, shapes, kernel.dimensions()[2], x.typed_data<T>(), kernel.typed_data<T>(),
          y->typed_data<T>(), epilogue_of<T>(bias, residual, activation));
  });
}

ffi::Error Pointwise(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::AnyBuffer kernel,
                     ffi::AnyBuffer bias, ffi::AnyBuffer residual, ffi::Result<ffi::AnyBuffer> y,
                     Numbers, Numbers, Numbers, bool, int64_t activation) {
  return with_type(x.element_type(), [&](auto zero) {
    using T = decltype(zero);
    const int64_t inputs = kernel.dimensions()[2], outputs = kernel.dimensions()[3];
    const Layer<T> layer{kernel.typed_data<T>(), inputs, outputs,
                         epilogue_of<T>(bias, residual, activation)};
    pointwise(threads, layer, static_cast<int64_t>(x.element_count()) / inputs,
              x.typed_data<T>(), y->typed_data<T>());
  });
}

ffi::Error NarrowKernel(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::AnyBuffer gradient,
                        ffi::Result<ffi::AnyBuffer> kernel, Numbers strides, Numbers low,
                        Numbers dilation, bool) {
  const Shapes shapes = shapes_of(x, *kernel, gradient, {strides, low, dilation, false});
  return with_type(x.element_type(), [&](auto zero) {
    using T = decltype(zero);
    with_group(kernel->dimensions()[2], [&](auto group) {
      narrow_kernel<group>(threads, shapes, x.typed_data<T>(), gradient.typed_data<T>(),
                           kernel->typed_data<T>());
    });
  });
}

ffi::Error DenseKernel(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::AnyBuffer gradient,
                       ffi::Result<ffi::AnyBuffer> kernel, Numbers strides, Numbers low,
                       Numbers dilation, bool) {
  const Shapes shapes = shapes_of(x, *kernel, gradient, {strides, low, dilation, false});
  return with_type(x.element_type(), [&](auto zero) {
    using T = decltype(zero);
    dense_kernel(threads, shapes, kernel->dimensions()[2], x.typed_data<T>(),
                 gradient.typed_data<T>(), kernel->typed_data<T>());
  });
}

template <typename T>
Layer<T> layer_of(const ffi::AnyBuffer& weights, const ffi::AnyBuffer& bias, int64_t activation) {
  if (!weights.element_count()) return {};
  const auto shape = weights.dimensions();
  return {weights.typed_data<T>(), shape[shape.size() - 2], shape[shape.size() - 1],
          {bias.typed_data<T>(), static_cast<Activation>(activation)}};
}

ffi::Error InvertedResidual(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::AnyBuffer expand,
                            ffi::AnyBuffer expand_bias, ffi::AnyBuffer kernel, ffi::AnyBuffer bias,
                            ffi::AnyBuffer squeeze, ffi::AnyBuffer squeeze_bias,
                            ffi::AnyBuffer excite, ffi::AnyBuffer excite_bias,
                            ffi::AnyBuffer project, ffi::AnyBuffer project_bias,
                            ffi::Result<ffi::AnyBuffer> y, Numbers strides, Numbers low,
                            Numbers dilation, Numbers activations, bool residual) {
  const auto from = x.dimensions(), taps = kernel.dimensions(), to = y->dimensions();
  return with_type(x.element_type(), [&](auto zero) {
    using T = decltype(zero);
    const int64_t reach = (to[2] - 1) * strides[1] + (taps[1] - 1) * dilation[1] + 1;
    const Inverted<T> block{
        from[0],
        from[3],
        Axis(from[1], to[1], taps[0], strides[0], low[0], dilation[0], false),
        Axis(std::max(reach, low[1] + from[2]), to[2], taps[1], strides[1], 0, dilation[1], false),
        from[2],
        low[1],
        layer_of<T>(expand, expand_bias, activations[0]),
        kernel.typed_data<T>(),
        taps[3],
        {bias.typed_data<T>(), static_cast<Activation>(activations[1])},
        layer_of<T>(squeeze, squeeze_bias, activations[2]),
        layer_of<T>(excite, excite_bias, activations[3]),
        layer_of<T>(project, project_bias, activations[4]),
        residual,
        x.typed_data<T>(),
        y->typed_data<T>()};
    block.squeeze.weights ? with_gate(threads, block) : without_gate(threads, block);
  });
}

}  // namespace flaxblocks

#define FLAXBLOCKS_GEOMETRY                                  \
  Attr<xla::ffi::Span<const int64_t>>("strides")             \
      .Attr<xla::ffi::Span<const int64_t>>("low")            \
      .Attr<xla::ffi::Span<const int64_t>>("dilation")       \
      .Attr<bool>("transposed")

#define FLAXBLOCKS_CONVOLUTION(name, function)                              \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, function,                             \
                                xla::ffi::Ffi::Bind()                       \
                                    .Ctx<xla::ffi::ThreadPool>()            \
                                    .Arg<xla::ffi::AnyBuffer>()             \
                                    .Arg<xla::ffi::AnyBuffer>()             \
                                    .Arg<xla::ffi::AnyBuffer>()             \
                                    .Arg<xla::ffi::AnyBuffer>()             \
                                    .Ret<xla::ffi::AnyBuffer>()             \
                                    .FLAXBLOCKS_GEOMETRY                    \
                                    .Attr<int64_t>("activation"))

#define FLAXBLOCKS_GRADIENT(name, function)                                 \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, function,                             \
                                xla::ffi::Ffi::Bind()                       \
                                    .Ctx<xla::ffi::ThreadPool>()            \
                                    .Arg<xla::ffi::AnyBuffer>()             \
                                    .Arg<xla::ffi::AnyBuffer>()             \
                                    .Ret<xla::ffi::AnyBuffer>()             \
                                    .FLAXBLOCKS_GEOMETRY)

FLAXBLOCKS_CONVOLUTION(flaxblocks_narrow, flaxblocks::Narrow);
FLAXBLOCKS_CONVOLUTION(flaxblocks_dense, flaxblocks::Dense);
FLAXBLOCKS_CONVOLUTION(flaxblocks_pointwise, flaxblocks::Pointwise);
FLAXBLOCKS_GRADIENT(flaxblocks_narrow_kernel, flaxblocks::NarrowKernel);
FLAXBLOCKS_GRADIENT(flaxblocks_dense_kernel, flaxblocks::DenseKernel);
XLA_FFI_DEFINE_HANDLER_SYMBOL(flaxblocks_inverted_residual, flaxblocks::InvertedResidual,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Attr<xla::ffi::Span<const int64_t>>("strides")
                                  .Attr<xla::ffi::Span<const int64_t>>("low")
                                  .Attr<xla::ffi::Span<const int64_t>>("dilation")
                                  .Attr<xla::ffi::Span<const int64_t>>("activations")
                                  .Attr<bool>("residual"));
