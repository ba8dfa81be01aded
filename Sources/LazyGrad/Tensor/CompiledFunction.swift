// Compiled functions: recorded for arguments of some shapes, and then run without recording. The engine cuts out
// and runs (its file Replay.swift); here is when that may be done, and what a call means.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif
internal import LazyGradJIT

/// A function of tensors that is recorded for arguments of some shapes and types, and from then on run without
/// recording: for small programs, of which recording takes longer than computing.
///
///     let step = compiled { t in
///       let (w, x, y) = (t[0], t[1], t[2])
///       let loss = square(matmul(x, w) - y).mean()
///       loss.backward()
///       return [loss, noAutodiff { w - 0.1 * w.gradient }]
///     }
///     for (x, y) in batches {
///       let results = step(w, x, y)
///       w = results[1]
///     }
///
/// A call gives what calling the body would have given, to the bit. The body is called for the first two calls
/// with arguments of some shapes, and not again if both have recorded the same operations, numbers and arrays. So:
///
/// - What changes has to be an argument. The body is `@Sendable`, so the compiler refuses captured tensors and
///   variables; captured constants are numbers for good. What it takes from elsewhere (a clock, a global
///   variable behind a lock, the system's random numbers) is as it was in the two calls.
/// - A body is called every time, which is right and no faster than without `compiled`, where a replay could
///   differ: where it asks for a value (`item()`, `array`, printing, `eval()`, index tensors, a
///   `checkpoint`, an operation on host arrays), draws from the default stream of random numbers, uses a
///   tensor that is no argument, or has recorded two different things. `obstacle` says so.
/// - Gradients are taken inside: the body is given tensors of the arguments' values, and the gradients that a pass
///   leaves with those end with the call. Return what you need. A result that gradients would flow back from to
///   an argument is a variable as ever, but to differentiate it outside is an error. Made inside `noAutodiff`
///   it is a variable of its own.
/// - To update an argument in place is an error; return the new value.
/// - Every result has memory of its own, also where it is an argument or a view of one, and no later call
///   writes to it.
///
/// Inside another compiled function, and where an argument depends on a sample of `vmap`, the body is simply
/// called. Arguments that are pending are computed first. What the body prints, it prints when it is recorded.
///
/// Several tasks may call the same function at a time.
public final class CompiledFunction: Sendable {
  /// How often the body was called, and how often what it had recorded was run instead.
  public struct Calls: Sendable, Equatable {
    /// Calls that the body was called for.
    public var recorded: Int
    /// Calls that it was not called for.
    public var replayed: Int
  }

  /// What a compiled function remembers. Tests make it small.
  package struct Limits: Sendable {
    /// For how many combinations of shapes, types and scopes.
    package var shapes = 32
    /// Recordings that have to be the same before they are replayed; two at least.
    package var recordings = 2
    package init() {}
  }

  private let body: @Sendable ([Tensor]) -> [Tensor]
  private let limits: Limits
  private let memory = Lock(Memory())

  fileprivate struct Memory {
    /// The one that was used last in front.
    var entries: [Entry] = []
    var calls = Calls(recorded: 0, replayed: 0)
    var obstacle: Obstacle?
  }

  fileprivate struct Entry {
    let key: [UInt64]
    /// The layouts that the key names: as long as there are references to them their identities mean them.
    let layouts: [Layout]
    var progress: Progress
  }

  fileprivate enum Progress {
    /// So many recordings were the same as this one.
    case recorded(Replay, times: Int)
    case replayed(Replay)
    case refused(Obstacle)
  }

  fileprivate enum Obstacle {
    case reads, draws, asks, captures, differs

    init(_ obstacle: BodyObstacle) {
      self =
        switch obstacle {
        case .read: .reads
        case .drew: .draws
        case .askedForGuard: .asks
        }
    }

    var text: String {
      switch self {
      case .reads: "it asks for the value of a tensor, and what it does may depend on that"
      case .draws:
        "it draws from the default stream of random numbers; draw by a RandomKey, or outside, and give what "
          + "was drawn as an argument"
      case .asks: "it asks whether the memory guard is on"
      case .captures: "it uses a tensor that is not among its arguments; make it one"
      case .differs:
        "two calls with arguments of the same shapes have recorded different operations, numbers or arrays; "
          + "what changes has to be an argument"
      }
    }
  }

  package init(
    limits: Limits = Limits(), _ body: @escaping @Sendable ([Tensor]) -> [Tensor]
  ) {
    self.limits = limits
    self.body = body
  }

  /// How often the body was called, and how often not.
  public var calls: Calls { memory.withLock { $0.calls } }

  /// Why the last call that was recorded will be recorded again the next time; nil where nothing speaks against
  /// a replay so far.
  public var obstacle: String? { memory.withLock { $0.obstacle }?.text }

  // MARK: Calling

  /// What the body returns for the arguments, computed.
  ///
  /// - Complexity: evaluates. The first two calls with arguments of some shapes record as well.
  public func callAsFunction(_ arguments: Tensor...) -> [Tensor] { self(arguments) }

  /// What the body returns for the arguments, computed.
  ///
  /// - Complexity: evaluates. The first two calls with arguments of some shapes record as well.
  public func callAsFunction(_ arguments: [Tensor]) -> [Tensor] {
    withBound(arguments) { bound, key in
      let known: Replay? = memory.withLock { memory in
        guard let i = memory.find(key), case .replayed(let replay) = memory.entries[i].progress
        else {
          memory.calls.recorded += 1
          return nil
        }
        memory.moveToFront(i)
        memory.calls.replayed += 1
        return replay
      }
      return known.map { run($0, bound, isRecorded: false) } ?? record(bound, key)
    } ?? body(arguments)
  }

  /// What a call would run, without running it: the kernels of the recorded body, those for pending arguments
  /// not included.
  ///
  /// - Complexity: calls the body, and computes pending arguments.
  public func explain(_ arguments: Tensor...) -> Explanation { explain(arguments) }

  /// What a call would run, without running it: the kernels of the recorded body, those for pending arguments
  /// not included.
  ///
  /// - Complexity: calls the body, and computes pending arguments.
  public func explain(_ arguments: [Tensor]) -> Explanation {
    withBound(arguments) { bound, _ in
      switch recording(bound) {
      case .made(let replay, _): Explanation([replay.report])
      case .failed: Explanation([])
      }
    } ?? LazyGrad.explain(body(arguments))
  }

  /// Runs `body` with the arguments' values and the key by which the call is known.
  ///
  /// - Returns: nil where the arguments have no values to work with here.
  private func withBound<R>(
    _ arguments: [Tensor],
    _ body: (UnsafeBufferPointer<BoundArgument>, UnsafeBufferPointer<UInt64>) -> R
  ) -> R? {
    // What is recorded here is recorded in the body around it.
    if Tape.isInBody { return nil }
    let mode = Scope.mode
    let count = arguments.count
    return withUnsafeTemporaryAllocation(of: BoundArgument.self, capacity: count) { bound in
      withUnsafeTemporaryAllocation(of: UInt64.self, capacity: count + 2) { key in
        if !Self.bind(arguments, bound, mode),
          !Self.evaluate(arguments)
            || !Self.bind(arguments, bound, mode)
        {
          return nil
        }
        defer { for argument in bound { argument.storage.release() } }
        let settings = Engine.settingsWords
        key[0] = settings.0
        key[1] = settings.1 << 8 | (mode.isTracking ? 1 : 0)
        for k in 0..<count { key[k + 2] = bound[k].word }
        return body(UnsafeBufferPointer(bound), UnsafeBufferPointer(key))
      }
    }
  }

  /// Takes the values of arguments; none where one is poisoned or has no value yet.
  private static func bind(
    _ arguments: [Tensor], _ bound: UnsafeMutableBufferPointer<BoundArgument>, _ mode: RecordMode
  ) -> Bool {
    arguments.withUnsafeBufferPointer { arguments in
      let unretained = Tensor.unretained(arguments)
      for k in 0..<unretained.count {
        let (slot, kind) = unretained[k]._withUnsafeGuaranteedRef { ($0.slot, $0.kind) }
        guard kind != .poisoned, let value = Engine.bind(slot, mode) else {
          for value in bound[..<k] { value.storage.release() }
          return false
        }
        bound.initializeElement(at: k, to: value)
      }
      return true
    }
  }

  /// Computes arguments, if they can be: not what is poisoned or depends on a sample. Where there is no memory
  /// for them, who reads what the body makes of them is told.
  private static func evaluate(_ arguments: [Tensor]) -> Bool {
    if arguments.contains(where: { $0.kind == .poisoned || Tape.needsSamples($0.slot) }) {
      return false
    }
    do throws(StorageError) { try Engine.force(arguments.map(\.slot)) } catch { return false }
    return true
  }

  private func run(
    _ replay: Replay, _ bound: UnsafeBufferPointer<BoundArgument>, isRecorded: Bool
  ) -> [Tensor] {
    var results: [Tensor] = []
    results.reserveCapacity(replay.resultCount)
    do throws(StorageError) {
      try replay.run(bound, isRecorded: isRecorded) { results.append(Tensor($0)) }
    } catch {
      let poison = LazyGrad.poison(tensorError(error, in: "compiled"))
      return (0..<replay.resultCount).map { _ in Tensor(poison: poison) }
    }
    return results
  }

  // MARK: Recording

  private enum Recording {
    case made(Replay, Obstacle?)
    /// The results of the call, which are poisoned.
    case failed([Tensor])
  }

  /// Records the body for tensors that stand for the arguments.
  private func recording(_ bound: UnsafeBufferPointer<BoundArgument>) -> Recording {
    let isTracking = Scope.isTracking
    let tape = BodyTape()
    defer { tape.leave() }
    let standIns = bound.map { $0.standIn() }
    let inputs = standIns.map { Tensor($0.slot) }
    let results = body(inputs)
    let noted = tape.endBody()
    func failed(_ poison: Tensor) -> Recording { .failed(results.map { _ in poison }) }
    if let poison = results.first(where: { $0.kind == .poisoned }) { return failed(poison) }
    let changed = standIns.indices.first {
      !Tape.isUnchanged(standIns[$0].slot, since: standIns[$0].storage)
    }
    if let changed {
      return failed(
        fail(
          "compiled",
          "expected a body that leaves its arguments as they are, got an update in place of argument "
            + "\(changed); return the new value", inputs))
    }
    do throws(StorageError) {
      let replay = try Tape.cutOut(
        results.map(\.slot), arguments: zip(standIns, bound).map { ($0.storage, $1.offset) },
        of: tape, isTracking: isTracking)
      let captures = replay.hasOlderRecords ? Obstacle.captures : nil
      return .made(replay, noted.map { Obstacle($0) } ?? captures)
    } catch {
      return failed(Tensor(poison: LazyGrad.poison(tensorError(error, in: "compiled"))))
    }
  }

  /// Records a call and computes it.
  private func record(
    _ bound: UnsafeBufferPointer<BoundArgument>, _ key: UnsafeBufferPointer<UInt64>
  ) -> [Tensor] {
    switch recording(bound) {
    case .failed(let results): return results
    case .made(let replay, let obstacle):
      let results = run(replay, bound, isRecorded: true)
      // What is dropped may take code of the program along, which must not find the lock taken.
      let dropped = memory.withLock {
        $0.take(replay, obstacle, key, bound.map(\.layout), limits)
      }
      withExtendedLifetime(dropped) {}
      return results
    }
  }
}

extension CompiledFunction.Memory {
  /// The entry with a key.
  fileprivate func find(_ key: UnsafeBufferPointer<UInt64>) -> Int? {
    entries.firstIndex { entry in
      entry.key.count == key.count
        && entry.key.withUnsafeBufferPointer {
          memcmp($0.baseAddress!, key.baseAddress!, key.count * MemoryLayout<UInt64>.stride) == 0
        }
    }
  }

  fileprivate mutating func moveToFront(_ i: Int) {
    if i != 0 { entries.insert(entries.remove(at: i), at: 0) }
  }

  /// Takes note of a recording.
  ///
  /// - Returns: What is not needed any more.
  fileprivate mutating func take(
    _ replay: Replay, _ obstacle: CompiledFunction.Obstacle?, _ key: UnsafeBufferPointer<UInt64>,
    _ layouts: [LayoutID], _ limits: CompiledFunction.Limits
  ) -> CompiledFunction.Entry? {
    let i = find(key)
    let progress = next(after: i.map { entries[$0].progress }, replay, obstacle, limits)
    if case .refused(let obstacle) = progress {
      self.obstacle = obstacle
    } else {
      self.obstacle = nil
    }
    if let i {
      let old = entries[i]
      entries[i].progress = progress
      moveToFront(i)
      return old
    }
    let last = entries.count >= max(1, limits.shapes) ? entries.removeLast() : nil
    let named = layouts.map { LayoutTable.shared[$0] }
    entries.insert(
      CompiledFunction.Entry(key: Array(key), layouts: named, progress: progress), at: 0)
    return last
  }

  private func next(
    after progress: CompiledFunction.Progress?, _ replay: Replay,
    _ obstacle: CompiledFunction.Obstacle?, _ limits: CompiledFunction.Limits
  ) -> CompiledFunction.Progress {
    if let obstacle { return .refused(obstacle) }
    guard let progress else { return .recorded(replay, times: 1) }
    guard case .recorded(let known, let times) = progress else { return progress }
    if replay.sharesMemory(with: known) { return .refused(.captures) }
    if !replay.isSame(as: known) { return .refused(.differs) }
    if times + 1 < max(2, limits.recordings) { return .recorded(replay, times: times + 1) }
    // Where there is no memory for what it keeps, it is recorded once more.
    return replay.keepingItsOwn().map { .replayed($0) } ?? .recorded(replay, times: times)
  }
}

// MARK: - Making them

/// A function of tensors that is recorded for arguments of some shapes, and then run without recording.
///
///     let step = compiled { t in
///       let loss = square(matmul(t[1], t[0]) - t[2]).mean()
///       loss.backward()
///       return [loss, t[0].gradient]
///     }
///     let results = step(w, x, y)
///
/// For what is recorded once and run often, when its operations are small: a training step, a step of a filter or
/// a simulation. ``CompiledFunction`` says what a call means.
///
/// - Parameter body: Gives results for tensors that have the arguments' values, shapes and types, and are
///   constants where those are. All that changes has to be an argument: captured tensors, variables and
///   objects are refused by the compiler.
/// - Complexity: records nothing before it is called.
public func compiled(_ body: @escaping @Sendable ([Tensor]) -> [Tensor]) -> CompiledFunction {
  CompiledFunction(body)
}

/// The same for a function of one tensor.
///
///     let smooth = compiled { x in (x[1...] + x[..<(-1)]) / 2 }
public func compiled(
  _ body: @escaping @Sendable (Tensor) -> Tensor
) -> @Sendable (Tensor) -> Tensor {
  let function = CompiledFunction { [body($0[0])] }
  return { function([$0])[0] }
}

/// The same for a function of two tensors.
public func compiled(
  _ body: @escaping @Sendable (Tensor, Tensor) -> Tensor
) -> @Sendable (Tensor, Tensor) -> Tensor {
  let function = CompiledFunction { [body($0[0], $0[1])] }
  return { function([$0, $1])[0] }
}
