// Multi-head self-attention, each word looking at itself and those before it, forward and backward:
// once by einsum, once by transposes and products of batches.

import LazyGrad
import Testing

private struct Attention {
  let heads: Int
  let query, key, value, mix: Tensor

  init(size: Int, heads: Int, _ noise: inout Noise) {
    self.heads = heads
    query = Tensor(noise.array(size, size, scale: 0.5))
    key = Tensor(noise.array(size, size, scale: 0.5))
    value = Tensor(noise.array(size, size, scale: 0.5))
    mix = Tensor(noise.array(size, size, scale: 0.5))
  }

  /// Chances of looking from each place at each other, 0 at those that come later.
  private func chances(_ scores: Tensor, width: Int) -> Tensor {
    let places = Tensor.arange(scores.shape[scores.rank - 1])
    let past = places[.all, .newAxis] .>= places
    return softmax(`where`(past, scores / Double(width).squareRoot(), -1e9))
  }

  func byEinsum(_ x: Tensor) -> Tensor {
    let (batch, length, size) = (x.shape[0], x.shape[1], x.shape[2])
    func split(_ w: Tensor) -> Tensor { matmul(x, w).reshaped(batch, length, heads, size / heads) }

    let scores = einsum("bqhd,bkhd->bhqk", split(query), split(key))
    let mixed = einsum("bhqk,bkhd->bqhd", chances(scores, width: size / heads), split(value))
    return matmul(mixed.reshaped(x.shape), mix)
  }

  func byTransposes(_ x: Tensor) -> Tensor {
    let (batch, length, size) = (x.shape[0], x.shape[1], x.shape[2])
    func split(_ w: Tensor) -> Tensor {
      matmul(x, w).reshaped(batch, length, heads, size / heads).transposed(0, 2, 1, 3)
    }

    let scores = matmul(split(query), split(key).swappedAxes(-1, -2))
    let mixed = matmul(chances(scores, width: size / heads), split(value))
    return matmul(mixed.transposed(0, 2, 1, 3).reshaped(x.shape), mix)
  }
}

@Suite struct AttentionTests {
  @Test(arguments: [true, false])
  func forwardAndBackward(usingEinsum: Bool) throws {
    var noise = Noise(9)
    let x = Tensor(noise.array(2, 5, 16))
    let attention = Attention(size: 16, heads: 4, &noise)
    let weight = noise.array(2, 5, 16)

    let output = usingEinsum ? attention.byEinsum(x) : attention.byTransposes(x)
    output.backward(Tensor(weight))

    let fixture = try Fixture("attention")
    try fixture.expect(output, "output")
    try fixture.expect(x.gradient, "input")
    try fixture.expect(attention.query.gradient, "query")
    try fixture.expect(attention.key.gradient, "key")
    try fixture.expect(attention.value.gradient, "value")
    try fixture.expect(attention.mix.gradient, "mix")
  }
}
