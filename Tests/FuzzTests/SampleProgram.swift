// Random functions of one sample, for `vmap`. Uses the library and the elementwise operations of the other
// programs.

import LazyGrad
import TestSupport

/// A function of some operands and of tensors that it captures, made up as it runs: what it does next depends
/// on a seed and on shapes alone, so that it is the same for a sample and for a batch.
///
/// What rounding decides is left out, as in the other programs: operations that choose get operands whose bits
/// are those of the loop, which are no sums.
struct SampleProgram {
  let seed: UInt64
  /// The operands' shapes, whether they have a batch, and as which axis.
  let shapes: [[Int]]
  let axes: [Int?]
  let captured: [[Int]]
  /// How many lines there are, and of how many of the last values the results are.
  let length: Int
  let resultCount: Int

  init(seed: UInt64, length: Int? = nil) {
    self.seed = seed
    var random = SeededRandom(seed: seed)
    func shape() -> [Int] {
      random.pick([
        [], [1], [3], [5], [2, 3], [3, 2], [3, 3], [1, 5], [4, 1], [2, 3, 3], [17],
      ])
    }
    let count = random.int(1...3)
    let all = (0..<count).map { _ in shape() }
    let batched = random.int(0...(count - 1))
    axes = all.indices.map { k in
      let place = random.int(0...all[k].count)
      return k == batched || random.chance(0.7) ? place : nil
    }
    shapes = all
    captured = (0..<random.int(0...2)).map { _ in shape() }
    let wholeLength = random.int(2...14)
    self.length = length ?? wholeLength
    resultCount = random.int(1...2)
  }

  /// A run of the function.
  struct Outcome {
    var results: [Tensor]
    /// Whether the bits of a result are those of the loop.
    var areFine: [Bool]
    /// What was done.
    var lines: [String]
    /// Whether gradients go through float32.
    var roundsGradients: Bool
  }

  func run(_ operands: [Tensor], _ captured: [Tensor]) -> Outcome {
    var lines = SampleLines(
      SeededRandom(seed: ~seed), (operands + captured).map { Value(tensor: $0, isFine: true) },
      given: operands.count + captured.count)
    for _ in 0..<length { lines.add() }
    let last = lines.values.suffix(resultCount)
    return Outcome(
      results: last.map(\.tensor), areFine: last.map(\.isFine), lines: lines.descriptions,
      roundsGradients: lines.roundsGradients)
  }

  fileprivate struct Value {
    var tensor: Tensor
    /// Not made of sums.
    var isFine: Bool
  }
}

/// The lines of one run.
private struct SampleLines {
  private var random: SeededRandom
  var values: [SampleProgram.Value]
  var descriptions: [String] = []
  /// Whether gradients go through float32, which rounds sums of them.
  var roundsGradients = false
  /// The first values, which are not to be changed: what is captured belongs to all samples.
  private let given: Int

  init(_ random: SeededRandom, _ values: [SampleProgram.Value], given: Int) {
    (self.random, self.values, self.given) = (random, values, given)
  }

  private mutating func pick(_ condition: (SampleProgram.Value) -> Bool = { _ in true }) -> Int? {
    let fitting = values.indices.filter { condition(values[$0]) }
    if fitting.isEmpty { return nil }
    return random.chance(0.5)
      ? fitting[max(0, fitting.count - random.int(1...3))]
      : random.pick(fitting)
  }

  private mutating func put(_ tensor: Tensor, fine: Bool, _ text: String) {
    descriptions.append("%\(values.count) = \(text)")
    values.append(SampleProgram.Value(tensor: tensor, isFine: fine))
  }

  private func at(_ k: Int) -> Tensor { values[k].tensor }
  private func shape(_ k: Int) -> [Int] { values[k].tensor.shape }
  private mutating func number() -> Double { Double(random.int(-128...128)) / 64 }

  private mutating func range(_ count: Int) -> (low: Int, high: Int) {
    let low = random.int(0...(count - 1))
    return (low, random.int((low + 1)...count))
  }

  private mutating func rows(_ count: Int) -> [Int] {
    (0..<random.int(1...5)).map { _ in random.int(-count...(count - 1)) }
  }

  mutating func add() {
    switch random.weighted([10, 12, 5, 4, 9, 8, 3, 16, 4, 12, 4, 5, 5, 4, 4]) {
    case 0: unary()
    case 1: binary()
    case 2: scalar()
    case 3: select()
    case 4: reduction()
    case 5: product()
    case 6: row()
    case 7: view()
    case 8: join()
    case 9: update()
    case 10: ordered()
    case 11: slope()
    case 12: nested()
    case 13: converted()
    default: routine()
    }
  }

  // MARK: Element by element

  private mutating func unary() {
    guard let x = pick() else { return }
    let smooth: [Unary] = [
      .negative, .root, .tanh, .sigmoid, .sine, .reciprocal, .copy, .composite, .checkpointed,
    ]
    // A program's own code on host arrays has no form for a batch.
    let all = Unary.allCases.filter { $0 != .custom }
    let f = random.pick(values[x].isFine ? all : smooth)
    put(f.apply(at(x)), fine: values[x].isFine, "\(f) %\(x)")
  }

  private mutating func binary() {
    guard let x = pick() else { return }
    let own = shape(x)
    guard let y = pick({ EagerModel.canBroadcast($0.tensor.shape, own) }) else { return }
    let fine = values[x].isFine && values[y].isFine
    let all: [Binary] = fine ? Binary.allCases : [.add, .subtract, .multiply, .divide]
    let f = random.pick(all)
    put(f.apply(at(x), at(y)), fine: fine, "\(f) %\(x) %\(y)")
  }

  private mutating func scalar() {
    guard let x = pick() else { return }
    let f = random.pick([Binary.add, .subtract, .multiply, .divide])
    let (c, first) = (number(), random.chance(0.4))
    put(
      f.apply(at(x), c, scalarFirst: first), fine: values[x].isFine,
      "\(f) %\(x), \(c)\(first ? " first" : "")")
  }

  private mutating func select() {
    guard let x = pick(\.isFine) else { return }
    let own = shape(x)
    guard let y = pick({ EagerModel.canBroadcast($0.tensor.shape, own) }),
      let z = pick({ $0.tensor.shape == own || $0.tensor.rank == 0 })
    else { return }
    let c = number()
    put(
      `where`(at(x) .> c, at(y), at(z)), fine: values[y].isFine && values[z].isFine,
      "where %\(x) > \(c): %\(y), else %\(z)")
  }

  private mutating func converted() {
    guard let x = pick(\.isFine) else { return }
    let type = random.pick([DType.float32, .int64, .int32])
    if type == .float32 { roundsGradients = true }
    put(at(x).cast(to: type).cast(to: .float64), fine: true, "through \(type) %\(x)")
  }

  // MARK: Along axes

  private mutating func reduction() {
    guard let x = pick() else { return }
    let rank = shape(x).count
    let axis = rank == 0 || random.chance(0.3) ? nil : random.int(-rank...(rank - 1))
    let keep = random.chance(0.4)
    let text = "%\(x), axis \(axis.map { "\($0)" } ?? "nil")\(keep ? ", kept" : "")"
    switch random.int(0...(values[x].isFine ? 8 : 4)) {
    case 0: put(at(x).sum(axis: axis, keepDims: keep), fine: false, "sum \(text)")
    case 1: put(at(x).mean(axis: axis, keepDims: keep), fine: false, "mean \(text)")
    case 2: put(at(x).var(axis: axis, keepDims: keep), fine: false, "variance \(text)")
    case 3: put(tanh(at(x)).cumsum(axis: axis), fine: false, "cumsum of tanh \(text)")
    case 4: put(tanh(at(x)).prod(axis: axis, keepDims: keep), fine: false, "prod of tanh \(text)")
    case 5: put(at(x).max(axis: axis, keepDims: keep), fine: true, "max \(text)")
    case 6: put(at(x).min(axis: axis, keepDims: keep), fine: true, "min \(text)")
    case 7: put(sin(at(x)).cumprod(axis: axis), fine: false, "cumprod of sin \(text)")
    default:
      put(at(x).argmax(axis: axis).cast(to: .float64), fine: true, "argmax \(text)")
    }
  }

  private mutating func row() {
    guard let x = pick({ $0.tensor.rank > 0 }) else { return }
    let axis = random.int(0...(shape(x).count - 1))
    switch random.int(0...2) {
    case 0: put(softmax(at(x), axis: axis), fine: false, "softmax %\(x), axis \(axis)")
    case 1: put(logSoftmax(at(x), axis: axis), fine: false, "logSoftmax %\(x), axis \(axis)")
    default: put(logSumExp(at(x), axis: axis), fine: false, "logSumExp %\(x), axis \(axis)")
    }
  }

  private mutating func ordered() {
    guard let x = pick({ $0.isFine && $0.tensor.rank > 0 }) else { return }
    let axis = random.int(0...(shape(x).count - 1))
    let down = random.chance(0.5)
    let text = "%\(x), axis \(axis)\(down ? ", descending" : "")"
    if random.chance(0.5) {
      put(at(x).sorted(axis: axis, descending: down), fine: true, "sorted \(text)")
    } else {
      put(
        at(x).argsort(axis: axis, descending: down).cast(to: .float64), fine: true,
        "argsort \(text)")
    }
  }

  // MARK: Products

  private mutating func product() {
    guard let x = pick({ $0.tensor.rank > 0 }) else { return }
    let left = shape(x)
    let fitting = pick {
      let right = $0.tensor.shape
      if right.isEmpty { return false }
      let rows = right.count == 1 ? right[0] : right[right.count - 2]
      return rows == left[left.count - 1]
        && zip(left.dropLast(2).reversed(), right.dropLast(2).reversed()).allSatisfy { $0 == $1 }
    }
    guard let y = fitting else { return }
    put(matmul(at(x), at(y)), fine: false, "matmul %\(x) %\(y)")
  }

  /// A routine on matrices, of one that is far from singular.
  private mutating func routine() {
    guard let x = pick({ $0.tensor.rank >= 2 }) else { return }
    let a = tanh(at(x))
    let n = shape(x)[shape(x).count - 2]
    let product = matmul(a, a.transposed(Array(0..<(a.rank - 2)) + [a.rank - 1, a.rank - 2]))
    let matrix = product + Tensor.eye(n) * Double(2 * n)
    if random.chance(0.5) {
      put(inverse(matrix), fine: false, "inverse of %\(x) times itself")
    } else {
      put(cholesky(matrix), fine: false, "cholesky of %\(x) times itself")
    }
  }

  // MARK: Views and copies of parts

  private mutating func view() {
    guard let x = pick() else { return }
    let dims = shape(x)
    let n = dims.reduce(1, *)
    let fine = values[x].isFine
    switch random.int(0...8) {
    case 0:
      let target = random.pick([[n], [1, n], [n, 1], dims.reversed(), dims + [1]])
      put(at(x).reshaped(target), fine: fine, "reshaped %\(x), \(target)")
    case 1: put(at(x).transposed(), fine: fine, "transposed %\(x)")
    case 2 where !dims.isEmpty:
      let (low, high) = range(dims[0])
      put(at(x)[low..<high], fine: fine, "%\(x)[\(low)..<\(high)]")
    case 3 where !dims.isEmpty:
      put(at(x)[.slice(step: -1)], fine: fine, "reversed %\(x)")
    case 4:
      let target = random.pick([[2] + dims, dims.map { $0 == 1 ? 3 : $0 }])
      put(at(x).broadcast(to: target), fine: fine, "broadcast %\(x), \(target)")
    case 5 where !dims.isEmpty:
      let numbers = rows(dims[0])
      put(at(x).takeRows(NDArray(numbers)), fine: fine, "rows \(numbers) of %\(x)")
    case 6 where !dims.isEmpty:
      let k = random.int(-dims[0]...(dims[0] - 1))
      put(at(x)[k], fine: fine, "%\(x)[\(k)]")
    case 7 where dims.count > 1:
      put(at(x)[.all, .slice(step: 2)], fine: fine, "every other column of %\(x)")
    default: put(noAutodiff { +at(x) }, fine: fine, "without autodiff %\(x)")
    }
  }

  private mutating func join() {
    guard let x = pick({ $0.tensor.rank > 0 }) else { return }
    let own = shape(x)
    guard let y = pick({ $0.tensor.shape == own }) else { return }
    let axis = random.int(0...(own.count - 1))
    let fine = values[x].isFine && values[y].isFine
    if random.chance(0.5) {
      put(concatenate([at(x), at(y)], axis: axis), fine: fine, "concatenate %\(x) %\(y), \(axis)")
    } else {
      put(stack([at(x), at(y)], axis: axis), fine: fine, "stack %\(x) %\(y), \(axis)")
    }
  }

  // MARK: In place

  /// Changes a copy, or a view of it that may be read later, and with it all that shows its memory.
  private mutating func update() {
    guard let x = pick({ $0.tensor.rank > 0 }) else { return }
    let base = +at(x)
    put(base, fine: values[x].isFine, "copy %\(x)")
    let target = values.count - 1
    let dims = base.shape
    let isView = random.chance(0.4)
    if isView { put(base.transposed(), fine: values[x].isFine, "transposed %\(target)") }
    let own = isView && random.chance(0.5) ? Array(dims.reversed()) : dims
    let k = own == dims ? target : target + 1
    let y: Int?
    switch random.int(0...4) {
    case 0:
      y = pick { EagerModel.broadcasts($0.tensor.shape, to: own) }
      let f = random.pick([Binary.add, .subtract, .multiply])
      y.map { f.update(at(k), at($0)) }
      descriptions.append("%\(k) \(f)= %\(y ?? -1)")
    case 1:
      let (f, c) = (random.pick([Binary.add, .multiply, .divide]), number())
      y = nil
      f.update(at(k), c)
      descriptions.append("%\(k) \(f)= \(c)")
    case 2:
      let (low, high) = range(own[0])
      y = pick { EagerModel.broadcasts($0.tensor.shape, to: [high - low] + own.dropFirst()) }
      let changed = at(k)
      y.map { changed[low..<high] = at($0) }
      descriptions.append("%\(k)[\(low)..<\(high)] = %\(y ?? -1)")
    case 3:
      let numbers = rows(own[0])
      y = pick { EagerModel.broadcasts($0.tensor.shape, to: [numbers.count] + own.dropFirst()) }
      let changed = at(k)
      y.map { changed[NDArray(numbers)] = at($0) }
      descriptions.append("%\(k)[\(numbers)] = %\(y ?? -1)")
    default:
      let (numbers, c) = (rows(own[0]), number())
      y = nil
      let changed = at(k)
      changed[NDArray(numbers)] += c
      descriptions.append("%\(k)[\(numbers)] += \(c)")
    }
    if let y, !values[y].isFine { for i in target..<values.count { values[i].isFine = false } }
  }

  // MARK: Transformations

  /// The gradient of one value by another, as a value.
  private mutating func slope() {
    guard let x = pick(), let v = pick() else { return }
    if random.chance(0.5) {
      put(
        gradient(of: sin(at(x)).sum(), withRespectTo: at(v), createGraph: true), fine: false,
        "gradient of sin %\(x) by %\(v)")
    } else {
      let y = at(v)
      put(
        gradient(of: (sin(at(x)).sum() * y * y).sum(), withRespectTo: y, createGraph: true),
        fine: false, "gradient of sin %\(x) times %\(v) squared by that")
    }
  }

  private mutating func nested() {
    guard let x = pick({ $0.tensor.rank > 0 }), let y = pick({ $0.tensor.rank == 0 }) ?? pick(),
      values[y].tensor.rank < 3
    else { return }
    let (rows, whole) = (at(x), at(y))
    let last = random.chance(0.5)
    let f = vmap(inAxes: (0, nil), outAxis: last ? -1 : 0) { row, all in
      tanh(row) * row + (row.sum() * all).sum()
    }
    put(f(rows, whole), fine: false, "vmap over %\(x) with %\(y)\(last ? ", last" : "")")
  }
}

extension EagerModel {
  /// Whether two shapes broadcast to one of a size that stays small.
  static func canBroadcast(_ a: [Int], _ b: [Int]) -> Bool {
    broadcast(a, b).map { $0.reduce(1, *) <= 200 && $0.count <= 4 } ?? false
  }

  static func broadcasts(_ a: [Int], to target: [Int]) -> Bool { broadcast(a, target) == target }
}
