// An inverted residual at inference: expand, depthwise filter, gate, project, add the input.
//
// The wide (expanded) rows are computed when a row of the result first needs them, in a ring buffer
// that stays in a core's cache. Here each thread takes a band of rows and projects filtered rows at
// once; `inverted_stages.h` keeps them until all are filtered.
#pragma once

#include <optional>

#include "narrow.h"
#include "pointwise.h"

namespace flaxblocks {

// Pixels that are projected together, so that the weights are read once for all of them.
constexpr int64_t kStep = 8 * kPixels;

template <typename T>
struct Inverted {
  int64_t images, features;
  Axis rows, columns;  // the columns of wide rows include their padding
  int64_t width, left;  // in pixels: of a row of the image, and of the padding before it
  Layer<T> expand;  // absent where nothing expands: the wide array is the image
  const T* kernel;
  int64_t hidden, all_hidden;  // wide channels that are computed, and all of the block's
  Epilogue<T> after;           // of the depthwise filter
  Layer<T> squeeze, excite;  // absent where there is no gate
  Layer<T> project;
  bool residual;
  const T* x;
  T* y;

  int64_t pixels() const { return rows.to * columns.to; }
  const T* image(int64_t i) const { return x + i * rows.from * width * features; }
  // The wide channels from `first` to `last` alone.
  Inverted slice(int64_t first, int64_t last) const {
    Inverted part = *this;
    part.hidden = part.expand.outputs = last - first;
    part.kernel += first;
    part.after.bias += first;
    if (expand.weights) {
      part.expand.weights += first;
      part.expand.after.bias += first;
    } else {
      part.x += first;
    }
    return part;
  }
  // Rows per step; several for small images, so that the weights are read once for all of them.
  int64_t step() const { return std::min(rows.to, ceil_div(kStep, columns.to)); }
};

// The ring buffer of wide rows.
template <typename T>
class Ring {
 public:
  explicit Ring(const Inverted<T>& block)
      : block_(block),
        slots_((block.step() - 1) * block.rows.step + block.rows.phases[0].back().offset -
               block.rows.phases[0].front().offset + 1),
        apart_(pixel(block.hidden)),
        size_(product_of({block.columns.from, apart_})),
        data_(make_buffer<T>({slots_, size_})) {
    std::fill_n(data_.get(), slots_ * size_, T(0));  // the padding stays zero
  }

  // Computes the rows from `next_` to `last`.
  void fill(const T* image, int64_t last) {
    if (next_ >= last) return;
    pointwise(
        block_.expand, last - next_, block_.width, apart_,
        [&](int64_t row) { return image + (next_ + row) * block_.width * block_.features; },
        [&](int64_t row) { return data_.get() + offset(next_ + row) + block_.left * apart_; });
    next_ = last;
  }

  void start(int64_t row) { next_ = std::max(row, int64_t{0}); }
  int64_t offset(int64_t row) const { return row % slots_ * size_; }
  int64_t apart() const { return apart_; }
  const T* data() const { return data_.get(); }

 private:
  // An odd number of cache lines, so that neighboring pixels do not share sets of the cache.
  static int64_t pixel(int64_t channels) {
    constexpr int64_t kLine = 64 / sizeof(T);
    return (ceil_div(channels, kLine) | 1) * kLine;
  }

  const Inverted<T>& block_;
  int64_t slots_, apart_, size_, next_ = 0;
  Buffer<T> data_;
};

// Filters the rows of one image from `first` to `last`. `to(row)` returns where a row is stored,
// and `done(begin, end)` is called for each group of finished rows.
template <typename T, typename To, typename Done>
void filter(const Inverted<T>& block, const T* image, int64_t first, int64_t last, const To& to,
            const Done& done) {
  const auto& taps = block.rows.phases[0];
  std::optional<Ring<T>> ring;
  if (block.expand.weights) {
    ring.emplace(block);
    ring->start(first * block.rows.step + taps.front().offset);
  }
  std::vector<RowTap> met;
  const int64_t parts = parts_in_cache<T>(block.rows, block.columns, block.hidden);
  for (int64_t begin = first, end; begin < last; begin = end) {
    end = std::min(begin + block.step(), last);
    const int64_t needed = (end - 1) * block.rows.step + taps.back().offset + 1;
    if (ring) ring->fill(image, std::min(needed, block.rows.from));
    for (int64_t part = 0; part < parts; ++part) {
      for (int64_t row = begin; row < end; ++row) {
        met.clear();
        for (const Axis::Tap& tap : taps) {
          const int64_t at = row * block.rows.step + tap.offset;
          if (at < 0 || at >= block.rows.from) continue;
          const int64_t offset = ring ? ring->offset(at) : at * block.width * block.features;
          met.push_back({offset, tap.kernel * block.columns.taps * block.all_hidden});
        }
        narrow_runs<1, kNarrow<T, 1>>(
            NarrowRow<T>{ring ? ring->data() : image, block.kernel, to(row), met, block.columns, 0,
                         block.all_hidden, block.hidden, 0, ring ? ring->apart() : block.features,
                         block.after}
                .slice(part_of<T>(block.hidden, part, parts)));
      }
    }
    done(begin, end);
  }
}

// Projects pixels of image i, `count` from `first` on, stored at `from`, to some of the outputs.
template <typename T>
void project(const Inverted<T>& block, int64_t i, int64_t first, int64_t count, const T* from,
             Channels some) {
  const int64_t outputs = block.project.outputs;
  const int64_t start = (i * block.pixels() + first) * outputs + some.first;
  Layer<T> layer = block.project;
  layer.outputs = some.count();
  layer.weights += some.first;
  layer.after.bias += some.first;
  if (block.residual) layer.after.residual = block.x + start;
  if (some.count() == 0) return;
  pointwise(layer, 1, count, outputs, [&](int64_t) { return from; },
            [&](int64_t) { return block.y + start; });
}

// Computes a block without a gate, a band of rows at a time.
template <typename T>
void in_bands(ffi::ThreadPool& threads, const Inverted<T>& block) {
  const int64_t row_size = block.columns.to * block.hidden, rows = block.rows.to;
  const int64_t bands = std::min(ceil_div(size(threads), block.images), rows);
  parallel_for(threads, block.images * bands, [&](int64_t index) {
    const int64_t i = index / bands, band = index % bands;
    const auto wide = make_buffer<T>({block.step(), row_size});
    int64_t begin = rows * band / bands;
    auto to = [&](int64_t row) { return wide.get() + (row - begin) * row_size; };
    filter(block, block.image(i), begin, rows * (band + 1) / bands, to, [&](int64_t, int64_t end) {
      project(block, i, begin * block.columns.to, (end - begin) * block.columns.to, wide.get(),
              {0, block.project.outputs});
      begin = end;
    });
  });
}

}  // namespace flaxblocks
