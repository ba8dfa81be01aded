// Compiled functions that several threads call at a time, on tensors of their own and on shared ones.

import Foundation
import LazyGrad
import LazyGradJIT
import Testing

extension ConcurrencyTests {
  private static let step = { @Sendable (t: [Tensor]) -> [Tensor] in
    let loss = square(tanh(matmul(t[1], t[0])) - t[2]).sum()
    loss.backward()
    return [loss] + noAutodiff { [t[0] - 0.1 * t[0].gradient, t[1].T] }
  }

  private static func losses(_ seed: Int, _ step: ([Tensor]) -> [Tensor]) -> [Double] {
    let width = 2 + seed % 3
    var w = Tensor((0..<(width * 2)).map { Double($0 + seed) / 16 }, shape: [width, 2])
    return (0..<30).map { k in
      let x = Tensor((0..<(3 * width)).map { Double(($0 + k) % 5) - 2 }, shape: [3, width])
      let results = step([w, x, Tensor.ones([3, 2]) * Double(k % 2)])
      w = results[1]
      return results[0].item()
    }
  }

  @Test func compiledFunctionOnSeveralThreads() async {
    let expected = (0..<8).map { Self.losses($0) { Self.step($0) } }
    for shapes in [1, 2, 32] {
      var limits = CompiledFunction.Limits()
      limits.shapes = shapes
      let step = CompiledFunction(limits: limits, Self.step)
      await withTaskGroup(of: (Int, [Double]).self) { group in
        for seed in 0..<8 {
          group.addTask { (seed, Self.losses(seed) { step($0) }) }
        }
        for await (seed, losses) in group { #expect(losses == expected[seed]) }
      }
      if shapes == 32 { #expect(step.calls.replayed > 8 * 15) }
    }
  }

  /// Results go from task to task, and are let go on another thread than the one that made them.
  @Test func compiledResultsMoveOn() async {
    let step = compiled { t in [t[0] * 2 + 1, t[0].sum()] }
    var x = Sent(value: Tensor([1.0, 2]))
    for k in 1...40 {
      let last = x
      x = await Task.detached { Sent(value: step(last.value)[0]) }.value
      #expect(
        x.value.elements(as: Double.self)[0] == Double(sign: .plus, exponent: k + 1, significand: 1)
          - 1)
      if k == 30 { break }
    }
    // Threads whose tapes other tests have given other limits take other plans.
    #expect(step.calls.replayed > 0 && step.obstacle == nil)
  }
}
