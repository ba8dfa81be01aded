// Custom operations whose rules are the last to own tensors, and other things that end with code of their
// own: they end outside of every lock, in a loop.

import LazyGrad
import Testing

extension CustomOperationTests {
  // MARK: What closures own

  private final class Owner {
    let tensor: Tensor
    let ended: () -> Void
    init(_ tensor: Tensor, _ ended: @escaping () -> Void) {
      self.tensor = tensor
      self.ended = ended
    }
    deinit { ended() }
  }

  enum End: CaseIterable, Sendable {
    case dropped, differentiated, cleared, evaluated, updated
  }

  /// A rule that is the last to own tensors ends with its graph, however that ends.
  @Test(arguments: End.allCases, [false, true])
  func rulesOwnTensors(end: End, isPlain: Bool) {
    let ended = ConcurrencyTests.onNewThread { () -> Int in
      var ended = 0
      func squared(_ x: Tensor) -> Tensor {
        let owner = Owner(x) {
          // Code of the program's own, which uses the tape.
          precondition((Tensor([2.0]) * 3).item() == 6)
          ended += 1
        }
        if isPlain {
          return Tensor.custom(inputs: [x]) { x in
            NDArray(x[0].elements(as: Double.self).map { $0 * $0 })
          } backward: { g, _, _ in
            [NDArray([2 * owner.tensor.item() * g.elements(as: Double.self)[0]])]
          }
        }
        return Tensor.composite(inputs: [x]) {
          $0[0] * $0[0]
        } gradient: { g, _, _ in
          [2.0 * g * owner.tensor]
        }
      }
      func run() {
        let w = Tensor([3.0])
        let y = squared(w + 1.0)
        switch end {
        case .dropped: break
        case .differentiated:
          y.backward()
          precondition(w.grad!.item() == 8)
        case .cleared: y.clearGraph()
        case .evaluated: precondition(y.item() == 16)
        case .updated:
          y += 1.0
          precondition(y.item() == 17)
        }
      }
      run()
      eval(Tensor([1.0]) + 1)
      return ended
    }
    #expect(ended == 1)
  }

  /// Rules that own graphs with rules that own graphs: the end of the first is the end of all, in a loop.
  @Test func rulesOwnRules() {
    let value = ConcurrencyTests.onNewThread { () -> Double in
      var x = Tensor([1.0])
      for _ in 0..<20_000 {
        let inner = x
        let leaf = Tensor([1.0])
        x = Tensor.composite(inputs: [leaf]) {
          $0[0] + 1.0
        } gradient: { g, _, _ in
          [g * inner]
        }
      }
      return x.item()
    }
    #expect(value == 2)
  }
}
