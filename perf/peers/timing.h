// Clock, sampling and the JSON row that the C programs share.
#ifndef LAZYGRAD_PEERS_TIMING_H
#define LAZYGRAD_PEERS_TIMING_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

enum { MAX_SAMPLES = 20000 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// Zeroed memory for n floats, aligned to a cache line; large blocks in huge pages where the system
// gives them, as LazyGrad asks for them too.
__attribute__((unused)) static float *floats(size_t n) {
  size_t bytes = n * sizeof(float), huge = (size_t)2 << 20;
  size_t unit = bytes >= 2 * huge ? huge : 64;
  bytes = (bytes + unit + 63) / unit * unit;
  float *p = aligned_alloc(unit, bytes);
  if (!p) exit(3);
#if defined(__linux__)
  if (unit == huge) madvise(p, bytes, MADV_HUGEPAGE);
#endif
  memset(p, 0, bytes);
  return p;
}

__attribute__((unused)) static float *read_floats(FILE *file, size_t n) {
  float *p = floats(n);
  if (fread(p, sizeof(float), n, file) != n) {
    fprintf(stderr, "data file is too short\n");
    exit(2);
  }
  return p;
}

// Samples body(context) for the given time and prints one row. Short bodies are repeated inside a
// sample until it lasts 100 us. No gradient_norm: there are no gradients.
__attribute__((unused)) static void measure(const char *workload, const char *mode,
                                            const char *name, const char *pass, double seconds,
                                            float (*body)(void *), void *context,
                                            double (*gradient_norm)(void)) {
  static double samples[MAX_SAMPLES];
  double start = now();
  volatile float loss = body(context);
  double first = now() - start, warm = seconds / 3 < 0.15 ? seconds / 3 : 0.15;
  long calls = 0;
  start = now();
  do {
    loss = body(context);
    calls++;
  } while (now() - start < warm);
  long inner = (long)(1e-4 / ((now() - start) / (double)calls)) + 1;
  int n = 0;
  double begin = now();
  while (n < MAX_SAMPLES && (n < 5 || now() - begin < seconds)) {
    start = now();
    for (long k = 0; k < inner; k++) loss = body(context);
    samples[n++] = (now() - start) / (double)inner;
  }
  qsort(samples, (size_t)n, sizeof(double), ascending);
  printf("{\"peer\": \"c\", \"version\": \"%s\", \"mode\": \"%s\", \"workload\": \"%s\", "
         "\"threads\": 1, \"case\": \"%s\", \"pass\": \"%s\", \"median_us\": %.4f, "
         "\"min_us\": %.4f, \"first_us\": %.3f, \"reps\": %ld",
         __VERSION__, mode, workload, name, pass, samples[n / 2] * 1e6, samples[0] * 1e6,
         first * 1e6, (long)n * inner);
  // The bodies of W6 return an element of their result, so that it is used; it is no loss.
  if (strcmp(workload, "W6")) printf(", \"loss\": %.9g", (double)loss);
  if (gradient_norm) printf(", \"gradient_norm\": %.9g", gradient_norm());
  printf("}\n");
  fflush(stdout);
}

#endif
