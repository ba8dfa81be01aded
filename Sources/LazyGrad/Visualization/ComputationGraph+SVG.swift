// The computation graph as a picture, complete in itself: no script, no font, no program that draws.

extension ComputationGraph {
  /// The graph as a picture in SVG, which browsers, editors and notebooks show.
  ///
  /// Operands are above what is computed from them, from left to right as they were written. Where a
  /// tensor is used far below, its name stands there in a dashed frame instead of a line.
  /// - Complexity: about a second for 10,000 nodes.
  public var svg: String { GraphPicture(self).text }
}

/// The drawing of one graph.
struct GraphPicture {
  private(set) var text = ""

  private static let margin = 20.0
  private static let lineHeight = 14.0
  private static let legendHeight = 26.0
  private static let longestLine = 46

  init(_ graph: ComputationGraph) {
    let sources = graph.nodes.map(\.sources)
    let assignment = LayerAssignment(sources)
    // What is referred to has a number to be found by.
    var isReferredTo = [Bool](repeating: false, count: graph.nodes.count)
    for reference in assignment.references { isReferredTo[reference.source] = true }
    let labels =
      graph.nodes.enumerated().map { place, node in
        var label = node.label.map(Self.shortened)
        if isReferredTo[place], node.name == nil { label[0] = "%\(place) " + label[0] }
        return label
      }
      + assignment.references.map { [Self.shortened(Self.title(graph, $0.source))] }
    let sizes = labels.enumerated().map { box, label in
      Self.size(label, isBold: box < graph.nodes.count && graph.nodes[box].name != nil)
    }
    let layout = GraphLayout(assignment, sizes: sizes, sources: sources)
    let legend = Self.legend(graph, hasReferences: !assignment.references.isEmpty)
    let width = max(layout.size.width, legend.width) + 2 * Self.margin
    let height = layout.size.height + 2 * Self.margin + Self.legendHeight

    text = """
      <svg xmlns="http://www.w3.org/2000/svg" width="\(Self.place(width))" \
      height="\(Self.place(height))" viewBox="0 0 \(Self.place(width)) \(Self.place(height))" \
      font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="12">
      <rect width="100%" height="100%" fill="#ffffff"/>

      """
    text += legend.text
    let dx = (width - layout.size.width) / 2
    let dy = Self.margin + Self.legendHeight
    text += "<g transform=\"translate(\(Self.place(dx)) \(Self.place(dy)))\">\n"
    text += "<g fill=\"none\" stroke=\"#888888\">\n"
    for line in layout.lines { text += Self.path(line.points) }
    text += "</g>\n<g fill=\"#888888\">\n"
    for line in layout.lines where line.isArrow { text += Self.point(line.points.last!) }
    text += "</g>\n"
    let targets = Set(graph.targets)
    for (box, label) in labels.enumerated() {
      let isNode = box < graph.nodes.count
      let place = isNode ? box : assignment.references[box - graph.nodes.count].source
      let node = graph.nodes[place]
      let style = GraphStyle(node, isTarget: isNode && targets.contains(place))
      text += "<g><title>\(Self.escaped(Self.tooltip(graph, place)))</title>\n"
      text += Self.frame(
        layout.centres[box], sizes[box], style, isRound: !node.sources.isEmpty, isDashed: !isNode)
      text += Self.lines(
        label, at: layout.centres[box], hasName: isNode && node.name != nil,
        titles: isNode && node.name != nil && node.operation != "input" ? 2 : 1)
      text += "</g>\n"
    }
    text += "</g>\n</svg>\n"
  }

  // MARK: Texts

  private static func title(_ graph: ComputationGraph, _ place: Int) -> String {
    graph.nodes[place].name ?? "%\(place) \(graph.nodes[place].operation)"
  }

  private static func tooltip(_ graph: ComputationGraph, _ place: Int) -> String {
    let node = graph.nodes[place]
    let operands = node.operands.map { operand in
      switch operand {
      case .node(let source): title(graph, source)
      case .number(let number): ComputationGraph.text(number)
      }
    }
    let call = operands.isEmpty ? "" : "(\(operands.joined(separator: ", ")))"
    let name = node.name.map { "\($0) = " } ?? ""
    return "%\(place): \(name)\(node.operation)\(call), \(node.dtype) \(node.shape), "
      + (node.isConstant ? "constant" : "variable")
  }

  /// Long names keep their beginning and their end.
  private static func shortened(_ line: String) -> String {
    if line.count <= longestLine { return line }
    return line.prefix(longestLine / 2) + "…" + line.suffix(longestLine / 2 - 1)
  }

  /// Estimated, since fonts differ: the widths of Helvetica at 12 pixels, and a little more.
  static func width(of line: String) -> Double {
    line.unicodeScalars.reduce(0) { sum, scalar in
      switch scalar {
      case "i", "j", "l", "t", "f", "I", ".", ",", ":", ";", "'", "|", "!", "(", ")", "[", "]", " ",
        "r":
        sum + 4.3
      case "m", "w", "M", "W", "@", "%", "…": sum + 11
      case "A"..."Z", "&", "_": sum + 8.6
      case _ where scalar.value >= 0x1100: sum + 12.5
      default: sum + 7
      }
    }
  }

  private static func size(_ label: [String], isBold: Bool) -> GraphLayout.Size {
    let widths = label.map(width)
    return GraphLayout.Size(
      width: max(40, ((widths + [(widths.first ?? 0) * (isBold ? 1.2 : 1)]).max() ?? 0) + 18),
      height: Double(label.count) * lineHeight + 10)
  }

  private static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "\n", "\r", "\t": result += " "
      // What XML has no way to write.
      case _ where scalar.value < 0x20 || scalar.value == 0xFFFE || scalar.value == 0xFFFF:
        result += "\u{FFFD}"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// A coordinate with one digit.
  private static func place(_ value: Double) -> String {
    let tenths = Int((value * 10).rounded())
    let sign = tenths < 0 ? "-" : ""
    let (whole, rest) = (abs(tenths) / 10, abs(tenths) % 10)
    return rest == 0 ? "\(sign)\(whole)" : "\(sign)\(whole).\(rest)"
  }

  // MARK: Shapes

  private static func path(_ points: [GraphLayout.Point]) -> String {
    var d = "M\(place(points[0].x)) \(place(points[0].y))"
    for (from, to) in zip(points, points.dropFirst()) {
      if from.x == to.x {
        if to.y != from.y { d += "V\(place(to.y))" }
      } else {
        let middle = place((from.y + to.y) / 2)
        d += "C\(place(from.x)) \(middle) \(place(to.x)) \(middle) \(place(to.x)) \(place(to.y))"
      }
    }
    return "<path d=\"\(d)\"/>\n"
  }

  private static func point(_ end: GraphLayout.Point) -> String {
    "<path d=\"M\(place(end.x)) \(place(end.y))l-3.5 -7h7z\"/>\n"
  }

  private static func frame(
    _ centre: GraphLayout.Point, _ size: GraphLayout.Size, _ style: GraphStyle, isRound: Bool,
    isDashed: Bool
  ) -> String {
    let dash = isDashed ? " stroke-dasharray=\"3 2\"" : ""
    let corners = isRound ? " rx=\"7\"" : ""
    return
      "<rect x=\"\(place(centre.x - size.width / 2))\" y=\"\(place(centre.y - size.height / 2))\""
      + " width=\"\(place(size.width))\" height=\"\(place(size.height))\"\(corners)"
      + " fill=\"\(style.fill)\" stroke=\"\(style.stroke)\" stroke-width=\"\(place(style.width))\""
      + "\(dash)/>\n"
  }

  private static func lines(
    _ label: [String], at centre: GraphLayout.Point, hasName: Bool, titles: Int
  ) -> String {
    var y = centre.y - Double(label.count) * lineHeight / 2 + 10.5
    var text = ""
    for (k, line) in label.enumerated() {
      let style =
        k == 0 && hasName
        ? " font-weight=\"700\"" : k < titles ? "" : " font-size=\"10.5\" fill=\"#555555\""
      text += "<text x=\"\(place(centre.x))\" y=\"\(place(y))\" text-anchor=\"middle\"\(style)>"
      text += "\(escaped(line))</text>\n"
      y += lineHeight
    }
    return text
  }

  // MARK: The legend

  private static func legend(
    _ graph: ComputationGraph, hasReferences: Bool
  ) -> (text: String, width: Double) {
    func node(_ operation: String, isInput: Bool = false, isConstant: Bool = false)
      -> ComputationGraph.Node
    {
      ComputationGraph.Node(
        operation: operation, shape: [], dtype: .float64, isConstant: isConstant,
        operands: isInput ? [] : [.node(0)])
    }
    var entries: [(title: String, style: GraphStyle, isRound: Bool, isDashed: Bool)] = []
    for (title, sample) in [
      ("variable", node("input", isInput: true)),
      ("constant", node("input", isInput: true, isConstant: true)), ("operation", node("add")),
      ("matrix product", node("matmul")), ("reduction", node("sum")),
      ("view or copy", node("view")),
    ] {
      let style = GraphStyle(sample, isTarget: false)
      if graph.nodes.contains(where: { GraphStyle($0, isTarget: false).fill == style.fill }) {
        entries.append((title, style, !sample.sources.isEmpty, false))
      }
    }
    if let target = graph.targets.first {
      let style = GraphStyle(graph.nodes[target], isTarget: true)
      entries.append(("result", style, !graph.nodes[target].sources.isEmpty, false))
    }
    if hasReferences {
      let style = GraphStyle(node("input", isInput: true), isTarget: false)
      entries.append(("stands further up", style, false, true))
    }
    var (text, x) = ("", margin)
    for entry in entries {
      text += frame(
        .init(x: x + 9, y: margin + 4), .init(width: 18, height: 12), entry.style,
        isRound: entry.isRound, isDashed: entry.isDashed)
      text += "<text x=\"\(place(x + 24))\" y=\"\(place(margin + 8))\" font-size=\"10.5\""
      text += " fill=\"#555555\">\(entry.title)</text>\n"
      x += 24 + width(of: entry.title) + 16
    }
    return (text, x - margin)
  }
}
