// W6 in C, one thread: sums over either axis, softmax of rows and a transposed copy, at the speed of
// memory. Results are checked against double precision before anything is timed.
//
// Build: gcc -O3 -march=native -ffast-math -fopenmp-simd reduce.c -o reduce -lm
// Usage: reduce [seconds] [case]
#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#include "timing.h"

#if defined(__AVX512F__)
enum { LANES = 16 };
#define STREAM(p, v) _mm512_stream_ps(p, (__m512)(v))
#elif defined(__AVX__)
enum { LANES = 8 };
#define STREAM(p, v) _mm256_stream_ps(p, (__m256)(v))
#else
enum { LANES = 4 };
#define STREAM(p, v) (*(vec *)(p) = (v))
#endif
typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t mask __attribute__((vector_size(4 * LANES)));

enum { N = 4096, SOFTMAX_COLUMNS = 1024, BLOCK = 64 };
static float *input, *softmax_input, *output;

// Eight rows at a time are added to a row of sums that stays in the first-level cache.
static float sum0(void *context) {
  (void)context;
  float *restrict sums = output;
  memset(sums, 0, N * sizeof(float));
  for (int i = 0; i < N; i += 8) {
    const float *restrict r = input + (size_t)i * N;
    for (int j = 0; j < N; j++)
      sums[j] += ((r[j] + r[j + N]) + (r[j + 2 * N] + r[j + 3 * N])) +
                 ((r[j + 4 * N] + r[j + 5 * N]) + (r[j + 6 * N] + r[j + 7 * N]));
  }
  return sums[5];
}

// Eight partial sums hide the latency of the additions; fetching a row ahead, across the pages at
// which the hardware's own fetching stops, makes a fifth.
static float sum1(void *context) {
  (void)context;
  for (int i = 0; i < N; i++) {
    const float *r = input + (size_t)i * N;
    vec s[8] = {{0}};
    for (int j = 0; j < N; j += 8 * LANES)
#pragma GCC unroll 8
      for (int k = 0; k < 8; k++) {
        const float *p = r + j + k * LANES;
        __builtin_prefetch(p + N);
        s[k] += *(const vec *)p;
      }
    vec t = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
    float sum = 0;
    for (int k = 0; k < LANES; k++) sum += t[k];
    output[i] = sum;
  }
  return output[5];
}

static float softmax(void *context) {
  (void)context;
  for (int i = 0; i < N; i++) {
    const float *restrict r = softmax_input + (size_t)i * SOFTMAX_COLUMNS;
    float *restrict w = output + (size_t)i * SOFTMAX_COLUMNS;
    float top = r[0], sum = 0;
#pragma omp simd reduction(max : top)
    for (int j = 0; j < SOFTMAX_COLUMNS; j++) top = r[j] > top ? r[j] : top;
#pragma omp simd reduction(+ : sum)
    for (int j = 0; j < SOFTMAX_COLUMNS; j++) sum += w[j] = expf(r[j] - top);
    float scale = 1 / sum;
    for (int j = 0; j < SOFTMAX_COLUMNS; j++) w[j] *= scale;
  }
  return output[5];
}

// One exchange of a transposition in registers: blocks of `step` lanes across rows `step` apart.
// GCC folds the masks and picks the instructions.
#define EXCHANGE(step)                            \
  {                                               \
    mask low, high;                               \
    for (int l = 0; l < LANES; l++) {             \
      low[l] = l & step ? LANES + l - step : l;   \
      high[l] = l & step ? LANES + l : l + step;  \
    }                                             \
    _Pragma("GCC unroll 16")                      \
    for (int i = 0; i < LANES; i++) {             \
      if (i & step) continue;                     \
      vec a = r[i], b = r[i + step];              \
      r[i] = __builtin_shuffle(a, b, low);        \
      r[i + step] = __builtin_shuffle(a, b, high); \
    }                                             \
  }

// LANES x LANES elements; the result goes past the caches, nobody reads it soon.
static inline __attribute__((always_inline)) void tile(const float *from, float *to) {
  vec r[LANES];
#pragma GCC unroll 16
  for (int i = 0; i < LANES; i++) r[i] = *(const vec *)(from + (size_t)i * N);
  EXCHANGE(1)
  EXCHANGE(2)
#if defined(__AVX__)
  EXCHANGE(4)
#endif
#if defined(__AVX512F__)
  EXCHANGE(8)
#endif
#pragma GCC unroll 16
  for (int i = 0; i < LANES; i++) STREAM(to + (size_t)i * N, r[i]);
}

// In square blocks, so that neither reading nor writing jumps to another page with every vector:
// twice as fast as columns of tiles.
static float transpose(void *context) {
  (void)context;
  for (int row = 0; row < N; row += BLOCK)
    for (int column = 0; column < N; column += BLOCK)
      for (int j = column; j < column + BLOCK; j += LANES)
        for (int i = row; i < row + BLOCK; i += LANES)
          tile(input + (size_t)i * N + j, output + (size_t)j * N + i);
#if defined(__AVX__)
  _mm_sfence();
#endif
  return output[5];
}

static void check(const char *name, int index, double expected) {
  if (fabs(output[index] - expected) <= 1e-5 * fabs(expected)) return;
  fprintf(stderr, "reduce: %s is wrong at %d: %g, expected %g\n", name, index, output[index],
          expected);
  exit(1);
}

static void check_all(void) {
  sum0(NULL);
  for (int j = 0; j < N; j += 61) {
    double sum = 0;
    for (int i = 0; i < N; i++) sum += input[(size_t)i * N + j];
    check("sum0", j, sum);
  }
  sum1(NULL);
  for (int i = 0; i < N; i += 61) {
    double sum = 0;
    for (int j = 0; j < N; j++) sum += input[(size_t)i * N + j];
    check("sum1", i, sum);
  }
  softmax(NULL);
  for (int i = 0; i < N; i += 61) {
    const float *r = softmax_input + (size_t)i * SOFTMAX_COLUMNS;
    double sum = 0;
    for (int j = 0; j < SOFTMAX_COLUMNS; j++) sum += exp(r[j]);
    for (int j = 0; j < SOFTMAX_COLUMNS; j++)
      check("softmax", i * SOFTMAX_COLUMNS + j, exp(r[j]) / sum);
  }
  transpose(NULL);
  for (int i = 0; i < N; i += 61)
    for (int j = 0; j < N; j++) check("transpose", j * N + i, input[(size_t)i * N + j]);
}

int main(int argc, char **argv) {
  double seconds = argc > 1 ? atof(argv[1]) : 1;
  const char *only = argc > 2 ? argv[2] : NULL;
  size_t count = (size_t)N * N, softmax_count = (size_t)N * SOFTMAX_COLUMNS;
  input = floats(count), output = floats(count), softmax_input = floats(softmax_count);
  // A linear congruential generator: 0 to 1, and for the softmax -3 to 3.
  uint32_t state = 1;
  for (size_t i = 0; i < count; i++) {
    state = state * 1664525u + 1013904223u;
    input[i] = (float)(state >> 8) / (1 << 24);
  }
  for (size_t i = 0; i < softmax_count; i++) softmax_input[i] = input[i] * 6 - 3;
  check_all();
  struct {
    const char *name;
    float (*body)(void *);
  } cases[] = {{"sum0", sum0}, {"sum1", sum1}, {"softmax", softmax}, {"transpose", transpose}};
  for (int k = 0; k < 4; k++)
    if (!only || !strcmp(only, cases[k].name))
      measure("W6", "fused", cases[k].name, "forward", seconds, cases[k].body, NULL, NULL);
}
