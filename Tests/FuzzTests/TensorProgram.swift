// Random programs of tensor operations: what an instruction is, how the model carries it out, and
// how LazyGrad does. A program is plain data, so it can be run again in other ways and shortened.

import Foundation
import LazyGrad

/// One line of a program. Numbers are places in the table of handles, which only grows.
struct Instruction {
  enum Kind {
    case leaf(dims: [Int], values: [Double], isVariable: Bool)
    /// A tensor over a host array's own memory; the array is noted for later writes.
    case hostLeaf(dims: [Int], values: [Double], isVariable: Bool)
    case full(dims: [Int], value: Double)
    case unary(Unary, Int)
    case binary(Binary, Int, Int)
    case scalar(Binary, Int, Double, scalarFirst: Bool)
    /// Where the first is greater than a number: from the second, else from the third.
    case select(Int, Double, Int, Int)
    case sum(Int, axis: Int?, keepDims: Bool)
    case mean(Int, axis: Int?, keepDims: Bool)
    case max(Int, axis: Int?, keepDims: Bool)
    case matmul(Int, Int)
    case softmax(Int, logarithm: Bool)
    case reshaped(Int, [Int])
    case transposed(Int)
    case sliced(Int, Range<Int>)
    case reversed(Int)
    case broadcast(Int, [Int])
    case takeRows(Int, [Int])
    case concatenate(Int, Int)
    case update(Binary, Int, Int)
    case updateScalar(Binary, Int, Double)
    case assignRows(Int, Range<Int>, Double)
    case hostWrite(Int, [Double])
    case drop(Int)
    case eval([Int])
    case read(Int)
    case backward(Int, retainsGraph: Bool, grabs: [Int])
  }
  let kind: Kind
  let isTracking: Bool
}

enum Unary: String, CaseIterable {
  case negative, absolute, square, root, exponential, tanh, sigmoid, sine, relu, logarithm
  case reciprocal, copy

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
    }
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
    }
  }
}

enum Binary: String, CaseIterable {
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

/// What LazyGrad gave when a program read a value.
struct Reading {
  let line: Int
  let values: [Double]
}

/// Runs programs on LazyGrad.
enum TensorProgram {
  /// - Parameter isEager: Computes everything that is alive after every line.
  static func run(_ program: [Instruction], isSingle: Bool, isEager: Bool) -> [Reading] {
    memGuardOff {
      var machine = Machine(dtype: isSingle ? .float32 : .float64)
      for (line, instruction) in program.enumerated() {
        if instruction.isTracking {
          machine.step(instruction.kind, line)
        } else {
          noAutodiff { machine.step(instruction.kind, line) }
        }
        if isEager { LazyGrad.eval(machine.handles.compactMap { $0 }) }
      }
      return machine.readings
    }
  }

  private struct Machine {
    let dtype: DType
    var handles: [Tensor?] = []
    var hosts: [NDArray] = []
    var readings: [Reading] = []

    private func at(_ i: Int) -> Tensor { handles[i]! }

    private func array(_ values: [Double], _ dims: [Int]) -> NDArray {
      NDArray(values, shape: dims, dtype: dtype)
    }

    mutating func step(_ kind: Instruction.Kind, _ line: Int) {
      switch kind {
      case .leaf(let dims, let values, let isVariable):
        handles.append(Tensor(array(values, dims), constant: !isVariable))
      case .hostLeaf(let dims, let values, let isVariable):
        hosts.append(array(values, dims))
        handles.append(Tensor(hosts.last!, constant: !isVariable, copy: false))
      case .full(let dims, let value):
        handles.append(Tensor.full(dims, value, dtype: dtype))
      case .unary(let f, let x): handles.append(f.apply(at(x)))
      case .binary(let f, let x, let y): handles.append(f.apply(at(x), at(y)))
      case .scalar(let f, let x, let c, let first):
        handles.append(f.apply(at(x), c, scalarFirst: first))
      case .select(let x, let c, let y, let z):
        handles.append(`where`(at(x) .> c, at(y), at(z)))
      case .sum(let x, let axis, let keep): handles.append(at(x).sum(axis: axis, keepDims: keep))
      case .mean(let x, let axis, let keep):
        handles.append(at(x).mean(axis: axis, keepDims: keep))
      case .max(let x, let axis, let keep): handles.append(at(x).max(axis: axis, keepDims: keep))
      case .matmul(let x, let y): handles.append(LazyGrad.matmul(at(x), at(y)))
      case .softmax(let x, let logarithm):
        handles.append(logarithm ? logSoftmax(at(x)) : LazyGrad.softmax(at(x)))
      case .reshaped(let x, let dims): handles.append(at(x).reshaped(dims))
      case .transposed(let x): handles.append(at(x).transposed())
      case .sliced(let x, let rows): handles.append(at(x)[rows])
      case .reversed(let x): handles.append(at(x)[.slice(step: -1)])
      case .broadcast(let x, let dims): handles.append(at(x).broadcast(to: dims))
      case .takeRows(let x, let rows): handles.append(at(x).takeRows(NDArray(rows)))
      case .concatenate(let x, let y): handles.append(LazyGrad.concatenate([at(x), at(y)]))
      case .update(let f, let x, let y): f.update(at(x), at(y))
      case .updateScalar(let f, let x, let c): f.update(at(x), c)
      case .assignRows(let x, let rows, let c):
        let target = at(x)
        target[rows] = Tensor.full([], c, dtype: dtype)
      case .hostWrite(let k, let values):
        do { try hosts[k].assign(array(values, hosts[k].shape)) } catch {
          preconditionFailure("line \(line): the write was refused: \(error)")
        }
      case .drop(let x): handles[x] = nil
      case .eval(let some): LazyGrad.eval(some.map { at($0) })
      case .read(let x):
        readings.append(Reading(line: line, values: at(x).elements(as: Double.self)))
      case .backward(let x, let retains, let grabs):
        at(x).backward(retainGraph: retains)
        for grab in grabs {
          let gradient = at(grab).grad
          // A reading that the model does not have is a difference.
          if gradient == nil { readings.append(Reading(line: line, values: [])) }
          handles.append(gradient ?? Tensor.zeros(at(grab).shape, dtype: dtype))
        }
      }
    }
  }
}
