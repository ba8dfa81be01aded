// The table of errors in the documentation: measured here, on every tier, and written by
// LAZYGRAD_WRITE_ACCURACY=1. LAZYGRAD_EXHAUSTIVE=1 goes over every float32 number, which takes an hour;
// LAZYGRAD_EXHAUSTIVE=tanh does it for that function alone.

#if arch(x86_64)
  import Foundation
  import LazyGradJIT
  import TestSupport
  import Testing

  @Suite("Table of errors")
  struct AccuracyTableTests {
    /// The largest errors of one function in ULP.
    struct Row: Equatable {
      let name: String
      var single: Double
      var double: Double
    }

    private static let page = URL(fileURLWithPath: #filePath)
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Sources/LazyGrad/LazyGrad.docc/Accuracy.md")
    private static let environment = ProcessInfo.processInfo.environment

    // MARK: Measuring

    private static let pairs: [(Opcode, @Sendable (Float80, Float80) -> Float80)] = [
      (.div, { $0 / $1 }), (.pow, { pow($0, $1) }), (.hypot, { hypot($0, $1) }),
      (.arctan2, { atan2($0, $1) }), (.fmod, { fmod($0, $1) }),
    ]

    private static let functions: [(Opcode, @Sendable (Float80) -> Float80)] =
      {
        let exact: [(Opcode, @Sendable (Float80) -> Float80)] = [
          (.sqrt, { $0.squareRoot() }), (.reciprocal, { 1 / $0 }),
        ]
        return UnaryFunction.all.map { ($0.opcode, $0.precise) } + exact
      }()

    /// The largest error of results on all tiers. What is not a number, infinite, or a wrong zero is told
    /// by other tests: it would be an infinite error here.
    private static func worst<T: BinaryFloatingPoint>(
      _ opcode: Opcode, _ type: ScalarType, _ x: [T], _ y: [T]? = nil,
      _ exact: (Int) -> Float80
    ) -> Double {
      let expected = x.indices.map(exact)
      var worst = 0.0
      for tier in Tier.all {
        for (i, result) in apply(opcode, type, x, y, on: tier).enumerated() {
          worst = max(worst, error(result, expected[i]))
        }
      }
      return worst
    }

    private static func row(
      _ opcode: Opcode, _ precise: @Sendable (Float80) -> Float80
    ) -> Row {
      var single = worst(opcode, .float32, singles) { precise(Float80(singles[$0])) }
      if ["1", opcode.info.name].contains(environment["LAZYGRAD_EXHAUSTIVE"]) {
        for chunk in 0..<UInt32(4096) {
          let x = (0..<UInt32(1 << 20)).map { Float(bitPattern: chunk << 20 | $0) }
          single = max(single, worst(opcode, .float32, x) { precise(Float80(x[$0])) })
        }
      }
      let double = worst(opcode, .float64, doubles) { precise(Float80(doubles[$0])) }
      return Row(name: opcode.info.name, single: single, double: double)
    }

    private static func row(
      _ opcode: Opcode, _ precise: @Sendable (Float80, Float80) -> Float80
    ) -> Row {
      var (x, y) = ElementaryTests.pairs(singles)
      if opcode == .pow {
        let more = ElementaryTests.powersNextToOne()
        x += more.x
        y += more.y
      }
      let (u, v) = ElementaryTests.pairs(doubles)
      return Row(
        name: opcode.info.name,
        single: worst(opcode, .float32, x, y) { [x, y] in
          precise(Float80(x[$0]), Float80(y[$0]))
        },
        double: worst(opcode, .float64, u, v) { precise(Float80(u[$0]), Float80(v[$0])) })
    }

    // MARK: The page

    /// Rounded up to hundredths, so that what stands there is a bound of what was measured.
    private static func text(_ error: Double) -> String {
      String(format: "%.2f", (error * 100).rounded(.up) / 100)
    }

    private static func listed() throws -> [Row] {
      try String(contentsOf: page, encoding: .utf8).split(separator: "\n").compactMap { line in
        let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
        guard cells.count == 3, let single = Double(cells[1]), let double = Double(cells[2]) else {
          return nil
        }
        return Row(
          name: cells[0].trimmingCharacters(in: ["`"]), single: single, double: double)
      }
    }

    private static func write(_ rows: [Row]) throws {
      let lines = try String(contentsOf: page, encoding: .utf8).components(separatedBy: "\n")
      guard let first = lines.firstIndex(where: { $0.hasPrefix("| ---") }) else { return }
      let last = lines[(first + 1)...].firstIndex { !$0.hasPrefix("|") } ?? lines.count
      let table = rows.map { "| `\($0.name)` | \(text($0.single)) | \(text($0.double)) |" }
      var result = lines
      result.replaceSubrange((first + 1)..<last, with: table)
      try result.joined(separator: "\n").write(to: page, atomically: true, encoding: .utf8)
    }

    @Test("Errors are not above those of the documentation")
    func table() throws {
      var rows =
        Self.functions.map { Self.row($0.0, $0.1) } + Self.pairs.map { Self.row($0.0, $0.1) }
      rows.sort { $0.name < $1.name }
      if Self.environment["LAZYGRAD_WRITE_ACCURACY"] == "1" { try Self.write(rows) }
      let listed = try Self.listed()
      #expect(listed.map(\.name) == rows.map(\.name))
      for (bound, row) in zip(listed, rows) {
        #expect(
          row.single <= bound.single && row.double <= bound.double,
          "\(row.name): \(row.single) and \(row.double) ULP")
        let isSpecial = ElementaryTests.special.contains { $0.info.name == row.name }
        #expect(bound.single <= 1.5 && (bound.double <= 1.5 || isSpecial), "\(row.name)")
      }
    }
  }
#endif
