// The computation graph as text: for people, and for Graphviz.

extension ComputationGraph: CustomStringConvertible {
  /// One line for each node: its number, how it was computed, name, shape and type.
  public var description: String {
    var table = TextTable([
      .init(title: "node"), .init(title: "computed by", width: 60), .init(title: "name"),
      .init(title: "shape"), .init(title: "dtype"), .init(title: "kind"),
      .init(title: "values"), .init(title: "gradients"),
    ])
    let marked = Set(targets)
    for (place, node) in nodes.enumerated() {
      let operands = node.operands.map { operand in
        switch operand {
        case .node(let source): "%\(source)"
        case .number(let number): Self.text(number)
        }
      }
      table.add(
        "%\(place)" + (marked.contains(place) ? " *" : ""),
        node.operation + (operands.isEmpty ? "" : "(\(operands.joined(separator: ", ")))"),
        node.name ?? "", "\(node.shape)", "\(node.dtype)",
        node.isConstant ? "constant" : "variable", node.values.map(Self.text) ?? "",
        node.gradients.map(Self.text) ?? "")
    }
    return table.text()
  }

  /// The graph in the language of Graphviz: `dot -Tpdf` draws it.
  public var dot: String {
    var text = """
      digraph {
        graph [ordering=in, rankdir=TB, fontname="Helvetica"];
        node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11];

      """
    let marked = Set(targets)
    for (place, node) in nodes.enumerated() {
      let label = node.label.map(Self.escapedForDOT).joined(separator: "\\n")
      let style = GraphStyle(node, isTarget: marked.contains(place))
      text += "  n\(place) [label=\"\(label)\", fillcolor=\"\(style.fill)\", "
      text += "color=\"\(style.stroke)\", penwidth=\(style.width)"
      text += node.sources.isEmpty ? ", style=\"filled\"];\n" : "];\n"
    }
    for (place, node) in nodes.enumerated() {
      for source in node.sources { text += "  n\(source) -> n\(place);\n" }
    }
    return text + "}\n"
  }

  /// A text inside of quotation marks: backslashes would begin an escape, and the rest of a line would be
  /// the next one.
  private static func escapedForDOT(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n", "\r", "\t": result += " "
      case _ where scalar.value < 0x20 || scalar.value == 0x7F: result += "\u{FFFD}"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// A number as a person would write it.
  static func text(_ number: Double) -> String {
    if number == number.rounded(), abs(number) < 1e7 { return String(Int(number)) }
    guard number.isFinite else { return "\(number)" }
    // Four digits; what is very large or small has an exponent.
    var exponent = 0
    var digits = abs(number)
    while digits >= 10 { (digits, exponent) = (digits / 10, exponent + 1) }
    while digits < 1 { (digits, exponent) = (digits * 10, exponent - 1) }
    var rounded = Int((digits * 1000).rounded())
    if rounded == 10000 { (rounded, exponent) = (1000, exponent + 1) }
    let sign = number < 0 ? "-" : ""
    var all = String(rounded)
    while all.count > 1, all.last == "0" { all.removeLast() }
    func point(_ text: String, after count: Int) -> String {
      if text.count <= count { return text + String(repeating: "0", count: count - text.count) }
      return text.prefix(count) + "." + text.dropFirst(count)
    }
    switch exponent {
    case 0..<7: return sign + point(all, after: exponent + 1)
    case -4..<0: return sign + "0." + String(repeating: "0", count: -exponent - 1) + all
    default: return sign + point(all, after: 1) + "e\(exponent)"
    }
  }

  static func text(_ statistics: Statistics) -> String {
    let missing =
      statistics.notANumberCount == 0 ? "" : ", \(statistics.notANumberCount) not-a-number"
    return "\(text(statistics.minimum)) … \(text(statistics.maximum)), mean "
      + "\(text(statistics.mean))\(missing)"
  }
}

extension ComputationGraph.Node {
  /// What stands in the node of a picture, line by line.
  var label: [String] {
    var title = operation
    let hasNumbers = operands.contains { if case .number = $0 { true } else { false } }
    if hasNumbers {
      // The place of a number says what is subtracted from what.
      let list = operands.map { operand in
        if case .number(let number) = operand { ComputationGraph.text(number) } else { "·" }
      }
      title += " (\(list.joined(separator: ", ")))"
    }
    var lines =
      name.map { sources.isEmpty && operation == "input" ? [$0] : [$0, title] } ?? [title]
    lines.append("\(dtype) \(shape.isEmpty ? "scalar" : "\(shape)")")
    if let values { lines.append(ComputationGraph.text(values)) }
    if let gradients { lines.append("gradient " + ComputationGraph.text(gradients)) }
    return lines
  }
}

/// The colours of a node: of what it is, and of what its operation does.
struct GraphStyle {
  let fill: String
  let stroke: String
  let width: Double

  init(_ node: ComputationGraph.Node, isTarget: Bool) {
    // Pale shades of Okabe and Ito's palette, which colour blindness leaves distinct.
    if node.sources.isEmpty {
      (fill, stroke) = node.isConstant ? ("#eeeeee", "#777777") : ("#d6e9f8", "#0072b2")
    } else {
      switch node.operation {
      case "matmul": (fill, stroke) = ("#fbe3d3", "#d55e00")
      case "sum", "max", "min", "prod", "argmax", "argmin": (fill, stroke) = ("#d5efe7", "#009e73")
      case "view", "reshape", "transpose", "broadcast", "slice", "copy", "cast":
        (fill, stroke) = ("#ffffff", "#999999")
      default: (fill, stroke) = ("#fff4d9", "#b8860b")
      }
    }
    width = isTarget ? 2.5 : 1
  }
}
