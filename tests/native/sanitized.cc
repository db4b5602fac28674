// Runs the kernels on four threads and on one, compiled with a sanitizer: a fault, a race and a
// difference all end it with an error. `tests/native/sanitize.py` compiles and runs it.
//
// The arrays are exactly as large as the shapes say, and their sizes leave rests at every edge.

#include <cstdio>

#include "batch_norm.h"
#include "dense.h"
#include "dense_kernel.h"
#include "grouped.h"
#include "grouped_kernel.h"
#include "inverted_stages.h"
#include "layer_norm.h"
#include "narrow_kernel.h"
#include "pool.h"
#include "winograd.h"

namespace flaxblocks {

// Calls `f` with a thread pool of XLA's, of which the kernels ask only the size.
template <typename F>
void with_threads(int64_t count, const F& f) {
  XLA_FFI_Api api{};
  api.XLA_FFI_ThreadPool_NumThreads = [](XLA_FFI_ThreadPool_NumThreads_Args* a) -> XLA_FFI_Error* {
    *a->num_threads = *reinterpret_cast<int64_t*>(a->ctx);
    return nullptr;
  };
  ffi::DiagnosticEngine diagnostic;
  auto* context = reinterpret_cast<XLA_FFI_ExecutionContext*>(&count);
  f(*ffi::CtxDecoding<ffi::ThreadPool>::Decode(&api, context, diagnostic));
}

using Numbers = std::vector<float>;

Numbers numbers(int64_t count) {
  Numbers values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>((i * 37 + 11) % 101 - 50) / 64;
  return values;
}

// Computes `count` results with `f(threads, result)` on four threads and on one.
template <typename F>
void check(const char* name, int64_t count, const F& f) {
  Numbers several(count), single(count);
  with_threads(4, [&](ffi::ThreadPool threads) {
    for (int repeat = 0; repeat < 3; ++repeat) f(threads, several.data());
  });
  with_threads(1, [&](ffi::ThreadPool threads) { f(threads, single.data()); });
  if (several != single) {
    std::fprintf(stderr, "%s: four threads make another result than one\n", name);
    std::exit(1);
  }
  std::printf("%s: %lld numbers\n", name, static_cast<long long>(count));
}

// Ends with an error.
void fail(const char* message) {
  std::fprintf(stderr, "%s\n", message);
  std::exit(1);
}

cpu_set_t allowed() {
  cpu_set_t all;
  if (sched_getaffinity(0, sizeof(all), &all)) fail("placement: no affinity");
  return all;
}

// A thread is kept from one processor after the other, and then may be on all again.
void placement() {
  const cpu_set_t before = allowed();
  if (CPU_COUNT(&before) < 2) return;
  Placement mine;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &before)) continue;
    cpu_set_t expected = before;
    CPU_CLR(cpu, &expected);
    mine.avoid(cpu);
    const cpu_set_t now = allowed();
    if (!CPU_EQUAL(&now, &expected)) fail("placement: not on all others");
  }
  mine.release();
  const cpu_set_t after = allowed();
  if (!CPU_EQUAL(&after, &before)) fail("placement: not released");
}

// Two items each of which waits for the other to begin: another thread has to help, on all processors
// that the first one has, also after it slept.
void helpers() {
  const cpu_set_t all = allowed();
  std::atomic<bool> alone{false}, elsewhere{false};
  with_threads(2, [&](ffi::ThreadPool threads) {
    for (int repeat = 0; repeat < 3; ++repeat) {
      std::atomic<int> begun{0};
      const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      parallel_for(threads, 2, [&](int64_t) {
        const cpu_set_t mine = allowed();
        if (!CPU_EQUAL(&mine, &all)) elsewhere = true;
        ++begun;
        while (begun < 2 && !alone) {
          if (std::chrono::steady_clock::now() > until) alone = true;
          std::this_thread::yield();
        }
      });
      std::this_thread::sleep_for(10 * kLook);
    }
  });
  if (elsewhere) fail("helpers: not on all processors");
  if (alone) fail("helpers: none came");
}

Shapes shapes(int64_t inputs, int64_t outputs, int64_t stride, bool transposed = false) {
  auto axis = [&](int64_t from) {
    const int64_t to = (from - 1) / stride + 1;
    return transposed ? Axis(to, from, 3, stride, 1, 1, true)
                      : Axis(from, to, 3, stride, 1, 1, false);
  };
  return {2, inputs, outputs, axis(7), axis(11)};
}

int64_t operand_size(const Shapes& s) {
  return s.images * s.rows.from * s.columns.from * s.from_channels;
}

int64_t result_size(const Shapes& s) {
  return s.images * s.rows.to * s.columns.to * s.to_channels;
}

template <int Group>
void narrow_kernels() {
  constexpr int64_t kChannels = 40;
  const Numbers kernel = numbers(9 * Group * kChannels), bias = numbers(kChannels);
  for (bool transposed : {false, true}) {
    const Shapes s = shapes(kChannels, kChannels, 2, transposed);
    const Numbers x = numbers(operand_size(s));
    check("narrow", result_size(s), [&](ffi::ThreadPool& threads, float* y) {
      const Epilogue<float> after{bias.data(), Activation::kSilu};
      narrow<Group, kNarrow<float, Group>>(threads, s, x.data(), kernel.data(), y, after);
    });
  }
  const Shapes s = shapes(kChannels, kChannels, 1);
  const Numbers x = numbers(operand_size(s)), g = numbers(result_size(s));
  check("narrow_kernel", 9 * Group * kChannels, [&](ffi::ThreadPool& threads, float* y) {
    narrow_kernel<Group>(threads, s, x.data(), g.data(), y);
  });
}

void dense_kernels() {
  constexpr int64_t kInputs = 9, kOutputs = 37;
  const Shapes s = shapes(kInputs, kOutputs, 2);
  const Numbers x = numbers(operand_size(s)), g = numbers(result_size(s));
  const Numbers kernel = numbers(9 * kInputs * kOutputs), bias = numbers(kOutputs);
  check("dense", result_size(s), [&](ffi::ThreadPool& threads, float* y) {
    const Epilogue<float> after{bias.data(), Activation::kRelu, g.data()};
    dense(threads, s, kInputs, x.data(), kernel.data(), y, after);
  });
  check("dense_kernel", 9 * kInputs * kOutputs, [&](ffi::ThreadPool& threads, float* y) {
    dense_kernel(threads, s, kInputs, x.data(), g.data(), y);
  });
  constexpr int64_t kFar = 512;  // channels whose pixels share sets of the cache
  const Shapes far{2, kFar, kFar, Axis(7, 7, 1, 1, 0, 1, false), Axis(41, 41, 1, 1, 0, 1, false)};
  const Numbers inputs = numbers(operand_size(far)), outputs = numbers(result_size(far));
  check("dense_kernel, with copies", kFar * kFar, [&](ffi::ThreadPool& threads, float* y) {
    dense_kernel(threads, far, kFar, inputs.data(), outputs.data(), y);
  });
  constexpr int64_t kVector = 17, kManyOutputs = 613;  // more than there are tiles
  for (int64_t outputs : {kOutputs, kManyOutputs}) {
    const Shapes tiled = shapes(kVector, outputs, 1);
    const Numbers image = numbers(operand_size(tiled)), taps = numbers(9 * kVector * outputs);
    const Numbers shift = numbers(outputs);
    check("winograd", result_size(tiled), [&](ffi::ThreadPool& threads, float* y) {
      const Epilogue<float> after{shift.data(), Activation::kSilu};
      winograd(threads, tiled, image.data(), taps.data(), y, after);
    });
  }
  constexpr int64_t kLanes = kRegister / sizeof(float), kGroups = 3 * kLanes;
  const Shapes both[] = {shapes(kGroups, kGroups, 1), shapes(kGroups, kGroups, 2)};
  const Numbers large = numbers(operand_size(both[0])), filters = numbers(9 * kLanes * kGroups);
  for (const Shapes& grouped_shapes : both) {
    auto with_step = [&](const auto& f) {
      grouped_shapes.rows.step == 1 ? f(std::integral_constant<int, 1>())
                                    : f(std::integral_constant<int, 2>());
    };
    if constexpr (kRegisters == 32) {
      check("grouped", result_size(grouped_shapes), [&](ffi::ThreadPool& threads, float* y) {
        const Epilogue<float> after{filters.data(), Activation::kRelu};
        with_step([&](auto step) {
          grouped<step>(threads, grouped_shapes, large.data(), filters.data(), y, after);
        });
      });
    }
    const Numbers gradient = numbers(result_size(grouped_shapes));
    check("grouped_kernel", filters.size(), [&](ffi::ThreadPool& threads, float* y) {
      with_step([&](auto step) {
        grouped_kernel<step>(threads, grouped_shapes, kLanes, large.data(), gradient.data(), y);
      });
    });
  }
  const int64_t pixels = operand_size(s) / kInputs;
  check("pointwise", pixels * kOutputs, [&](ffi::ThreadPool& threads, float* y) {
    const Layer<float> layer{kernel.data(), kInputs, kOutputs, kOutputs,
                             {bias.data(), Activation::kNone}};
    pointwise(threads, layer, pixels, x.data(), y);
  });
  // All inputs of a block of outputs first, and all blocks of some inputs first.
  constexpr int64_t kFew = 37;
  for (const auto& [inputs, outputs] : {std::pair<int64_t, int64_t>{130, 512}, {613, 91}}) {
    const Numbers wide = numbers(kFew * inputs), weights = numbers(inputs * outputs);
    const Numbers shift = numbers(outputs);
    const Layer<float> layer{weights.data(), inputs, outputs, outputs,
                             {shift.data(), Activation::kRelu}};
    check("packed pointwise", kFew * outputs, [&](ffi::ThreadPool& threads, float* y) {
      pointwise(threads, layer, kFew, wide.data(), y);
    });
  }
}

// More numbers than one thread alone gates, and channels for several.
void gates() {
  constexpr int64_t kImages = 3, kRows = 23, kColumns = 31, kChannels = 133, kFew = 5;
  constexpr int64_t kSize = kImages * kRows * kColumns * kChannels;
  const Numbers x = numbers(kSize), squeeze = numbers(kChannels * kFew);
  const Numbers excite = numbers(kFew * kChannels), bias = numbers(kChannels);
  for (int64_t images : {int64_t{1}, int64_t{2}, kImages}) {
    check("gates", images * kRows * kColumns * kChannels, [&](ffi::ThreadPool& threads, float* y) {
      gated(threads, Gate<float>{images, kRows, kColumns,
                                 {squeeze.data(), kChannels, kFew, kFew,
                                  {bias.data(), Activation::kRelu}},
                                 {excite.data(), kFew, kChannels, kChannels,
                                  {bias.data(), Activation::kSigmoid}},
                                 x.data(), y});
    });
  }
  check("layer_norm", kSize, [&](ffi::ThreadPool& threads, float* y) {
    const LayerNorm<float> norm{kChannels, bias.data(), bias.data(), 1e-5f};
    layer_norm(threads, norm, kSize / kChannels, x.data(), y);
  });
}

void pools() {
  constexpr int64_t kImages = 3, kRows = 23, kColumns = 31, kChannels = 37;
  const Numbers x = numbers(kImages * kRows * kColumns * kChannels);
  check("means", kImages * kChannels, [&](ffi::ThreadPool& threads, float* y) {
    mean(threads, {kImages, kRows, kColumns, kChannels}, x.data(), y);
  });
  const Shapes halved{kImages, kChannels, kChannels, Axis(kRows, 12, 3, 2, 1, 1, false),
                      Axis(kColumns, 16, 3, 2, 1, 1, false)};
  check("max-pools", kImages * 12 * 16 * kChannels, [&](ffi::ThreadPool& threads, float* y) {
    max_pool(threads, halved, x.data(), y);
  });
  const Numbers g = numbers(kImages * 12 * 16 * kChannels);
  for (int64_t images : {int64_t{1}, kImages}) {
    Shapes some = halved;
    some.images = images;
    check("their gradients", images * kRows * kColumns * kChannels,
          [&](ffi::ThreadPool& threads, float* y) {
      max_pool_gradient(threads, some, g.data(), x.data(), y);
    });
  }
}

void batch_norms() {
  constexpr int64_t kPixels = 1031, kChannels = 37, kSize = kPixels * kChannels;
  const Numbers x = numbers(kSize), g = numbers(kSize), each = numbers(kChannels);
  const Numbers var(kChannels, 0.5f);
  const BatchNorm<float> norm{kPixels, kChannels, each.data(), each.data(), 1e-5f,
                              Activation::kHardSwish};
  check("batch normalizations", kSize + 2 * kChannels, [&](ffi::ThreadPool& threads, float* y) {
    batch_norm(threads, norm, x.data(), y, y + kSize, y + kSize + kChannels);
  });
  check("their gradients", kSize + 2 * kChannels, [&](ffi::ThreadPool& threads, float* y) {
    batch_norm_gradient(threads, norm, g.data(), x.data(), each.data(), var.data(), y, y + kSize,
                        y + kSize + kChannels);
  });
}

// Linear layers, of few vectors and of more.
void linear_layers() {
  constexpr int64_t kInputs = 531, kOutputs = 213;
  const Numbers weights = numbers(kInputs * kOutputs), bias = numbers(kOutputs);
  const Layer<float> layer{weights.data(), kInputs, kOutputs, kOutputs,
                           {bias.data(), Activation::kRelu}};
  for (int64_t pixels : {3, 29}) {
    const Numbers x = numbers(pixels * kInputs);
    check("linear layers", pixels * kOutputs, [&](ffi::ThreadPool& threads, float* y) {
      pointwise(threads, layer, pixels, x.data(), y);
    });
  }
}

void inverted_residuals() {
  constexpr int64_t kImages = 3, kRows = 7, kColumns = 9, kFeatures = 19, kHidden = 33, kGate = 5;
  const Numbers x = numbers(kImages * kRows * kColumns * kFeatures);
  const Numbers expand = numbers(kFeatures * kHidden), filters = numbers(9 * kHidden);
  const Numbers squeeze = numbers(kHidden * kGate), excite = numbers(kGate * kHidden);
  const Numbers project = numbers(kHidden * kFeatures), bias = numbers(kHidden);
  auto layer = [&](const Numbers& weights, int64_t inputs, int64_t outputs) {
    return Layer<float>{weights.data(), inputs, outputs, outputs, {bias.data(), Activation::kSilu}};
  };
  for (bool gated : {false, true}) {
    check(gated ? "gated" : "inverted", kImages * kRows * kColumns * kFeatures,
          [&](ffi::ThreadPool& threads, float* y) {
      const Inverted<float> block{
          kImages, kFeatures, Axis(kRows, kRows, 3, 1, 1, 1, false),
          Axis(kColumns + 2, kColumns, 3, 1, 0, 1, false), kColumns, 1,
          layer(expand, kFeatures, kHidden), filters.data(), kHidden, kHidden,
          {bias.data(), Activation::kRelu6},
          gated ? layer(squeeze, kHidden, kGate) : Layer<float>{},
          gated ? layer(excite, kGate, kHidden) : Layer<float>{},
          layer(project, kHidden, kFeatures), true, x.data(), y};
      inverted_residual(threads, block);
    });
  }
}

}  // namespace flaxblocks

int main() {
  flaxblocks::placement();
  flaxblocks::helpers();
#if !defined(FLAXBLOCKS_SHORT)
  flaxblocks::narrow_kernels<1>();
  flaxblocks::narrow_kernels<4>();
  flaxblocks::narrow_kernels<8>();
  flaxblocks::dense_kernels();
  flaxblocks::gates();
  flaxblocks::pools();
  flaxblocks::batch_norms();
  flaxblocks::linear_layers();
#endif
  flaxblocks::inverted_residuals();
}
