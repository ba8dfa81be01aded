// Tests of index lists on host arrays: hand-written cases with NumPy's results, and random basic
// indexing against a model that enumerates indices one by one.

import LazyGrad
import Testing

@Suite("Indexing")
struct IndexingTests {
  private let x = NDArray.arange(24).reshaped([2, 3, 4])

  private func expect(
    _ array: NDArray, _ shape: [Int], _ elements: [Int],
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(array.shape == shape, sourceLocation: sourceLocation)
    #expect(array.elements(as: Int.self) == elements, sourceLocation: sourceLocation)
  }

  // MARK: Basic

  @Test("Integers and ranges")
  func basic() {
    expect(x[1, 2, 3], [], [23])
    expect(x[-1, -3], [4], [12, 13, 14, 15])
    expect(x[0, 1..., 2...3], [2, 2], [6, 7, 10, 11])
    expect(x[0, ..<1, ...1], [1, 2], [0, 1])
    expect(x[0, 0, (-3)...(-1)], [3], [1, 2, 3])
    expect(x[0, 0, (-2)...], [2], [2, 3])
    expect(x[0, 0, ...(-2)], [3], [0, 1, 2])
    expect(x[0, 0, ..<(-1)], [3], [0, 1, 2])
    expect(x[], [2, 3, 4], Array(0..<24))
  }

  @Test("Bounds of ranges are clamped")
  func clamping() {
    expect(x[0, 0, 2..<100], [2], [2, 3])
    expect(x[0, 0, 9...], [0], [])
    expect(x[0, 0, 0...(.max)], [4], [0, 1, 2, 3])
    expect(x[0, 0, .slice(.min, .max, step: .max)], [1], [0])
    expect(x[0, 0, .slice(.max, .min, step: .min)], [1], [3])
    expect(x[0, 0, .slice(3, 1)], [0], [])
  }

  @Test("Slices with steps")
  func steps() {
    expect(x[0, 0, .slice(step: -1)], [4], [3, 2, 1, 0])
    expect(x[0, 0, .slice(1, step: 2)], [2], [1, 3])
    expect(x[0, 0, .slice(-2, nil, step: -2)], [2], [2, 0])
    expect(x[0, 0, .slice(1, -1)], [2], [1, 2])
    expect(x[.slice(step: -1), 0, 0], [2], [12, 0])
  }

  @Test("Ellipsis and new axes")
  func ellipsis() {
    expect(x[.ellipsis, 0], [2, 3], [0, 4, 8, 12, 16, 20])
    expect(x[1, .ellipsis, 0], [3], [12, 16, 20])
    expect(x[0, 0, .ellipsis, 0], [], [0])
    #expect(x[.newAxis].shape == [1, 2, 3, 4])
    #expect(x[.all, .newAxis, 0].shape == [2, 1, 4])
    #expect(x[.ellipsis, .newAxis].shape == [2, 3, 4, 1])
  }

  @Test("Basic indices give views, index arrays copies")
  func sharing() {
    #expect(x[0].sharesMemory(with: x))
    #expect(x[.newAxis, .ellipsis].sharesMemory(with: x))
    #expect(!x[[0]].sharesMemory(with: x))
    #expect(!x[NDArray(0)].sharesMemory(with: x))
    #expect(x[[0]].base == nil)
  }

  // MARK: Index arrays

  @Test("Integer arrays gather")
  func gather() {
    let rows = NDArray.arange(6).reshaped([3, 2])
    expect(rows[[2, 0, -1]], [3, 2], [4, 5, 0, 1, 4, 5])
    expect(rows[[[0, 1], [1, 2]], 1], [2, 2], [1, 3, 3, 5])
    expect(rows[[0, 2], [1, 0]], [2], [1, 4])
    expect(rows[NDArray([[0], [2]]), [0, 1]], [2, 2], [0, 1, 4, 5])
    expect(rows[[Int]()], [0, 2], [])
    expect(rows[.all, [1, 0]], [3, 2], [1, 0, 3, 2, 5, 4])
    expect(rows[NDArray([UInt8(2)])], [1, 2], [4, 5])
  }

  @Test("Axes of index arrays stand together, or first if something separates them")
  func placement() {
    #expect(x[.all, [0, 1], [0, 1]].shape == [2, 2])
    #expect(x[[0, 1], .all, [0, 1]].shape == [2, 3])
    #expect(x[0, .all, [0, 1]].shape == [2, 3])
    #expect(x[.all, 0, [0, 1, 2]].shape == [2, 3])
    #expect(x[.newAxis, .all, [0, 1]].shape == [1, 2, 2, 4])
    #expect(x[[0, 1], .newAxis, [0, 1]].shape == [2, 1, 4])
    #expect(x[.all, [0], .ellipsis, [0, 1]].shape == [2, 2])
    let columns = x[0, .all, [3, 0]]
    expect(columns, [2, 3], [3, 7, 11, 0, 4, 8])
  }

  @Test("Masks select")
  func masks() {
    let v = NDArray([5, 6, 7])
    expect(v[[true, false, true]], [2], [5, 7])
    expect(v[NDArray([false, false, false])], [0], [])
    let grid = NDArray.arange(6).reshaped([2, 3])
    expect(grid[NDArray([[true, false, true], [false, true, false]])], [3], [0, 2, 4])
    expect(grid[[false, true], 1], [1], [4])
    expect(grid[.all, [true, false, true]], [2, 2], [0, 2, 3, 5])
    #expect(grid[NDArray(true)].shape == [1, 2, 3])
    #expect(grid[NDArray(false)].shape == [0, 2, 3])
    #expect(x[NDArray.ones([2, 3], dtype: .bool)].shape == [6, 4])
  }

  // MARK: Writing

  @Test("Assignment to parts")
  func assignment() {
    let y = NDArray.zeros([2, 3])
    y[0] = NDArray([1, 2, 3])
    y[.all, 2] = NDArray(9)
    y[1, 0..<2] = NDArray([[4.5, 5.5]])
    #expect(y.elements(as: Double.self) == [1, 2, 9, 4.5, 5.5, 9])
    y[.slice(step: -1)] = y
    #expect(y.elements(as: Double.self) == [4.5, 5.5, 9, 1, 2, 9])
  }

  @Test("Assignment through index arrays")
  func scatter() {
    let y = NDArray.arange(5)
    y[[0, 3]] = NDArray([10, 30])
    y[NDArray([false, true, false, false, true])] = NDArray(-1)
    expect(y, [5], [10, -1, 2, 30, -1])
    // Where an element is named twice the last value stays.
    y[[2, 2, 2]] = NDArray([7, 8, 9])
    expect(y, [5], [10, -1, 9, 30, -1])
    // The values are those from before the assignment, also from the same memory.
    y[[4, 3, 2, 1, 0]] = y
    expect(y, [5], [-1, 30, 9, -1, 10])
    let part = y[.slice(1, step: 2)]
    part[[1]] = NDArray(0)
    expect(y, [5], [-1, 30, 9, 0, 10])
  }

  // MARK: Random programs

  @Test("Random basic indexing agrees with enumeration", arguments: 0..<20)
  func random(_ seed: UInt64) throws {
    var random = Generator(state: seed)
    for _ in 0..<25 {
      let shape = random.shape()
      let source = NDArray.arange(shape.reduce(1, *)).reshaped(shape)
      var array = source
      var model = Model(shape: shape)
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let entries = random.entries(for: model.dims)
        array = array.indexed(entries.map(\.index))
        model = model.indexed(entries)
      }
      #expect(array.shape == model.dims, "seed \(seed), shape \(shape)")
      #expect(array.elements(as: Int.self) == model.places, "seed \(seed), shape \(shape)")
      #expect(array.base === source.base)
      // What is written through the last view arrives in the first array, and nothing else does.
      var expected = Array(0..<source.count)
      for (i, place) in model.places.enumerated() { expected[place] = -1 - i }
      try array.assign(
        NDArray((0..<model.places.count).map { -1 - $0 }, shape: model.dims))
      #expect(source.elements(as: Int.self) == expected, "seed \(seed), shape \(shape)")
    }
  }
}

extension NDArray {
  /// The subscript for lists that are made at run time, of up to six entries.
  fileprivate func indexed(_ i: [any TensorIndex]) -> NDArray {
    switch i.count {
    case 0: self[]
    case 1: self[i[0]]
    case 2: self[i[0], i[1]]
    case 3: self[i[0], i[1], i[2]]
    case 4: self[i[0], i[1], i[2], i[3]]
    case 5: self[i[0], i[1], i[2], i[3], i[4]]
    default: self[i[0], i[1], i[2], i[3], i[4], i[5]]
    }
  }
}

/// An entry of an index list, with the elements that it names written out.
private enum Entry {
  case integer(Int)
  case slice(Int?, Int?, Int)
  case newAxis
  case ellipsis

  var index: any TensorIndex {
    switch self {
    case .integer(let i): i
    case .slice(let start, let stop, let step): IndexComponent.slice(start, stop, step: step)
    case .newAxis: IndexComponent.newAxis
    case .ellipsis: IndexComponent.ellipsis
    }
  }

  /// Walks as Python's definition of a slice says, without any formula for its length.
  static func members(_ start: Int?, _ stop: Int?, _ step: Int, length: Int) -> [Int] {
    func fromFront(_ bound: Int) -> Int { bound < 0 ? bound + length : bound }
    var i = start.map(fromFront) ?? (step > 0 ? 0 : length - 1)
    if step < 0 { i = min(i, length - 1) } else { i = max(i, 0) }
    let end = stop.map(fromFront)
    var result: [Int] = []
    while i >= 0 && i < length {
      if let end, step > 0 ? i >= end : i <= end { break }
      result.append(i)
      i += step
    }
    return result
  }
}

/// An array as a table: for every element, in C order, where it comes from.
private struct Model {
  var dims: [Int]
  var places: [Int]

  init(shape: [Int]) {
    dims = shape
    places = Array(0..<shape.reduce(1, *))
  }

  private func place(of index: [Int]) -> Int {
    places[zip(index, dims).reduce(0) { $0 * $1.1 + $1.0 }]
  }

  func indexed(_ entries: [Entry]) -> Model {
    let taken = entries.count {
      if case .newAxis = $0 { false } else if case .ellipsis = $0 { false } else { true }
    }
    // One list of members for each axis of this array, and the lengths of the axes that stay.
    var members: [[Int]] = []
    var lengths: [Int] = []
    func keepAxes(_ count: Int) {
      for _ in 0..<count {
        lengths.append(dims[members.count])
        members.append(Array(0..<dims[members.count]))
      }
    }
    for entry in entries {
      switch entry {
      case .integer(let i):
        let length = dims[members.count]
        members.append([i < 0 ? i + length : i])
      case .slice(let start, let stop, let step):
        members.append(Entry.members(start, stop, step, length: dims[members.count]))
        lengths.append(members.last!.count)
      case .newAxis:
        lengths.append(1)
      case .ellipsis:
        keepAxes(dims.count - taken)
      }
    }
    keepAxes(dims.count - members.count)

    var tuples: [[Int]] = [[]]
    for axis in members { tuples = tuples.flatMap { tuple in axis.map { tuple + [$0] } } }
    var result = self
    result.places = tuples.map(place)
    result.dims = lengths
    return result
  }
}

/// SplitMix64: small, and the same numbers everywhere.
private struct Generator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func shape() -> [Int] {
    (0..<Int.random(in: 0...4, using: &self)).map { _ in Int.random(in: 0...5, using: &self) }
  }

  mutating func entries(for dims: [Int]) -> [Entry] {
    var result: [Entry] = []
    var remaining = dims[...]
    while let length = remaining.first, Int.random(in: 0..<5, using: &self) > 0, result.count < 6 {
      switch Int.random(in: 0..<8, using: &self) {
      case 0:
        if dims.count < 6 { result.append(.newAxis) }
      case 1:
        result.append(.ellipsis)
        // The entries that follow belong to the last axes.
        return result
          + followers(
            remaining.suffix(
              Int.random(in: 0...min(remaining.count, 6 - result.count), using: &self)))
      case 2...3 where length > 0:
        result.append(.integer(Int.random(in: -length..<length, using: &self)))
        remaining = remaining.dropFirst()
      default:
        result.append(slice())
        remaining = remaining.dropFirst()
      }
    }
    return result
  }

  /// One entry for each of the last axes.
  private mutating func followers(_ dims: ArraySlice<Int>) -> [Entry] {
    dims.map { length in
      length > 0 && Bool.random(using: &self)
        ? .integer(Int.random(in: -length..<length, using: &self)) : slice()
    }
  }

  private mutating func slice() -> Entry {
    let bounds = [nil] + Array(-7...7).map(Optional.some)
    return .slice(
      bounds.randomElement(using: &self)!, bounds.randomElement(using: &self)!,
      [1, 1, 2, 3, -1, -2, -7].randomElement(using: &self)!)
  }
}
