// Depthwise convolution on a CPU, forward and backward, for XLA's foreign function interface.
//
// Images are [n, height, width, channels] in float32. Eight channels of one image are packed with their padding into a
// buffer that fits the first-level cache; there, rows of four output pixels accumulate in registers. `size` is the side
// of the kernel's centre that counts and `active` the number of channels that do, both known at run time only; what
// does not count costs nothing. Sums over images have a fixed order, so results do not depend on the threads.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

constexpr int kLanes = 8, kPixels = 4, kChunks = 8;
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));

struct Shape {
  int n, h, w, c, oh, ow, k, stride, padding, full;  // k: active side of the kernel, full: stored side
};

int RoundUp(int x, int to) { return (x + to - 1) / to * to; }

// Calls work(0..units-1) on the pool and on this thread, which never waits for a task that has not begun.
void Parallel(ffi::ThreadPool& pool, int units, const std::function<void(int)>& work) {
  struct State {
    std::atomic<int> next{0}, done{0};
    std::mutex mutex;
    std::condition_variable all;
  };
  auto state = std::make_shared<State>();
  auto run = [state, units, &work] {
    int finished = 0;
    for (int unit; (unit = state->next++) < units; ++finished) work(unit);
    if (finished && (state->done += finished) == units) {
      std::lock_guard<std::mutex> lock(state->mutex);
      state->all.notify_all();
    }
  };
  for (int i = std::min<int>(pool.num_threads(), units) - 1; i > 0; --i) {
    auto copy = run;
    pool.Schedule(std::move(copy));
  }
  run();
  std::unique_lock<std::mutex> lock(state->mutex);
  state->all.wait(lock, [&] { return state->done == units; });
}

// A copy of known size is one load and one store.
inline void Copy(void* to, const void* from, int lanes) {
  if (lanes == kLanes) {
    std::memcpy(to, from, sizeof(Lanes));
  } else {
    std::memcpy(to, from, lanes * sizeof(float));
  }
}

// Eight channels of an image [h, w, c] to a zeroed buffer of rows of `row`, `low` from its edge, `spread` apart.
void Pack(const float* image, int h, int w, int c, int lanes, int low, int spread, int rows, int row, Lanes* out) {
  std::memset(out, 0, sizeof(Lanes) * rows * row);
  for (int y = 0; y < h; ++y) {
    const int to = low + y * spread;
    if (to < 0 || to >= rows) continue;
    for (int x = 0, at = low; x < w; ++x, at += spread)
      if (at >= 0 && at < row) Copy(out + to * row + at, image + (y * w + x) * c, lanes);
  }
}

// K and S are the kernel's side and the stride, or 0 where they are not known to the compiler.
template <int K, int S>
void Correlate(const Lanes* x, const Lanes* w, int row, int oh, int ow, int k, int stride, float* out, int c, int lanes) {
  const int side = K ? K : k, step = S ? S : stride;
  for (int r = 0; r < oh; ++r) {
    for (int q = 0; q < ow; q += kPixels) {
      Lanes sum[kPixels] = {};
      for (int i = 0; i < side; ++i) {
        const Lanes* from = x + (r * step + i) * row + q * step;
#pragma GCC unroll 24
        for (int t = 0; t < (kPixels - 1) * step + side; ++t) {
#pragma GCC unroll 8
          for (int p = 0; p < kPixels; ++p) {
            int j = t - p * step;
            if (j >= 0 && j < side) sum[p] += from[t] * w[i * side + j];
          }
        }
      }
      for (int p = 0; p < std::min(kPixels, ow - q); ++p)
        Copy(out + (r * ow + q + p) * c, &sum[p], lanes);
    }
  }
}

template <int K, int S>
void KernelGradient(const Lanes* x, const Lanes* g, int row, int grow, int oh, int k, int stride, Lanes* dw) {
  const int side = K ? K : k, step = S ? S : stride;
  for (int i = 0; i < side; ++i) {
    Lanes sum[2][K ? K : 32] = {};  // two chains of dependent additions per element
    for (int r = 0; r < oh; ++r) {
      for (int q = 0; q < grow; q += kPixels) {
        const Lanes *from = x + (r * step + i) * row + q * step, *by = g + r * grow + q;
#pragma GCC unroll 24
        for (int t = 0; t < (kPixels - 1) * step + side; ++t) {
#pragma GCC unroll 8
          for (int p = 0; p < kPixels; ++p) {
            int j = t - p * step;
            if (j >= 0 && j < side) sum[p % 2][j] += from[t] * by[p];
          }
        }
      }
    }
    for (int j = 0; j < side; ++j) dw[i * side + j] += sum[0][j] + sum[1][j];
  }
}

#define FOR_SIDE_AND_STRIDE(NAME, K, S, ...)                                  \
  (S == 1 ? (K == 3   ? NAME<3, 1>(__VA_ARGS__)                               \
             : K == 5 ? NAME<5, 1>(__VA_ARGS__)                               \
             : K == 7 ? NAME<7, 1>(__VA_ARGS__)                               \
                      : NAME<0, 1>(__VA_ARGS__))                              \
   : S == 2 ? (K == 3   ? NAME<3, 2>(__VA_ARGS__)                             \
               : K == 5 ? NAME<5, 2>(__VA_ARGS__)                             \
               : K == 7 ? NAME<7, 2>(__VA_ARGS__)                             \
                        : NAME<0, 2>(__VA_ARGS__))                            \
            : NAME<0, 0>(__VA_ARGS__))

Lanes* Scratch(int which, int size) {
  thread_local std::vector<std::unique_ptr<Lanes[]>> buffers(3);
  thread_local int sizes[3] = {};
  if (sizes[which] < size) buffers[which].reset(new Lanes[sizes[which] = size]);
  return buffers[which].get();
}

void Clear(float* image, int pixels, int c, int lanes) {
  const Lanes zero = {};
  for (int i = 0; i < pixels; ++i) Copy(image + i * c, &zero, lanes);
}

// The active centre of a kernel for eight channels, mirrored if asked.
void Centre(const Shape& s, const float* w, int first, int lanes, bool mirrored, Lanes* out) {
  int edge = (s.full - s.k) / 2;
  for (int i = 0; i < s.k; ++i) {
    for (int j = 0; j < s.k; ++j) {
      Lanes value = {};
      Copy(&value, w + ((edge + i) * s.full + edge + j) * s.c + first, lanes);
      out[mirrored ? s.k * s.k - 1 - i * s.k - j : i * s.k + j] = value;
    }
  }
}

template <typename X, typename W, typename Y>
Shape Describe(const X& x, const W& w, const Y& y, int size, int64_t stride, int64_t padding) {
  auto in = x.dimensions(), out = y.dimensions(), kernel = w.dimensions();
  int full = kernel[0], less = (full - size) / 2;
  return {int(in[0]), int(in[1]), int(in[2]), int(in[3]), int(out[1]), int(out[2]),
          size,       int(stride), int(padding) - less, full};
}

ffi::Error Forward(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> x, ffi::Buffer<ffi::F32> w, ffi::Buffer<ffi::S32> size,
                   ffi::Buffer<ffi::S32> active, ffi::ResultBuffer<ffi::F32> y, int64_t stride, int64_t padding) {
  const Shape s = Describe(x, w, *y, size.typed_data()[0], stride, padding);
  const int channels = active.typed_data()[0], blocks = (s.c + kLanes - 1) / kLanes;
  const int row = (RoundUp(s.ow, kPixels) - 1) * s.stride + s.k, rows = (s.oh - 1) * s.stride + s.k;
  const float *from = x.typed_data(), *kernel = w.typed_data();
  float* to = y->typed_data();
  Parallel(pool, s.n * blocks, [&](int unit) {
    const int n = unit / blocks, first = unit % blocks * kLanes, lanes = std::min(kLanes, s.c - first);
    float* out = to + size_t(n) * s.oh * s.ow * s.c + first;
    if (first >= channels) return Clear(out, s.oh * s.ow, s.c, lanes);
    Lanes *packed = Scratch(0, rows * row), *centre = Scratch(1, s.k * s.k);
    Pack(from + size_t(n) * s.h * s.w * s.c + first, s.h, s.w, s.c, lanes, s.padding, 1, rows, row, packed);
    Centre(s, kernel, first, lanes, false, centre);
    FOR_SIDE_AND_STRIDE(Correlate, s.k, s.stride, packed, centre, row, s.oh, s.ow, s.k, s.stride, out, s.c, lanes);
  });
  return ffi::Error::Success();
}

ffi::Error Backward(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> x, ffi::Buffer<ffi::F32> w, ffi::Buffer<ffi::F32> g,
                    ffi::Buffer<ffi::S32> size, ffi::Buffer<ffi::S32> active, ffi::ResultBuffer<ffi::F32> dx,
                    ffi::ResultBuffer<ffi::F32> dw, int64_t stride, int64_t padding) {
  const Shape s = Describe(x, w, g, size.typed_data()[0], stride, padding);
  if (s.k > 32) return ffi::Error::InvalidArgument("a kernel of more than 32 x 32");
  const int channels = active.typed_data()[0], blocks = (s.c + kLanes - 1) / kLanes;
  const int grow = RoundUp(s.ow, kPixels), taps = s.k * s.k, chunks = std::min(kChunks, s.n);
  const int row = (grow - 1) * s.stride + s.k, rows = (s.oh - 1) * s.stride + s.k;
  const int back = RoundUp(s.w, kPixels) + s.k - 1, backs = s.h + s.k - 1;
  const float *from = x.typed_data(), *kernel = w.typed_data(), *coming = g.typed_data();
  float *to = dx->typed_data(), *sums = dw->typed_data();
  std::unique_ptr<Lanes[]> parts(new Lanes[size_t(chunks) * blocks * taps]());
  Parallel(pool, chunks * blocks, [&](int unit) {
    const int chunk = unit / blocks, block = unit % blocks, first = block * kLanes;
    const int lanes = std::min(kLanes, s.c - first);
    Lanes mirrored[32 * 32];
    Centre(s, kernel, first, lanes, true, mirrored);
    for (int n = s.n * chunk / chunks; n < s.n * (chunk + 1) / chunks; ++n) {
      float* out = to + size_t(n) * s.h * s.w * s.c + first;
      if (first >= channels) {
        Clear(out, s.h * s.w, s.c, lanes);
        continue;
      }
      const float* image = coming + size_t(n) * s.oh * s.ow * s.c + first;
      Lanes* packed = Scratch(0, std::max(rows * row, backs * back));
      Lanes* gradient = Scratch(1, s.oh * grow);
      Pack(image, s.oh, s.ow, s.c, lanes, s.k - 1 - s.padding, s.stride, backs, back, packed);
      FOR_SIDE_AND_STRIDE(Correlate, s.k, 1, packed, mirrored, back, s.h, s.w, s.k, 1, out, s.c, lanes);
      Pack(image, s.oh, s.ow, s.c, lanes, 0, 1, s.oh, grow, gradient);
      Pack(from + size_t(n) * s.h * s.w * s.c + first, s.h, s.w, s.c, lanes, s.padding, 1, rows, row, packed);
      Lanes* part = parts.get() + (size_t(chunk) * blocks + block) * taps;
      FOR_SIDE_AND_STRIDE(KernelGradient, s.k, s.stride, packed, gradient, row, grow, s.oh, s.k, s.stride, part);
    }
  });
  std::memset(sums, 0, sizeof(float) * s.full * s.full * s.c);
  const int edge = (s.full - s.k) / 2;
  for (int block = 0; block < blocks; ++block) {
    for (int tap = 0; tap < taps; ++tap) {
      Lanes total = {};
      for (int chunk = 0; chunk < chunks; ++chunk) total += parts[(size_t(chunk) * blocks + block) * taps + tap];
      float* out = sums + ((edge + tap / s.k) * s.full + edge + tap % s.k) * s.c + block * kLanes;
      Copy(out, &total, std::min(kLanes, s.c - block * kLanes));
    }
  }
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(DepthwiseForward, Forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::S32>>()
                                  .Arg<ffi::Buffer<ffi::S32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>()
                                  .Attr<int64_t>("stride")
                                  .Attr<int64_t>("padding"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(DepthwiseBackward, Backward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::S32>>()
                                  .Arg<ffi::Buffer<ffi::S32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>()
                                  .Attr<int64_t>("stride")
                                  .Attr<int64_t>("padding"));
