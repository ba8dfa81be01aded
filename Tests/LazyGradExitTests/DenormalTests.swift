// Denormal numbers, and the switch that takes them for zero: in processes of their own, because it is the
// process's.

import Foundation
import LazyGrad
import Testing

#if os(Linux) || os(macOS)
  @Suite("Denormal numbers")
  struct DenormalTests {
    /// Numbers of which products with one half are denormal, in enough of them that several threads take part.
    private static func small(_ count: Int) -> Tensor {
      Tensor.full([count], Float.leastNormalMagnitude, dtype: .float32)
    }

    @Test("They are computed unless the switch is on, whatever runs")
    func switches() async {
      await #expect(processExitsWith: .success) {
        precondition(!LazyGradEngine.flushesDenormals)
        let half = Float.leastNormalMagnitude / 2
        for name in LazyGradEngine.availableInstructionSets {
          LazyGradEngine.selectInstructionSet(name)
          for threads in [1, 2] {
            LazyGradEngine.threads = threads
            for isOn in [false, true, false] {
              LazyGradEngine.flushesDenormals = isOn
              let wanted: Float = isOn ? 0 : half
              for count in [1, 5, 1 << 21] {
                let products = (Self.small(count) * Float(0.5)).elements(as: Float.self)
                precondition(products.allSatisfy { $0 == wanted }, "\(name) \(threads) \(count)")
              }
              let eye = Tensor(NDArray.eye(64, dtype: .float32)) * Float(0.5)
              let product = matmul(Self.small(64 * 64).reshaped([64, 64]), eye)
              precondition(product.elements(as: Float.self).allSatisfy { $0 == wanted }, name)
              // Of operands, not of results alone.
              let scaled = Tensor.full([9], half, dtype: .float32) * Float(0x1p60)
              let large: Float = isOn ? 0 : half * 0x1p60
              precondition(scaled.elements(as: Float.self).allSatisfy { $0 == large }, name)
              // They are equal to zero where they are sorted, and none takes the place of another one.
              let mixed = (0..<300).map { Float($0 * 7 % 300 - 150) * (half / 1024) }
              let sorted = Tensor(NDArray(mixed)).sorted().elements(as: Float.self)
              precondition(sorted == (isOn ? mixed.map { _ in 0 } : mixed.sorted()), name)
              // A thread's own arithmetic is as it was.
              let own = Float(ProcessInfo.processInfo.processorCount + 1) * half
              precondition(own != 0 && own / own == 1)
            }
          }
        }
      }
    }

    @Test("Compiled functions do as the switch says when they are called")
    func compiledFunctions() async {
      await #expect(processExitsWith: .success) {
        let product = compiled { [$0[0] * Float(0.5)] }
        for _ in 0..<3 { _ = product(Self.small(4)) }
        precondition(product(Self.small(4))[0].elements(as: Float.self)[3] != 0)
        LazyGradEngine.flushesDenormals = true
        precondition(product(Self.small(4))[0].elements(as: Float.self)[3] == 0)
      }
    }

    @Test("The environment says what a process begins with")
    func environment() async {
      await #expect(processExitsWith: .success) {
        setenv("LAZYGRAD_FLUSH_DENORMALS", "1", 1)
        precondition(LazyGradEngine.flushesDenormals)
        precondition((Self.small(3) * Float(0.5)).elements(as: Float.self) == [0, 0, 0])
      }
    }
  }
#endif
