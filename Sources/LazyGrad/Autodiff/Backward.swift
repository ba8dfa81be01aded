// Gradients as a program asks for them; GraphWalk.swift finds them.

internal import LazyGradJIT
import Synchronization

/// Why there is no gradient.
public enum InvalidBackprop: Error, Equatable, CustomStringConvertible {
  /// Part of the graph was cleared by an earlier backward pass.
  case clearedGraph(operation: String)
  /// The graph of what is to be differentiated was cleared by an earlier backward pass.
  case clearedTarget
  /// What is to be differentiated is computed from gradients that can't be differentiated themselves.
  case plainGradient
  /// Gradients would have to go on through a compiled function.
  case compiledFunction

  /// What happened and what to do about it.
  public var description: String {
    switch self {
    case .clearedGraph(let operation):
      "backward: part of the graph below '\(operation)' was cleared by an earlier backward pass; "
        + "do what shares tensors in one pass, or keep the graph with retainGraph: true"
    case .clearedTarget:
      "expected a target with a graph, got one whose graph was cleared by an earlier backward pass; "
        + "keep it with retainGraph: true"
    case .plainGradient:
      "expected a target that depends on variables, got one that is computed from gradients which "
        + "don't know what they depend on; make them with createGraph: true"
    case .compiledFunction:
      "backward: gradients don't go through a compiled function, which has no graph, and a result of one "
        + "depends on variables; take them inside the function, or make the result there in noAutodiff"
    }
  }
}

extension Tensor {
  /// Computes the gradients of this tensor with respect to every variable that it depends on.
  ///
  /// Records the backward pass; what is recorded runs, together with the forward pass, when a
  /// value is asked for, and gradients that nobody reads are never computed. Every tensor in the
  /// graph that the program still holds gets its `grad`, which replaces the one it had.
  ///
  ///     let x = Tensor([1.0, 2, 3])
  ///     (x * x).backward()        // no seed: as if the sum were differentiated
  ///     x.gradient                // Tensor([2., 4., 6.])
  ///
  /// - Parameters:
  ///   - seed: The gradient with respect to this tensor; ones where nil. Must broadcast to its shape.
  ///   - retainGraph: Keeps the graph, so that it can be differentiated again. Otherwise it is cleared
  ///     and the arrays that it locked are free again.
  ///   - accumulate: Adds to gradients that are there instead of replacing them, over any number of
  ///     forward and backward passes: those of a batch that does not fit into memory at once add up,
  ///
  ///         for part in parts { loss(w, part).backward(accumulate: true) }
  ///         noAutodiff { w -= rate * w.gradient }       // the update drops the gradient
  ///
  ///     A gradient that such a pass has left stays when the tensor is used again, until a pass without
  ///     `accumulate` replaces it, an update in place gives the tensor another value, or
  ///     `nullGradient()` drops it.
  ///
  /// Stops the program, or throws in a `catchingTensorErrors` scope, with `InvalidBackprop`'s text
  /// where part of the graph was cleared before; nothing is changed then. Inside `noAutodiff`
  /// nothing happens. Nor for a constant, as in MyGrad, so that one program serves for training and for
  /// frozen parameters; the `gradient` that is missing then says why.
  /// - Complexity: records a few nodes for each of the graph.
  public func backward(
    _ seed: Tensor? = nil, retainGraph: Bool = false, accumulate: Bool = false
  ) {
    if poisoned(self, seed) != nil || !Scope.isTracking { return }
    if let seed, Layout.broadcast(seed.shape, shape) != shape {
      _ = fail(
        "backward", "expected a seed that broadcasts to shape \(shape), got shape \(seed.shape)")
      return
    }
    // No graph hangs on it, and a view has no gradient but its base's.
    if isUntracked { return }
    // Looked at first: a store would take the line away from threads that run passes as well.
    if !Differentiation.hasRun.load(ordering: .relaxed) {
      Differentiation.hasRun.store(true, ordering: .relaxed)
    }
    do throws(InvalidBackprop) {
      try Differentiation.run(
        [self], seeds: [seed], retainsGraph: retainGraph, createsGraph: false,
        collect: accumulate ? .accumulate : .replace)
    } catch { _ = fail("backward", String(error.description.dropFirst("backward: ".count))) }
  }

  /// The gradient that the last backward pass left, a constant of this tensor's shape and type; nil
  /// if there was none, or if the tensor has been used in an operation since (which passes with
  /// `accumulate: true` don't mind).
  ///
  /// For a view it is a view of its base's gradient. Where there is none because of an error that
  /// `catchingTensorErrors` will throw, it is poisoned rather than nil: so are the gradients of a
  /// poisoned tensor, and after an error in the scope all that are missing. `gradient` says why there is
  /// none.
  public var grad: Tensor? {
    if let recordedGradient { return recordedGradient }
    if kind == .poisoned { return self }
    return Scope.errors?.error.map { Tensor(poison: Poison($0)) }
  }

  /// The gradient that the last backward pass left, as `grad`, for who knows that there is one.
  ///
  ///     loss.backward()
  ///     w -= 0.1 * w.gradient
  ///
  /// Where there is none the program stops with the reason: the tensor is a constant (and whether that is
  /// because integers and bools are), an operation has used it since the backward pass, an update in
  /// place or `nullGradient()` has dropped the gradient, the tensor was made inside `noAutodiff`, no
  /// backward pass has reached it, or none has been run yet. Inside `catchingTensorErrors` that is an
  /// error, and the gradient is poisoned.
  public var gradient: Tensor {
    grad ?? fail("gradient", whyThereIsNoGradient, [self])
  }

  private var whyThereIsNoGradient: String {
    if let base = baseTensor { return base.whyThereIsNoGradient }
    if isConstant {
      return dtype.isFloating
        ? "the tensor is a constant, which has none: it was made with constant: true, or is computed"
          + " from constants only"
        : "the tensor is a constant, as integers and bools are, got \(dtype); gradients need floats"
    }
    switch Tape.missingGradient(of: slot) {
    case .usedUp:
      return "an operation has used the tensor since the backward pass, which ends its gradient;"
        + " read it before the next use"
    case .dropped:
      return
        "an update in place or nullGradient() has dropped the gradient, and no backward pass has"
        + " reached the tensor since"
    case .untracked where Differentiation.hasRun.load(ordering: .relaxed):
      return "the tensor was made inside noAutodiff, and no backward pass has reached it since"
    case .unreached where Differentiation.hasRun.load(ordering: .relaxed):
      return
        "no backward pass has reached the tensor: what was differentiated does not depend on it,"
        + " or only through noAutodiff or a cleared graph, or is a constant; or it was inside a compiled"
        + " function; or the tensor was made inside noAutodiff and evaluated"
    case .untracked, .unreached: return "no backward pass has been run yet"
    }
  }

  /// The gradient, if a pass has left one.
  var recordedGradient: Tensor? {
    if let base = baseTensor {
      // Reading a gradient is no operation: it locks nothing.
      return base.recordedGradient.map {
        Tensor(
          $0.recordView(viewLayout, viewOffset, .plain), base: $0, offset: viewOffset, Scope.mode)
      }
    }
    if let own = slot.pointee.gradient { return Tensor(Tape.share(own)) }
    if slot.hasUnitGradient { return Tensor.ones(shape, dtype: dtype, constant: true) }
    return nil
  }

  /// Drops the gradient.
  public func nullGradient() { Tape.nullGradient(slot) }

  /// Forgets how this tensor and everything that it depends on were computed.
  ///
  /// Values and gradients stay; the arrays that only this graph locked are free again. What else
  /// was computed from a part of it can't be differentiated through that part any more.
  /// - Complexity: O(the graph); runs nothing.
  public func clearGraph() {
    if kind == .poisoned { return }
    Differentiation.clear(self)
  }
}

/// Gradients of a tensor with respect to others, without touching anybody's `grad`.
///
/// - Parameters:
///   - target: What is differentiated; a tensor that is no scalar counts as its sum.
///   - variables: With respect to what, in any part of the graph.
///   - createGraph: Whether the gradients can be differentiated again: for second derivatives,
///     Hessian-vector products, gradient penalties.
/// - Returns: One gradient per variable, zeros where the target does not depend on it.
///
/// Stops the program, or throws in a `catchingTensorErrors` scope, with `InvalidBackprop`'s text where the
/// target's graph was cleared before, or where the target is computed from gradients that were made
/// without `createGraph: true`: zeros would be wrong.
/// - Complexity: records a few nodes for each of the graph; the graph is kept.
public func gradients(
  of target: Tensor, withRespectTo variables: [Tensor], createGraph: Bool = false
) -> [Tensor] {
  if let poison = poisoned(target) ?? variables.first(where: { $0.kind == .poisoned }) {
    return variables.map { _ in poison }
  }
  do throws(InvalidBackprop) {
    return try Differentiation.run(
      [target], seeds: [nil], retainsGraph: true, createsGraph: createGraph,
      collect: .only(variables))
  } catch {
    let poison = fail("gradients", error.description)
    return variables.map { _ in poison }
  }
}

/// The gradient of a tensor with respect to another, without touching anybody's `grad`.
///
///     let slope = gradient(of: y, withRespectTo: x, createGraph: true)
///     let curvature = gradient(of: slope, withRespectTo: x)
///
/// As `gradients(of:withRespectTo:createGraph:)` for one variable: zeros where the target does not depend
/// on it.
public func gradient(
  of target: Tensor, withRespectTo variable: Tensor, createGraph: Bool = false
) -> Tensor {
  gradients(of: target, withRespectTo: [variable], createGraph: createGraph)[0]
}

/// One differentiation: seeds in, gradients out.
enum Differentiation {
  /// Whether any backward pass has been run in the process.
  static let hasRun = Atomic<Bool>(false)

  enum Collect {
    case replace
    case accumulate
    case only([Tensor])

    /// What gradients are asked for by name.
    var variables: [Tensor] {
      if case .only(let variables) = self { variables } else { [] }
    }
  }

  @discardableResult
  static func run(
    _ heads: [Tensor], seeds: [Tensor?], retainsGraph: Bool, createsGraph: Bool, collect: Collect
  ) throws(InvalidBackprop) -> [Tensor] {
    // Everything that takes part comes onto one tape before that is locked.
    var all: [SlotRef] = []
    all.reserveCapacity(2 * heads.count + collect.variables.count)
    for head in heads { all.append(head.slot) }
    for case let seed? in seeds { all.append(seed.slot) }
    for variable in collect.variables { all.append(variable.slot) }
    let tape = Tape.hold(all: all)
    return try tape.withSettled { () throws(InvalidBackprop) in
      if case .only = collect {
        for head in heads {
          if !head.isConstant, tape.isCleared(head.slot) { throw .clearedTarget }
          if head.isConstant, head.slot.isGradient { throw .plainGradient }
        }
      }
      let mode = createsGraph ? Scope.mode : RecordMode.plain
      // A head that has no record yet gets one.
      let adjoints = tape.makePassState(upTo: tape.count + UInt32(heads.count))
      defer { tape.recycle(adjoints) }
      var walk = GraphWalk(
        pass: BackwardPass(
          tape: tape, createsGraph: createsGraph, state: mode.state, adjoints: adjoints),
        retainsGraph: retainsGraph, check: PassCheck(tape, heads))
      let results = try walk.run(heads, seeds, collect)
      if case .only = collect { return results }
      walk.check?.verify()
      return results
    }
  }
}

extension Differentiation {
  static func clear(_ head: Tensor) {
    let tape = Tape.hold(head.slot)
    tape.withSettled {
      // A value in memory has no graph; asking for its record would be a new use.
      if head.slot.node == nil { return }
      let adjoints = tape.makePassState(upTo: 0)
      defer { tape.recycle(adjoints) }
      let pass = BackwardPass(
        tape: tape, createsGraph: false, state: RecordMode.plain.state, adjoints: adjoints)
      GraphWalk(pass: pass, retainsGraph: false).clear(below: tape.nodeOrLeaf(head.slot))
    }
  }
}
