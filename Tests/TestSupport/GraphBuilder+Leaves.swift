// The data of random graphs: shapes around the sizes of vectors and tiles, strided memory, and
// numbers with a few that are special.

import LazyGradJIT

extension GraphBuilder {
  private static let lengths = [1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 31, 32, 33, 64, 65]
  private static let longLengths = [127, 128, 129, 255, 256, 257, 511, 512, 513, 1021]

  /// Chooses what the graph is about: its type, its sizes and how wild its numbers are.
  func chooseTheme() {
    mainType = random.chance(0.8) ? .float32 : .float64
    injectsSpecials = random.chance(options.specialValues)
    prefersExact = random.chance(options.exactGraphs)
    elementLimit = random.pick(options.elementLimits)
    let isLarge = elementLimit >= 1 << 15
    let rows = length(longChance: isLarge ? 0.6 : 0.2)
    let columns = length(longChance: isLarge ? 0.6 : 0.35)
    let batch = random.pick([1, 2, 3, 5])
    shapes = [[Int]](repeating: [rows, columns], count: 4)
    shapes += [[columns], [rows, 1], [1, columns], []]
    if random.chance(0.5) { shapes += [[batch, rows, columns], [batch, 1, columns]] }
    if random.chance(0.3) { shapes += [[columns, rows], [columns, columns], [rows, rows]] }
    if random.chance(0.2) { shapes.append([batch, rows, 1, columns]) }
    shapes = shapes.filter { $0.reduce(1, *) <= elementLimit }
    if shapes.isEmpty { shapes = [[3, 5]] }
  }

  private func length(longChance: Double) -> Int {
    if random.chance(options.emptyAxes) { return 0 }
    return random.pick(random.chance(longChance) ? Self.longLengths : Self.lengths)
  }

  // MARK: Leaves

  /// A new leaf of the graph's type with one of its shapes.
  func leaf() -> Int { leaf(random.pick(shapes), mainType) }

  /// A new leaf in memory of its own, laid out contiguously or not.
  func leaf(_ dims: [Int], _ type: ScalarType, range: ClosedRange<Int>? = nil) -> Int {
    var view = StridedView(contiguous: dims)
    if !random.chance(0.6), !dims.isEmpty { view = randomLayout(dims) }
    let extent = LayoutTable.shared[view.layoutID].extent ?? 0...0
    // The memory starts somewhere before the first element and goes on after the last.
    view.offset = -extent.lowerBound + (random.chance(0.3) ? random.int(0...9) : 0)
    let length = view.offset + extent.upperBound + 1
    guard let storage = try? Storage(byteCount: length * type.size) else {
      preconditionFailure("RandomGraph: no memory for \(length) elements")
    }
    let integers = range ?? (type == .bool ? 0...1 : -9...9)
    let memory =
      type.isFloating
      ? ReferenceArray(type, [length], floats: randomFloats(length))
      : ReferenceArray(type, [length], integers: randomIntegers(length, integers))
    memory.store(to: storage.pointer)
    return addLeaf(type, view, storage)
  }

  /// A new leaf over memory that is there. Leaves are never refused.
  func addLeaf(_ type: ScalarType, _ view: StridedView, _ storage: Storage) -> Int {
    leaves.append(GraphCase.Leaf(storage: storage, byteOffset: view.offset * type.size))
    let node = GraphNode(
      .leaf, type, shape: view.shapeID, attribute: view.layoutID, slot: leaves.count - 1)
    let position = add(node)!
    leafViews[position] = view
    return position
  }

  /// Axes in another order, backwards, with gaps or repeated.
  private func randomLayout(_ dims: [Int]) -> StridedView {
    var strides = [Int](repeating: 0, count: dims.count)
    var step = 1
    let order =
      random.chance(0.5)
      ? Array(dims.indices.reversed()) : dims.indices.shuffled(using: &random)
    for axis in order {
      switch random.int(0...9) {
      case 0: strides[axis] = 0
      case 1: strides[axis] = -step
      case 2: strides[axis] = 2 * step
      default: strides[axis] = step
      }
      step = max(step, abs(strides[axis]) * max(dims[axis], 1)) + (random.chance(0.1) ? 3 : 0)
    }
    return StridedView(dims: dims, strides: strides)
  }

  // MARK: Numbers

  private func randomFloats(_ count: Int) -> [Double] {
    let specials = [
      Double.nan, .infinity, -.infinity, -0.0, 0.0, 0x1p-149, -0x1p-140, 0x1p-126, 1, -1,
    ]
    // Few distinct numbers make ties for comparisons and extremes.
    let isCoarse = random.chance(0.25)
    let rate = injectsSpecials && random.chance(0.4) ? random.pick([0.01, 0.2]) : 0
    return (0..<count).map { _ in
      if rate > 0, random.chance(rate) { return random.pick(specials) }
      let x = random.uniform(-2...2)
      return isCoarse ? (x * 2).rounded() / 2 : x
    }
  }

  private func randomIntegers(_ count: Int, _ range: ClosedRange<Int>) -> [Int64] {
    (0..<count).map { _ in Int64(random.int(range)) }
  }
}
