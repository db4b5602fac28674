// Convolutions that are dense or have wide groups, and their gradients with respect to the input.
//
// The result is computed in cells of one row. All cells of a few rows are multiplied by one panel
// of weights, which stays in the cache, before the next, so that large kernels are read once.
#pragma once

#include "prefetch.h"
#include "threads.h"

namespace flaxblocks {

// One phase of the rows and one of the columns, in one group.
template <typename T>
struct DensePhase {
  const Shapes& shapes;
  int64_t row, column;  // the phases
  int64_t inputs, group;
  const T* operand;
  const T* kernel;
  const T* zeros;  // as many as there are inputs

  const std::vector<Axis::Tap>& rows() const { return shapes.rows.phases[row]; }
  const std::vector<Axis::Tap>& columns() const { return shapes.columns.phases[column]; }
  // The group's weights at tap t of the phase with an input.
  const T* weights(int64_t t, int64_t input) const {
    const int64_t in_row = static_cast<int64_t>(columns().size());
    const int64_t row = rows()[t / in_row].kernel, column = columns()[t % in_row].kernel;
    const int64_t groups = shapes.from_channels / inputs;
    return kernel + ((row * shapes.columns.taps + column) * inputs + input) * shapes.to_channels +
           group * (shapes.to_channels / groups);
  }
};

// Some of the products in each number of the result: those at the taps from `first` to `last`,
// counted along the rows of the kernel, with `count` inputs from `input` on.
struct Products {
  int64_t first, last, input, count;

  bool are_first() const { return first == 0 && input == 0; }
  int64_t products() const { return (last - first) * count; }
};

// Divides the products into those of panels, with whole rows of the kernel where they fit; there is
// at least one.
template <typename T>
std::vector<Products> products_of(const DensePhase<T>& phase) {
  const int64_t in_row = static_cast<int64_t>(phase.columns().size()), inputs = phase.inputs;
  const int64_t taps = static_cast<int64_t>(phase.rows().size()) * in_row;
  int64_t some = std::max(int64_t{1}, kTogether / inputs);
  if (some > in_row && in_row > 0) some -= some % in_row;
  std::vector<Products> products;
  for (int64_t t = 0; t < std::max(taps, int64_t{1}); t += some) {
    for (int64_t i = 0; i < inputs; i += kTogether) {
      products.push_back({t, std::min(t + some, taps), i, std::min(kTogether, inputs - i)});
    }
  }
  return products;
}

// The weights of some products from output `first` on, where their rows are as far apart as those
// of the kernel; else none.
template <typename T>
Ahead<T> weights_ahead(const DensePhase<T>& phase, const Products& some, int64_t first,
                       int64_t lines) {
  if (some.first == some.last) return {};
  const T *begin = phase.weights(some.first, some.input), *last = phase.weights(some.last - 1, 0);
  const int64_t apart = phase.shapes.to_channels;
  const bool regular = last - phase.weights(some.first, 0) ==
                       (some.last - 1 - some.first) * phase.inputs * apart;
  return regular ? Ahead<T>{begin + first, apart, lines} : Ahead<T>{};
}

// Packs the weights of some products and `vectors` vectors of outputs into a panel: rows of the
// kernel that are a power of two apart would share a few sets of the cache.
template <int Vectors, typename T>
void pack(const DensePhase<T>& phase, const Products& some, int64_t first, T* panel) {
  constexpr int64_t kLanes = Blocks<T>::kLanes;
  for (int64_t t = some.first; t < some.last; ++t) {
    const T* from = phase.weights(t, some.input) + first;
    for (int64_t i = 0; i < some.count; ++i, from += phase.shapes.to_channels) {
      for (int v = 0; v < Vectors; ++v, panel += kLanes) {
        store(panel, load<Vector<T, kLanes>>(from + v * kLanes));
      }
    }
  }
}

// Adds some products to the sums of a cell: the pixels from position m on, of a row of the result
// that is numbered across all images.
template <int Vectors, int Width, typename V, typename T>
[[gnu::always_inline]] inline void add_panel(V (&sums)[Width][Vectors], const DensePhase<T>& phase,
                                             const Products& some, int64_t row, int64_t m,
                                             const T* panel, Ahead<T> ahead) {
  constexpr int64_t kBlock = Vectors * (kRegister / sizeof(T));
  const Axis &rows = phase.shapes.rows, &columns = phase.shapes.columns;
  const int64_t in_row = static_cast<int64_t>(phase.columns().size());
  const int64_t channels = phase.shapes.from_channels;
  const int64_t top = row % rows.to / rows.count() * rows.step, image = row / rows.to * rows.from;
  // Adjacent taps read adjacent numbers where all channels are inputs: an image's 3 are multiplied
  // a row of the kernel at a time, not 3 at a time.
  const bool runs = channels == phase.inputs && some.last - some.first >= in_row &&
                    columns.are_adjacent(phase.column) && columns.inside(phase.column, m, Width);
  const int64_t run = runs ? in_row : 1;
  for (int64_t t = some.first; t < some.last; t += run, panel += run * some.count * kBlock) {
    const int64_t y = top + phase.rows()[t / in_row].offset;
    if (y < 0 || y >= rows.from) continue;
    const T* from =
        phase.operand + (image + y) * columns.from * channels + phase.group * phase.inputs;
    const T* x[Width];
    for (int w = 0; w < Width; ++w) {
      const int64_t at = (m + w) * columns.step + phase.columns()[t % in_row].offset;
      const bool inside = at >= 0 && at < columns.from;
      x[w] = (inside ? from + at * channels : phase.zeros) + some.input;
    }
    const auto number = [&](int w, int64_t i) { return x[w][i]; };
    if (ahead.is_any()) {
      add_products_ahead(sums, number, panel, kBlock, run * some.count, ahead);
    } else {
      add_products(sums, number, panel, kBlock, run * some.count);
    }
  }
}

// A panel: the packed weights of some products and of the outputs from `output` on, and those of the
// panel after it.
template <typename T>
struct Panel {
  const Products& products;
  bool is_last;
  int64_t output;
  const T* weights;
  Ahead<T> ahead;
  int64_t rows_ahead;

  bool is_only() const { return is_last && products.are_first(); }
};

// Adds the products of a panel to the totals of a cell, which the first ones make.
//
// Not inlined: GCC would keep the totals in registers as well and run out of them.
template <int Vectors, int Width, typename V, typename T>
[[gnu::noinline]] void add_to_totals(V (&totals)[Width][Vectors], const DensePhase<T>& phase,
                                     const Panel<T>& panel, int64_t row, int64_t m,
                                     Ahead<T> ahead) {
  V sums[Width][Vectors] = {};
  add_panel(sums, phase, panel.products, row, m, panel.weights, ahead);
  add_sums(totals, sums, panel.products.are_first());
}

// Computes and stores a cell whose products are all in one panel, see `store_sums`.
template <int Vectors, int Width, typename T>
[[gnu::noinline]] void panel_cell(const DensePhase<T>& phase, const Panel<T>& panel, int64_t row,
                                  int64_t m, Ahead<T> ahead, const Epilogue<T>& after, T* result,
                                  int64_t first, int64_t apart) {
  Vector<T, Blocks<T>::kLanes> sums[Width][Vectors] = {};
  add_panel(sums, phase, panel.products, row, m, panel.weights, ahead);
  store_sums(sums, after, result, first, apart, panel.output);
}

// The rows from `first` to `last` of the result, numbered across all images, and some blocks of a
// group's outputs.
struct Band {
  int64_t first, last;
  std::pair<int64_t, int64_t> blocks;
};

// Computes the cells of one phase of a band by a panel. The totals are those of the panels before it.
template <int Vectors, int Width, typename V, typename T>
void panel_cells(const DensePhase<T>& phase, const Panel<T>& panel, const Band& band, V* totals,
                 T* result, const Epilogue<T>& after) {
  const Axis &rows = phase.shapes.rows, &columns = phase.shapes.columns;
  const int64_t channels = phase.shapes.to_channels, count = columns.positions(phase.column);
  const int64_t apart = columns.count() * channels, parts = kLines<Vectors>;
  const int64_t cells = (band.last - band.first) * ceil_div(count, Width);
  const Coming<T> coming{panel.ahead, panel.rows_ahead, parts, cells < 3 * parts ? 1 : 2,
                         panel.is_last ? after.residual : nullptr,
                         panel.is_last ? result : nullptr};
  auto* cell = reinterpret_cast<V(*)[Width][Vectors]>(totals);
  int64_t done = 0;
  for (int64_t row = band.first; row < band.last; ++row) {
    if (row % rows.to % rows.count() != phase.row) continue;
    for (int64_t start = 0; start < count; start += Width, ++cell, ++done) {
      const int64_t m = std::min<int64_t>(start, count - Width);
      const int64_t pixel = row * columns.to + m * columns.count() + phase.column;
      const int64_t at = pixel * channels + panel.output;
      const Ahead<T> ahead = coming.during(done, at + Width * apart, apart);
      if (panel.is_only()) {
        panel_cell<Vectors, Width>(phase, panel, row, m, ahead, after, result, at, apart);
      } else {
        add_to_totals(*cell, phase, panel, row, m, ahead);
        if (panel.is_last) store_cell(*cell, after, result, at, apart, panel.output);
      }
    }
  }
}

// Computes one phase of a band.
template <typename T>
void dense_band(const DensePhase<T>& phase, const Band& band, const Blocks<T>& blocks, T* result,
                const Epilogue<T>& after) {
  using V = Vector<T, Blocks<T>::kLanes>;
  const int64_t count = phase.shapes.columns.positions(phase.column);
  const int64_t some_blocks = band.blocks.second - band.blocks.first;
  // The last cell of a row overlaps the one before it.
  const int64_t of_block = (band.last - band.first) * (count + 2 * kPixels) * kVectors;
  const auto packed = make_buffer<V>({kTogether, kVectors});
  const auto totals = make_buffer<V>({some_blocks, of_block});
  T* const weights = reinterpret_cast<T*>(packed.get());
  const std::vector<Products> products = products_of(phase);
  for (size_t p = 0; p < products.size(); ++p) {
    const Products& some = products[p];
    const bool are_last = p + 1 == products.size();
    for (int64_t i = 0; i < some_blocks; ++i) {
      const bool next = i + 1 < some_blocks;
      const Products& following = next || are_last ? some : products[p + 1];
      const int64_t next_block = band.blocks.first + (next ? i + 1 : 0);
      blocks.with(band.blocks.first + i, [&](int64_t first, auto vectors) {
        pack<vectors>(phase, some, first, weights);
        const Ahead<T> ahead =
            weights_ahead(phase, following, blocks.first(next_block), kLines<vectors>);
        const Panel<T> panel{some, are_last, phase.group * blocks.outputs + first, weights, ahead,
                             following.products()};
        with_pixels<T, vectors>(count, [&](auto width) {
          panel_cells<vectors, width>(phase, panel, band, totals.get() + i * of_block, result,
                                      after);
        });
      });
    }
  }
}

template <typename T>
void dense(ffi::ThreadPool& threads, const Shapes& shapes, int64_t inputs, const T* operand,
           const T* kernel, T* result, const Epilogue<T>& after) {
  constexpr int64_t kMost = 512;  // pixels of a band
  const int64_t groups = shapes.from_channels / inputs, rows = shapes.images * shapes.rows.to;
  const int64_t outputs = shapes.to_channels / groups;
  const std::vector<T> zeros(inputs);
  const int64_t bands =
      std::min(rows, std::max(ceil_div(rows * shapes.columns.to, kMost),
                              ceil_div(4 * size(threads), groups * Blocks<T>(outputs).tasks)));
  const int64_t sharing = ceil_div(size(threads), groups * bands);  // threads for a band's outputs
  const Blocks<T> blocks(outputs, sharing);
  const int64_t spans = std::min(blocks.tasks, sharing);
  parallel_for(threads, groups * spans * bands, [&](int64_t i) {
    const int64_t at = i % bands;
    const Band band{rows * at / bands, rows * (at + 1) / bands,
                    blocks.span(i / bands % spans, spans)};
    for (int64_t row = 0; row < shapes.rows.count(); ++row) {
      for (int64_t column = 0; column < shapes.columns.count(); ++column) {
        dense_band({shapes, row, column, inputs, i / bands / spans, operand, kernel, zeros.data()},
                   band, blocks, result, after);
      }
    }
  });
}

}  // namespace flaxblocks
