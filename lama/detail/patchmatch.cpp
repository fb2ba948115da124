// PatchMatch (Barnes et al., SIGGRAPH 2009) in integers: costs, one half of a sweep, the vote.
//
// patchmatch.py is the same in NumPy and explains the terms. All sums are of integers, so that their order does not
// matter, and random numbers are a hash of (seed, centre, draw): every number of threads, and NumPy, give equal bytes.
// A half sweep changes centres of one colour of a chessboard and reads matches of the other colour only.
// Plain C++ without headers of anything but the standard library. Called by kernel.py.

#include <cmath>
#include <cstdint>

namespace {

struct Level {
  int16_t* detail;           // (height, width, 4): what is matched; the hole holds the present estimate
  const int16_t* low;        // (height, width, 4): colours of image and guide
  const uint8_t* source;     // (height, width): the patch around the pixel is known
  const int32_t* centres;    // (n): pixels whose patch touches the hole
  const double* locality;    // (n): cost of a pixel of distance
  int64_t* cost;             // (n): of the present match, without its use
  int32_t* match;            // (height, width): the source that a centre takes; -1 elsewhere
  int32_t* used;             // (height, width): how many centres take a source
  int32_t* energy;           // (height, width): mean square of the voted detail, summed over channels
  int64_t height, width, guide, slope, reuse, threads;
};

constexpr int64_t kNever = INT64_MAX;
constexpr int64_t kAlone = 4096;  // so few centres are not worth a second thread

inline uint32_t mix(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ (x >> 16);
}

template <int R>
struct Search {
  static constexpr int64_t P = 2 * R + 1;
  const Level& k;

  // The cost of the source at row v, column u for centre i; stops early, with a cost not below it, at `limit`.
  int64_t cost(int64_t i, int32_t v, int32_t u, int64_t limit) const {
    const int32_t w = int32_t(k.width), p = k.centres[i], q = v * w + u;
    const int64_t dy = p / w - v, dx = p % w - u;
    int64_t sum = int64_t(k.locality[i] * std::sqrt(double(dy * dy + dx * dx)));
    const int16_t *a = k.low + 4 * int64_t(p), *b = k.low + 4 * int64_t(q);
    const int64_t right = 4 * R, down = 4 * R * k.width;
    int64_t colour = 0, slope = 0;
    for (int c = 0; c < 3; ++c) {
      const int64_t d = int64_t(a[c]) - b[c];
      const int64_t x = int64_t(a[c + right]) - a[c - right] - b[c + right] + b[c - right];
      const int64_t y = int64_t(a[c + down]) - a[c - down] - b[c + down] + b[c - down];
      colour += d * d;
      slope += x * x + y * y;
    }
    sum += k.guide * colour + k.slope * slope;
    for (int64_t y = -R; y <= R && sum < limit; ++y) {
      const int16_t* d = k.detail + 4 * (p + y * w - R);
      const int16_t* e = k.detail + 4 * (q + y * w - R);
      int32_t row = 0;
      for (int j = 0; j < 4 * P; ++j) {
        const int16_t difference = int16_t(d[j] - e[j]);
        row += int32_t(difference) * difference;
      }
      sum += row;
    }
    return sum;
  }

  void costs(int64_t first, int64_t stop, const int32_t* candidates, int64_t* result) const {
    const int32_t w = int32_t(k.width);
#pragma omp parallel for num_threads(k.threads) schedule(dynamic, 256) if (stop - first > kAlone)
    for (int64_t i = first; i < stop; ++i) {
      const int32_t q = candidates[i - first];
      result[i - first] = q < 0 ? kNever : cost(i, q / w, q % w, kNever);
    }
  }

  void improve(int64_t first, int64_t stop, const int64_t* jumps, int64_t count, int64_t reach, uint32_t seed,
               int32_t* before) const {
    const int32_t h = int32_t(k.height), w = int32_t(k.width);
#pragma omp parallel for num_threads(k.threads) schedule(dynamic, 256) if (stop - first > kAlone)
    for (int64_t i = first; i < stop; ++i) {
      const int32_t p = k.centres[i], y = p / w, x = p % w;
      int32_t m = k.match[p], row = m / w, column = m % w;
      before[i - first] = m;
      int64_t best = k.cost[i] + k.reuse * (k.used[m] - 1);
      const auto attempt = [&](int32_t v, int32_t u) {
        const int32_t q = v * w + u;
        if (q == m || !k.source[q]) return;
        const int64_t use = k.reuse * k.used[q], c = cost(i, v, u, best - use);
        if (c >= best - use) return;
        best = c + use;
        k.cost[i] = c;
        m = q, row = v, column = u;
      };
      const auto follow = [&](int32_t dy, int32_t dx) {
        if (y + dy < 0 || y + dy >= h || x + dx < 0 || x + dx >= w) return;
        const int32_t q = k.match[p + dy * w + dx];
        if (q < 0) return;
        const int32_t v = q / w - dy, u = q % w - dx;
        if (v >= 0 && v < h && u >= 0 && u < w) attempt(v, u);
      };
      for (int64_t j = 0; j < count; ++j) {
        const int32_t d = int32_t(jumps[j]);
        follow(-d, 0), follow(0, -d), follow(0, d), follow(d, 0);
      }
      const uint32_t own = mix(seed ^ mix(uint32_t(p)));
      uint32_t draw = 0;
      for (int32_t r = int32_t(reach); r >= 1; r /= 2) {
        const int32_t v = row + int32_t(mix(own + ++draw) % uint32_t(2 * r + 1)) - r;
        const int32_t u = column + int32_t(mix(own + ++draw) % uint32_t(2 * r + 1)) - r;
        if (v >= 0 && v < h && u >= 0 && u < w) attempt(v, u);
      }
      k.match[p] = m;
    }
    for (int64_t i = first; i < stop; ++i) {
      k.used[before[i - first]] -= 1;
      k.used[k.match[k.centres[i]]] += 1;
    }
  }

  void vote(const int32_t* pixels, int64_t n, const int32_t* weight, const int32_t* fall) const {
    const int64_t w = k.width;
#pragma omp parallel for num_threads(k.threads) schedule(dynamic, 256) if (n > kAlone)
    for (int64_t i = 0; i < n; ++i) {
      const int64_t a = pixels[i];
      int64_t total = 0, energy = 0, sum[3] = {0, 0, 0};
      for (int64_t y = -R; y <= R; ++y)
        for (int64_t x = -R; x <= R; ++x) {
          const int64_t p = a - y * w - x, f = fall[(y + R) * P + x + R];
          if (!f || !weight[p]) continue;
          const int64_t u = f * weight[p];
          const int16_t* e = k.detail + 4 * (k.match[p] + y * w + x);
          total += u;
          for (int c = 0; c < 3; ++c) sum[c] += u * e[c], energy += u * e[c] * e[c];
        }
      if (total == 0) continue;
      for (int c = 0; c < 3; ++c) k.detail[4 * a + c] = int16_t(std::nearbyint(double(sum[c]) / double(total)));
      k.energy[a] = int32_t(std::nearbyint(double(energy) / double(total)));
    }
  }
};

}  // namespace

// Every function answers 0, or 1 for a radius that it was not compiled for.
#define FOR_RADIUS(call)                      \
  switch (radius) {                           \
    case 2: Search<2>{*k}.call; return 0;     \
    case 3: Search<3>{*k}.call; return 0;     \
    case 4: Search<4>{*k}.call; return 0;     \
  }                                           \
  return 1;

extern "C" {

// The costs of `candidates`, one for each centre from `first` to `stop`; -1: none, which costs the most there is.
int lama_detail_costs(const Level* k, int64_t radius, int64_t first, int64_t stop, const int32_t* candidates,
                       int64_t* result) {
  FOR_RADIUS(costs(first, stop, candidates, result))
}

int lama_detail_improve(const Level* k, int64_t radius, int64_t first, int64_t stop, const int64_t* jumps,
                        int64_t count, int64_t reach, uint32_t seed, int32_t* before) {
  FOR_RADIUS(improve(first, stop, jumps, count, reach, seed, before))
}

int lama_detail_vote(const Level* k, int64_t radius, const int32_t* pixels, int64_t n, const int32_t* weight,
                     const int32_t* fall) {
  FOR_RADIUS(vote(pixels, n, weight, fall))
}
}
