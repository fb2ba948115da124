// 3 x 3 convolution with reflected borders, Winograd F(4x4, 3x3): 36 multiplications for 16 outputs in place of 144.
// Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016. Evaluated at 0, +-sqrt(1/2),
// +-sqrt(2) and infinity, which rounds less than the usual 0, +-1, +-2.
//
// For tiles of 4 x 4 outputs d (6 x 6 inputs):  V = B^T d B,  M = sum over channels of U V,  y = A^T M A.
// Pictures are channels-last float32. The input may be two pictures side by side (channels of the second after those
// of the first), and there may be several outputs, each reading the first `inputs` channels: an FFC in one call.
// Plain C++ with the vector types of GCC and Clang; no headers of torch. Called by winograd.py.

#include <cstdint>
#include <cstring>

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kRows = 14;  // 32 registers: 28 sums, 2 weights
#elif defined(__AVX__)
constexpr int kLanes = 8, kRows = 6;  // 16 registers: 12 sums, 2 weights
#elif defined(__aarch64__)
constexpr int kLanes = 4, kRows = 12;  // 32 registers: 24 sums, 2 weights
#else
constexpr int kLanes = 4, kRows = 6;
#endif
constexpr int kPanel = 2 * kLanes;  // output channels computed together
constexpr int kPoints = 36;
constexpr float kRoot = 1.41421356237309504880f;

typedef float Vec __attribute__((vector_size(kLanes * 4)));

inline Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline Vec load(const float* p, int64_t n) {  // the rest is zero
  if (n >= kLanes) return load(p);
  Vec v = {};
  std::memcpy(&v, p, n * sizeof(float));
  return v;
}

inline void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }

inline void store(float* p, Vec v, int64_t n) {
  if (n >= kLanes) return store(p, v);
  std::memcpy(p, &v, n * sizeof(float));
}

// Border pixels are not repeated; what lies further out than one pixel feeds only outputs beyond the picture.
inline int64_t reflect(int64_t i, int64_t size) {
  if (i < 0) i = -i;
  if (i >= size) i = 2 * size - 2 - i;
  return i < 0 ? 0 : i;
}

// B^T of one row or column.
inline void to_points(const Vec d[6], Vec v[6]) {
  const Vec a = d[4] - 2.f * d[2], b = kRoot / 2 * d[3] - kRoot * d[1];
  const Vec c = d[4] - 0.5f * d[2], e = kRoot * d[3] - kRoot / 2 * d[1];
  v[0] = d[0] - 2.5f * d[2] + d[4];
  v[1] = a + b;
  v[2] = a - b;
  v[3] = c + e;
  v[4] = c - e;
  v[5] = d[1] - 2.5f * d[3] + d[5];
}

// A^T of one row or column.
inline void from_points(const Vec m[6], Vec y[4]) {
  const Vec a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
  y[0] = m[0] + a + c;
  y[1] = kRoot / 2 * b + kRoot * d;
  y[2] = 0.5f * a + 2.f * c;
  y[3] = kRoot / 4 * b + 2 * kRoot * d + m[5];
}

struct Tile {
  int64_t image, y, x;
};

struct Frame {
  int64_t images, height, width;
  int64_t down() const { return (height + 3) / 4; }
  int64_t across() const { return (width + 3) / 4; }
  int64_t tiles() const { return images * down() * across(); }
  Tile tile(int64_t i) const { return {i / (down() * across()), i / across() % down() * 4, i % across() * 4}; }
};

// One tile of `channels` channels -> its 36 points; v is where the first channel of the first point goes.
void transform_input(const float* x, int64_t channels, const Frame& frame, Tile t, float* v, int64_t point_stride) {
  const float* rows[6];
  int64_t columns[6];
  for (int i = 0; i < 6; i++) {
    rows[i] = x + (t.image * frame.height + reflect(t.y + i - 1, frame.height)) * frame.width * channels;
    columns[i] = reflect(t.x + i - 1, frame.width) * channels;
  }
  for (int64_t c = 0; c < channels; c += kLanes) {
    Vec half[6][6];  // [column][point]
    for (int j = 0; j < 6; j++) {
      Vec d[6];
      for (int i = 0; i < 6; i++) d[i] = load(rows[i] + columns[j] + c, channels - c);
      to_points(d, half[j]);
    }
    for (int i = 0; i < 6; i++) {
      Vec d[6], points[6];
      for (int j = 0; j < 6; j++) d[j] = half[j][i];
      to_points(d, points);
      for (int j = 0; j < 6; j++) store(v + (i * 6 + j) * point_stride + c, points[j], channels - c);
    }
  }
}

// m[rows][kPanel] = v[rows][depth] u[depth][kPanel]; the sums stay in registers.
template <int rows>
void multiply(const float* v, int64_t v_stride, const float* u, int64_t depth, float* m, int64_t m_stride) {
  Vec sums[rows][2] = {};
  for (int64_t k = 0; k < depth; k++, u += kPanel) {
    const Vec u0 = load(u), u1 = load(u + kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
      const float s = v[r * v_stride + k];
      sums[r][0] += s * u0;
      sums[r][1] += s * u1;
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++) {
    store(m + r * m_stride, sums[r][0]);
    store(m + r * m_stride + kLanes, sums[r][1]);
  }
}

typedef void (*Multiply)(const float*, int64_t, const float*, int64_t, float*, int64_t);

template <int rows>
Multiply multiply_of(int n) {
  if constexpr (rows > 1)
    if (n < rows) return multiply_of<rows - 1>(n);
  return multiply<rows>;
}

}  // namespace

extern "C" {

struct Output {
  const float* weights;  // [36][channels / kPanel, rounded up][inputs][kPanel]
  const float* bias;     // [channels]
  const float* before;   // picture added before the ReLU, or null
  const float* after;    // picture added after it, or null; may be y
  float* y;
  int64_t channels, inputs;
};

// What weights and scratch memory depend on.
int64_t lama_winograd_panel() { return kPanel; }

}  // extern "C"

namespace {

int64_t panels(const Output& out) { return (out.channels + kPanel - 1) / kPanel; }

// The points of one tile -> its 4 x 4 outputs, with bias, sums and ReLU.
void transform_output(const float* m, int64_t point_stride, const Output& out, const Frame& frame, Tile t, bool relu) {
  for (int64_t c = 0; c < out.channels; c += kLanes) {
    const int64_t n = out.channels - c;
    const Vec bias = load(out.bias + c, n), zero = {};
    Vec half[6][4];  // [column][row]
    for (int j = 0; j < 6; j++) {
      Vec points[6];
      for (int i = 0; i < 6; i++) points[i] = load(m + (i * 6 + j) * point_stride + c);
      from_points(points, half[j]);
    }
    for (int i = 0; i < 4 && t.y + i < frame.height; i++) {
      Vec points[6], y[4];
      for (int j = 0; j < 6; j++) points[j] = half[j][i];
      from_points(points, y);
      for (int j = 0; j < 4 && t.x + j < frame.width; j++) {
        const int64_t at = ((t.image * frame.height + t.y + i) * frame.width + t.x + j) * out.channels + c;
        Vec value = y[j] + bias;
        if (out.before) value += load(out.before + at, n);
        if (relu) value = value > zero ? value : zero;
        if (out.after) value += load(out.after + at, n);
        store(out.y + at, value, n);
      }
    }
  }
}

}  // namespace

extern "C" {

// x0 (images, height, width, c0), x1 (.., c1) or null; height and width at least 2. scratch holds, for `chunk` tiles,
// 36 x chunk x (stride + the channels of each output, rounded up to kPanel) floats.
void lama_winograd(const float* x0, int64_t c0, const float* x1, int64_t c1, int64_t images, int64_t height,
                   int64_t width, const Output* outs, int64_t n_outs, int64_t relu, float* scratch, int64_t stride,
                   int64_t chunk, int64_t threads) {
  const Frame frame = {images, height, width};
  const int64_t total = frame.tiles();
  int64_t n_panels = 0;
  for (int64_t o = 0; o < n_outs; o++) n_panels += panels(outs[o]);
#pragma omp parallel num_threads(threads)
  for (int64_t start = 0; start < total; start += chunk) {
    const int64_t tiles = total - start < chunk ? total - start : chunk;
    float* const v = scratch;                      // [36][tiles][stride]
    float* const m = v + kPoints * tiles * stride;  // for each output [36][tiles][panels x kPanel]
#pragma omp for schedule(dynamic, 4)
    for (int64_t i = 0; i < tiles; i++) {
      transform_input(x0, c0, frame, frame.tile(start + i), v + i * stride, tiles * stride);
      if (c1) transform_input(x1, c1, frame, frame.tile(start + i), v + i * stride + c0, tiles * stride);
    }
#pragma omp for schedule(dynamic, 4)
    for (int64_t task = 0; task < kPoints * n_panels; task++) {
      const int64_t point = task / n_panels;
      int64_t panel = task % n_panels;
      float* mo = m;
      const Output* out = outs;
      for (; panel >= panels(*out); out++) {
        panel -= panels(*out);
        mo += kPoints * tiles * panels(*out) * kPanel;
      }
      const int64_t m_stride = panels(*out) * kPanel;
      const float* u = out->weights + (point * panels(*out) + panel) * out->inputs * kPanel;
      const int64_t blocks = (tiles + kRows - 1) / kRows;
      for (int64_t b = 0; b < blocks; b++) {  // rows shared out evenly
        const int64_t first = tiles * b / blocks, last = tiles * (b + 1) / blocks;
        multiply_of<kRows>(last - first)(v + (point * tiles + first) * stride, stride, u, out->inputs,
                                         mo + (point * tiles + first) * m_stride + panel * kPanel, m_stride);
      }
    }
    float* mo = m;
    for (int64_t o = 0; o < n_outs; o++) {
      const int64_t m_stride = panels(outs[o]) * kPanel;
#pragma omp for schedule(dynamic, 4)
      for (int64_t i = 0; i < tiles; i++)
        transform_output(mo + i * m_stride, tiles * m_stride, outs[o], frame, frame.tile(start + i), relu);
      mo += kPoints * tiles * m_stride;
    }
  }
}

}  // extern "C"
