// The entry point of inverted residuals.

#include "inverted_stages.h"
#include "weights.h"

namespace flaxblocks {

// The blocks' layers, each one's inputs the outputs of the one before.
struct Layers {
  Weights expand, depthwise, squeeze, excite, project;

  int64_t hidden() const { return depthwise.kernel.dimensions()[3]; }

  void check(int64_t inputs, int64_t outputs) const {
    const Dimensions taps = depthwise.kernel.dimensions();
    require(taps.size() == 4 && taps[0] > 0 && taps[1] > 0 && taps[2] == 1 && taps[3] > 0,
            "the depthwise kernel must have one filter for each channel");
    require(depthwise.bias.element_count() == static_cast<size_t>(hidden()),
            "the depthwise bias must have a number for each channel");
    if (expand.are_absent()) {
      require(inputs == hidden(), "without an expansion the filters must be the inputs'");
    } else {
      check_weights(expand, inputs, hidden(), "the expansion must go from the inputs to the filters");
    }
    require(squeeze.are_absent() == excite.are_absent(), "a gate must have both of its layers");
    if (!squeeze.are_absent()) {
      const int64_t squeezed = static_cast<int64_t>(squeeze.bias.element_count());
      require(squeezed > 0, "the gate must have channels");
      check_weights(squeeze, hidden(), squeezed, "the gate must go from the filters to its channels");
      check_weights(excite, squeezed, hidden(), "the gate must go from its channels to the filters");
    }
    check_weights(project, hidden(), outputs, "the projection must go from the filters to the outputs");
  }
};

ffi::Error InvertedResidual(ffi::ThreadPool threads, ffi::AnyBuffer x, ffi::AnyBuffer expand,
                            ffi::AnyBuffer expand_bias, ffi::AnyBuffer kernel, ffi::AnyBuffer bias,
                            ffi::AnyBuffer squeeze, ffi::AnyBuffer squeeze_bias,
                            ffi::AnyBuffer excite, ffi::AnyBuffer excite_bias,
                            ffi::AnyBuffer project, ffi::AnyBuffer project_bias,
                            ffi::Result<ffi::AnyBuffer> y, Numbers strides, Numbers low,
                            Numbers dilation, Numbers activations, bool residual) {
  return answered([&] {
    const Dimensions from = x.dimensions(), to = y->dimensions();
    require(from.size() == 4 && to.size() == 4 && from[0] == to[0],
            "input and output must have 4 axes and as many images");
    require(!residual || are_same(from, to), "the residual must have the result's shape");
    check_geometry(strides, low, dilation);
    require(low[0] >= 0 && low[1] >= 0, "`low` must not crop");
    require(activations.size() == 5, "there must be 5 activations");
    const Layers layers{{expand, expand_bias}, {kernel, bias}, {squeeze, squeeze_bias},
                        {excite, excite_bias}, {project, project_bias}};
    layers.check(from[3], to[3]);
    const Dimensions taps = kernel.dimensions();
    // Wide rows hold their padding; an image that is filtered as it is does not.
    const bool expands = !layers.expand.are_absent();
    const int64_t left = expands ? low[1] : 0;
    const int64_t reach = (to[2] - 1) * strides[1] + (taps[1] - 1) * dilation[1] + 1;
    const int64_t row = expands ? std::max(reach, left + from[2]) : from[2];
    with_type({x, expand, expand_bias, kernel, bias, squeeze, squeeze_bias, excite, excite_bias,
               project, project_bias, *y}, [&](auto zero) {
      using T = decltype(zero);
      check_vector<T>(layers.hidden());
      check_vector<T>(to[3]);
      const Inverted<T> block{
          from[0],
          from[3],
          Axis(from[1], to[1], taps[0], strides[0], low[0], dilation[0], false),
          Axis(row, to[2], taps[1], strides[1], low[1] - left, dilation[1], false),
          from[2],
          left,
          layer_of<T>(layers.expand, activations[0]),
          kernel.typed_data<T>(),
          layers.hidden(),
          layers.hidden(),
          {bias.typed_data<T>(), activation_of(activations[1])},
          layer_of<T>(layers.squeeze, activations[2]),
          layer_of<T>(layers.excite, activations[3]),
          layer_of<T>(layers.project, activations[4]),
          residual,
          x.typed_data<T>(),
          y->typed_data<T>()};
      if (y->element_count() == 0) return;
      inverted_residual(threads, block);
    });
  });
}

}  // namespace flaxblocks

FLAXBLOCKS_HANDLER(flaxblocks_inverted_residual, flaxblocks::InvertedResidual,
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
                       .FLAXBLOCKS_GEOMETRY
                       .Attr<xla::ffi::Span<const int64_t>>("activations")
                       .Attr<bool>("residual"));
