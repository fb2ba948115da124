// 3 x 3 convolution, Winograd F(4x4, 3x3): 36 multiplications for 16 outputs in place of 144, and its gradients.
// Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016. Evaluated at 0, +-sqrt(1/2),
// +-sqrt(2) and infinity, which rounds less than the usual 0, +-1, +-2.
//
// For tiles of 4 x 4 outputs d (6 x 6 inputs):  V = B^T d B,  M = sum over channels of U V,  y = A^T M A,  U = G g G^T.
// Images are channels-last float32. The input may be two images (channels of the second after channels of the first),
// and there may be several outputs, each reading the first `inputs` channels: an FFC in one call.
// A dilated convolution is a plain one on every `step`-th pixel, step x step times. Beyond its borders an image is
// reflected, or zero.
// The gradient of the input is a convolution of the gradient of the output, with rotated weights. The gradient of the
// weights is  dU = sum over tiles of V (A dy A^T),  dg = G^T dU G.
// Plain C++ with the vector types of GCC and Clang; no headers of torch. Called by winograd_kernel.py.

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

// Border pixels are not repeated. Pixels more than one outside the image affect only outputs outside the image.
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

// A of one row or column.
inline void spread(const Vec y[4], Vec m[6]) {
  const Vec a = y[0] + 0.5f * y[2], b = kRoot / 2 * y[1] + kRoot / 4 * y[3];
  const Vec c = y[0] + 2.f * y[2], d = kRoot * y[1] + 2 * kRoot * y[3];
  m[0] = y[0];
  m[1] = a + b;
  m[2] = a - b;
  m[3] = c + d;
  m[4] = c - d;
  m[5] = y[3];
}

// G of one row or column.
inline void weight_to_points(const Vec g[3], Vec u[6]) {
  const Vec a = -2.f / 3 * g[0] - 1.f / 3 * g[2], b = kRoot / 3 * g[1];
  const Vec c = 1.f / 6 * g[0] + 1.f / 3 * g[2], d = kRoot / 6 * g[1];
  u[0] = g[0];
  u[1] = a - b;
  u[2] = a + b;
  u[3] = c + d;
  u[4] = c - d;
  u[5] = g[2];
}

// G^T of one row or column.
inline void points_to_weight(const Vec u[6], Vec g[3]) {
  const Vec a = u[1] + u[2], b = u[2] - u[1], c = u[3] + u[4], d = u[3] - u[4];
  g[0] = u[0] - 2.f / 3 * a + 1.f / 6 * c;
  g[1] = kRoot / 3 * b + kRoot / 6 * d;
  g[2] = u[5] - 1.f / 3 * a + 1.f / 3 * c;
}

struct Tile {
  int64_t image, y, x;
};

struct Frame {  // of the outputs: `wider` pixels more than the image on each side
  int64_t images, height, width, step, wider;
  bool reflected;
  int64_t down() const { return (height + 4 * step - 1) / (4 * step); }
  int64_t across() const { return (width + 4 * step - 1) / (4 * step); }
  int64_t tiles() const { return images * step * step * down() * across(); }
  // Tiles of one sub-image follow each other; the first pixel of a tile may lie outside of a small one.
  Tile tile(int64_t i) const {
    const int64_t part = i / (down() * across());
    return {part / (step * step), part / step % step + i / across() % down() * 4 * step,
            part % step + i % across() * 4 * step};
  }
  // Where a coordinate is read, or -1 for zero.
  int64_t inside(int64_t i, int64_t size) const { return reflected ? reflect(i, size) : i < size ? i : -1; }
};

// One tile of `channels` channels -> its 36 points; v is the place of the first channel of the first point. Groups of
// kLanes channels have a fixed distance.
void transform_input(const float* x, int64_t channels, const Frame& frame, Tile t, float* v, int64_t point_stride,
                     int64_t lanes_stride = kLanes) {
  const float* pixels[6][6];
  for (int i = 0; i < 6; i++)
    for (int j = 0; j < 6; j++) {
      const int64_t height = frame.height - 2 * frame.wider, width = frame.width - 2 * frame.wider;
      const int64_t row = frame.inside(t.y - frame.wider + (i - 1) * frame.step, height);
      const int64_t column = frame.inside(t.x - frame.wider + (j - 1) * frame.step, width);
      const bool zero = row < 0 || column < 0;
      pixels[i][j] = zero ? nullptr : x + ((t.image * height + row) * width + column) * channels;
    }
  for (int64_t c = 0; c < channels; c += kLanes) {
    Vec half[6][6];  // [column][point]
    for (int j = 0; j < 6; j++) {
      Vec d[6];
      for (int i = 0; i < 6; i++) d[i] = pixels[i][j] ? load(pixels[i][j] + c, channels - c) : Vec{};
      to_points(d, half[j]);
    }
    for (int i = 0; i < 6; i++) {
      Vec d[6], points[6];
      for (int j = 0; j < 6; j++) d[j] = half[j][i];
      to_points(d, points);
      for (int j = 0; j < 6; j++)
        store(v + (i * 6 + j) * point_stride + c / kLanes * lanes_stride, points[j], channels - c);
    }
  }
}

// m[rows][kPanel] = v[rows][depth] u[depth][kPanel]; the sums stay in registers. Turned, v is [depth][rows].
template <int rows, bool transposed>
void multiply(const float* v, int64_t v_stride, const float* u, int64_t depth, float* m, int64_t m_stride) {
  Vec sums[rows][2] = {};
  for (int64_t k = 0; k < depth; k++, u += kPanel) {
    const Vec u0 = load(u), u1 = load(u + kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
      const float s = transposed ? v[k * v_stride + r] : v[r * v_stride + k];
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
  return multiply<rows, false>;
}

}  // namespace

extern "C" {

struct Output {
  const float* weights;  // [36][channels / kPanel, rounded up][inputs][kPanel]
  const float* bias;     // [channels], or null
  const float* before;   // image added before the ReLU, or null
  const float* after;    // image added after it, or null; may be y
  float* y;
  int64_t channels, inputs;
};

// The input: x0 (images, height, width, c0), x1 (.., c1) or null. Reflected, height and width are at least 2.
struct Input {
  const float *x0, *x1;
  int64_t c0, c1, images, height, width, step, wider, reflected;
};

// Sizes of weights and scratch memory depend on the panel.
int64_t lama_winograd_panel() { return kPanel; }

}  // extern "C"

namespace {

Frame frame_of(const Input& in) {
  return {in.images, in.height + 2 * in.wider, in.width + 2 * in.wider, in.step, in.wider, in.reflected != 0};
}

int64_t panels(const Output& out) { return (out.channels + kPanel - 1) / kPanel; }

// The points of one tile -> its 4 x 4 outputs, with bias, sums and ReLU.
void transform_output(const float* m, int64_t point_stride, const Output& out, const Frame& frame, Tile t, bool relu) {
  for (int64_t c = 0; c < out.channels; c += kLanes) {
    const int64_t n = out.channels - c;
    const Vec zero = {}, bias = out.bias ? load(out.bias + c, n) : zero;
    Vec half[6][4];  // [column][row]
    for (int j = 0; j < 6; j++) {
      Vec points[6];
      for (int i = 0; i < 6; i++) points[i] = load(m + (i * 6 + j) * point_stride + c);
      from_points(points, half[j]);
    }
    for (int i = 0; i < 4 && t.y + i * frame.step < frame.height; i++) {
      Vec points[6], y[4];
      for (int j = 0; j < 6; j++) points[j] = half[j][i];
      from_points(points, y);
      const int64_t row = t.image * frame.height + t.y + i * frame.step;
      for (int j = 0; j < 4 && t.x + j * frame.step < frame.width; j++) {
        const int64_t at = (row * frame.width + t.x + j * frame.step) * out.channels + c;
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

// scratch holds, for `chunk` tiles, 36 x chunk x (stride + the channels of each output, rounded up to kPanel) floats.
void lama_winograd(const Input* in, const Output* outs, int64_t n_outs, int64_t relu, float* scratch, int64_t stride,
                   int64_t chunk, int64_t threads) {
  const Frame frame = frame_of(*in);
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
      transform_input(in->x0, in->c0, frame, frame.tile(start + i), v + i * stride, tiles * stride);
      if (in->c1) transform_input(in->x1, in->c1, frame, frame.tile(start + i), v + i * stride + in->c0, tiles * stride);
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

// Weights of a convolution, or their gradient: w(output, input, y, x) is at these distances from each other.
struct Weights {
  float* w;
  int64_t outputs, inputs, output_stride, input_stride, y_stride, x_stride;
};

}  // extern "C"

namespace {

// Lanes over outputs.
Vec gather(const Weights& w, int64_t first, int64_t input, int y, int x) {
  const float* p = w.w + first * w.output_stride + input * w.input_stride + y * w.y_stride + x * w.x_stride;
  Vec v = {};
  if (first >= w.outputs) return v;
  if (w.output_stride == 1) return load(p, w.outputs - first);
  if (first + kLanes <= w.outputs)  // the compiler knows how many
    for (int i = 0; i < kLanes; i++) v[i] = p[i * w.output_stride];
  else
    for (int i = 0; i < w.outputs - first; i++) v[i] = p[i * w.output_stride];
  return v;
}

// kLanes x kLanes of them, copied next to each other: at their source they may share the same cache lines.
Weights copied(const Weights& w, int64_t output, int64_t input, float* to) {
  const int64_t outputs = w.outputs - output < kLanes ? w.outputs - output : kLanes;
  const int64_t inputs = w.inputs - input < kLanes ? w.inputs - input : kLanes;
  const float* from = w.w + output * w.output_stride + input * w.input_stride;
  const bool transposed = w.output_stride == 1;  // outputs are adjacent in memory
  const int64_t rows = transposed ? inputs : outputs, row_stride = transposed ? w.input_stride : w.output_stride;
  const int64_t columns = transposed ? outputs : inputs, column_stride = transposed ? 1 : w.input_stride;
  for (int tap = 0; tap < 9; tap++)
    for (int64_t a = 0; a < rows; a++) {
      const float* row = from + tap / 3 * w.y_stride + tap % 3 * w.x_stride + a * row_stride;
      float* const copy = to + (tap * kLanes + a) * kLanes;
      if (column_stride == 1)
        store(copy, load(row, columns), columns);
      else
        for (int64_t b = 0; b < columns; b++) copy[b] = row[b * column_stride];
    }
  constexpr int64_t tap = kLanes * kLanes;
  return {to, outputs, inputs, transposed ? 1 : kLanes, transposed ? kLanes : 1, 3 * tap, tap};
}

void scatter(const Weights& w, int64_t first, int64_t input, int y, int x, Vec v) {
  float* p = w.w + first * w.output_stride + input * w.input_stride + y * w.y_stride + x * w.x_stride;
  for (int64_t i = 0; i < kLanes && first + i < w.outputs; i++) p[i * w.output_stride] = v[i];
}

}  // namespace

extern "C" {

// U of inputs `first` and following of `depth`: u[36][outputs / kPanel, rounded up][depth][kPanel], filled with zeros.
void lama_winograd_weights(const Weights* weights, float* u, int64_t depth, int64_t first, int64_t threads) {
  const Weights w = *weights;
  const int64_t n_panels = (w.outputs + kPanel - 1) / kPanel, blocks = (w.inputs + kLanes - 1) / kLanes;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t task = 0; task < 2 * n_panels * blocks; task++) {
    const int64_t output = task % (2 * n_panels) * kLanes, input = task / (2 * n_panels) * kLanes;
    float copy[9 * kLanes * kLanes];
    const Weights block = output < w.outputs ? copied(w, output, input, copy) : Weights{};
    for (int64_t k = 0; k < kLanes && input + k < w.inputs; k++) {
      Vec g[3][3], columns[3][6];
      for (int y = 0; y < 3; y++)
        for (int x = 0; x < 3; x++) g[x][y] = gather(block, 0, k, y, x);
      for (int x = 0; x < 3; x++) weight_to_points(g[x], columns[x]);
      float* const to = u + ((output / kPanel) * depth + first + input + k) * kPanel + output % kPanel;
      for (int i = 0; i < 6; i++) {
        const Vec row[3] = {columns[0][i], columns[1][i], columns[2][i]};
        Vec points[6];
        weight_to_points(row, points);
        for (int j = 0; j < 6; j++) store(to + (i * 6 + j) * n_panels * depth * kPanel, points[j]);
      }
    }
  }
}

struct Gradient {
  const float* dy;  // (images, height, width, outputs)
  Weights w;        // of the gradient; reads the first `inputs` channels
};

}  // extern "C"

namespace {

int64_t panels(const Gradient& out) { return (out.w.outputs + kPanel - 1) / kPanel; }

// A dy A^T of one tile; d is the place of the first channel of the first point. Outside the image dy is zero.
void transform_gradient(const Gradient& out, const Frame& frame, Tile t, float* d, int64_t panel_stride,
                        int64_t point_stride) {
  const int64_t channels = out.w.outputs;
  for (int64_t c = 0; c < panels(out) * kPanel; c += kLanes) {
    Vec half[4][6];  // [column][point]
    for (int j = 0; j < 4; j++) {
      Vec dy[4] = {};
      const int64_t x = t.x + j * frame.step;
      for (int i = 0; i < 4; i++) {
        const int64_t y = t.y + i * frame.step;
        if (y < frame.height && x < frame.width && c < channels)
          dy[i] = load(out.dy + ((t.image * frame.height + y) * frame.width + x) * channels + c, channels - c);
      }
      spread(dy, half[j]);
    }
    float* const to = d + c / kPanel * panel_stride + c % kPanel;
    for (int i = 0; i < 6; i++) {
      const Vec row[4] = {half[0][i], half[1][i], half[2][i], half[3][i]};
      Vec points[6];
      spread(row, points);
      for (int j = 0; j < 6; j++) store(to + (i * 6 + j) * point_stride, points[j]);
    }
  }
}

// G^T dU G of kLanes outputs of one input, written or added. du: their place for the first point.
void finish_gradient(const float* du, int64_t point_stride, const Weights& w, int64_t first, int64_t input, bool add) {
  Vec columns[6][3];
  for (int j = 0; j < 6; j++) {
    Vec points[6];
    for (int i = 0; i < 6; i++) points[i] = load(du + (i * 6 + j) * point_stride);
    points_to_weight(points, columns[j]);
  }
  for (int y = 0; y < 3; y++) {
    const Vec row[6] = {columns[0][y], columns[1][y], columns[2][y], columns[3][y], columns[4][y], columns[5][y]};
    Vec g[3];
    points_to_weight(row, g);
    for (int x = 0; x < 3; x++) scatter(w, first, input, y, x, add ? g[x] + gather(w, first, input, y, x) : g[x]);
  }
}

}  // namespace

extern "C" {

// Gradients of the weights of convolutions of one input. scratch is as for lama_winograd; channels are in groups of
// kLanes; the channels of x1 begin a new group.
void lama_winograd_gradient(const Input* in, const Gradient* outs, int64_t n_outs, float* scratch, int64_t chunk,
                            int64_t threads) {
  const Frame frame = frame_of(*in);
  const int64_t total = frame.tiles(), groups0 = (in->c0 + kLanes - 1) / kLanes;
  const int64_t groups = groups0 + (in->c1 + kLanes - 1) / kLanes;
  int64_t n_panels = 0;
  for (int64_t o = 0; o < n_outs; o++) n_panels += panels(outs[o]);
#pragma omp parallel num_threads(threads)
  for (int64_t start = 0; start < total; start += chunk) {
    const int64_t tiles = total - start < chunk ? total - start : chunk;
    const int64_t v_stride = groups * tiles * kLanes, d_stride = n_panels * tiles * kPanel;
    float* const v = scratch;                 // [36][groups][tiles][kLanes]
    float* const d = v + kPoints * v_stride;  // [36][panels of all][tiles][kPanel]
#pragma omp for schedule(dynamic, 4)
    for (int64_t i = 0; i < tiles; i++) {
      const Tile tile = frame.tile(start + i);
      float* to = v + i * kLanes;
      transform_input(in->x0, in->c0, frame, tile, to, v_stride, tiles * kLanes);
      if (in->c1) transform_input(in->x1, in->c1, frame, tile, to + groups0 * tiles * kLanes, v_stride, tiles * kLanes);
      to = d + i * kPanel;
      for (int64_t o = 0; o < n_outs; to += panels(outs[o++]) * tiles * kPanel)
        transform_gradient(outs[o], frame, tile, to, tiles * kPanel, d_stride);
    }
#pragma omp for schedule(dynamic, 4)
    for (int64_t task = 0; task < n_panels * groups; task++) {
      const int64_t group = task % groups;
      const bool second = group >= groups0;
      const int64_t first = second ? in->c0 + (group - groups0) * kLanes : group * kLanes;
      int64_t panel = task / groups;
      const float* const spread = d + panel * tiles * kPanel;
      const Gradient* out = outs;
      for (; panel >= panels(*out); out++) panel -= panels(*out);
      const int64_t there = second ? in->c0 + in->c1 : in->c0;
      const int64_t end = there < out->w.inputs ? there : out->w.inputs;
      if (first >= end) continue;
      constexpr int kHalf = kLanes / 2;  // as many sums as registers hold
      float du[kPoints][kLanes][kPanel];
      for (int64_t point = 0; point < kPoints; point++)
        for (int r = 0; r < kLanes; r += kHalf)
          multiply<kHalf, true>(v + point * v_stride + group * tiles * kLanes + r, kLanes, spread + point * d_stride,
                                tiles, du[point][r], kPanel);
      for (int64_t r = 0; r < kLanes && first + r < end; r++)
        for (int c = 0; c < kPanel; c += kLanes)
          finish_gradient(du[0][r] + c, kLanes * kPanel, out->w, panel * kPanel + c, first + r, start > 0);
    }
  }
}

}  // extern "C"
