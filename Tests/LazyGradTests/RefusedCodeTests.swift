// A program whose requests for code memory are refused from some moment on goes on with the same bits:
// which kernels run is no matter of values.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

#if os(Linux) && (arch(x86_64) || arch(arm64))
  @Suite struct RefusedCodeTests {
    /// The bits of a program that has everything in it: elementary functions alone and fused, products
    /// of all kinds, reductions and gradients, in both types.
    static func program() -> [UInt64] {
      var random = SeededRandom(seed: 3)
      var bits: [UInt64] = []
      func keep(_ tensors: Tensor...) {
        eval(tensors)
        for x in tensors { bits += x.elements(as: Double.self).map(\.bitPattern) }
      }
      for dtype in [DType.float64, .float32] {
        func numbers(_ shape: [Int], _ low: Double, _ high: Double) -> Tensor {
          let values = (0..<shape.reduce(1, *)).map { _ in random.uniform(low...high) }
          return Tensor(NDArray(values, shape: shape).astype(dtype))
        }
        let x = numbers([500], -20, 20)
        let y = numbers([500], -3, 3)
        let large = numbers([500], -1e9, 1e9)
        let positive = numbers([500], 1e-3, 50)
        keep(exp(x), expm1(x), sin(x), cos(x), tanh(x), sigmoid(x), erf(x))
        keep(sin(large), cos(large), log(positive), log1p(positive), positive ** y, sqrt(positive))
        keep((tanh(x * y + 1.0) * exp(-x * x)).sum(), (sigmoid(x) * sin(y)).mean())
        let image = numbers([30, 40], -4, 4)
        let e = exp(image - image.max(axis: 1, keepDims: true))
        keep(e / e.sum(axis: 1, keepDims: true), log(e.sum(axis: 0)))
        // Products of one part and of three, batches, one column, one row, a transposed operand.
        let a = numbers([20, 700], -1, 1)
        let b = numbers([700, 24], -1, 1)
        keep(matmul(a, b), matmul(a, b[0..<700, 0]), matmul(a[0], b), matmul(b.transposed(), b))
        keep(matmul(numbers([40, 30, 9], -1, 1), numbers([40, 9, 12], -1, 1)))
        keep(matmul(numbers([64, 64], -1, 1), numbers([64, 520], -1, 1)))
        // A recurrent network and its gradients.
        let (u, w) = (numbers([8, 16], -1, 1), numbers([16, 16], -0.3, 0.3))
        var h = numbers([4, 16], -1, 1)
        for _ in 0..<5 { h = tanh(matmul(numbers([4, 8], -1, 1), u) + matmul(h, w)) }
        let loss = (h * sigmoid(h)).sum()
        loss.backward()
        keep(loss, u.grad!, w.grad!)
      }
      return bits
    }

    @Test(.enabled(if: NativeCode.available.count > 1))
    func refusalInMidProcessChangesNoBit() async {
      await #expect(processExitsWith: .success) {
        for set in NativeCode.available where set != .portable {
          #expect(NativeCode.select(set))
          let expected = RefusedCodeTests.program()
          for step in [CodeMemory.Step.map, .protect] {
            PlanCache.shared.removeAll()
            CodeMemory.shared.fail(at: step)
            let before = CodeMemory.shared.counters
            #expect(RefusedCodeTests.program() == expected, "\(set) \(step)")
            let after = CodeMemory.shared.counters
            // That it was refused, and that there was nothing left of what had been granted.
            #expect(after.refusals - before.refusals > 30)
            #expect(after.installedBlocks == before.installedBlocks)
            CodeMemory.shared.fail(at: nil)
          }
          // Granted again.
          PlanCache.shared.removeAll()
          #expect(RefusedCodeTests.program() == expected)
        }
      }
    }
  }
#endif
