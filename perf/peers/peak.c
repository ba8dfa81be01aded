// The ceilings of one core: multiply-add rate in registers, with every width of vectors that the
// compiler may use, and copy and triad bandwidth by footprint. One JSON row each.
//
// Build: gcc -O3 -march=native -ffp-contract=fast peak.c -o peak
// Usage: peak [multiply_add]
#define _GNU_SOURCE
#include "timing.h"

#if defined(__AVX512F__)
enum { WIDEST = 64 };
#elif defined(__AVX__)
enum { WIDEST = 32 };
#else
enum { WIDEST = 16 };
#endif

enum { CHAINS = 12, REPEATS = 11 };
static volatile float sink;

static void row(const char *name, int vector_bytes, const char *unit, double values[REPEATS]) {
  qsort(values, REPEATS, sizeof(double), ascending);
  printf("{\"peer\": \"machine\", \"case\": \"%s\", \"threads\": 1, \"vector_bytes\": %d, "
         "\"unit\": \"%s\", \"median\": %.2f, \"best\": %.2f}\n",
         name, vector_bytes, unit, values[REPEATS / 2], values[REPEATS - 1]);
  fflush(stdout);
}

// Twelve independent chains hide the latency of the multiply-adds and fit the registers.
#define MULTIPLY_ADD(bytes)                                                           \
  static void multiply_add_##bytes(void) {                                            \
    typedef float vec __attribute__((vector_size(bytes)));                            \
    const long rounds = 10000000;                                                     \
    double values[REPEATS];                                                           \
    for (int r = 0; r < REPEATS; r++) {                                               \
      vec acc[CHAINS], scale = {0}, shift = {0};                                      \
      scale += 0.999999f;                                                             \
      shift += 1e-7f;                                                                 \
      for (int i = 0; i < CHAINS; i++) acc[i] = shift * (float)i;                     \
      double start = now();                                                           \
      for (long k = 0; k < rounds; k++)                                               \
        _Pragma("GCC unroll 12")                                                      \
        for (int i = 0; i < CHAINS; i++) acc[i] = acc[i] * scale + shift;             \
      double seconds = now() - start;                                                 \
      for (int i = 1; i < CHAINS; i++) acc[0] += acc[i];                              \
      sink = acc[0][0] + acc[0][1];                                                   \
      values[r] = 2.0 * (double)rounds * CHAINS * (bytes / 4) / seconds * 1e-9;       \
    }                                                                                 \
    row("multiply_add", bytes, "GFLOP/s", values);                                    \
  }

#if defined(__AVX512F__)
MULTIPLY_ADD(64)
#endif
#if defined(__AVX__)
MULTIPLY_ADD(32)
#endif
MULTIPLY_ADD(16)

// Three arrays of n floats each.
static void bandwidth(const char *level, size_t n) {
  float *a = floats(n), *b = floats(n), *c = floats(n);
  for (size_t i = 0; i < n; i++) a[i] = 1, b[i] = 2;
  long passes = (long)(100e6 / (double)n) + 1;
  for (int triad = 0; triad < 2; triad++) {
    double values[REPEATS];
    for (int r = 0; r < REPEATS; r++) {
      double start = now();
      for (long p = 0; p < passes; p++) {
        __asm__ volatile("" ::: "memory");
        if (triad)
          for (size_t i = 0; i < n; i++) c[i] = a[i] + 3.0f * b[i];
        else
          for (size_t i = 0; i < n; i++) c[i] = a[i];
      }
      double seconds = now() - start;
      sink = c[n / 2];
      values[r] = (triad ? 12.0 : 8.0) * (double)n * (double)passes / seconds * 1e-9;
    }
    char name[64];
    snprintf(name, sizeof name, "%s_%s", triad ? "triad" : "copy", level);
    row(name, WIDEST, "GB/s", values);
  }
  free(a), free(b), free(c);
}

int main(int argc, char **argv) {
#if defined(__AVX512F__)
  multiply_add_64();
#endif
#if defined(__AVX__)
  multiply_add_32();
#endif
  multiply_add_16();
  if (argc > 1 && !strcmp(argv[1], "multiply_add")) return 0;
  bandwidth("24KB", 2048);
  bandwidth("576KB", 49152);
  bandwidth("18MB", 1572864);
  bandwidth("192MB", 16777216);
}
