// Elements along an axis in order, and their places. Called by the executor of moves.

/// Sorts runs of elements.
///
/// Where there is machine code, elements are sorted by parts (PartitionSort.swift). Places, and elements elsewhere,
/// are sorted by whole numbers that are in the same order, their keys: short runs by insertion, others digit by
/// digit from the last, eight bits at a time, which takes as many passes as a key has bytes that differ, however the
/// elements lie.
///
/// Neither way can tell zeros from each other, or knows where something belongs that is no number. Both are rare:
/// they are set apart before and put back behind the others and among the zeros, in their old order.
package enum Sort {
  /// Bytes that `values` works in.
  package static func workBytes(_ type: ScalarType, _ runs: Runs) -> Int {
    let run = runs.length * type.size
    // Numbers and what is set apart from them, or elements that are not side by side.
    let runCount = type.isFloating ? 2 : runs.inner == 1 ? 0 : 1
    return runCount * WorkMemory.byteCount(run) + WorkMemory.byteCount(spareBytes(run))
      + WorkMemory.byteCount(2 * run)
  }

  /// Bytes that parts of a run are copied to.
  fileprivate static func spareBytes(_ run: Int) -> Int {
    min(run, PartitionSort<UInt8>.bytesInTurns)
  }

  /// Bytes that `places` works in.
  package static func placesWorkBytes(_ type: ScalarType, _ runs: Runs) -> Int {
    // A key and a place of half as many bytes as a key, or as many, or of the most bytes, where keys are few.
    let entry = max(type.size, runs.length <= UInt32.max ? 4 : 8) * 2
    return WorkMemory.byteCount(2 * runs.length * entry)
  }

  /// - Parameters:
  ///   - from: Elements in C order.
  ///   - to: Memory for as many; `from` itself, or none of it.
  ///   - code: Machine code for the type and the order.
  package static func values(
    _ type: ScalarType, _ runs: Runs, isDescending: Bool, from: UnsafeRawPointer,
    to: UnsafeMutableRawPointer, _ work: WorkMemory, code: SortSteps?
  ) {
    func run<T: Sortable>(_: T.Type) {
      RunSorter<T>(runs: runs, isDescending: isDescending, code: code).sort(
        from.assumingMemoryBound(to: T.self), to.assumingMemoryBound(to: T.self), work)
    }
    switch type {
    case .float32: run(Float.self)
    case .float64: run(Double.self)
    case .int64: run(Int64.self)
    case .int32: run(Int32.self)
    case .uint8, .bool: run(UInt8.self)
    case .float16, .bfloat16: type.isNotComputed("sort")
    }
  }

  /// The places that the elements of `values` come from: along the axis, or counted through all of them.
  package static func places(
    _ type: ScalarType, _ runs: Runs, isDescending: Bool, isFlat: Bool, from: UnsafeRawPointer,
    to: UnsafeMutablePointer<Int64>, _ work: WorkMemory
  ) {
    func run<T: Sortable>(_: T.Type) {
      RunSorter<T>(runs: runs, isDescending: isDescending).places(
        from.assumingMemoryBound(to: T.self), to, isFlat: isFlat, work)
    }
    switch type {
    case .float32: run(Float.self)
    case .float64: run(Double.self)
    case .int64: run(Int64.self)
    case .int32: run(Int32.self)
    case .uint8, .bool: run(UInt8.self)
    case .float16, .bfloat16: type.isNotComputed("sort")
    }
  }
}

/// An element that is sorted by a whole number.
private protocol Sortable: BitwiseCopyable, Comparable {
  associatedtype Key: FixedWidthInteger & UnsignedInteger & BitwiseCopyable
  /// Greater for a greater element; equal for equal ones.
  var sortKey: Key { get }
  init(sortKey: Key)
  /// Whether its key is all that it is: not for -0, and not for what is no number.
  var isKeyed: Bool { get }
  var isNumber: Bool { get }
  var isZero: Bool { get }
}

extension Sortable {
  var isKeyed: Bool { true }
  var isNumber: Bool { true }
}

extension Sortable where Self: FixedWidthInteger {
  var isZero: Bool { self == 0 }
}

extension Float: Sortable {
  // Adding 0 makes 0 of -0.
  var sortKey: UInt32 {
    let bits = (self + 0).bitPattern
    return bits ^ (bits >> 31 == 0 ? 1 << 31 : .max)
  }
  init(sortKey: UInt32) {
    self.init(bitPattern: sortKey ^ (sortKey >> 31 == 0 ? .max : 1 << 31))
  }
  var isKeyed: Bool { self == self && bitPattern != 1 << 31 }
  var isNumber: Bool { self == self }
}

extension Double: Sortable {
  var sortKey: UInt64 {
    let bits = (self + 0).bitPattern
    return bits ^ (bits >> 63 == 0 ? 1 << 63 : .max)
  }
  init(sortKey: UInt64) {
    self.init(bitPattern: sortKey ^ (sortKey >> 63 == 0 ? .max : 1 << 63))
  }
  var isKeyed: Bool { self == self && bitPattern != 1 << 63 }
  var isNumber: Bool { self == self }
}

extension Int64: Sortable {
  var sortKey: UInt64 { UInt64(bitPattern: self) ^ 1 << 63 }
  init(sortKey: UInt64) { self.init(bitPattern: sortKey ^ 1 << 63) }
}

extension Int32: Sortable {
  var sortKey: UInt32 { UInt32(bitPattern: self) ^ 1 << 31 }
  init(sortKey: UInt32) { self.init(bitPattern: sortKey ^ 1 << 31) }
}

extension UInt8: Sortable {
  var sortKey: UInt8 { self }
  init(sortKey: UInt8) { self = sortKey }
}

/// Something that is sorted by a key.
private protocol Keyed: BitwiseCopyable {
  associatedtype Key: FixedWidthInteger & UnsignedInteger
  var key: Key { get }
}

private struct KeyAlone<Key: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>: Keyed {
  var key: Key
}

/// A key and where its element is.
private struct KeyAndPlace<
  Key: FixedWidthInteger & UnsignedInteger & BitwiseCopyable,
  Place: FixedWidthInteger & UnsignedInteger & BitwiseCopyable
>: Keyed {
  var key: Key
  var place: Place
}

private struct RunSorter<T: Sortable> {
  let runs: Runs
  let isDescending: Bool
  /// Used for elements alone.
  var code: SortSteps?

  private var length: Int { runs.length }
  private var inner: Int { runs.inner }
  private var flip: T.Key { isDescending ? .max : 0 }
  /// The longest run that insertion sorts sooner than machine code does.
  private static var mostInserted: Int { 6 }

  func sort(_ from: UnsafePointer<T>, _ to: UnsafeMutablePointer<T>, _ work: WorkMemory) {
    forEachRun { start in
      if !sortKeyed(from + start, to + start, step: inner, length, work) {
        sortApart(from + start, to + start, work)
      }
    }
  }

  /// Sorts a run of which `step` is between elements. False, and `from` is as it was, if an element's key doesn't
  /// tell it.
  @inline(__always)
  private func sortKeyed(
    _ from: UnsafePointer<T>, _ to: UnsafeMutablePointer<T>, step: Int, _ count: Int,
    _ work: WorkMemory
  ) -> Bool {
    var work = work
    guard let code, count > Self.mostInserted else {
      let keys = work.take(2 * length, of: KeyAlone<T.Key>.self)
      guard step == 1 ? take(from, 1, count, keys) : take(from, step, count, keys) else {
        return false
      }
      let sorted = RadixSort.sort(keys, scratch: keys + length, count)
      put(sorted, to, step, count)
      return true
    }
    let run = step == 1 ? to : work.take(length)
    guard step == 1 ? copy(from, 1, count, run) : copy(from, step, count, run) else {
      return false
    }
    if count <= code.mostOrdered {
      code.order(run, count, to: run)
    } else if !isSorted(run, count) {
      let spare = work.take(byteCount: Sort.spareBytes(length * MemoryLayout<T>.size))
        .assumingMemoryBound(to: T.self)
      PartitionSort(code: code, spare: spare) { elements, count in
        sortByDigits(elements, count, work)
      }.sort(run, count, depth: 2 * (Int.bitWidth - count.leadingZeroBitCount))
    }
    if step != 1 {
      for i in 0..<count { to[i &* step] = run[i] }
    }
    return true
  }

  @inline(never)
  private func sortByDigits(
    _ elements: UnsafeMutablePointer<T>, _ count: Int, _ work: WorkMemory
  ) {
    var work = work
    let keys = work.take(2 * length, of: KeyAlone<T.Key>.self)
    _ = take(elements, 1, count, keys)
    put(RadixSort.sort(keys, scratch: keys + length, count), elements, 1, count)
  }

  /// A run with elements that their keys don't tell: numbers are sorted without them, as if no zero had a sign.
  @inline(never)
  private func sortApart(
    _ from: UnsafePointer<T>, _ to: UnsafeMutablePointer<T>, _ work: WorkMemory
  ) {
    var work = work
    let run = work.take(length, of: T.self)
    // Zeros from the beginning, and what is no number from the end.
    let apart = work.take(length, of: T.self)
    var (count, zeros, others) = (0, 0, length)
    for i in 0..<length {
      let element = from[i * inner]
      if !element.isNumber {
        others -= 1
        apart[others] = element
        continue
      }
      if element.isZero {
        apart[zeros] = element
        zeros += 1
      }
      run[count] = T(sortKey: element.sortKey)
      count += 1
    }
    _ = sortKeyed(run, run, step: 1, count, work)
    if zeros > 0 {
      var first = 0
      while !run[first].isZero { first += 1 }
      (run + first).update(from: apart, count: zeros)
    }
    for i in 0..<count { to[i * inner] = run[i] }
    for i in count..<length { to[i * inner] = apart[length - 1 - (i - count)] }
  }

  private func isSorted(_ x: UnsafePointer<T>, _ count: Int) -> Bool {
    var sorted = 1
    if isDescending {
      while sorted < count, x[sorted - 1] >= x[sorted] { sorted += 1 }
    } else {
      while sorted < count, x[sorted - 1] <= x[sorted] { sorted += 1 }
    }
    return sorted >= count
  }

  // Loops over what they are given and without branches, so that they are vectorised where `step` is 1.

  /// Copies a run. False if an element's key doesn't tell it.
  @inline(__always)
  private func copy(
    _ x: UnsafePointer<T>, _ step: Int, _ count: Int, _ to: UnsafeMutablePointer<T>
  ) -> Bool {
    var special: T.Key = 0
    for i in 0..<count {
      let element = x[i &* step]
      special |= element.isKeyed ? 0 : 1
      to[i] = element
    }
    return special == 0
  }

  /// Makes the keys of a run. False if an element's key doesn't tell it.
  @inline(__always)
  private func take(
    _ x: UnsafePointer<T>, _ step: Int, _ count: Int,
    _ keys: UnsafeMutablePointer<KeyAlone<T.Key>>
  ) -> Bool {
    let flip = flip
    var untold: T.Key = 0
    for i in 0..<count {
      let element = x[i &* step]
      untold |= element.isKeyed ? 0 : 1
      keys[i] = KeyAlone(key: element.sortKey ^ flip)
    }
    return untold == 0
  }

  @inline(__always)
  private func put(
    _ keys: UnsafePointer<KeyAlone<T.Key>>, _ to: UnsafeMutablePointer<T>, _ step: Int,
    _ count: Int
  ) {
    let flip = flip
    if step == 1 {
      for i in 0..<count { to[i] = T(sortKey: keys[i].key ^ flip) }
    } else {
      for i in 0..<count { to[i &* step] = T(sortKey: keys[i].key ^ flip) }
    }
  }

  func places(
    _ from: UnsafePointer<T>, _ to: UnsafeMutablePointer<Int64>, isFlat: Bool, _ work: WorkMemory
  ) {
    if length <= UInt32.max {
      places(from, to, isFlat, work, UInt32.self)
    } else {
      places(from, to, isFlat, work, UInt64.self)
    }
  }

  @inline(__always)
  private func places<Place: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(
    _ from: UnsafePointer<T>, _ to: UnsafeMutablePointer<Int64>, _ isFlat: Bool,
    _ work: WorkMemory, _: Place.Type
  ) {
    var work = work
    let entries = work.take(2 * length, of: KeyAndPlace<T.Key, Place>.self)
    let flip = flip
    forEachRun { start in
      for i in 0..<length {
        let element = from[start + i * inner]
        // No number has this key.
        let key = element.isNumber ? element.sortKey ^ flip : .max
        entries[i] = KeyAndPlace(key: key, place: Place(truncatingIfNeeded: i))
      }
      let sorted = RadixSort.sort(entries, scratch: entries + length, length)
      for i in 0..<length {
        let place = Int(truncatingIfNeeded: sorted[i].place)
        to[start + i * inner] = Int64(isFlat ? start + place * inner : place)
      }
    }
  }

  /// Calls `body` with where every run begins.
  @inline(__always)
  private func forEachRun(_ body: (Int) -> Void) {
    for block in 0..<runs.outer {
      for i in 0..<inner { body(block * length * inner + i) }
    }
  }
}

private enum RadixSort {
  /// The longest run that insertion sorts sooner than digits do.
  static var insertionLimit: Int { 40 }

  /// Sorts by keys; equal ones keep their order.
  ///
  /// - Parameter scratch: Memory for as many elements.
  /// - Returns: Where the sorted elements are: one of the two.
  static func sort<E: Keyed>(
    _ elements: UnsafeMutablePointer<E>, scratch: UnsafeMutablePointer<E>, _ count: Int
  ) -> UnsafeMutablePointer<E> {
    if isSorted(elements, count) { return elements }
    if count <= insertionLimit {
      insert(elements, count)
      return elements
    }
    return byDigits(elements, scratch, count)
  }

  private static func isSorted<E: Keyed>(_ x: UnsafePointer<E>, _ count: Int) -> Bool {
    var sorted = min(count, 1)
    while sorted < count, x[sorted - 1].key <= x[sorted].key { sorted += 1 }
    return sorted == count
  }

  private static func insert<E: Keyed>(_ x: UnsafeMutablePointer<E>, _ count: Int) {
    for i in 1..<count {
      let element = x[i]
      var j = i
      while j > 0, x[j - 1].key > element.key {
        x[j] = x[j - 1]
        j -= 1
      }
      x[j] = element
    }
  }

  /// 1. How often each digit occurs at each position is counted in one pass.
  /// 2. Position by position from the last, elements go behind those with a smaller digit.
  /// 3. A position where all have one digit is left out.
  private static func byDigits<E: Keyed>(
    _ elements: UnsafeMutablePointer<E>, _ scratch: UnsafeMutablePointer<E>, _ count: Int
  ) -> UnsafeMutablePointer<E> {
    let digits = E.Key.bitWidth / 8
    return withUnsafeTemporaryAllocation(of: Int.self, capacity: digits * 256) { counts in
      let counts = counts.baseAddress!
      counts.initialize(repeating: 0, count: digits * 256)
      for i in 0..<count {
        var key = elements[i].key
        for digit in 0..<digits {
          counts[digit * 256 + Int(truncatingIfNeeded: key & 0xFF)] &+= 1
          key = key &>> 8
        }
      }
      var (from, to) = (elements, scratch)
      for digit in 0..<digits {
        let places = counts + digit * 256
        let shift = E.Key(truncatingIfNeeded: digit * 8)
        if places[Int(truncatingIfNeeded: from[0].key &>> shift & 0xFF)] == count { continue }
        var sum = 0
        for value in 0..<256 {
          let here = places[value]
          places[value] = sum
          sum &+= here
        }
        for i in 0..<count {
          let element = from[i]
          let value = Int(truncatingIfNeeded: element.key &>> shift & 0xFF)
          to[places[value]] = element
          places[value] &+= 1
        }
        (from, to) = (to, from)
      }
      return from
    }
  }
}
