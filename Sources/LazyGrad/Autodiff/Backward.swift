// Walks the recorded graph from newest to oldest and lets the rules record the backward pass.

internal import LazyGradJIT

/// Why there is no gradient.
public enum InvalidBackprop: Error, Equatable, CustomStringConvertible {
  /// Part of the graph was cleared by an earlier backward pass.
  case clearedGraph(operation: String)

  /// What happened and what to do about it.
  public var description: String {
    switch self {
    case .clearedGraph(let operation):
      "backward: part of the graph below '\(operation)' was cleared by an earlier backward pass; "
        + "do what shares tensors in one pass, or keep the graph with retainGraph: true"
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
  ///     x.grad                    // Tensor([2., 4., 6.])
  ///
  /// - Parameters:
  ///   - seed: The gradient with respect to this tensor; ones where nil. Must broadcast to its shape.
  ///   - retainGraph: Keeps the graph, so that it can be differentiated again. Otherwise it is cleared
  ///     and the arrays that it locked are free again.
  ///   - accumulate: Adds to gradients that are there instead of replacing them.
  ///
  /// Stops the program, or throws in a `catchingTensorErrors` scope, with `InvalidBackprop`'s text
  /// where part of the graph was cleared before; nothing is changed then. Inside `noAutodiff`
  /// nothing happens.
  /// - Complexity: records a few nodes for each of the graph.
  public func backward(
    _ seed: Tensor? = nil, retainGraph: Bool = false, accumulate: Bool = false
  ) {
    if poisoned(self, seed) != nil || !Scope.isTracking { return }
    follow()
    if let seed, Layout.broadcast(seed.shape, shape) != shape {
      _ = fail(
        "backward", "expected a seed that broadcasts to shape \(shape), got shape \(seed.shape)")
      return
    }
    // No graph hangs on it, and a view has no gradient but its base's.
    if isUntracked { return }
    do throws(InvalidBackprop) {
      try Differentiation.run(
        [self], seeds: [seed], retainsGraph: retainGraph, createsGraph: false,
        collect: accumulate ? .accumulate : .replace)
    } catch { _ = fail("backward", String(error.description.dropFirst("backward: ".count))) }
  }

  /// The gradient that the last backward pass left, a constant of this tensor's shape and type; nil
  /// if there was none, or if the tensor has been used in an operation since.
  ///
  /// For a view it is a view of its base's gradient.
  public var grad: Tensor? {
    if let base = baseTensor {
      // Reading a gradient is no operation: it locks nothing.
      return base.grad.map {
        Tensor(
          $0.recordView(viewLayout, viewOffset, .plain), base: $0, layout: viewLayout,
          offset: viewOffset)
      }
    }
    if let own = slot.pointee.gradient { return Tensor(Tape.share(own)) }
    if slot.pointee.hasUnitGradient { return Tensor.ones(shape, dtype: dtype, constant: true) }
    return nil
  }

  /// Drops the gradient.
  public func nullGradient() {
    Tape.nullGradient(slot)
  }

  /// Forgets how this tensor and everything that it depends on were computed.
  ///
  /// Values and gradients stay; the arrays that only this graph locked are free again. What else
  /// was computed from a part of it can't be differentiated through that part any more.
  /// - Complexity: O(the graph); runs nothing.
  public func clearGraph() {
    if kind == .poisoned { return }
    follow()
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
/// - Complexity: records a few nodes for each of the graph; the graph is kept.
public func gradients(
  of target: Tensor, withRespectTo variables: [Tensor], createGraph: Bool = false
) -> [Tensor] {
  if let poison = ([target] + variables).first(where: { $0.kind == .poisoned }) {
    return variables.map { _ in poison }
  }
  target.follow()
  variables.forEach { $0.follow() }
  do throws(InvalidBackprop) {
    return try Differentiation.run(
      [target], seeds: [nil], retainsGraph: true, createsGraph: createGraph,
      collect: .only(variables))
  } catch {
    let poison = fail("gradients", error.description)
    return variables.map { _ in poison }
  }
}

/// One differentiation: seeds in, gradients out.
enum Differentiation {
  enum Collect {
    case replace
    case accumulate
    case only([Tensor])
  }

  @discardableResult
  static func run(
    _ heads: [Tensor], seeds: [Tensor?], retainsGraph: Bool, createsGraph: Bool, collect: Collect
  ) throws(InvalidBackprop) -> [Tensor] {
    // Everything that takes part comes onto one tape before that is locked.
    var all = heads + seeds.compactMap { $0 }
    if case .only(let variables) = collect { all += variables }
    let tape = Tape.hold(all: all.map(\.slot))
    defer { tape.unlock() }
    let mode = createsGraph ? Scope.mode : RecordMode.plain
    let walk = GraphWalk(
      pass: BackwardPass(tape: tape, createsGraph: createsGraph, state: mode.state),
      retainsGraph: retainsGraph)
    if case .replace = collect, !retainsGraph, heads.count == 1, seeds[0] == nil {
      try tape.recordPass(of: heads[0].slot) { () throws(InvalidBackprop) in
        _ = try walk.run(heads, seeds, collect)
      }
      return []
    }
    return try walk.run(heads, seeds, collect)
  }
}

extension Differentiation {
  static func clear(_ head: Tensor) {
    let tape = Tape.hold(head.slot)
    defer { tape.unlock() }
    // A value in memory has no graph; asking for its record would be a new use.
    if head.slot.pointee.node == 0 { return }
    let pass = BackwardPass(tape: tape, createsGraph: false, state: RecordMode.plain.state)
    GraphWalk(pass: pass, retainsGraph: false).clear(below: tape.nodeOrLeaf(head.slot))
  }
}

/// The walk itself. Ids descend, so every reader of a node has been seen before the node.
private struct GraphWalk {
  let pass: BackwardPass
  let retainsGraph: Bool
  var tape: Tape { pass.tape }

  func run(
    _ heads: [Tensor], _ seeds: [Tensor?], _ collect: Differentiation.Collect
  ) throws(InvalidBackprop) -> [Tensor] {
    let start = tape.count
    var ids: [UInt32] = []
    for head in heads where !head.isConstant || retainsGraph == false {
      ids.append(tape.nodeOrLeaf(head.slot))
    }
    guard let top = ids.max() else { return zeros(collect) }
    // A constant has no gradients, so none can get lost.
    if tape.state.pointee.hasCleared { try check(ids.filter { pass.wants($0) }) }

    tape.state.pointee.lowestReached = .max
    var ones = Tape.none
    for (head, seed) in zip(heads, seeds) {
      let id = tape.nodeOrLeaf(head.slot)
      if head.isConstant {
        // A constant has no gradients, but its graph is cleared.
        if !retainsGraph { clear(below: id) }
        continue
      }
      let g = seedNode(seed, id)
      if seed == nil { ones = g }
      pass.add(id, g)
    }
    var collected: [UInt32: UInt32] = [:]
    if case .only(let variables) = collect {
      for variable in variables { collected[gatherer(variable)] = Tape.none }
    }
    var released: [UInt32] = []
    var constants: [UInt32] = []
    var parents: [UInt32] = []
    var unread: [UInt32] = []
    var runsPieces = true
    var id = top
    let replaces = if case .replace = collect { true } else { false }
    while id >= tape.state.pointee.lowestReached {
      let adjoint = tape[id].adjoint
      if adjoint != 0 {
        tape[id].adjoint = 0
        if adjoint != Tape.passedOn {
          let g = tape.inWindow(adjoint &- 1)
          if !replaces {
            if case .only = collect {
              if collected[id] != nil { collected[id] = g }
            } else {
              attach(id, g, accumulate: true)
            }
          } else if tape[id].slot != nil {
            if g == ones { markUnit(id) } else { attach(id, g, accumulate: false) }
          }
          visit(id, g)
          if tape[g].uses == 0 { unread.append(g) }
        }
        if !retainsGraph {
          noteConstants(id, &constants)
          if let parent = tape.viewParent(id) { parents.append(parent) }
          tape.markCleared(id)
          if tape[id].state.contains(.evaluated) { released.append(id) }
        }
        if tape.isWindowFull, runsPieces { runsPieces = runPiece(below: id) }
      }
      if id == 0 { break }
      id &-= 1
    }
    // Before anything is let go: a constant's record may have no other reader than a cleared one.
    for id in constants { released += markCleared(below: id, constantsOnly: true) }
    // Not when they are met: what reads them, too, may still be on its way to them.
    for id in parents { released += markCleared(below: id, viewsOnly: true) }
    tape.releaseCleared(released, since: start)
    var results: [Tensor] = []
    if case .only(let variables) = collect {
      results = variables.map { variable in
        guard let g = collected[gatherer(variable)], g != Tape.none else { return zeros(variable) }
        return Tensor(tape.makeSlot(handle(g)), deferringGrowth: true)
      }
    }
    // The gradients of tensors that are gone, such as a parameter's value before its last update:
    // left alone they would keep what they were to be computed from until the arena starts again.
    for g in unread { tape.freeUnread(g) }
    return results
  }

  /// The node that gathers a tensor's gradient.
  private func gatherer(_ tensor: Tensor) -> UInt32 {
    var id = tape.record(of: tensor.slot)
    while let source = tape.importedNode(id) { id = source }
    return id
  }

  private func seedNode(_ seed: Tensor?, _ id: UInt32) -> UInt32 {
    let shape = tape[id].shape
    guard let seed else {
      let one = pass.number(1, id)
      return shape == LayoutTable.scalar ? one : pass.expanded(one, to: shape)
    }
    return pass.expanded(pass.cast(tape.operand(seed.slot), tape[id].type), to: shape)
  }

  /// Lets the rule of a node add to its operands' gradients.
  @inline(__always)
  private func visit(_ id: UInt32, _ g: UInt32) {
    if tape[id].state.contains(.tracked), tape.hasOperands(id) {
      DerivativeRules.apply(pass, id, g)
    }
  }

  /// Notes the operands that no gradient goes to but that were computed from others: their graph
  /// ends with the pass as well. A node without backward information leads to none, whether or not it
  /// has been computed.
  @inline(__always)
  private func noteConstants(_ id: UInt32, _ constants: inout [UInt32]) {
    let (a, b, c) = (tape.a(id), tape.b(id), tape.c(id))
    if a == id || !tape[id].state.contains(.tracked) { return }
    if isComputedConstant(a) { constants.append(a) }
    if b == id { return }
    if isComputedConstant(b) { constants.append(b) }
    if c != id, isComputedConstant(c) { constants.append(c) }
  }

  @inline(__always)
  private func isComputedConstant(_ id: UInt32) -> Bool {
    !pass.wants(id)
      && (tape[id].state.contains(.tracked) || (tape[id].opcode == .leaf && tape[id].link != 0))
  }

  // MARK: Results

  /// A node that a new handle may take: each node has one handle at most, and a gradient has memory of
  /// its own, which is not seen through another's.
  private func handle(_ g: UInt32) -> UInt32 {
    let opcode = tape[g].opcode
    let isShared = opcode == .leaf || opcode == .scalar || opcode == .view
    return tape[g].slot != nil || isShared ? pass.emit(.copy, g) : g
  }

  @inline(never)
  private func markUnit(_ id: UInt32) {
    guard let slot = tape[id].slot else { return }
    tape.dropGradient(slot)
    slot.pointee.hasUnitGradient = true
  }

  @inline(never)
  private func attach(_ id: UInt32, _ g: UInt32, accumulate: Bool) {
    guard let slot = tape[id].slot, tape[id].traits.contains(.variable) else { return }
    var result = g
    if slot.pointee.hasUnitGradient {
      if accumulate { result = pass.emit(.add, pass.number(1, id), g) }
      slot.pointee.hasUnitGradient = false
    } else if let old = slot.pointee.gradient {
      if accumulate { result = pass.emit(.add, tape.operand(old), g) }
      tape.dropGradient(slot)
    }
    tape.setGradient(slot, handle(result))
  }

  private func zeros(_ collect: Differentiation.Collect) -> [Tensor] {
    guard case .only(let variables) = collect else { return [] }
    return variables.map(zeros)
  }

  private func zeros(_ tensor: Tensor) -> Tensor {
    let zero = tape.append(.scalar, tensor.slot.pointee.type, shape: LayoutTable.scalar)
    return Tensor(
      tape.makeSlot(tape.append(.copy, tensor.slot.pointee.type, shape: tensor.shapeID, a: zero)),
      deferringGrowth: true)
  }

  // MARK: Clearing and checking

  /// Clears the graph of a node without differentiating it.
  func clear(below head: UInt32) {
    let start = tape.count
    tape.releaseCleared(markCleared(below: head), since: start)
  }

  /// Marks the graph of a node as cleared; with `constantsOnly` as far as no variable is reached, whose
  /// own graph may still be wanted; with `viewsOnly` the views that a view was made of, whose base is
  /// another's business.
  ///
  /// - Returns: What is in memory and can be let go.
  private func markCleared(
    below head: UInt32, constantsOnly: Bool = false, viewsOnly: Bool = false
  ) -> [UInt32] {
    var released: [UInt32] = []
    var marked: Set<UInt32> = [head]
    var work = [head]
    while let id = work.popLast() {
      if constantsOnly, pass.wants(id) { continue }
      if let source = tape.importedNode(id), marked.insert(source).inserted { work.append(source) }
      guard tape[id].state.contains(.tracked) else { continue }
      if let parent = tape.viewParent(id), marked.insert(parent).inserted { work.append(parent) }
      for operand in viewsOnly ? [] : [tape.a(id), tape.b(id), tape.c(id)]
      where operand != id && marked.insert(operand).inserted {
        work.append(operand)
      }
      tape.markCleared(id)
      if tape[id].state.contains(.evaluated) { released.append(id) }
    }
    return released
  }

  /// Looks for cleared parts before anything changes.
  private func check(_ heads: [UInt32]) throws(InvalidBackprop) {
    // Like the walk: ids descend, and it ends when everything that was reached has been seen.
    guard var id = heads.max() else { return }
    var isReached = [Bool](repeating: false, count: Int(id) + 1)
    var reached = 0
    func reach(_ operand: UInt32) {
      if isReached[Int(operand)] { return }
      isReached[Int(operand)] = true
      reached += 1
    }
    func check(_ operand: UInt32) throws(InvalidBackprop) {
      if operand == id || !pass.wants(operand) { return }
      if tape.isCutOff(operand, from: id) {
        throw .clearedGraph(operation: tape[id].opcode.info.name)
      }
      reach(operand)
    }
    for head in heads { reach(head) }
    while reached > 0 {
      if isReached[Int(id)] {
        reached -= 1
        if let source = tape.importedNode(id) {
          try check(source)
        } else if tape[id].state.contains(.tracked) {
          try check(tape.a(id))
          try check(tape.b(id))
          try check(tape.c(id))
        }
      }
      if id == 0 { break }
      id -= 1
    }
  }

  // MARK: Very long graphs

  /// Runs what has been recorded so far, so that the backward pass of a graph of any length takes
  /// bounded memory beside the graph.
  ///
  /// - Returns: Whether there was memory for that. Where there was not, the rest is recorded only, and
  ///   who reads a gradient is told.
  private func runPiece(below id: UInt32) -> Bool {
    var pending: [UInt32] = []
    for node in 0..<id
    where tape[node].adjoint != 0 && tape[node].adjoint != Tape.passedOn {
      pending.append(tape[node].adjoint &- 1)
    }
    return tape.forceAndKeep(pending)
  }
}

extension Tensor {
  /// A handle that is made while its tape is locked: the window is looked at by the next one.
  convenience init(_ slot: SlotRef, deferringGrowth: Bool) {
    self.init(unchecked: slot)
  }
}
