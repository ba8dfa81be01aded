// The engine's dials and gauges, for programs that measure.

internal import LazyGradJIT

/// What the engine has done since the process began, over all threads.
public struct EngineCounters: Sendable {
  /// Operations recorded, by the program and by backward passes.
  public var nodesRecorded: Int
  /// Times that recorded work was recognised and its plan reused.
  public var planHits: Int
  /// Times that a plan had to be made.
  public var planMisses: Int
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
}

/// Settings and measurements of the engine.
public enum LazyGradEngine {
  /// What has happened so far.
  public static var counters: EngineCounters {
    let c = Engine.counters
    return EngineCounters(
      nodesRecorded: c.nodesRecorded, planHits: c.planHits, planMisses: c.planMisses,
      kernelsRun: c.kernelsRun, allocations: StoragePool.shared.blocksTaken,
      bytesRead: c.bytesRead, bytesWritten: c.bytesWritten,
      planOverheadNanoseconds: c.overheadNanoseconds, kernelNanoseconds: c.kernelNanoseconds)
  }

  /// Threads that one evaluation may use; results do not depend on it.
  public static var threads: Int {
    get { Engine.threads }
    set { Engine.threads = newValue }
  }

  /// Whether evaluation reads the clock to tell its own time from the kernels'.
  public static var measuresOverhead: Bool {
    get { Engine.measuresOverhead }
    set { Engine.measuresOverhead = newValue }
  }

  /// Gives memory that is kept for reuse back to the system.
  public static func trimMemory() { StoragePool.shared.trim() }

  /// The number of bytes that arrays may hold together.
  public static func setMemoryLimit(_ bytes: Int) { StoragePool.shared.setLimit(bytes) }

  /// Bytes held by arrays now.
  public static var bytesInUse: Int { StoragePool.shared.bytesInUse }

  /// Bytes kept for reuse.
  public static var bytesCached: Int { StoragePool.shared.bytesCached }

  /// Forgets all plans.
  public static func clearPlanCache() { PlanCache.shared.removeAll() }

  /// The plan that computing these tensors together would run, as text.
  public static func explain(_ tensors: Tensor...) -> String {
    tensors.forEach { $0.follow() }
    return Engine.explain(tensors.map(\.slot))
  }

  /// The environment variables that LazyGrad reads, and what they do.
  public static var environmentVariables: [(name: String, meaning: String)] { Settings.variables }
}
