// Runs random tensor programs on LazyGrad.

import LazyGrad
import LazyGradJIT

struct LazyMachine {
  private let precision: Precision
  private var dtype: DType { precision.dtype }
  private var tensors: [Int: Tensor] = [:]
  private var hosts: [Int: NDArray] = [:]
  private var readings: [Reading] = []
  private struct Thrown: Error {}

  /// The tape contradicts itself. No comparison with the model would say after which line that began.
  struct Contradiction: Error {
    let text: String
  }

  /// When values are computed beside where the program asks for them.
  enum Manner {
    case lazy
    /// Everything that is alive after every line.
    case eager
    /// The same, and without any graph, up to the first pass, explicit or in an operation.
    case eagerAndCleared
  }

  static func run(
    _ program: [Instruction], _ precision: Precision, _ manner: Manner
  ) throws(Contradiction) -> [Reading] {
    var machine = LazyMachine(precision: precision)
    for line in program {
      func step() {
        if line.isTracking {
          machine.step(line.kind, line.id)
        } else {
          noAutodiff { machine.step(line.kind, line.id) }
        }
      }
      func guardedStep() {
        if line.isGuarding { memGuardOn { step() } } else { memGuardOff { step() } }
      }
      if manner == .eagerAndCleared {
        if case .backward = line.kind { break }
        do {
          try catchingTensorErrors {
            guardedStep()
            for tensor in machine.tensors.values { tensor.clearGraph() }
            LazyGrad.eval(Array(machine.tensors.values))
          }
        } catch { break }
      } else {
        guardedStep()
      }
      try checkTape(after: line)
      if manner == .eager {
        LazyGrad.eval(Array(machine.tensors.values))
        try checkTape(after: line)
      }
    }
    return machine.readings
  }

  private init(precision: Precision) { self.precision = precision }

  private static func checkTape(after line: Instruction) throws(Contradiction) {
    if let broken = Tape.current.brokenInvariant() {
      throw Contradiction(text: "after line \(line.id): \(broken)")
    }
  }

  private func at(_ i: Int) -> Tensor { tensors[i]! }

  private func array(_ values: [Double], _ dims: [Int]) -> NDArray {
    NDArray(values, shape: dims, dtype: dtype)
  }

  private func rows(_ rows: [Int]) -> NDArray { NDArray(rows) }

  private mutating func note(_ line: Int, _ values: [Double]) {
    readings.append(Reading(line: line, values: values))
  }

  private mutating func step(_ kind: Instruction.Kind, _ id: Int) {
    switch kind {
    case .update(let f, let x, let y): f.update(at(x), at(y))
    case .updateScalar(let f, let x, let c): f.update(at(x), c)
    case .setRows(let x, let low, let high, let y):
      let target = at(x)
      target[low..<high] = at(y)
    case .setIndexed(let x, let numbers, let y):
      let target = at(x)
      target[rows(numbers)] = at(y)
    case .addIndexed(let x, let numbers, let c):
      let target = at(x)
      target[rows(numbers)] += c
    case .handOut(let x): hosts[id] = at(x).array
    case .hostWrite(let k, let writer, let low, let high, let values):
      note(id, [write(hosts[k]!, writer, low..<high, values) ? 1 : 0])
    case .ask(let k): note(id, [hosts[k]!.isWriteable ? 1 : 0])
    case .drop(let x): tensors[x] = nil
    case .eval(let some): LazyGrad.eval(some.map { at($0) })
    case .read(let x):
      readings.append(
        Reading(
          line: id, values: at(x).elements(as: Double.self), precision: Precision(at(x).dtype)))
    case .gradient(let x):
      let gradient = at(x).grad
      note(id, [gradient == nil ? 0 : 1])
      tensors[id] = gradient
    case .backward(let x, let retains, let accumulates):
      do {
        try catchingTensorErrors {
          at(x).backward(retainGraph: retains, accumulate: accumulates)
        }
        note(id, [1])
      } catch { note(id, [0]) }
    case .clearGraph(let x): at(x).clearGraph()
    case .failing(let failure, let x): note(id, [fail(failure, at(x)) ? 1 : 0])
    default: tensors[id] = make(kind, id)
    }
  }

  private mutating func make(_ kind: Instruction.Kind, _ id: Int) -> Tensor {
    switch kind {
    case .leaf(let dims, let values, let isVariable):
      return Tensor(array(values, dims), constant: !isVariable)
    case .hostLeaf(let dims, let values, let isVariable, let isWriteable):
      let host = array(values, dims)
      if !isWriteable { try? host.setWriteable(false) }
      hosts[id] = host
      return Tensor(host, constant: !isVariable, copy: false)
    case .stridedLeaf(let dims, let values, let strides, let isVariable):
      let host = strided(values, dims, strides)
      hosts[id] = host
      return Tensor(host, constant: !isVariable, copy: false)
    case .otherLeaf(let dims, let values, let isVariable):
      return Tensor(NDArray(values, shape: dims, dtype: otherType(dtype)), constant: !isVariable)
    case .otherType(let x): return at(x).cast(to: otherType(at(x).dtype))
    case .full(let dims, let value): return Tensor.full(dims, value, dtype: dtype)
    case .unary(let f, let x): return f.apply(at(x))
    case .binary(let f, let x, let y): return f.apply(at(x), at(y))
    case .scalar(let f, let x, let c, let first): return f.apply(at(x), c, scalarFirst: first)
    case .composite(let x, let y): return CompositeOperation.apply(at(x), at(y))
    case .select(let x, let c, let y, let z): return `where`(at(x) .> c, at(y), at(z))
    case .sum(let x, let axis, let keep): return at(x).sum(axis: axis, keepDims: keep)
    case .prod(let x, let axis, let keep): return at(x).prod(axis: axis, keepDims: keep)
    case .mean(let x, let axis, let keep): return at(x).mean(axis: axis, keepDims: keep)
    case .max(let x, let axis, let keep): return at(x).max(axis: axis, keepDims: keep)
    case .matmul(let x, let y): return LazyGrad.matmul(at(x), at(y))
    case .softmax(let x, let logarithm):
      return logarithm ? logSoftmax(at(x)) : LazyGrad.softmax(at(x))
    case .concatenate(let x, let y): return LazyGrad.concatenate([at(x), at(y)])
    case .takeRows(let x, let numbers): return at(x).takeRows(rows(numbers))
    case .integers(let x, let type): return integers(at(x), type)
    case .detached(let x): return at(x).detached()
    case .reshaped(let x, let dims): return at(x).reshaped(dims)
    case .transposed(let x): return at(x).transposed()
    case .sliced(let x, let low, let high): return at(x)[low..<high]
    case .reversed(let x): return at(x)[.slice(step: -1)]
    case .broadcast(let x, let dims): return at(x).broadcast(to: dims)
    case .gradients(let x, let by): return LazyGrad.gradients(of: at(x), withRespectTo: [at(by)])[0]
    default: preconditionFailure("\(kind) makes no tensor")
    }
  }

  private func strided(_ values: [Double], _ dims: [Int], _ strides: Strides) -> NDArray {
    let plain = array(values, dims)
    let host: NDArray
    switch strides {
    case .transposed: host = NDArray.zeros(dims.reversed(), dtype: dtype).transposed()
    case .reversed: host = NDArray.zeros(dims, dtype: dtype)[.slice(step: -1)]
    case .everyOther:
      host = NDArray.zeros([dims[0] * 2] + dims.dropFirst(), dtype: dtype)[.slice(1, nil, step: 2)]
    case .lastReversed:
      host =
        NDArray.zeros(dims.dropLast() + [dims.last! + 1], dtype: dtype)[
          .ellipsis, .slice(dims.last!, 0, step: -1)]
    case .repeated: return plain[0..<min(1, dims[0])].broadcast(to: dims)
    }
    // The arrays are new: nothing locks them.
    try! host.assign(plain)
    return host
  }

  private func otherType(_ type: DType) -> DType { type == dtype ? precision.other.dtype : dtype }

  private func integers(_ x: Tensor, _ type: IntegerType) -> Tensor {
    let dtype: DType =
      switch type {
      case .int64: .int64
      case .int32: .int32
      case .uint8: .uint8
      }
    let result = x.cast(to: dtype) * 3 + 250
    if x.rank == 0 {
      result += 7
    } else if x.shape[0] > 0 {
      result[0] += 7
    }
    return result.cast(to: self.dtype)
  }

  /// - Returns: Whether the array was written.
  private func write(
    _ host: NDArray, _ writer: Writer, _ rows: Range<Int>, _ values: [Double]
  ) -> Bool {
    let part = host.rank == 0 ? host : host[rows]
    do {
      switch writer {
      case .assign: try part.assign(array(values, part.shape))
      case .fill: try part.fill(values.first ?? 0)
      case .elements:
        switch host.dtype {
        case .float64:
          try part.withMutableElements(as: Double.self) {
            for k in $0.indices { $0[k] = values[k] }
          }
        case .bfloat16:
          try part.withMutableElements(as: BFloat16.self) {
            for k in $0.indices { $0[k] = BFloat16(values[k]) }
          }
        case .float16: try part.assign(array(values, part.shape))
        default:
          try part.withMutableElements(as: Float.self) {
            for k in $0.indices { $0[k] = Float(values[k]) }
          }
        }
      case .throughTransposed:
        try part.transposed().assign(array(values, part.shape).transposed())
      case .throughReversed:
        let source = array(values, part.shape)
        if part.rank == 0 {
          try part.assign(source)
        } else {
          try part[.slice(step: -1)].assign(source[.slice(step: -1)])
        }
      case .subscripted:
        if host.rank == 0 {
          host[.ellipsis] = array(values, [])
        } else {
          host[rows] = array(values, part.shape)
        }
      }
      return true
    } catch is MemoryGuardError { return false } catch {
      preconditionFailure("the write failed: \(error)")
    }
  }

  /// - Returns: Whether an error was thrown, as it should be.
  private func fail(_ failure: Failure, _ x: Tensor) -> Bool {
    let wrong = Tensor.full(x.shape + [97], 1.0, dtype: dtype)
    do {
      try catchingTensorErrors {
        switch failure {
        case .operation:
          if let last = x.shape.last, last != 1 {
            _ = x + Tensor.full([last + 2], 1.0, dtype: dtype)
          } else {
            _ = LazyGrad.matmul(x, Tensor.full([97, 1], 1.0, dtype: dtype))
          }
        case .update: x += wrong
        case .index: _ = x[x.shape.first ?? 0] * x
        case .setter: x[0..<1] = wrong
        case .seed: x.backward(wrong)
        case .poisonedUpdate: x.assign(wrong.reshaped([3]) * x)
        case .thrown: throw Thrown()
        }
      }
      return false
    } catch { return true }
  }
}

extension Precision {
  fileprivate init(_ dtype: DType) {
    self =
      switch dtype {
      case .float32: .single
      case .float16: .float16
      case .bfloat16: .bfloat16
      default: .double
      }
  }

  fileprivate var dtype: DType {
    switch self {
    case .double, .weak: .float64
    case .single: .float32
    case .float16: .float16
    case .bfloat16: .bfloat16
    }
  }
}
