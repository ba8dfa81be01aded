// Programs whose instructions perf/arm64-counts counts: those of lgbench's W1, W2 and W3, without a clock.
//
// Usage: InstructionCounts PROGRAM RUNS; what the runs have in common is the difference of two numbers of them.

import LazyGrad

private func numbers(
  _ shape: [Int], scale: Double = 1, seed: UInt64 = 1, constant: Bool = false
) -> Tensor {
  let count = shape.reduce(1, *)
  let values = (0..<count).map { i -> Double in
    let bits = (UInt64(i) &+ seed &* 7919) &* 0x9E37_79B9_7F4A_7C15
    return (Double(bits >> 11) * 0x1p-53 - 0.5) * scale
  }
  return Tensor(NDArray(values, shape: shape, dtype: .float32), constant: constant)
}

/// A pass of the recurrent network: `h = tanh(x @ Wx + h @ Wh + b)`, a linear layer, softmax cross-entropy.
private func recurrent(
  steps: Int, batch: Int, inputs: Int, hidden: Int, classes: Int
) -> () -> Void {
  let data = (0..<steps).map { numbers([batch, inputs], seed: UInt64($0), constant: true) }
  let (wx, wh) = (numbers([inputs, hidden]), numbers([hidden, hidden], scale: 0.3))
  let (bias, output) = (numbers([hidden]), numbers([hidden, classes]))
  let zeros = NDArray([Float](repeating: 0, count: batch * hidden), shape: [batch, hidden])
  let start = Tensor(zeros, constant: true)
  let labels = NDArray((0..<batch).map { $0 % classes })
  return {
    var h = start
    for x in data { h = tanh(matmul(x, wx) + matmul(h, wh) + bias) }
    let loss = softmaxCrossEntropy(matmul(h, output), labels)
    loss.backward()
    let gradients = [wx, wh, bias, output].map(\.gradient)
    eval([loss] + gradients)
  }
}

/// `sum(tanh(a*b + c) * exp(-a*a))`.
private func chain(_ count: Int) -> () -> Void {
  let (a, b, c) = (numbers([count]), numbers([count], seed: 2), numbers([count], seed: 3))
  return { noAutodiff { eval([(tanh(a * b + c) * exp(-a * a)).sum()]) } }
}

/// Additions, products and a choice, one after the other.
private func plainChain(_ count: Int) -> () -> Void {
  let (a, b, c) = (numbers([count]), numbers([count], seed: 2), numbers([count], seed: 3))
  return { noAutodiff { eval([relu((a * b + c) * 0.5 - a)]) } }
}

private func product(_ m: Int, _ k: Int, _ n: Int) -> () -> Void {
  let (a, b) = (numbers([m, k]), numbers([k, n], seed: 2))
  return { noAutodiff { eval([matmul(a, b)]) } }
}

@main struct InstructionCounts {
  private static let programs: [String: @Sendable () -> () -> Void] = [
    "W1 S": { recurrent(steps: 50, batch: 1, inputs: 8, hidden: 16, classes: 4) },
    "W1 M": { recurrent(steps: 100, batch: 16, inputs: 32, hidden: 64, classes: 10) },
    "W2 1000": { chain(1000) }, "W2 100000": { chain(100_000) },
    "plain chain 100000": { plainChain(100_000) },
    "W3 16x16x16": { product(16, 16, 16) }, "W3 64x64x64": { product(64, 64, 64) },
    "W3 256x256x256": { product(256, 256, 256) }, "W3 1x64x64": { product(1, 64, 64) },
  ]

  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count == 3, let make = programs[arguments[1]], let runs = Int(arguments[2])
    else {
      print(programs.keys.sorted().joined(separator: "\n"))
      return
    }
    LazyGradEngine.threads = 1
    let work = make()
    for _ in 0..<runs { work() }
  }
}
