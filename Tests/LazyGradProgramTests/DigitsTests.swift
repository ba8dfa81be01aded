// A classifier of small pictures of digits: two layers, minibatches, momentum.

import LazyGrad
import Testing

/// Ten digits, five dots by seven; a row of dots is a number of five bits.
private let glyphs = [
  [14, 17, 19, 21, 25, 17, 14], [4, 12, 4, 4, 4, 4, 14], [14, 17, 1, 2, 4, 8, 31],
  [31, 2, 4, 2, 1, 17, 14], [2, 6, 10, 18, 31, 2, 2], [31, 16, 30, 1, 1, 17, 14],
  [6, 8, 16, 30, 17, 17, 14], [31, 1, 2, 4, 8, 8, 8], [14, 17, 17, 14, 17, 17, 14],
  [14, 17, 17, 15, 1, 2, 12],
]

/// Noisy pictures of 8 by 8 with the digit somewhere in them, one a row.
private func pictures(of labels: [Int], _ noise: inout Noise) -> Tensor {
  let images = Tensor(noise.array(labels.count, 8, 8, scale: 0.3), constant: true)
  for (i, label) in labels.enumerated() {
    let (left, top) = (i / 10 % 4, i / 40 % 2)
    let dots = glyphs[label].map { bits in (0..<5).map { Double(bits >> (4 - $0) & 1) } }
    images[i, top..<top + 7, left..<left + 5] += Tensor(dots)
  }
  return images.reshaped(labels.count, 64)
}

@Suite struct DigitsTests {
  @Test func learnsDigits() throws {
    var noise = Noise(2)
    let labels = (0..<300).map { $0 % 10 }
    let (x, y) = (pictures(of: labels, &noise), NDArray(labels))

    let parameters = [
      Tensor(noise.array(64, 32, scale: 0.2)), Tensor.zeros([32]),
      Tensor(noise.array(32, 10, scale: 0.2)), Tensor.zeros([10]),
    ]
    let velocities = parameters.map { Tensor.zeros(like: $0, constant: true) }
    func scores(_ x: Tensor) -> Tensor {
      let hidden = relu(matmul(x, parameters[0]) + parameters[1])
      return matmul(hidden, parameters[2]) + parameters[3]
    }

    var losses: [Double] = []
    for _ in 0..<40 {
      var loss = Tensor(0.0)
      for start in stride(from: 0, to: 200, by: 50) {
        let batch = start..<start + 50
        loss = softmaxCrossEntropy(scores(x[batch]), y[batch])
        loss.backward()
        noAutodiff {
          for (parameter, velocity) in zip(parameters, velocities) {
            velocity.assign(0.9 * velocity - 0.1 * parameter.gradient)
            parameter += velocity
          }
        }
        eval(parameters + velocities)
      }
      losses.append(loss.item())
    }
    let found = noAutodiff { scores(x[200...]).argmax(axis: 1) }
    let right = (found .== y[200...]).sum()

    #expect(Int(right) >= 90)
    let fixture = try Fixture("digits")
    try fixture.expect(losses, "losses")
    try fixture.expect(parameters[3], "bias")
    try fixture.expect(found, "found")
    try fixture.expect(right, "right")
  }
}
