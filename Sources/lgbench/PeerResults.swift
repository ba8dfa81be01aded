// What other libraries took for the same cases: read from the JSON lines that the programs in
// perf/peers print, shown beside the rows of this run. Used by Report, Matmul and SVGChart.

import Foundation

/// Who made a row: a library in one of its modes, on some threads.
struct Peer: Hashable {
  let name: String
  let mode: String
  let threads: Int

  var title: String {
    [name, mode, threads > 1 ? "\(threads) threads" : ""].filter { !$0.isEmpty }
      .joined(separator: " ")
  }
}

/// The rows of a peers' file.
struct PeerResults {
  private struct Case: Hashable {
    let workload: String
    let name: String
    let pass: String
    let cell: String
  }

  private let path: String
  /// In the order of the file.
  private var peers: [Peer] = []
  /// Microseconds; several if the file holds several rounds.
  private var times: [Peer: [Case: [Double]]] = [:]
  /// The machine's multiply-add rate in GFLOP/s by the width of its vectors in bytes.
  private var multiplyAdd: [Int: Double] = [:]

  /// Reads a file of one JSON object per line. An object is a row, or it holds `rows`, as lgbench's
  /// own results do; those may also take several lines, as lgbench writes them.
  init(path: String) throws(BenchError) {
    self.path = path
    let data: Data
    do {
      data = try Data(contentsOf: URL(fileURLWithPath: path))
    } catch {
      throw .file("cannot read '\(path)': \(error.localizedDescription)")
    }
    if let whole = Self.object(data) {
      add(whole)
    } else {
      for (index, line) in data.split(separator: UInt8(ascii: "\n")).enumerated() {
        guard let object = Self.object(Data(line)) else {
          throw .file("peers file '\(path)': line \(index + 1) is not a JSON object")
        }
        add(object)
      }
    }
    if peers.isEmpty && multiplyAdd.isEmpty {
      throw .file("peers file '\(path)': there is no row with a workload, a case and a median_us")
    }
  }

  private static func object(_ data: Data) -> [String: Any]? {
    (try? JSONSerialization.jsonObject(with: data)) as? [String: Any]
  }

  private mutating func add(_ object: [String: Any]) {
    if let rows = object["rows"] as? [[String: Any]] {
      for row in rows { addRow(row, defaultPeer: "lazygrad") }
    } else {
      addRow(object, defaultPeer: "peer")
    }
  }

  private mutating func addRow(_ row: [String: Any], defaultPeer: String) {
    func number(_ key: String) -> Double? { (row[key] as? NSNumber)?.doubleValue }
    if row["case"] as? String == "multiply_add", let best = number("best"),
      let width = number("vector_bytes")
    {
      let bytes = Int(width)
      multiplyAdd[bytes] = max(best, multiplyAdd[bytes] ?? 0)
    }
    guard let workload = row["workload"] as? String, let name = row["case"] as? String,
      let time = number("median_us"), time > 0
    else { return }
    let peer = Peer(
      name: row["peer"] as? String ?? defaultPeer, mode: row["mode"] as? String ?? "",
      threads: Int(number("threads") ?? 1))
    let item = Case(
      workload: workload, name: name, pass: row["pass"] as? String ?? "",
      cell: row["cell"] as? String ?? "tanh")
    if times[peer] == nil { peers.append(peer) }
    times[peer, default: [:]][item, default: []].append(time)
  }

  /// The best multiply-add rate of one core, in GFLOP/s, with the vectors that a tier uses: those of
  /// AVX2 if it is that, else the widest.
  func multiplyAddPeak(tier: String) -> Double? {
    (tier.contains("avx2") ? multiplyAdd[32] : nil) ?? multiplyAdd.values.max()
  }

  /// What the peers took for the case of a row, in microseconds.
  func times(for row: ResultRow) -> [(peer: Peer, microseconds: Double)] {
    let item = Case(
      workload: row.workload, name: row.peerCase ?? row.name, pass: row.pass ?? "",
      cell: row.cell ?? "tanh")
    return peers.compactMap { peer in times[peer]?[item].map { (peer, median($0)) } }
  }

  /// Prints the peers' times and how many times this run's they are.
  func compare(_ report: Report) {
    var lines: [(row: ResultRow, own: Double, theirs: [Peer: Double])] = []
    for row in report.rows {
      let theirs = times(for: row)
      guard let own = row.microseconds, !theirs.isEmpty else { continue }
      lines.append((row, own, Dictionary(uniqueKeysWithValues: theirs.map { ($0, $1) })))
    }
    report.line()
    guard !lines.isEmpty else {
      return report.line("Peers: '\(path)' has no row of these cases")
    }
    let shown = peers.filter { peer in lines.contains { $0.theirs[peer] != nil } }
    report.line("Peers, times in us and how many times LazyGrad's they are")
    report.table(
      ["case", "pass", "mode", "LazyGrad"] + shown.flatMap { [$0.title, "ratio"] }, leading: 3,
      lines.map { row, own, theirs in
        [row.name, row.pass ?? "", row.mode ?? "", Format.number(own)]
          + shown.flatMap { peer in
            theirs[peer].map { [Format.number($0), Format.ratio($0 / own)] } ?? ["-", "-"]
          }
      })
  }
}
