// Elements along an axis in order, and their places. Called by the executor of moves.

/// Sorts runs of elements.
///
/// Elements are sorted by whole numbers that are in the same order, their keys. Where there is machine code, by
/// parts (PartitionSort.swift). Places, and elements elsewhere: short runs by insertion, others digit by digit
/// from the last, eight bits at a time, which takes as many passes as a key has bytes that differ, however the
/// elements lie.
package enum Sort {
  /// Bytes that `values` works in.
  package static func workBytes(_ type: ScalarType, _ runs: Runs) -> Int {
    let keys = WorkMemory.byteCount(2 * runs.length * type.size)
    // Only where there are elements that their keys don't tell.
    if !type.isFloating { return keys }
    let places = WorkMemory.byteCount(runs.length, of: Int64.self)
    return keys + WorkMemory.byteCount(runs.length * type.size) + places
      + placesWorkBytes(type, runs)
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
  ///   - code: Machine code for keys of the type's size.
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
private protocol Sortable: BitwiseCopyable {
  associatedtype Key: FixedWidthInteger & UnsignedInteger & BitwiseCopyable
  /// Greater for a greater element; equal for equal ones.
  var sortKey: Key { get }
  init(sortKey: Key)
  /// Whether its key is all that it is: not for -0, and not for what is no number.
  var isKeyed: Bool { get }
  var isNumber: Bool { get }
}

extension Sortable {
  var isKeyed: Bool { true }
  var isNumber: Bool { true }
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

  func sort(_ from: UnsafePointer<T>, _ to: UnsafeMutablePointer<T>, _ work: WorkMemory) {
    var work = work
    let keys = work.take(2 * length, of: KeyAlone<T.Key>.self)
    let flip: T.Key = isDescending ? .max : 0
    forEachRun { start in
      let x = from + start
      if inner == 1 ? take(x, 1, flip, keys) : take(x, inner, flip, keys) {
        let sorted = RadixSort.sort(keys, scratch: keys + length, length, code)
        if inner == 1 {
          put(sorted, flip, to + start, 1)
        } else {
          put(sorted, flip, to + start, inner)
        }
      } else {
        sortByPlaces(x, to + start, work)
      }
    }
  }

  // Loops over what they are given and without branches, so that they are vectorised where `step` is 1.

  /// Makes the keys of a run. False if an element's key doesn't tell it.
  @inline(__always)
  private func take(
    _ x: UnsafePointer<T>, _ step: Int, _ flip: T.Key, _ keys: UnsafeMutablePointer<KeyAlone<T.Key>>
  ) -> Bool {
    var untold: T.Key = 0
    for i in 0..<length {
      let element = x[i &* step]
      untold |= element.isKeyed ? 0 : 1
      keys[i] = KeyAlone(key: element.sortKey ^ flip)
    }
    return untold == 0
  }

  @inline(__always)
  private func put(
    _ keys: UnsafePointer<KeyAlone<T.Key>>, _ flip: T.Key, _ to: UnsafeMutablePointer<T>,
    _ step: Int
  ) {
    for i in 0..<length { to[i &* step] = T(sortKey: keys[i].key ^ flip) }
  }

  /// A run with elements that their keys don't tell.
  @inline(never)
  private func sortByPlaces(
    _ x: UnsafePointer<T>, _ to: UnsafeMutablePointer<T>, _ work: WorkMemory
  ) {
    var work = work
    let run = work.take(length, of: T.self)
    let places = work.take(length, of: Int64.self)
    for i in 0..<length { run[i] = x[i * inner] }
    RunSorter(runs: Runs(outer: 1, length: length, inner: 1), isDescending: isDescending)
      .places(run, places, isFlat: false, work)
    for i in 0..<length { to[i * inner] = run[Int(places[i])] }
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
    let flip: T.Key = isDescending ? .max : 0
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

  /// Sorts keys that are all there is of an element.
  ///
  /// - Parameter scratch: Memory for as many.
  /// - Returns: Where the sorted keys are: one of the two.
  @inline(__always)
  static func sort<Key>(
    _ keys: UnsafeMutablePointer<KeyAlone<Key>>, scratch: UnsafeMutablePointer<KeyAlone<Key>>,
    _ count: Int, _ code: SortSteps?
  ) -> UnsafeMutablePointer<KeyAlone<Key>> {
    guard let code, count > Self.mostInserted else { return sort(keys, scratch: scratch, count) }
    if isSorted(keys, count) { return keys }
    func plain(_ keys: UnsafeMutablePointer<KeyAlone<Key>>) -> UnsafeMutablePointer<Key> {
      UnsafeMutableRawPointer(keys).assumingMemoryBound(to: Key.self)
    }
    func keyed(_ keys: UnsafeMutablePointer<Key>) -> UnsafeMutablePointer<KeyAlone<Key>> {
      UnsafeMutableRawPointer(keys).assumingMemoryBound(to: KeyAlone<Key>.self)
    }
    PartitionSort(code: code, target: plain(keys)) { keys, scratch, count in
      plain(byDigits(keyed(keys), keyed(scratch), count))
    }.sort(
      plain(keys), plain(scratch), 0..<count,
      depth: 2 * (Int.bitWidth - count.leadingZeroBitCount))
    return keys
  }

  /// The longest run that insertion sorts sooner than machine code does.
  private static var mostInserted: Int { 6 }

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
