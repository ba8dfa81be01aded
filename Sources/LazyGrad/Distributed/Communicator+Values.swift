// What ranks tell each other beside tensors: values, flags, errors, and that they are there. Uses RankLink.

import Foundation

extension Communicator {
  /// Waits until all ranks have come here. Collective.
  public func barrier() throws { try link?.agree(CollectiveForm("barrier")) }

  /// Whether a condition holds on some rank: the same answer on all. Collective.
  ///
  ///     if try world.any(rows.isEmpty) { break }
  public func any(_ condition: Bool) throws -> Bool {
    guard let link else { return condition }
    return try link.agree(CollectiveForm("any"), condition ? 1 : 0).contains(1)
  }

  /// A value of one rank, on all. Collective.
  ///
  ///     let settings = try world.broadcast(world.isRoot ? try readSettings() : .usual)
  ///
  /// - Parameters:
  ///   - value: What the root has; of the others it is not looked at.
  ///   - root: The rank whose value it is.
  /// - Throws: Where the value can't be coded as JSON, or decoded; `CommunicationError` where ranks disagree.
  /// - Complexity: codes the value on the root and decodes it on the others.
  public func broadcast<Value: Codable>(_ value: Value, from root: Int = 0) throws -> Value {
    try check(root, "broadcast")
    guard let link, size > 1 else { return value }
    let form = CollectiveForm("broadcast of a value of type \(Value.self) from rank \(root)")
    var bytes = rank == root ? try Self.coded(value) : Data()
    let counts = try link.agree(form, UInt64(bytes.count))
    if rank != root { bytes = Data(count: Int(counts[root])) }
    try bytes.withUnsafeMutableBytes { try link.broadcast($0, from: root, form) }
    return rank == root ? value : try Self.decoded(Value.self, bytes)
  }

  /// Every rank's value, on all, in the order of ranks. Collective.
  ///
  /// - Throws: Where a value can't be coded as JSON, or decoded; `CommunicationError` where ranks disagree, or
  ///   the values together have 2 GiB or more.
  public func gather<Value: Codable>(_ value: Value) throws -> [Value] {
    guard let link, size > 1 else { return [value] }
    let form = CollectiveForm("gather of values of type \(Value.self)")
    let own = try Self.coded(value)
    let counts = try link.agree(form, UInt64(own.count)).map { Int($0) }
    var starts: [Int] = [0]
    for count in counts { starts.append(starts.last! + count) }
    guard let whole = starts.last, whole <= Int(Int32.max) else {
      throw CommunicationError(
        "gather", "expected less than 2 GiB together, got \(starts.last ?? 0) bytes",
        isShared: true)
    }
    let parts = (0..<size).map { starts[$0]..<starts[$0 + 1] }
    var all = Data(count: whole)
    all.replaceSubrange(parts[rank], with: own)
    try all.withUnsafeMutableBytes { try link.allgather($0, parts: parts, form) }
    return try parts.enumerated().map { other, part in
      other == rank ? value : try Self.decoded(Value.self, all.subdata(in: part))
    }
  }

  /// Runs a closure on rank 0 while the others wait: to write a file, to print. Collective.
  ///
  ///     try world.onRoot { try model.tensorsByName.save(to: "model.safetensors") }
  ///
  /// - Throws: On rank 0 what `body` throws, on the others a `CommunicationError` that says it.
  public func onRoot(_ body: () throws -> Void) throws {
    guard let link, size > 1 else { return try body() }
    try link.agree(CollectiveForm("onRoot"))
    var failure: (any Error)?
    if isRoot {
      do { try body() } catch { failure = error }
    }
    let form = CollectiveForm("the end of onRoot")
    var text = failure.map { Data("\($0)".utf8) } ?? Data()
    let counts = try link.agree(form, failure == nil ? 0 : UInt64(text.count) + 1)
    if counts[0] == 0 { return }
    if !isRoot { text = Data(count: Int(counts[0]) - 1) }
    try text.withUnsafeMutableBytes { try link.broadcast($0, from: 0, form) }
    if let failure { throw failure }
    throw CommunicationError(
      "onRoot", "rank 0: \(String(decoding: text, as: UTF8.self))", isShared: true)
  }

  /// Makes sure that a root is a rank.
  func check(_ root: Int, _ operation: String) throws(CommunicationError) {
    if !(0..<size).contains(root) {
      throw CommunicationError(
        operation, "expected a root from 0 to \(size - 1), got \(root)", isShared: true)
    }
  }

  private static let unusualNumbers = (positive: "inf", negative: "-inf", nan: "nan")

  private static func coded(_ value: some Encodable) throws -> Data {
    let encoder = JSONEncoder()
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: unusualNumbers.positive, negativeInfinity: unusualNumbers.negative,
      nan: unusualNumbers.nan)
    return try encoder.encode(value)
  }

  private static func decoded<Value: Decodable>(_ type: Value.Type, _ bytes: Data) throws -> Value {
    let decoder = JSONDecoder()
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: unusualNumbers.positive, negativeInfinity: unusualNumbers.negative,
      nan: unusualNumbers.nan)
    return try decoder.decode(type, from: bytes)
  }
}
