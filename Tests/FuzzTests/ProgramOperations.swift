// The elementwise operations of random tensor programs: how LazyGrad carries them out, and how the
// model does.

import Foundation
import LazyGrad

enum Unary: String, CaseIterable, Codable, CustomStringConvertible {
  var description: String { rawValue }

  case negative, absolute, square, root, exponential, tanh, sigmoid, sine, relu, logarithm
  case reciprocal, copy
  /// Operations with a rule of their own, and one that is computed again in the backward pass.
  case composite, custom, checkpointed

  /// Whether a value between operand and result is saved for the gradient that the model doesn't have.
  var savesHidden: Bool { self == .logarithm }

  /// The operation, kept inside its domain and away from large results.
  func apply(_ x: Tensor) -> Tensor {
    switch self {
    case .negative: -x
    case .absolute: abs(x)
    case .square: LazyGrad.square(x)
    case .root: sqrt(LazyGrad.square(x) + 0.5)
    case .exponential: exp(minimum(x, 1.5))
    case .tanh: LazyGrad.tanh(x)
    case .sigmoid: LazyGrad.sigmoid(x)
    case .sine: sin(x)
    case .relu: LazyGrad.relu(x)
    case .logarithm: log1p(abs(x))
    case .reciprocal: LazyGrad.reciprocal(LazyGrad.square(x) + 1)
    case .copy: +x
    case .composite:
      Tensor.composite(inputs: [x]) { t in
        t[0] * LazyGrad.tanh(t[0])
      } gradient: { g, t, _ in
        let y = LazyGrad.tanh(t[0])
        return [g * (y + t[0] * (1 - LazyGrad.square(y)))]
      }
    case .custom:
      Tensor.custom(inputs: [x]) { t in
        Self.elements(t[0]) { $0 / ($0 * $0 + 1) }
      } backward: { g, t, _ in
        let outer = g.elements(as: Double.self)
        var k = 0
        return [
          Self.elements(t[0]) { x in
            defer { k += 1 }
            let d = x * x + 1
            return outer[k] * (1 - x * x) / (d * d)
          }
        ]
      }
    case .checkpointed: checkpoint(x) { t in LazyGrad.sigmoid(t[0]) * t[0] }
    }
  }

  /// An array of a function's values.
  private static func elements(_ x: NDArray, _ f: (Double) -> Double) -> NDArray {
    NDArray(x.elements(as: Double.self).map(f), shape: x.shape, dtype: x.dtype)
  }

  var function: ScalarFunction {
    func f(
      _ value: @escaping (Double) -> Double, _ slope: @escaping (Double, Double) -> Double
    ) -> ScalarFunction {
      ScalarFunction(value: { value($0[0]) }, partial: { slope($1[0], $2) })
    }
    func sign(_ x: Double) -> Double { x > 0 ? 1 : x < 0 ? -1 : 0 }
    switch self {
    case .negative: return f({ -$0 }, { _, _ in -1 })
    case .absolute: return f({ Swift.abs($0) }, { x, _ in sign(x) })
    case .square: return f({ $0 * $0 }, { x, _ in 2 * x })
    case .root: return f({ ($0 * $0 + 0.5).squareRoot() }, { x, y in x / y })
    case .exponential:
      return f({ Foundation.exp(Swift.min($0, 1.5)) }, { x, y in x < 1.5 ? y : 0 })
    case .tanh: return f({ Foundation.tanh($0) }, { _, y in 1 - y * y })
    case .sigmoid: return f({ 1 / (1 + Foundation.exp(-$0)) }, { _, y in y * (1 - y) })
    case .sine: return f({ Foundation.sin($0) }, { x, _ in Foundation.cos(x) })
    // By the output, which is saved: unlike a leaf it does not see later host writes.
    case .relu: return f({ Swift.max($0, 0) }, { _, y in y > 0 ? 1 : 0 })
    case .logarithm:
      return f(
        { Foundation.log1p(Swift.abs($0)) }, { x, _ in sign(x) / (1 + Swift.abs(x)) })
    case .reciprocal: return f({ 1 / ($0 * $0 + 1) }, { x, y in -2 * x * y * y })
    case .copy: return f({ $0 }, { _, _ in 1 })
    case .composite:
      return f(
        { $0 * Foundation.tanh($0) },
        { x, _ in
          let y = Foundation.tanh(x)
          return y + x * (1 - y * y)
        })
    case .custom:
      return f(
        { $0 / ($0 * $0 + 1) },
        { x, _ in (1 - x * x) / ((x * x + 1) * (x * x + 1)) })
    case .checkpointed:
      func sigmoid(_ x: Double) -> Double { 1 / (1 + Foundation.exp(-x)) }
      return f(
        { sigmoid($0) * $0 }, { x, _ in sigmoid(x) + x * sigmoid(x) * (1 - sigmoid(x)) })
    }
  }
}

enum Binary: String, CaseIterable, Codable, CustomStringConvertible {
  var description: String { rawValue }

  case add, subtract, multiply, divide, maximum, minimum

  /// Division keeps away from 0.
  func apply(_ x: Tensor, _ y: Tensor) -> Tensor {
    switch self {
    case .add: x + y
    case .subtract: x - y
    case .multiply: x * y
    case .divide: x / (square(y) + 1)
    case .maximum: LazyGrad.maximum(x, y)
    case .minimum: LazyGrad.minimum(x, y)
    }
  }

  func apply(_ x: Tensor, _ c: Double, scalarFirst: Bool) -> Tensor {
    switch self {
    case .add: scalarFirst ? c + x : x + c
    case .subtract: scalarFirst ? c - x : x - c
    case .multiply: scalarFirst ? c * x : x * c
    case .divide: scalarFirst ? c / (square(x) + 1) : x / (c * c + 1)
    case .maximum: LazyGrad.maximum(x, c)
    case .minimum: LazyGrad.minimum(x, c)
    }
  }

  /// In place, through the operators where there are some.
  func update(_ x: Tensor, _ y: Tensor) {
    switch self {
    case .add: x += y
    case .subtract: x -= y
    case .multiply: x *= y
    case .divide: x /= square(y) + 1
    case .maximum, .minimum: x.assign(apply(x, y))
    }
  }

  func update(_ x: Tensor, _ c: Double) {
    switch self {
    case .add: x += c
    case .subtract: x -= c
    case .multiply: x *= c
    case .divide: x /= c * c + 1
    case .maximum, .minimum: x.assign(apply(x, c, scalarFirst: false))
    }
  }

  var function: ScalarFunction {
    switch self {
    case .add: return ScalarFunction(value: { $0[0] + $0[1] }, partial: { _, _, _ in 1 })
    case .subtract:
      return ScalarFunction(value: { $0[0] - $0[1] }, partial: { p, _, _ in p == 0 ? 1 : -1 })
    case .multiply:
      return ScalarFunction(value: { $0[0] * $0[1] }, partial: { p, x, _ in x[1 - p] })
    case .divide:
      return ScalarFunction(
        value: { $0[0] / ($0[1] * $0[1] + 1) },
        partial: { p, x, y in
          let d = x[1] * x[1] + 1
          return p == 0 ? 1 / d : -y / d * 2 * x[1]
        })
    case .maximum:
      return ScalarFunction(
        value: { Swift.max($0[0], $0[1]) }, partial: { p, x, _ in x[p] > x[1 - p] ? 1 : 0 })
    case .minimum:
      return ScalarFunction(
        value: { Swift.min($0[0], $0[1]) }, partial: { p, x, _ in x[p] < x[1 - p] ? 1 : 0 })
    }
  }
}

/// `x tanh(y)` with a rule of its own, which is summed down to the operands.
enum CompositeOperation {
  static func apply(_ x: Tensor, _ y: Tensor) -> Tensor {
    Tensor.composite(inputs: [x, y]) { t in
      t[0] * tanh(t[1])
    } gradient: { g, t, _ in
      let u = tanh(t[1])
      return [g * u, g * t[0] * (1 - square(u))]
    }
  }

  static var function: ScalarFunction {
    ScalarFunction(
      value: { $0[0] * Foundation.tanh($0[1]) },
      partial: { p, x, _ in
        let u = Foundation.tanh(x[1])
        return p == 0 ? u : x[0] * (1 - u * u)
      })
  }
}
