// Ranks under a launcher, where one is installed: training, and every misbehaviour with what is said about it.

import Foundation
import Testing

#if os(Linux) || os(macOS)
  @Suite(
    "Ranks", .serialized,
    .enabled(if: InstalledLauncher.found != nil, "no mpirun is installed"))
  struct RankTests {
    private let launcher = InstalledLauncher.found!

    /// A run in which all goes well.
    private func expectSuccess(
      _ run: RankRun, sourceLocation: SourceLocation = #_sourceLocation
    ) {
      #expect(
        run.status == 0 && !run.hasTimedOut, "\(run.status) after \(run.seconds) s: \(run.errors)",
        sourceLocation: sourceLocation)
    }

    /// A run that ends soon, with a status that is not 0, and with a line that says why.
    private func expectFailure(
      _ run: RankRun, _ line: String, limit: Double = 60,
      sourceLocation: SourceLocation = #_sourceLocation
    ) {
      #expect(
        run.status != 0 && !run.hasTimedOut && run.seconds < limit,
        "\(run.status) after \(run.seconds) s: \(run.errors)", sourceLocation: sourceLocation)
      #expect(
        run.lines.contains { $0.contains(line) }, "\(run.errors)", sourceLocation: sourceLocation)
    }

    // MARK: What goes well

    @Test("Each rank knows who it is", arguments: [1, 2, 3])
    func hello(_ size: Int) {
      let run = launcher.run(size, "hello")
      expectSuccess(run)
      for rank in 0..<size {
        #expect(run.output.contains("rank \(rank) of \(size), \(rank) of \(size) here, threads 1"))
      }
    }

    @Test("Ranks share the cores that they may run on")
    func threads() {
      let run = launcher.run(2, "hello", environment: ["LAZYGRAD_THREADS": ""])
      expectSuccess(run)
      let cores = ProcessInfo.processInfo.activeProcessorCount
      let counts = run.output.split(separator: "\n").compactMap { line in
        line.split(separator: " ").last.flatMap { Int($0) }
      }
      #expect(counts.count == 2 && counts.allSatisfy { $0 >= 1 && $0 <= max(1, cores / 2) })
    }

    @Test("Values and flags", arguments: [2, 3])
    func values(_ size: Int) {
      let run = launcher.run(size, "values")
      expectSuccess(run)
      #expect(run.output.contains("values agree"))
    }

    @Test("Sums in the order of ranks, to the bit", arguments: [2, 3])
    func sums(_ size: Int) {
      let runs = (0..<size - 1).map { _ in launcher.run(size, "sums") }
      for run in runs { expectSuccess(run) }
      #expect(runs[0].output.contains("sums ") && runs.allSatisfy { $0.output == runs[0].output })
    }

    @Test("A model gets one rank's values", arguments: [2, 3])
    func broadcast(_ size: Int) {
      let run = launcher.run(size, "broadcast")
      expectSuccess(run)
      #expect(run.output.contains("broadcast "))
    }

    @Test("Training is that of one process, with uneven parts as well", arguments: [2, 3])
    func training(_ size: Int) {
      let runs = (0..<2).map { _ in launcher.run(size, "train", "even", "60") }
      for run in runs { expectSuccess(run) }
      #expect(runs[0].output.contains("parameters ") && runs[0].output == runs[1].output)
      if size == 3 { expectSuccess(launcher.run(3, "train", "uneven", "60")) }
    }

    @Test("Means over several steps")
    func every() {
      let run = launcher.run(3, "every")
      expectSuccess(run)
      #expect(run.output.contains("11 steps"))
    }

    // MARK: What does not

    @Test(
      "Ranks that want different things say who wants what",
      arguments: [
        ("count", "rank 0, 1: sum of 1000 float32; rank 2: sum of 999 float32", 3),
        ("type", "rank 0, 1: sum of 1000 float32; rank 2: sum of 1000 float64", 3),
        (
          "shape",
          "rank 0, 1: sum of 1000 float32, shapes [1000] float32; rank 2: sum of 1000 float32, "
            + "shapes [5, 200] float32", 3
        ),
        (
          "operation",
          "rank 0, 1: sum of 1000 float32; rank 2: broadcast of 1000 float32 from rank 0", 3
        ),
        ("early", "rank 0, 1: mean of 20 float32; rank 2: end of Communicator.run", 3),
      ])
    func disagreement(_ scenario: String, _ line: String, _ number: Int) {
      let run = launcher.run(3, scenario)
      expectFailure(run, "LazyGrad: rank 0: collective \(number): ranks disagree: \(line)")
      #expect(run.lines.count == 1, "\(run.errors)")
    }

    @Test("A collective inside another one's closure")
    func nested() {
      expectFailure(
        launcher.run(2, "nested"), "ranks disagree: rank 0: barrier; rank 1: the end of onRoot")
    }

    @Test("Errors end all ranks, with the rank that has them")
    func errors() {
      expectFailure(launcher.run(3, "throw"), "LazyGrad: rank 2: no such file as data-7.npz")
      expectFailure(launcher.run(2, "tensor-error"), ": add: expected shapes")
      expectFailure(
        launcher.run(3, "memory"),
        "rank 2: sum of 10 float32: expected no other collective after it has failed on rank 2")
      expectFailure(
        launcher.run(2, "weights"),
        "rank 0: mean: expected a rank with a weight above 0, got 0 on all")
      expectFailure(launcher.run(2, "root"), "LazyGrad: rank 0: the disk is full")
      expectFailure(
        launcher.run(3, "unequal"),
        "requireEqual: expected the same bits on all ranks, got 'weight', [4, 4] float32, with hashes "
          + "rank 0, 1: ")
      expectFailure(
        launcher.run(2, "again"), "Communicator.run: expected to be called once in a process")
    }

    @Test("Traps and exits end all ranks")
    func ends() {
      let trap = launcher.run(3, "trap")
      expectFailure(trap, "LazyGrad: rank 2: ended by signal")
      #expect(trap.errors.contains("the last rank can't go on"))
      expectFailure(
        launcher.run(3, "exit"),
        "LazyGrad: rank 2: exit() was called inside Communicator.run, which ends all ranks")
    }

    @Test("A killed rank ends the others")
    func killed() {
      let run = launcher.run(3, "kill")
      #expect(run.status != 0 && !run.hasTimedOut && run.seconds < 60, "\(run.errors)")
      // The launcher says that, each in its way.
      let text = run.errors + run.output
      let ways = ["signal 9", "SIGNAL: 9", "EXIT CODE: 9", "Killed"]
      #expect(ways.contains { text.contains($0) }, "\(text)")
    }

    @Test("Waiting is said after a while, with who is missing, and ends at the limit")
    func stall() {
      let warned = launcher.run(3, "stall", "3", environment: ["LAZYGRAD_STALL_SECONDS": "1"])
      expectSuccess(warned)
      #expect(warned.output.contains("all there"))
      let lines = warned.lines.filter { $0.contains("collective 3, sum of 10 float32: waiting") }
      #expect(lines.contains { $0.contains("rank 0: ") && $0.hasSuffix("for rank 2") }, "\(lines)")
      #expect(lines.contains { $0.contains("rank 1: ") && $0.hasSuffix("for rank 2") }, "\(lines)")
      let limited = launcher.run(3, "stall", "30", environment: ["LAZYGRAD_STALL_LIMIT": "2"])
      expectFailure(limited, "sum of 10 float32: waiting since 2.0 s for rank 2, the limit: all")
    }

    @Test("A library of another MPI, and no library at all")
    func libraries() {
      expectFailure(
        launcher.run(2, "hello", environment: ["LAZYGRAD_MPI": "/no/such/file.so"]),
        "rank 0: Communicator.run: expected an MPI library, got '/no/such/file.so'")
    }
  }
#endif
