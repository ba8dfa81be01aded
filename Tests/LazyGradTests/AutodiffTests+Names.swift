// Gradients that are asked for by name: how far the pass goes for them.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

extension AutodiffTests {
  /// What the oldest of them was computed from is nobody's business: not its length, and not whether it is
  /// still there.
  @Test("A pass ends at the oldest that is asked for", arguments: [false, true])
  func passesEndAtWhatIsAskedFor(isCleared: Bool) {
    let x = Tensor([0.5, 0.25])
    var middle = x
    for _ in 0..<1000 { middle = middle * 1.0009765625 }
    if isCleared { middle.sum().backward() }
    let late = Tensor([2.0, 3])
    let y = (middle * middle * late).sum()
    let before = Tape.recordsOfThisThread
    let slopes = gradients(of: y, withRespectTo: [middle, late])
    #expect(Tape.recordsOfThisThread - before < 100)
    let m = middle.elements(as: Double.self)
    #expect(slopes[0].elements(as: Double.self) == [m[0] * 2 + m[0] * 2, m[1] * 3 + m[1] * 3])
    #expect(slopes[1].elements(as: Double.self) == [m[0] * m[0], m[1] * m[1]])
    if isCleared { return }
    // All of it is still there.
    let all = gradients(of: y, withRespectTo: [x, late])
    #expect(abs(all[0].elements(as: Double.self)[0] / (4 * m[0] * m[0] / 0.5) - 1) < 1e-12)
    #expect(all[1].elements(as: Double.self) == [m[0] * m[0], m[1] * m[1]])
  }

  @Test("With respect to itself the gradient is one, whatever passes have come by before")
  func ofItself() {
    let kinds: [() -> Tensor] = [
      { Tensor([1.0, 2]) }, { Tensor.full([2], -1.5) }, { (Tensor([1.0, 2]) * 2).detached() },
    ]
    let passes: [(Tensor) -> Void] = [
      { _ in }, { $0.backward() }, { $0.backward(retainGraph: true) },
      {
        $0.backward()
        $0.nullGradient()
      },
      { ($0 * 2).sum().backward() }, { $0.backward(accumulate: true) }, { $0.clearGraph() },
    ]
    for kind in kinds {
      for pass in passes {
        let x = kind()
        for createsGraph in [false, true] {
          pass(x)
          for _ in 0..<2 {
            let slopes = gradients(of: x, withRespectTo: [x, x], createGraph: createsGraph)
            for slope in slopes { #expect(slope.elements(as: Double.self) == [1, 1]) }
          }
        }
      }
    }
    #expect(Tape.current.brokenInvariant() == nil)
  }
}
