// What must run as few kernels, with the operations as a program calls them: a kernel more is a pass over
// memory more.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite struct KernelCountTests {
  /// The kernels that the evaluation of what `body` makes takes.
  private func kernels(_ body: @escaping @Sendable () -> [Tensor]) -> Int {
    ConcurrencyTests.onNewThread {
      let results = body()
      let tape = Tape.current
      func count() -> Int { tape.locked { tape.state.pointee.counters.kernelsRun } }
      let before = count()
      eval(results)
      return count() - before
    }
  }

  private static func rows(_ width: Int = 100) -> Tensor {
    Tensor(NDArray((0..<64 * width).map { Float($0 % 97) / 97 }, shape: [64, width]))
  }

  @Test func rowsAreReadOnce() {
    #expect(kernels { [Self.rows().var(axis: 1)] } == 1)
    #expect(kernels { [Self.rows().std(axis: 1)] } == 1)
    #expect(kernels { [softmax(Self.rows())] } == 1)
    #expect(kernels { [logSoftmax(Self.rows())] } == 1)
    #expect(kernels { [logSumExp(Self.rows(), axis: 1)] } == 1)
    #expect(
      kernels {
        let scale = Tensor(NDArray([Float](repeating: 2, count: 100)))
        let shift = Tensor(NDArray([Float](repeating: 1, count: 100)))
        return [layerNorm(Self.rows(), gamma: scale, beta: shift)]
      } == 1)
  }

  @Test("Views in other dimensions are brought together once")
  func viewsInOtherDimensions() {
    // The windows, their product; the windows once more, turned, for the gradient, and what that is made of.
    #expect(
      kernels {
        let x = Tensor(NDArray((0..<70).map { Float($0 % 9) }, shape: [1, 7, 10]), constant: true)
        let filters = Tensor(NDArray((0..<42).map { Float($0 % 7) }, shape: [2, 7, 3]))
        let y = convND(x, filters)
        y.sum().backward()
        return [y, filters.gradient]
      } == 6)
    for shape in [[6, 4], [1, 5], [5, 1], [0, 3], [2, 3, 4]] {
      let count = shape.reduce(1, *)
      let x = Tensor(NDArray((0..<count).map { Float($0) }, shape: shape), constant: true)
      let turned = Array(shape.indices.reversed())
      let wanted = x.transposed(turned).eval().elements(as: Float.self)
      let flat = x.transposed(turned).reshaped([count])
      #expect(flat.elements(as: Float.self) == wanted)
      let pending = (x + 0).transposed(turned).reshaped([count, 1]).reshaped([1, count])
      #expect((pending * 1).elements(as: Float.self) == wanted)
      if count > 1 {
        let part = (x + 0).transposed(turned).reshaped([count])[1...]
        #expect((part * 1).elements(as: Float.self) == Array(wanted[1...]))
        let reversed = (x + 0).transposed(turned).reshaped([count]).flipped()
        #expect((reversed * 1).elements(as: Float.self) == wanted.reversed())
      }
    }
  }

  @Test("Axes that change places twice take no kernel, and show what they show one after the other")
  func axesThatChangePlacesTwice() {
    // The other matrix is transposed for the product, and once more for the gradient.
    #expect(
      kernels {
        let (x, y) = (Self.rows(64), Self.rows(64))
        einsum("ij,kj->ik", x, y).sum().backward()
        return [x.gradient]
      } == 2)
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    for shape in [[2, 3, 4], [3, 3, 3], [1, 3, 2], [4, 1, 1], [0, 2, 3]] {
      let count = shape.reduce(1, *)
      let numbers = Tensor(NDArray((0..<count).map { Float($0) }, shape: shape), constant: true)
      func elements(_ x: Tensor) -> [Float] { x.elements(as: Float.self) }
      for first in orders {
        for second in orders {
          let once = (numbers + 1).transposed(first).eval()
          let wanted = elements(once.transposed(second) * 2)
          let pending = (numbers + 1).transposed(first).transposed(second)
          #expect(elements(pending * 2) == wanted)
          #expect(elements(numbers.transposed(first).transposed(second) * 2 + 2) == wanted)
        }
      }
    }
    #expect(
      kernels {
        let x = exp(Self.rows(64)).reshaped(4, 16, 64)
        return [x.transposed([2, 0, 1]).transposed([1, 2, 0]) * 2]
      } == 1)
  }

  @Test func whatIsReadAsItIsTakesNoKernel() {
    for reduce: @Sendable (Tensor) -> Tensor in [{ $0.sum(axis: 0) }, { +$0 }] {
      #expect(kernels { [tanh(reduce(exp(Self.rows(64).reshaped(1, 64, 64))) + 1)] } == 1)
    }
    // A bias of a batch of one: its gradient is that of what it is added to.
    #expect(
      kernels {
        let (h, w) = (Tensor.ones([1, 16]).eval(), Tensor.ones([16, 16]).eval())
        let b = Tensor.ones([16]).eval()
        tanh(matmul(tanh(matmul(h, w) + b), w) + b).sum().backward()
        return [b.gradient]
      } <= 5)
    let zeros = (Tensor([[-0.0, 0]]) * 1).sum(axis: 0) * 1
    #expect(zeros.elements(as: Double.self).map(\.sign) == [.minus, .plus])
  }

  @Test func lossesAreOneRunOverTheScores() {
    // One over the rows, and one for the mean.
    #expect(
      kernels { [softmaxCrossEntropy(Self.rows(10), NDArray((0..<64).map { $0 % 10 }))] } <= 2)
  }
}
