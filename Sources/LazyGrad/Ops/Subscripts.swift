// What the subscripts of `einsum` say, as numbers; and what can be wrong with them.

internal import LazyGradJIT

/// A label for every axis of every operand and of the result. Those of ellipses are negative: -1 for the
/// last of their axes, -2 for the one before it.
struct Subscripts {
  private(set) var inputs: [[Int]]
  private(set) var output: [Int] = []

  /// Labels that are numbers already.
  init(inputs: [[Int]], output: [Int]?, ranks: [Int]) throws(TensorError) {
    self.inputs = inputs
    if inputs.isEmpty { throw Self.error("expected at least one operand, got none") }
    for label in inputs.joined().filter({ $0 < 0 }) + (output ?? []).filter({ $0 < 0 }) {
      throw Self.error("expected labels of 0 or more, got \(label)")
    }
    for (i, labels) in inputs.enumerated() where labels.count != ranks[i] {
      throw Self.error("operand \(i) has \(ranks[i]) axes, got \(labels.count) labels for it")
    }
    self.output = output ?? namedOnce
    try checkOutput { "\($0)" }
  }

  /// Reads the text of subscripts.
  init(parsing text: String, ranks: [Int]) throws(TensorError) {
    let text = text.filter { $0 != " " }
    let arrow = text.firstRange(of: "->")
    let left = arrow.map { text[..<$0.lowerBound] } ?? text[...]
    let groups = left.split(separator: ",", omittingEmptySubsequences: false)
    if groups.count != ranks.count {
      throw Self.error(
        "\"\(text)\" names \(groups.count) operands, got \(ranks.count)")
    }
    inputs = []
    var widest = 0
    for (i, group) in groups.enumerated() {
      let (before, after) = try Self.labels(group, text)
      let named = before.count + (after?.count ?? 0)
      let free = ranks[i] - named
      if free < 0 || (free > 0 && after == nil) {
        throw Self.error(
          "operand \(i) has \(ranks[i]) axes, \"\(group)\" names \(named) of them")
      }
      let ellipsis = after == nil ? [] : Self.ellipsis(free)
      widest = max(widest, ellipsis.count)
      inputs.append(before + ellipsis + (after ?? []))
    }
    guard let arrow else {
      output = Self.ellipsis(widest) + namedOnce
      return
    }
    let (before, after) = try Self.labels(text[arrow.upperBound...], text)
    if after == nil, widest > 0 {
      throw Self.error("the operands of \"\(text)\" have an ellipsis, the result must have it too")
    }
    output = before + (after == nil ? [] : Self.ellipsis(widest)) + (after ?? [])
    try checkOutput { String(UnicodeScalar(UInt32($0)).map(Character.init) ?? "?") }
  }

  /// Checks the operands' shapes.
  func check(_ shapes: [[Int]]) throws(TensorError) {
    var lengths: [Int: Int] = [:]
    for (shape, labels) in zip(shapes, inputs) {
      var own: [Int: Int] = [:]
      for (length, label) in zip(shape, labels) {
        if let other = own[label], other != length {
          throw Self.error("lengths \(other) and \(length) of one operand have no diagonal")
        }
        own[label] = length
        if let other = lengths[label], other != length, other != 1, length != 1 {
          throw Self.error("axes with the same label have lengths \(other) and \(length)")
        }
        lengths[label] = lengths[label] == nil || lengths[label] == 1 ? length : lengths[label]
      }
    }
    if !LayoutTable.isComputable(output.map { lengths[$0]! }) {
      throw Self.error("the result would have shape \(output.map { lengths[$0]! })")
    }
    if lengths.count > LayoutTable.maxRank {
      throw Self.error("expected at most \(LayoutTable.maxRank) labels, got \(lengths.count)")
    }
  }

  // MARK: Parts

  /// The letters before an ellipsis and behind it; nil for the latter where there is none.
  private static func labels(
    _ group: Substring, _ text: String
  ) throws(TensorError) -> (before: [Int], after: [Int]?) {
    var before: [Int] = []
    var after: [Int]?
    var rest = group
    while let character = rest.first {
      if rest.hasPrefix("..."), after == nil {
        after = []
        rest = rest.dropFirst(3)
        continue
      }
      guard character.isASCII, character.isLetter, let value = character.asciiValue else {
        throw error(
          "expected letters and one ellipsis per operand, got \"\(group)\" in \"\(text)\"")
      }
      if after == nil { before.append(Int(value)) } else { after!.append(Int(value)) }
      rest = rest.dropFirst()
    }
    return (before, after)
  }

  private static func ellipsis(_ count: Int) -> [Int] { Array((-count)..<0) }

  /// Labels of no ellipsis that are named once in all, in order.
  private var namedOnce: [Int] {
    var counts: [Int: Int] = [:]
    for label in inputs.joined() where label >= 0 { counts[label, default: 0] += 1 }
    return counts.filter { $0.value == 1 }.keys.sorted()
  }

  private func checkOutput(_ name: (Int) -> String) throws(TensorError) {
    for (i, label) in output.enumerated() where label >= 0 {
      if output[..<i].contains(label) {
        throw Self.error("the result names label \(name(label)) twice")
      }
      if !inputs.contains(where: { $0.contains(label) }) {
        throw Self.error("no operand has label \(name(label)) of the result")
      }
    }
  }

  private static func error(_ message: String) -> TensorError {
    TensorError(operation: "einsum", message: message)
  }
}
