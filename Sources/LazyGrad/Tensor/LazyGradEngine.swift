// The engine's dials and gauges, for programs that measure.

internal import LazyGradJIT

/// What the engine has done since the process began, over all threads.
public struct EngineCounters: Sendable {
  /// Operations recorded, by the program and by backward passes.
  public var nodesRecorded: Int
  /// Times that recorded work was recognised and its plan reused.
  public var planHits: Int
  /// Times that a plan had to be made. One that only puts known turns of a loop together is no new one.
  public var planMisses: Int
  /// Calls of compiled functions that recorded nothing.
  public var replays: Int
  /// Kernels that have run.
  public var kernelsRun: Int
  /// Blocks of memory taken for arrays.
  public var allocations: Int
  /// Bytes that kernels have read from and written to arrays, counted when planned.
  public var bytesRead: Int
  /// Bytes written.
  public var bytesWritten: Int
  /// Time spent in evaluation outside kernels, while `LazyGradEngine.measuresOverhead` is set.
  public var planOverheadNanoseconds: Int
  /// Time spent in kernels, while `LazyGradEngine.measuresOverhead` is set.
  public var kernelNanoseconds: Int
  /// Bytes of memory that hold machine code now, in whole pages.
  public var codeBytes: Int
  /// Kernels that have been compiled to machine code and installed.
  public var nativeKernelsCompiled: Int
  /// Times that memory for machine code was refused, by the system or because there is enough of
  /// it; portable kernels did the work instead.
  public var nativeRefusals: Int
}

/// Settings and measurements of the engine.
public enum LazyGradEngine {
  /// What has happened so far.
  public static var counters: EngineCounters {
    let c = Engine.counters
    let code = CodeMemory.shared.counters
    return EngineCounters(
      nodesRecorded: c.nodesRecorded, planHits: c.planHits, planMisses: c.planMisses,
      replays: c.replays, kernelsRun: c.kernelsRun, allocations: StoragePool.shared.blocksTaken,
      bytesRead: c.bytesRead, bytesWritten: c.bytesWritten,
      planOverheadNanoseconds: c.overheadNanoseconds, kernelNanoseconds: c.kernelNanoseconds,
      codeBytes: code.liveBytes, nativeKernelsCompiled: code.installedBlocks,
      nativeRefusals: code.refusals)
  }

  /// Threads that one evaluation may use, 1 to 1024; results do not depend on it. A number beyond is
  /// brought into that range. The process begins with the cores that it may run on, or with the
  /// environment's `LAZYGRAD_THREADS`.
  public static var threads: Int {
    get { Engine.threads }
    set { Engine.threads = newValue }
  }

  /// Tells the engine that several processes like this one share the cores that it may run on: `threads`
  /// becomes their number divided by that of the processes, and at least 1. Where the environment's
  /// `LAZYGRAD_THREADS` or the program has set it, it stays.
  ///
  /// `Communicator.run` calls this with the ranks on this machine.
  public static func shareCores(among processes: Int) { Engine.shareCores(among: processes) }

  /// The file of the MPI library that `Communicator.run` opens: the environment's `LAZYGRAD_MPI`. nil: the
  /// one that goes with the launcher.
  public static var mpiLibrary: String? { Settings.mpiLibrary }

  /// Seconds of waiting for other ranks after which that is said on standard error: the environment's
  /// `LAZYGRAD_STALL_SECONDS`, or 60.
  public static var stallSeconds: Double { Settings.stallSeconds }

  /// Seconds of waiting for other ranks after which all ranks are ended: the environment's
  /// `LAZYGRAD_STALL_LIMIT`. nil: there is no limit.
  public static var stallLimit: Double? { Settings.stallLimit }

  /// The instruction set of the kernels that new plans get: `portable`, `avx2`, `avx512`
  /// or `neon`.
  public static var instructionSet: String { NativeCode.instructionSet.name }

  /// The instruction sets that this machine runs and the settings allow, slowest first.
  public static var availableInstructionSets: [String] { NativeCode.available.map(\.name) }

  /// Why `instructionSet` is what it is, as one sentence.
  public static var instructionSetReason: String { NativeCode.reason }

  /// Why machine code could not be installed the last time that it was refused; nil if it never was.
  public static var lastNativeRefusal: String? { CodeMemory.shared.counters.lastRefusal }

  /// Chooses the instruction set of new plans and forgets the plans that there are.
  ///
  /// - Parameter name: `portable`, `avx2`, `avx512`, `neon`, or `auto` for what the process began with.
  /// - Returns: whether it is in force now; false, and nothing changes, when the name is unknown,
  ///   the machine does not run it or `LAZYGRAD_JIT=0` forbids it.
  @discardableResult
  public static func selectInstructionSet(_ name: String) -> Bool {
    if name == "auto" { return NativeCode.select(nil) }
    return InstructionSet(name: name).map { NativeCode.select($0) } ?? false
  }

  /// Whether numbers too small to have all their digits count as zero while something is evaluated: those below
  /// 1.2e-38 of float32, and below 2.2e-308 of float64. The process begins with what the environment's
  /// `LAZYGRAD_FLUSH_DENORMALS` says, and without it with `false`: such numbers are computed as IEEE 754 says.
  ///
  /// Many processors take some hundred times as long for an operation on such a number, Intel's for a
  /// multiplication. Gradients that fade over many steps of a recurrence pass through that range, and products of
  /// matrices of them are then several times slower. What is evaluated while this is `true` differs in these
  /// numbers only: they are zero, and the logarithm of one is minus infinity. The program's own arithmetic
  /// is not changed.
  public static var flushesDenormals: Bool {
    get { Engine.flushesDenormals }
    set { Engine.flushesDenormals = newValue }
  }

  /// Whether evaluation reads the clock to tell its own time from the kernels'.
  public static var measuresOverhead: Bool {
    get { Engine.measuresOverhead }
    set { Engine.measuresOverhead = newValue }
  }

  /// Gives memory that is kept for reuse back to the system.
  public static func trimMemory() {
    Tape.settleAll()
    StoragePool.shared.returnToSystem()
  }

  /// The number of bytes that arrays may hold together.
  public static func setMemoryLimit(_ bytes: Int) { StoragePool.shared.setLimit(max(bytes, 0)) }

  /// The number of bytes that arrays may hold together now.
  public static var memoryLimit: Int { StoragePool.shared.bytesAllowed }

  /// Bytes held by arrays now.
  public static var bytesInUse: Int {
    Tape.settleAll()
    return StoragePool.shared.bytesInUse
  }

  /// Bytes kept for reuse.
  public static var bytesCached: Int { StoragePool.shared.bytesCached }

  /// Forgets all plans, how backward passes were recorded, and what compiled functions have recorded.
  public static func clearPlanCache() {
    PlanCache.shared.removeAll()
    PassCache.shared.removeAll()
    Engine.forgetReplays()
  }

  /// The environment variables that LazyGrad reads, and what they do.
  public static var environmentVariables: [(name: String, meaning: String)] { Settings.variables }

  /// The environment variables whose values can't be used, and why; the defaults hold instead. Each is
  /// also said on standard error, once, when it is read.
  public static var environmentProblems: [(name: String, problem: String)] {
    Settings.readAll()
    _ = NativeCode.reason
    return Settings.problems.map { ($0.name, $0.text) }
  }

  /// How many scopes there are in the process, those that tasks took along included: for tests.
  package static var openScopes: Int { Scope.count }
}
