// The meaning of an index list: one resolver for reading and writing host arrays and tensors.
// Works on lengths, strides and an offset, so it needs neither.

internal import LazyGradJIT

/// What an index list selects from an array.
enum IndexResolution {
  /// Integers, ranges, new axes: another window onto the same memory.
  case view(IndexedView)
  /// Index arrays take part: elements in any order.
  case gather(IndexedGather)
}

/// A window: lengths, strides and the offset of its first element.
struct IndexedView {
  var dims: [Int]
  var strides: [Int]
  var offset: Int
}

/// Elements named by index arrays, with whole ranges of axes before and after them.
///
/// The result has the axes `outer`, then those of the index arrays, then `inner`:
///
///     element[o, i, n] = memory[offset + o . outerStrides + indexOffsets[i] + n . innerStrides]
struct IndexedGather {
  var offset: Int
  var outerDims: [Int]
  var outerStrides: [Int]
  /// The common shape of the index arrays.
  var indexDims: [Int]
  /// For each element of that shape the sum of index times stride, over all index arrays.
  var indexOffsets: [Int]
  /// What all those sums are multiples of, whatever the indices are.
  var indexUnit: Int
  var innerDims: [Int]
  var innerStrides: [Int]

  /// The shape of the result.
  var dims: [Int] { outerDims + indexDims + innerDims }

  /// The place of every element of the result, in C order, in the terms of the strides and the
  /// offset that were given to the resolver.
  ///
  /// - Throws: where there is no memory for as many numbers.
  /// - Complexity: O(number of elements of the result).
  func positions() throws(TensorError) -> [Int] { try positions(innerDims, innerStrides) }

  private func positions(
    _ innerDims: [Int], _ innerStrides: [Int]
  ) throws(TensorError) -> [Int] {
    if dims.contains(0) { return [] }
    // The numbers themselves, and in the worst case as many of the axes around the index arrays twice.
    try IndexResolution.require(
      (outerDims + indexDims + innerDims).reduce(3) { $0 * $1 })
    let outer = IndexResolution.positions(dims: outerDims, strides: outerStrides, start: offset)
    let inner = IndexResolution.positions(dims: innerDims, strides: innerStrides)
    var result: [Int] = []
    result.reserveCapacity(outer.count * indexOffsets.count * inner.count)
    for o in outer {
      for i in indexOffsets {
        for n in inner { result.append(o + i + n) }
      }
    }
    return result
  }

  /// The elements of the result, in C order, as whole rows of a memory of `count` elements that is
  /// cut into rows of one width: the widest that the layout allows for any indices, so that programs
  /// which differ in their indices only are planned once.
  ///
  /// - Throws: where there is no memory for as many numbers.
  /// - Complexity: O(number of rows).
  func rows(of count: Int) throws(TensorError) -> (width: Int, numbers: [Int]) {
    if dims.contains(0) { return (1, []) }
    // The last axes, as far as their elements lie one behind the other.
    var run = 1
    var axis = innerDims.count
    while axis > 0, innerDims[axis - 1] == 1 || innerStrides[axis - 1] == run {
      run *= innerDims[axis - 1]
      axis -= 1
    }
    let others = zip(outerDims + innerDims[..<axis], outerStrides + innerStrides[..<axis])
    let steps = others.map { $0 == 1 ? 0 : $1 } + [offset, count, indexUnit]
    let width = steps.reduce(run, IndexResolution.commonDivisor)
    var places = try positions(
      innerDims[..<axis] + [run / width], innerStrides[..<axis] + [width])
    if width > 1 {
      for i in places.indices { places[i] /= width }
    }
    return (width, places)
  }
}

extension IndexResolution {
  /// The greatest divisor of both; of 0 every number is a multiple.
  static func commonDivisor(_ a: Int, _ b: Int) -> Int {
    var (a, b) = (a, abs(b))
    while b != 0 { (a, b) = (b, a % b) }
    return a
  }

  /// Makes sure that there is memory for some more numbers.
  static func require(_ count: Int) throws(TensorError) {
    try requireMemory(numbers: count, "subscript")
  }

  /// How many elements of a contiguous mask are true.
  static func trueCount(of mask: NDArray) -> Int {
    defer { withExtendedLifetime(mask) {} }
    let bytes = UnsafeRawBufferPointer(start: mask.pointer, count: mask.count)
    let ones: UInt64 = 0x0101_0101_0101_0101
    var count = 0
    var i = 0
    while i + 8 <= bytes.count {
      // The lowest bit of a byte becomes whether there is any in it.
      var word = bytes.loadUnaligned(fromByteOffset: i, as: UInt64.self)
      word |= word &>> 4
      word |= word &>> 2
      word |= word &>> 1
      count &+= Int(truncatingIfNeeded: ((word & ones) &* ones) &>> 56)
      i += 8
    }
    while i < bytes.count {
      count &+= bytes[i] != 0 ? 1 : 0
      i += 1
    }
    return count
  }

  /// Writes the numbers of the true elements of a contiguous mask, in C order, as far as there is room:
  /// the mask may change while it is read.
  ///
  /// - Returns: How many have been written.
  /// - Complexity: reads the mask once, eight elements at a time where none of them is true; random masks
  ///   take no longer than others.
  static func write<Number: FixedWidthInteger>(
    trueElementsOf mask: NDArray, to target: UnsafeMutableBufferPointer<Number>
  ) -> Int {
    defer { withExtendedLifetime(mask) {} }
    let bytes = UnsafeRawBufferPointer(start: mask.pointer, count: mask.count)
    var written = 0
    var i = 0
    while i < bytes.count, written < target.count {
      if i + 8 <= bytes.count {
        if bytes.loadUnaligned(fromByteOffset: i, as: UInt64.self) == 0 {
          i += 8
          continue
        }
        // Written in any case, and over again where it was false: there is nothing to guess for processors.
        if written + 8 <= target.count {
          for k in i..<i + 8 {
            target[written] = Number(truncatingIfNeeded: k)
            written &+= bytes[k] != 0 ? 1 : 0
          }
          i += 8
          continue
        }
      }
      let end = min(i + 8, bytes.count)
      while i < end, written < target.count {
        if bytes[i] != 0 {
          target[written] = Number(truncatingIfNeeded: i)
          written += 1
        }
        i += 1
      }
    }
    return written
  }

  /// Where the last of equal numbers are in a list, in order; nil where no two are equal.
  ///
  /// - Throws: where there is no memory to find out.
  /// - Complexity: O(length of the list), however large the numbers are.
  static func lastOfEach(_ numbers: [Int]) throws(TensorError) -> [Int]? {
    // In ascending order, as those of a mask are, all differ.
    if zip(numbers, numbers.dropFirst()).allSatisfy(<) { return nil }
    // Open addressing in a table that is at most half full; from the back, so that the last is found
    // first.
    let bits = Int.bitWidth - (numbers.count * 2).leadingZeroBitCount
    try require((1 << bits) + 2 * numbers.count)
    var table = [Int](repeating: -1, count: 1 << bits)
    var kept: [Int] = []
    kept.reserveCapacity(numbers.count)
    for k in numbers.indices.reversed() {
      let hash = UInt(bitPattern: numbers[k]) &* 0x9E37_79B9_7F4A_7C15
      var slot = Int(hash >> UInt(UInt.bitWidth - bits))
      while table[slot] >= 0, numbers[table[slot]] != numbers[k] {
        slot = (slot + 1) & (table.count - 1)
      }
      if table[slot] >= 0 { continue }
      table[slot] = k
      kept.append(k)
    }
    return kept.count == numbers.count ? nil : kept.reversed()
  }

  /// The place of every element of a strided layout, in C order.
  static func positions(dims: [Int], strides: [Int], start: Int = 0) -> [Int] {
    var result = [start]
    for (length, stride) in zip(dims, strides) {
      var next: [Int] = []
      next.reserveCapacity(result.count * length)
      for place in result {
        for i in 0..<length { next.append(place + i * stride) }
      }
      result = next
    }
    return result
  }

  /// Works out what `indices` select from an array with these lengths, strides and offset.
  ///
  /// 1. Entries are counted in axes; an ellipsis, written or implied, stands for the missing ones.
  /// 2. Integers, ranges and new axes change offset, lengths and strides.
  /// 3. If there are index arrays, they and the integers are broadcast together. Their common axes
  ///    take the place of the first of them, or come first if a range, a new axis or an ellipsis
  ///    separates them: NumPy's rule.
  static func resolve(
    _ indices: [IndexComponent], dims: [Int], strides: [Int], offset: Int
  ) throws(TensorError) -> IndexResolution {
    var resolver = IndexResolver(dims: dims, strides: strides, offset: offset)
    return try resolver.resolve(indices)
  }
}

/// The state of one walk over an index list.
private struct IndexResolver {
  /// Index values along one axis of the array, before broadcasting.
  struct Lookup {
    var dims: [Int]
    var offsets: [Int]
  }

  let dims: [Int]
  let strides: [Int]
  var offset: Int
  /// The next axis of the array that an entry will take.
  var axis = 0
  var hasArrays = false
  var resultDims: [Int] = []
  var resultStrides: [Int] = []
  var lookups: [Lookup] = []
  /// What their offsets are multiples of.
  var lookupUnit = 0
  /// How many axes of the result stood before the first index array.
  var lookupsStart = 0
  /// Whether something else has come between two of the index arrays.
  var isSeparated = false
  /// Whether the last entry was not an index array although one came before.
  var hasGap = false

  init(dims: [Int], strides: [Int], offset: Int) {
    self.dims = dims
    self.strides = strides
    self.offset = offset
  }

  static func error(_ message: String) -> TensorError {
    TensorError(operation: "subscript", message: message)
  }

  mutating func resolve(_ indices: [IndexComponent]) throws(TensorError) -> IndexResolution {
    var taken = 0
    var ellipses = 0
    for index in indices {
      switch index.kind {
      case .integer, .slice: taken += 1
      case .newAxis: break
      case .ellipsis: ellipses += 1
      case .array(let array):
        hasArrays = true
        taken += array.dtype == .bool ? array.rank : 1
      }
    }
    if ellipses > 1 { throw Self.error("expected at most one ellipsis, got \(ellipses)") }
    if taken > dims.count {
      throw Self.error("expected at most \(dims.count) indices, got \(taken)")
    }
    let missing = dims.count - taken
    for index in indices {
      switch index.kind {
      case .integer(let value):
        try integer(value)
      case .slice(let slice):
        try self.slice(slice)
      case .ellipsis:
        hasGap = true
        for _ in 0..<missing { keepAxis() }
      case .newAxis:
        hasGap = true
        resultDims.append(1)
        resultStrides.append(0)
      case .array(let array):
        try self.array(array)
      }
    }
    while axis < dims.count { keepAxis() }
    if resultDims.count > LayoutTable.maxRank {
      throw Self.error("expected at most \(LayoutTable.maxRank) axes, got \(resultDims.count)")
    }
    if hasArrays { return .gather(try gather()) }
    return .view(IndexedView(dims: resultDims, strides: resultStrides, offset: offset))
  }

  private mutating func keepAxis() {
    hasGap = true
    resultDims.append(dims[axis])
    resultStrides.append(strides[axis])
    axis += 1
  }

  private mutating func integer(_ value: Int) throws(TensorError) {
    if hasArrays {
      try lookUp([value], dims: [])
    } else {
      offset += try place(value)
      axis += 1
    }
  }

  /// The distance of an element of the current axis from the first.
  private func place(_ value: Int) throws(TensorError) -> Int {
    let length = dims[axis]
    let index = value < 0 ? value + length : value
    if index < 0 || index >= length {
      throw Self.error("index \(value) is out of range for axis \(axis) with length \(length)")
    }
    return index * strides[axis]
  }

  private mutating func slice(_ slice: IndexSlice) throws(TensorError) {
    if slice.step == 0 { throw Self.error("expected a slice step other than 0") }
    hasGap = true
    let range = AxisRange(slice, length: dims[axis])
    offset += range.first * strides[axis]
    resultDims.append(range.count)
    resultStrides.append(range.step * strides[axis])
    axis += 1
  }

  private mutating func array(_ array: NDArray) throws(TensorError) {
    try array.checkIsMade()
    switch array.dtype {
    case .bool:
      try mask(array)
    case .float32, .float64:
      throw Self.error("expected an index array of integers or bools, got \(array.dtype)")
    default:
      try lookUp(
        array.copiedElements(as: Int.self, operation: "subscript"), dims: array.shape)
    }
  }

  /// A mask over several axes is one array of indices for each of them: those of its true elements.
  private mutating func mask(_ mask: NDArray) throws(TensorError) {
    let covered = Array(dims[axis..<(axis + mask.rank)])
    if mask.shape != covered {
      throw Self.error(
        "expected a mask of shape \(covered) for axes from \(axis) on, got \(mask.shape)")
    }
    let hits = try Self.places(in: mask)
    if covered.isEmpty {
      // Takes no axis: the result gets one of length 1 or 0.
      append(Lookup(dims: [hits.count], offsets: hits))
    }
    var inner = covered.reduce(1, *)
    for length in covered {
      if length > 0 { inner /= length }
      try IndexResolution.require(2 * hits.count)
      try lookUp(hits.map { $0 / inner % length }, dims: [hits.count])
    }
  }

  /// The numbers of the true elements, in C order.
  private static func places(in mask: NDArray) throws(TensorError) -> [Int] {
    let plain = try mask.contiguous("subscript")
    let count = IndexResolution.trueCount(of: plain)
    try IndexResolution.require(count)
    return [Int](unsafeUninitializedCapacity: count) { numbers, written in
      written = IndexResolution.write(
        trueElementsOf: plain, to: UnsafeMutableBufferPointer(rebasing: numbers[..<count]))
    }
  }

  private mutating func lookUp(_ values: [Int], dims: [Int]) throws(TensorError) {
    try IndexResolution.require(values.count)
    var offsets: [Int] = []
    offsets.reserveCapacity(values.count)
    for value in values { offsets.append(try place(value)) }
    append(Lookup(dims: dims, offsets: offsets))
    lookupUnit = IndexResolution.commonDivisor(lookupUnit, strides[axis])
    axis += 1
  }

  private mutating func append(_ lookup: Lookup) {
    if lookups.isEmpty {
      lookupsStart = resultDims.count
    } else if hasGap {
      isSeparated = true
    }
    hasGap = false
    lookups.append(lookup)
  }

  /// Broadcasts the index arrays and adds their offsets up.
  private func gather() throws(TensorError) -> IndexedGather {
    var common: [Int] = []
    for lookup in lookups {
      guard let dims = Layout.broadcast(common, lookup.dims) else {
        let shapes = lookups.map { "\($0.dims)" }.joined(separator: ", ")
        throw Self.error("index arrays of shapes \(shapes) do not broadcast together")
      }
      common = dims
    }
    let start = isSeparated ? 0 : lookupsStart
    let count = (resultDims + common).reduce(1) { $0 &* $1 }
    guard LayoutTable.isComputable(resultDims + common),
      resultDims.count + common.count <= LayoutTable.maxRank
    else {
      throw Self.error("the result would have more elements than memory can hold")
    }
    // Where the result is empty nothing is looked up, however long the index arrays are. Else there are
    // the sums, and the places of one index array while they are being made out.
    if count > 0 { try IndexResolution.require(common.reduce(3) { $0 * $1 }) }
    var offsets = [Int](repeating: 0, count: count == 0 ? 0 : common.reduce(1, *))
    if count > 0 {
      for lookup in lookups {
        let layout = LayoutTable.shared[LayoutTable.shared.intern(dims: lookup.dims)]
        let strides = layout.broadcastStrides(to: common).unsafelyUnwrapped
        let places = IndexResolution.positions(dims: common, strides: strides)
        for i in offsets.indices { offsets[i] += lookup.offsets[places[i]] }
      }
    }
    return IndexedGather(
      offset: offset, outerDims: Array(resultDims[..<start]),
      outerStrides: Array(resultStrides[..<start]), indexDims: common, indexOffsets: offsets,
      indexUnit: lookupUnit, innerDims: Array(resultDims[start...]),
      innerStrides: Array(resultStrides[start...]))
  }
}
