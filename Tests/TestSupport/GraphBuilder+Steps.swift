// One random operation at a time: every opcode, on operands that happen to be there.

import LazyGradJIT

extension GraphBuilder {
  static let anyUnary: [Opcode] = Opcode.allCases.filter {
    $0.info.opClass == .elementwise && $0.info.arity == 1 && $0 != .cast && $0 != .logicalNot
  }
  /// Correctly rounded, so exact to the bit on exact operands.
  static let exactUnary: [Opcode] = anyUnary.filter { $0.info.rounding == .exact }
  /// What gives a number for every number.
  static let smooth: [Opcode] =
    [.neg, .abs, .square, .relu, .copy]
    + anyUnary.filter { ($0.info.function?.domain.lowerBound ?? 0) < 0 }
  static let reductions = Opcode.allCases.filter { $0.info.opClass == .reduction }
  static let exactReductions = reductions.filter { $0.info.rounding == .exact }
  static let comparisons: [Opcode] = [
    .equal, .notEqual, .less, .lessEqual, .greater, .greaterEqual,
  ]

  /// Adds a random step; may add nothing.
  func step() {
    switch random.weighted([8, 14, 5, 4, 2, 5, 7, 3, 8, 2, 2, 3, 2, 2, 1, 1, 2, 2, 2, 2, 2, 4]) {
    case 0: _ = unary(someUnary(), chooseFloat())
    case 1: stepBinary()
    case 2: stepScalar()
    case 3: stepSelect()
    case 4: stepCast()
    case 5: stepBools()
    case 6: stepReduction()
    case 7: stepMatmul()
    case 8: stepView()
    case 9: stepGather()
    case 10: stepScatter()
    case 11: stepRegion()
    case 12: stepConcat()
    case 13: stepIntegers()
    case 14: stepIota()
    case 15: stepAttach()
    case 16: stepSetRows()
    case 17: stepFilled()
    case 18: stepMatrix()
    case 19: stepSort()
    case 20: stepScan()
    default: stepHalf()
    }
  }

  func someUnary() -> Opcode {
    random.pick(
      prefersExact && random.chance(0.9)
        ? Self.exactUnary : random.chance(0.6) ? Self.smooth : Self.anyUnary)
  }

  /// A second operand for an elementwise operation with `a`: an earlier node if one fits.
  func partner(of a: Int) -> Int {
    let shape = dims(a)
    let found = choose {
      self.type($0) == self.type(a)
        && Layout.broadcast(self.dims($0), shape).map { $0.reduce(1, *) <= self.elementLimit }
          == true
    }
    if let found, random.chance(0.85) { return found }
    var small = shape
    for axis in small.indices where random.chance(0.3) { small[axis] = 1 }
    if random.chance(0.3) { small = Array(small.dropFirst(random.int(0...small.count))) }
    return leaf(small, type(a))
  }

  private func stepBinary() {
    let opcodes: [Opcode] = [
      .add, .add, .sub, .mul, .mul, .div, .maximum, .minimum, .fmod, .arctan2, .hypot,
      .pow,
    ]
    let a = chooseFloat()
    let opcode = random.pick(prefersExact ? opcodes.dropLast(2) : opcodes[...])
    var b = partner(of: a)
    if opcode == .div || opcode == .pow, random.chance(0.7) {
      // Away from poles: |b| + 0.5.
      guard let positive = unary(.abs, b), let safe = binary(.add, positive, number(0.5, type(b)))
      else { return }
      b = safe
    }
    if opcode == .pow, random.chance(0.8), let base = unary(.abs, a) {
      _ = binary(.pow, base, b)
    } else if random.chance(0.5) {
      _ = binary(opcode, a, b)
    } else {
      _ = binary(opcode, b, a)
    }
  }

  private func stepScalar() {
    let a = chooseFloat()
    if random.chance(0.1), let size = unary(.abs, a),
      let x = binary(.add, size, number(2.5, type(a)))
    {
      _ = binary(.polygamma, number(Double(random.int(0...3)), type(a)), x)
      return
    }
    let s = number(random.pick([0.5, 2, -1, 0.1, 1e-3, 3, 0, random.uniform(-2...2)]), type(a))
    let opcode = random.pick([.add, .sub, .mul, .div, .maximum, .minimum, .pow] as [Opcode])
    _ = random.chance(0.6) ? binary(opcode, a, s) : binary(opcode, s, a)
  }

  private func stepSelect() {
    let b = chooseFloat()
    let c = partner(of: b)
    guard let shape = Layout.broadcast(dims(b), dims(c)) else { return }
    let condition =
      choose { self.type($0) == .bool && Layout.broadcast(self.dims($0), shape) != nil }
      ?? leaf(shape, .bool)
    guard let all = Layout.broadcast(dims(condition), shape) else { return }
    _ = add(GraphNode(.select, type(b), shape: id(all), a: condition, b: b, c: c))
  }

  private func stepCast() {
    let a = choose { _ in true } ?? leaf()
    _ = cast(
      a, to: random.pick([.float32, .float64, .int64, .int32, .uint8, .bool, .float16, .bfloat16]))
  }

  /// Numbers of 16 bits: a value rounded to them and back, or one of them moved.
  private func stepHalf() {
    let half: ScalarType = random.chance(0.6) ? .float16 : .bfloat16
    func some() -> Int {
      if let known = choose(where: { self.type($0) == half }), random.chance(0.5) { return known }
      if random.chance(0.3) { return leaf(random.pick(shapes), half) }
      let exact = choose { self.agreements[$0] == .exact } ?? leaf()
      return cast(exact, to: half) ?? leaf(random.pick(shapes), half)
    }
    let a = some()
    switch random.int(0...6) {
    case 0, 1: _ = cast(a, to: random.pick([.float32, .float32, .float64, .int32, .bool]))
    case 2: _ = cast(a, to: half == .float16 ? .bfloat16 : .float16)
    case 3: _ = unary(.copy, a)
    case 4 where !dims(a).isEmpty:
      var random = self.random
      let limit = elementLimit
      _ = view(a) { $0.vary(&random, limit: limit, repeating: true) }
      self.random = SeededRandom(seed: random.next())
    case 5:
      let b = partner(of: a)
      guard let shape = Layout.broadcast(dims(a), dims(b)) else { return }
      _ = add(
        GraphNode(.select, half, shape: id(shape), a: leaf(shape, .bool), b: a, c: b))
    default:
      var region = StridedView(contiguous: dims(a))
      region.vary(&random, limit: elementLimit, repeating: false)
      _ = add(
        GraphNode(
          .setRegion, half, shape: nodes[a].shape, a: a,
          b: random.chance(0.3) ? number(0.1, half) : leaf(region.dims, half),
          attribute: region.layoutID, offset: region.offset))
    }
  }

  private func stepBools() {
    if random.chance(0.5) {
      let a = choose { self.agreements[$0] == .exact && self.type($0) != .bool } ?? leaf()
      _ = binary(random.pick(Self.comparisons), a, partner(of: a))
    } else {
      let a = choose { self.type($0) == .bool } ?? leaf(random.pick(shapes), .bool)
      if random.chance(0.3) {
        _ = unary(.logicalNot, a)
      } else {
        _ = binary(random.pick([.logicalAnd, .logicalOr]), a, partner(of: a))
      }
    }
  }

  private func stepReduction() {
    guard let a = choose(where: { !self.dims($0).isEmpty && self.type($0) != .bool }) else {
      return
    }
    let rank = dims(a).count
    let first = random.int(0...(rank - 1))
    let run = random.chance(0.2) ? 0..<rank : first..<random.int((first + 1)...rank)
    let mustBeExact = prefersExact && type(a).isFloating && random.chance(0.8)
    let opcodes = mustBeExact ? Self.exactReductions : Self.reductions
    let opcode = !mustBeExact && random.chance(0.5) ? .sum : random.pick(opcodes)
    _ = reduce(opcode, a, run, keepDims: random.chance(0.5))
  }

  private func stepMatmul() {
    guard let a = choose(where: { self.dims($0).count >= 2 }),
      !(prefersExact && type(a).isFloating && random.chance(0.8))
    else { return }
    let k = dims(a).last!
    let type = self.type(a)
    if random.chance(0.4),
      let b = choose(where: {
        self.dims($0).count >= 2 && self.dims($0)[self.dims($0).count - 2] == k
          && self.type($0) == type
      })
    {
      _ = matmul(a, b)
    } else if let b = choose(where: {
      self.dims($0).count >= 2 && self.dims($0).last! == k && self.type($0) == type
    }), let right = transposed(b) {
      _ = matmul(a, right)
    }
  }

  private func stepView() {
    let a = choose { self.nodes[$0].opcode != .leaf } ?? chooseFloat()
    let source = random.chance(0.25) ? chooseFloat() : a
    var random = self.random
    let limit = elementLimit
    let times = random.int(1...2)
    let result = view(source) { view in
      for _ in 0..<times { view.vary(&random, limit: limit, repeating: true) }
    }
    self.random = SeededRandom(seed: random.next())
    if let result, type(result).isFloating, self.random.chance(0.5) {
      _ = unary(someUnary(), result)
    }
  }

  private func stepScan() {
    guard let a = choose(where: { !self.dims($0).isEmpty && self.type($0) != .bool }),
      !(prefersExact && type(a).isFloating && random.chance(0.8))
    else { return }
    _ = add(
      GraphNode(
        random.chance(0.7) ? .cumsum : .cumprod, type(a), shape: nodes[a].shape, a: a,
        attribute: UInt32(random.int(0...(dims(a).count - 1)))))
  }

  private func stepSort() {
    guard let a = choose(where: { !self.dims($0).isEmpty }) else { return }
    let order = SortOrder(
      axis: random.int(0...(dims(a).count - 1)), isDescending: random.chance(0.5),
      isFlat: random.chance(0.3))
    let opcode: Opcode = random.chance(0.6) ? .sort : .argsort
    _ = add(
      GraphNode(
        opcode, opcode == .sort ? type(a) : .int64, shape: nodes[a].shape, a: a,
        attribute: order.attribute))
  }

  /// A routine on small matrices, some of which are multiplied with their transposes before. What is not a
  /// number spoils all of a result or a part, as routines like it.
  private func stepMatrix() {
    if prefersExact, random.chance(0.8) { return }
    guard
      var a = choose(where: {
        self.type($0).isComputedFloat && self.dims($0).count >= 2
          && self.dims($0).suffix(2).allSatisfy { $0 <= 12 } && self.hasDirections($0)
      })
    else { return }
    if random.chance(0.5), let right = transposed(a), let square = matmul(a, right) { a = square }
    let shape = dims(a)
    let (rows, columns) = (shape[shape.count - 2], shape[shape.count - 1])
    // Which rows factors exchange is no matter of tolerance: what is solved with them is tested by itself.
    let routines = MatrixRoutine.allCases.filter {
      $0 == .svd || (rows == columns && $0 != .factors) || ($0 == .qr && rows > columns)
    }
    let routine = random.pick(routines)
    var options = MatrixCall.Options()
    var b: Int?
    if routine == .solve || routine == .triangularSolve {
      let isVector = shape.count == 2 && random.chance(0.3)
      let right = isVector ? [rows] : Array(shape.dropLast()) + [random.pick([0, 1, 3, 9])]
      if right.reduce(1, *) > elementLimit { return }
      b =
        choose {
          self.dims($0) == right && self.type($0) == self.type(a) && self.hasDirections($0)
        } ?? leaf(right, type(a))
    }
    if routine == .triangularSolve {
      options = MatrixCall.Options(rawValue: UInt8(random.int(0...7)))
    }
    let attribute = MatrixCall.attribute(routine, options)
    let call = MatrixCall(attribute: attribute, shape, b.map(dims))
    let count = call.batch * call.resultCounts.reduce(0, +)
    let node = GraphNode(
      .matrix, type(a), shape: id([count]), a: a, b: b ?? -1, attribute: attribute)
    if routine == .eigh || routine == .svd, !hasSeparateSpectra(node, call) { return }
    _ = add(node)
  }

  /// Whether all is finite and nothing next to the smallest numbers, which have too few digits in float32
  /// for directions.
  private func hasDirections(_ i: Int) -> Bool {
    values[i].floats.allSatisfy { $0.isFinite && ($0 == 0 || abs($0) > 1e-15) }
  }

  /// Whether all vectors are determined: no two values are near each other, no singular one near 0.
  private func hasSeparateSpectra(_ node: GraphNode, _ call: MatrixCall) -> Bool {
    let result = Reference.value(
      of: node, node.operands.map { values[$0] }, leaves: pointers, scalars: scalars)
    let counts = call.resultCounts
    let (begin, count) =
      call.routine == .eigh ? (0, counts[0]) : (counts[0] * call.batch, counts[1])
    for index in 0..<call.batch {
      let spectrum = result.floats[(begin + index * count)..<(begin + (index + 1) * count)].sorted()
      let least = 1e-2 * (spectrum.map { abs($0) }.max() ?? 0)
      if call.routine == .svd, let first = spectrum.first, first <= least { return false }
      if !zip(spectrum, spectrum.dropFirst()).allSatisfy({ $1 - $0 > least }) { return false }
    }
    return true
  }

  // MARK: Moves

  /// Rows to take from a table, counted from either end.
  private func indices(_ rows: Int, _ dims: [Int]) -> Int? {
    rows == 0 ? nil : leaf(dims, .int64, range: -rows...(rows - 1))
  }

  private func stepGather() {
    guard let table = choose(where: { !self.dims($0).isEmpty }) else { return }
    let count = random.pick([[], [0], [1], [3], [7], [16], [2, 3]])
    guard let picks = indices(dims(table)[0], count) else { return }
    let result = count + dims(table).dropFirst()
    _ = add(
      GraphNode(.gatherRows, type(table), shape: id(result), a: table, b: picks))
  }

  private func stepScatter() {
    guard let base = choose(where: { !self.dims($0).isEmpty }) else { return }
    let count = random.pick([[1], [3], [7], [16], [2, 3]])
    guard let picks = indices(dims(base)[0], count) else { return }
    let shape = count + dims(base).dropFirst()
    if shape.reduce(1, *) > elementLimit { return }
    let rows =
      choose { self.dims($0) == shape && self.type($0) == self.type(base) }
      ?? leaf(shape, type(base))
    _ = add(
      GraphNode(
        .scatterAddRows, type(base), shape: nodes[base].shape, a: base, b: rows, c: picks))
  }

  /// Rows are runs of elements here, whatever the shape; some come twice.
  private func stepSetRows() {
    let base = choose { _ in true } ?? chooseFloat()
    let shape = dims(base)
    let width = shape.dropFirst(random.int(0...shape.count)).reduce(1, *)
    if width == 0 { return }
    let count = random.pick([0, 1, 3, 7, 16])
    guard let picks = indices(shape.reduce(1, *) / width, [count]), count * width <= elementLimit
    else { return }
    let rows =
      choose {
        self.dims($0).reduce(1, *) == count * width && self.type($0) == self.type(base)
      } ?? leaf(random.chance(0.5) ? [count, width] : [count * width], type(base))
    _ = add(
      GraphNode(
        .setRows, type(base), shape: nodes[base].shape, a: base, b: rows, c: picks, offset: width))
  }

  private func stepRegion() {
    let base = chooseFloat()
    var region = StridedView(contiguous: dims(base))
    let adds = random.chance(0.5)
    for _ in 0..<random.int(1...2) {
      region.vary(&random, limit: elementLimit, repeating: adds && random.chance(0.3))
    }
    var shape = region.dims
    for axis in shape.indices where random.chance(0.15) { shape[axis] = 1 }
    let known = choose {
      self.type($0) == self.type(base)
        && Layout.broadcast(self.dims($0), region.dims) == region.dims
    }
    let value =
      random.chance(0.15)
      ? number(random.pick([0, 1]), type(base)) : known ?? leaf(shape, type(base))
    _ = add(
      GraphNode(
        adds ? .addRegion : .setRegion, type(base), shape: nodes[base].shape, a: base, b: value,
        attribute: region.layoutID, offset: region.offset))
  }

  private func stepConcat() {
    guard let a = choose(where: { !self.dims($0).isEmpty }) else { return }
    let shape = dims(a)
    let axis = random.int(0...(shape.count - 1))
    var other = shape
    other[axis] = random.pick([0, 1, 2, 5])
    let b =
      choose {
        var theirs = self.dims($0)
        guard self.type($0) == self.type(a), theirs.count == shape.count else { return false }
        theirs[axis] = shape[axis]
        return theirs == shape
      } ?? leaf(other, type(a))
    var result = shape
    result[axis] += dims(b)[axis]
    _ = add(
      GraphNode(
        .concat, type(a), shape: id(result), a: a, b: b, attribute: UInt32(axis)))
  }

  // MARK: Integers, constants, aliases

  private func stepIntegers() {
    let types: [ScalarType] = [.int64, .int64, .int32, .uint8]
    let a =
      choose { !self.type($0).isFloating && self.type($0) != .bool }
      ?? leaf(random.pick(shapes), random.pick(types), range: 0...9)
    switch random.int(0...3) {
    case 0: _ = unary(random.pick([.neg, .abs, .sign, .square, .relu, .copy]), a)
    case 1 where type(a) != .uint8: _ = reduce(.sum, a, 0..<dims(a).count, keepDims: false)
    default:
      _ = binary(
        random.pick([
          .add, .sub, .mul, .maximum, .minimum, .bitAnd, .bitOr, .bitXor, .leftShift, .rightShift,
        ]), a, partner(of: a))
    }
  }

  private func stepIota() {
    let shape = random.pick(shapes)
    guard let positions = add(GraphNode(.iota, .int64, shape: id(shape))) else { return }
    if random.chance(0.7) { _ = cast(positions, to: mainType) }
  }

  private func stepAttach() {
    let a = chooseFloat()
    let b = chooseFloat()
    _ = add(
      GraphNode(
        .attach, type(b), shape: nodes[b].shape, a: a, b: b, attribute: UInt32(random.int(0...3))))
  }

  private func stepFilled() {
    let shape = random.pick(shapes)
    guard
      let filled = add(
        GraphNode(.copy, mainType, shape: id(shape), a: number(random.pick([0, 1, 0.5]), mainType)))
    else { return }
    if random.chance(0.3) {
      _ = view(filled) { $0 = StridedView(contiguous: $0.dims.filter { $0 != 1 }) }
    }
  }
}
