// Custom operations whose value is that of another one: read with autodiff on and off, and differentiated
// along a direction.

import Foundation
import LazyGrad
import Testing

@Suite("Custom operations inside custom operations")
struct NestedCustomOperationTests {
  /// An operation with the rule of `exp`, whatever its value is made of.
  private func own(_ x: Tensor, _ forward: ([Tensor]) -> Tensor) -> Tensor {
    Tensor.composite(inputs: [x], forward: forward) { g, _, y in [g * y] }
  }

  /// The exponential on host arrays.
  private func hostExp(_ x: Tensor) -> Tensor {
    Tensor.custom(inputs: [x]) {
      NDArray($0[0].elements(as: Double.self).map { Foundation.exp($0) })
    } backward: { g, _, y in
      [NDArray(zip(g.elements(as: Double.self), y.elements(as: Double.self)).map { $0 * $1 })]
    }
  }

  private func close(_ a: Tensor, _ b: [Double]) -> Bool {
    let a = a.elements(as: Double.self)
    return a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= 1e-14 * abs($1) }
  }

  private static let places = [0.5, 1, 2]
  private static let exponentials = places.map { Foundation.exp($0) }

  @Test("The value of one inside another, of operations and of arrays", arguments: [true, false])
  func values(isTracking: Bool) {
    let x = Tensor(Self.places)
    let ways: [(Tensor) -> Tensor] = [
      { x in own(x) { own($0[0]) { exp($0[0]) } } },
      { x in own(x) { own($0[0]) { own($0[0]) { exp($0[0]) } } } },
      { x in own(x) { hostExp($0[0]) } },
      { x in own(x) { own($0[0]) { hostExp($0[0]) } } },
      { x in checkpoint(x) { own($0[0]) { hostExp($0[0]) } } },
      // Two operands are two aliases, one of the other.
      { x in
        Tensor.composite(inputs: [x, x * 2]) {
          own($0[1]) { _ in exp(x) }
        } gradient: { g, _, y in
          [g * y, nil]
        }
      },
    ]
    for (k, way) in ways.enumerated() {
      func value() -> Tensor {
        let y = way(x)
        y.eval()
        return y
      }
      let y = isTracking ? value() : noAutodiff { value() }
      #expect(close(y, Self.exponentials), "\(k)")
      #expect(!isTracking || !y.isConstant)
      // A loop finds the window that it knows.
      for _ in 0..<3 {
        #expect(close(isTracking ? value() : noAutodiff { value() }, Self.exponentials), "\(k)")
      }
    }
  }

  /// The library's own composites are aliases too.
  @Test("The library's composites inside", arguments: [true, false])
  func ownComposites(isTracking: Bool) {
    let x = Tensor(Self.places)
    func value() -> [Double] {
      let y = own(x) { softplus($0[0]) }
      let z = own(x) { logSoftmax($0[0]) }
      eval([y, z])
      return y.elements(as: Double.self) + z.elements(as: Double.self)
    }
    let inner = noAutodiff { (softplus(x), logSoftmax(x)) }
    let expected = inner.0.elements(as: Double.self) + inner.1.elements(as: Double.self)
    #expect((isTracking ? value() : noAutodiff { value() }) == expected)
  }

  @Test("A long chain of operations that give their operand's value takes no stack")
  func chain() {
    let x = Tensor(Self.places)
    let y = noAutodiff {
      var y = own(x) { exp($0[0]) }
      for _ in 0..<20_000 { y = own(y) { $0[0] } }
      y.eval()
      return y
    }
    #expect(close(y, Self.exponentials))
  }

  /// What a handle shows has memory of its own, though no handle is its record's.
  @Test("An array over such a value can be written, and what else was computed stays")
  func arrays() throws {
    let x = Tensor(Self.places)
    let (y, z) = noAutodiff {
      let y = own(x) { own($0[0]) { exp($0[0]) } }
      let z = own(x) { own($0[0]) { -exp($0[0]) } }
      eval([y, z])
      return (y, z)
    }
    try y.array.fill(7.0)
    #expect(y.elements(as: Double.self) == [7, 7, 7])
    #expect(close(z, Self.exponentials.map { -$0 }))
  }

  @Test("Forward mode and second derivatives through one inside another")
  func derivatives() {
    let x = Tensor(Self.places)
    let v = Tensor([1.0, 2, 3])
    let slopes = zip(Self.exponentials, [1.0, 2, 3]).map { $0 * $1 }
    // On arrays in what gives the value; and in what gives the gradient, where it is differentiated once.
    let inForward: (Tensor) -> Tensor = { x in own(x) { hostExp($0[0]) } }
    let inRule: (Tensor) -> Tensor = { x in
      Tensor.composite(inputs: [x]) {
        exp($0[0])
      } gradient: { g, x, _ in
        [g * hostExp(x[0])]
      }
    }
    for function in [inForward, inRule] {
      for isChecked in [false, true] {
        let f = { (x: Tensor) in isChecked ? checkpoint(x) { function($0[0]) } : function(x) }
        #expect(close(jvp(at: x, along: v, of: f).derivative, slopes))
        #expect(close(hessianVectorProduct(at: x, along: v) { f($0).sum() }, slopes))
        #expect(close(gradient(of: f(x).sum(), withRespectTo: x), Self.exponentials))
      }
    }
  }
}
