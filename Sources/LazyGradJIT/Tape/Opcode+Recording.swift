// What recording asks of an operation's row, in a byte. Uses the table of operations and the records.

extension Opcode {
  /// What recording asks of a row, one byte each.
  struct Recording: OptionSet {
    let rawValue: UInt8
    /// A gradient flows through it: the traits that its result has if one of its operands has them.
    static var differentiable: Recording { Recording(rawValue: Node.Traits.inherited.rawValue) }
    /// Integers become float64.
    static var floating: Recording { Recording(rawValue: 2) }
    /// The result is a bool.
    static var bool: Recording { Recording(rawValue: 8) }
    /// The result is an int64.
    static var int64: Recording { Recording(rawValue: 16) }

    var inherited: Node.Traits {
      Node.Traits(rawValue: rawValue & Recording.differentiable.rawValue)
    }

    /// Whether all of `other` hold; the generic operation is a call.
    @inline(__always)
    func contains(_ other: Recording) -> Bool { rawValue & other.rawValue != 0 }
  }

  static func makeRecordingTable() -> UnsafePointer<Recording> {
    let table = UnsafeMutablePointer<Recording>.allocate(capacity: Opcode.allCases.count)
    for opcode in Opcode.allCases {
      let info = opcode.info
      var row: Recording = info.isDifferentiable ? .differentiable : []
      if info.typeRule == .floating { row.insert(.floating) }
      if info.typeRule == .bool { row.insert(.bool) }
      if info.typeRule == .int64 { row.insert(.int64) }
      (table + Int(opcode.rawValue)).initialize(to: row)
    }
    return UnsafePointer(table)
  }
}
