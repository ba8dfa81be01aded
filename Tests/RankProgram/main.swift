// What ranks do under a launcher, for DistributedTests and .ci/distributed:
//     mpirun -n 3 RankProgram scenario [argument]...
// Rank 0 prints results on standard output; what goes wrong is on standard error, and in the status.

import Foundation
import LazyGrad

/// What a scenario gets.
struct Run {
  let world: Communicator
  let arguments: [String]

  /// The last rank, which misbehaves where one does.
  var isLast: Bool { world.rank == world.size - 1 }

  func number(_ index: Int, _ usual: Int) -> Int {
    arguments.count > index ? Int(arguments[index]) ?? usual : usual
  }

  /// A line of rank 0.
  func report(_ line: String) {
    if world.isRoot { print(line) }
  }
}

typealias Scenario = (Run) throws -> Void

let scenarios: [String: Scenario] = [
  "hello": hello, "values": checkValues, "sums": checkSums, "train": train, "every": trainEvery,
  "broadcast": checkBroadcast, "overhead": measureOverhead, "count": otherCount,
  "type": otherType, "shape": otherShape, "operation": otherOperation, "early": earlyEnd,
  "nested": nestedCollective, "throw": throwError, "tensor-error": tensorError,
  "memory": lackOfMemory, "trap": trap,
  "exit": callExit, "kill": killRank, "stall": stall, "weights": noWeights, "root": rootError,
  "unequal": unequalModels, "again": runAgain, "fault": randomFault,
]

func fail(_ text: String) -> Never {
  FileHandle.standardError.write(Data("RankProgram: \(text)\n".utf8))
  exit(3)
}

let arguments = Array(CommandLine.arguments.dropFirst())
guard let name = arguments.first, let scenario = scenarios[name] else {
  fail("expected one of \(scenarios.keys.sorted().joined(separator: ", "))")
}
try Communicator.run { world in
  try scenario(Run(world: world, arguments: Array(arguments.dropFirst())))
}
if name == "again" { try Communicator.run { _ in } }
