// W2 in C, one thread: the elementwise chain and its gradients in one fused pass over memory, with
// the compiler's vector tanh and exp where the C library has them.
//
// Build: gcc -O3 -march=native -ffast-math -fopenmp-simd ew.c -o ew -lm
// Usage: ew <folder written by gen_data.py> [seconds] [elements]
#define _GNU_SOURCE
#include <math.h>

#include "timing.h"

enum { CHUNK = 4096 };

static long N;
static float *a, *b, *c, *da, *db, *dc;

// Chunks are summed in double so that the loss does not drift with the size.
static float forward(void *context) {
  (void)context;
  double total = 0;
  for (long i0 = 0; i0 < N; i0 += CHUNK) {
    long end = i0 + CHUNK < N ? i0 + CHUNK : N;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (long i = i0; i < end; i++) sum += tanhf(a[i] * b[i] + c[i]) * expf(-a[i] * a[i]);
    total += sum;
  }
  return (float)total;
}

static float train(void *context) {
  (void)context;
  double total = 0;
  for (long i0 = 0; i0 < N; i0 += CHUNK) {
    long end = i0 + CHUNK < N ? i0 + CHUNK : N;
    float sum = 0;
    const float *restrict pa = a, *restrict pb = b, *restrict pc = c;
    float *restrict ga = da, *restrict gb = db, *restrict gc = dc;
#pragma omp simd reduction(+ : sum)
    for (long i = i0; i < end; i++) {
      float t = tanhf(pa[i] * pb[i] + pc[i]), e = expf(-pa[i] * pa[i]), d = (1 - t * t) * e;
      sum += t * e;
      gc[i] = d;
      gb[i] = d * pa[i];
      ga[i] = d * pb[i] - 2 * pa[i] * t * e;
    }
    total += sum;
  }
  return (float)total;
}

static double gradient_norm(void) {
  double sum = 0;
  for (long i = 0; i < N; i++)
    sum += (double)da[i] * da[i] + (double)db[i] * db[i] + (double)dc[i] * dc[i];
  return sqrt(sum);
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: ew <data folder> [seconds] [elements]\n");
    return 2;
  }
  double seconds = argc > 2 ? atof(argv[2]) : 1;
  long sizes[] = {1000, 100000, 10000000}, only = argc > 3 ? atol(argv[3]) : 0;
  for (int k = 0; k < 3; k++) {
    N = sizes[k];
    if (only && only != N) continue;
    char path[1024], name[32];
    snprintf(name, sizeof name, "%ld", N);
    snprintf(path, sizeof path, "%s/ew_%ld.bin", argv[1], N);
    FILE *file = fopen(path, "rb");
    if (!file) {
      fprintf(stderr, "cannot read %s\n", path);
      return 2;
    }
    float **arrays[] = {&a, &b, &c, &da, &db, &dc};
    for (int i = 0; i < 6; i++) *arrays[i] = i < 3 ? read_floats(file, N) : floats(N);
    fclose(file);
    measure("W2", "fused", name, "train", seconds, train, NULL, gradient_norm);
    measure("W2", "fused", name, "forward", seconds, forward, NULL, NULL);
    for (int i = 0; i < 6; i++) free(*arrays[i]);
  }
}
