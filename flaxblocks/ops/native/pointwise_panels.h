// 1x1 convolutions by panels of packed weights.
#pragma once

#include "few_pixels.h"
#include "prefetch.h"

namespace flaxblocks {

// The weights of some inputs and of the outputs from `output` on. The first cell packs those that
// it reads: rows that are a power of two apart would share a few sets of the cache, and to copy them
// beforehand took 4 % of the time.
template <typename T>
struct PointwisePanel {
  const Layer<T>& layer;
  int64_t input, inputs, output;
  T* packed;
  Ahead<T> next;  // the weights of the panel after it
  bool opens;     // whether it is the first that reads its inputs

  bool is_first() const { return input == 0; }
  bool is_last() const { return input + inputs == layer.inputs; }
};

// A cell's pixels, where its results belong, and what it prefetches.
template <typename T>
struct PointwiseCell {
  const T* x;
  T* y;
  int64_t at;
  Ahead<T> ahead;
  bool packs;
};

// Adds the products of a panel's inputs to the sums of a cell.
template <int Vectors, int Width, typename V, typename T>
[[gnu::always_inline]] inline void add_inputs(V (&sums)[Width][Vectors],
                                              const PointwisePanel<T>& panel,
                                              const PointwiseCell<T>& cell) {
  constexpr int64_t kBlock = Vectors * Blocks<T>::kLanes;
  const Layer<T>& layer = panel.layer;
  const T* x[Width];
  for (int w = 0; w < Width; ++w) x[w] = cell.x + w * layer.inputs + panel.input;
  Ahead<T> ahead = cell.ahead;
  const auto number = [&](int w, int64_t i) { return x[w][i]; };
  if (cell.packs) {
    const T* weights = layer.weights + panel.input * layer.apart + panel.output;
    add_products_ahead(sums, number, weights, layer.apart, panel.inputs, ahead, panel.packed);
  } else if (ahead.is_any()) {
    add_products_ahead(sums, number, panel.packed, kBlock, panel.inputs, ahead);
  } else {
    add_products(sums, number, panel.packed, kBlock, panel.inputs);
  }
}

// Adds the products of a panel to the totals of a cell, which the first ones make.
//
// Not inlined: GCC would keep the totals in registers as well and run out of them.
template <int Vectors, int Width, typename V, typename T>
[[gnu::noinline]] void add_to_totals(V (&totals)[Width][Vectors], const PointwisePanel<T>& panel,
                                     const PointwiseCell<T>& cell) {
  V sums[Width][Vectors] = {};
  add_inputs(sums, panel, cell);
  add_sums(totals, sums, panel.is_first());
}

// Computes and stores a cell of so few inputs that they are all in one panel, see `store_sums`.
template <int Vectors, int Width, typename T>
[[gnu::noinline]] void only_cell(const PointwisePanel<T>& panel, const PointwiseCell<T>& cell) {
  Vector<T, Blocks<T>::kLanes> sums[Width][Vectors] = {};
  add_inputs(sums, panel, cell);
  store_sums(sums, panel.layer.after, cell.y, cell.at, panel.layer.outputs, panel.output);
}

// Computes the cells of `pixels` pixels by a panel. The totals are those of the panels before it.
//
// Every second cell of a panel that is the first to read its inputs prefetches those of the two
// cells after it: 8x56x56, 128 to 256 channels, takes 4.4 ms without and 3.3 with.
template <int Vectors, int Width, typename V, typename T>
void pointwise_cells(const PointwisePanel<T>& panel, int64_t pixels, const T* x, T* y, V* totals) {
  constexpr int64_t parts = kLines<Vectors>;
  const Layer<T>& layer = panel.layer;
  const int64_t inputs = layer.inputs, outputs = layer.outputs;
  const int64_t cells = ceil_div(pixels, Width);
  const bool reads = panel.opens && cells >= 2 * parts;
  const Coming<T> coming{panel.next, panel.inputs, parts, cells < 3 * parts && !reads ? 1 : 2,
                         panel.is_last() ? layer.after.residual : nullptr,
                         panel.is_last() ? y : nullptr};
  auto* total = reinterpret_cast<V(*)[Width][Vectors]>(totals);
  for (int64_t done = 0; done < cells; ++done, ++total) {
    const int64_t pixel = std::min<int64_t>(done * Width, pixels - Width);
    const int64_t at = pixel * outputs + panel.output;
    const T* const next = x + (pixel + Width) * inputs + panel.input;
    const Ahead<T> ahead = reads && done % 2
                               ? Ahead<T>{next, inputs, ceil_div(panel.inputs, Ahead<T>::kLine)}
                               : coming.during(done, at + Width * outputs, outputs);
    const PointwiseCell<T> cell{x + pixel * inputs, y, at, ahead, done == 0};
    if (panel.is_first() && panel.is_last()) {
      only_cell<Vectors, Width>(panel, cell);
    } else {
      add_to_totals(*total, panel, cell);
      if (panel.is_last()) store_cell(*total, layer.after, y, at, outputs, panel.output);
    }
  }
}

// Computes the blocks of a span of the outputs of `pixels` pixels.
//
// All inputs of a block before the next block, or all blocks for some inputs before the next ones:
// whichever keeps less in the cache, all inputs or the totals of all outputs.
template <typename T>
void pointwise_span(const Layer<T>& layer, const Blocks<T>& blocks,
                    std::pair<int64_t, int64_t> span, int64_t pixels, const T* x, T* y) {
  using V = Vector<T, Blocks<T>::kLanes>;
  const int64_t count = span.second - span.first, some = panel_inputs<T>(layer.inputs);
  const int64_t groups = ceil_div(layer.inputs, some);
  const bool by_block = groups == 1 || layer.inputs <= layer.outputs + some;
  // The last cell overlaps the one before it.
  const int64_t of_block = (pixels + 2 * kPixels) * kVectors;
  const auto packed = make_buffer<V>({some, kVectors});
  const auto totals = make_buffer<V>({by_block ? 1 : count, of_block});
  const int64_t panels = count * groups;
  auto block_of = [&](int64_t n) { return by_block ? n / groups : n % count; };
  auto input_of = [&](int64_t n) { return (by_block ? n % groups : n / count) * some; };
  for (int64_t n = 0; n < panels; ++n) {
    const int64_t block = block_of(n), input = input_of(n), after = std::min(n + 1, panels - 1);
    blocks.with(span.first + block, [&](int64_t o, auto vectors) {
      const T* const next = layer.weights + input_of(after) * layer.apart +
                            blocks.first(span.first + block_of(after));
      const PointwisePanel<T> panel{layer,
                                    input,
                                    std::min(some, layer.inputs - input),
                                    o,
                                    reinterpret_cast<T*>(packed.get()),
                                    {next, layer.apart, kLines<vectors>},
                                    block == 0};
      with_pixels<T, vectors>(pixels, [&](auto width) {
        pointwise_cells<vectors, width>(panel, pixels, x, y,
                                        totals.get() + (by_block ? 0 : block * of_block));
      });
    });
  }
}

// The threads share the pixels, where each has enough to be worth reading all weights, and else the
// blocks of outputs: pixels stay in the cache of the thread that computed them.
template <typename T>
void pointwise_by_panels(ffi::ThreadPool& threads, const Layer<T>& layer, int64_t pixels,
                         const T* x, T* y) {
  constexpr int64_t kLeast = 64, kMost = 28 * kPixels;  // pixels of a piece
  const int64_t even = ceil_div(ceil_div(pixels, kMost), size(threads)) * size(threads);
  const int64_t pieces = std::clamp<int64_t>(pixels / kLeast, 1, even);
  const int64_t sharing = ceil_div(size(threads), pieces);  // threads for the outputs of a piece
  const Blocks<T> blocks(layer.outputs, sharing);
  const int64_t spans = std::min(blocks.tasks, sharing);
  parallel_for(threads, pieces * spans, [&](int64_t i) {
    const int64_t piece = i / spans;
    const int64_t first = pixels * piece / pieces, count = pixels * (piece + 1) / pieces - first;
    Layer<T> some = layer;
    some.after = layer.after.at(first * layer.outputs);
    pointwise_span(some, blocks, blocks.span(i % spans, spans), count, x + first * layer.inputs,
                   y + first * layer.outputs);
  });
}

}  // namespace flaxblocks
