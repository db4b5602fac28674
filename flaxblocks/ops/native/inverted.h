// An inverted residual at inference: expand, depthwise filter, gate, project, add the input.
//
// The wide (expanded) rows are computed when a row of the result first needs them, in a ring buffer
// that stays in a core's cache. Without a gate the filtered rows are projected at once; with one
// they are kept until the means over the image are known.
#pragma once

#include "narrow.h"
#include "pointwise.h"

namespace flaxblocks {

template <typename T>
struct Inverted {
  int64_t images, features;
  Axis rows, columns;  // the columns include their padding
  int64_t width, left;  // in pixels: of a row of the image, and of the padding before it
  Layer<T> expand;  // absent where nothing expands: the wide array is the image
  const T* kernel;
  int64_t hidden;
  Epilogue<T> after;  // of the depthwise filter
  Layer<T> squeeze, excite;  // absent where there is no gate
  Layer<T> project;
  bool residual;
  const T* x;
  T* y;

  int64_t pixels() const { return rows.to * columns.to; }
  const T* image(int64_t i) const { return x + i * rows.from * width * features; }
  // Rows per step; several for small images, so that the weights are read once for all of them.
  int64_t step() const { return std::min(rows.to, ceil_div(8 * kPixels, columns.to)); }
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
    auto from = [&](int64_t row) {
      return image + (next_ + row) * block_.width * block_.features;
    };
    auto to = [&](int64_t row) {
      return data_.get() + offset(next_ + row) + block_.left * apart_;
    };
    const int64_t count = last - next_;
    if (block_.expand.weights) {
      pointwise(block_.expand, count, block_.width, apart_, from, to);
    } else {
      for (int64_t row = 0; row < count; ++row) {
        for (int64_t p = 0; p < block_.width; ++p) {
          std::copy_n(from(row) + p * block_.hidden, block_.hidden, to(row) + p * apart_);
        }
      }
    }
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
  Ring<T> ring(block);
  ring.start(first * block.rows.step + taps.front().offset);
  std::vector<RowTap> met;
  for (int64_t begin = first, end; begin < last; begin = end) {
    end = std::min(begin + block.step(), last);
    ring.fill(image, std::min((end - 1) * block.rows.step + taps.back().offset + 1,
                              block.rows.from));
    for (int64_t row = begin; row < end; ++row) {
      met.clear();
      for (const Axis::Tap& tap : taps) {
        const int64_t at = row * block.rows.step + tap.offset;
        if (at < 0 || at >= block.rows.from) continue;
        met.push_back({ring.offset(at), tap.kernel * block.columns.taps * block.hidden});
      }
      narrow_runs<1, kNarrow<T, 1>>(NarrowRow<T>{ring.data(), block.kernel, to(row), met,
                                                  block.columns, 0, block.hidden, 0, ring.apart(),
                                                  block.after});
    }
    done(begin, end);
  }
}

// Projects the rows of an image from `first` to `last`, stored at `from`.
template <typename T>
void project(const Inverted<T>& block, int64_t i, int64_t first, int64_t last, const T* from) {
  Layer<T> layer = block.project;
  const int64_t start = (i * block.pixels() + first * block.columns.to) * layer.outputs;
  T* to = block.y + start;
  if (block.residual) layer.after.residual = block.x + start;
  pointwise(layer, 1, (last - first) * block.columns.to, layer.outputs, [&](int64_t) { return from; },
            [&](int64_t) { return to; });
}

// The product of a 1x1 convolution's weights with a single pixel.
template <typename T>
std::vector<T> product(const Layer<T>& layer, const std::vector<T>& x) {
  std::vector<T> y(layer.after.bias, layer.after.bias + layer.outputs);
  for (int64_t i = 0; i < layer.inputs; ++i) {
    const T* weights = layer.weights + i * layer.outputs;
    for (int64_t o = 0; o < layer.outputs; ++o) y[o] += x[i] * weights[o];
  }
  for (T& value : y) {
    Vector<T, 1> one[1] = {{value}};
    activate<T, 1>(layer.after.activation, one);
    value = one[0][0];
  }
  return y;
}

// The rows of all images split into bands, about one per thread.
struct Bands {
  int64_t rows, in_image;

  Bands(int64_t rows, int64_t images, int64_t threads)
      : rows(rows), in_image(std::min(ceil_div(threads, images), rows)) {}

  // Calls `f` with the band's image, its first row and the row after its last.
  template <typename F>
  void at(int64_t i, const F& f) const {
    const int64_t band = i % in_image;
    f(i / in_image, rows * band / in_image, rows * (band + 1) / in_image);
  }
};

template <typename T>
void without_gate(ffi::ThreadPool& threads, const Inverted<T>& block) {
  const int64_t row_size = block.columns.to * block.hidden;
  const Bands bands(block.rows.to, block.images, size(threads));
  parallel_for(threads, block.images * bands.in_image, [&](int64_t index) {
    bands.at(index, [&](int64_t i, int64_t first, int64_t last) {
      const auto wide = make_buffer<T>({block.step(), row_size});
      int64_t begin = first;
      auto to = [&](int64_t row) { return wide.get() + (row - begin) * row_size; };
      filter(block, block.image(i), first, last, to, [&](int64_t, int64_t end) {
        project(block, i, begin, end, wide.get());
        begin = end;
      });
    });
  });
}

// The filtered rows of as many images as there are threads, with the sums for their gates.
template <typename T>
class Gated {
 public:
  Gated(const Inverted<T>& block, int64_t images)
      : block_(block),
        row_size_(block.columns.to * block.hidden),
        wide_(make_buffer<T>({images, block.rows.to, row_size_})),
        sums_(make_buffer<T>({images, block.rows.to, block.hidden})) {}

  // Filters rows of one image and sums each row by itself, so that sums do not depend on the bands.
  void filter_rows(const T* image, int64_t slot, int64_t first, int64_t last) {
    auto to = [&](int64_t row) { return at(slot, row); };
    filter(block_, image, first, last, to, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        T* sum = sum_of(slot, row);
        std::fill_n(sum, block_.hidden, T(0));
        for (int64_t p = 0; p < block_.columns.to; ++p) {
          for (int64_t c = 0; c < block_.hidden; ++c) sum[c] += at(slot, row)[p * block_.hidden + c];
        }
      }
    });
  }

  // Projects rows of one image; all of its rows must have been filtered.
  void project_rows(int64_t i, int64_t slot, int64_t first, int64_t last) const {
    std::vector<T> mean(block_.hidden);
    for (int64_t row = 0; row < block_.rows.to; ++row) {
      for (int64_t c = 0; c < block_.hidden; ++c) mean[c] += sum_of(slot, row)[c];
    }
    for (T& value : mean) value /= static_cast<T>(block_.pixels());
    const std::vector<T> gate = product(block_.excite, product(block_.squeeze, mean));
    const auto scaled = make_buffer<T>({block_.step(), row_size_});
    for (int64_t begin = first, end; begin < last; begin = end) {
      end = std::min(begin + block_.step(), last);
      const T* from = at(slot, begin);
      for (int64_t p = 0; p < (end - begin) * row_size_; p += block_.hidden) {
        for (int64_t c = 0; c < block_.hidden; ++c) scaled[p + c] = from[p + c] * gate[c];
      }
      project(block_, i, begin, end, scaled.get());
    }
  }

 private:
  T* at(int64_t slot, int64_t row) const {
    return wide_.get() + (slot * block_.rows.to + row) * row_size_;
  }
  T* sum_of(int64_t slot, int64_t row) const {
    return sums_.get() + (slot * block_.rows.to + row) * block_.hidden;
  }

  const Inverted<T>& block_;
  int64_t row_size_;
  Buffer<T> wide_, sums_;
};

// Processes as many images at a time as there are threads, so that filtered rows stay in the cache.
template <typename T>
void with_gate(ffi::ThreadPool& threads, const Inverted<T>& block) {
  const int64_t most = std::min(block.images, size(threads));
  Gated<T> gated(block, most);
  std::vector<Bands> bands;
  std::vector<int64_t> counts;
  for (int64_t start = 0; start < block.images; start += most) {
    const int64_t images = std::min(most, block.images - start);
    bands.emplace_back(block.rows.to, images, size(threads));
    counts.insert(counts.end(), 2, images * bands.back().in_image);
  }
  parallel_stages(threads, counts, [&](int64_t stage, int64_t index) {
    bands[stage / 2].at(index, [&](int64_t slot, int64_t first, int64_t last) {
      const int64_t i = stage / 2 * most + slot;
      if (stage % 2 == 0) {
        gated.filter_rows(block.image(i), slot, first, last);
      } else {
        gated.project_rows(i, slot, first, last);
      }
    });
  });
}

}  // namespace flaxblocks
