// An inverted residual in stages: its wide array filtered, its gate, its projection.
//
// A gate needs the means of all filtered rows. And the threads share the channels of small images
// rather than their rows: bands of 7 rows would each expand most of the others' rows too, and read
// all of the weights.
#pragma once

#include "gate.h"
#include "inverted.h"

namespace flaxblocks {

// Whether threads share an image's channels: bands of rows, one for each thread, would read more
// weights than they compute numbers, or expand more than a third of the rows twice.
template <typename T>
bool share_channels(const Inverted<T>& block, int64_t threads) {
  const int64_t bands = std::min(threads, block.rows.to);
  return bands > 1 && (block.pixels() < block.features ||
                       3 * (bands - 1) * (block.rows.taps - 1) > block.rows.to);
}

// The filtered rows of as many images as there are threads, so that they stay in the cache.
template <typename T>
class Stages {
 public:
  Stages(const Inverted<T>& block, int64_t threads)
      : block_(block),
        most_(std::min(block.images, threads)),
        shares_(ceil_div(threads, most_)),
        by_channels_(share_channels(block, shares_)),
        wide_(make_buffer<T>({most_, block.pixels(), block.hidden})) {
    for (int64_t i = 0; has_gate() && i < most_; ++i) {
      excitations_.emplace_back(block.squeeze, block.excite, block.rows.to, block.columns.to);
    }
  }

  // The stages' numbers of tasks, for `most_` images after the other.
  std::vector<int64_t> counts() const {
    std::vector<int64_t> counts;
    for (int64_t first = 0; first < block_.images; first += most_) {
      const int64_t tasks = std::min(most_, block_.images - first) * shares_;
      const int64_t gate = has_gate() ? tasks : 0;
      counts.insert(counts.end(), {tasks, gate, gate, tasks});
    }
    return counts;
  }

  void run(int64_t stage, int64_t task) {
    const int64_t slot = task / shares_, share = task % shares_;
    const int64_t image = stage / kStages * most_ + slot;
    switch (stage % kStages) {
      case 0: return filter_share(image, slot, share);
      case 1: return excitations_[slot].squeeze(share, shares_);
      case 2: return excite(slot, share);
      default: return by_channels_ ? project_channels(image, slot, share)
                                   : project_rows(image, slot, share);
    }
  }

 private:
  static constexpr int64_t kStages = 4;

  bool has_gate() const { return block_.squeeze.weights; }
  T* pixel(int64_t slot, int64_t i) const {
    return wide_.get() + (slot * block_.pixels() + i) * block_.hidden;
  }
  // A thread's share of channels, in whole vectors but for the last.
  Channels channels(int64_t all, int64_t share) const {
    constexpr int64_t kLanes = Blocks<T>::kLanes;
    const int64_t vectors = all / kLanes;
    return {vectors * share / shares_ * kLanes,
            share + 1 == shares_ ? all : vectors * (share + 1) / shares_ * kLanes};
  }
  std::pair<int64_t, int64_t> rows(int64_t share) const {
    return {block_.rows.to * share / shares_, block_.rows.to * (share + 1) / shares_};
  }

  void filter_share(int64_t i, int64_t slot, int64_t share) {
    const Channels some =
        by_channels_ ? channels(block_.hidden, share) : Channels{0, block_.hidden};
    const auto [first, last] = by_channels_ ? std::pair{int64_t{0}, block_.rows.to} : rows(share);
    if (some.count() == 0) return;
    const Inverted<T> part = block_.slice(some.first, some.last);
    const int64_t columns = block_.columns.to;
    auto to = [&](int64_t row) { return pixel(slot, row * columns) + some.first; };
    filter(part, part.image(i), first, last, to, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end && has_gate(); ++row) {
        sum_row(to(row), columns, block_.hidden, part.hidden,
                excitations_[slot].row(row) + some.first);
      }
    });
  }

  void excite(int64_t slot, int64_t share) {
    const Channels some = channels(block_.hidden, share);
    excitations_[slot].excite(some);
    if (by_channels_) scale_pixels(slot, 0, block_.pixels(), some);
  }

  void scale_pixels(int64_t slot, int64_t first, int64_t count, Channels some) const {
    T* const from = pixel(slot, first);
    scale(from, count, block_.hidden, some, excitations_[slot].factors(), from);
  }

  void project_rows(int64_t i, int64_t slot, int64_t share) {
    const auto [begin, end] = rows(share);
    const int64_t last = end * block_.columns.to;
    for (int64_t first = begin * block_.columns.to; first < last; first += kStep) {
      const int64_t count = std::min(kStep, last - first);
      if (has_gate()) scale_pixels(slot, first, count, {0, block_.hidden});
      project(block_, i, first, count, pixel(slot, first), {0, block_.project.outputs});
    }
  }

  void project_channels(int64_t i, int64_t slot, int64_t share) {
    const Channels some = channels(block_.project.outputs, share);
    project(block_, i, 0, block_.pixels(), pixel(slot, 0), some);
  }

  const Inverted<T>& block_;
  int64_t most_, shares_;  // images at a time, and threads that share one
  bool by_channels_;
  Buffer<T> wide_;
  std::vector<Excitation<T>> excitations_;
};

template <typename T>
void inverted_residual(ffi::ThreadPool& threads, const Inverted<T>& block) {
  const int64_t shares = ceil_div(size(threads), block.images);
  if (!block.squeeze.weights && !share_channels(block, shares)) return in_bands(threads, block);
  Stages<T> stages(block, size(threads));
  parallel_stages(threads, stages.counts(),
                  [&](int64_t stage, int64_t task) { stages.run(stage, task); });
}

}  // namespace flaxblocks
