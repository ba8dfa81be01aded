// Writes random programs: proposes lines at random and keeps those that the model can judge.

import TestSupport

struct TensorProgramGenerator {
  private var random: SeededRandom
  private var machine: ModelMachine
  private var isTracking = true
  private var isGuarding: Bool
  private var nextID = 0
  /// Whether both floating types occur.
  private let isMixed: Bool

  static func make(seed: UInt64) -> JudgedProgram {
    var random = SeededRandom(seed: seed)
    let precision: Precision = random.pick([
      .double, .double, .single, .single, .single, .float16, .float16, .bfloat16,
    ])
    let length = random.int(8...60)
    var generator = TensorProgramGenerator(random, precision)
    for _ in 0..<3 { generator.add(generator.leaf()) }
    // Scalars, empty shapes and the like leave little to propose; then the program stays short.
    var proposals = 0
    while generator.machine.program.lines.count < length, generator.machine.isSane,
      proposals < 10 * length
    {
      proposals += 1
      generator.addLine()
    }
    generator.isTracking = true
    for i in generator.alive() { generator.add(.read(i)) }
    for i in generator.alive() where generator.random.chance(0.5) { generator.add(.gradient(i)) }
    for k in generator.machine.hosts.keys.sorted() { generator.add(.ask(k)) }
    return generator.machine.finished()
  }

  private init(_ random: SeededRandom, _ precision: Precision) {
    self.random = random
    machine = ModelMachine(precision)
    isGuarding = self.random.chance(0.6)
    isMixed = self.random.chance(0.4)
  }

  private mutating func add(_ kind: Instruction.Kind?) {
    guard let kind else { return }
    nextID += 1
    machine.step(
      Instruction(id: nextID, kind: kind, isTracking: isTracking, isGuarding: isGuarding))
  }

  private mutating func addLine() {
    if random.chance(0.08) { isTracking.toggle() }
    if random.chance(0.08) { isGuarding.toggle() }
    if isMixed, random.chance(0.08) {
      add(random.chance(0.4) ? leaf(other: true) : pick().map { .otherType($0) })
      return
    }
    switch random.weighted([3, 10, 10, 7, 3, 7, 3, 3, 14, 2, 9, 8, 3, 6, 6, 5, 8, 4, 3, 2]) {
    case 0: add(leaf())
    case 1: add(pick().map { .unary(random.pick(Unary.allCases), $0) })
    case 2: add(pair { .binary($2, $0, $1) })
    case 3: add(scalar())
    case 4:
      guard let x = pick(), let y = pick(), let z = pick() else { return }
      add(.select(x, number(), y, z))
    case 5: add(reduction())
    case 6: add(product())
    case 7: add(pick().map { .softmax($0, logarithm: random.chance(0.5)) })
    case 8: add(view())
    case 9: add(pair { x, y, _ in .concatenate(x, y) })
    case 10: add(update())
    case 11: add(hostAccess())
    case 12: add(pick().map { .handOut($0) })
    case 13: if alive().count > 3 { add(pick().map { .drop($0) }) }
    case 14:
      let some = alive().filter { _ in random.chance(0.3) }
      if !some.isEmpty { add(.eval(some)) }
    case 15: add(pick().map { .read($0) })
    case 16: add(gradient())
    case 17: add(pick().map { .integers($0, random.pick(IntegerType.allCases)) })
    case 18: add(pair { x, y, _ in .composite(x, y) })
    default:
      let x = pick()
      add(
        x.map { random.chance(0.8) ? .failing(random.pick(Failure.allCases), $0) : .detached($0) })
    }
  }

  // MARK: Choosing

  private func alive(_ condition: (ModelMachine.Handle) -> Bool = { _ in true }) -> [Int] {
    machine.handles.keys.filter { machine.handles[$0]!.isHeld && condition(machine.handles[$0]!) }
      .sorted()
  }

  private mutating func pick(
    _ condition: (ModelMachine.Handle) -> Bool = { _ in true }
  ) -> Int? {
    let all = alive(condition)
    if all.isEmpty { return nil }
    // Recent values more often: programs are chains more than fans.
    return random.chance(0.6) ? all[max(0, all.count - random.int(1...4))] : random.pick(all)
  }

  private mutating func pair(
    _ make: (Int, Int, Binary) -> Instruction.Kind
  ) -> Instruction.Kind? {
    guard let x = pick(), let y = pick() else { return nil }
    return make(x, y, random.pick(Binary.allCases))
  }

  /// Multiples of 1/64: exact in both precisions, with ties now and then.
  private mutating func number() -> Double { Double(random.int(-128...128)) / 64 }

  private mutating func numbers(_ count: Int) -> [Double] { (0..<count).map { _ in number() } }

  private func dims(_ x: Int) -> [Int] { machine.handles[x]!.dims }

  private mutating func range(_ count: Int) -> (low: Int, high: Int) {
    let low = random.int(0...count)
    return (low, random.int(low...count))
  }

  // MARK: Proposals

  private mutating func leaf(other: Bool = false) -> Instruction.Kind {
    let dims = random.pick([
      [], [1], [5], [3], [3, 5], [1, 5], [3, 1], [5, 3], [4, 4], [2, 3, 5], [17], [0, 3],
    ])
    let values = numbers(EagerModel.count(dims))
    let isVariable = random.chance(0.75)
    if other { return .otherLeaf(dims: dims, values: values, isVariable: isVariable) }
    switch random.int(0...5) {
    case 0: return .full(dims: dims, value: values.first ?? 1)
    case 1 where !dims.isEmpty && random.chance(0.5):
      return .stridedLeaf(
        dims: dims, values: values, random.pick(Strides.allCases), isVariable: isVariable)
    case 1, 2:
      return .hostLeaf(
        dims: dims, values: values, isVariable: isVariable, isWriteable: random.chance(0.9))
    default: return .leaf(dims: dims, values: values, isVariable: isVariable)
    }
  }

  private mutating func scalar() -> Instruction.Kind? {
    guard let x = pick() else { return nil }
    let f = random.pick(Binary.allCases)
    let first = random.chance(0.3) && f != .maximum && f != .minimum
    return .scalar(f, x, number(), scalarFirst: first)
  }

  private mutating func reduction() -> Instruction.Kind? {
    guard let x = pick() else { return nil }
    let rank = dims(x).count
    let axis = rank == 0 || random.chance(0.4) ? nil : random.int(0...(rank - 1))
    let keep = random.chance(0.4)
    switch random.int(0...3) {
    case 0: return .sum(x, axis: axis, keepDims: keep)
    case 1: return .mean(x, axis: axis, keepDims: keep)
    case 2: return .prod(x, axis: axis, keepDims: keep)
    default: return .max(x, axis: axis, keepDims: keep)
    }
  }

  private mutating func product() -> Instruction.Kind? {
    guard let x = pick({ $0.dims.count == 2 }) else { return nil }
    let inner = dims(x)[1]
    return pick({ $0.dims.count == 2 && $0.dims[0] == inner }).map { .matmul(x, $0) }
  }

  private mutating func view() -> Instruction.Kind? {
    guard let x = pick() else { return nil }
    let dims = dims(x)
    let n = EagerModel.count(dims)
    switch random.int(0...5) {
    case 0: return .reshaped(x, random.pick([[n], [1, n], [n, 1], dims.reversed(), dims + [1]]))
    case 1: return .transposed(x)
    case 2 where !dims.isEmpty:
      let rows = range(dims[0])
      return .sliced(x, low: rows.low, high: rows.high)
    case 3: return .reversed(x)
    case 4: return .broadcast(x, random.pick([[2] + dims, dims.map { $0 == 1 ? 3 : $0 }]))
    case 5 where !dims.isEmpty && dims[0] > 0: return .takeRows(x, rows(dims[0]))
    default: return nil
    }
  }

  private mutating func rows(_ count: Int) -> [Int] {
    (0..<random.int(0...6)).map { _ in random.int(0...(count - 1)) }
  }

  private mutating func update() -> Instruction.Kind? {
    guard let x = pick() else { return nil }
    let dims = dims(x)
    let f = random.pick(Binary.allCases)
    switch random.int(0...5) {
    case 0, 1:
      return pick({ EagerModel.broadcast($0.dims, dims) == dims }).map { .update(f, x, $0) }
    case 2: return .updateScalar(f, x, number())
    case 3 where !dims.isEmpty:
      let (low, high) = range(dims[0])
      let target = [high - low] + dims.dropFirst()
      return pick({ EagerModel.broadcast($0.dims, target) == target }).map {
        .setRows(x, low: low, high: high, $0)
      }
    case 4 where !dims.isEmpty && dims[0] > 0:
      let rows = rows(dims[0])
      let target = [rows.count] + dims.dropFirst()
      return pick({ EagerModel.broadcast($0.dims, target) == target }).map {
        .setIndexed(x, rows, $0)
      }
    case 5 where !dims.isEmpty && dims[0] > 0: return .addIndexed(x, rows(dims[0]), number())
    default: return nil
    }
  }

  private mutating func hostAccess() -> Instruction.Kind? {
    let all = machine.hosts.keys.sorted()
    if all.isEmpty { return nil }
    let k = random.pick(all)
    if random.chance(0.25) { return .ask(k) }
    let dims = machine.hosts[k]!.dims
    let (low, high) = dims.isEmpty ? (0, 1) : random.chance(0.5) ? (0, dims[0]) : range(dims[0])
    let count = (high - low) * EagerModel.count(Array(dims.dropFirst()))
    return .hostWrite(
      k, random.pick(Writer.allCases), low: low, high: high, values: numbers(count))
  }

  private mutating func gradient() -> Instruction.Kind? {
    let isAny = random.chance(0.1)
    guard let x = pick({ $0.node.isVariable || isAny }) else { return nil }
    switch random.int(0...9) {
    case 0: return .clearGraph(x)
    case 1: return pick({ $0.base == nil }).map { .gradients(x, by: $0) }
    case 2, 3, 4: return .gradient(x)
    default:
      return .backward(x, retainsGraph: random.chance(0.3), accumulates: random.chance(0.3))
    }
  }
}
