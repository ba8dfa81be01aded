// W1 in C, one thread, forward and backward written by hand: what the machine can do.
//
// Mode "simple": plain loops that the compiler vectorises, weight gradients added up per step.
// Mode "blocked": register-blocked products (GCC vector extensions); input projection and weight
// gradients hoisted out of the time loop as single products.
//
// Build: gcc -O3 -march=native -ffast-math -fopenmp-simd rnn.c -o rnn -lm
// Usage: rnn <name of the case> <file written by gen_data.py> [seconds]
#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>

#include "timing.h"

// Tiles of 6 x WIDE vectors must fit the registers: 32 with AVX-512, else 16.
#if defined(__AVX512F__)
enum { LANES = 16, WIDE = 4, BLOCK = 256 };
#else
enum { LANES = 8, WIDE = 2, BLOCK = 256 };
#endif
typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

// The steps of case S last some tens of nanoseconds: a call that passes structures shows.
#define INLINE static inline __attribute__((always_inline))

static int T, B, I, H, C;
static float *x, *Wx, *Wh, *b, *Wo, *bo;
static float *dWx, *dWh, *db, *dWo, *dbo;
static float *hs, *dzs, *WhT, *WoT, *logits, *dh;
static int32_t *labels;

// out[M, N] += a[M, K] * w[K, N]
static void simple(int M, int K, int N, const float *restrict a, const float *restrict w,
                   float *restrict out) {
  for (int m = 0; m < M; m++)
    for (int k = 0; k < K; k++) {
      float s = a[m * K + k];
      for (int j = 0; j < N; j++) out[m * N + j] += s * w[k * N + j];
    }
}

// out[K, N] += transposed(a[M, K]) * g[M, N]
static void simple_transposed(int M, int K, int N, const float *restrict a,
                              const float *restrict g, float *restrict out) {
  for (int m = 0; m < M; m++)
    for (int k = 0; k < K; k++) {
      float s = a[m * K + k];
      for (int j = 0; j < N; j++) out[k * N + j] += s * g[m * N + j];
    }
}

// One operand of `blocked`: element (m, k) is at p[m * row + k * column].
typedef struct {
  const float *p;
  size_t row, column;
} Matrix;

// rows x (columns * LANES) outputs in registers; constant sizes after inlining.
INLINE void tile(int rows, int columns, int K, Matrix a, const float *w, float *out, size_t N,
                 int accumulate, const float *bias) {
  vec c[8][WIDE];
  for (int m = 0; m < rows; m++)
    for (int n = 0; n < columns; n++)
      c[m][n] = bias         ? *(const vec *)(bias + LANES * n)
                : accumulate ? *(const vec *)(out + (size_t)m * N + LANES * n)
                             : (vec){0};
  for (int k = 0; k < K; k++) {
    vec v[WIDE];
    for (int n = 0; n < columns; n++) v[n] = *(const vec *)(w + (size_t)k * N + LANES * n);
#pragma GCC unroll 8
    for (int m = 0; m < rows; m++) {
      float s = a.p[(size_t)m * a.row + (size_t)k * a.column];
#pragma GCC unroll 4
      for (int n = 0; n < columns; n++) c[m][n] += s * v[n];
    }
  }
  for (int m = 0; m < rows; m++)
    for (int n = 0; n < columns; n++) *(vec *)(out + (size_t)m * N + LANES * n) = c[m][n];
}

// One row against one vector of columns: four partial sums hide the latency of the additions.
INLINE void single_row(int K, Matrix a, const float *w, float *out, size_t N, int accumulate,
                       const float *bias) {
  vec c0 = bias ? *(const vec *)bias : accumulate ? *(const vec *)out : (vec){0};
  vec c1 = {0}, c2 = {0}, c3 = {0};
  int k = 0;
  for (; k + 4 <= K; k += 4) {
    const float *p = a.p + (size_t)k * a.column, *q = w + (size_t)k * N;
    c0 += p[0] * *(const vec *)q;
    c1 += p[a.column] * *(const vec *)(q + N);
    c2 += p[2 * a.column] * *(const vec *)(q + 2 * N);
    c3 += p[3 * a.column] * *(const vec *)(q + 3 * N);
  }
  for (; k < K; k++)
    c0 += a.p[(size_t)k * a.column] * *(const vec *)(w + (size_t)k * N);
  *(vec *)out = (c0 + c1) + (c2 + c3);
}

// Tiles of so many rows for as long as they fit and the condition holds.
#define ROWS(rows, columns, condition)                                                        \
  for (; m + rows <= M && (condition); m += rows) {                                           \
    Matrix part = {a.p + (size_t)m * a.row, a.row, a.column};                                 \
    tile(rows, columns, K, part, w, out + (size_t)m * N, N, accumulate, bias);                \
  }

// Six rows use the registers best; the rest should be fours, not a two.
INLINE void wide_columns(int M, int K, Matrix a, const float *w, float *out, size_t N,
                         int accumulate, const float *bias) {
  int m = 0;
  ROWS(6, WIDE, M - m != 8 && M - m != 4)
  ROWS(4, WIDE, 1)
  ROWS(2, WIDE, 1)
  ROWS(1, WIDE, 1)
}

INLINE void narrow_columns(int M, int K, Matrix a, const float *w, float *out, size_t N,
                           int accumulate, const float *bias) {
  int m = 0;
  ROWS(8, 1, 1)
  ROWS(4, 1, 1)
  for (; m < M; m++) {
    Matrix part = {a.p + (size_t)m * a.row, a.row, a.column};
    single_row(K, part, w, out + (size_t)m * N, N, accumulate, bias);
  }
}

// out[M, N] = (bias or out or 0) + a * w; N is a multiple of LANES. K in blocks that stay in L1.
INLINE void blocked(int M, int K, int N, Matrix a, const float *w, float *out, int accumulate,
                    const float *bias) {
  for (int k = 0; k < K; k += BLOCK) {
    int depth = K - k < BLOCK ? K - k : BLOCK, add = accumulate || k > 0;
    const float *start = k ? NULL : bias, *rows = w + (size_t)k * N;
    Matrix part = {a.p + (size_t)k * a.column, a.row, a.column};
    int j = 0;
    for (; j + LANES * WIDE <= N; j += LANES * WIDE)
      wide_columns(M, depth, part, rows + j, out + j, N, add, start ? start + j : NULL);
    for (; j + LANES <= N; j += LANES)
      narrow_columns(M, depth, part, rows + j, out + j, N, add, start ? start + j : NULL);
  }
}

static void forward_states(int fast) {
  int BH = B * H;
  if (fast) blocked(T * B, I, H, (Matrix){x, I, 1}, Wx, hs + BH, 0, b);
  for (int t = 0; t < T; t++) {
    float *before = hs + (size_t)t * BH, *h = before + BH;
    if (fast) {
      blocked(B, H, H, (Matrix){before, H, 1}, Wh, h, 1, NULL);
    } else {
      for (int r = 0; r < B; r++) memcpy(h + r * H, b, (size_t)H * 4);
      simple(B, I, H, x + (size_t)t * B * I, Wx, h);
      simple(B, H, H, before, Wh, h);
    }
#pragma omp simd
    for (int i = 0; i < BH; i++) h[i] = tanhf(h[i]);
  }
}

// The mean loss; leaves its gradient with respect to the logits in `logits`.
static float cross_entropy(const float *last) {
  float loss = 0;
  for (int r = 0; r < B; r++) memcpy(logits + r * C, bo, (size_t)C * 4);
  simple(B, H, C, last, Wo, logits);
  for (int r = 0; r < B; r++) {
    float *z = logits + r * C, top = z[0], sum = 0, own = z[labels[r]];
    for (int c = 1; c < C; c++) top = z[c] > top ? z[c] : top;
    for (int c = 0; c < C; c++) sum += z[c] = expf(z[c] - top);
    loss += logf(sum) - (own - top);
    for (int c = 0; c < C; c++) z[c] /= sum * (float)B;
    z[labels[r]] -= 1.0f / (float)B;
  }
  return loss / (float)B;
}

static void backward_states(int fast) {
  int BH = B * H;
  const float *last = hs + (size_t)T * BH;
  memset(dWo, 0, (size_t)H * C * 4);
  memset(dbo, 0, (size_t)C * 4);
  memset(db, 0, (size_t)H * 4);
  memset(dh, 0, (size_t)BH * 4);
  simple_transposed(B, H, C, last, logits, dWo);
  for (int r = 0; r < B; r++)
    for (int c = 0; c < C; c++) dbo[c] += logits[r * C + c];
  for (int i = 0; i < H; i++) {
    for (int j = 0; j < H; j++) WhT[j * H + i] = Wh[i * H + j];
    for (int j = 0; j < C; j++) WoT[j * H + i] = Wo[i * C + j];
  }
  simple(B, C, H, logits, WoT, dh);
  if (!fast) {
    memset(dWx, 0, (size_t)I * H * 4);
    memset(dWh, 0, (size_t)H * H * 4);
  }
  for (int t = T - 1; t >= 0; t--) {
    float *before = hs + (size_t)t * BH, *h = before + BH, *dz = dzs + (size_t)t * BH;
    for (int i = 0; i < BH; i++) dz[i] = dh[i] * (1 - h[i] * h[i]);
    for (int r = 0; r < B; r++)
      for (int j = 0; j < H; j++) db[j] += dz[r * H + j];
    if (fast) {
      if (t) blocked(B, H, H, (Matrix){dz, H, 1}, WhT, dh, 0, NULL);
    } else {
      simple_transposed(B, I, H, x + (size_t)t * B * I, dz, dWx);
      simple_transposed(B, H, H, before, dz, dWh);
      memset(dh, 0, (size_t)BH * 4);
      if (t) simple(B, H, H, dz, WhT, dh);
    }
  }
  if (fast) {
    blocked(I, T * B, H, (Matrix){x, 1, I}, dzs, dWx, 0, NULL);
    blocked(H, T * B, H, (Matrix){hs, 1, H}, dzs, dWh, 0, NULL);
  }
}

typedef struct {
  int fast, train;
} Variant;

static float step(void *context) {
  Variant v = *(Variant *)context;
  forward_states(v.fast);
  float loss = cross_entropy(hs + (size_t)T * B * H);
  if (v.train) backward_states(v.fast);
  return loss;
}

static double gradient_norm(void) {
  float *gradients[] = {dWx, dWh, db, dWo, dbo};
  int counts[] = {I * H, H * H, H, H * C, C};
  double sum = 0;
  for (int i = 0; i < 5; i++)
    for (int k = 0; k < counts[i]; k++) sum += (double)gradients[i][k] * gradients[i][k];
  return sqrt(sum);
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: rnn <case> <data file> [seconds]\n");
    return 2;
  }
  FILE *file = fopen(argv[2], "rb");
  int32_t size[5];
  if (!file || fread(size, 4, 5, file) != 5) {
    fprintf(stderr, "cannot read %s\n", argv[2]);
    return 2;
  }
  T = size[0], B = size[1], I = size[2], H = size[3], C = size[4];
  if (H % LANES) return 2;
  x = read_floats(file, (size_t)T * B * I);
  Wx = read_floats(file, (size_t)I * H), Wh = read_floats(file, (size_t)H * H);
  b = read_floats(file, H), Wo = read_floats(file, (size_t)H * C), bo = read_floats(file, C);
  labels = (int32_t *)read_floats(file, B);
  fclose(file);
  dWx = floats((size_t)I * H), dWh = floats((size_t)H * H), db = floats(H);
  dWo = floats((size_t)H * C), dbo = floats(C);
  hs = floats((size_t)(T + 1) * B * H), dzs = floats((size_t)T * B * H);
  WhT = floats((size_t)H * H), WoT = floats((size_t)H * C);
  logits = floats((size_t)B * C), dh = floats((size_t)B * H);
  double seconds = argc > 3 ? atof(argv[3]) : 1;
  for (int fast = 0; fast < 2; fast++)
    for (int train = 1; train >= 0; train--) {
      Variant v = {fast, train};
      measure("W1", fast ? "blocked" : "simple", argv[1], train ? "train" : "forward", seconds,
              step, &v, train ? gradient_norm : NULL);
    }
}
