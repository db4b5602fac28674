// Dense 3x3 convolutions with stride 1, and their gradients with respect to the input, by minimal
// filtering: a tile of 2x2 results takes 16 products of a channel in place of 36.
//
// Source: Lavin & Gray 2016, F(2x2, 3x3).
#pragma once

#include "pointwise.h"

namespace flaxblocks {

// The products of a tile's transform with that of the kernel.
constexpr int kProducts = 16;

// What is computed: tiles of all images' results, numbered along the rows.
template <typename T>
struct Winograd {
  const Shapes& shapes;
  const T* operand;
  const T* kernel;
  T* result;
  Epilogue<T> after;
  const T* zeros;  // a pixel
  Blocks<T> blocks;

  static constexpr int64_t kLanes = Blocks<T>::kLanes, kBlock = kVectors * kLanes;
  using V = Vector<T, kLanes>;

  int64_t inputs() const { return shapes.from_channels; }
  int64_t in_row() const { return ceil_div(shapes.columns.to, 2); }
  int64_t in_image() const { return ceil_div(shapes.rows.to, 2) * in_row(); }
  // Numbers of one product in the transformed kernel of a block and in transformed tiles: a vector
  // more than there are, as 16 that are a power of two apart would share a few sets of the cache.
  static int64_t weights_size(int64_t inputs) { return inputs * kBlock + kLanes; }
  int64_t tiles_size(int64_t tiles) const { return tiles * inputs() + kLanes; }
  // Numbers of a block's transformed kernel, by product, input and output.
  int64_t block_size() const { return kProducts * weights_size(inputs()); }

  // Whether it is a convolution that this computes in less time than `dense`.
  static bool fits(const Shapes& shapes, int64_t inputs) {
    // With fewer tiles the kernel's transform, of 16 numbers for 9, takes more than it saves.
    // A transformed kernel of 4 MB still fits in a cache.
    constexpr int64_t kFewest = 32, kMost = 1 << 16;
    auto is_three = [](const Axis& axis) {
      return axis.count() == 1 && axis.step == 1 && axis.taps == 3 && axis.run(0) == 3;
    };
    return is_three(shapes.rows) && is_three(shapes.columns) &&
           inputs == shapes.from_channels && inputs >= kLanes &&
           inputs * shapes.to_channels <= kMost &&
           shapes.images * ceil_div(shapes.rows.to, 2) * ceil_div(shapes.columns.to, 2) >= kFewest;
  }

  // Transforms the kernel of the inputs from `first` to `last` and a block's outputs.
  void transform_kernel(int64_t first, int64_t last, int64_t block, T* to) const {
    blocks.with(block, [&](int64_t o, auto vectors) {
      for (int64_t i = first; i < last; ++i) {
        for (int v = 0; v < vectors; ++v) {
          transform_taps(i, o + v * kLanes, to + (i * vectors + v) * kLanes);
        }
      }
    });
  }

  // Transforms the tiles from `first` to `last` of the operand: by product, tile and input.
  void transform_tiles(int64_t first, int64_t last, T* to) const {
    const Axis &rows = shapes.rows, &columns = shapes.columns;
    for (int64_t t = first; t < last; ++t) {
      const int64_t image = t / in_image() * rows.from;
      const int64_t top = t % in_image() / in_row() * 2 + rows.phases[0][0].offset;
      const int64_t left = t % in_row() * 2 + columns.phases[0][0].offset;
      const T* pixels[4][4];
      for (int r = 0; r < 4; ++r) {
        for (int c = 0; c < 4; ++c) {
          const int64_t y = top + r, x = left + c;
          const bool inside = y >= 0 && y < rows.from && x >= 0 && x < columns.from;
          pixels[r][c] =
              inside ? operand + ((image + y) * columns.from + x) * inputs() : zeros;
        }
      }
      T* const tile = to + (t - first) * inputs();
      const int64_t apart = tiles_size(last - first);
      for (int64_t i = 0; i < inputs(); i += kLanes) {
        const int64_t channel = std::min(i, inputs() - kLanes);
        V sums[4][4];
        for (int c = 0; c < 4; ++c) {
          V column[4];
          for (int r = 0; r < 4; ++r) column[r] = load<V>(pixels[r][c] + channel);
          sums[0][c] = column[0] - column[2];
          sums[1][c] = column[1] + column[2];
          sums[2][c] = column[2] - column[1];
          sums[3][c] = column[1] - column[3];
        }
        for (int r = 0; r < 4; ++r) {
          const V* row = sums[r];
          T* const at = tile + 4 * r * apart + channel;
          store(at, row[0] - row[2]);
          store(at + apart, row[1] + row[2]);
          store(at + 2 * apart, row[2] - row[1]);
          store(at + 3 * apart, row[1] - row[3]);
        }
      }
    }
  }

  // Computes the results of the tiles from `first` to `last` for some blocks of outputs, whose
  // transformed kernels `weights_of(block)` returns.
  template <typename F>
  void compute(int64_t first, int64_t last, std::pair<int64_t, int64_t> some,
               const F& weights_of) const {
    const int64_t count = last - first;
    const auto tiles = make_buffer<T>({kProducts, tiles_size(count)});
    transform_tiles(first, last, tiles.get());
    const auto sums = make_buffer<V>({kProducts, (count + 2 * kPixels) * kVectors});
    for (int64_t block = some.first; block < some.second; ++block) {
      const T* const weights = weights_of(block);
      blocks.with(block, [&](int64_t o, auto vectors) {
        with_pixels<T, vectors>(count, [&](auto width) {
          const int64_t cells = ceil_div(count, width);
          using Cell = V[decltype(width)::value][decltype(vectors)::value];
          Cell* const products = reinterpret_cast<Cell*>(sums.get());
          for (int p = 0; p < kProducts; ++p) {
            for (int64_t cell = 0; cell < cells; ++cell) {
              const int64_t tile = std::min<int64_t>(cell * width, count - width);
              const T* const from = tiles.get() + p * tiles_size(count) + tile * inputs();
              multiply_all(products[p * cells + cell], from, weights + p * weights_size(inputs()));
            }
          }
          for (int64_t cell = 0; cell < cells; ++cell) {
            const int64_t tile = first + std::min<int64_t>(cell * width, count - width);
            for (int w = 0; w < width; ++w) {
              store_tile<vectors>(tile + w, o,
                                  [&](int p, int v) { return products[p * cells + cell][w][v]; });
            }
          }
        });
      });
    }
  }

 private:
  // Transforms the taps of an input and of the outputs from `o` on, product by product.
  void transform_taps(int64_t i, int64_t o, T* to) const {
    const auto &rows = shapes.rows.phases[0], &columns = shapes.columns.phases[0];
    V halves[4][3];
    for (int c = 0; c < 3; ++c) {
      V taps[3];
      for (int r = 0; r < 3; ++r) {
        const int64_t tap = rows[r].kernel * 3 + columns[c].kernel;
        taps[r] = load<V>(kernel + (tap * inputs() + i) * blocks.outputs + o);
      }
      filter(taps[0], taps[1], taps[2], halves, c);
    }
    for (int r = 0; r < 4; ++r) {
      V products[4][1];
      filter(halves[r][0], halves[r][1], halves[r][2], products, 0);
      for (int c = 0; c < 4; ++c) {
        store(to + (4 * r + c) * weights_size(inputs()), products[c][0]);
      }
    }
  }

  // Three taps at four points.
  template <int Columns>
  static void filter(V a, V b, V c, V (&to)[4][Columns], int column) {
    const V outer = (a + c) * T(0.5), inner = b * T(0.5);
    to[0][column] = a;
    to[1][column] = outer + inner;
    to[2][column] = outer - inner;
    to[3][column] = c;
  }

  template <int Width, int Vectors>
  void multiply_all(V (&sums)[Width][Vectors], const T* from, const T* panel) const {
    constexpr int64_t kOutputs = Vectors * kLanes;
    for (int64_t i = 0; i < inputs(); i += kTogether) {
      multiply(sums, from + i, inputs(), panel + i * kOutputs, std::min(kTogether, inputs() - i),
               kOutputs, i == 0);
    }
  }

  // Stores the 2x2 results, those that there are, of one tile.
  template <int Vectors, typename F>
  void store_tile(int64_t tile, int64_t o, const F& product) const {
    V results[2][2][Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      V rows[2][4];
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) {
        const V a = product(c, v), b = product(4 + c, v), d = product(8 + c, v);
        rows[0][c] = a + (b + d);
        rows[1][c] = (b - d) - product(12 + c, v);
      }
      for (int r = 0; r < 2; ++r) {
        results[r][0][v] = rows[r][0] + (rows[r][1] + rows[r][2]);
        results[r][1][v] = (rows[r][1] - rows[r][2]) - rows[r][3];
      }
    }
    const int64_t height = shapes.rows.to, width = shapes.columns.to;
    const int64_t top = tile % in_image() / in_row() * 2, left = tile % in_row() * 2;
    for (int r = 0; r < 2 && top + r < height; ++r) {
      for (int c = 0; c < 2 && left + c < width; ++c) {
        const int64_t pixel = (tile / in_image() * height + top + r) * width + left + c;
        after.template store_all<kLanes>(result, pixel * blocks.outputs + o, kLanes, o, kLanes,
                                         results[r][c]);
      }
    }
  }
};

// Each thread transforms the kernel of its outputs, a block at a time, which its cache holds.
template <typename T>
void winograd_by_outputs(ffi::ThreadPool& threads, const Winograd<T>& all, int64_t tiles) {
  const int64_t spans = size(threads);
  parallel_for(threads, spans, [&](int64_t i) {
    const auto weights = make_buffer<T>({all.block_size()});
    all.compute(0, tiles, all.blocks.span(i, spans), [&](int64_t block) {
      all.transform_kernel(0, all.inputs(), block, weights.get());
      return weights.get();
    });
  });
}

// The threads share the kernel's transform, then bands of tiles and blocks of outputs.
template <typename T>
void winograd_by_tiles(ffi::ThreadPool& threads, const Winograd<T>& all, int64_t tiles) {
  constexpr int64_t kMost = 4, kInputs = 16;  // cells of a band; inputs of a task
  const int64_t inputs = all.inputs(), enough = 2 * size(threads), cells = ceil_div(tiles, kPixels);
  const auto weights = make_buffer<T>({all.blocks.count, all.block_size()});
  auto weights_of = [&](int64_t block) { return weights.get() + block * all.block_size(); };
  const int64_t spans = std::min(all.blocks.tasks, ceil_div(enough, ceil_div(cells, kMost)));
  const int64_t least = std::max(ceil_div(cells, kMost), ceil_div(enough, spans));
  const int64_t bands = std::min(cells, ceil_div(least, size(threads)) * size(threads));
  const int64_t parts = ceil_div(inputs, kInputs);
  parallel_stages(threads, {parts, bands * spans}, [&](int64_t stage, int64_t i) {
    if (stage == 0) {
      for (int64_t input = inputs * i / parts; input < inputs * (i + 1) / parts; ++input) {
        for (int64_t block = 0; block < all.blocks.count; ++block) {
          all.transform_kernel(input, input + 1, block, weights_of(block));
        }
      }
    } else {
      const int64_t band = i / spans;
      all.compute(cells * band / bands * kPixels,
                  std::min(tiles, cells * (band + 1) / bands * kPixels),
                  all.blocks.span(i % spans, spans), weights_of);
    }
  });
}

template <typename T>
void winograd(ffi::ThreadPool& threads, const Shapes& shapes, const T* operand, const T* kernel,
              T* result, const Epilogue<T>& after) {
  const std::vector<T> zeros(shapes.from_channels);
  const Blocks<T> blocks(shapes.to_channels);
  const Winograd<T> all{shapes, operand, kernel, result, after, zeros.data(), blocks};
  const int64_t tiles = shapes.images * all.in_image();
  // Of few tiles each thread transforms all, which takes less than to read half of the transformed
  // kernel from another core.
  const bool by_outputs = tiles < blocks.outputs && size(threads) <= blocks.tasks;
  return by_outputs ? winograd_by_outputs(threads, all, tiles)
                    : winograd_by_tiles(threads, all, tiles);
}

}  // namespace flaxblocks
