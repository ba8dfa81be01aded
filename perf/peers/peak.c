// The ceilings of one core: multiply-add rate in registers, and copy and triad bandwidth by
// footprint. One JSON row each. The vector width is what the compiler is given.
//
// Build: gcc -O3 -march=native -ffp-contract=fast peak.c -o peak
// Usage: peak
#define _GNU_SOURCE
#include "timing.h"

#if defined(__AVX512F__)
enum { WIDTH = 64 };
#elif defined(__AVX__)
enum { WIDTH = 32 };
#else
enum { WIDTH = 16 };
#endif
typedef float vec __attribute__((vector_size(WIDTH)));

enum { CHAINS = 12, REPEATS = 11 };
static volatile float sink;

static void row(const char *name, const char *unit, double values[REPEATS]) {
  qsort(values, REPEATS, sizeof(double), ascending);
  printf("{\"peer\": \"machine\", \"case\": \"%s\", \"threads\": 1, \"vector_bytes\": %d, "
         "\"unit\": \"%s\", \"median\": %.2f, \"best\": %.2f}\n",
         name, (int)WIDTH, unit, values[REPEATS / 2], values[REPEATS - 1]);
  fflush(stdout);
}

static void multiply_add(void) {
  const long rounds = 10000000;
  double values[REPEATS];
  for (int r = 0; r < REPEATS; r++) {
    vec acc[CHAINS], scale = {0}, shift = {0};
    scale += 0.999999f;
    shift += 1e-7f;
    for (int i = 0; i < CHAINS; i++) acc[i] = shift * (float)i;
    double start = now();
    for (long k = 0; k < rounds; k++)
#pragma GCC unroll 12
      for (int i = 0; i < CHAINS; i++) acc[i] = acc[i] * scale + shift;
    double seconds = now() - start;
    for (int i = 1; i < CHAINS; i++) acc[0] += acc[i];
    sink = acc[0][0] + acc[0][1];
    values[r] = 2.0 * (double)rounds * CHAINS * (WIDTH / 4) / seconds * 1e-9;
  }
  row("multiply_add", "GFLOP/s", values);
}

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
    row(name, "GB/s", values);
  }
  free(a), free(b), free(c);
}

int main(void) {
  multiply_add();
  bandwidth("24KB", 2048);
  bandwidth("576KB", 49152);
  bandwidth("18MB", 1572864);
  bandwidth("192MB", 16777216);
}
