// The command line: what may be written there, and what it means. Everything is checked here,
// before anything runs; other files read the finished `Options`.

/// What lgbench is asked to measure.
enum Command: String, CaseIterable {
  case all, rnn, train, chain, matmul, mlp, small, irregular, samples, ops, overhead, reduce
  case allreduce, doctor

  /// The cases that `--cases` chooses from; none where there is no choice.
  var caseNames: [String] {
    switch self {
    case .chain: ChainBenchmark.sizes.map(String.init)
    case .matmul: MatmulBenchmark.cases.map(\.name)
    case .reduce: ReduceBenchmark.Case.allCases.map(\.rawValue)
    case .small: SmallProgram.names
    case .irregular: IrregularProgram.names
    case .ops: OperationsBenchmark.caseNames
    default: []
    }
  }
}

/// Tracking, guarding and compiling, as a user would choose them.
enum Mode: String, CaseIterable {
  /// Autodiff and the memory guard on: the default.
  case guarded = "guard"
  /// Autodiff on, the guard off.
  case unguarded
  /// Inside `noAutodiff`: forward only.
  case untracked = "noautodiff"
  /// As the default, recorded once: a compiled function.
  case compiled
}

/// What one measured pass computes.
enum Pass: String, CaseIterable {
  /// The loss and the gradients of every parameter.
  case train
  /// The loss alone.
  case forward
}

/// The command line, parsed and checked.
struct Options {
  enum Request: Equatable {
    case help, version
    case run(Command)
  }

  var request = Request.run(.all)
  var threads: Int?
  var instructionSet: String?
  var seconds: Double?
  var json: String?
  var svg: String?
  var peers: String?
  /// Which of the command's cases to run; nil is all of them.
  var cases: [String]?
  var quiet = false
  var allowsDebug = false
  var presets = RNNPreset.all
  var modes = Mode.allCases
  var passes = Pass.allCases
  var cell = Cell.tanh
  /// How ranks divide the work; nil: there is one.
  var ranks: Scaling?
  /// A number of ranks whose times are to be modelled.
  var simulate: Int?
  var text: String?
  var steps: Int?
  var hidden = 128
  var length = 32
  var batch = 16

  init(arguments: [String]) throws(BenchError) {
    var command: Command?
    var given: [Option] = []
    var rest = arguments[...]
    while let argument = rest.popFirst() {
      guard argument.hasPrefix("-") else {
        guard command == nil else { throw .usage("unexpected argument '\(argument)'") }
        guard let known = Command(rawValue: argument), known != .all else {
          throw .usage("unknown command '\(argument)'")
        }
        command = known
        continue
      }
      let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = parts[0] == "-h" ? "--help" : String(parts[0])
      guard let option = Option(rawValue: name) else { throw .usage("unknown option '\(name)'") }
      var value: String?
      if option.placeholder == nil {
        guard parts.count == 1 else { throw .usage("option \(name) takes no value") }
      } else if parts.count == 2 {
        value = String(parts[1])
      } else if let next = rest.first, !next.hasPrefix("--") {
        value = rest.removeFirst()
      }
      if option.placeholder != nil, value?.isEmpty ?? true {
        throw .usage("option \(name) needs a value")
      }
      try apply(option, value ?? "")
      given.append(option)
    }
    if given.contains(.help) {
      request = .help
    } else if given.contains(.version) {
      request = .version
    } else {
      request = .run(command ?? .all)
      for option in given where !option.commands.contains(command ?? .all) {
        let of = option.commands.filter { $0 != .all }.map { "'\($0.rawValue)'" }
          .joined(separator: ", ")
        throw .usage("option \(option.rawValue) belongs to \(of)")
      }
      let known = command?.caseNames ?? []
      if let name = cases?.first(where: { !known.contains($0) }) {
        throw .usage(
          "option --cases: expected some of \(known.joined(separator: ",")), got '\(name)'")
      }
      try checkFiles()
      if simulate != nil, command == .rnn, ranks == nil {
        throw .usage("option --simulate belongs to 'rnn --ranks' and 'allreduce'")
      }
      if command == .allreduce, peers != nil {
        throw .usage("option --peers: expected a command that the peers have, got 'allreduce'")
      }
      if ranks != nil, given.contains(where: { [.modes, .pass, .peers].contains($0) }) {
        throw .usage("option --ranks: expected no --modes, --pass or --peers beside it")
      }
      if command == .rnn, passes == [.train], modes == [.untracked] {
        throw .usage("mode noautodiff has no train pass: ask for --pass forward")
      }
    }
  }

  private mutating func apply(_ option: Option, _ value: String) throws(BenchError) {
    switch option {
    case .help, .version: break
    case .quiet: quiet = true
    case .allowDebug: allowsDebug = true
    case .threads: threads = try Self.integer(value, option, in: 1...1024)
    case .isa: instructionSet = value
    case .seconds:
      guard let number = Double(value), number > 0, number <= 3600 else {
        throw .usage("option --seconds: expected a number over 0 and up to 3600, got '\(value)'")
      }
      seconds = number
    case .json: json = value
    case .svg:
      guard value != "-" else { throw .usage("option --svg: expected a file, got '-'") }
      svg = value
    case .peers: peers = value
    case .cases:
      cases = value.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    case .preset:
      if value == "all" {
        presets = RNNPreset.all
      } else if let preset = RNNPreset.all.first(where: { $0.name == value }) {
        presets = [preset]
      } else {
        throw .usage("option --preset: expected S, M, L or all, got '\(value)'")
      }
    case .cell:
      guard let known = Cell(rawValue: value) else {
        throw .usage("option --cell: expected tanh, gru or lstm, got '\(value)'")
      }
      cell = known
    case .ranks:
      guard let known = Scaling(rawValue: value) else {
        throw .usage("option --ranks: expected weak or strong, got '\(value)'")
      }
      ranks = known
    case .simulate: simulate = try Self.integer(value, option, in: 2...1_000_000)
    case .modes: modes = try Self.list(value, option)
    case .pass: passes = try Self.list(value, option)
    case .text: text = value
    case .steps: steps = try Self.integer(value, option, in: 1...10_000_000)
    case .hidden: hidden = try Self.integer(value, option, in: 1...4096)
    case .length: length = try Self.integer(value, option, in: 1...4096)
    case .batch: batch = try Self.integer(value, option, in: 1...4096)
    }
  }

  /// What is written must not take the place of what else is written, or read.
  private func checkFiles() throws(BenchError) {
    let files = [
      ("--json", json), ("--svg", svg), ("--peers", peers), ("--text", text),
    ].compactMap { name, path in path.map { (name: name, path: $0) } }
    for (k, file) in files.enumerated() where file.name == "--json" || file.name == "--svg" {
      for other in files[(k + 1)...] where Destination.isSameFile(file.path, other.path) {
        throw .usage(
          "options \(file.name) and \(other.name): expected different files, got '\(file.path)'")
      }
    }
  }

  private static func integer(
    _ text: String, _ option: Option, in range: ClosedRange<Int>
  ) throws(BenchError) -> Int {
    guard let number = Int(text), range.contains(number) else {
      throw .usage(
        "option \(option.rawValue): expected a whole number from \(range.lowerBound) to"
          + " \(range.upperBound), got '\(text)'")
    }
    return number
  }

  /// Comma-separated names, returned once each in the order of their declaration.
  private static func list<Value: RawRepresentable & CaseIterable & Equatable>(
    _ text: String, _ option: Option
  ) throws(BenchError) -> [Value] where Value.RawValue == String {
    var chosen: [Value] = []
    for name in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let value = Value(rawValue: String(name)) else {
        let known = Value.allCases.map(\.rawValue).joined(separator: ",")
        throw .usage("option \(option.rawValue): expected some of \(known), got '\(name)'")
      }
      chosen.append(value)
    }
    return Value.allCases.filter(chosen.contains)
  }
}

/// Every option, the commands that it belongs to and its line in the help.
private enum Option: String, CaseIterable {
  case preset = "--preset"
  case modes = "--modes"
  case pass = "--pass"
  case ranks = "--ranks"
  case cell = "--cell"
  case simulate = "--simulate"
  case text = "--text"
  case steps = "--steps"
  case hidden = "--hidden"
  case length = "--length"
  case batch = "--batch"
  case cases = "--cases"
  case svg = "--svg"
  case peers = "--peers"
  case threads = "--threads"
  case isa = "--isa"
  case seconds = "--seconds"
  case json = "--json"
  case quiet = "--quiet"
  case allowDebug = "--allow-debug"
  case help = "--help"
  case version = "--version"

  var commands: [Command] {
    switch self {
    case .preset, .modes, .pass, .ranks: [.rnn]
    case .simulate: [.rnn, .allreduce]
    case .cell: [.rnn, .train]
    case .text, .steps, .hidden, .length, .batch: [.train]
    case .cases: Command.allCases.filter { !$0.caseNames.isEmpty }
    case .svg, .peers: Command.allCases.filter { $0 != .doctor }
    default: Command.allCases
    }
  }

  /// What stands for the value in the help; nil for a switch.
  var placeholder: String? {
    switch self {
    case .preset: "S|M|L|all"
    case .cell: "tanh|gru|lstm"
    case .ranks: "weak|strong"
    case .modes: "LIST"
    case .pass, .cases: "LIST"
    case .text, .json, .svg, .peers: "FILE"
    case .steps, .hidden, .length, .batch, .threads, .simulate: "N"
    case .isa: "NAME"
    case .seconds: "BUDGET"
    case .quiet, .allowDebug, .help, .version: nil
    }
  }

  var summary: String {
    switch self {
    case .preset: "sizes to run (default: all)"
    case .cell: "the recurrent cell (default: tanh)"
    case .ranks: "train on all ranks of a launcher: a batch for each, or one that they divide"
    case .simulate:
      "model the times of this number of ranks by what is measured between those there are"
    case .modes: "some of guard,unguarded,noautodiff,compiled (default: all)"
    case .pass: "some of train,forward (default: both)"
    case .text: "UTF-8 text to learn (default: a guide to LazyGrad, built in)"
    case .steps: "training steps (default: up to 3000, as many as the time allows)"
    case .hidden: "width of the hidden state (default: 128)"
    case .length: "characters per training step and stream (default: 32)"
    case .batch: "streams that are read in parallel (default: 16)"
    case .cases: "some of the cases that the table names (default: all)"
    case .svg: "draw the results as a bar chart"
    case .peers: "compare with the rows in this file, as the programs in perf/peers print them"
    case .threads: "threads that a plan may use (default: the cores that it may run on)"
    case .isa: "auto, portable, avx2, avx512 or neon (default: auto)"
    case .seconds: "time to spend on measuring (default: 10 to 30, by command)"
    case .json: "write the results as JSON, - for standard output"
    case .quiet: "no header and no progress"
    case .allowDebug: "run even a debug build"
    case .help: "print this text"
    case .version: "print the version"
    }
  }

  var line: String {
    let form = rawValue + (placeholder.map { " " + $0 } ?? "")
    return "  \(form)" + String(repeating: " ", count: max(2, 22 - form.count)) + summary + "\n"
  }
}

extension Options {
  /// What `--help` prints.
  static var usage: String {
    """
    usage: lgbench [command] [options]

    commands:
      (none)       the RNN benchmark, then a short training run on real text; under a minute
      rnn          a recurrent network with a hand-written loop over time: sizes, modes, passes
      train        a character-level language model: loss, speed, a sample of what it writes
      chain        sum(tanh(a*b + c) * exp(-a*a)) over 1e3, 1e5 and 1e7 elements
      matmul       matrix products, small ones many at a time: GFLOP/s
      mlp          a training step of a perceptron with two hidden layers
      small        an attention block, a layer norm, a Kalman step on a handful of numbers
      irregular    trees and sequences of other shapes, one sample at a time
      samples      the gradient of every sample by itself: vmap, and programs written for a batch
      ops          one operation of every family on 10, 1,000 and 1,000,000 numbers
      overhead     what recording, planning and releasing cost per operation
      reduce       sums over either axis, softmax and a transposed copy of large matrices: GB/s
      allreduce    sums over the ranks that a launcher has started: latency and bandwidth
      doctor       the machine, the settings in force and what the engine makes of them

    """
      + sections
  }

  /// The options, those of the same commands together.
  private static var sections: String {
    var text = ""
    var last: [Command]?
    for option in Option.allCases {
      if option.commands != last {
        text += "\noptions of \(title(option.commands)):\n"
        last = option.commands
      }
      text += option.line
    }
    return text
  }

  private static func title(_ commands: [Command]) -> String {
    switch Command.allCases.filter({ !commands.contains($0) }) {
    case []: "every command"
    case [.doctor]: "every command that measures"
    default: commands.map(\.rawValue).joined(separator: ", ")
    }
  }
}
