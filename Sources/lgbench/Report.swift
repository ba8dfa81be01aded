// What a person sees: header, progress, tables that line up; and the rows that become JSON. Used by
// every benchmark; uses nothing of LazyGrad but its settings.

import Foundation
import LazyGrad
import Synchronization

/// The two standard streams, unbuffered.
enum Output {
  /// Why standard output took no text the first time that it did not; the rest is not written.
  private static let failure = Mutex<String?>(nil)

  static func standardOutput(_ text: String) {
    failure.withLock { failure in
      if failure != nil { return }
      do { try FileHandle.standardOutput.write(contentsOf: Data(text.utf8)) } catch {
        failure = Destination.reason(error)
      }
    }
  }

  /// Whoever printed results wants to know whether they got there.
  static func check() throws(BenchError) {
    if let failure = failure.withLock({ $0 }) {
      throw .file("cannot write to standard output: \(failure)")
    }
  }

  static func standardError(_ text: String) {
    try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
  }
}

/// One measured case, in the form of LGBENCH's JSON rows: fields that do not apply are absent.
struct ResultRow {
  var workload: String
  var name: String
  var pass: String?
  var mode: String?
  var cell: String?
  var samples: Samples?
  /// In place of `samples` where the time of one of many equal operations is the result.
  var perOperation: Samples?
  /// The names that the peers give to this case, where they are others.
  var peerCase: String?
  var firstNanoseconds: Double?
  var secondNanoseconds: Double?
  var gflops: Double?
  var gbps: Double?
  var loss: Double?
  var counters: PassCounters?
  /// Fields of one workload only.
  var extra: [(String, JSONValue)] = []

  init(_ workload: String, _ name: String) {
    self.workload = workload
    self.name = name
  }

  /// The time that a peer's can be set against.
  var microseconds: Double? { (samples ?? perOperation).map { $0.median / 1e3 } }

  fileprivate func json(threads: Int) -> JSONValue {
    var fields: [(String, JSONValue)] = [("workload", .string(workload)), ("case", .string(name))]
    func add(_ key: String, _ text: String?) { if let text { fields.append((key, .string(text))) } }
    func add(_ key: String, _ number: Double?) {
      if let number { fields.append((key, .number(number))) }
    }
    add("pass", pass)
    add("mode", mode)
    add("cell", cell)
    add("isa", Machine.tier)
    add("threads", Double(threads))
    add("median_us", samples.map { $0.median / 1e3 })
    add("min_us", samples.map { $0.minimum / 1e3 })
    add("ns_per_op", perOperation?.median)
    add("min_ns_per_op", perOperation?.minimum)
    add("reps", (samples ?? perOperation).map { Double($0.values.count) })
    add("first_us", firstNanoseconds.map { $0 / 1e3 })
    add("second_us", secondNanoseconds.map { $0 / 1e3 })
    add("gflops", gflops)
    add("gbps", gbps)
    add("loss", loss)
    fields += extra
    if let counters { fields.append(("counters", counters.json)) }
    return .object(fields)
  }
}

/// Collects results and shows them.
final class Report {
  /// What to compare with.
  let peers: PeerResults?
  private let isQuiet: Bool
  private let tablesToStandardError: Bool
  /// Whether nothing is shown: rank 0 does that for all.
  private let isSilent: Bool
  private let isTerminal = isatty(2) != 0
  private let start = now()
  private var progressWidth = 0
  private(set) var rows: [ResultRow] = []
  private var sections: [(String, JSONValue)] = []

  /// Tables go to the standard output, unless the JSON does.
  init(
    options: Options, peers: PeerResults?, tablesToStandardError: Bool?, isSilent: Bool = false
  ) {
    self.peers = peers
    self.isSilent = isSilent
    isQuiet = options.quiet || isSilent
    self.tablesToStandardError = tablesToStandardError ?? false
  }

  /// Seconds between two progress lines of one activity: they pile up in a log.
  var progressInterval: Double { isTerminal ? 0.3 : 3 }

  func add(_ row: ResultRow) { rows.append(row) }

  /// Adds a top-level field to the JSON.
  func add(section: String, _ value: JSONValue) { sections.append((section, value)) }

  func line(_ text: String = "") {
    if isSilent { return }
    finishProgress()
    if tablesToStandardError {
      Output.standardError(text + "\n")
    } else {
      Output.standardOutput(text + "\n")
    }
  }

  func header(_ machine: Machine) {
    line(
      "lgbench \(lgbenchVersion), instruction set: \(Machine.tier),"
        + " threads: \(LazyGradEngine.threads)")
    line("\(machine.cpu), cores: \(machine.cores), \(machine.system)")
    line()
  }

  /// Says what is going on, once that has taken a second: on a terminal in one line that is written
  /// over, elsewhere line by line.
  func progress(_ text: String) {
    guard !isQuiet, now() - start > 1_000_000_000 else { return }
    if isTerminal {
      let padding = String(repeating: " ", count: max(0, progressWidth - text.count))
      Output.standardError("\r" + text + padding)
      progressWidth = text.count
    } else {
      Output.standardError(text + "\n")
    }
  }

  /// Clears the progress line.
  func finishProgress() {
    guard progressWidth > 0 else { return }
    Output.standardError("\r" + String(repeating: " ", count: progressWidth) + "\r")
    progressWidth = 0
  }

  /// Everything collected, in the shape that the recorded results have.
  func json(machine: Machine) -> JSONValue {
    let threads = LazyGradEngine.threads
    return .object(
      [
        ("version", .string(lgbenchVersion)),
        (
          "machine",
          .object([
            ("cpu", .string(machine.cpu)), ("cores", .number(Double(machine.cores))),
            ("os", .string(machine.system)),
          ])
        ),
        ("rows", .array(rows.map { $0.json(threads: threads) })),
      ] + sections)
  }

  /// Prints a table. The first `leading` columns are names and stand left, numbers stand right.
  func table(_ head: [String], leading: Int, _ body: [[String]]) {
    var widths = head.map(\.count)
    for row in body {
      for (column, cell) in row.enumerated() { widths[column] = max(widths[column], cell.count) }
    }
    func show(_ row: [String]) {
      let cells = row.enumerated().map { column, cell in
        let padding = String(repeating: " ", count: widths[column] - cell.count)
        return column < leading ? cell + padding : padding + cell
      }
      var text = cells.joined(separator: "  ")
      while text.last == " " { text.removeLast() }
      line(text)
    }
    show(head)
    line(widths.map { String(repeating: "-", count: $0) }.joined(separator: "  "))
    body.forEach(show)
  }
}

/// Numbers as tables show them.
enum Format {
  /// About four significant digits, never an exponent.
  static func number(_ value: Double) -> String {
    guard value.isFinite else { return "-" }
    let digits = abs(value) >= 1000 ? 0 : abs(value) >= 100 ? 1 : abs(value) >= 10 ? 2 : 3
    return fixed(value, digits)
  }

  /// Nanoseconds as microseconds.
  static func microseconds(_ nanoseconds: Double?) -> String {
    nanoseconds.map { number($0 / 1e3) } ?? "-"
  }

  static func ratio(_ value: Double?) -> String { value.map { fixed($0, 2) + "x" } ?? "-" }

  /// A count per pass: whole numbers without a fraction.
  static func count(_ value: Double) -> String {
    value == value.rounded() ? fixed(value, 0) : fixed(value, 2)
  }

  static func fixed(_ value: Double, _ digits: Int) -> String {
    String(format: "%.\(digits)f", value)
  }
}
