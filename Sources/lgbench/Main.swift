// The entry point of lgbench: reads the command line, runs a command, writes its results. It uses
// every other file of this target and only the public interface of LazyGrad.

import Foundation
import LazyGrad

/// The version that `--version` prints and that recorded results carry.
let lgbenchVersion = "0.1.0"

/// The command-line tool.
@main
struct LGBench {
  static func main() {
    do {
      let options = try Options(arguments: Array(CommandLine.arguments.dropFirst()))
      try LGBench(options: options).run()
      try Output.check()
    } catch {
      Output.standardError("lgbench: \(error.message)\n")
      exit(error.status)
    }
  }

  let options: Options

  private func run() throws(BenchError) {
    switch options.request {
    case .help:
      Output.standardOutput(Options.usage)
    case .version:
      Output.standardOutput("lgbench \(lgbenchVersion)\n")
    case .run(let command):
      #if DEBUG
        if command != .doctor, !options.allowsDebug {
          throw .usage(
            "this is a debug build, hundreds of times slower than a release build:"
              + " build with -c release, or pass --allow-debug")
        }
      #endif
      if command == .allreduce || options.ranks != nil {
        try runRanks(command)
      } else {
        try run(command)
      }
    }
  }

  /// Runs a command on all ranks that there are. What goes wrong on one of several is said by `run` itself.
  private func runRanks(_ command: Command) throws(BenchError) {
    do {
      try Communicator.run { world in try measure(command, world) }
    } catch let error as BenchError {
      throw error
    } catch { throw .wrongResult("\(error)") }
  }

  /// Rank 0 shows and writes what is measured.
  private func measure(_ command: Command, _ world: Communicator) throws {
    var destination: Destination?
    var chart: Destination?
    try world.onRoot {
      destination = try options.json.map { try Destination(path: $0) }
      chart = try options.svg.map { try Destination(path: $0) }
    }
    try applySettings()
    let report = Report(
      options: options, peers: nil, tablesToStandardError: destination?.isStandardOutput,
      isSilent: !world.isRoot)
    let machine = Machine()
    if !options.quiet { report.header(machine) }
    if let scaling = options.ranks {
      try RankTrainingBenchmark(options: options, report: report, world: world, scaling: scaling)
        .run(seconds: options.seconds ?? 15)
    } else {
      try AllreduceBenchmark(options: options, report: report, world: world)
        .run(seconds: options.seconds ?? 10)
    }
    report.finishProgress()
    try world.onRoot {
      try destination?.write(report.json(machine: machine).text)
      try chart?.write(SVGChart(rows: report.rows, peers: nil, machine: machine).text)
    }
  }

  private func applySettings() throws(BenchError) {
    if let threads = options.threads { LazyGradEngine.threads = threads }
    if let name = options.instructionSet, !LazyGradEngine.selectInstructionSet(name) {
      let known = LazyGradEngine.availableInstructionSets.joined(separator: ", ")
      throw .usage(
        "option --isa: expected auto or one that runs here (\(known)), got '\(name)'")
    }
  }

  private func run(_ command: Command) throws(BenchError) {
    // What could fail after minutes of measuring is checked before the first of them.
    let destination = try options.json.map { path throws(BenchError) in
      try Destination(path: path)
    }
    let chart = try options.svg.map { path throws(BenchError) in try Destination(path: path) }
    let peers = try options.peers.map { path throws(BenchError) in try PeerResults(path: path) }
    let corpus =
      command == .train || command == .all
      ? try TextCorpus.load(path: options.text, length: options.length, batch: options.batch) : nil
    try applySettings()
    let report = Report(
      options: options, peers: peers, tablesToStandardError: destination?.isStandardOutput)
    let machine = Machine()
    if !options.quiet { report.header(machine) }
    switch command {
    case .all:
      try RNNBenchmark(options: options, report: report).run(seconds: options.seconds ?? 20)
      report.line()
      try trainingRun(corpus!, report: report, defaultSeconds: 10)
    case .rnn:
      try RNNBenchmark(options: options, report: report).run(seconds: options.seconds ?? 24)
    case .train: try trainingRun(corpus!, report: report, defaultSeconds: 14)
    case .chain:
      try ChainBenchmark(options: options, report: report).run(seconds: options.seconds ?? 12)
    case .matmul:
      try MatmulBenchmark(options: options, report: report).run(seconds: options.seconds ?? 15)
    case .mlp:
      try MLPBenchmark(options: options, report: report).run(seconds: options.seconds ?? 10)
    case .small:
      try LossBenchmark(
        workload: "W9", title: "Programs on 4 to 64 numbers", programs: SmallProgram.all(),
        options: options, report: report
      ).run(seconds: options.seconds ?? 6)
    case .irregular:
      try LossBenchmark(
        workload: "W7", title: "64 samples of other shapes, one at a time",
        programs: IrregularProgram.all(), options: options, report: report
      ).run(seconds: options.seconds ?? 12)
    case .samples: try PerSampleBenchmark(report: report).run(seconds: options.seconds ?? 6)
    case .ops:
      try OperationsBenchmark(options: options, report: report).run(seconds: options.seconds ?? 30)
    case .overhead:
      try OverheadBenchmark(options: options, report: report).run(seconds: options.seconds ?? 12)
    case .reduce:
      try ReduceBenchmark(options: options, report: report).run(seconds: options.seconds ?? 10)
    case .doctor: Doctor(machine: machine, report: report).run()
    case .allreduce: break  // `runRanks`
    }
    report.finishProgress()
    if let peers { peers.compare(report) }
    try destination?.write(report.json(machine: machine).text)
    try chart?.write(SVGChart(rows: report.rows, peers: peers, machine: machine).text)
  }

  /// A training run stops after its number of steps or its seconds, whichever comes first; a number
  /// of steps given by the user is kept to, so that its losses can be compared between machines.
  private func trainingRun(
    _ corpus: TextCorpus, report: Report, defaultSeconds: Double
  ) throws(BenchError) {
    let isStepCountGiven = options.steps != nil
    try TrainingRun(corpus: corpus, options: options, report: report).run(
      steps: options.steps ?? 3000,
      seconds: options.seconds ?? (isStepCountGiven ? .infinity : defaultSeconds))
  }
}

/// Why lgbench stops without a result.
enum BenchError: Error, CustomStringConvertible {
  /// The command line asks for something that does not exist.
  case usage(String)
  /// A file cannot be read, used or written.
  case file(String)
  /// A result is wrong, so its time means nothing.
  case wrongResult(String)

  var description: String { message }

  var message: String {
    switch self {
    case .usage(let text): "\(text) (see lgbench --help)"
    case .file(let text), .wrongResult(let text): text
    }
  }

  var status: Int32 {
    switch self {
    case .usage: 2
    case .file, .wrongResult: 1
    }
  }
}
