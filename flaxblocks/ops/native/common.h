// Shared by all kernels: vectors, and which input positions an output position reads.
#pragma once

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 12
#error "flaxblocks' kernels need GCC 12 or newer, or clang 14 or newer: __builtin_shufflevector"
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace flaxblocks {

namespace ffi = xla::ffi;

#if defined(__AVX512F__)
constexpr int kRegister = 64;  // bytes
#elif defined(__AVX__)
constexpr int kRegister = 32;
#else
constexpr int kRegister = 16;
#endif
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif

// Lanes of the vectors that small groups are computed in: a register, or a whole group. Wider ones
// GCC takes apart into single numbers where it compares and shuffles.
template <typename T, int Group>
constexpr int kNarrow = std::max<int>(Group, kRegister / sizeof(T));

// A vector of N numbers; the compiler uses several registers where one is too short.
template <typename T, int N>
struct VectorOf {
  typedef T Type __attribute__((vector_size(N * sizeof(T))));
};
template <typename T, int N>
using Vector = typename VectorOf<T, N>::Type;

template <typename V, typename T>
inline V load(const T* from) {
  V v;
  std::memcpy(&v, from, sizeof(V));
  return v;
}

template <typename V, typename T>
inline void store(T* to, V v) {
  std::memcpy(to, &v, sizeof(V));
}

// Forces a vector to stay in its register. GCC reloads it for each product otherwise: two loads
// for each multiply-add.
template <typename V>
inline void keep(V& v) {
#if defined(__x86_64__)
  if constexpr (sizeof(V) == kRegister) asm("" : "+v"(v));
#endif
}

// Memory that a thread gave back and takes again. The allocator's own is behind a lock that threads
// share, for which they slept twenty times in a MobileNetV3 of one image.
class Scratch {
 public:
  struct Block {
    void* memory;
    size_t bytes;
  };

  static Scratch& mine() {
    thread_local Scratch scratch;
    return scratch;
  }

  ~Scratch() {
    for (const Block& block : free_) release(block.memory);
  }

  // Takes the smallest block that is large enough, and not much too large.
  Block take(size_t bytes) {
    auto best = free_.end();
    for (auto block = free_.begin(); block != free_.end(); ++block) {
      if (block->bytes < bytes || block->bytes > kSlack * bytes) continue;
      if (best == free_.end() || block->bytes < best->bytes) best = block;
    }
    if (best == free_.end()) return {::operator new(bytes, std::align_val_t(kLine)), bytes};
    const Block taken = *best;
    held_ -= taken.bytes;
    free_.erase(best);
    return taken;
  }

  // Keeps a block in place of those that were given back first.
  void give(Block block) {
    if (block.bytes > kMost) return release(block.memory);
    while (held_ + block.bytes > kMost || free_.size() == free_.capacity()) {
      held_ -= free_.front().bytes;
      release(free_.front().memory);
      free_.erase(free_.begin());
    }
    free_.push_back(block);
    held_ += block.bytes;
  }

 private:
  static constexpr size_t kLine = 64, kBlocks = 32, kMost = 64 << 20;
  // Memory is checked to its last byte where the compiler adds checks.
#if defined(__SANITIZE_ADDRESS__)
  static constexpr size_t kSlack = 1;
#else
  static constexpr size_t kSlack = 2;
#endif

  Scratch() { free_.reserve(kBlocks); }
  static void release(void* memory) { ::operator delete(memory, std::align_val_t(kLine)); }

  std::vector<Block> free_;  // the one given back first comes first
  size_t held_ = 0;
};

// The product of sizes, none negative, of what is to be allocated.
inline int64_t product_of(std::initializer_list<int64_t> sizes) {
  int64_t product = 1;
  for (int64_t size : sizes) {
    if (__builtin_mul_overflow(product, size, &product)) throw std::bad_alloc();
  }
  return product;
}

struct GiveBack {
  size_t bytes;
  void operator()(void* memory) const { Scratch::mine().give({memory, bytes}); }
};
template <typename T>
using Buffer = std::unique_ptr<T[], GiveBack>;

// Uninitialized memory aligned to a cache line: a vector that straddles two lines takes two loads.
template <typename T>
inline Buffer<T> make_buffer(std::initializer_list<int64_t> sizes) {
  const size_t bytes = static_cast<size_t>(product_of(sizes)) * sizeof(T);
  const Scratch::Block block = Scratch::mine().take(bytes);
  return Buffer<T>(static_cast<T*>(block.memory), GiveBack{block.bytes});
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A range of channels.
struct Channels {
  int64_t first, last;

  int64_t count() const { return last - first; }
};

// One of `parts` parts of some channels, which share no cache lines.
template <typename T>
Channels part_of(int64_t channels, int64_t part, int64_t parts) {
  constexpr int64_t kLine = 64 / sizeof(T);
  const int64_t lines = ceil_div(channels, kLine);
  return {lines * part / parts * kLine, std::min(channels, lines * (part + 1) / parts * kLine)};
}

// Calls `f` with `value`, from 1 to Most, as a compile-time constant.
template <int Most, typename F>
inline void with_constant(int64_t value, F&& f) {
  if constexpr (Most > 1) {
    if (value < Most) return with_constant<Most - 1>(value, f);
  }
  f(std::integral_constant<int, Most>());
}

// Calls `f` with the one of `Widths`, as a compile-time constant, whose blocks cover `count` with
// the least work, given that the last block overlaps the one before it. The last of `Widths` must
// be 1.
template <int... Widths, typename F>
inline void with_width(int64_t count, int64_t unit, F&& f) {
  int64_t best = 0, least = INT64_MAX;
  for (int64_t width : {Widths...}) {
    // A block costs its units plus an overhead of about one unit.
    const int64_t work = ceil_div(count, width * unit) * (width + 1);
    if (width * unit <= count && work < least) best = width, least = work;
  }
  bool found = false;  // `Widths` may contain a width twice
  ((found || Widths != best ? void() : (found = true, f(std::integral_constant<int, Widths>()))),
   ...);
}

// How one axis of the result reads the same axis of the operand.
//
// Position `phase + m * phases` of the result reads position `m * step + offset` of the operand,
// for the offset of each tap of its phase. A convolution has one phase and its stride as the step;
// the gradient with respect to the input has as many phases as the stride has pixels, and a step of
// 1.
struct Axis {
  struct Tap {
    int64_t kernel, offset;
  };
  int64_t from, to, taps;  // sizes of operand, result and kernel
  int64_t step;
  std::vector<std::vector<Tap>> phases;

  Axis(int64_t from, int64_t to, int64_t taps, int64_t stride, int64_t low, int64_t dilation,
       bool transposed)
      : from(from),
        to(to),
        taps(taps),
        step(transposed ? 1 : stride),
        phases(transposed ? stride : 1) {
    for (int64_t phase = 0; phase < count(); ++phase) {
      for (int64_t t = 0; t < taps; ++t) {
        const int64_t offset = transposed ? phase + low - t * dilation : t * dilation - low;
        if (!transposed || offset % stride == 0) {
          phases[phase].push_back({t, transposed ? offset / stride : offset});
        }
      }
      if (transposed) std::reverse(phases[phase].begin(), phases[phase].end());
    }
  }

  int64_t count() const { return static_cast<int64_t>(phases.size()); }
  // Number of positions of the result in a phase.
  int64_t positions(int64_t phase) const {
    return ceil_div(std::max(to - phase, int64_t{0}), count());
  }
  // Whether the taps of a phase read adjacent numbers of the operand.
  bool are_adjacent(int64_t phase) const {
    const auto& taps = phases[phase];
    for (size_t t = 1; t < taps.size(); ++t) {
      if (taps[t].offset != taps[t - 1].offset + 1) return false;
    }
    return true;
  }
  // How many taps of a phase read numbers one after the other: all of them, or 1.
  int64_t run(int64_t phase) const {
    return are_adjacent(phase) ? static_cast<int64_t>(phases[phase].size()) : 1;
  }
  // Whether all taps of the `width` positions from m on lie within the operand.
  bool inside(int64_t phase, int64_t m, int64_t width) const {
    return std::all_of(phases[phase].begin(), phases[phase].end(), [&](const Tap& tap) {
      return m * step + tap.offset >= 0 && (m + width - 1) * step + tap.offset < from;
    });
  }
};

// The shapes and the axes of one call.
struct Shapes {
  int64_t images, from_channels, to_channels;
  Axis rows, columns;
};

// The offsets of a row of the operand and of the kernel row that it is multiplied with.
struct RowTap {
  int64_t operand, kernel;
};

// Finds the rows that one row of the result is computed from. `weights` is the number of weights in
// a column of the kernel.
inline void meet(const Shapes& shapes, int64_t row, int64_t weights, std::vector<RowTap>& taps) {
  const Axis& rows = shapes.rows;
  taps.clear();
  for (const Axis::Tap& tap : rows.phases[row % rows.count()]) {
    const int64_t at = row / rows.count() * rows.step + tap.offset;
    if (at < 0 || at >= rows.from) continue;
    taps.push_back({at * shapes.columns.from * shapes.from_channels,
                    tap.kernel * shapes.columns.taps * weights});
  }
}

}  // namespace flaxblocks
