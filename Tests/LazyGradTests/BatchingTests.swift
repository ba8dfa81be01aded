// Programs that go through a batch sample by sample: the bits of values and gradients with their operations
// batched and without, whatever else is pending, read or held meanwhile.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite struct BatchingTests {
  struct Network {
    let w = Tensor(Self.numbers(8, 8, 1))
    let u = Tensor(Self.numbers(8, 8, 2))
    let b = Tensor(Self.numbers(1, 8, 3))
    let out = Tensor(Self.numbers(8, 3, 4))

    static func numbers(_ rows: Int, _ columns: Int, _ seed: Int) -> NDArray {
      let values = (0..<(rows * columns)).map { (k: Int) -> Float in
        Float((k * 7 + seed * 13) % 19 - 9) / 16
      }
      return NDArray(values, shape: [rows, columns])
    }

    var parameters: [Tensor] { [w, u, b, out] }

    var gradients: [[UInt32]] {
      parameters.map { $0.grad?.elements(as: Float.self).map(\.bitPattern) ?? [] }
    }

    /// The states of a tree over so many words, inner nodes joined from the left or from the right.
    func tree(_ words: Int, _ sample: Int, fromLeft: Bool) -> Tensor {
      var open = (0..<words).map { k in
        tanh(matmul(Tensor(Self.numbers(1, 8, 10 * sample + k), constant: true), u) + b)
      }
      while open.count > 1 {
        let (x, y) = fromLeft ? (open[0], open[1]) : (open[open.count - 2], open[open.count - 1])
        let gate = sigmoid(matmul(x, w) + b)
        let state = tanh(matmul(x + y, w) * gate + (1 - gate) * y)
        if fromLeft {
          open.replaceSubrange(0..<2, with: [state])
        } else {
          open.replaceSubrange((open.count - 2)..., with: [state])
        }
      }
      return open[0]
    }

    func loss(_ sample: Int) -> Tensor {
      let state = tree(2 + sample % 5, sample, fromLeft: sample % 2 == 0)
      return softmaxCrossEntropy(matmul(state, out), NDArray([sample % 3], shape: [1]))
    }
  }

  /// The bits of the losses and of the gradients, and how many kernels that took.
  private func train(
    _ batching: BatchLimits, window: UInt32, holds: Bool = false, reads: Bool = false,
    samples: Int = 12
  ) -> (bits: [[UInt32]], kernels: Int) {
    ConcurrencyTests.onNewThread {
      var limits = TapeLimits.usual
      limits.windowRecords = window
      limits.batching = batching
      return Tape.withLimits(limits) {
        let network = Network()
        var held: [Tensor] = []
        var total: Tensor?
        for sample in 0..<samples {
          let loss = network.loss(sample)
          if holds { held.append(loss) }
          if reads, sample % 5 == 4 { _ = loss.item() }
          total = total.map { $0 + loss } ?? loss
        }
        let before = Tape.current.locked { Tape.current.state.pointee.counters.kernelsRun }
        total!.backward()
        if !reads { eval([total!] + network.parameters.compactMap(\.grad)) }
        let bits =
          [[Float(total!.item()).bitPattern]] + network.gradients
          + held.map { [Float($0.item()).bitPattern] }
        let after = Tape.current.locked { Tape.current.state.pointee.counters.kernelsRun }
        return (bits, after - before)
      }
    }
  }

  @Test(arguments: [32768, 200, 23] as [UInt32], [false, true])
  func bitsOfGradients(window: UInt32, holds: Bool) {
    for reads in [false, true] {
      let alone = train(.off, window: window, holds: holds, reads: reads)
      #expect(alone.bits.allSatisfy { !$0.isEmpty })
      for limits in [BatchLimits.usual, .all] {
        let batched = train(limits, window: window, holds: holds, reads: reads)
        #expect(batched.bits == alone.bits, "window \(window), holds \(holds), reads \(reads)")
      }
    }
  }

  /// Without being asked, where there are enough samples.
  @Test func samplesAreBatchedByThemselves() {
    let alone = train(.off, window: 32768, samples: 80)
    let batched = train(.usual, window: 32768, samples: 80)
    #expect(4 * batched.kernels < alone.kernels, "\(batched.kernels) of \(alone.kernels)")
  }

  /// Models that are trained side by side share nothing but their data.
  @Test func anEnsemble() {
    func train(_ batching: BatchLimits) -> [[Float]] {
      ConcurrencyTests.onNewThread {
        var limits = TapeLimits.usual
        limits.batching = batching
        return Tape.withLimits(limits) {
          let x = Tensor(Network.numbers(4, 4, 7), constant: true)
          let models = (0..<24).map { Tensor(Network.numbers(4, 1, $0)) }
          for _ in 0..<3 {
            var total: Tensor?
            for w in models {
              let loss = square(sigmoid(matmul(x, w)) - 0.5).sum()
              total = total.map { $0 + loss } ?? loss
            }
            total!.backward()
            for w in models {
              noAutodiff { w -= 0.1 * w.grad! }
              w.nullGradient()
            }
          }
          return models.map { $0.elements(as: Float.self) }
        }
      }
    }
    #expect(train(.off) == train(.all))
    #expect(train(.off) == train(.usual))
  }
}
