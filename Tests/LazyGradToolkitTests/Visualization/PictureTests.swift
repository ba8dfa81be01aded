// Graphs as text and as pictures: what is in them is well formed, nothing overlaps, lines touch no box.

import Foundation
import LazyGrad
import Testing

#if canImport(FoundationXML)
  import FoundationXML
#endif

@Suite("Pictures of graphs")
struct PictureTests {
  /// What a picture shows: frames, texts, lines.
  final class Reader: NSObject, XMLParserDelegate {
    struct Frame { var (left, top, width, height) = (0.0, 0.0, 0.0, 0.0) }
    private(set) var frames: [Frame] = []
    private(set) var dashed = 0
    private(set) var texts: [String] = []
    private(set) var titles: [String] = []
    private(set) var lines: [[(x: Double, y: Double)]] = []
    private(set) var points = 0
    private(set) var size = (width: 0.0, height: 0.0)
    private var depth = 0
    private var isText = false
    private var isTitle = false

    init?(_ svg: String) {
      super.init()
      let parser = XMLParser(data: Data(svg.utf8))
      parser.delegate = self
      if !parser.parse() { return nil }
    }

    func parser(
      _: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
      attributes: [String: String]
    ) {
      func number(_ key: String) -> Double { attributes[key].flatMap(Double.init) ?? .nan }
      switch name {
      case "svg": size = (number("width"), number("height"))
      case "g": depth += 1
      case "rect" where depth >= 2:
        frames.append(
          Frame(
            left: number("x"), top: number("y"), width: number("width"), height: number("height"))
        )
        if attributes["stroke-dasharray"] != nil { dashed += 1 }
      case "text" where depth >= 2:
        isText = true
        texts.append("")
      case "title":
        isTitle = true
        titles.append("")
      case "path" where attributes["d"]!.hasSuffix("z"): points += 1
      case "path": lines.append(Self.samples(attributes["d"]!))
      default: break
      }
    }

    func parser(
      _: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?
    ) {
      if name == "g" { depth -= 1 }
      isText = false
      isTitle = false
    }

    func parser(_: XMLParser, foundCharacters text: String) {
      if isText { texts[texts.count - 1] += text }
      if isTitle { titles[titles.count - 1] += text }
    }

    /// Points on a line: `M x y`, `V y` and `C` with three points.
    private static func samples(_ d: String) -> [(x: Double, y: Double)] {
      var points: [(x: Double, y: Double)] = []
      var rest = d[...]
      while let command = rest.popFirst() {
        let end = rest.firstIndex { $0.isLetter } ?? rest.endIndex
        let n = rest[..<end].split(separator: " ").compactMap { Double($0) }
        rest = rest[end...]
        switch command {
        case "M": points.append((n[0], n[1]))
        case "V": points.append((points.last!.x, n[0]))
        default:
          let from = points.last!
          for step in 1...20 {
            let (t, u) = (Double(step) / 20, 1 - Double(step) / 20)
            func at(_ a: Double, _ b: Double, _ c: Double, _ e: Double) -> Double {
              u * u * u * a + 3 * u * u * t * b + 3 * u * t * t * c + t * t * t * e
            }
            points.append((at(from.x, n[0], n[2], n[4]), at(from.y, n[1], n[3], n[5])))
          }
        }
      }
      return points
    }
  }

  /// A graph of operations whose operands are drawn from the nodes before them.
  private static func random(_ seed: UInt64, _ count: Int, reach: Int) -> ComputationGraph {
    var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
    func draw(_ n: Int) -> Int {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return Int(state % UInt64(n))
    }
    let nodes = (0..<count).map { k -> ComputationGraph.Node in
      let operands =
        k < 3 ? 0 : [0, 1, 1, 2, 2, 2, 3][draw(7)]
      return ComputationGraph.Node(
        operation: ["add", "matmul", "sum", "a rather long name"][draw(4)],
        name: draw(5) == 0 ? String(repeating: "name", count: 1 + draw(9)) : nil,
        shape: [Int](repeating: 7, count: draw(4)), dtype: .float32, isConstant: draw(2) == 0,
        operands: (0..<operands).map { _ in .node(max(0, k - 1 - draw(min(k, reach)))) })
    }
    let used = Set(nodes.flatMap(\.sources))
    return ComputationGraph(
      nodes: nodes, targets: nodes.indices.filter { !used.contains($0) })
  }

  private func check(_ graph: ComputationGraph) throws {
    let picture = try #require(Reader(graph.svg))
    let references = picture.dashed
    #expect(picture.frames.count == graph.nodes.count + references)
    #expect(picture.titles.count == picture.frames.count)
    #expect(picture.points == graph.nodes.reduce(0) { $0 + $1.sources.count })
    let frames = picture.frames.sorted { $0.left < $1.left }
    for (k, a) in frames.enumerated() {
      #expect(a.left >= -0.1 && a.left + a.width <= picture.size.width)
      for b in frames[(k + 1)...] {
        if b.left >= a.left + a.width { break }
        let isApart = b.top >= a.top + a.height || a.top >= b.top + b.height
        #expect(isApart, "\(a) and \(b) overlap")
      }
    }
    // A line may begin and end at a box and touches no other. Boxes by strips of 200 pixels.
    var strips: [Int: [Reader.Frame]] = [:]
    for frame in frames {
      for strip in Int(frame.left / 200)...Int((frame.left + frame.width) / 200) {
        strips[strip, default: []].append(frame)
      }
    }
    for line in picture.lines {
      for point in line {
        for frame in strips[Int(point.x / 200)] ?? [] {
          let isInside =
            point.x > frame.left + 1 && point.x < frame.left + frame.width - 1
            && point.y > frame.top + 1 && point.y < frame.top + frame.height - 1
          #expect(!isInside, "a line goes through \(frame)")
        }
      }
    }
  }

  @Test("Random graphs", arguments: 0..<40)
  func randomGraphs(_ seed: Int) throws {
    try check(Self.random(UInt64(seed + 1), 3 + seed * 4, reach: [2, 6, 30, 1000][seed % 4]))
  }

  @Test("Thousands of nodes, on a small stack, in a second or some")
  func large() throws {
    let length = try onSmallStack {
      Self.random(7, 5000, reach: 20).svg.utf8.count
    }
    #expect(length > 1_000_000)
    try check(Self.random(8, 3000, reach: 3000))
    // All of them side by side, and one behind the other with a leaf that all read.
    let leaves = (0..<2000).map { _ in
      ComputationGraph.Node(operation: "input", shape: [], dtype: .float64, isConstant: true)
    }
    let sum = ComputationGraph.Node(
      operation: "custom", shape: [], dtype: .float64, isConstant: true,
      operands: (0..<2000).map { .node($0) })
    try check(ComputationGraph(nodes: leaves + [sum], targets: [2000]))
    let chain = (0..<4000).map { k in
      ComputationGraph.Node(
        operation: "add", shape: [], dtype: .float64, isConstant: true,
        operands: k == 0 ? [] : [.node(k - 1), .node(0)])
    }
    try check(ComputationGraph(nodes: chain, targets: [3999]))
  }

  @Test("Whatever a name is, the picture is well formed and the name in it")
  func escaping() throws {
    let x = Tensor([1.0])
    for name in [
      "a<b>&\"c\"'", "]]>", "-->", "tab\tline\nend", "\u{0}\u{1B}\u{7F}", "größe 重み", "\\", "\\n\"",
      "", "{|}",
    ] {
      let y = x * 2
      let graph = y.computationGraph(naming: [name: x, "y": y])
      let picture = try #require(Reader(graph.svg), "\(name.debugDescription)")
      let shown = name.unicodeScalars.map {
        $0 == "\n" || $0 == "\t" ? " " : $0.value < 0x20 ? "\u{FFFD}" : String($0)
      }.joined()
      #expect(
        picture.texts.contains { $0 == shown } || name.isEmpty, "\(name.debugDescription)")
      // Each label is one literal: an even number of quotation marks that are not escaped.
      for line in graph.dot.split(separator: "\n") {
        var (isInside, isEscaped) = (false, false)
        for character in line {
          if isEscaped {
            isEscaped = false
          } else if character == "\\" {
            isEscaped = isInside
          } else if character == "\"" {
            isInside.toggle()
          }
        }
        #expect(!isInside && !isEscaped, "\(line)")
      }
    }
  }

  @Test("The text for Graphviz, word for word")
  func dot() throws {
    let x = Tensor([[1.0, 2], [3, 4]])
    let w = Tensor([[0.5], [0.5]], constant: true)
    let loss = (0.5 * matmul(x, w)).sum()
    loss.backward(retainGraph: true)
    let graph = loss.computationGraph(
      naming: ["x": x, "w": w, "the \"loss\"": loss], statistics: true)
    let fixture = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("Fixtures/Visualization/graph.dot")
    #expect(graph.dot == (try String(contentsOf: fixture, encoding: .utf8)))
  }

  @Test("The description is an aligned table with one line for each node")
  func description() {
    let x = Tensor([1.0, 2])
    let y = tanh(x) - 0.25
    let lines = "\(y.computationGraph(naming: ["x": x]))".split(separator: "\n")
    #expect(lines.count == 5)
    #expect(lines[0].hasPrefix("node  computed by"))
    #expect(lines[2].contains("%0") && lines[2].contains("input") && lines[2].contains(" x "))
    #expect(lines[4].hasPrefix("%2 *  subtract(%1, 0.25)"))
  }
}
