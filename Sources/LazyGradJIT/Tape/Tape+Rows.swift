// Recording rows by number: the operation, the table as a view and the numbers in one call. Uses the
// checked entry.

extension Tape {
  /// Records rows of a handle's value by number, where the layouts are remembered by `key`.
  ///
  /// - Parameter fill: Writes `count` numbers, which name rows; false: some don't.
  /// - Returns: nil where the layouts are not known, the table would have to be copied, numbers are
  ///   wrong or have no memory. Nothing has been recorded then.
  package static func rows(
    _ x: SlotRef, _ key: ViewKey, count: Int, mode: RecordMode,
    numbers fill: (UnsafeMutablePointer<Int64>) -> Bool
  ) -> NewHandle? {
    let tape = hold(x)
    defer { tape.unlock() }
    let views = tape.state.pointee.views
    guard let known = views.known(key, of: x.pointee.shape, tape.state.pointee.limits),
      known.table == .max || tape.canView(x, known.table, 0),
      let storage = tape.numbers(count, fill)
    else { return nil }
    tape.dropOldGradient(x, mode)
    let recent = tape.takeRecent()
    let value = tape.operand(x)
    let table = known.table == .max ? value : tape.part(of: value, known.table, 0, mode)
    let numbers = tape.leaf(owning: storage, .int64, known.numbers)
    return tape.finish(.gatherRows, x.pointee.type, known.layout, table, numbers, mode, recent)
  }

  /// Remembers the layouts of rows of a handle's value: of the result, of the table as a view of the value
  /// (nil: it is the value) and of the numbers.
  package static func rememberRows(
    _ x: SlotRef, _ key: ViewKey, result: LayoutID, table: LayoutID?, numbers: LayoutID
  ) {
    let tape = hold(x)
    defer { tape.unlock() }
    tape.state.pointee.views.remember(
      key, of: x.pointee.shape, as: result, table: table ?? .max, numbers: numbers,
      tape.state.pointee.limits)
  }

  /// Memory with the numbers that `fill` writes; nil where there is none or they can't be used.
  @inline(__always)
  func numbers(
    _ count: Int, _ fill: (UnsafeMutablePointer<Int64>) -> Bool
  ) -> Unmanaged<Storage>? {
    let (bytes, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<Int64>.stride)
    guard !overflow, let storage = try? state.pointee.spares.take(bytes) else { return nil }
    if fill(storage._withUnsafeGuaranteedRef { $0.pointer.assumingMemoryBound(to: Int64.self) }) {
      return storage
    }
    give(storage)
    return nil
  }

  /// A leaf record of a value in C order that no handle has; it takes over a reference to the memory.
  package func leaf(owning storage: Unmanaged<Storage>, _ type: ScalarType, _ layout: LayoutID)
    -> UInt32
  {
    let id = append(.leaf, type, shape: layout, attribute: layout, state: .owns)
    nodes[Int(id)].storage = storage
    countReader(storage)
    state.pointee.owners.append(id)
    return id
  }
}
