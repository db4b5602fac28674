// Depthwise convolution of images in NHWC, for NVIDIA GPUs. One thread computes two neighboring
// channels of a tile of the output, or of the kernel's gradient over some tiles. Sums are float32.
//
// The names in capitals are constants that each compilation defines. TYPE is 0 for float32, 1 for
// bfloat16, 2 for float16. Output `y` meets input `(y * STRIDE + tap * DILATION - LOW) / UP` at
// those taps where that is whole: UP is above 1 in the gradient of a strided convolution's input.

#ifdef __CUDACC__
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
#define INLINE __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#endif

struct Sizes {
  int images, in_h, in_w, out_h, out_w;
  int pairs;             // of channels
  int lanes, groups;     // pairs next to each other, and how many times those
  int tiles_h, tiles_w;  // of an image
  int slots;             // partial sums of the kernel's gradient
};

struct alignas(8) Two {
  float a, b;
};

#if TYPE == 0
using Pair = Two;
INLINE Pair none() { return Two{0, 0}; }
INLINE Two widen(Pair v) { return v; }
INLINE void store(Pair* p, Two v) { *p = v; }
#else
using Pair = unsigned;
INLINE Pair none() { return 0; }
INLINE Two widen(Pair bits) {
  Two v;
#if TYPE == 1
  v.a = __uint_as_float(bits << 16);
  v.b = __uint_as_float(bits & 0xffff0000u);
#else
  asm("{.reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h;}"
      : "=f"(v.a), "=f"(v.b)
      : "r"(bits));
#endif
  return v;
}
INLINE void store(Pair* p, Two v) {
  unsigned bits;
#if TYPE == 1
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(v.b), "f"(v.a));
#else
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(v.b), "f"(v.a));
#endif
  *p = bits;
}
#endif

INLINE void add(Two& sum, Two x, Two y) {
  sum.a += x.a * y.a;
  sum.b += x.b * y.b;
}

INLINE constexpr int down(int a, int b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

// The input's rows and columns under a tile, counted from that of its first output.
constexpr int kTop = down(-LOW_H, UP_H);
constexpr int kLeft = down(-LOW_W, UP_W);
constexpr int kRows =
    down((ROWS - 1) * STRIDE_H + (TAPS_H - 1) * DILATION_H - LOW_H, UP_H) - kTop + 1;
constexpr int kColumns =
    down((COLUMNS - 1) * STRIDE_W + (TAPS_W - 1) * DILATION_W - LOW_W, UP_W) - kLeft + 1;

struct Tile {
  int image, row, column;
};

INLINE long long pixel(int image, int row, int column, int height, int width) {
  return (image * (long long)height + row) * width + column;
}

// Loads what is inside of an array; the rest is zeros.
template <int Count>
INLINE void load_row(const Pair* from, int image, int row, int first, int height, int width,
                     int pairs, Pair (&to)[Count]) {
  const bool inside = unsigned(row) < unsigned(height);
  from += pixel(image, row, first, height, width) * pairs;
  UNROLL
  for (int s = 0; s < Count; ++s) {
    to[s] = none();
    if (inside && unsigned(first + s) < unsigned(width)) to[s] = *from;
    from += pairs;
  }
}

INLINE void load_input(const Pair* x, const Sizes& n, Tile t, int q, Pair (&to)[kColumns]) {
  load_row(x, t.image, t.row * ROWS * STRIDE_H / UP_H + kTop + q,
           t.column * COLUMNS * STRIDE_W / UP_W + kLeft, n.in_h, n.in_w, n.pairs, to);
}

template <int Count>
INLINE void widen(const Pair (&from)[Count], Two (&to)[Count]) {
  UNROLL
  for (int s = 0; s < Count; ++s) to[s] = widen(from[s]);
}

// Whether row `r` of a tile and row `q` of the input under it meet at row `i` of the kernel.
INLINE constexpr bool meet(int r, int i, int q) {
  return r * STRIDE_H + i * DILATION_H - LOW_H == (q + kTop) * UP_H;
}

INLINE constexpr int offset(int t, int j) {
  return t * STRIDE_W + j * DILATION_W - LOW_W - kLeft * UP_W;
}

// Calls `visit(r, i, in)` wherever row `r` of a tile meets row `in` of the input at the kernel's row
// `i`. The next row of the input is on its way while one is used.
template <typename Visit>
INLINE void each_row(const Pair* x, const Sizes& n, Tile tile, Visit visit) {
  Pair rows[2][kColumns];
  load_input(x, n, tile, 0, rows[0]);
  UNROLL
  for (int q = 0; q < kRows; ++q) {
    if (q + 1 < kRows) load_input(x, n, tile, q + 1, rows[(q + 1) % 2]);
    Two in[kColumns];
    widen(rows[q % 2], in);
    UNROLL
    for (int r = 0; r < ROWS; ++r) {
      UNROLL
      for (int i = 0; i < TAPS_H; ++i) {
        if (meet(r, i, q)) visit(r, i, in);
      }
    }
  }
}

#if !GRADIENT

KERNEL depthwise(const Pair* __restrict__ x, const Two* __restrict__ kernel,
                 const Sizes* __restrict__ sizes, Pair* __restrict__ y) {
  const Sizes n = *sizes;
  const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  // Tiles next to each other in an image share what their multiprocessor has in its cache.
  const int tiles = n.tiles_h * n.tiles_w;
  const long long place = thread / n.lanes;
  const int in_image = place % tiles;
  const int pair = place / tiles % n.groups * n.lanes + thread % n.lanes;
  const Tile tile = {int(place / tiles / n.groups), in_image / n.tiles_w, in_image % n.tiles_w};
  if (tile.image >= n.images || pair >= n.pairs) return;
  x += pair, kernel += pair, y += pair;
  Two sum[ROWS][COLUMNS] = {};
  each_row(x, n, tile, [&](int r, int i, const Two(&in)[kColumns]) {
    UNROLL
    for (int j = 0; j < TAPS_W; ++j) {
      const Two weight = kernel[(i * TAPS_W + j) * n.pairs];
      UNROLL
      for (int t = 0; t < COLUMNS; ++t) {
        if (offset(t, j) % UP_W == 0) add(sum[r][t], in[offset(t, j) / UP_W], weight);
      }
    }
  });
  const int row = tile.row * ROWS, column = tile.column * COLUMNS;
  y += pixel(tile.image, row, column, n.out_h, n.out_w) * n.pairs;
  UNROLL
  for (int r = 0; r < ROWS; ++r) {
    UNROLL
    for (int t = 0; t < COLUMNS; ++t) {
      if (row + r < n.out_h && column + t < n.out_w) {
        store(y + (r * n.out_w + t) * n.pairs, sum[r][t]);
      }
    }
  }
}

#else

// A slot's sum is over every `slots`-th tile.
KERNEL depthwise(const Pair* __restrict__ x, const Pair* __restrict__ g,
                 const Sizes* __restrict__ sizes, Two* __restrict__ partial) {
  const Sizes n = *sizes;
  const int thread = blockIdx.x * blockDim.x + threadIdx.x;
  const int slot = thread / n.lanes % n.slots;
  const int pair = thread / n.lanes / n.slots * n.lanes + thread % n.lanes;
  if (pair >= n.pairs) return;
  x += pair, g += pair, partial += pair;
  const int tiles = n.tiles_h * n.tiles_w;
  Tile tile = {slot / tiles, slot / n.tiles_w % n.tiles_h, slot % n.tiles_w};
  const Tile step = {n.slots / tiles, n.slots / n.tiles_w % n.tiles_h, n.slots % n.tiles_w};
  Two sum[TAPS_H][TAPS_W] = {};
  while (tile.image < n.images) {
    Pair outputs[ROWS][COLUMNS];
    UNROLL
    for (int r = 0; r < ROWS; ++r) {
      load_row(g, tile.image, tile.row * ROWS + r, tile.column * COLUMNS, n.out_h, n.out_w,
               n.pairs, outputs[r]);
    }
    each_row(x, n, tile, [&](int r, int i, const Two(&in)[kColumns]) {
      UNROLL
      for (int j = 0; j < TAPS_W; ++j) {
        UNROLL
        for (int t = 0; t < COLUMNS; ++t) add(sum[i][j], widen(outputs[r][t]), in[offset(t, j)]);
      }
    });
    tile.column += step.column;
    const int over_w = tile.column >= n.tiles_w;
    tile.column -= over_w ? n.tiles_w : 0;
    tile.row += step.row + over_w;
    const int over_h = tile.row >= n.tiles_h;
    tile.row -= over_h ? n.tiles_h : 0;
    tile.image += step.image + over_h;
  }
  partial += slot * (long long)(TAPS_H * TAPS_W) * n.pairs;
  UNROLL
  for (int i = 0; i < TAPS_H; ++i) {
    UNROLL
    for (int j = 0; j < TAPS_W; ++j) partial[(i * TAPS_W + j) * n.pairs] = sum[i][j];
  }
}

#endif
