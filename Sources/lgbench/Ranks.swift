// What several ranks do together: sums of many sizes, and what they take by a model of the network. Uses the
// public interface, Report and Timing.

import Foundation
import LazyGrad

/// How a benchmark is divided among ranks.
enum Scaling: String, CaseIterable {
  /// Each rank has the whole batch: as many times the work, with as many ranks.
  case weak
  /// The ranks divide the batch.
  case strong
}

/// The time that a sum takes among ranks, as a latency and a time per byte.
///
/// For a sum of `n` bytes over `N` ranks the model is the better of a ring and a tree (Thakur, Rabenseifner and
/// Gropp, Optimization of Collective Communication Operations in MPICH, 2005):
/// `min(2(N-1)(a + bn/N), ceil(log2 N)(a + bn))`.
struct NetworkModel {
  /// Nanoseconds of a message.
  let latency: Double
  /// Nanoseconds for each byte.
  let perByte: Double

  func nanoseconds(bytes: Double, ranks: Int) -> Double {
    if ranks < 2 { return 0 }
    let count = Double(ranks)
    let ring = 2 * (count - 1) * (latency + perByte * bytes / count)
    let tree = log2(count).rounded(.up) * (latency + perByte * bytes)
    return min(ring, tree)
  }

  /// Fits the model to times: the line through the first and the last sizes, weighted by relative error, tells
  /// what a sum takes anyway, and what each byte adds.
  init?(_ points: [(bytes: Double, nanoseconds: Double)], ranks: Int) {
    if ranks < 2 || points.count < 2 { return nil }
    var (w, x, y, xx, xy) = (0.0, 0.0, 0.0, 0.0, 0.0)
    for point in points {
      let weight = 1 / (point.nanoseconds * point.nanoseconds)
      w += weight
      x += weight * point.bytes
      y += weight * point.nanoseconds
      xx += weight * point.bytes * point.bytes
      xy += weight * point.bytes * point.nanoseconds
    }
    let slope = max((w * xy - x * y) / (w * xx - x * x), 0)
    let offset = max((y - slope * x) / w, 0)
    let count = Double(ranks)
    latency = offset / log2(count).rounded(.up)
    perByte = slope * count / (2 * (count - 1))
  }

  /// For people.
  var text: String {
    let speed = perByte > 0 ? Format.number(1 / perByte) + " GB/s" : "no measurable time per byte"
    return "latency \(Format.number(latency / 1e3)) us, \(speed)"
  }
}

/// Times something that all ranks do together: as often on each of them.
struct RankTimer {
  let world: Communicator

  /// The times of single runs on this rank, in nanoseconds; each run begins when all ranks are there.
  func samples(seconds: Double, _ work: () throws -> Void) throws -> Samples {
    var slowest = 0.0
    for _ in 0..<3 {
      let start = now()
      try work()
      slowest = Double(now() - start)
    }
    // What rank 0 thinks is how often it is.
    let count = try world.broadcast(min(max(Int(seconds * 1e9 / max(slowest, 1)), 5), 2000))
    var samples = Samples()
    for _ in 0..<count {
      let start = now()
      try work()
      samples.values.append(Double(now() - start))
    }
    return samples
  }
}

/// The `allreduce` command.
struct AllreduceBenchmark {
  let options: Options
  let report: Report
  let world: Communicator

  /// Numbers of float32 elements.
  private static let counts = [1, 256, 4096, 65_536, 1_048_576, 8_388_608]

  func run(seconds: Double) throws {
    var body: [[String]] = []
    var points: [(bytes: Double, nanoseconds: Double)] = []
    for (index, count) in Self.counts.enumerated() {
      report.progress("allreduce: \(count) numbers (\(index + 1) of \(Self.counts.count))")
      let share = seconds / Double(2 * Self.counts.count)
      let bytes = Double(4 * count)
      var cells = ["\(4 * count)"]
      for order in [SummationOrder.ranks, .library] {
        let samples = try Self.measure(count, order, world, seconds: share)
        if order == .ranks { points.append((bytes, samples.median)) }
        var row = ResultRow("allreduce", "\(4 * count)")
        row.mode = order == .ranks ? "ranks" : "library"
        row.samples = samples
        row.gbps = bytes / samples.median
        row.extra = [("ranks", .number(Double(world.size))), ("bytes", .number(bytes))]
        report.add(row)
        cells += [
          Format.microseconds(samples.median), Format.microseconds(samples.minimum),
          Format.number(bytes / samples.median),
        ]
      }
      body.append(cells)
    }
    let model = NetworkModel(points, ranks: world.size)
    if let simulated = options.simulate {
      guard let model else { throw BenchError.fewRanks(world.size) }
      for i in body.indices {
        body[i].append(
          Format.microseconds(model.nanoseconds(bytes: points[i].bytes, ranks: simulated)))
      }
    }
    report.line(
      "Sums of float32 over \(world.size) ranks by \(world.library ?? "no library"), times in us")
    report.table(
      ["bytes", "ranks", "min", "GB/s", "library", "min", "GB/s"]
        + (options.simulate.map { ["modelled \($0)"] } ?? []), leading: 0, body)
    report.line()
    report.line("ranks, library: the order of addition; GB/s: bytes over the median")
    guard let model else { return }
    report.line("fitted to the order of ranks: \(model.text)")
    if let simulated = options.simulate {
      report.line(
        "modelled \(simulated): what it would take \(simulated) ranks by that; not measured")
    }
    report.add(
      section: "network",
      .object([
        ("latency_us", .number(model.latency / 1e3)), ("ns_per_byte", .number(model.perByte)),
        ("library", .string(world.library ?? "")),
      ]))
  }

  static func measure(
    _ count: Int, _ order: SummationOrder, _ world: Communicator, seconds: Double
  ) throws -> Samples {
    let x = Tensor.full([count], Float(world.rank + 1), constant: true).eval()
    let expected = Double(world.size * (world.size + 1) / 2)
    let sum = try world.sum(x, order: order)
    if sum.array[count - 1].item() != expected {
      throw BenchError.wrongResult(
        "allreduce \(4 * count): a sum is \(sum.array[count - 1].item()), expected \(expected)")
    }
    return try RankTimer(world: world).samples(seconds: seconds) {
      _ = try world.sum(x, order: order)
    }
  }

  /// The network by a few sizes.
  static func network(_ world: Communicator, seconds: Double) throws -> NetworkModel? {
    let counts = [1, 4096, 262_144]
    let points = try counts.map { count in
      let samples = try measure(count, .ranks, world, seconds: seconds / Double(counts.count))
      return (bytes: Double(4 * count), nanoseconds: samples.median)
    }
    return NetworkModel(points, ranks: world.size)
  }
}

extension BenchError {
  static func fewRanks(_ size: Int) -> BenchError {
    .usage("option --simulate: expected 2 ranks or more to measure between, got \(size)")
  }
}
