// Remembers what a function of layouts gave, so that recording asks the table of layouts once. Uses Core.

/// What a memo is asked for: a layout, and something beside it.
package protocol MemoKey: Equatable, BitwiseCopyable {
  /// No layout is `max`: a key in memory that is all ones is that of an empty place.
  var layout: LayoutID { get }
  /// A number that depends on all of the key, in its lowest bits.
  var hash: UInt64 { get }
}

/// A memo of a fixed size, in sets of four places. What does not fit pushes out the oldest of its set.
///
/// With one place a set, two keys that a program asks for in turn, and which happen to share it, would
/// be worked out every time.
package struct Memo<Key: MemoKey, Value: BitwiseCopyable> {
  private struct Entry: BitwiseCopyable {
    var key: Key
    var value: Value
  }
  private static var ways: Int { 4 }
  private let entries: UnsafeMutablePointer<Entry>
  private let size: Int

  /// - Parameter size: How many values it has room for, a power of two.
  package init(size: Int) {
    self.size = size
    entries = .allocate(capacity: size)
    removeAll()
  }

  package func removeAll() {
    UnsafeMutableRawPointer(entries).initializeMemory(
      as: UInt8.self, repeating: 0xFF, count: size * MemoryLayout<Entry>.stride)
  }

  /// What was remembered.
  ///
  /// - Parameter places: How many are in use, a power of two of at most `size`.
  @inline(__always)
  package func known(_ key: Key, places: Int) -> Value? {
    let set = set(of: key, places)
    return set.pointee.key == key ? set.pointee.value : search(set, key, places)
  }

  @inline(never)
  package func remember(_ key: Key, _ value: Value, places: Int) {
    let set = set(of: key, places)
    for way in (1..<max(min(Self.ways, places), 1)).reversed() { set[way] = set[way - 1] }
    set.pointee = Entry(key: key, value: value)
  }

  /// What was remembered, or what `compute` says; nil, which is not remembered, where that is nil.
  @inline(__always)
  package func callAsFunction(_ key: Key, places: Int, _ compute: () -> Value?) -> Value? {
    if let value = known(key, places: places) { return value }
    guard let value = compute() else { return nil }
    remember(key, value, places: places)
    return value
  }

  @inline(__always)
  private func set(of key: Key, _ places: Int) -> UnsafeMutablePointer<Entry> {
    entries + (Int(truncatingIfNeeded: key.hash) & (places &- 1) & -Self.ways)
  }

  @inline(never)
  private func search(
    _ set: UnsafeMutablePointer<Entry>, _ key: Key, _ places: Int
  ) -> Value? {
    for way in 1..<max(min(Self.ways, places), 1) where set[way].key == key {
      return set[way].value
    }
    return nil
  }
}
