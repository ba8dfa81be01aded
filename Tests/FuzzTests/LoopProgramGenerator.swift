// Proposes random tensor programs with loops: a few random lines that come again in every turn, on the values of
// earlier turns and on rows that move on. Some turns are not quite like the others.

import TestSupport

struct LoopProgramGenerator {
  /// What a line of the body reads.
  private enum Source {
    /// A value of all turns, by its number.
    case shared(Int)
    /// A value that the last turn has left, by its number.
    case carried(Int)
    /// What a line of this turn has made, or the same line in the turn before.
    case line(Int)
    case lineBefore(Int)
    /// Rows of a table, which move on: from some row of it on, so many more each turn.
    case rows(table: Int, first: Int, step: Int)
  }

  /// A line of the body, or a few that always come together. Its value has the shape of all of them.
  private enum Step {
    case unary(Unary, Source)
    case binary(Binary, Source, Source)
    case composite(Source, Source)
    /// With a number of the turn's own, or one for all.
    case scalar(Binary, Source, Double, moves: Bool, isFirst: Bool)
    case product(Source, by: Int)
    case turnedProduct(Source, Source)
    case softmax(Source)
    case select(Source, Source, Source)
    /// An operation on a value and its sum or mean along an axis.
    case reduced(Binary, Source, axis: Int, isMean: Bool)
    case gathered(table: Int, first: Int)
    case reversed(Source)
    /// A value is changed in place, as a whole or in one row.
    case update(Binary, Source, Source)
    case updateRow(Source, Source)
    /// The rows of a turn in a table.
    case written(table: Int, Source)
  }

  private var random: SeededRandom
  private var machine: ModelMachine
  private var nextID = 0
  private var isTracking = true
  private let isGuarding: Bool
  private let shape: [Int]
  private let turns: Int
  /// Tensors of the body's shape, square matrices, and tables with rows for all turns.
  private var shared: [Int] = []
  private var matrices: [Int] = []
  private var tables: [Int] = []
  private var carried: [Int] = []
  /// What the lines of the last turn have made.
  private var before: [Int] = []
  /// Views that this turn has made.
  private var slices: Set<Int> = []
  private var losses: Int?
  /// What is not dropped.
  private var kept: Set<Int> = []

  static func make(seed: UInt64) -> JudgedProgram {
    var generator = LoopProgramGenerator(SeededRandom(seed: seed))
    generator.run()
    return generator.machine.finished()
  }

  private init(_ seeded: SeededRandom) {
    var random = seeded
    machine = ModelMachine(random.pick([.double, .double, .double, .single, .single, .float16]))
    isGuarding = random.chance(0.7)
    shape = random.pick([[2, 3], [1, 4], [3, 3], [4, 2], [2, 5]])
    turns = random.chance(0.3) ? random.int(10...40) : random.int(3...12)
    self.random = random
  }

  @discardableResult
  private mutating func add(_ kind: Instruction.Kind) -> Int? {
    nextID += 1
    let line = Instruction(
      id: nextID, kind: kind, isTracking: isTracking, isGuarding: isGuarding)
    return machine.step(line) ? nextID : nil
  }

  private mutating func number() -> Double { Double(random.int(-48...48)) / 64 }

  private mutating func leaf(_ dims: [Int]) -> Int {
    let values = (0..<EagerModel.count(dims)).map { _ in number() }
    return add(.leaf(dims: dims, values: values, isVariable: random.chance(0.7)))!
  }

  // MARK: The program

  private mutating func run() {
    let isTracked = random.chance(0.8)
    isTracking = isTracked
    shared = (0..<random.int(1...3)).map { _ in leaf(shape) }
    shared.append(leaf([shape[1]]))
    matrices = (0..<2).map { _ in leaf([shape[1], shape[1]]) }
    tables = (0..<2).map { _ in leaf([(turns + 3) * shape[0], shape[1]]) }
    let variables = shared + matrices + tables
    if random.chance(0.3) { tables.append(add(.unary(.tanh, tables[0]))!) }
    carried = (0..<random.int(1...2)).map { _ in leaf(shape) }
    let starts = carried
    kept.formUnion(variables + tables + starts)

    let body = (0..<random.int(3...12)).map { step($0) }
    let results = carried.map { _ in random.int(0...(body.count - 1)) }
    let squashing = carried.map { _ in random.pick([Unary.tanh, .sigmoid, .sine]) }
    let odd = random.chance(0.4) ? random.int(0...(turns - 1)) : -1
    let oddStep = step(body.count)
    let end = random.chance(0.2) ? random.int(1...turns) : turns
    let held = random.chance(0.4) ? random.int(0...(turns - 1)) : -1
    let forced = random.chance(0.15) ? random.int(0...(turns - 1)) : -1
    let hasLosses = random.chance(0.3)
    let omitted = random.chance(0.5) ? random.int(0...(body.count - 1)) : -1

    for t in 0..<end where machine.isSane {
      var made: [Int] = []
      for (k, step) in body.enumerated() {
        if t == odd, k == omitted {
          made.append(carried[0])
        } else {
          made.append(perform(step, t, made))
        }
      }
      if t == odd { made.append(perform(oddStep, t, made)) }
      let old = Set(carried + before)
      carried = results.enumerated().map { k, line in
        add(.unary(squashing[k], t == odd ? made.last! : made[line])) ?? carried[k]
      }
      if hasLosses { addLoss() }
      if t == held { kept.formUnion([carried[0], made[made.count / 2]]) }
      if t == forced { add(random.chance(0.5) ? .eval([carried[0]]) : .read(carried[0])) }
      drop(old.union(slices).subtracting(carried + made))
      slices = []
      before = made
    }
    if hasLosses { addLoss() }
    finish(isTracked, variables + starts)
  }

  /// Adds what is carried to a sum over all turns.
  private mutating func addLoss() {
    guard let loss = add(.sum(carried[0], axis: nil, keepDims: false)) else { return }
    let sum = losses.flatMap { add(.binary(.add, $0, loss)) } ?? loss
    if let losses, losses != sum { drop([losses, loss]) }
    losses = sum
  }

  private mutating func drop(_ some: Set<Int>) {
    for i in some.sorted() where !kept.contains(i) { add(.drop(i)) }
  }

  private mutating func finish(_ isTracked: Bool, _ variables: [Int]) {
    drop(Set(before).subtracting(carried))
    if isTracked, random.chance(0.85),
      let loss = losses ?? add(.sum(carried[0], axis: nil, keepDims: false)),
      random.chance(0.8) || add(.read(loss)) != nil
    {
      add(.backward(loss, retainsGraph: false, accumulates: random.chance(0.2)))
      for x in variables {
        if let gradient = add(.gradient(x)) { add(.read(gradient)) }
      }
    }
    for x in carried + kept.sorted() { add(.read(x)) }
  }

  // MARK: The body

  private mutating func source(_ line: Int) -> Source {
    switch random.weighted([2, 4, line > 0 ? 7 : 0, line > 0 ? 1.5 : 0, 2.5]) {
    case 0: return .shared(random.int(0...(shared.count - 1)))
    case 1: return .carried(random.int(0...(carried.count - 1)))
    case 2: return .line(line - random.int(1...min(line, 3)))
    case 3: return .lineBefore(random.int(0...(line - 1)))
    default:
      let step = random.pick([shape[0], shape[0], -shape[0], 1, 0])
      return .rows(
        table: random.int(0...(tables.count - 1)), first: random.int(0...(2 * shape[0])), step: step
      )
    }
  }

  private mutating func step(_ line: Int) -> Step {
    let (x, y) = (source(line), source(line))
    switch random.weighted([6, 8, 1, 4, 6, 2, 1, 1, 3, 1.5, 1, 2, 1.5, 2.5]) {
    case 0:
      return .unary(
        random.pick([
          .negative, .square, .root, .exponential, .tanh, .sigmoid, .sine, .reciprocal, .copy,
          .relu,
          .composite, .checkpointed,
        ]), x)
    case 1:
      return .binary(random.pick([.add, .add, .subtract, .multiply, .multiply, .divide]), x, y)
    case 2: return .composite(x, y)
    case 3:
      return .scalar(
        random.pick([.add, .subtract, .multiply, .divide]), x, number(),
        moves: random.chance(0.4), isFirst: random.chance(0.3))
    case 4: return .product(x, by: random.int(0...(matrices.count - 1)))
    case 5: return .turnedProduct(x, y)
    case 6: return .softmax(x)
    case 7: return .select(x, y, source(line))
    case 8:
      return .reduced(
        random.pick([.add, .subtract, .multiply]), x, axis: random.int(0...1),
        isMean: random.chance(0.5))
    case 9:
      return .gathered(
        table: random.int(0...(tables.count - 1)), first: random.int(0...(2 * shape[0])))
    case 10: return .reversed(x)
    case 11: return .update(random.pick([.add, .subtract, .multiply]), x, y)
    case 12: return .updateRow(x, y)
    default: return .written(table: random.int(0...(tables.count - 1)), x)
    }
  }

  /// Where a source's value is in a turn.
  private mutating func value(_ source: Source, _ t: Int, _ made: [Int]) -> Int {
    switch source {
    case .shared(let k): return shared[k]
    case .carried(let k): return carried[k]
    case .line(let k): return k < made.count ? made[k] : carried[0]
    case .lineBefore(let k): return k < before.count ? before[k] : carried[0]
    case .rows(let table, let first, let step):
      let place = step < 0 ? (turns - t) * shape[0] - first / 2 : first + t * step
      let low = max(0, place)
      guard let rows = add(.sliced(tables[table], low: low, high: low + shape[0])) else {
        return carried[0]
      }
      slices.insert(rows)
      return rows
    }
  }

  /// A value of this turn or the one before as it is, a copy of others.
  private mutating func changeable(_ source: Source, _ t: Int, _ made: [Int]) -> Int {
    let x = value(source, t, made)
    switch source {
    case .carried, .line: return x
    default: return add(.unary(.copy, x)) ?? carried[0]
    }
  }

  /// Carries a line out in a turn.
  private mutating func perform(_ step: Step, _ t: Int, _ made: [Int]) -> Int {
    func whole(_ id: Int?, _ other: Int) -> Int {
      id.flatMap { machine.handles[$0]!.dims == shape ? $0 : nil } ?? other
    }
    let other = made.last ?? carried[0]
    switch step {
    case .unary(let f, let x): return whole(add(.unary(f, value(x, t, made))), other)
    case .binary(let f, let x, let y):
      return whole(add(.binary(f, value(x, t, made), value(y, t, made))), other)
    case .composite(let x, let y):
      return whole(add(.composite(value(x, t, made), value(y, t, made))), other)
    case .scalar(let f, let x, let c, let moves, let isFirst):
      let number = moves ? c + Double(t) / 64 : c
      return whole(add(.scalar(f, value(x, t, made), number, scalarFirst: isFirst)), other)
    case .product(let x, let k): return whole(add(.matmul(value(x, t, made), matrices[k])), other)
    case .turnedProduct(let x, let y):
      guard let turned = add(.transposed(value(x, t, made))),
        let square = add(.matmul(turned, value(y, t, made)))
      else { return other }
      let product = add(.matmul(other, square))
      drop([turned, square])
      return whole(product, other)
    case .softmax(let x): return whole(add(.softmax(value(x, t, made), logarithm: false)), other)
    case .select(let x, let y, let z):
      return whole(
        add(.select(value(x, t, made), 0.125, value(y, t, made), value(z, t, made))), other)
    case .reduced(let f, let x, let axis, let isMean):
      let x = value(x, t, made)
      let sum =
        isMean
        ? add(.mean(x, axis: axis, keepDims: true)) : add(.sum(x, axis: axis, keepDims: true))
      guard let sum else { return other }
      let result = add(.binary(f, x, sum))
      drop([sum])
      return whole(result, other)
    case .gathered(let table, let first):
      let rows = (0..<shape[0]).map { first + t + 2 * $0 }
      return whole(add(.takeRows(tables[table], rows)), other)
    case .reversed(let x): return whole(add(.reversed(value(x, t, made))), other)
    case .update(let f, let x, let y):
      let (changed, value) = (changeable(x, t, made), value(y, t, made))
      add(.update(f, changed, value))
      return changed
    case .updateRow(let x, let y):
      let (changed, value) = (changeable(x, t, made), value(y, t, made))
      if let row = add(.sliced(value, low: 0, high: 1)) {
        add(.setRows(changed, low: shape[0] - 1, high: shape[0], row))
        drop([row])
      }
      return changed
    case .written(let table, let x):
      let low = t * shape[0]
      let x = value(x, t, made)
      add(.setRows(tables[table], low: low, high: low + shape[0], x))
      return whole(x, other)
    }
  }
}
