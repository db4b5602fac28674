// An inverted residual in stages: its wide array filtered, its gate, its projection.
//
// A gate needs the means of all filtered rows. And the threads share the channels of small images
// rather than their rows: bands of 7 rows would each expand most of the others' rows too, and read
// all of the weights.
#pragma once

#include "gate.h"
#include "inverted.h"

namespace flaxblocks {

// The filtered rows of as many images as there are threads, so that they stay in the cache.
template <typename T>
class Stages {
 public:
  Stages(const Inverted<T>& block, int64_t threads)
      : block_(block),
        threads_(threads),
        most_(std::min(block.images, threads)),
        wide_(make_buffer<T>({most_, block.pixels(), block.hidden})),
        sums_(make_buffer<T>({most_, block.rows.to, block.hidden})),
        gates_(make_buffer<T>({most_, block.hidden})) {}

  // The stages' numbers of tasks, for `most_` images after the other.
  std::vector<int64_t> counts() const {
    std::vector<int64_t> counts;
    for (int64_t first = 0; first < block_.images; first += most_) {
      const Split split(*this, std::min(most_, block_.images - first));
      counts.push_back(split.images * split.bands * split.slices);
      counts.push_back(has_gate() ? split.images : 0);
      counts.push_back(split.images * split.pieces);
    }
    return counts;
  }

  void run(int64_t stage, int64_t task) {
    const int64_t first = stage / 3 * most_;
    const Split split(*this, std::min(most_, block_.images - first));
    if (stage % 3 == 0) {
      const int64_t slot = task / (split.bands * split.slices);
      const int64_t band = task / split.slices % split.bands;
      filter_part(first + slot, slot, band, task % split.slices, split);
    } else if (stage % 3 == 1) {
      compute_gate(task);
    } else {
      const int64_t slot = task / split.pieces;
      project_piece(first + slot, slot, task % split.pieces, split.pieces);
    }
  }

 private:
  // How the threads share some images: bands of rows by slices of channels, then pieces of pixels.
  struct Split {
    int64_t images, slices, bands, pieces;

    Split(const Stages& of, int64_t images) : images(images) {
      constexpr int64_t kLeast = kVectors / 2 * Blocks<T>::kLanes;
      const int64_t threads = ceil_div(of.threads_, images);
      slices = std::clamp<int64_t>(of.block_.hidden / kLeast, 1, 2 * threads);
      bands = std::min(ceil_div(threads, slices), of.block_.rows.to);
      pieces = threads * std::clamp<int64_t>(of.block_.pixels() / (threads * kStep), 1, 4);
      pieces = std::min(pieces, of.block_.pixels());
    }
  };

  bool has_gate() const { return block_.squeeze.weights; }
  T* pixel(int64_t slot, int64_t i) const {
    return wide_.get() + (slot * block_.pixels() + i) * block_.hidden;
  }
  T* sum(int64_t slot, int64_t row) const {
    return sums_.get() + (slot * block_.rows.to + row) * block_.hidden;
  }
  T* gate(int64_t slot) const { return gates_.get() + slot * block_.hidden; }

  // Sums each row by itself, so that sums do not depend on the bands.
  void filter_part(int64_t i, int64_t slot, int64_t band, int64_t slice, const Split& split) {
    constexpr int64_t kLanes = Blocks<T>::kLanes;
    const int64_t columns = block_.columns.to, rows = block_.rows.to;
    const int64_t vectors = block_.hidden / kLanes, hidden = block_.hidden;
    const int64_t first = vectors * slice / split.slices * kLanes;
    const int64_t last =
        slice + 1 == split.slices ? hidden : vectors * (slice + 1) / split.slices * kLanes;
    const Inverted<T> part = block_.slice(first, last);
    auto to = [&](int64_t row) { return pixel(slot, row * columns) + first; };
    filter(part, part.image(i), rows * band / split.bands, rows * (band + 1) / split.bands, to,
           [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end && has_gate(); ++row) {
        T* const sums = sum(slot, row) + first;
        std::fill_n(sums, part.hidden, T(0));
        for (int64_t p = 0; p < columns; ++p) {
          const T* const from = to(row) + p * hidden;
          for (int64_t c = 0; c < part.hidden; ++c) sums[c] += from[c];
        }
      }
    });
  }

  void compute_gate(int64_t slot) {
    std::vector<T> mean(block_.hidden);
    for (int64_t row = 0; row < block_.rows.to; ++row) {
      for (int64_t c = 0; c < block_.hidden; ++c) mean[c] += sum(slot, row)[c];
    }
    for (T& value : mean) value /= static_cast<T>(block_.pixels());
    std::vector<T> squeezed(block_.squeeze.outputs);
    product(block_.squeeze, mean.data(), 0, block_.squeeze.outputs, squeezed.data());
    product(block_.excite, squeezed.data(), 0, block_.hidden, gate(slot));
  }

  void project_piece(int64_t i, int64_t slot, int64_t piece, int64_t pieces) {
    const int64_t last = block_.pixels() * (piece + 1) / pieces;
    for (int64_t first = block_.pixels() * piece / pieces; first < last; first += kStep) {
      const int64_t count = std::min(kStep, last - first);
      for (int64_t p = 0; p < count && has_gate(); ++p) {
        T* const to = pixel(slot, first + p);
        for (int64_t c = 0; c < block_.hidden; ++c) to[c] *= gate(slot)[c];
      }
      project(block_, i, first, count, pixel(slot, first));
    }
  }

  const Inverted<T>& block_;
  int64_t threads_, most_;
  Buffer<T> wide_, sums_, gates_;
};

// Whether bands of rows, one for each thread, are so short that more than an eighth of what each
// expands would be its neighbors'.
template <typename T>
bool is_small(const Inverted<T>& block, int64_t threads) {
  const int64_t bands = ceil_div(threads, block.images);
  return bands > 1 && block.rows.to < 8 * bands * (block.rows.taps - 1);
}

template <typename T>
void inverted_residual(ffi::ThreadPool& threads, const Inverted<T>& block) {
  if (!block.squeeze.weights && !is_small(block, size(threads))) return in_bands(threads, block);
  Stages<T> stages(block, size(threads));
  parallel_stages(threads, stages.counts(),
                  [&](int64_t stage, int64_t task) { stages.run(stage, task); });
}

}  // namespace flaxblocks
